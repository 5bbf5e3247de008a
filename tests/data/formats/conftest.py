"""A card with what every card must say, and the reader that it names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tsfm.data.formats  # noqa: F401  (fills the registry of readers)
from datasets_registry import Card
from tsfm import registry
from tsfm.data.series import Series


@pytest.fixture(scope="session")
def read() -> Callable[..., list[Series]]:
    """Call a reader by its name: read("tsf", path, ..., frequency="h", target=("a",))."""

    def call(reader: str, *paths: Path, frequency: str = "h", **more: Any) -> list[Series]:
        said: dict[str, Any] = dict.fromkeys(("title", "source", "licence", "why"), "made")
        said |= {"role": "own", "training": "never", "season": 1, "horizon": 1}
        card = Card(name="made", frequency=frequency, reader=reader, **said, **more)
        found: list[Series] = registry.get(reader, kind="reader")(card, paths)
        return found

    return call


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the many examples of one test may write into again and again."""
    return tmp_path_factory.mktemp("formats")
