"""National identity numbers: US SSN and ITIN, Canadian SIN, UK National Insurance number."""

from __future__ import annotations

from stdnum.ca import sin
from stdnum.us import itin, ssn

from r2d.privacy.numbered import GAP, Scheme, scheme_detector

_SSN_WORDS = r"\bssn\b|\bss ?(?:#|no\b)|social security|\bitin\b|\btax(?:payer)? id"
_DASH = "[\\-\u2010-\u2013]"
_NINO_LETTER = "[A-CEGHJ-PR-TW-Z]"
_NINO_NEVER_ISSUED = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def _united_states(number: str) -> bool:
    """SSNs and ITINs carry no checksum; ranges that were never issued are known."""
    return ssn.is_valid(number) or itin.is_valid(number)


def _united_kingdom(number: str) -> bool:
    """National Insurance numbers carry no checksum; `O` is never second and some prefixes are not issued."""
    return number[1] != "O" and number[:2] not in _NINO_NEVER_ISSUED


_SCHEMES = (
    Scheme(rf"\d{{3}}{_DASH}\d{{2}}{_DASH}\d{{4}}", _united_states, _SSN_WORDS, 0.75, 0.0),
    Scheme(rf"\d{{3}}{GAP}?\d{{2}}{GAP}?\d{{4}}", _united_states, _SSN_WORDS, 0.0, 0.0),
    Scheme(
        rf"\d{{3}}{GAP}?\d{{3}}{GAP}?\d{{3}}",
        sin.is_valid,
        r"\bsin\b.?(?:number|no|#|:|is\b)?|social insurance",
        alone_grouped=0.5,
        alone_plain=0.2,
    ),
    Scheme(
        rf"{_NINO_LETTER}{{2}}{GAP}?\d{{2}}{GAP}?\d{{2}}{GAP}?\d{{2}}{GAP}?[A-D]",
        _united_kingdom,
        r"national insurance|\bnino?\b|\bn\.i\.|\bni (?:number|no\b|#)",
        alone_grouped=0.75,
        alone_plain=0.7,
    ),
)
NATIONAL_ID = tuple(scheme_detector("national_id", scheme) for scheme in _SCHEMES)
