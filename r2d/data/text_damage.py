"""Which texts were damaged on their way here: invisible control characters, and letters read in the wrong encoding.

Such a character is a token of its own to the model, and keeps a word from being recognised.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ftfy.badness import is_bad
from numpy.typing import NDArray

Texts: TypeAlias = pa.Array | pa.ChunkedArray

CONTROL_CHARACTERS = (
    r"["
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"  # C0 but for tab, newline and carriage return
    r"\x{80}-\x{9f}"  # C1
    r"\x{ad}\x{200b}\x{2060}\x{feff}"  # soft hyphen and zero-width spaces
    r"\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}"  # direction of writing
    r"\x{fff9}-\x{fffd}\x{fffe}\x{ffff}"  # annotations, the replacement character, what is no character
    r"]"
)
"""Zero-width joiners (U+200C, U+200D) are left out: Persian, Hindi and emoji need them."""

_MAY_BE_MOJIBAKE = r"[^\x00-\x7f]{2}|[\x{80}-\x{9f}ÂÃØÙŒœΒΓΞΟВГРС]"
"""Every pattern of `ftfy.badness` has two neighbours outside ASCII, or one of these characters."""


def control_characters(texts: Texts) -> NDArray[np.bool_]:
    """Whether each text holds a character that nobody typed (`CONTROL_CHARACTERS`); a null holds none."""
    return _matches(texts, CONTROL_CHARACTERS)


def mojibake(texts: Texts) -> NDArray[np.bool_]:
    """Whether each text holds UTF-8 that was read as another encoding, such as an e with accent that became `Ã©`.

    The heuristic is that of `ftfy`, which takes 0.3 ms a text: only texts with `_MAY_BE_MOJIBAKE` are shown to it, a
    small share in languages of Latin letters. Real accents, Greek letters and signs such as the degree do not fire.
    """
    damaged = _matches(texts, _MAY_BE_MOJIBAKE)
    damaged[damaged] = [is_bad(text) for text in texts.filter(pa.array(damaged)).to_pylist()]
    return damaged


def _matches(texts: Texts, pattern: str) -> NDArray[np.bool_]:
    found = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
    return np.array(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
