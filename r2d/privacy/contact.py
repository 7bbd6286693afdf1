"""Ways to reach a person: telephone numbers, read by `phonenumbers`, e-mail addresses and postal codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from phonenumbers import Leniency, PhoneMetadata, PhoneNumberMatcher

from r2d.files import read_yaml
from r2d.privacy.findings import REACH_AFTER, REACH_BEFORE, Detector, Finding, detector, is_announced

_BETWEEN = "[ \t().\\-/\u00a0\u2010-\u2013]"
_DIGIT = rf"(?:\d{_BETWEEN}{{0,3}})"
_DATE = r"\d{1,4}([./\-])\d{1,2}\1\d{2,4}(?![\d\-])"
_STRETCH = re.compile(rf"(?<![\w.+])(?<!\d,)(?!{_DATE})[+(]{{0,2}}\d(?:{_BETWEEN}{{0,3}}\d){{6,}}", re.ASCII)
_EXTENSION_LENGTH = 14
_TRIES_PER_STRETCH = 20
"""A page of numbers can be one stretch; a telephone number that begins after this many false starts is missed."""

_WORDS = (
    r"\b(?:tele?phones?|tel|phones?|ph|mobile|mob|cell(?:phone|ular)?|fax|pager|landline|voicemail|"
    r"contact (?:no|number)|call(?:ed|ing|s|back)?|ring|rang|dial|text(?:ed)?|reach(?:ed|able)?|whatsapp|hotline)\b"
)
_NEAR = re.compile(_WORDS, re.IGNORECASE)
_LABEL = re.compile(
    rf"{_WORDS}(?:[ ](?:no|num|number|back|her|him|them|me|us|on|at|is|was)\b){{0,3}}[ .:#=\-]{{0,4}}$",
    re.ASCII | re.IGNORECASE,
)
_WITH_EXTENSION = r"(?: ?(?:x|ext\.?|extension|#) ?\d{1,6})?"
_LABELLED_NUMBER = re.compile(
    rf"[+(]{{0,2}}\d(?:[ .()\-\u2010-\u2013]{{0,2}}\d){{6,14}}{_WITH_EXTENSION}(?!\w|[.,/\-]\d)", re.ASCII
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.\-+])(?:(?:00)?1[-. ])?(?:\([2-9]\d\d\) ?|[1-9]\d\d[-.\u2010-\u2013])\d{3}[-. \u2010-\u2013]\d{4}"
    rf"{_WITH_EXTENSION}(?![\w-])",
    re.ASCII,
)

_EMAIL = re.compile(r"(?<![\w.%+\-@])[\w%+][\w.%+\-]{0,63}@(?:[^\W_][\w\-]{0,62}\.){1,8}[^\W\d_]{2,24}(?![\w@])")
_EMAIL_SPELT_OUT = re.compile(
    r"(?<![\w.%+\-@])[a-z0-9][\w.%+\-]{1,63} ?(?:\[at\]|\(at\)|[ ]at[ ]) ?[a-z0-9\-]{2,40}"
    r"(?: ?(?:\[dot\]|\(dot\)|[ ]dot[ ]|\.) ?[a-z]{2,24}){1,3}\b",
    re.ASCII | re.IGNORECASE,
)


@lru_cache
def phone_detector(region: str) -> Detector:
    """Detector of telephone numbers: valid in `region`, with a country code, or known by form or a word nearby."""
    metadata = PhoneMetadata.metadata_for_region(region)
    lengths = metadata.general_desc.possible_length if metadata and metadata.general_desc else ()
    min_digits = max(8, min(lengths, default=0))

    def may_be_number(stretch: str) -> bool:
        """Whether a run of digits that no word announces can be a number. The library is slow: most runs stop here."""
        num_digits = sum(character.isdigit() for character in stretch)
        if stretch.startswith(("+", "(+")):
            return True
        if stretch.startswith(("0", "(0")):
            return num_digits >= 9
        return num_digits >= min_digits and not stretch.isdigit()

    def score(number: str) -> float:
        """Score of a valid number that no word announces: high with a country code or its country's grouping."""
        if number.startswith("+"):
            return 0.85
        if number.isdigit():
            return 0.55
        is_grouped = PhoneNumberMatcher(number, region, Leniency.STRICT_GROUPING, _TRIES_PER_STRETCH).has_next()
        return 0.65 if is_grouped else 0.4

    @detector(
        rf"(?i){_WORDS}[\s\S]{{0,{REACH_BEFORE}}}{_DIGIT}{{6}}|{_DIGIT}{{6}}[\s\S]{{0,{REACH_AFTER}}}{_WORDS}"
        rf"|\+\(?{_DIGIT}{{6}}|\b0{_BETWEEN}{{0,3}}{_DIGIT}{{8}}|\b{_DIGIT}{{{min_digits - 1}}}"
    )
    def phone(text: str) -> Iterator[Finding]:
        for stretch in _STRETCH.finditer(text):
            announced = is_announced(text, *stretch.span(), _NEAR)
            if not announced and not may_be_number(stretch[0]):
                continue
            window = text[stretch.start() : stretch.end() + _EXTENSION_LENGTH]
            for match in PhoneNumberMatcher(window, region, Leniency.VALID, _TRIES_PER_STRETCH):
                start, end = stretch.start() + match.start, stretch.start() + match.end
                yield Finding("phone", start, end, 0.9 if announced else score(match.raw_string))
            number = _LABELLED_NUMBER.match(text, stretch.start())
            if number and number[0].startswith("+"):
                yield Finding("phone", *number.span(), 0.6)
            if announced and number and _LABEL.search(text[max(0, stretch.start() - REACH_BEFORE) : stretch.start()]):
                yield Finding("phone", *number.span(), 0.65)
        if region in ("US", "CA"):  # the North American form, valid or not
            for number in _NORTH_AMERICAN.finditer(text):
                yield Finding("phone", *number.span(), 0.7)

    return phone


@detector(r"(?i)@|[\[( ]at[\]) ][^\n]{0,50}[\[( .]dot[\]) ]|[\[(]at[\])]")
def email(text: str) -> Iterator[Finding]:
    """Addresses as written, and as spelt out with `at` and `dot`."""
    for match in _EMAIL.finditer(text):
        yield Finding("email", *match.span(), 0.95)
    for match in _EMAIL_SPELT_OUT.finditer(text):
        if any(part in match[0].lower() for part in ("dot", "[at]", "(at)")):
            yield Finding("email", *match.span(), 0.6)


# Postal codes of the United Kingdom, Canada and the United States. Five digits alone are never one.

_AREAS = read_yaml(Path(__file__).with_name("postal_areas.yaml"))
_UK_AREAS = frozenset(_AREAS["uk_areas"].split())
_BLANK = "[ \u00a0]"
_UK = rf"[A-Z]{{1,2}}\d[A-Z\d]?{_BLANK}?\d[ABD-HJLNP-UW-Z]{{2}}"
_CANADA = "[ABCEGHJ-NPRSTVXY]\\d[ABCEGHJ-NPRSTV-Z][ \\-\u00a0]?\\d[ABCEGHJ-NPRSTV-Z]\\d"

_ZIP = r"\d{5}(?:-\d{4})?"
_AFTER_ZIP = r"(?![\w/%]|[-.,]\d)"
_ZIP_WORD = r"(?i:\b(?:zip(?:[ -]?code)?|postal code|mailing code)(?: (?:is|of|was))?[\s:#=]{1,3})"
_STATE = r"\b(?P<state>[A-Z]{2})[,.]?[ \n]{1,2}"
_STATE_NAME = rf"\b(?:{'|'.join(_AREAS['us_states'])}),?[ \n]{{1,2}}"
_CITY_BEFORE = re.compile(r"[A-Za-z]\.?,?[ ]{1,2}$", re.ASCII)
_ZIP_BEHIND_WORD, _ZIP_BEHIND_STATE, _ZIP_BEHIND_STATE_NAME = (
    re.compile(rf"{before}(?P<zip>{_ZIP}){_AFTER_ZIP}", re.ASCII) for before in (_ZIP_WORD, _STATE, _STATE_NAME)
)
_ZIP_PLUS_4 = re.compile(rf"(?<![\w.,/\-])\d{{5}}-\d{{4}}{_AFTER_ZIP}", re.ASCII)

_ADDRESS = re.compile(
    r"\b(?:post ?-?code|postal|post code|zip|address|lives?|living|resid(?:es|ing|ent)|moved|mail(?:ed|ing)?|home|"
    r"street|st|road|rd|avenue|ave|lane|drive|close|court|flat|apt|house)\b",
    re.IGNORECASE,
)


def _lettered_code_detector(shape: str, is_code: Callable[[str], bool], score_together: float) -> Detector:
    """Detector of codes with letters; `score_together` is for those without their blank, which can be gene names."""
    pattern = re.compile(rf"(?<![\w.\-/]){shape}(?![\w\-/])", re.ASCII | re.IGNORECASE)

    @detector(rf"(?i)\b{shape}\b")
    def postal_code(text: str) -> Iterator[Finding]:
        for match in filter(lambda match: is_code(match[0].upper()), pattern.finditer(text)):
            if is_announced(text, *match.span(), _ADDRESS):
                yield Finding("postal_code", *match.span(), 0.9)
            elif match[0] == match[0].upper():
                yield Finding("postal_code", *match.span(), score_together if match[0].isalnum() else 0.65)

    return postal_code


@detector(rf"(?:{_ZIP_WORD}|{_STATE}|{_STATE_NAME})\d{{5}}\b|\b\d{{5}}-\d{{4}}\b")
def zip_code(text: str) -> Iterator[Finding]:
    """ZIP codes, by the word, the state or the four further digits beside them."""
    for pattern, score in ((_ZIP_BEHIND_WORD, 0.9), (_ZIP_BEHIND_STATE_NAME, 0.8)):
        for match in pattern.finditer(text):
            yield Finding("postal_code", *match.span("zip"), score)
    for match in _ZIP_BEHIND_STATE.finditer(text):
        if match["state"] in _AREAS["us_states_by_digit"][int(match["zip"][0])].split():
            city = _CITY_BEFORE.search(text[max(0, match.start() - 5) : match.start()])
            yield Finding("postal_code", *match.span("zip"), 0.85 if city else 0.5)
    for match in _ZIP_PLUS_4.finditer(text):
        yield Finding("postal_code", *match.span(), 0.85 if is_announced(text, *match.span(), _ADDRESS) else 0.5)


POSTAL_CODES = (
    # British postcodes, whose first letters name a postal area.
    _lettered_code_detector(_UK, lambda code: re.split(r"\d", code)[0] in _UK_AREAS, score_together=0.45),
    # Canadian postal codes, but no tumour stages.
    _lettered_code_detector(_CANADA, lambda code: not re.fullmatch(r"T\dN\dM\d", code), score_together=0.55),
    zip_code,
)
