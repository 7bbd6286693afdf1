"""Postal codes of the United Kingdom, Canada and the United States. Five digits alone are never one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from r2d.privacy.finding import Detector, Finding
from r2d.privacy.numbered import stands_near

_UK_AREA_NAMES = """
AB AL BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY EC EH EN EX FK FY GL GU GY
HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY LA LD LE LL LN LS LU ME MK ML NE NG NN NP NR NW OL OX PA PE PH PL
PO PR RG RH RM SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB WA WC WD WF WN WR WS WV YO ZE B
E G L M N S W
"""
_UK_AREAS = frozenset(_UK_AREA_NAMES.split())
_BLANK = "[ \u00a0]"
_UK = rf"[A-Z]{{1,2}}\d[A-Z\d]?{_BLANK}?\d[ABD-HJLNP-UW-Z]{{2}}"
_CANADA = "[ABCEGHJ-NPRSTVXY]\\d[ABCEGHJ-NPRSTV-Z][ \\-\u00a0]?\\d[ABCEGHJ-NPRSTV-Z]\\d"
_UK_CODE = re.compile(rf"(?<![\w.\-/]){_UK}(?![\w\-/])", re.ASCII | re.IGNORECASE)
_CANADA_CODE = re.compile(rf"(?<![\w.\-/]){_CANADA}(?![\w\-/])", re.ASCII | re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_TUMOUR_STAGE = re.compile(r"T\dN\dM\d", re.IGNORECASE)

_STATES = {
    "0": "CT MA ME NH NJ PR RI VT",
    "1": "DE NY PA",
    "2": "DC MD NC SC VA WV",
    "3": "AL FL GA MS TN",
    "4": "IN KY MI OH",
    "5": "IA MN MT ND SD WI",
    "6": "IL KS MO NE",
    "7": "AR LA OK TX",
    "8": "AZ CO ID NM NV UT WY",
    "9": "AK CA HI OR WA",
}
"""First digit of a ZIP code -> the states it serves."""
_STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|"
    "Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|"
    "Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|"
    "Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|"
    "West Virginia|Wisconsin|Wyoming"
)
_ZIP = r"\d{5}(?:-\d{4})?"
_AFTER_ZIP = r"(?![\w/%]|[-.,]\d)"
_WORD_BEFORE = r"(?i:\b(?:zip(?:[ -]?code)?|postal code|mailing code)(?: (?:is|of|was))?[\s:#=]{1,3})"
_STATE_BEFORE = r"\b(?P<state>[A-Z]{2})[,.]?[ \n]{1,2}"
_STATE_NAME_BEFORE = rf"\b(?:{_STATE_NAMES}),?[ \n]{{1,2}}"
_CITY_BEFORE = re.compile(r"[A-Za-z]\.?,?[ ]{1,2}$", re.ASCII)
_ZIP_LABELLED = re.compile(rf"{_WORD_BEFORE}(?P<zip>{_ZIP}){_AFTER_ZIP}", re.ASCII)
_ZIP_STATE = re.compile(rf"{_STATE_BEFORE}(?P<zip>{_ZIP}){_AFTER_ZIP}", re.ASCII)
_ZIP_STATE_NAME = re.compile(rf"{_STATE_NAME_BEFORE}(?P<zip>{_ZIP}){_AFTER_ZIP}", re.ASCII)
_ZIP_PLUS_4 = re.compile(rf"(?<![\w.,/\-])\d{{5}}-\d{{4}}{_AFTER_ZIP}", re.ASCII)

_ADDRESS = re.compile(
    r"\b(?:post ?-?code|postal|post code|zip|address|lives?|living|resid(?:es|ing|ent)|moved|mail(?:ed|ing)?|home|"
    r"street|st|road|rd|avenue|ave|lane|drive|close|court|flat|apt|house)\b",
    re.IGNORECASE,
)


def _british(text: str) -> Iterator[Finding]:
    """British postcodes, whose first letters name a postal area."""
    codes = (match for match in _UK_CODE.finditer(text) if _DIGIT.split(match[0])[0].upper() in _UK_AREAS)
    return _with_letters(text, codes, together=0.45)


def _canadian(text: str) -> Iterator[Finding]:
    """Canadian postal codes, but no tumour stages."""
    codes = (match for match in _CANADA_CODE.finditer(text) if not _TUMOUR_STAGE.fullmatch(match[0]))
    return _with_letters(text, codes, together=0.55)


def _american(text: str) -> Iterator[Finding]:
    """ZIP codes, by the word, the state or the four more digits beside them."""
    for match in _ZIP_LABELLED.finditer(text):
        yield Finding("postal_code", *match.span("zip"), 0.9)
    for match in _ZIP_STATE_NAME.finditer(text):
        yield Finding("postal_code", *match.span("zip"), 0.8)
    for match in _ZIP_STATE.finditer(text):
        if match["state"] in _STATES[match["zip"][0]].split():
            city = _CITY_BEFORE.search(text[max(0, match.start() - 5) : match.start()])
            yield Finding("postal_code", *match.span("zip"), 0.85 if city else 0.5)
    for match in _ZIP_PLUS_4.finditer(text):
        yield Finding("postal_code", *match.span(), 0.85 if stands_near(text, *match.span(), _ADDRESS) else 0.5)


def _with_letters(text: str, codes: Iterable[re.Match[str]], together: float) -> Iterator[Finding]:
    """British and Canadian codes; `together` scores those without their blank, which gene names can look like."""
    for match in codes:
        if stands_near(text, *match.span(), _ADDRESS):
            yield Finding("postal_code", *match.span(), 0.9)
        elif match[0] == match[0].upper():
            yield Finding("postal_code", *match.span(), together if match[0].isalnum() else 0.65)


POSTAL_CODE = (
    Detector(hint=rf"(?i)\b{_UK}\b", detect=_british),
    Detector(hint=rf"(?i)\b{_CANADA}\b", detect=_canadian),
    Detector(
        hint=rf"(?:{_WORD_BEFORE}|{_STATE_BEFORE}|{_STATE_NAME_BEFORE})\d{{5}}\b|\b\d{{5}}-\d{{4}}\b",
        detect=_american,
    ),
)
