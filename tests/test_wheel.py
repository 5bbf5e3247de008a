"""The wheel forecasts on its own: built, installed elsewhere, and run outside the checkout on its bundled data."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FORECAST = """
import json, pathlib
import tsfm
from tsfm.demo import COLUMNS, load_demo
result = tsfm.forecast(load_demo(), 24, **COLUMNS)
frame = result.to_frame()
print(json.dumps({
    "home": str(pathlib.Path(tsfm.__file__).parent.parent),
    "model": result.provenance.model,
    "rows": len(frame),
    "missing": int(frame.isna().sum().sum()),
    "ordered": bool((frame["0.1"] <= frame["0.9"]).all()),
}))
"""


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the hatchling of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_models_data_cards_and_types_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tsfm", "datasets_registry"}
    for wanted in (
        "tsfm/py.typed",
        "tsfm/demo/airport_covariates.csv",
        "tsfm/demo/airport_departures.csv",
        "tsfm/pretrained/moe-decoder-tiny/config.json",
        "datasets_registry/cards/ETTh1.toml",
    ):
        assert wanted in names
    assert any(name.startswith("tsfm/evaluation/suites/") and name.endswith(".toml") for name in names)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 25e6


def test_the_wheel_forecasts_outside_the_checkout(wheel: Path, tmp_path: Path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", FORECAST], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {"home": str(target), "model": "moe-decoder-tiny", "rows": 72, "missing": 0, "ordered": True}
