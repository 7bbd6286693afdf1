"""Put typed placeholders where identifiers stand: equal values of one example get equal placeholders."""

from __future__ import annotations

import re
from collections.abc import Sequence

from r2d.config.validation import Recogniser
from r2d.privacy.birth_dates import read_date
from r2d.privacy.finding import Finding, without_overlaps
from r2d.privacy.numbered import letters_and_digits

_PLACEHOLDER = re.compile(r"\[([A-Z_]+)_(\d+)\]")
_EXTENSION = re.compile(r"(?:ext|x|#|;).*$", re.IGNORECASE | re.DOTALL)
_TELLING_DIGITS = 9
"""Last digits that tell telephone numbers apart: with and without country code or trunk prefix they are the same."""
_SHORTEST_REPEAT = 3
"""Characters below which a found value is not sought again: initials stand everywhere."""


class Placeholders:
    """Hands out `[PHONE_1]`, `[PHONE_2]` ... for one example; numbers that its texts already use are not reused."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """`texts` are those of the example, which may have been redacted before."""
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}
        for text in texts:
            for kind, number in _PLACEHOLDER.findall(text):
                self._last[kind] = max(self._last.get(kind, 0), int(number))

    def stand_in(self, recogniser: Recogniser, value: str) -> str:
        """The placeholder of a value: the same for every writing of it."""
        kind = recogniser.upper()
        key = (kind, normalised(recogniser, value))
        if key not in self._given:
            self._last[kind] = self._last.get(kind, 0) + 1
            self._given[key] = f"[{kind}_{self._last[kind]}]"
        return self._given[key]


def normalised(recogniser: Recogniser, value: str) -> str:
    """What two writings of the same value have in common."""
    if recogniser == "phone":
        digits = letters_and_digits(_EXTENSION.sub("", value))
        return digits[-_TELLING_DIGITS:]
    if recogniser == "email":
        return value.casefold()
    if recogniser == "date_of_birth":
        return str(read_date(value) or letters_and_digits(value))
    if recogniser == "person_name":
        surname, comma, forenames = value.casefold().replace("^", " ").partition(",")
        words = f"{forenames} {surname}" if comma else surname
        return " ".join(words.replace(".", " ").split())
    return letters_and_digits(value)


def redact(text: str, findings: Sequence[Finding], placeholders: Placeholders | None = None) -> str:
    """`text` with every finding replaced; pass the same `placeholders` for all texts of one example."""
    if not findings:
        return text
    placeholders = placeholders or Placeholders([text])
    pieces: list[str] = []
    position = 0
    for finding in without_overlaps(findings):
        value = text[finding.start : finding.end]
        pieces += [text[position : finding.start], placeholders.stand_in(finding.recogniser, value)]
        position = finding.end
    return "".join([*pieces, text[position:]])


def redact_together(texts: Sequence[str], findings: Sequence[Sequence[Finding]]) -> list[str]:
    """The texts of one example (note, rationales) redacted with one set of placeholders, in the given order.

    A value found once is also replaced where it stands again, in any of the texts, without the words that gave it away:
    `Mrs Okafor` in the note and `Okafor` in the rationale both become `[PERSON_NAME_1]`.
    """
    if not any(findings):
        return list(texts)
    placeholders = Placeholders(texts)
    values: dict[str, Finding] = {}
    for text, found in zip(texts, findings, strict=True):
        values |= {text[finding.start : finding.end]: finding for finding in found}
    return [
        redact(text, [*found, *_repeats(text, values)], placeholders)
        for text, found in zip(texts, findings, strict=True)
    ]


def _repeats(text: str, values: dict[str, Finding]) -> list[Finding]:
    """Where found values stand as whole words, as findings that yield to those the search made itself."""
    sought = sorted((value for value in values if len(value) >= _SHORTEST_REPEAT), key=len, reverse=True)
    if not sought:
        return []
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sought)) + r")(?!\w)")
    return [Finding(values[match[0]].recogniser, *match.span(), 0.0) for match in pattern.finditer(text)]
