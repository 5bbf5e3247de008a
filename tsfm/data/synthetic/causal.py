"""Series that are caused by others: a random acyclic graph of lagged, bent and added parents.

After the structural causal models of CauKer (Xie et al. 2025). The roots are one pool of other families that the whole
batch shares, so a series costs its own edges only.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tsfm.data.synthetic.calendar import calendar_composite
from tsfm.data.synthetic.composite import multi_season_composite
from tsfm.data.synthetic.draws import Drawn, Draws
from tsfm.data.synthetic.noise import short_noise
from tsfm.data.synthetic.pulses import river_flow
from tsfm.data.synthetic.scans import standardise
from tsfm.data.synthetic.spectral import spectral_process
from tsfm.data.synthetic.switching import regime_switching

# B series, R roots, T steps.

LAYERS = 2
LONGEST_LAG = 24
_BENDS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    torch.relu,
    torch.sigmoid,
    torch.sin,
    lambda x: torch.remainder(x, 1.5),
    lambda x: torch.nn.functional.leaky_relu(x, 0.2),
    torch.tanh,
)


def causal_mix(draws: Draws, rows: int, length: int) -> Drawn:
    """Nodes of a graph two layers deep: each adds two parents of the layer before, lagged by 0 to 24 steps and bent."""
    steps = length + LAYERS * LONGEST_LAG
    layer, period = _roots(draws, max(2, (rows + 3) // 4), steps)
    for _ in range(LAYERS):
        layer, period = _children(draws, layer, period, rows)
    return Drawn(layer, period)


def _roots(draws: Draws, each: int, steps: int) -> tuple[Tensor, Tensor]:
    families = (calendar_composite, multi_season_composite, spectral_process, regime_switching, river_flow)
    drawn = [family(draws, each, steps) for family in families]
    return standardise(torch.cat([part.values for part in drawn])), torch.cat([part.period for part in drawn])


def _children(draws: Draws, parents: Tensor, periods: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """(B, T - 24) of a layer from (R, T) of the one before; a child has the period of its first parent."""
    steps = parents.shape[1] - LONGEST_LAG
    total = torch.zeros(rows, steps, device=draws.device)
    bend = draws.pick((0.3, 0.12, 0.1, 0.12, 0.06, 0.15, 0.15), rows)
    first = draws.integer(0, len(parents) - 1, rows)
    for order in range(2):
        source = first if order == 0 else draws.integer(0, len(parents) - 1, rows)
        lag = draws.integer(0, LONGEST_LAG, rows, 1)
        clock = torch.arange(LONGEST_LAG, LONGEST_LAG + steps, device=draws.device) - lag
        weight = draws.uniform(0.4, 1.2, rows, 1) if order == 0 else draws.uniform(-0.8, 0.8, rows, 1)
        total += parents[source].gather(1, clock) * weight
    for index, function in enumerate(_BENDS):
        chosen = torch.nonzero(bend == index).flatten()
        if len(chosen):
            total[chosen] = function(total[chosen])
    noise = short_noise(draws, rows, steps) * draws.log_uniform(0.005, 0.15, rows, 1)
    return standardise(total + noise), periods[first]
