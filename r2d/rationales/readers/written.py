"""What the rationales that people write have in common, whatever tool they write in."""

from __future__ import annotations

import hashlib
from typing import Any

from r2d.rationales.readers.items import id_text
from r2d.rationales.records import Reason


def annotator(value: Any) -> str | None:
    """An annotator's number or pseudonym; never a name or an address, of which only a hash is kept."""
    if isinstance(value, dict):
        value = value.get("id", value.get("email"))
    text = id_text(value)
    if text is None or not set("@ ") & set(text):
        return text
    return f"annotator-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


def missing(rationale: str | None, label: str | None) -> Reason | None:
    """The reason of a record without a rationale."""
    if rationale and rationale.strip():
        return None
    return "no_rationale" if label else "empty"
