"""The words of a text as findings are compared, and what stands between them."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from r2d.rationales.findings import APOSTROPHE, Words, singular
from r2d.rationales.signs import spell_signs

_TOKEN = re.compile(
    r"[^\W_]+|\([-+?0t]\)|\.(?!\w|[ ]for\b)(?:(?<!\b(?i:assoc)\.)|(?=\s+[A-Z][a-z]))(?<!\b(?i:poss|prob)\.)|[;!?:,/]"
    r"|\n(?=[^\S\n]*(?:[-*•\d\n(]|[A-Z]|$))"
)
"""Words, signs, and what parts them; a full stop does not behind some abbreviations (`neg. for`; `no assoc. fever`,
but `no assoc. Cough since noon`)."""
_PUNCTUATION = frozenset(".;!?:,/\n")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of a text as findings are compared, and what stands between them."""

    words: Words
    written: Sequence[str]
    """The same words as the text has them, but for apostrophes."""
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


@functools.lru_cache(maxsize=16)  # several checks read the same note, one after the other
def read_tokens(text: str) -> Tokens:
    """The words of a text and what stands between them."""
    tokens = _TOKEN.findall(APOSTROPHE.sub("", spell_signs(text)))
    written = [token for token in tokens if token not in _PUNCTUATION]
    words = tuple([_plain(token) for token in written])
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
        written,
        bounds,
        breaks,
        frozenset(breaks),
        frozenset(breaks) - frozenset(colons),
        frozenset(colons),
        frozenset(slashes),
    )
