"""The public surface: what `import tsfm` costs, what it offers, and that every argument is checked in words."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import tsfm
from tsfm import DataError, UnknownName

SERIES = [1.0, 3.0, 2.0, 4.0, 3.0, 5.0]


def test_importing_the_package_is_fast_and_loads_nothing_heavy():
    script = (
        "import sys, time; began = time.perf_counter(); import tsfm; seconds = time.perf_counter() - began;"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'rich', 'typer', 'tqdm', 'narwhals'} & set(sys.modules);"
        "print(seconds, sorted(heavy))"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in "123"]
    seconds, heavy = zip(*(run.stdout.strip().split(" ", 1) for run in runs), strict=True)
    assert set(heavy) == {"[]"}
    assert min(map(float, seconds)) < 0.2


def test_every_public_name_is_there_and_listed():
    for name in tsfm.__all__:
        assert getattr(tsfm, name) is not None
        assert name in dir(tsfm)
    with pytest.raises(AttributeError, match=r"has no attribute 'oracle'; it has .*forecast"):
        _ = tsfm.oracle


def test_a_star_import_works():
    space: dict[str, object] = {}
    exec("from tsfm import *", space)
    assert set(tsfm.__all__) <= set(space)


def test_no_public_function_is_hidden_by_a_submodule(tmp_path):
    modules = [found.name for found in pkgutil.walk_packages(tsfm.__path__, "tsfm.") if "triton" not in found.name]
    for module in modules:
        importlib.import_module(module)
    assert not set(tsfm.__all__) & {name.removeprefix("tsfm.") for name in modules}
    assert len(tsfm.forecast(SERIES, 3, model="naive").median) == 3
    assert tsfm.load("naive").name == "naive"
    assert str(tsfm.check(SERIES))
    assert tsfm.estimate(SERIES, 3, model="naive").series == 1
    assert tsfm.list_models()
    assert tsfm.register("a-name-for-this-test", kind="reader")(int) is int


def test_forecast_has_the_signature_of_the_design():
    parameters = inspect.signature(tsfm.forecast).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {
        "data": inspect.Parameter.empty,
        "horizon": None,
        "model": "moe-decoder-tiny",
        "quantile_levels": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "past": None,
        "future": None,
        "static": None,
        "jointly": False,
        "id": None,
        "time": None,
        "target": None,
        "freq": None,
        "context": None,
        "batch_size": None,
        "device": "auto",
        "precision": "auto",
        "effort": "fast",
        "clip": "auto",
        "errors": "raise",
        "seed": 0,
        "progress": None,
        "offline": False,
    }
    kinds = [parameter.kind for parameter in parameters.values()]
    assert set(kinds[2:]) == {inspect.Parameter.KEYWORD_ONLY}


def test_impute_has_the_signature_of_the_design():
    parameters = inspect.signature(tsfm.impute).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "data": inspect.Parameter.empty,
        "model": "visual-mae-nano",
        "quantile_levels": None,
        **dict.fromkeys(("id", "time", "target", "freq", "batch_size")),
        "device": "auto",
        "precision": "auto",
        "errors": "raise",
    }
    assert {parameter.kind for parameter in list(parameters.values())[1:]} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"horizon": 0}, DataError, "horizon=0 is too small; give at least 1, such as horizon=24"),
        ({"horizon": -1}, DataError, "horizon=-1 is too small"),
        ({"horizon": 2.5}, DataError, "horizon=2.5 is not a whole number; give one such as horizon=24"),
        ({"horizon": "a"}, DataError, "horizon='a' is not a whole number"),
        ({"horizon": True}, DataError, "horizon=True is not a whole number"),
        ({"quantile_levels": (0.5, 1.0)}, DataError, "quantile level 1.0 is outside (0, 1)"),
        ({"quantile_levels": (0,)}, DataError, "quantile level 0 is outside (0, 1)"),
        ({"quantile_levels": (90,)}, DataError, "for the 90 % quantile give 0.9"),
        ({"quantile_levels": ()}, DataError, "quantile_levels is empty; give at least one level"),
        ({"quantile_levels": "median"}, DataError, "quantile level 'median' is not a number"),
        ({"quantile_levels": (float("nan"),)}, DataError, "quantile level nan is outside (0, 1)"),
        ({"context": 0}, DataError, "context=0 is too small; give at least 1, such as context=512"),
        ({"context": 1.5}, DataError, "context=1.5 is not a whole number"),
        ({"batch_size": 0}, DataError, "batch_size=0 is too small; give at least 1, such as batch_size=64"),
        ({"seed": -1}, DataError, "seed=-1 is too small; give at least 0"),
        ({"seed": None}, DataError, "seed=None is not a whole number"),
        ({"device": "gpu"}, DataError, "device='gpu' cannot be used here"),
        ({"precision": "fp8"}, UnknownName, "precision='fp8' is not known; give one of 'auto', 'fp32', 'bf16'"),
        ({"effort": "most"}, UnknownName, "effort='most' is not known; give one of 'fast', 'best'"),
        ({"clip": 3}, UnknownName, "clip=3 is not known; give one of 'auto', None"),
        ({"errors": "ignore"}, UnknownName, "errors='ignore' is not known; give one of 'raise', 'skip'"),
        ({"progress": "yes"}, UnknownName, "progress='yes' is not known; give one of True, False, None"),
        ({"offline": 1}, UnknownName, "offline=1 is not known; give one of True, False"),
        ({"model": "prophet"}, UnknownName, "model 'prophet' is not known; there are"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_with_the_remedy(options, error, message):
    with pytest.raises(error) as caught:
        tsfm.forecast(SERIES, **{"model": "naive", **options})
    assert message in str(caught.value)


def test_a_whole_number_of_numpy_is_a_horizon():
    assert tsfm.forecast(SERIES, np.int64(4), model="naive").horizon == 4


def test_a_loaded_model_can_be_given_but_not_moved():
    forecaster = tsfm.load("naive")
    assert tsfm.forecast(SERIES, 2, model=forecaster).provenance.model == "naive"
    with pytest.raises(DataError, match=r"a loaded model has its device and precision; give them to tsfm\.load"):
        tsfm.forecast(SERIES, 2, model=forecaster, device="cpu")


def test_an_estimate_says_seconds_megabytes_series_and_batches():
    many = list(np.random.default_rng(0).normal(size=(30, 100)).cumsum(1))
    cost = tsfm.estimate(many, 12, model="seasonal-naive", batch_size=10)
    assert (cost.series, cost.batches) == (30, 3)
    assert cost.seconds > 0
    assert cost.megabytes > 0
    assert str(cost).startswith("30 series in 3 batches: about ")


def test_constant_series_cost_no_model_time():
    assert tsfm.estimate([[1.0, 1.0]], 3, model="naive").batches == 0
