"""The facts that papers may name, each with the record and the key path that it rests on (`facts.yaml`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.files import read_yaml
from r2d.reports.formatting import Unit, count, duration, in_unit, with_interval

FACTS_FILE = Path(__file__).with_name("facts.yaml")
DIGITS = 12
"""Of a hash; the record has all of them."""
NONE = "none"


@dataclass(frozen=True)
class Record:
    """A file, artifact or entry that a run left behind."""

    name: str
    id: str
    """What identifies its content or place, such as its SHA-256."""
    values: Any
    """Its content as JSON values; None where it cannot be reached."""


@dataclass(frozen=True)
class Fact:
    """A value of a record. A fact that the run did not measure has no text, and rests on the same path."""

    name: str
    caption: str
    record: Record
    path: str
    unit: str
    value: Any
    text: str | None


def facts_of(records: Mapping[str, Record]) -> dict[str, Fact]:
    """Name -> each fact of `facts.yaml`.

    Args:
        records: by their names there.

    Raises:
        KeyError: a record is missing.
    """
    facts = {}
    for record_name, declared in read_yaml(FACTS_FILE).items():
        record = records[record_name]
        for name, (caption, paths, *how) in declared.items():
            places = [paths] if isinstance(paths, str) else paths
            found = {path: value_at(record.values, path) for path in places}
            path = next((path for path in places if found[path] is not None), places[0])
            kind, value = how[0] if how else "text", found[path]
            if kind == "size" and value is not None:
                value = len(value)  # never the entries
            text = _text(value, kind)
            if text is None and record.values is not None and len(how) > 1:
                text = how[1]
            facts[name] = Fact(name, caption, record, path, kind, value, text)
    return facts


def value_at(values: Any, path: str) -> Any:
    """The value at a path of keys with `/` between them; None where there is none.

    `*` stands for each entry, which gives a mapping from name to value; `^` for the first. In a list, the name of an
    entry is its own `split`, else its place.
    """
    step, _, rest = path.partition("/")
    entries = values.items() if isinstance(values, Mapping) else _numbered(values if isinstance(values, list) else [])
    if step == "*":
        found = None if not isinstance(values, Mapping | list) else dict(entries)
        return found and {name: value_at(value, rest) if rest else value for name, value in found.items()}
    found = next((value for name, value in entries if step in (name, "^")), None)
    return value_at(found, rest) if rest and found is not None else found


def _numbered(entries: list[Any]) -> Iterable[tuple[Any, Any]]:
    return [
        (entry["split"] if isinstance(entry, Mapping) and "split" in entry else place, entry)
        for place, entry in enumerate(entries)
    ]


def _text(value: Any, kind: str) -> str | None:
    """A value as papers write it; None where it was not measured."""
    if value is None or (isinstance(value, Mapping) and value.get("value", 0) is None):
        return None
    if kind in get_args(Unit):
        return _in_unit(value, kind)  # type: ignore[arg-type]
    return WRITTEN[kind](value)


def _in_unit(value: Any, unit: Unit) -> str:
    if isinstance(value, Mapping):
        return with_interval(IntervalEstimate(value["value"], value.get("low"), value.get("high")), unit)
    return in_unit(value, unit)


def _shares(values: Mapping[str, object]) -> str:
    """A mapping from name to share or estimate."""
    known = {name: value for name, value in values.items() if _text(value, "share") is not None}
    return _joined((f"{name} {_in_unit(value, 'share')}" for name, value in known.items()), "; ")


def _thresholds(values: Mapping[str, float | None]) -> str:
    """A mapping from label or group to its threshold; None: a person decides."""
    shown = (f"{in_unit(value, 'decimal')} ({name})" for name, value in values.items() if value is not None)
    never = ", ".join(name for name, value in values.items() if value is None)
    return _joined([*shown, f"never shown ({never})" if never else ""], ", ")


def _number(value: Any) -> str:
    return count(int(value) if isinstance(value, float) and value.is_integer() else value)


def _joined(texts: Any, between: str = ", ") -> str:
    """Each text once; empty ones are left out."""
    return between.join(text for text in dict.fromkeys(texts) if text) or NONE


def _entries(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else value


WRITTEN: Mapping[str, Callable[[Any], str]] = {
    "text": count,
    "words": lambda value: value.replace("_", " "),
    "place": lambda value: Path(value).name if value.startswith(("/", "~", ".")) else value,  # no folder of a machine
    "hash": lambda value: value[:DIGITS],
    "seconds": duration,
    "size": count,
    "list": lambda value: _joined("not given" if entry is None else count(entry) for entry in _entries(value)),
    "sentences": lambda value: _joined(_entries(value), "; "),
    "counts": lambda value: _joined(f"{name} {_number(number)}" for name, number in value.items()),
    "totals": lambda value: _joined(f"{name} {count(sum(numbers.values()))}" for name, numbers in value.items()),
    "shares": _shares,
    "thresholds": lambda value: _thresholds(value) if isinstance(value, Mapping) else in_unit(value, "decimal"),
}
"""How a value is written, but for numbers and estimates in a unit."""
