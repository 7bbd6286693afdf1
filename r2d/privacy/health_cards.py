"""Health card numbers of the United Kingdom, Canada, Australia and the United States."""

from __future__ import annotations

from stdnum import luhn
from stdnum.ca import bc_phn
from stdnum.gb import nhs

from r2d.privacy.numbered import GAP, Scheme, scheme_detector

_HEALTH_CARD = r"\bhealth[ -]?(?:card|care|insurance|number|no\b|id\b)|\bhcn\b|\binsur(?:ance|ed)\b"
_NUMBER = r"(?:number|num|no|id|card|#)"


def _ontario(number: str) -> bool:
    """Ontario's ten digits end in a Luhn check digit; a version code of two letters may follow."""
    return number[0] != "0" and luhn.is_valid(number[:10])


def _australia(number: str) -> bool:
    """Australian Medicare: digit nine is the weighted sum of the first eight, modulo 10. Not in python-stdnum."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
    return number[0] in "23456" and total % 10 == int(number[8])


def _scotland(number: str) -> bool:
    """A CHI number is a date of birth, four digits and the NHS number's check digit."""
    return 1 <= int(number[:2]) <= 31 and 1 <= int(number[2:4]) <= 12 and nhs.is_valid(number)


def _quebec(number: str) -> bool:
    """A RAMQ number is four letters and a date of birth, the month plus 50 for women; its check digit is secret."""
    month, day = int(number[6:8]), int(number[8:10])
    return month % 50 in range(1, 13) and month < 63 and 1 <= day <= 31


def _always(number: str) -> bool:
    """For numbers that carry no public checksum: the shape is all that can be checked."""
    return True


_RAMQ = ("[A-Z]{4}", r"\d{2}[0156]\d", r"[0-3]\d{3}")
_RAMQ_WORDS = rf"\bramq\b|assurance[ -]maladie|{_HEALTH_CARD}"

_SCHEMES = (
    Scheme(rf"\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{4}}", nhs.is_valid, r"\bnhs\b", alone_grouped=0.55, alone_plain=0.3),
    Scheme(rf"[0-3]\d[01]\d{{3}}{GAP}?\d{{4}}", _scotland, rf"\bchi\b.?{_NUMBER}?", 0.0, 0.0),
    Scheme(
        rf"\d{{4}}{GAP}?\d{{3}}{GAP}?\d{{3}}(?:{GAP}?[A-Z]{{2}}\b)?",
        _ontario,
        rf"\bohip\b|{_HEALTH_CARD}",
        alone_grouped=0.55,
        alone_plain=0.3,
    ),
    Scheme(
        rf"\d{{4}}{GAP}?\d{{5}}{GAP}?\d(?:[ /\-]\d)?",
        _australia,
        rf"\bmedicare\b|{_HEALTH_CARD}",
        alone_grouped=0.6,
        alone_plain=0.3,
    ),
    Scheme(
        rf"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d{GAP}?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d{GAP}?"
        rf"[AC-HJKMNP-RT-Y]{{2}}\d{{2}}",
        _always,
        rf"\bmedicare\b|\bmbi\b|\bbeneficiary\b|{_HEALTH_CARD}",
        alone_grouped=0.75,
        alone_plain=0.65,
    ),
    Scheme(
        rf"9\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{3}}",
        bc_phn.is_valid,
        rf"\bphn\b|personal health|care ?card|{_HEALTH_CARD}",
        alone_grouped=0.55,
        alone_plain=0.3,
    ),
    Scheme(rf"\d{{5}}{GAP}?\d{{4}}", _always, r"\bphn\b|personal health n|\buli\b", 0.0, 0.0),
    Scheme(rf"{_RAMQ[0]}{GAP}{_RAMQ[1]}{GAP}{_RAMQ[2]}", _quebec, _RAMQ_WORDS, alone_grouped=0.65, alone_plain=0.0),
    Scheme(rf"{_RAMQ[0]}{GAP}?{_RAMQ[1]}{GAP}?{_RAMQ[2]}", _quebec, _RAMQ_WORDS, 0.0, 0.0),
    Scheme(r"[A-Z]{0,3}\d{8,12}[A-Z]?", _always, rf"\b(?:medicaid|medicare|health card) ?{_NUMBER}\W", 0.0, 0.0),
)
HEALTH_CARD = tuple(scheme_detector("health_card", scheme) for scheme in _SCHEMES)
