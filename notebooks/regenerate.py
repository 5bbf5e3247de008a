"""Execute the notebooks: `notebooks/NN_name.py` (a jupytext percent script, the source) -> `NN_name.ipynb`.

    python notebooks/regenerate.py [NAME ...]     all of them, or those whose file name starts with NAME

The result depends on the script alone: cells are numbered, no time or machine is recorded, so a second run on the same
code changes nothing but the figures themselves.
"""

import base64
import io
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
SECONDS_A_CELL = 300
COLOURS = 256  # of a stored figure


def scripts(prefixes: list[str]) -> list[Path]:
    """The notebook scripts, by number."""
    return [path for path in sorted(FOLDER.glob("[0-9]*.py")) if not prefixes or path.name.startswith(tuple(prefixes))]


def read_script(script: Path) -> nbformat.NotebookNode:
    """The notebook that a script stands for, without outputs, its cells numbered."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number:02d}"
    notebook.metadata.pop("jupytext", None)
    return notebook


def execute(script: Path) -> nbformat.NotebookNode:
    """The notebook of a script with its outputs; a cell that fails raises `nbclient.exceptions.CellExecutionError`."""
    notebook = read_script(script)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = base64.b64encode(smaller(base64.b64decode(data["image/png"]))).decode()
    return notebook


def smaller(png: bytes) -> bytes:
    """A figure with a palette, which looks the same and takes a third: what is committed stays in the history."""
    written = io.BytesIO()
    with Image.open(io.BytesIO(png)) as figure:
        figure.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


def main() -> None:
    for script in scripts(sys.argv[1:]):
        notebook = execute(script)
        nbformat.validate(notebook)
        nbformat.write(notebook, script.with_suffix(".ipynb"))
        print(script.with_suffix(".ipynb").relative_to(FOLDER.parent))


if __name__ == "__main__":
    main()
