"""Numbers issued by an authority, a hospital or an insurer: national identity numbers, health cards, record numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stdnum import luhn
from stdnum.ca import bc_phn, sin
from stdnum.gb import nhs
from stdnum.us import itin, ssn

from r2d.config.privacy import Recogniser
from r2d.privacy.findings import (
    GAP,
    REACH_AFTER,
    REACH_BEFORE,
    Detector,
    Finding,
    detector,
    is_announced,
    letters_and_digits,
)

ANNOUNCED = 0.95
ANNOUNCED_BUT_INVALID = 0.7
"""An announced number with a wrong checksum is most likely the right number with a typing error."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of number. A score of zero drops the candidate."""

    shape: str  # pattern that Python and RE2 read alike; no look-around
    is_valid: Callable[[str], bool] | None
    """Checksum or rule of assignment, given the letters and digits alone, in capitals; None where only the shape can
    be checked."""
    words: str  # pattern of the words that announce it
    alone_grouped: float  # score of a valid number, written in groups, that nothing announces
    alone_plain: float  # score of a valid number, written in one piece, that nothing announces


def _scheme_detector(recogniser: Recogniser, scheme: Scheme) -> Detector:
    """A detector of one scheme: candidates by shape, scored by validity, grouping and announcement."""
    flags = re.ASCII | re.IGNORECASE
    shape = re.compile(rf"(?<![\w.\-/+]){scheme.shape}(?![\w/]|[.\-]\d)", flags)
    words = re.compile(scheme.words, flags)

    def detect(text: str) -> Iterator[Finding]:
        for match in shape.finditer(text):
            value = match[0]
            is_valid = scheme.is_valid is None or scheme.is_valid(letters_and_digits(value))
            if is_announced(text, *match.span(), words):
                score = ANNOUNCED if is_valid else ANNOUNCED_BUT_INVALID
            elif not is_valid or value != value.upper():  # in small letters, the shape alone is too weak
                score = 0.0
            else:
                score = scheme.alone_plain if value.isalnum() else scheme.alone_grouped
            if score > 0.0:
                yield Finding(recogniser, *match.span(), score)

    bounded, words_near = rf"\b{scheme.shape}\b", f"(?:{scheme.words})"
    if scheme.alone_grouped or scheme.alone_plain:
        return Detector(f"(?i){bounded}", detect)
    announced = rf"{words_near}[\s\S]{{0,{REACH_BEFORE}}}{bounded}|{bounded}[\s\S]{{0,{REACH_AFTER}}}{words_near}"
    return Detector(f"(?i){announced}", detect)


# National identity numbers: US SSN and ITIN, Canadian SIN, UK National Insurance number.

_SSN_WORDS = r"\bssn\b|\bss ?(?:#|no\b)|social security|\bitin\b|\btax(?:payer)? id"
_DASH = "[\\-\u2010-\u2013]"
_NINO_LETTER = "[A-CEGHJ-PR-TW-Z]"
_NINO_NEVER_ISSUED = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def _united_states(number: str) -> bool:
    """SSNs and ITINs carry no checksum; ranges that were never issued are known."""
    return ssn.is_valid(number) or itin.is_valid(number)


_NATIONAL_ID_SCHEMES = (
    Scheme(rf"\d{{3}}{_DASH}\d{{2}}{_DASH}\d{{4}}", _united_states, _SSN_WORDS, 0.75, 0.0),
    Scheme(rf"\d{{3}}{GAP}?\d{{2}}{GAP}?\d{{4}}", _united_states, _SSN_WORDS, 0.0, 0.0),
    Scheme(rf"\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{3}}", sin.is_valid,
           r"\bsin\b.?(?:number|no|#|:|is\b)?|social insurance", 0.5, 0.2),
    # No checksum either, but `O` is never second, and some prefixes are not issued.
    Scheme(rf"{_NINO_LETTER}{{2}}{GAP}?\d{{2}}{GAP}?\d{{2}}{GAP}?\d{{2}}{GAP}?[A-D]",
           lambda number: number[1] != "O" and number[:2] not in _NINO_NEVER_ISSUED,
           r"national insurance|\bnino?\b|\bn\.i\.|\bni (?:number|no\b|#)", 0.75, 0.7),
)  # fmt: skip
NATIONAL_IDS = tuple(_scheme_detector("national_id", scheme) for scheme in _NATIONAL_ID_SCHEMES)

# Health cards of the United Kingdom, Canada, Australia and the United States.

_HEALTH_CARD_WORDS = r"\bhealth[ -]?(?:card|care|insurance|number|no\b|id\b)|\bhcn\b|\binsur(?:ance|ed)\b"
_CARD_NUMBER = r"(?:number|num|no|id|card|#)"


def _quebec(number: str) -> bool:
    """A RAMQ number is four letters and a date of birth, the month plus 50 for women; its check digit is secret."""
    month, day = int(number[6:8]), int(number[8:10])
    return month % 50 in range(1, 13) and month < 63 and 1 <= day <= 31


_MEDICARE_WEIGHTS = (1, 3, 7, 9, 1, 3, 7, 9)
_MBI = "[AC-HJKMNP-RT-Y]"
_RAMQ = ("[A-Z]{4}", r"\d{2}[0156]\d", r"[0-3]\d{3}")
_RAMQ_WORDS = rf"\bramq\b|assurance[ -]maladie|{_HEALTH_CARD_WORDS}"

_HEALTH_CARD_SCHEMES = (
    Scheme(rf"\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{4}}", nhs.is_valid, r"\bnhs\b", 0.55, 0.3),
    # A Scottish CHI number is a date of birth, four digits and the NHS number's check digit.
    Scheme(rf"[0-3]\d[01]\d{{3}}{GAP}?\d{{4}}",
           lambda number: 1 <= int(number[:2]) <= 31 and 1 <= int(number[2:4]) <= 12 and nhs.is_valid(number),
           rf"\bchi\b.?{_CARD_NUMBER}?", 0.0, 0.0),
    # Ontario's ten digits end in a Luhn check digit; a version code of two letters may follow.
    Scheme(rf"\d{{4}}{GAP}?\d{{3}}{GAP}?\d{{3}}(?:{GAP}?[A-Z]{{2}}\b)?",
           lambda number: number[0] != "0" and luhn.is_valid(number[:10]),
           rf"\bohip\b|{_HEALTH_CARD_WORDS}", 0.55, 0.3),
    # Australian Medicare: digit nine is the weighted sum of the first eight, modulo 10. Not in python-stdnum.
    Scheme(rf"\d{{4}}{GAP}?\d{{5}}{GAP}?\d(?:[ /\-]\d)?",
           lambda number: number[0] in "23456" and int(number[8]) == sum(
               weight * int(digit) for weight, digit in zip(_MEDICARE_WEIGHTS, number, strict=False)) % 10,
           rf"\bmedicare\b|{_HEALTH_CARD_WORDS}", 0.6, 0.3),
    # The Medicare Beneficiary Identifier of the United States.
    Scheme(rf"[1-9]{_MBI}[0-9{_MBI[1:]}\d{GAP}?{_MBI}[0-9{_MBI[1:]}\d{GAP}?{_MBI}{{2}}\d{{2}}", None,
           rf"\bmedicare\b|\bmbi\b|\bbeneficiary\b|{_HEALTH_CARD_WORDS}", 0.75, 0.65),
    Scheme(rf"9\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{3}}", bc_phn.is_valid,
           rf"\bphn\b|personal health|care ?card|{_HEALTH_CARD_WORDS}", 0.55, 0.3),
    Scheme(rf"\d{{5}}{GAP}?\d{{4}}", None, r"\bphn\b|personal health n|\buli\b", 0.0, 0.0),
    Scheme(rf"{_RAMQ[0]}{GAP}{_RAMQ[1]}{GAP}{_RAMQ[2]}", _quebec, _RAMQ_WORDS, 0.65, 0.0),
    Scheme(rf"{_RAMQ[0]}{GAP}?{_RAMQ[1]}{GAP}?{_RAMQ[2]}", _quebec, _RAMQ_WORDS, 0.0, 0.0),
    Scheme(r"[A-Z]{0,3}\d{8,12}[A-Z]?", None, rf"\b(?:medicaid|medicare|health card) ?{_CARD_NUMBER}\W", 0.0, 0.0),
)  # fmt: skip
HEALTH_CARDS = tuple(_scheme_detector("health_card", scheme) for scheme in _HEALTH_CARD_SCHEMES)

# Numbers of records that hospitals and insurers keep, recognised by the words before them.

_NUMBER_WORD = r"(?:numbers?|num|no\.?|nr\.?|#|id\b|ident(?:ifier|ification)?)"
_SURE = r"\b(?:mrn|m\.r\.n\.?|mrno|mr ?#|med(?:ical)? rec(?:ord)?|urn\b|nhi|emrn|pt ?id|patient id)"
_NEEDS_NUMBER = (
    r"\b(?:chart|hospital|hosp|unit|account|acct|acc|encounter|visit|patient|pt|file|record|registration|case|"
    r"episode|admission|policy|member|subscriber|claim|accession|group|licen[cs]e|client|insurance)"
)
_JOIN = r"[\s:#=.\-(]{0,4}(?:(?:is|was|of|as)\b[\s:#]{1,2})?"
_VALUE = r"(?P<value>\d{2,3}(?: \d{2,3}){2,3}\b|(?:[A-Z]{1,4}[\-/]?)?\d(?:[\-/]?\d){3,14}(?:[\-/]?[A-Z]{1,2}\b)?)"
_END = r"(?![\w%]|[.,/\-]\d)"
_RECORD_FLAGS = re.ASCII | re.IGNORECASE

_RECORD_LABELS = (
    (rf"{_SURE}(?:[ ]?{_NUMBER_WORD})?{_JOIN}", 0.9),
    (rf"{_NEEDS_NUMBER}[ ]?{_NUMBER_WORD}{_JOIN}", 0.8),
)
_RECORD_PATTERNS = [(re.compile(label + _VALUE + _END, _RECORD_FLAGS), score) for label, score in _RECORD_LABELS]
_YEARS = re.compile(r"(?:19|20)\d\d([\-/](?:19|20)\d\d)?")
_PUBLIC = re.compile(
    r"nct|isrctn|actrn|chictr|eudract|umin|crd|prospero|genbank|pubmed|pmid|pdb|refseq|swiss|uniprot|geo\b|array|"
    r"sequence|gene|trial|ethic|grant|protocol|clinicaltrials|identifier:? ?nct",
    re.IGNORECASE,
)
"""Trials, genes, papers: their public registration and accession numbers identify no patient."""
_PUBLIC_REACH = 40


@detector("(?i)(?:" + "|".join(label for label, _ in _RECORD_LABELS) + ")" + _VALUE)
def record_number(text: str) -> Iterator[Finding]:
    """Numbers after `MRN` and the like, and after `account`, `chart` ... with `number`, `no.`, `#` or `ID`."""
    for pattern, score in _RECORD_PATTERNS:
        for match in pattern.finditer(text):
            around = text[max(0, match.start() - _PUBLIC_REACH) : match.end()]
            if not _PUBLIC.search(around) and not _YEARS.fullmatch(match["value"]):
                yield Finding("record_number", *match.span("value"), score)
