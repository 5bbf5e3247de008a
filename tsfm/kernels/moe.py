"""Grouped matrix products over rows sorted by expert: the whole of a sparse layer that plain torch cannot fuse.

Two operations, registered with `torch.library` so that `torch.compile` takes a layer whole: `rows_matmul` multiplies
each expert's rows by its weight, `weight_grad` is its gradient with respect to the weights. Everything around them
(gather, SwiGLU, weighting, the sum over a token's experts) is ordinary torch that the compiler fuses.

    start  (E + 1,) int64   first sorted row of each expert; rows are sorted by expert, none are dropped or padded

Rows of one expert are one GEMM on the CPU: at forecaster sizes this sits at the dense floor, because copies and not
FLOPs are what separates the ways of grouping.
"""

import torch
from torch import Tensor

# R routed rows, E experts, M output width, K input width.


@torch.library.custom_op("tsfm::rows_matmul", mutates_args=())
def rows_matmul(rows: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """Each row times the weight of its expert.

    rows    (R, K)     sorted by expert
    weight  (E, M, K)  as in `nn.Linear`; any strides
    start   (E + 1,)   first row of each expert
    returns (R, M)
    """
    out = rows.new_empty(rows.shape[0], weight.shape[1])
    bounds = start.tolist()
    for expert, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if last > first:
            torch.mm(rows[first:last], weight[expert].t(), out=out[first:last])
    return out


@rows_matmul.register_fake
def _(rows: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


@torch.library.custom_op("tsfm::weight_grad", mutates_args=())
def weight_grad(left: Tensor, right: Tensor, start: Tensor) -> Tensor:
    """Sum over each expert's rows of the outer product of left and right; zeros for an expert without rows.

    left (R, K), right (R, M), start (E + 1,) -> (E, K, M)
    """
    bounds = start.tolist()
    out = left.new_empty(len(bounds) - 1, left.shape[1], right.shape[1])
    for expert, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if last > first:
            torch.mm(left[first:last].t(), right[first:last], out=out[expert])
        else:
            out[expert].zero_()
    return out


@weight_grad.register_fake
def _(left: Tensor, right: Tensor, start: Tensor) -> Tensor:
    return left.new_empty(start.shape[0] - 1, left.shape[1], right.shape[1])


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _rows_matmul_backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    rows, weight, start = ctx.saved_tensors  # type: ignore[attr-defined]
    grad = grad.contiguous()
    return rows_matmul(grad, weight.transpose(1, 2), start), weight_grad(grad, rows, start), None


rows_matmul.register_autograd(_rows_matmul_backward, setup_context=_keep)
