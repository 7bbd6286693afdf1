"""Telephone numbers, read by `phonenumbers`, and e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from phonenumbers import Leniency, PhoneMetadata, PhoneNumberMatcher

from r2d.privacy.finding import Detector, Finding
from r2d.privacy.numbered import REACH_AFTER, REACH_BEFORE, stands_near

_BETWEEN = "[ \t().\\-/\u00a0\u2010-\u2013]"
_DIGIT = rf"(?:\d{_BETWEEN}{{0,3}})"
_DATE = r"\d{1,4}([./\-])\d{1,2}\1\d{2,4}(?![\d\-])"
_STRETCH = re.compile(rf"(?<![\w.+])(?<!\d,)(?!{_DATE})[+(]{{0,2}}\d(?:{_BETWEEN}{{0,3}}\d){{6,}}", re.ASCII)
_FEWEST_DIGITS = 7
_EXTENSION_LENGTH = 14
_TRIES_PER_STRETCH = 20
"""A page of figures can be one stretch; a telephone number that begins after this many false starts is missed."""

_WORDS = (
    r"\b(?:tele?phones?|tel|phones?|ph|mobile|mob|cell(?:phone|ular)?|fax|pager|landline|voicemail|"
    r"contact (?:no|number)|call(?:ed|ing|s|back)?|ring|rang|dial|text(?:ed)?|reach(?:ed|able)?|whatsapp|hotline)\b"
)
_NEAR = re.compile(_WORDS, re.IGNORECASE)
_LABEL = re.compile(
    rf"{_WORDS}(?:[ ](?:no|num|number|back|her|him|them|me|us|on|at|is|was)\b){{0,3}}[ .:#=\-]{{0,4}}$",
    re.ASCII | re.IGNORECASE,
)
_LABELLED_NUMBER = re.compile(r"[+(]{0,2}\d(?:[ .()\-\u2010-\u2013]{0,2}\d){6,14}(?!\w|[.,/\-]\d)", re.ASCII)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.\-+])(?:1[-. ])?(?:\([2-9]\d\d\) ?|[1-9]\d\d[-.\u2010-\u2013])\d{3}[-. \u2010-\u2013]\d{4}(?![\w-])",
    re.ASCII,
)
_NORTH_AMERICAN_REGIONS = frozenset({"US", "CA"})

_EMAIL = re.compile(r"(?<![\w.%+\-@])[\w%+][\w.%+\-]{0,63}@(?:[^\W_][\w\-]{0,62}\.){1,8}[^\W\d_]{2,24}(?![\w@])")
_EMAIL_SPELT_OUT = re.compile(
    r"(?<![\w.%+\-@])[a-z0-9][\w.%+\-]{1,63} ?(?:\[at\]|\(at\)|[ ]at[ ]) ?[a-z0-9\-]{2,40}"
    r"(?: ?(?:\[dot\]|\(dot\)|[ ]dot[ ]|\.) ?[a-z]{2,24}){1,3}\b",
    re.ASCII | re.IGNORECASE,
)


@lru_cache
def phone_detector(region: str) -> Detector:
    """Detector of numbers valid in `region` or with a country code, and of what its form or a word gives away."""
    plain = rf"{_DIGIT}{{{max(8, _fewest_digits(region)) - 1}}}"
    return Detector(
        hint=rf"(?i){_WORDS}[\s\S]{{0,{REACH_BEFORE}}}{_DIGIT}{{6}}|{_DIGIT}{{6}}[\s\S]{{0,{REACH_AFTER}}}{_WORDS}"
        rf"|\+\(?{_DIGIT}{{6}}|\b0{_BETWEEN}{{0,3}}{_DIGIT}{{8}}|\b{plain}",
        detect=lambda text: _detect_phones(text, region),
    )


def _detect_phones(text: str, region: str) -> Iterator[Finding]:
    """Every run of digits that may be a number, read by the library; then the North American form, valid or not."""
    for stretch in _STRETCH.finditer(text):
        announced = stands_near(text, *stretch.span(), _NEAR)
        if not announced and not _worth_reading(stretch[0], region):
            continue
        window = text[stretch.start() : stretch.end() + _EXTENSION_LENGTH]
        for match in PhoneNumberMatcher(window, region, Leniency.VALID, _TRIES_PER_STRETCH):
            start, end = stretch.start() + match.start, stretch.start() + match.end
            yield Finding("phone", start, end, 0.9 if announced else _score_unannounced(match.raw_string, region))
        number = _LABELLED_NUMBER.match(text, stretch.start())
        if number and number[0].startswith("+"):
            yield Finding("phone", *number.span(), 0.6)
        if announced and number and _LABEL.search(text[max(0, stretch.start() - REACH_BEFORE) : stretch.start()]):
            yield Finding("phone", *number.span(), 0.65)
    if region in _NORTH_AMERICAN_REGIONS:
        for found in _NORTH_AMERICAN.finditer(text):
            yield Finding("phone", *found.span(), 0.7)


def _worth_reading(stretch: str, region: str) -> bool:
    """Whether a run of digits that no word announces can be a number. The library is slow: most runs stop here."""
    num_digits = sum(character.isdigit() for character in stretch)
    if stretch.startswith(("+", "(+")):
        return True
    if stretch.startswith(("0", "(0")):
        return num_digits >= 9
    return num_digits >= max(8, _fewest_digits(region)) and not stretch.isdigit()


@lru_cache
def _fewest_digits(region: str) -> int:
    """Digits of the shortest national number of a region."""
    metadata = PhoneMetadata.metadata_for_region(region)
    lengths = metadata.general_desc.possible_length if metadata and metadata.general_desc else ()
    return min(lengths, default=_FEWEST_DIGITS)


def _score_unannounced(number: str, region: str) -> float:
    """A valid number that no word announces: sure with a country code or its country's grouping, else hardly."""
    if number.startswith("+"):
        return 0.85
    if number.isdigit():
        return 0.55
    grouped = PhoneNumberMatcher(number, region, Leniency.STRICT_GROUPING, _TRIES_PER_STRETCH).has_next()
    return 0.65 if grouped else 0.4


def _detect_emails(text: str) -> Iterator[Finding]:
    """Addresses as written, and as spelt out with `at` and `dot`."""
    for match in _EMAIL.finditer(text):
        yield Finding("email", match.start(), match.end(), 0.95)
    for match in _EMAIL_SPELT_OUT.finditer(text):
        if "dot" in match[0].lower() or "[at]" in match[0].lower() or "(at)" in match[0].lower():
            yield Finding("email", match.start(), match.end(), 0.6)


EMAIL = Detector(hint=r"(?i)@|[\[( ]at[\]) ][^\n]{0,50}[\[( .]dot[\]) ]|[\[(]at[\])]", detect=_detect_emails)
