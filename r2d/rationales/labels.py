"""Labels in the text of a rationale: where one is named word for word, stated, or to be masked."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

MASK = "[LABEL]"


def contains_label(rationale: str, label: str) -> bool:
    """Whether a rationale names a label as whole words; case, and spaces against hyphens, do not count.

    Short labels match too often: `no` is found in "no fever". A label inside a longer one is found across a space
    (`urgent` in "very urgent"), not across a hyphen (`urgent` in "non-urgent").
    """
    return _may_hold(rationale, label) and next(_places(rationale, label), None) is not None


def mask_label(rationale: str, label: str) -> str:
    """The rationale with `[LABEL]` in place of what `contains_label` finds."""
    if not _may_hold(rationale, label):
        return rationale
    for start, end in reversed(list(_places(rationale, label))):
        rationale = rationale[:start] + MASK + rationale[end:]
    return rationale


def _may_hold(text: str, label: str) -> bool:
    """Whether the first word of a label stands anywhere in a text; cheap, and seldom true of another row's label."""
    first = _GAP.split(label.strip(), maxsplit=1)[0]
    return not first.isascii() or not text.isascii() or first.lower() in text.lower()


def _places(text: str, label: str) -> Iterator[tuple[int, int]]:
    """Where a text names a label; one of plain words is found without a pattern of its own, which takes long to build
    where every row has its own labels."""
    word = label.strip()
    if not (_PLAIN_WORDS.fullmatch(word) and text.isascii()) or (" " in word and _ODD_GAP.search(text)):
        yield from (match.span() for match in _label_pattern(label).finditer(text))
        return
    word, small, end = word.lower(), text.lower(), 0
    while (start := small.find(word, end)) >= 0:
        end = start + len(word)
        before, behind = small[start - 1 : start], small[end : end + 1]
        if not (before.isalnum() or before in ("_", "-") or behind.isalnum() or behind in ("_", "-")):
            yield start, end
        else:
            end = start + 1


_GAP = re.compile(r"[\s_\-–]+")
_PLAIN_WORDS = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")
_ODD_GAP = re.compile(r"[_\-\t\n\r\f\v]|  ")


@functools.lru_cache(maxsize=1024)
def _label_pattern(label: str) -> re.Pattern[str]:
    words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"(?<=\S)[\s_\-–]+(?=\S)", label.strip()))
    return re.compile(rf"(?<![\w-]){words}(?![\w-])" if words else "(?!)", re.IGNORECASE)


def labels_named(rationale: str, labels: Sequence[str]) -> set[str]:
    """Labels that stand word for word in a rationale; where one is part of another, the longer one."""
    named: set[str] = set()
    for label in sorted(labels, key=len, reverse=True):
        if contains_label(rationale, label):
            named.add(label)
            rationale = mask_label(rationale, label)
    return named


def labels_stated(rationale: str, labels: Sequence[str]) -> set[str]:
    """Labels that a rationale names and does not set aside (`not an emergency`, `too serious for self care`, `if it
    bleeds it is urgent`). One that is a common word of sentences (`no`, `maybe`) counts only as an answer: `the answer
    is no`."""
    return {label for label in labels_named(rationale, labels) if _is_stated(rationale, label)}


def _is_stated(rationale: str, label: str) -> bool:
    for match in _label_pattern(label).finditer(rationale):
        part, behind = _PART.split(rationale[: match.start()])[-1], _PART.split(rationale[match.end() :])[0]
        if label.casefold() in _COMMON_WORDS:
            if _ANSWER.search(rationale[: match.start()]):
                return True
            continue
        clause, rest = _CLAUSE.split(part)[-1], _CLAUSE.split(behind)[0]
        if not (_SETS_ASIDE.search(clause) or _CONDITION.search(part) or _SET_ASIDE_BEHIND.search(rest)):
            return True
    return False


_COMMON_WORDS = frozenset({"yes", "no", "maybe", "none", "other", "true", "false", "a", "b", "c", "d", "e"})
_ANSWER = re.compile(
    r"\b(?:answer|label|level|decision|conclusion|category|choice|option)(?:\s+is|\s+would\s+be|\s*:)\s*[\"'(]?\Z", re.I
)
_PART = re.compile(r"[.;!?\n]")
_CLAUSE = re.compile(
    r"[,:–—>]|\s-\s|\band\s+(?=not\b)|\b(?:but|so|therefore|hence|yet|because|since)\b"
    r"|\b(?:means|meaning|makes|calls\s+for|points\s+to|leads\s+to)\b"
    r"|\b(?:level|label|answer|decision|conclusion|category|choice|option)\s+is\b",
    re.I,
)
"""What the reach of a word ends at."""
_SETS_ASIDE = re.compile(
    r"\b(?:not|no|none|never|neither|nor|without|than|instead|rather|less|too|beyond|cannot|excludes?|excluding|avoids?"
    r"|avoiding|against|would|could|might|may|rul(?:es?|ed|ing)\s+out)\b|n['’]t\b",
    re.I,
)
_CONDITION = re.compile(r"\b(?:if|unless|in\s+case|should\s+(?:it|this|she|he|they)|were\s+(?:it|there))\b", re.I)
_SET_ASIDE_BEHIND = re.compile(
    r"\b(?:not|if|unless|cannot|insufficient|inadequate|unsafe|excluded)\b|n['’]t\b|\bruled\s+out\b", re.I
)
