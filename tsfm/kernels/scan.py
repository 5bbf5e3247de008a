"""The selective scan of Mamba (Gu and Dao 2023) as one differentiable operation, and one step of it for streams.

The operation has two implementations, `scan_torch` and `scan_triton`. Each saves the state every 64 steps and makes
the others again in the backward pass, so memory grows with L * W and not with L * W * N. The caller's layout is the
field's, (series, channels, steps); inside, time comes before channels, so tensors that were made as (series, steps,
channels) and are passed transposed are not copied. To `torch.compile` the scan is opaque and whole.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm.errors import DataError, MissingDependency
from tsfm.kernels import reference_scan, scan_torch

# S series, L steps, W channels, N states a channel, G groups that share B and C, P = W / G channels of a group.


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    path: str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Outputs and last state of x_t = exp(delta_t A) x_(t-1) + delta_t B_t u_t, y_t = C_t x_t + D u_t, times silu(z).

    Differentiable in every tensor, through both results. Arithmetic is in float32, or float64 where u is, also under
    autocast.

    u, delta, z      (S, W, L), any float type each; no steps give no outputs and the initial state
    A                (W, N)
    B, C             (S, N, L), or (S, G, N, L) with the channels in G consecutive blocks
    D, delta_bias    (W,)
    delta_softplus   take delta = softplus(delta + delta_bias), not delta + delta_bias
    initial_state    (S, W, N), zero where None
    path             as in `tsfm.kernels`; a complex A, and a constant B or C (W, N), take "reference" always
    returns          (S, W, L) in the type of u and (S, W, N) in float32 or wider
    """
    check(u, delta, A, B, C, z, initial_state)
    for name, row in (("D", D), ("delta_bias", delta_bias)):
        if row is not None and row.shape != u.shape[1:2]:
            raise DataError(f"{name} has shape {tuple(row.shape)}; {u.shape[1]} channels need ({u.shape[1]},)")
    if path == "reference" or A.is_complex() or 2 in (B.ndim, C.ndim):
        return reference_scan.selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state)
    into, out_of = (matrix[:, None] if matrix.ndim == 3 else matrix for matrix in (B, C))
    groups = into.shape[1]
    if out_of.shape[1] != groups:  # the fewer groups are repeated
        groups = max(groups, out_of.shape[1])
        into, out_of = (x.repeat_interleave(groups // x.shape[1], dim=1) for x in (into, out_of))
    out, last, _ = scan(
        u.transpose(1, 2).contiguous(),
        delta.transpose(1, 2).contiguous(),
        A.unflatten(0, (groups, -1)).transpose(1, 2).contiguous(),
        into.permute(0, 3, 1, 2).contiguous(),
        out_of.permute(0, 3, 1, 2).contiguous(),
        D,
        None if z is None else z.transpose(1, 2).contiguous(),
        delta_bias,
        None if initial_state is None else grouped(initial_state, groups),
        delta_softplus,
        path,
    )
    return out.transpose(1, 2), last.transpose(2, 3).flatten(1, 2)


def check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, z: Tensor | None, state: Tensor | None) -> None:
    """Raise where shapes do not fit together."""
    series, channels, length = u.shape
    for name, other in (("delta", delta), ("z", z)):
        if other is not None and other.shape != u.shape:
            raise DataError(f"{name} has shape {tuple(other.shape)} and u {tuple(u.shape)}; both are (S, W, L)")
    if A.ndim != 2 or A.shape[0] != channels:
        raise DataError(f"A has shape {tuple(A.shape)}; {channels} channels need ({channels}, N)")
    for name, matrix in (("B", B), ("C", C)):
        states = (series, A.shape[1], length)
        shared = matrix.ndim == 4 and matrix.shape[1] > 0 and channels % matrix.shape[1] == 0
        fits = {2: matrix.shape == A.shape, 3: matrix.shape == states, 4: shared and matrix[:, 0].shape == states}
        if not fits.get(matrix.ndim, False):
            raise DataError(f"{name} has shape {tuple(matrix.shape)}; it must be {states}, or with groups as axis 1")
    if state is not None and state.shape != (series, *A.shape):
        raise DataError(f"initial_state has shape {tuple(state.shape)}; it must be {(series, *A.shape)}")


def grouped(state: Tensor, groups: int) -> Tensor:
    """A state (S, W, N) as (S, G, N, P)."""
    apart: Tensor = state.unflatten(1, (groups, -1))  # (S, G, P, N)
    return apart.transpose(2, 3).contiguous()


def implementation(path: str) -> ModuleType:
    """The module that runs a path; Triton is imported only when asked for."""
    if path == "cpu":
        return scan_torch
    if path != "triton":
        raise DataError(f"path={path!r} is not known; pass 'triton', 'cpu' or 'reference'")
    try:
        from tsfm.kernels import scan_triton
    except ImportError as error:
        raise MissingDependency("this path needs Triton: pip install 'tsfm-forecast[triton]'") from error
    return scan_triton


def selective_step(
    state: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """Output and state of one more step of the selective scan, for series that arrive step by step.

    state        (S, W, N)
    u, delta, z  (S, W)
    A            (W, N)
    B, C         (S, N) or (S, G, N)
    D, delta_bias (W,)
    returns      (S, W) in the type of u and (S, W, N) in float32 or wider
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    value, step = u.to(wide), delta.to(wide)
    if delta_bias is not None:
        step = step + delta_bias.to(wide)
    if delta_softplus:
        step = F.softplus(step)
    groups = [matrix.to(wide).view(matrix.shape[0], -1, A.shape[1]) for matrix in (B, C)]  # (S, G, N)
    into, out_of = (matrix.repeat_interleave(u.shape[1] // matrix.shape[1], dim=1) for matrix in groups)
    decay = torch.exp(step[..., None] * A.to(wide))
    state = torch.addcmul(into * (step * value)[..., None], decay, state.to(wide))
    out = (out_of * state).sum(-1)
    if D is not None:
        out = torch.addcmul(out, D.to(wide), value)
    if z is not None:
        out = out * F.silu(z.to(wide))
    return out.to(u.dtype), state


@torch.library.custom_op("tsfm::selective_scan", mutates_args=())
def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    start: Tensor | None,
    softplus: bool,
    path: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (S, L, W), last state (S, G, N, P) and every 64th state (S, ceil(L / 64), G, N, P); all contiguous.

    u, delta, z (S, L, W); A (G, N, P); B, C (S, L, G, N); D, bias (W,); start (S, G, N, P)
    """
    found: tuple[Tensor, Tensor, Tensor]
    with torch.autocast(u.device.type, enabled=False):
        found = implementation(path).forward(u, delta, A, B, C, D, z, bias, start, softplus)
    return found


@scan.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    kind, (series, length) = torch.promote_types(u.dtype, torch.float32), u.shape[:2]
    chunks = (length + scan_torch.EVERY - 1) // scan_torch.EVERY
    state = u.new_empty(series, *A.shape, dtype=kind)
    return torch.empty_like(u), state, u.new_empty(series, chunks, *A.shape, dtype=kind)


@torch.library.custom_op("tsfm::selective_scan_backward", mutates_args=())
def scan_backward(
    grad: Tensor,
    grad_last: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    saved: Tensor,
    softplus: bool,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z (empty where there is none), bias and start; sums in the type of saved."""
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
    with torch.autocast(u.device.type, enabled=False):
        found = implementation(path).backward(grad, grad_last, u, delta, A, B, C, D, z, bias, saved, softplus)
    return found


@scan_backward.register_fake
def _(
    grad: Tensor,
    grad_last: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    saved: Tensor,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    channels = u.shape[2]
    return (
        torch.empty_like(u),
        torch.empty_like(delta),
        saved.new_empty(A.shape),
        saved.new_empty(B.shape),
        saved.new_empty(C.shape),
        saved.new_empty(channels),
        u.new_empty(0) if z is None else torch.empty_like(z),
        saved.new_empty(channels),
        saved.new_empty(u.shape[0], *A.shape),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, start, ctx.softplus, ctx.path = inputs
    ctx.start = None if start is None else start.dtype
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, grad_last: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, saved = ctx.saved_tensors
    grad = torch.zeros_like(tensors[0]) if grad is None else grad.contiguous()
    grad_last = None if grad_last is None else grad_last.contiguous()
    *found, start = scan_backward(grad, grad_last, *tensors, saved, ctx.softplus, ctx.path)
    grads = [None if x is None else g.to(x.dtype) for x, g in zip(tensors, found, strict=True)]
    return *grads, None if ctx.start is None else start.to(ctx.start), None, None


scan.register_autograd(_backward, setup_context=_keep)
