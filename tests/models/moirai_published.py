"""A small Moirai-MoE with random weights, and what the authors' code computed with it (tests/fixtures/NOTICE)."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from tsfm.models.moirai_moe import MoiraiMoE
from tsfm.models.moirai_moe_files import read_config, read_tensors
from tsfm.models.moirai_moe_tokens import Block, Layout, Tokens, tokens
from tsfm.nn.mixture import Mixture

FIXTURE = Path(__file__).parent.parent / "fixtures" / "moirai_moe"
CASES = ["uni_h16", "uni_h40", "raw_long", "multi_h24", "cov_h24"]
TIGHT = {"rtol": 1e-5, "atol": 1e-5}


@cache
def published_arrays() -> dict[str, torch.Tensor]:
    """Every array of the fixture but the names of its gradients."""
    arrays = np.load(FIXTURE / "io.npz")
    return {name: torch.from_numpy(arrays[name]) for name in arrays.files if not name.endswith("grad_names")}


@cache
def published_model() -> MoiraiMoE:
    made = MoiraiMoE(read_config(json.loads((FIXTURE / "config.json").read_text())))
    made.load_state_dict(read_tensors(load_file(FIXTURE / "model.safetensors")))
    return made.eval()


def given(io: dict[str, torch.Tensor], case: str, horizon: int | None = None) -> tuple[Tokens, Layout]:
    """The tokens of a case, from the series that the published forecaster was given."""
    steps, _, _, ahead, past, patch = io[f"{case}.config"].tolist()

    def block(values: str, observed: str) -> Block:
        return Block(io[f"{case}.{values}"].transpose(1, 2), io[f"{case}.{observed}"].transpose(1, 2))

    return tokens(
        patch,
        horizon or steps,
        block("past_target", "past_observed_target"),
        io[f"{case}.past_is_pad"],
        block("feat_dynamic_real", "observed_feat_dynamic_real") if ahead else None,
        block("past_feat_dynamic_real", "past_observed_feat_dynamic_real") if past else None,
    )


def stored_tokens(io: dict[str, torch.Tensor], case: str) -> Tokens:
    """The tokens that the fixture holds; those that train_long does not name are the ones of raw_long."""
    names = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
    parts = [io.get(f"{case}.{name}", io.get(f"raw_long.convert.{name}")) for name in names]
    return Tokens(*(part if part.dtype != torch.int32 else part.long() for part in parts))


def stored_mixture(io: dict[str, torch.Tensor], case: str) -> Mixture:
    """The mixture as the published code computed it."""
    names = ("student_t.df", "student_t.loc", "student_t.scale", "normal_fixed.loc", "neg_binomial.total_count")
    names += ("neg_binomial.logits", "log_normal.loc", "log_normal.scale")
    parts = [io[f"{case}.dist.{name}"] for name in ("weights_logits", *names)]
    return Mixture(*parts, io[f"{case}.fwd.loc"], io[f"{case}.fwd.scale"])
