"""Sufficiency without the label's own words: does a rationale argue, or does it only name the label?"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from r2d.evaluation.alignment import PredictLabels, alignment_metrics, no_alignment
from r2d.rationales.quality import MASK

_TOKEN = re.compile(r"[^\W_]+|[^\w\s-]")
"""Words, and signs that can set labels apart (A+, C#); spaces, hyphens and underscores do not count."""

Stems = tuple[str, ...]


def masked_alignment(
    predict_labels: PredictLabels,
    *,
    gold_labels: Sequence[str],
    predicted_labels: Sequence[str],
    rationales: Sequence[str],
    gold_rationales: Sequence[str],
    options: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """`alignment_metrics` of rationales in which every label of the row is masked.

    Held beside the figures without the mask, it tells how much of them the label's own words carried. A rationale of
    which only masks and signs remain is empty, and like every empty one agrees with nothing.

    Returns:
        The keys of `alignment_metrics`, num_masked: rows in whose rationale a label or a form of one stood, and
        num_nothing_left: those of which nothing else remained. `num_empty_rationales` counts the latter too.
    """
    masked = [_rest(text, some) for text, some in zip(rationales, options, strict=True)]
    found = alignment_metrics(
        predict_labels,
        gold_labels=gold_labels,
        predicted_labels=predicted_labels,
        rationales=masked,
        gold_rationales=[_rest(text, some) for text, some in zip(gold_rationales, options, strict=True)],
        options=options,
    )
    changed = [(text, rest) for text, rest in zip(rationales, masked, strict=True) if text != rest]
    return found | {"num_masked": len(changed), "num_nothing_left": sum(not rest for _, rest in changed)}


def no_masked_alignment() -> dict[str, Any]:
    """The same for a method that writes no rationale: nothing was measured, which is not 0."""
    return no_alignment() | {"num_masked": 0, "num_nothing_left": 0}


def mask_labels(rationale: str, labels: Sequence[str]) -> str:
    """The rationale with `[LABEL]` in place of every label and of its close word forms.

    Words are compared by their English stem (Porter) without case, so that `urgently` and `urgency` go with `urgent`
    and `emergencies` and `emergent` with `emergency`. Of labels that overlap the longest is masked. A label of several
    words is masked where all of them stand in a row; a label within a hyphenated word is masked too. Short labels
    over-fire: `no` is masked in "no fever".
    """
    wanted = sorted({_stems(label) for label in labels} - {()}, key=len, reverse=True)
    tokens = list(_TOKEN.finditer(rationale))
    stems = tuple(_stem(token.group()) for token in tokens)
    parts, written, at = [], 0, 0
    while at < len(tokens):
        size = next((len(label) for label in wanted if stems[at : at + len(label)] == label), 0)
        if size:
            parts += [rationale[written : tokens[at].start()], MASK]
            written = tokens[at + size - 1].end()
        at += size or 1
    return "".join([*parts, rationale[written:]])


def _rest(rationale: str, labels: Sequence[str]) -> str:
    """The masked rationale; empty where only masks and signs are left."""
    masked = mask_labels(rationale, labels)
    says_more = any(sign.isalnum() for sign in masked.replace(MASK, ""))
    return masked if says_more or masked == rationale else ""


def _stems(label: str) -> Stems:
    return tuple(_stem(token) for token in _TOKEN.findall(label))


@functools.lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    stem: str = _porter().stem(word.casefold())
    # Porter parts the noun from its adjective where the word is short: urgency (urgenc), urgent.
    return f"{stem[:-1]}t" if len(stem) > 4 and stem.endswith(("anc", "enc")) else stem


@functools.cache
def _porter() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
