"""The tree stays small and readable: sizes of the checkout, of files and of functions, and pins that agree."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

TREE_BYTES = 45e6
FILE_LINES, KERNEL_LINES, FUNCTION_LINES = 300, 400, 70
PYTHON_FOLDERS = ("tsfm", "datasets_registry", "evaluation", "notebooks")


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> list[Path]:
    """The files that git tracks, or a skip outside a clone."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [checkout / name for name in listing.stdout.split("\0") if name and (checkout / name).is_file()]


def pins(path: Path) -> dict[str, str]:
    """Package -> version of a constraints file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name.lower(): version for name, version in (line.split("==") for line in lines)}


def test_the_tracked_tree_stays_under_45_megabytes(tracked: list[Path]):
    assert sum(path.stat().st_size for path in tracked) < TREE_BYTES


def test_no_file_is_longer_than_its_budget(tracked: list[Path], checkout: Path):
    for path in tracked:
        name = path.relative_to(checkout)
        if path.suffix == ".py" and name.parts[0] in PYTHON_FOLDERS:
            budget = KERNEL_LINES if "kernels" in name.parts else FILE_LINES
            assert len(path.read_text().splitlines()) <= budget, f"{name}: is there a natural seam?"


def test_no_function_is_longer_than_its_budget(tracked: list[Path], checkout: Path):
    for path in tracked:
        name = path.relative_to(checkout)
        if path.suffix == ".py" and name.parts[0] in PYTHON_FOLDERS:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    assert lines <= FUNCTION_LINES, f"{name}:{node.lineno} {node.name} has {lines} lines"


def test_every_module_opens_with_a_docstring(tracked: list[Path], checkout: Path):
    for path in tracked:
        name = path.relative_to(checkout)
        if path.suffix == ".py" and name.parts[0] in ("tsfm", "evaluation") and path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), f"{name} has no docstring"


def test_the_pins_are_plain_versions(checkout: Path):
    for name in ("constraints.txt", "constraints-pandas3.txt"):
        for package, version in pins(checkout / name).items():
            assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}: {package}=={version}"
    assert pins(checkout / "constraints.txt")["torch"] == "2.13.0"
    assert pins(checkout / "constraints.txt")["triton"] == "3.7.1"


def test_the_pandas_3_pins_differ_in_pandas_and_in_what_it_rules_out(checkout: Path):
    usual, newer = pins(checkout / "constraints.txt"), pins(checkout / "constraints-pandas3.txt")
    assert newer["pandas"].startswith("3.")
    assert set(usual) - set(newer) == {"fugue", "gluonts", "statsforecast"}
    assert {name for name in newer if newer[name] != usual.get(name)} == {"pandas"}


def test_every_requirement_is_pinned(checkout: Path):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in wanted} - {"tsfm-forecast"}
    assert names <= set(pins(checkout / "constraints.txt"))


def test_continuous_integration_runs_what_the_readme_says(checkout: Path):
    commands = [line for line in (checkout / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "make test"
    assert "make forecast" in (checkout / "README.md").read_text()
    assert "make test" in (checkout / "README.md").read_text()
