"""Short texts: labels compared, names suggested, keys of nested values, values shown without quoting a note."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LONGEST_NAME = 40
MOST_WORDS_OF_NAME = 4
FAULTS_SHOWN = 5
NAMES_SHOWN = 40
MARKUP = (
    r"\{\\rtf[0-9]"
    r"|</?(?i:p|br|div|span|b|i|u|em|strong|ul|ol|li|table|tr|td|th|h[1-6]|a|font|html|body|head|pre|sup|sub|hr|img|style)"
    r"(?:\s[^<>]{0,300})?/?>"
    r"|&(?:nbsp|lt|gt|amp|quot|apos|[nm]dash|[rl][sd]quo|hellip|deg|szlig|[A-Za-z](?:acute|grave|circ|uml|tilde|cedil)"
    r"|#[0-9]{2,5}|#x[0-9A-Fa-f]{2,4});"
    r"|(?i:data:[a-z]{2,12}/[a-z0-9.+-]{1,40}(?:;[a-z0-9=-]{1,40}){0,3},)"
    r"|(?:[A-Za-z0-9+/]{4}){20,}"
    r"|\A\s*(?:[A-Za-z0-9+/]{4}){6,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)\s*\z"
)
"""RTF, elements and entities of HTML, data URIs and base64, for RE2; `\\z` is `\\Z` of Python."""


_ALIKE = (
    dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"), "-")  # dashes, the minus sign
    | dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc"), "'")
    | dict.fromkeys(map(ord, "\u201c\u201d\u201f"), '"')
    | dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])
    | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width forms
)
"""Characters that look like another, or like nothing, beside what they are compared as."""
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.0+|,00?)?(?:e[+-]?\d)?")
_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")
MOST_CHANGES = 2
"""Characters by which a cell may differ from a label and still be shown."""
_CODE = re.compile(r"[a-z]{1,2}|[a-z]{0,4}[ _-]?\d{1,2}([.,]0+)?|yes|no|true|false|on|off", re.I)


def normalise_label(text: str) -> str:
    """The form in which labels are compared (departure 8).

    Case, outer and repeated spaces, the kind of a dash or quotation mark, full width, characters without width, the
    Unicode normal form, and `.0` behind a whole number do not count.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_ALIKE)
    text = " ".join(text.split()).casefold()
    whole = _WHOLE_FLOAT.fullmatch(text) if text[-1:] == "0" else None
    return whole.group(1) if whole else text


def plural(number: int, one: str, several: str | None = None) -> str:
    """A number and its words: `1 row` and `2,000 rows`, or `1 row is` and `2 rows are`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def small_letters(text: str) -> str:
    """The text in small letters, each at its place."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(one.lower()[:1] for one in text)


def label_meanings(labels: Sequence[str], codes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Normalised form -> the declared label: of each label, and of each code or synonym that is declared for one.

    A last full stop does not make another label: the form without it, too, where that is no other label's.
    """
    meanings = {normalise_label(label): label for label in reversed(labels)}
    meanings |= {normalise_label(code): label for code, label in (codes or {}).items()}
    for form, label in list(meanings.items()):
        if form.endswith(".") and form.rstrip(" ."):
            meanings.setdefault(form.rstrip(" ."), label)
    return meanings


def find_meaning(text: str, meanings: Mapping[str, str]) -> str | None:
    """The label that `text` stands for by `label_meanings`, or None.

    A number may be written in another way, `01`, `1,0` or `1e0` for 1, where all codes of its value mean one label.
    """
    form = normalise_label(text)
    named = meanings.get(form) or meanings.get(form.rstrip(" ."))
    if named is not None or (value := whole_number(form)) is None or ("," in form and "0" in meanings):
        return named
    meant = {label for code, label in meanings.items() if whole_number(code) == value}
    return meant.pop() if len(meant) == 1 else None


def whole_number(form: str) -> float | None:
    """The whole number that a normalised form writes, in any way; None where it writes none."""
    value = float(form.replace(",", ".")) if _NUMBER.fullmatch(form) else None
    return value if value is not None and value.is_integer() else None


def match_label(text: str | None, labels: Sequence[str], codes: Mapping[str, str] | None = None) -> str | None:
    """The declared label that `text` stands for, or None when it stands for none.

    Args:
        codes: code or synonym -> label (`data.labels.codes`).
    """
    if text is None:
        return None
    wanted = normalise_label(text)
    named = next((label for label in labels if normalise_label(label) == wanted), None)
    return find_meaning(text, label_meanings(labels, codes)) if named is None and codes else named


def show_label(text: str, labels: Iterable[str] = ()) -> str:
    """A cell of a label column for a message: itself where it is a code (`1`, `ESI 2`, `yes`) or a typing error of a
    label, two characters from it and no more than a third of its length.

    Of anything else, which may be a note or a name in the wrong column, only the length. Of a typing error, the label
    that it is near to, and the characters that are none of ASCII.
    """
    if not text:
        return "(empty)"
    if _CODE.fullmatch(text):
        return repr(text)
    if (label := near_label(text, labels)) is not None:
        odd = dict.fromkeys(c for c in text if not c.isascii() and c not in label)
        shown = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed')}" for c in odd)
        return repr(text) + (f" with {shown}" if shown else "") + f" (nearly {label!r})"
    return f"(a text of {len(text)} characters)"


def near_label(text: str, labels: Iterable[str]) -> str | None:
    """The first label that `text` may be a typing error of: two characters from it, and no more than a third of its
    length."""
    for label in labels:
        matcher = difflib.SequenceMatcher(None, text.casefold(), label.casefold(), autojunk=False)
        changes = [max(e - b, d - c) for kind, b, e, c, d in matcher.get_opcodes() if kind != "equal"]
        if sum(changes) <= min(MOST_CHANGES, len(label) // 3):
            return label
    return None


def differ_by_one_slip(one: str, other: str) -> bool:
    """Whether one letter is left out, added or another, or two neighbours have changed places."""
    if abs(len(one) - len(other)) > 1:
        return False
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[at:], other[at:]
    if len(one) == len(other):
        return one[1:] == other[1:] or (one[1::-1] == other[:2] and one[2:] == other[2:])
    return one[1:] == other or one == other[1:]


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """A hint at the nearest allowed name, ` (did you mean 'label'?)`; empty where none is near, or none is a name."""
    folded = {other.strip().casefold(): other for other in allowed if len(other) <= LONGEST_NAME}
    close = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def show_name(value: str) -> str:
    """A label, id or column name for a message. Longer prose, most likely a note in the wrong column, is not quoted."""
    if len(value) <= LONGEST_NAME and len(value.split()) <= MOST_WORDS_OF_NAME:
        return repr(value)
    if any(character.isspace() for character in value):
        return f"(a text of {len(value)} characters)"
    return repr(value[: LONGEST_NAME - 3] + "...")


_PLAIN_NAME = re.compile(r"[^\W\d]\w*([.-]\w+)*")


def shown_names(names: Sequence[str], declared: Iterable[str]) -> Sequence[str]:
    """Names of columns or keys that a message may show: all, where one is declared and each other is one plain word.

    Else none: where a header is missing, or has run into the row behind it, they are cells.
    """
    known = set(declared)
    others = [name.strip() for name in names if name not in known]
    is_plain = all(len(name) <= LONGEST_NAME and _PLAIN_NAME.fullmatch(name) for name in others)
    return names if len(others) < len(names) and is_plain else ()


def first_of(faults: Sequence[str], most: int = FAULTS_SHOWN) -> str:
    """The first faults of a kind, and how many more there are."""
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + more


def nearest_names(names: Iterable[str], wanted: str = "") -> str:
    """Names of columns for a message, those that are nearest to the wanted one first."""
    matcher = difflib.SequenceMatcher(b=wanted.casefold(), autojunk=False)

    def likeness(name: str) -> float:
        matcher.set_seq1(name[:LONGEST_NAME].casefold())
        return matcher.ratio()

    ordered = sorted(names, key=likeness, reverse=True) if wanted else list(names)
    return first_of([show_name(name) for name in ordered], NAMES_SHOWN)


def flatten(value: Any, separator: str = ".") -> dict[str, object]:
    """A nested mapping as `outer.inner` -> value; lists and empty mappings are values. What is no mapping has none."""
    flat: dict[str, object] = {}
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if isinstance(inner, Mapping) and inner:
            flat |= {f"{name}{separator}{key}": leaf for key, leaf in flatten(inner, separator).items()}
        else:
            flat[str(name)] = inner
    return flat


def changed_values(before: Any, after: Any, *, absent: object = None) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where two nested mappings differ; `absent` stands for a value that one has not."""
    old, new = flatten(before), flatten(after)
    pairs = {key: (old.get(key, absent), new.get(key, absent)) for key in {**old, **new}}
    return {key: (left, right) for key, (left, right) in pairs.items() if left != right}


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a CSV cell that begins so (OWASP, "CSV Injection"); an apostrophe before it makes it text."""


def no_formula(cell: str) -> str:
    """A cell of a CSV that no spreadsheet takes for a formula; `from_no_formula` gives the cell back."""
    return "'" + cell if cell.lstrip("'").startswith(FORMULA_STARTS) else cell


def from_no_formula(cell: str) -> str:
    """What `no_formula` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS) else cell
