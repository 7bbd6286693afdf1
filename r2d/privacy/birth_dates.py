"""Dates of birth: a date, in any usual writing, that the words beside it call a birth date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from r2d.privacy.findings import Finding, detector

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_SPLIT = "[ ./\\-\u2010-\u2013]{1,2}"
_DATE = (
    rf"(?:\d{{4}}{_SPLIT}\d{{1,2}}{_SPLIT}\d{{1,2}}"
    rf"|\d{{1,2}}{_SPLIT}\d{{1,2}}{_SPLIT}(?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?:{_SPLIT}|[ ]of[ ])?{_MONTH},?{_SPLIT}?'?(?:\d{{4}}|\d{{2}})"
    rf"|{_MONTH}{_SPLIT}?\d{{1,2}}(?:st|nd|rd|th)?,?{_SPLIT}(?:\d{{4}}|'?\d{{2}})"
    rf"|\d{{4}}{_SPLIT}?{_MONTH}{_SPLIT}?\d{{1,2}}"
    rf"|\d{{8}})(?![\w/]|[.\-]\d)"
)
_LABEL = r"(?:\bd\.? ?o\.? ?b\b\.?|\bdate of birth\b|\bbirth[ -]?dates?\b|\bb(?:irth|-)?day\b|\bdate born\b)"
_JOIN = (
    r"[\s:=\-(,#*|.]{0,5}(?:\([dmy/\-. ]{2,12}\)[\s:]{0,3})?"
    r"(?:(?:is|was|on|the|of|as|given|recorded|it['’]?s|it)\b[\s:]{1,2}){0,3}"
)
_FLAGS = re.ASCII | re.IGNORECASE

_LABELLED = re.compile(rf"{_LABEL}{_JOIN}(?P<date>{_DATE})", _FLAGS)
_LABEL_AFTER = re.compile(rf"(?<![\w/.\-])(?P<date>{_DATE})[ ,]{{0,2}}\(?{_LABEL}", _FLAGS)
_BORN = re.compile(
    rf"(?:\bborn(?: on)?(?: the)?|\(b\.?|\bb\.)[\s:,]{{0,2}}(?P<date>{_DATE})(?!\s?(?:-|to\b|through\b|and\b|until\b))",
    _FLAGS,
)


@detector(rf"(?i){_LABEL}|\bborn\b|\bb\.|\(b[.\s:,\d]")
def date_of_birth(text: str) -> Iterator[Finding]:
    """Dates called `DOB` or the like, and those that follow `born`. An impossible `DOB` is a typing error."""
    for pattern, score in ((_LABELLED, 0.95), (_LABEL_AFTER, 0.9), (_BORN, 0.7)):
        for match in pattern.finditer(text):
            is_possible = read_date(match["date"]) is not None
            if is_possible or pattern is not _BORN:
                yield Finding("date_of_birth", *match.span("date"), score if is_possible else 0.6)


def read_date(written: str) -> tuple[int, ...] | None:
    """A key that is the same for every way to write a date: year modulo 100, month, day; None for an impossible date.

    03/04/1975 may be March or April; its key keeps the order as written.
    """

    def exists(year: int, month: int, day: int) -> bool:
        """Whether the calendar has the day, and someone alive can have been born then."""
        if year >= 100 and not 1880 <= year <= date.today().year:
            return False
        try:
            date(year if year >= 100 else 2000 + year, month, day)
        except ValueError:
            return False
        return True

    month = re.search("|".join(_MONTHS), written.lower())
    numbers = re.findall(r"\d+", written)
    if len(numbers) == 1 and len(numbers[0]) == 8:
        digits = numbers[0]
        readings = [(digits[:4], digits[4:6], digits[6:]), (digits[4:], digits[:2], digits[2:4])]
        numbers = list(readings[0] if digits[:2] in ("18", "19", "20") else readings[1])
    elif month:
        year, day = sorted(numbers, key=lambda number: (-len(number), numbers.index(number) == 0))[:2]
        numbers = [year, str(_MONTHS.index(month[0]) + 1), day]
    elif len(numbers[0]) != 4:
        numbers = [numbers[2], numbers[0], numbers[1]]
    year, first, second = (int(number) for number in numbers)
    orders = [(first, second)] if month else [(first, second), (second, first)]
    known = [order for order in orders if exists(year, *order)]
    if not known:
        return None
    return (year % 100, *(known[0] if len(known) == 1 else (first, second)))
