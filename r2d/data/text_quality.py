"""Quality of texts: characters damaged on the way here, markup, and the language they are written in.

A damaged character is a token of its own to the model, and keeps a word from being recognised.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from ftfy.badness import badness
from numpy.typing import NDArray
from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

from r2d.errors import ConfigError
from r2d.text import MARKUP

Texts: TypeAlias = pa.Array | pa.ChunkedArray

CONTROL_CHARACTERS = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f"  # C0 but for tab, newline and carriage return
    r"\x{80}-\x{9f}"  # C1
    r"\x{ad}\x{200b}\x{2060}\x{feff}"  # soft hyphen and zero-width spaces
    r"\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}"  # direction of writing
    r"\x{fff9}-\x{fffd}\x{fffe}\x{ffff}]"  # annotations, the replacement character, what is no character
)
"""Zero-width joiners (U+200C, U+200D) are left out: Persian, Hindi and emoji need them."""

_MAY_BE_MOJIBAKE = r"[^\x00-\x7f]{2}|[\x{80}-\x{9f}ÂÃØÙŒœΒΓΞΟВГРС]"
"""Every pattern of `ftfy.badness` has two neighbours outside ASCII, or one of these characters."""

MIN_CONFIDENCE = 0.8
"""Probability of a language, as `py3langid` calibrates it, below which the language of a text is not determined."""
MIN_LETTERS = 15  # with fewer letters, the language of a text is not determined
MAX_ROWS = 2_000
"""Rows whose language is determined: enough for its share to within 0.5 percent points (one standard error)."""
MAX_CHARACTERS = 300
"""Characters of a text that are read, from its beginning: time grows with them, certainty hardly does."""
NO_LANGUAGE = "zxx"  # the model's name for numbers, markup and codes


def num_control_characters(texts: Texts) -> NDArray[np.int64]:
    """Number of characters in each text that nobody typed (`CONTROL_CHARACTERS`); 0 for null."""
    counts = pc.fill_null(pc.count_substring_regex(texts, CONTROL_CHARACTERS), 0)
    return np.array(counts.to_numpy(zero_copy_only=False), np.int64)


def num_mojibake(texts: Texts) -> NDArray[np.int64]:
    """Number of places in each text where UTF-8 was read as another encoding, such as `Ã©` for an e with accent.

    The heuristic is that of `ftfy`, which takes 0.3 ms a text, so only the few with `_MAY_BE_MOJIBAKE` are given to it.
    Real accents, Greek letters and signs such as the degree do not count.
    """
    may_be_damaged = pc.fill_null(pc.match_substring_regex(texts, _MAY_BE_MOJIBAKE), False)
    rows = pc.indices_nonzero(may_be_damaged)
    counts = np.zeros(len(texts), np.int64)
    counts[rows.to_numpy()] = [badness(text) for text in texts.take(rows).to_pylist()]
    return counts


def num_markup(texts: Texts) -> NDArray[np.int64]:
    """Number of places in each text that are RTF, HTML or base64 (`r2d.text.MARKUP`); 0 for null."""
    counts = pc.fill_null(pc.count_substring_regex(texts, MARKUP), 0)
    return np.array(counts.to_numpy(zero_copy_only=False), np.int64)


def in_language(texts: Texts, language: str, max_rows: int = MAX_ROWS) -> pa.BooleanArray:
    """Whether each text is in `language`, so that `pyarrow.compute.mean` of the result is its share.

    Args:
        texts: strings.
        language: ISO 639-1 code.
        max_rows: as `languages`.

    Returns:
        for each row true, false, or null, where `languages` has null.

    Raises:
        ConfigError: the model does not know the language.
    """
    known = _language_identifier().labels
    if language == NO_LANGUAGE or language not in known:
        raise ConfigError(
            f"validation.language {language!r}: this language cannot be recognised; allowed: "
            f"{', '.join(sorted(set(known) - {NO_LANGUAGE}))}; "
            "give one of them, or set validation.severities.language to 'off'"
        )
    return pc.equal(languages(texts, max_rows), language)


def languages(texts: Texts, max_rows: int = MAX_ROWS) -> pa.StringArray:
    """ISO 639-1 code of the language of each text; null where it is not in the sample, too short, or of no certain one.

    Above `max_rows` rows only a sample is read: the rows whose number has the lowest hash, the same on every run.

    Args:
        texts: strings.
        max_rows: rows to read; each takes about 0.3 ms.
    """
    sample = np.arange(len(texts))
    if len(texts) > max_rows:
        sample = np.sort(np.argsort(pd.util.hash_array(sample), kind="stable")[:max_rows])
    found: list[str | None] = [None] * len(texts)
    beginnings = pc.utf8_slice_codeunits(texts.take(pa.array(sample)), 0, MAX_CHARACTERS)
    is_long_enough = pc.greater_equal(pc.count_substring_regex(beginnings, r"\pL"), MIN_LETTERS)
    is_long_enough = pc.fill_null(is_long_enough, False).to_numpy(zero_copy_only=False)
    for row, text in zip(sample[is_long_enough], beginnings.filter(is_long_enough).to_pylist(), strict=True):
        best, confidence = _language_identifier().classify(text)
        if confidence >= MIN_CONFIDENCE and best != NO_LANGUAGE:
            found[row] = best
    return pa.array(found, pa.string())


@functools.cache
def _language_identifier() -> LanguageIdentifier:
    """The model, restricted to ISO 639-1: otherwise clipped English is taken for Nigerian Pidgin or a creole."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == NO_LANGUAGE])
    return identifier
