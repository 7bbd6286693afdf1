"""Labels in the text of a rationale: where one is named word for word, stated, or to be masked."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

MASK = "[LABEL]"


def contains_label(rationale: str, label: str) -> bool:
    """Whether a rationale names a label as whole words; case, and spaces against hyphens, do not count.

    Short labels match too often: `no` is found in "no fever". A label inside a longer one is found across a space
    (`urgent` in "very urgent"), not across a hyphen (`urgent` in "non-urgent").
    """
    return _label_pattern(label).search(rationale) is not None


def mask_label(rationale: str, label: str) -> str:
    """The rationale with `[LABEL]` in place of what `contains_label` finds."""
    return _label_pattern(label).sub(MASK, rationale)


@functools.lru_cache(maxsize=1024)
def _label_pattern(label: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"[\s_-]+", label) if part]
    words = r"[\s_-]+".join(parts)
    return re.compile(rf"(?<![\w-]){words}(?![\w-])" if parts else "(?!)", re.IGNORECASE)


def labels_named(rationale: str, labels: Sequence[str]) -> set[str]:
    """Labels that stand word for word in a rationale; where one is part of another, the longer one."""
    named: set[str] = set()
    for label in sorted(labels, key=len, reverse=True):
        if contains_label(rationale, label):
            named.add(label)
            rationale = mask_label(rationale, label)
    return named


def labels_stated(rationale: str, labels: Sequence[str]) -> set[str]:
    """Labels that a rationale names and does not set aside (`not self care`, `rather than same day`). One that is a
    common word of sentences (`no`, `maybe`) counts only as an answer: `the answer is no`."""
    return {label for label in labels_named(rationale, labels) if _statement(label).search(rationale) is not None}


@functools.lru_cache(maxsize=1024)
def _statement(label: str) -> re.Pattern[str]:
    words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", label) if word)
    before = _ANSWER if label.casefold() in _COMMON_WORDS else _NOT_SET_ASIDE
    return re.compile(rf"{before}(?<![\w-]){words}(?![\w-])", re.IGNORECASE)


_COMMON_WORDS = frozenset({"yes", "no", "maybe", "none", "other", "true", "false", "a", "b", "c", "d", "e"})
_ANSWER = r"\b(?:answer|label|level|decision|conclusion|category|choice|option)(?:\s+is|\s+would\s+be|\s*:)\s*[\"'(]?"
_NOT_SET_ASIDE = r"(?<!\bnot )(?<!\bthan )(?<!\binstead of )(?<!\bno )(?<!\bneither )(?<!\bnor )"
