"""When a note was written: the times of a column, the period of each, and the test rows that a cut in time makes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from r2d.config.data import DataConfig, Period
from r2d.errors import DataError
from r2d.text import first_of

PERIOD = "period"
"""Attribute of each row that has a time: figures are given by it."""


def read_times(
    cells: Sequence[str | None], places: Sequence[str], config: DataConfig, source: str
) -> list[datetime | None]:
    """The time of each row, None where its cell is empty; one with an offset is in UTC, any other as it is written.

    Raises:
        DataError: cells hold no time as declared; names their rows and how many they are, never what they hold.
    """
    times, faulty = list[datetime | None](), []
    for cell, place in zip(cells, places, strict=True):
        text, time = (cell or "").strip(), None
        try:
            if text:
                form = config.time_format
                written = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)
                time = without_offset(written)
        except ValueError:
            faulty.append(place)
        times.append(time)
    if faulty:
        num_filled = sum(bool((cell or "").strip()) for cell in cells)
        wanted = (
            "ISO 8601, such as 2025-03-31 or 2025-03-31T14:05"
            if config.time_format is None
            else (f"data.time_format {config.time_format!r}")
        )
        fix = "declare how they are written in data.time_format, such as '%d.%m.%Y %H:%M'"
        raise DataError(
            f"{source}: column {config.columns.time!r} (data.columns.time) holds no time in {len(faulty):,} of "
            f"{num_filled:,} cells: {first_of(faulty)}; allowed: {wanted}. Mend the rows, {fix}, or name another column"
        )
    return times


def without_offset(time: datetime) -> datetime:
    """The time in UTC where it has an offset, else as it is."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def period_of(time: datetime, period: Period) -> str:
    """Such as `2025`, `2025 Q3` or `2025-08`: by name they are in order."""
    if period == "month":
        return f"{time:%Y-%m}"
    return f"{time:%Y} Q{(time.month + 2) // 3}" if period == "quarter" else f"{time:%Y}"


class TimeSplit(NamedTuple):
    """Rows by a cut in time."""

    test: set[int]
    """Those from the cut on."""
    set_aside: set[int]
    """Those before it whose group has a test row: neither trained on nor measured, so that the test knows no patient
    and holds every note that came in after the cut."""


def divide_by_time(
    times: Sequence[datetime | None],
    groups: Sequence[str | None],
    places: Sequence[str],
    config: DataConfig,
    source: str,
) -> TimeSplit:
    """The rows from `data.split.test_from` on are test rows; of equal times at the cut all are.

    Raises:
        DataError: a row has no time, or no row lies on one side of the cut.
    """
    untimed = [place for time, place in zip(times, places, strict=True) if time is None]
    if untimed:
        raise DataError(
            f"{source}: {len(untimed):,} of {len(times):,} rows have no time (column {config.columns.time!r}): "
            f"{first_of(untimed)}; data.split.test_from cannot place them: give them one, or remove the rows"
        )
    known, cut = [time for time in times if time is not None], config.split.test_from
    if cut == "latest" or cut is None:
        num_test = max(1, round(len(known) * config.split.test_fraction))
        cut = sorted(known)[-num_test]
    else:
        cut = without_offset(cut)
    test = {row for row, time in enumerate(known) if time >= cut}
    if not test or len(test) == len(known):
        side = "before" if test else "from"
        raise DataError(
            f"{source}: no row lies {side} the cut data.split.test_from {'' if test else 'on '}({len(known):,} rows); "
            "set it to a time within the data"
        )
    tested = {groups[row] for row in test} - {None}
    return TimeSplit(test, {row for row, group in enumerate(groups) if row not in test and group in tested})
