"""Notebooks run with QUICK, read in a minute, and their .ipynb is the script's, executed and without an error."""

import base64
import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
CELLS, CELL_LINES = 12, 15


@pytest.fixture(scope="module")
def regenerate() -> ModuleType:
    """The module that `make notebooks` runs."""
    spec = importlib.util.spec_from_file_location("regenerate", FOLDER / "regenerate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_is_short(script: Path, regenerate: ModuleType):
    notebook = regenerate.read_script(script)
    assert len(notebook.cells) <= CELLS
    for cell in notebook.cells:
        assert len(cell.source.splitlines()) <= CELL_LINES, cell.source
    assert any(
        "parameters" in cell.metadata.get("tags", []) and "QUICK = True" in cell.source for cell in notebook.cells
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_executed_notebook_is_the_scripts(script: Path, regenerate: ModuleType):
    notebook, executed = regenerate.read_script(script), nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in notebook.cells], "run `make notebooks`"
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    figures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert figures, "no figure: run `make notebooks`"
    palette = 3  # colour type in the header of a PNG, which is a third as large as one of all colours
    assert all(base64.b64decode(figure)[25] == palette for figure in figures), "run `make notebooks`"
    assert not any(output.output_type == "error" for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_runs_with_quick(script: Path, regenerate: ModuleType):
    regenerate.execute(script)
