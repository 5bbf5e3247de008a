"""The losses of a trained network in and out of distribution, the same way for decoders and encoders.

A forecast fills the window that networks were trained on, neither more tokens nor fewer hidden ones: a window of T
patches and one more is cut into N of context and T + 1 - N to forecast, at least 15% and at most half of them, of
which the first are read. Losses are pinball losses in squashed units (tsfm/nn/scaling.py): positive, without a unit,
and the same whatever a series is measured in, which a likelihood is not. MASE is of the median, over that of the
seasonal naive forecast on the same windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsfm.kernels import choose_precision
from tsfm.models.moe_decoder import MoEDecoder
from tsfm.nn.losses import pinball
from tsfm.nn.scaling import Scale, squash, unsquash
from tsfm.scaling.corpus import Corpus, save
from tsfm.scaling.learner import TARGET_LIMIT, hidden_range, seen_by

# n windows, C context steps, H horizon, T patches of a training window's context, P patch length, Q quantile levels.

CHUNK = 256
NEAR, FAR = 1, 8  # patches that the losses in distribution are of
SQUASHED_LIMIT = 12.0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Exam:
    """Windows of one task, packed once.

    values  (n, C) NaN where missing, in units of the context's deviation around its mean
    target  (n, H) in the same units
    scale   (n,) seasonal error of the history in the same units, for MASE; NaN where there is none
    naive   (n,) mean absolute error of the seasonal naive forecast
    """

    task: str
    values: Floats
    target: Floats
    scale: Floats
    naive: Floats


class Forecast(NamedTuple):
    """Quantiles (B, H, Q) and target (B, H) in squashed units, and the median (B, H) in those of the values."""

    quantiles: Tensor
    target: Tensor
    median: Tensor


def longest_horizon(context: int, patch: int) -> int:
    """Steps of the longest forecast that a network trained on windows of this context is asked for."""
    return hidden_range(context // patch + 1)[1] * patch


@torch.no_grad()
def forecast(model: MoEDecoder, kind: str, values: Tensor, target: Tensor) -> tuple[Forecast, Tensor]:
    """Forecast the steps after each context, and say which contexts (B,) have a scale to forecast in.

    values  (B, C) NaN where missing; target (B, H)
    """
    patch, patches = model.patch, model.max_context // model.patch
    asked = -(-target.shape[1] // patch)
    ahead = max(asked, hidden_range(patches + 1)[0])
    reach = (patches + 1 - ahead) * patch
    cropped = torch.nn.functional.pad(values[:, -reach:], (max(0, reach - values.shape[1]), 0), value=torch.nan)
    rows = cropped.unflatten(1, (-1, patch))
    observed = ~rows.isnan()
    channels, bias, scale = seen_by(model, kind, torch.where(observed, rows, 0.0), observed, ahead - 1)
    precision = choose_precision(torch.device("cpu"))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        made = model(channels, bias)[0][:, -ahead:][:, :asked].float()
    scale = Scale(*(part[:, -ahead:][:, :asked] for part in scale))
    wanted = torch.nn.functional.pad(target, (0, asked * patch - target.shape[1]), value=torch.nan)
    squashed = squash(wanted.unflatten(1, (-1, patch)), scale).clamp(-TARGET_LIMIT, TARGET_LIMIT)
    middle = made[..., len(model.levels) // 2].clamp(-SQUASHED_LIMIT, SQUASHED_LIMIT)
    horizon = target.shape[1]
    parts = (part.flatten(1, 2)[:, :horizon] for part in (made, squashed, unsquash(middle, scale)))
    return Forecast(*parts), scale.usable[:, 0] & (scale.seen[:, 0] >= 3)


def window_losses(model: MoEDecoder, kind: str, values: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Pinball loss, and absolute error of the median, of each window (n,); NaN where nothing can be measured."""
    levels = torch.tensor(model.levels)
    losses, errors = [], []
    for first in range(0, len(values), CHUNK):
        shown, after = (torch.from_numpy(part[first : first + CHUNK]) for part in (values, target))
        made, usable = forecast(model, kind, shown, after)
        usable = usable & (~after.isnan()).any(1)
        each = pinball(made.target, made.quantiles, levels).nanmean(1)
        losses.append(torch.where(usable, each, torch.nan))
        errors.append(torch.where(usable, (after - made.median).abs().nanmean(1), torch.nan))
    return torch.cat(losses).numpy(), torch.cat(errors).numpy()


def in_distribution(model: MoEDecoder, kind: str, corpus: Corpus) -> dict[str, float]:
    """Losses on the windows of the corpus that nothing was trained on, 8 patches ahead and one."""
    found: dict[str, float] = {}
    patch, real = model.patch, corpus.exam_is_real
    for name, patches in (("id_loss", FAR), ("id_loss_near", NEAR)):
        losses, _ = window_losses(model, kind, corpus.exam[:, : -patches * patch], corpus.exam[:, -patches * patch :])
        found[name] = mean(losses)
        if patches == FAR:
            found["id_loss_synthetic"], found["id_loss_real"] = mean(losses[~real]), mean(losses[real])
    return found


def out_of_distribution(
    model: MoEDecoder, kind: str, exams: Sequence[Exam]
) -> tuple[dict[str, float], dict[str, float]]:
    """Means over tasks, and the loss of each: arithmetic and geometric mean loss, geometric mean of MASE ratios."""
    each, ratios = {}, []
    for exam in exams:
        losses, errors = window_losses(model, kind, exam.values, exam.target)
        each[exam.task] = mean(losses)
        ratio = mean(errors / exam.scale) / mean(exam.naive / np.where(np.isnan(errors), np.nan, exam.scale))
        if np.isfinite(ratio):
            ratios.append(ratio)
    losses = np.array(list(each.values()))
    means = {"ood_loss": mean(losses), "ood_loss_geometric": geometric(losses), "mase": geometric(np.array(ratios))}
    return means, each


def losses_of(model: MoEDecoder, kind: str, corpus: Corpus, exams: Sequence[Exam]) -> dict[str, Any]:
    """All that a row says of a trained network's losses; under `tasks` the loss of each task."""
    means, each = out_of_distribution(model, kind, exams) if exams else ({}, {})
    return {**in_distribution(model, kind, corpus), **means, "tasks": each}


def mean(values: NDArray[np.floating]) -> float:
    """Mean of the finite values, NaN of none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else float("nan")


def geometric(values: NDArray[np.floating]) -> float:
    """Geometric mean of the positive values, NaN of none."""
    positive = values[np.isfinite(values) & (values > 0)]
    return float(np.exp(np.log(positive, dtype=np.float64).mean())) if len(positive) else float("nan")


def next_patch_losses(model: MoEDecoder, rows: Floats) -> Floats:
    """Mean loss of a decoder over all next patches of each window, rows (B, L) -> (B,); 0 where none counts."""
    values = torch.from_numpy(rows).unflatten(1, (-1, model.patch))
    observed = ~values.isnan()
    values = torch.where(observed, values, 0.0)
    channels, bias, scale = seen_by(model, "decoder", values[:, :-1], observed[:, :-1])
    precision = choose_precision(torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        quantiles = model(channels, bias)[0].float()
    target = squash(values[:, 1:], scale).clamp(-TARGET_LIMIT, TARGET_LIMIT)
    counted = observed[:, 1:] & (scale.usable & (scale.seen >= 3))[..., None]
    each = torch.where(counted, pinball(target, quantiles, torch.tensor(model.levels)), 0.0)
    return np.asarray(each.sum((1, 2)) / counted.sum((1, 2)).clamp(min=1), dtype=np.float32)


def write_exams(path: Path, exams: Sequence[Exam]) -> None:
    """Keep packed windows in one .npz file."""
    parts = ("values", "target", "scale", "naive")
    save(path, {f"{exam.task}:{part}": getattr(exam, part) for exam in exams for part in parts})


def read_exams(path: Path) -> list[Exam]:
    """What `write_exams` wrote, in its order."""
    return list(_exams(path))


def _exams(path: Path) -> Iterator[Exam]:
    with np.load(path) as kept:
        for task in dict.fromkeys(name.rpartition(":")[0] for name in kept.files):
            yield Exam(task, *(kept[f"{task}:{part}"] for part in ("values", "target", "scale", "naive")))
