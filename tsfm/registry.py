"""Names of the things a person can add: one dictionary a kind, filled by explicit decorators.

    @register("moe-decoder")                    a zero-shot forecaster
    @register("s-mamba", kind="architecture")   a model that must be fitted first
    @register("wide_csv", kind="reader")        a data set reader

Nothing is found by scanning folders: `tsfm/models/__init__.py` imports every model file by one line.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from tsfm.errors import UnknownName

Kind = str
Entry = TypeVar("Entry", bound=Callable[..., Any])

KINDS: tuple[Kind, ...] = ("forecaster", "architecture", "reader")
_entries: dict[Kind, dict[str, Any]] = {kind: {} for kind in KINDS}


def register(name: str, kind: Kind = "forecaster") -> Callable[[Entry], Entry]:
    """Return a decorator that files a class or function under `name`; a name is given once a kind."""
    if kind not in _entries:
        raise UnknownName(f"no kind {kind!r} in the registry; kinds are {', '.join(KINDS)}")

    def enter(entry: Entry) -> Entry:
        if name in _entries[kind]:
            raise ValueError(f"{kind} {name!r} is registered already; choose another name")
        _entries[kind][name] = entry
        return entry

    return enter


def get(name: str, kind: Kind = "forecaster") -> Any:
    """Return the entry filed under `name`, or raise `UnknownName` with the names that exist."""
    if name not in _entries.get(kind, {}):
        raise UnknownName(f"no {kind} named {name!r}; there are {', '.join(names(kind)) or 'none'}")
    return _entries[kind][name]


def names(kind: Kind = "forecaster") -> list[str]:
    """Names of one kind, in alphabetical order."""
    return sorted(_entries.get(kind, {}))
