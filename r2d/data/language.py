"""Which notes are in the language the model is made for; notes too short or too abbreviated to tell are not guessed."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

from r2d.errors import ConfigError

Texts: TypeAlias = pa.Array | pa.ChunkedArray

MIN_CONFIDENCE = 0.8
"""Probability of a language, as `py3langid` calibrates it, below which a text is left undecided."""
MIN_LETTERS = 15
"""With fewer, a text is left undecided."""
MAX_ROWS = 2_000
"""That are looked at: enough for the share of a language to within 0.5 percent points (one standard error)."""
MAX_CHARACTERS = 300
"""Of a text that are looked at, from its beginning: the time grows with them, the certainty hardly."""
NO_LANGUAGE = "zxx"
"""What the model calls numbers, markup and codes."""


def in_language(texts: Texts, language: str, max_rows: int = MAX_ROWS) -> pa.BooleanArray:
    """Whether each text is in `language`, so that `pyarrow.compute.mean` of the result is its share.

    Above `max_rows` rows only a sample is looked at: the rows whose number has the lowest hash, the same on every run.

    Args:
        texts: strings.
        language: ISO 639-1 code.
        max_rows: of which the language is determined; each takes about 0.3 ms.

    Returns:
        For each row true, false, or null: not in the sample, too short, or not surely in any language.

    Raises:
        ConfigError: the model does not know the language.
    """
    identifier = _identifier()
    if language == NO_LANGUAGE or language not in identifier.labels:
        raise ConfigError(
            f"validation.language {language!r}: this language cannot be recognised; allowed: "
            f"{', '.join(sorted(set(identifier.labels) - {NO_LANGUAGE}))}; "
            "give one of them, or set validation.severities.language to 'off'"
        )
    sample = _sample(len(texts), max_rows)
    found = np.zeros(len(texts), bool)
    decided = np.zeros(len(texts), bool)
    beginnings = pc.utf8_slice_codeunits(texts.take(pa.array(sample)), 0, MAX_CHARACTERS)
    enough = pc.greater_equal(pc.count_substring_regex(beginnings, r"\pL"), MIN_LETTERS)
    for row, text, is_long_enough in zip(sample, beginnings.to_pylist(), enough.to_pylist(), strict=True):
        if is_long_enough:
            best, confidence = identifier.classify(text)
            decided[row] = confidence >= MIN_CONFIDENCE and best != NO_LANGUAGE
            found[row] = best == language
    return pa.array(found, mask=~decided)


def _sample(num_rows: int, max_rows: int) -> NDArray[np.int64]:
    """Numbers of the rows to look at, ascending."""
    if num_rows <= max_rows:
        return np.arange(num_rows)
    return np.sort(np.argsort(pd.util.hash_array(np.arange(num_rows)), kind="stable")[:max_rows])


@functools.cache
def _identifier() -> LanguageIdentifier:
    """The model that comes with `py3langid`, held to the languages that ISO 639-1 has a code for.

    Without this, notes of clipped English come out as Nigerian Pidgin, and short ones as a creole.
    """
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == NO_LANGUAGE])
    return identifier
