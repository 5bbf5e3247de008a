"""The folder of a run under way: what was asked, and the state of every course, so that a killed run goes on.

    sales-model.partial/       beside the folder that the result will have
        settings.json          what was asked of which data; another question is refused
        <method>.safetensors   the course's state at its last look

It is removed once the result is written.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from tsfm.checkpoints import CONFIG
from tsfm.errors import DataError
from tsfm.finetuning.settings import Settings
from tsfm.training.checkpoint import write_text

SETTINGS = "settings.json"
MAY_CHANGE = ("time_budget",)


class Working:
    """Where a run keeps its state; nowhere without `out`."""

    def __init__(self, out: Path | None, settings: Settings):
        self.folder = None if out is None else out.with_name(f"{out.name}.partial")
        self.resumed = False
        if out is None or self.folder is None:
            return
        if out.exists() and not (out.is_dir() and ((out / CONFIG).is_file() or not any(out.iterdir()))):
            raise DataError(f"out={str(out)!r} exists and holds no model; name a new or an empty folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write {self.folder}: {error.strerror or error}; name another out=") from error
        asked = json.loads(json.dumps(asdict(settings)))
        file = self.folder / SETTINGS
        self.resumed = file.exists() and any(self.folder.glob("*.safetensors"))
        if self.resumed:
            before = json.loads(file.read_text())
            changed = [name for name in asked if asked[name] != before.get(name) and name not in MAY_CHANGE]
            if changed:
                raise DataError(
                    f"{self.folder} holds an unfinished run with another {', '.join(changed)}; repeat that call to "
                    "finish it, delete the folder to forget it, or give another out="
                )
        write_text(file, json.dumps(asked, indent=2) + "\n")

    def state(self, method: str) -> Path | None:
        """File of the state of one course."""
        return None if self.folder is None else self.folder / f"{method}.safetensors"

    def close(self) -> None:
        """Remove the folder: the result is written."""
        if self.folder is not None:
            shutil.rmtree(self.folder)
