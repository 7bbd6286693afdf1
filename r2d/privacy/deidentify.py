"""Identifiers in texts: find them, and replace them by placeholders such as `[PHONE_1]`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.privacy import PrivacyConfig, Recogniser
from r2d.errors import DataError
from r2d.privacy.birth_dates import date_of_birth, read_date
from r2d.privacy.contact import POSTAL_CODES, email, phone_detector
from r2d.privacy.findings import Detector, Finding, letters_and_digits, without_overlaps
from r2d.privacy.names import person_name
from r2d.privacy.numbers import HEALTH_CARDS, NATIONAL_IDS, record_number

_DETECTORS: dict[Recogniser, tuple[Detector, ...]] = {
    "email": (email,),
    "date_of_birth": (date_of_birth,),
    "health_card": HEALTH_CARDS,
    "national_id": NATIONAL_IDS,
    "postal_code": POSTAL_CODES,
    "record_number": (record_number,),
    "person_name": (person_name,),
}
_PLACEHOLDER = re.compile(r"\[([A-Z_]+)_(\d+)\]")
_EXTENSION = re.compile(r"(?:ext|x|#|;).*$", re.IGNORECASE | re.DOTALL)
_PHONE_DIGITS = 9  # last digits by which telephone numbers are compared: country code and trunk prefix do not count
_MIN_REPEAT_CHARACTERS = 3  # shorter values, such as initials, are not searched for again: they occur everywhere


class DeidentifiedText(NamedTuple):
    """A text after the privacy policy."""

    text: str
    num_findings: int


def detectors(recogniser: Recogniser, region: str) -> tuple[Detector, ...]:
    """The detectors of a recogniser; `region` is the country of national telephone numbers."""
    return (phone_detector(region),) if recogniser == "phone" else _DETECTORS[recogniser]


def find_identifiers(texts: pa.Array | pa.ChunkedArray, config: PrivacyConfig) -> dict[int, list[Finding]]:
    """The findings of each text that has some, ordered by row, then position; nulls have none.

    Arrow's RE2 kernels select the candidate rows of a whole column, Python searches only those. Findings below
    `config.min_score` are dropped; `config.policy` is not applied.

    Raises:
        DataError: the column holds no strings.
    """
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise DataError(
            f"the privacy search got a column of type {texts.type}; allowed: string, large_string, string_view, or a "
            "dictionary of them. Cast the column to string first"
        )
    column = texts if texts.type in (pa.string(), pa.large_string()) else texts.cast(pa.string())
    by_row: defaultdict[int, list[Finding]] = defaultdict(list)
    used = [detector for recogniser in config.recognisers for detector in detectors(recogniser, config.region)]
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        candidates = list(pool.map(partial(candidate_rows, column), used))
    for detector, rows in zip(used, candidates, strict=True):
        for row, text in zip(rows.to_pylist(), column.take(rows).to_pylist(), strict=True):
            by_row[row] += [finding for finding in detector.detect(text) if finding.score >= config.min_score]
    return {row: without_overlaps(by_row[row]) for row in sorted(by_row) if by_row[row]}


def candidate_rows(texts: pa.Array | pa.ChunkedArray, detector: Detector) -> pa.Array:
    """Indices of the rows that `detector` has to search; the others have no finding of it."""
    return pc.indices_nonzero(pc.fill_null(pc.match_substring_regex(texts, detector.hint), False))


def deidentify_texts(texts: Sequence[str], config: PrivacyConfig) -> list[DeidentifiedText]:
    """Each text after the policy: redacted where it is `redact`, else unchanged; with its number of findings."""
    by_row = {} if config.policy == "off" else find_identifiers(pa.array(texts, pa.string()), config)
    deidentified = []
    for row, text in enumerate(texts):
        findings = by_row.get(row, [])
        redacted = redact(text, findings) if config.policy == "redact" else text
        deidentified.append(DeidentifiedText(redacted, len(findings)))
    return deidentified


class Placeholders:
    """Gives `[PHONE_1]`, `[PHONE_2]` ... to the values of one example; numbers that its texts already use stay free."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._by_value: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}
        for text in texts:
            for kind, number in _PLACEHOLDER.findall(text):
                self._last[kind] = max(self._last.get(kind, 0), int(number))

    def of(self, recogniser: Recogniser, value: str) -> str:
        """The placeholder of a value, the same for every way to write it."""
        kind = recogniser.upper()
        if recogniser == "phone":
            same = letters_and_digits(_EXTENSION.sub("", value))[-_PHONE_DIGITS:]
        elif recogniser == "email":
            same = value.casefold()
        elif recogniser == "date_of_birth":
            same = str(read_date(value) or letters_and_digits(value))
        elif recogniser == "person_name":
            surname, comma, forenames = value.casefold().replace("^", " ").partition(",")
            words = f"{forenames} {surname}" if comma else surname
            same = " ".join(words.replace(".", " ").split())
        else:
            same = letters_and_digits(value)
        if (kind, same) not in self._by_value:
            self._last[kind] = self._last.get(kind, 0) + 1
            self._by_value[kind, same] = f"[{kind}_{self._last[kind]}]"
        return self._by_value[kind, same]


def redact(text: str, findings: Sequence[Finding], placeholders: Placeholders | None = None) -> str:
    """`text` with every finding replaced; pass the same `placeholders` for all texts of one example."""
    if not findings:
        return text
    placeholders = placeholders or Placeholders([text])
    redacted, position = "", 0
    for finding in without_overlaps(findings):
        placeholder = placeholders.of(finding.recogniser, text[finding.start : finding.end])
        redacted += text[position : finding.start] + placeholder
        position = finding.end
    return redacted + text[position:]


def redact_together(texts: Sequence[str], findings: Sequence[Sequence[Finding]]) -> list[str]:
    """The texts of one example (note, rationales) redacted with one set of placeholders.

    A value with a finding is also replaced where it occurs again as a whole word in any of the texts: `Mrs Okafor` in
    the note and `Okafor` in the rationale both become `[PERSON_NAME_1]`.
    """
    if not any(findings):
        return list(texts)
    recognisers = {
        text[finding.start : finding.end]: finding.recogniser
        for text, in_text in zip(texts, findings, strict=True)
        for finding in in_text
    }
    repeated = sorted((value for value in recognisers if len(value) >= _MIN_REPEAT_CHARACTERS), key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, repeated)) + r")(?!\w)") if repeated else None
    placeholders = Placeholders(texts)
    redacted = []
    for text, in_text in zip(texts, findings, strict=True):
        # A score of zero: repeats yield to the findings of the search.
        repeats = [Finding(recognisers[m[0]], *m.span(), 0.0) for m in pattern.finditer(text)] if pattern else []
        redacted.append(redact(text, [*in_text, *repeats], placeholders))
    return redacted
