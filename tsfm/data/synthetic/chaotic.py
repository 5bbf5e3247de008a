"""Trajectories of chaotic and oscillating systems, read from a pool that is integrated once a process.

Every system but one is quadratic (Lorenz 1963, Roessler 1976, Lotka-Volterra, SIR with waning immunity, Duffing with
x**2 and the forcing as extra states), so one right-hand side x' = c + L x + Q (x, x) serves a batch of all of them with
Runge and Kutta's fourth-order step. Mackey and Glass (1977) has a delay and its own loop. A series is a crop of the
pool, warped in time and projected on one axis.
"""

import functools

import torch
from torch import Tensor

from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.noise import slow_path
from tsfm.data.synthetic.scans import standardise

# S trajectories of the pool, T steps, V state variables.

POOL_SEED = 1963
PER_SYSTEM = 32
POOL_STEPS = 3072
BURN_IN = 256
STATES = 5


def chaotic(draws: Draws, rows: int, length: int) -> Drawn:
    """Warped crops of trajectories with a little noise; no season is claimed, as none is exact."""
    pool = _pool(str(draws.device))  # (S, steps, 3)
    steps = pool.shape[1]
    weights = draws.normal(rows, 1, pool.shape[2])
    single = torch.nn.functional.one_hot(draws.integer(0, pool.shape[2] - 1, rows), pool.shape[2]).float().unsqueeze(1)
    weights = torch.lerp(single, weights, draws.chance(0.3, rows, 1, 1))
    path = (pool[draws.integer(0, pool.shape[0] - 1, rows)] * weights).sum(2)
    speed = (draws.uniform(0.0, 0.5, rows, 1) * slow_path(draws, rows, length)).exp()
    clock = speed.cumsum(1)
    # The slowest reading shows a tenth of the trajectory, the fastest all of it.
    reach = (steps - 2) * draws.log_uniform(0.1, 1.0, rows, 1)
    start = (steps - 2 - reach) * draws.uniform(0.0, 1.0, rows, 1)
    place = start + reach * clock / clock[:, -1:]
    left = place.long().clamp_(0, steps - 2)
    values = standardise(torch.lerp(path.gather(1, left), path.gather(1, left + 1), place - left))
    noise = draws.normal(rows, length) * draws.log_uniform(0.002, 0.3, rows, 1)
    return Drawn(values + noise, torch.zeros(rows, device=draws.device))


@functools.lru_cache(maxsize=4)
def _pool(device: str) -> Tensor:
    """(S, steps, 3) standardised trajectories, computed on the CPU so that every device reads the same ones."""
    draws = Draws(POOL_SEED)
    state, linear, quadratic, shift, step = _systems(draws)
    path = torch.empty(POOL_STEPS, len(state), STATES)
    for index in range(-BURN_IN, POOL_STEPS):
        state = _runge_kutta(state, linear, quadratic, shift, step)
        if index >= 0:
            path[index] = state
    trajectories = path.movedim(0, 1)[:, :, :3]
    feedback = _mackey_glass(draws)
    pool = torch.cat([trajectories, torch.stack([feedback, feedback.roll(17, 1), feedback.roll(40, 1)], dim=2)])
    pool = pool - pool.mean(1, keepdim=True)
    pool = pool / pool.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
    healthy = pool.isfinite().all(2).all(1) & (pool[:, -512:].std(1).amin(1) > 0.02)
    return pool[healthy].to(device)


def _runge_kutta(state: Tensor, linear: Tensor, quadratic: Tensor, shift: Tensor, step: Tensor) -> Tensor:
    def slope(x: Tensor) -> Tensor:
        pairs = (x.unsqueeze(2) * x.unsqueeze(1)).flatten(1).unsqueeze(1)
        return torch.baddbmm(torch.baddbmm(shift, x.unsqueeze(1), linear), pairs, quadratic).squeeze(1)

    first = slope(state)
    second = slope(state + 0.5 * step * first)
    third = slope(state + 0.5 * step * second)
    return state + step / 6.0 * (first + 2.0 * second + 2.0 * third + slope(state + step * third))


def _systems(draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Start (S, V), linear (S, V, V), quadratic (S, V * V, V) and constant (S, 1, V) terms, time step (S, 1)."""
    size, count = PER_SYSTEM, 5 * PER_SYSTEM
    start = draws.uniform(0.5, 1.5, count, STATES)
    linear, quadratic = torch.zeros(count, STATES, STATES), torch.zeros(count, STATES * STATES, STATES)
    shift, step = torch.zeros(count, 1, STATES), torch.empty(count, 1)
    lorenz, roessler, hunters, epidemic, duffing = (slice(k * size, (k + 1) * size) for k in range(5))

    def pair(first: int, second: int) -> int:
        return first * STATES + second

    sigma, rho, beta = draws.uniform(8.0, 12.0, size), draws.uniform(25.0, 40.0, size), draws.uniform(2.0, 3.0, size)
    linear[lorenz, 0, 0], linear[lorenz, 1, 0] = -sigma, sigma
    linear[lorenz, 0, 1], linear[lorenz, 1, 1], linear[lorenz, 2, 2] = rho, -1.0, -beta
    quadratic[lorenz, pair(0, 2), 1], quadratic[lorenz, pair(0, 1), 2] = -1.0, 1.0
    step[lorenz] = 0.012

    linear[roessler, 1, 0], linear[roessler, 2, 0], linear[roessler, 0, 1] = -1.0, -1.0, 1.0
    linear[roessler, 1, 1], linear[roessler, 2, 2] = draws.uniform(0.15, 0.25, size), -draws.uniform(4.0, 8.0, size)
    shift[roessler, 0, 2], quadratic[roessler, pair(0, 2), 2] = 0.2, 1.0
    step[roessler] = 0.05

    linear[hunters, 0, 0], linear[hunters, 1, 1] = draws.uniform(0.6, 1.4, size), -draws.uniform(0.5, 1.2, size)
    linear[hunters, 2, 2] = -1.0
    quadratic[hunters, pair(0, 1), 0], quadratic[hunters, pair(0, 1), 1] = -1.0, 1.0
    quadratic[hunters, pair(0, 1), 2] = 1.0
    start[hunters] *= draws.log_uniform(0.3, 1.5, size, 1)
    step[hunters] = 0.04

    # Shares of susceptible and infected; immunity wanes, so the epidemic comes back in smaller waves.
    contact, waning = draws.uniform(1.5, 4.0, size), draws.log_uniform(0.002, 0.02, size)
    linear[epidemic, 0, 0], shift[epidemic, 0, 0] = -waning, waning
    linear[epidemic, 1, 0], linear[epidemic, 1, 1] = -waning, -1.0
    quadratic[epidemic, pair(0, 1), 0], quadratic[epidemic, pair(0, 1), 1] = -contact, contact
    shift[epidemic, 0, 1], linear[epidemic, 1, 2], linear[epidemic, 2, 2] = 1e-6, 1.0, -0.2
    start[epidemic, 0], start[epidemic, 1] = 0.95, 0.01
    step[epidemic] = 0.12

    # Position, speed, position squared, and the forcing's cosine and sine.
    turn = draws.uniform(0.8, 1.4, size)
    linear[duffing, 1, 0], linear[duffing, 0, 1], linear[duffing, 1, 1] = 1.0, 1.0, -draws.uniform(0.1, 0.35, size)
    linear[duffing, 3, 1] = draws.uniform(0.2, 0.5, size)
    quadratic[duffing, pair(0, 2), 1], quadratic[duffing, pair(0, 1), 2] = -1.0, 2.0
    linear[duffing, 4, 3], linear[duffing, 3, 4] = -turn, turn
    start[duffing, 2], start[duffing, 3], start[duffing, 4] = start[duffing, 0] ** 2, 1.0, 0.0
    step[duffing] = 0.06
    return start, linear, quadratic, shift, step


def _mackey_glass(draws: Draws) -> Tensor:
    """(S, steps) of x' = 0.2 x(t - tau) / (1 + x(t - tau)**10) - 0.1 x with tau 10 to 60, at unit steps."""
    delay = draws.integer(10, 60, PER_SYSTEM)
    path = torch.empty(64 + BURN_IN + POOL_STEPS, PER_SYSTEM)
    path[:64] = draws.uniform(0.6, 1.4, PER_SYSTEM)
    column = torch.arange(PER_SYSTEM)
    for index in range(64, len(path)):
        late = path[index - delay, column]
        path[index] = path[index - 1] * 0.9 + 0.2 * late / (1.0 + late**10)
    return path[64 + BURN_IN :].T.contiguous()
