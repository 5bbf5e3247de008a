"""What a person may say of an architecture's config beside its sizes: fields by name, of the types that they have."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tsfm.errors import DataError, UnknownName

SIZES = {"context": "--context", "horizon": "--horizon", "variates": "the columns of the data"}


def checked_options(name: str, config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the fields of an architecture's config class take them, or why one cannot be taken."""
    fields = {one.name for one in dataclasses.fields(config)} - set(SIZES)
    strange = sorted(set(options) - fields - set(SIZES))
    if strange:
        raise UnknownName(f"{name} has no option {', '.join(strange)}; its options are {', '.join(sorted(fields))}")
    if sizes := [field for field in SIZES if field in options]:
        raise DataError(f"{sizes[0]} is no option of {name}: it follows from {SIZES[sizes[0]]}")
    types = get_type_hints(config)
    return {field: checked(field, value, types[field]) for field, value in options.items()}


def checked(field: str, value: Any, kind: Any) -> Any:
    """A value of a field's type."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise DataError(f"{field}={value!r} is not known; give one of {', '.join(map(str, get_args(kind)))}")
    elif get_origin(kind) is tuple:
        values = tuple(value) if isinstance(value, tuple | list) else (value,)
        return tuple(checked(field, one, get_args(kind)[0]) for one in values)
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{field}={value!r} is no number; give one such as 0.1")
        return float(value)
    elif kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise DataError(f"{field}={value!r} is no whole number from 0 on; give one such as 8")
    elif not isinstance(value, kind):
        raise DataError(
            f"{field}={value!r} is no {kind.__name__}; give {'True or False' if kind is bool else 'a word'}"
        )
    return value
