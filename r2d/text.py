"""Short texts: labels compared, names suggested, keys of nested values, values shown without quoting a note."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LONGEST_NAME = 40
MOST_WORDS_OF_NAME = 4
FAULTS_SHOWN = 5


def normalise_label(text: str) -> str:
    """The form in which labels are compared: outer and repeated spaces and case do not count (departure 8)."""
    return " ".join(text.split()).casefold()


def match_label(text: str | None, labels: Sequence[str]) -> str | None:
    """The declared label that `text` stands for, or None when it stands for none."""
    if text is None:
        return None
    wanted = normalise_label(text)
    return next((label for label in labels if normalise_label(label) == wanted), None)


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """A hint at the nearest allowed name, ` (did you mean 'label'?)`; empty where none is near, or none is a name."""
    folded = {other.strip().casefold(): other for other in allowed if len(other) <= LONGEST_NAME}
    close = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def show_name(value: str) -> str:
    """A label, id or column name for a message. Longer prose, most likely a note in the wrong column, is not quoted."""
    if len(value) <= LONGEST_NAME and len(value.split()) <= MOST_WORDS_OF_NAME:
        return repr(value)
    if any(character.isspace() for character in value):
        return f"(a text of {len(value)} characters)"
    return repr(value[: LONGEST_NAME - 3] + "...")


def first_of(faults: Sequence[str]) -> str:
    """The first faults of a kind, and how many more there are."""
    more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return "; ".join(faults[:FAULTS_SHOWN]) + more


def flatten(value: Any, separator: str = ".") -> dict[str, Any]:
    """A nested mapping as `outer.inner` -> value; lists and empty mappings are values. What is no mapping has none."""
    flat: dict[str, Any] = {}
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if isinstance(inner, Mapping) and inner:
            flat |= {f"{name}{separator}{key}": leaf for key, leaf in flatten(inner, separator).items()}
        else:
            flat[str(name)] = inner
    return flat


def changed_values(before: Any, after: Any, *, absent: object = None) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where two nested mappings differ; `absent` stands for a value that one has not."""
    old, new = flatten(before), flatten(after)
    pairs = {key: (old.get(key, absent), new.get(key, absent)) for key in {**old, **new}}
    return {key: (left, right) for key, (left, right) in pairs.items() if left != right}
