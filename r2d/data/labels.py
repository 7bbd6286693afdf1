"""How a text is matched to the declared labels (departure 8: a misspelt label never becomes a class of its own)."""

from __future__ import annotations

from collections.abc import Sequence


def normalise_label(text: str) -> str:
    """The form in which labels are compared: outer and repeated spaces and case do not count."""
    return " ".join(text.split()).casefold()


def match_label(text: str | None, labels: Sequence[str]) -> str | None:
    """The declared label that `text` stands for, or None when it stands for none."""
    if text is None:
        return None
    wanted = normalise_label(text)
    return next((label for label in labels if normalise_label(label) == wanted), None)
