"""How numbers are written on pages, in tables and in log lines."""

from __future__ import annotations

import json
from typing import Any, Literal, Protocol

MISSING = "–"
"""Stands for a value that was not measured."""

Unit = Literal["share", "decimal", "score", "grade", "points", "signed"]

_UNITS: dict[Unit, tuple[float, int, str, str]] = {
    "share": (100.0, 1, "", " %"),
    "decimal": (1.0, 3, "", ""),
    "score": (1.0, 1, "", ""),
    "grade": (1.0, 2, "", ""),
    "points": (100.0, 1, "+", ""),
    "signed": (1.0, 3, "+", ""),
}
"""Unit -> factor, digits, sign option and suffix. `points` are differences of shares in percentage points, `signed`
other differences, `score` runs to 100, `grade` is a mean of a few whole numbers."""

MOST_DIGITS = 6
_TURNS = {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class Estimate(Protocol):
    """A metric with its interval; each of the three is None where it is not known."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def percent(value: float | None) -> str:
    """A share in percent: `12.3 %`."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with the same digits in every row of its table."""
    return MISSING if value is None else f"{value:.{digits}f}"


def in_unit(value: float | None, unit: Unit) -> str:
    """A number in its unit, such as `12.3 %` or `−0.031`."""
    return MISSING if value is None else _digits(value, unit) + _UNITS[unit][3]


def interval(estimate: Estimate, unit: Unit) -> str:
    """The interval of an estimate in its unit, such as `10.0 to 12.5 %`; says so where there is none."""
    if estimate.value is None:
        return "not defined"
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{_digits(estimate.low, unit)} to {_digits(estimate.high, unit)}{_UNITS[unit][3]}"


def with_interval(estimate: Estimate, unit: Unit) -> str:
    """An estimate and its interval: `0.590 (0.555 to 0.624)`."""
    value = in_unit(estimate.value, unit)
    return value if estimate.value is None else f"{value} ({interval(estimate, unit)})"


def _digits(value: float, unit: Unit) -> str:
    factor, digits, sign, _ = _UNITS[unit]
    if sign and round(factor * value, MOST_DIGITS):
        while not round(factor * value, digits):
            digits += 1  # a difference that is there is not shown as none
    # Rounding first and adding 0 turns a small negative number into 0, not minus 0.
    return f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def count(value: object) -> str:
    """A fact as text: integers with commas between thousands, as on the screen, booleans as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def plain(value: object) -> str:
    """A text of others inside our Markdown: one line, no table cell, tag or emphasis of its own."""
    text = " ".join(str(value).split())
    for sign in "\\`*_[]|<>#":
        text = text.replace(sign, f"\\{sign}")
    return text


def sentence(text: str) -> str:
    """A text with its first letter in upper case; the rest keeps its case, as in `JSON`."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def as_yaml(value: Any) -> str:
    """Texts, lists and mappings as JSON, which YAML reads: letters of any language as they are, and a character that is
    not seen by its number."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 1 << 16 else f"\\U{ord(c):08x}" for c in written
    )


def visible(text: str) -> str:
    """A text in which each character that turns the direction of writing around stands by its number, `[U+202E]`: it
    could show words in another order than they are read in."""
    return text.translate(_TURNS)
