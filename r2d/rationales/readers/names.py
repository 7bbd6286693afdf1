"""Columns and fields in a message: named where they are names; what may be a text is only measured."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


def nearest(wanted: str, found: Sequence[str]) -> str:
    """A hint at the name that was probably meant. Where a line break is lost, a longer one may end in a text."""
    close = difflib.get_close_matches(wanted, [name for name in found if abs(len(name) - len(wanted)) < 4], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(found: Sequence[str]) -> str:
    """The names found, and the length of whatever is no plain name."""
    names = [repr(name) if _NAME.fullmatch(name) else f"({len(name)} characters)" for name in found[:30]]
    return ", ".join([*names, *(["..."] if len(found) > 30 else [])]) or "(none)"
