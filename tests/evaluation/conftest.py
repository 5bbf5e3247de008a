"""A made set on disk and the scripts of `evaluation/` as modules."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def made_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a set of three hourly series, one with gaps, one all missing where it is tested, under $TSFM_DATA."""
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, the extra `data`")
    noise = np.random.default_rng(5).normal(size=(3, 240))
    values = 10 + 3 * np.sin(2 * np.pi * np.arange(240) / 24) + noise
    values[1, ::7] = np.nan
    values[2, -48:] = np.nan
    (tmp_path / "eval").mkdir()
    frame = pd.DataFrame({"item_id": list("abc"), "start": pd.Timestamp("2024-01-01"), "freq": "h"})
    frame["target"] = list(values.astype(np.float32))
    frame.to_parquet(tmp_path / "eval" / "made.parquet")
    monkeypatch.setenv("TSFM_DATA", str(tmp_path))
    return "made"


@pytest.fixture
def script(checkout: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of `evaluation/` by name."""
    names = set()

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"script_{name}", checkout / "evaluation" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        names.add(spec.name)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        del sys.modules[name]
