"""Arrivals: the points that follow a panel, each at the step of its series that its time stamp says.

Numbers without stamps are the next steps, in order. Those with stamps may come in any order and leave steps out, which
are missing then; a stamp of a step that was read already is an error, and so is one so far ahead that nothing read
before would count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfm.data.clocks import Ticks
from tsfm.data.filling_frames import slots_of
from tsfm.data.stamps import read_times
from tsfm.data.timeaxis import TimeIndex
from tsfm.errors import DataError
from tsfm.panel import Floats, Panel

# n series, K new points of one of them.


def arrivals(points: Any, panel: Panel, read: Sequence[int], most: int) -> list[Floats]:
    """The next steps (K_i,) of each of n series, NaN where missing.

    points  of one series: a number, an array or a Series; of several: a mapping from id, a sequence of them in order,
            or a frame as the panel came in
    read    steps of each series that are there already; most: that one may go on at once by stamps
    """
    given = parts_of(plain(points), panel)
    places = zip(panel.ids, panel.index, read, strict=True)
    return [placed(part, name, axis, steps, most) for part, (name, axis, steps) in zip(given, places, strict=True)]


def plain(points: Any) -> Any:
    """Frames and series of other libraries as those of pandas; anything else as it is."""
    if isinstance(points, pd.DataFrame | pd.Series | np.ndarray | Mapping | list | tuple | int | float):
        return points
    from tsfm.data.foreign import read_foreign

    known = read_foreign(points)
    return points if known is None else known[0]


def parts_of(points: Any, panel: Panel) -> list[Any]:
    """What each series is given, empty where it is given nothing."""
    ids = panel.ids
    if isinstance(points, pd.Series) and isinstance(points.index, pd.MultiIndex):
        points = points.to_frame(panel.origin.target)
    if isinstance(points, pd.DataFrame):
        points = columns_of(points, panel)
    if isinstance(points, Mapping):
        unknown = sorted(set(points) - set(ids), key=str)
        if unknown:
            raise DataError(f"series {unknown[0]!r} is not in this stream; begin a new one with it")
        return [points.get(name, ()) for name in ids]
    if len(ids) == 1:
        return [points]
    given = list(points) if np.iterable(points) else [points]
    if len(given) != len(ids):
        raise DataError(f"update has points for {len(given)} series and the stream has {len(ids)}; use a dict")
    return given


def columns_of(frame: pd.DataFrame, panel: Panel) -> dict[Any, Any]:
    """The series of a frame by id, on its time stamps."""
    origin = panel.origin
    if isinstance(frame.index, pd.MultiIndex):
        frame = frame.set_axis(frame.index.set_names([origin.id, origin.time])).reset_index()
    if origin.time is not None and origin.time in frame.columns:
        frame = frame.set_index(origin.time)
    if origin.family != "long":
        beside = set(panel.ids) <= set(
            frame.columns
        )  # other columns than the series may stand there, as in the history
        return {name: frame[name] for name in (panel.ids if beside else frame.columns)}
    if missing := [name for name in (origin.id, origin.target) if name is not None and name not in frame.columns]:
        raise DataError(f"the new rows have no column {missing[0]!r}, as the history had; give them in the same way")
    if origin.id is None:
        return {panel.ids[0]: frame[origin.target]}
    return dict(iter(frame.groupby(origin.id, sort=False)[origin.target]))


def placed(part: Any, name: Any, axis: TimeIndex, read: int, most: int) -> Floats:
    """The next steps (K,) of one series."""
    numbers = numbers_of(part, name)
    if not isinstance(part, pd.Series) or not stamped(part.index) or not len(part):
        return numbers
    if axis.clock.kind == "none" or axis.frequency is None or axis.stamps is not None:
        return numbers  # no stamp says which step comes next
    steps = slots_of(axis, ticks_on(part.index, name, axis)) - read
    if steps.min() < 0:
        early = part.index[int(steps.argmin())]
        raise DataError(
            f"series {name!r} has a new point at {early}, and {read:,} steps up to {axis_end(axis, read)} were read "
            "already; give later ones alone, or begin a new stream to change what was read"
        )
    if steps.max() >= most:
        raise DataError(
            f"series {name!r} goes on at {part.index[int(steps.argmax())]}, {int(steps.max()) + 1:,} steps after "
            f"{axis_end(axis, read)}, and the model reads {most:,}; begin a new stream there"
        )
    if len(np.unique(steps)) < len(steps):
        twice = part.index[int(np.flatnonzero(np.bincount(steps)[steps] > 1)[-1])]
        raise DataError(f"series {name!r} has more than one new point for the step at {twice}; give one of them")
    found = np.full(int(steps.max()) + 1, np.nan)
    found[steps] = numbers
    return found


def numbers_of(part: Any, name: Any) -> Floats:
    """The points of one series (K,) as numbers, or why they are none."""
    try:
        array = np.asarray(part, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise DataError(f"series {name!r}: {part!r} holds what is no number; give numbers, NaN where missing") from None
    if np.isinf(array).any():
        raise DataError(f"series {name!r} has an infinite new value; give NaN where it is missing")
    return array


def stamped(index: Any) -> bool:
    """Whether an index says when: one that counts rows from 0 does not."""
    return not (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1)


def ticks_on(index: Any, name: Any, axis: TimeIndex) -> Ticks:
    """Absolute ticks (K,) of new stamps, on the clock of the axis."""
    clock = axis.clock
    found, ticks, _ = read_times(index, str(index.name or "index"), lambda _: f"series {name!r}")
    if (found.kind, found.period, found.zone is None) != (clock.kind, clock.period, clock.zone is None):
        raise DataError(
            f"series {name!r} has a new point at {index[0]}, which is no stamp of the kind of "
            f"{clock.show(axis.start)}; give the index the type and time zone that the history has"
        )
    if found.kind in ("datetime", "timedelta") and found.tick != clock.tick:
        ticks = ticks * 1000 if clock.tick == "ns" else ticks // 1000
    return ticks


def axis_end(axis: TimeIndex, read: int) -> Any:
    """The stamp of the last step read."""
    return replace(axis, length=read - 1).future(1)[0] if read else axis.past()[0]
