"""The words of a text as findings are compared, what stands between them, and signs as words: `Fever [ ] Cough [x]`."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from r2d.rationales.findings import APOSTROPHE, Words, singular

_TOKEN = re.compile(r"[^\W_]+|\([-+?0t]\)|\.(?!\w)|[;!?:,/]|\n(?=[^\S\n]*(?:[-*•\d\n(]|[A-Z]|$))")
_PUNCTUATION = frozenset(".;!?:,/\n")
_SIGNS = frozenset({"(+)", "(-)", "(?)", "(0)"})
"""A plus or a ticked box, a minus, an empty box, the empty set; a duration is `(t)`."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of a text as findings are compared, and what stands between them."""

    words: Words
    bounds: Sequence[int]
    """Words at which sentences begin, in order, and the number of words."""
    breaks: Sequence[int]
    """Words that a comma, a colon or a sentence's end stands before, in order, and the number of words."""
    is_break: frozenset[int]
    """The same."""
    commas: frozenset[int]
    """Those of them that are no colon."""
    colons: frozenset[int]
    """Those that a colon or a question mark stands before."""
    slashes: frozenset[int]
    """Words that a slash stands before (`fever/chills`)."""

    def sentence_start(self, word: int) -> int:
        return self.bounds[bisect_right(self.bounds, word) - 1]

    def sentence_end(self, word: int) -> int:
        return self.bounds[bisect_right(self.bounds, word)]


@functools.lru_cache(maxsize=65_536)
def _plain(token: str) -> str:
    return singular(token.casefold())


_SIGN = re.compile(
    r"""(?=[-−–—+=Øø∅⌀\[(☐☑☒✓✔nNx\d])(?:
      (?P<empty_box> \[[ ]?\] | \([ ]?\) | ☐)
    | (?P<plus> \[[ ]?[xX✓✔+][ ]?\] | [☑☒✓✔] | \([ ]?[xX][ ]?\) | \+[ ]?ve\b | (?<!\S)\+(?=[^\W\d])
        | (?:(?<=\w[ ])|(?<=:)|(?<=:[ ]))\+{1,3}(?=[,;.\n]|\Z))
    | (?P<minus> [\[(][-−–][\])] | (?<!\w)[-−–][ ]?ve\b | (?:(?<=\w[ ])|(?<=:)|(?<=:[ ]))[-−–](?=[,;.\n]|\Z)
        | (?<=[:?][ ])[nN](?=[,;.\n]|\Z))
    | (?P<bullet> (?m:^)[-−–](?=[^\W\d]))
    | (?P<glued_minus> (?<![^\s,;(])[-−–](?=[^\W\d]))
    | (?P<empty_set> (?<!\w)[Øø∅⌀](?!\w))
    | (?P<equals> =(?=[ ]?\w))
    | (?P<dash> (?<=[^\s:][ ])[-–—](?=[ ]\S))
    | (?P<duration> (?<!\w)x?\d{1,3}(?:/(?:7|52|12)|(?:h|hrs?|d|w|wks?|mo|yrs?))\b)
    )""",
    re.VERBOSE,
)
_WRITTEN = {
    "empty_box": " (?) ", "plus": " (+) ", "minus": " (-) ", "glued_minus": " (-) ", "empty_set": " (0) ",
    "equals": ": ", "dash": ", ", "duration": " (t) ",
}  # fmt: skip
_HAS_SIGN = re.compile(r"[-−–—+=Øø∅⌀\[☐☑☒✓✔]|\([ ]?[xX]?[ ]?\)|\d[/hdwmy]|[:?][ ][nN]\b")


def _spell_signs(text: str) -> str:
    """The text with its signs as one of `_SIGNS`; one behind its finding gets a comma (`Fever [ ] Cough [x]`)."""
    if not _HAS_SIGN.search(text):
        return text
    bullet = " (?) " if "\n" in text.strip() else _WRITTEN["minus"]  # in a list it may be a minus or none
    spelled = _SIGN.sub(lambda match: _WRITTEN.get(match.lastgroup or "", bullet), text)
    lines = re.split(r"(\n|[.;](?!\w))", spelled)
    for at, line in enumerate(lines):
        words = line.split()
        if len(words) > 1 and words[-1] in _SIGNS and words[0] not in _SIGNS:
            lines[at] = " ".join(word + "," if word in _SIGNS else word for word in words)
    return "".join(lines)


@functools.lru_cache(maxsize=16)  # several checks read the same note, one after the other
def read_tokens(text: str) -> Tokens:
    """The words of a text and what stands between them."""
    tokens = _TOKEN.findall(APOSTROPHE.sub("", _spell_signs(text)))
    words = tuple([_plain(token) for token in tokens if token not in _PUNCTUATION])
    bounds, breaks, colons, slashes = [0], list[int](), list[int](), list[int]()
    marks = [(at, token) for at, token in enumerate(tokens) if token in _PUNCTUATION]
    for num_marks, (place, token) in enumerate(marks):
        at = place - num_marks  # words before it
        if token == "/":
            slashes.append(at)
            continue
        breaks.append(at)
        if token in ":?":  # `Fever? no`
            colons.append(at)
        elif token != "," and bounds[-1] < at:
            bounds.append(at)
    num_words = len(words)
    if bounds[-1] < num_words:
        bounds.append(num_words)
    breaks.append(num_words)
    return Tokens(
        words,
        bounds,
        breaks,
        frozenset(breaks),
        frozenset(breaks) - frozenset(colons),
        frozenset(colons),
        frozenset(slashes),
    )
