"""A progress bar for long work, where somebody watches: in a terminal or a notebook, silent elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

LONG = 2.0


def somebody_watches() -> bool:
    """Tell whether standard error is a terminal, or this is a notebook."""
    stream: Any = sys.stderr
    return "ipykernel" in sys.modules or (stream is not None and stream.isatty())


class Progress:
    """Series done, series a second and the time left; drawn only once the work is seen to take over two seconds.

    shown   True or False force it, None decides as the module says
    """

    def __init__(self, total: int, shown: bool | None, text: str = "forecast", unit: str = "series"):
        self.total, self.text, self.unit = total, text, unit
        self.shown = somebody_watches() if shown is None else shown
        self.at_once = shown is True
        self.done = 0
        self.began = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if self.at_once:
            self._open()
        return self

    def advance(self, series: int) -> None:
        """Count these series as done."""
        self.done += series
        if self.bar is not None:
            self.bar.update(series)
        elif self.shown and self.done < self.total:
            expected = (time.perf_counter() - self.began) * self.total / self.done
            if expected > LONG:
                self._open()

    def _open(self) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, initial=self.done, unit=self.unit, desc=self.text, leave=False)
        self.bar.start_t -= time.perf_counter() - self.began

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
