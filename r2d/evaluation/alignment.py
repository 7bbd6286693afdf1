"""Whether rationale and predicted label belong together: the alignment metrics of Reason2Decide-C, and a flip test.

`P1 = predict(x)`, `r = explain(x, P1)`, `P2 = predict(r)` and `Pg = predict(r*)`, by the same model through its own
label prompt: the rationale stands where the note would stand.

| metric | definition |
|---|---|
| consistency | acc(P1, P2) |
| sufficiency | acc(y*, P2) |
| gold robustness | acc(y*, Pg), over the rows that have a gold rationale |

The same with every label masked in the rationales tells how much of it the label's own words carried.

The flip test asks for `r' = explain(x, y')` for another label `y'`, the most probable after the model's own. A model
that explains its prediction writes something else, from which alone it comes to `y'`: necessary for a faithful
rationale, not sufficient (Wiegreffe et al. 2021, arXiv 2010.12762, who test it by noise and gradients).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.rationales import AlignmentMetrics, FlipTest, MaskedAlignment
from r2d.files import order_by_hash
from r2d.label_scores import IntArray, label_indices
from r2d.rationales.labels import MASK
from r2d.text import match_label

PredictLabels = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[str]]
"""Texts and the labels that each can have -> decoded labels, in their order; with free decoding one may be no label."""
Explain = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""Notes and a label for each -> rationales, in their order."""

_TOKEN = re.compile(r"[^\W_]+|[^\w\s-]")
"""Words, and signs that can set labels apart (A+, C#); spaces, hyphens and underscores do not count."""


class LabelReader:
    """The label that the model comes to from a text alone; each text is read once for the same options."""

    def __init__(self, predict_labels: PredictLabels) -> None:
        self._predict_labels = predict_labels
        self._labels: dict[tuple[str, tuple[str, ...]], str] = {}

    def __call__(self, texts: Sequence[str], options: Sequence[Sequence[str]]) -> IntArray:
        """[texts]: index of each label, as `label_indices`; an empty text leads to none. Long texts are read first."""
        rows = list(zip(texts, map(tuple, options), strict=True))
        new = {row for row in rows if row[0].strip()} - self._labels.keys()
        if new:
            longest_first = sorted(new, key=lambda row: (-len(row[0]), row))
            self._labels |= zip(longest_first, self._predict_labels(*zip(*longest_first, strict=True)), strict=True)
        return label_indices([self._labels.get(row) for row in rows], options)


def alignment_metrics(read_label: LabelReader, predictions: Predictions) -> AlignmentMetrics:
    """Predict once more from the rationales alone, and compare.

    A label outside the row's set agrees with nothing, not even with itself. So does an empty rationale: what the model
    makes of no text at all says nothing of a rationale (our departure; the papers do not treat it).
    """
    num_rows = len(predictions)
    from_texts = read_label(
        [*predictions.rationales, *predictions.gold_rationales], [*predictions.options, *predictions.options]
    )
    from_own, from_gold = from_texts[:num_rows], from_texts[num_rows:]
    has_gold = np.array([bool(text.strip()) for text in predictions.gold_rationales])
    return AlignmentMetrics(
        num_rows=num_rows,
        num_empty_rationales=sum(not text.strip() for text in predictions.rationales),
        num_with_gold_rationale=int(has_gold.sum()),
        consistency=float(((from_own == predictions.predicted) & predictions.valid).mean()),
        sufficiency=float((from_own == predictions.gold).mean()),
        gold_robustness=float((from_gold == predictions.gold)[has_gold].mean()) if has_gold.any() else None,
    )


def masked_alignment(read_label: LabelReader, predictions: Predictions) -> MaskedAlignment:
    """`alignment_metrics` of rationales in which every label of the row is masked. One of which only masks and signs
    remain is empty, and counted so."""

    def masked(texts: Sequence[str]) -> list[str]:
        rows = [(text, mask_labels(text, labels)) for text, labels in zip(texts, predictions.options, strict=True)]
        return [
            rest if rest == text or any(sign.isalnum() for sign in rest.replace(MASK, "")) else ""
            for text, rest in rows
        ]

    rationales = masked(predictions.rationales)
    changed = [rest for text, rest in zip(predictions.rationales, rationales, strict=True) if text != rest]
    without_labels = replace(predictions, rationales=rationales, gold_rationales=masked(predictions.gold_rationales))
    return MaskedAlignment(
        **asdict(alignment_metrics(read_label, without_labels)),
        num_masked=len(changed),
        num_nothing_left=sum(not rest for rest in changed),
    )


def mask_labels(rationale: str, labels: Sequence[str]) -> str:
    """The rationale with `[LABEL]` in place of every label and of its close word forms.

    Words are compared by their English stem (Porter) without case, so that `urgently` and `urgency` go with `urgent`
    and `emergencies` and `emergent` with `emergency`. Of labels that overlap the longest is masked. A label of several
    words is masked where all of them stand in a row; a label within a hyphenated word is masked too. Short labels
    over-fire: `no` is masked in "no fever".
    """
    labels_from, tokens = _labels_by_first_stem(tuple(labels)), list(_TOKEN.finditer(rationale))
    stems = tuple(_stem(token.group()) for token in tokens)
    parts, written, masked_until = [], 0, 0
    for at, stem in enumerate(stems):
        candidates = labels_from.get(stem, ()) if at >= masked_until else ()
        size = next((len(label) for label in candidates if stems[at : at + len(label)] == label), 0)
        if size:
            parts += [rationale[written : tokens[at].start()], MASK]
            masked_until = at + size
            written = tokens[masked_until - 1].end()
    return "".join([*parts, rationale[written:]])


@functools.lru_cache(maxsize=1_024)
def _labels_by_first_stem(labels: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
    """Stem -> the labels that begin with it, as stems, the longest first. Kept, as most rows have the same labels."""
    by_first: dict[str, list[tuple[str, ...]]] = {}
    stems_of_labels = {tuple(_stem(token) for token in _TOKEN.findall(label)) for label in labels} - {()}
    for stems in sorted(stems_of_labels, key=len, reverse=True):
        by_first.setdefault(stems[0], []).append(stems)
    return by_first


@functools.lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    from nltk.stem.porter import PorterStemmer

    stem: str = PorterStemmer().stem(word.casefold())
    # Porter parts the noun from its adjective where the word is short: urgency (urgenc), urgent.
    return f"{stem[:-1]}t" if len(stem) > 4 and stem.endswith(("anc", "enc")) else stem


def flip_test(
    explain: Explain,
    read_label: LabelReader,
    predictions: Predictions,
    texts: Sequence[str],
    *,
    max_rows: int | None = None,
) -> FlipTest:
    """Let the model explain another label for the same notes, and compare. A row whose prediction is invalid, or that
    has no other label, is left out and counted. An empty rationale argues for nothing.

    Args:
        explain: the model's own `given label: {y}, explain: {x}`.
        texts: [rows], the notes.
        max_rows: flip that many rows, the first by hash of the id; None: all.

    Returns:
        identical: share of rows with r = r', spaces aside; mean_chrf: sentence chrF2 of r' against r, 100 where they
        are identical; argues_for_own: share with predict(r) = y; argues_for_other: with predict(r') = y';
        stays_with_own: with predict(r') = y.
    """
    from sacrebleu.metrics import CHRF

    columns = (predictions.predicted_labels, predictions.label_probabilities, predictions.options)
    other_labels = [other_label(*row) for row in zip(*columns, strict=True)]
    by_hash = [row for row in order_by_hash(predictions.ids) if other_labels[row] is not None]
    num_without = len(predictions) - len(by_hash)
    rows = sorted(by_hash[:max_rows])
    if not rows:
        return FlipTest(num_without_other_label=num_without)
    options = [predictions.options[row] for row in rows]
    asked = [other_labels[row] or "" for row in rows]
    before = [predictions.rationales[row] for row in rows]
    after = list(explain([texts[row] for row in rows], asked))
    identical = [first.split() == second.split() for first, second in zip(before, after, strict=True)]
    likeness = [
        100.0 if same else float(CHRF().sentence_score(second, [first]).score)
        for first, second, same in zip(before, after, identical, strict=True)
    ]
    own, other = predictions.predicted[rows], label_indices(asked, options)
    from_before, from_after = read_label(before, options), read_label(after, options)
    return FlipTest(
        num_rows=len(rows),
        num_without_other_label=num_without,
        identical=sum(identical) / len(rows),
        identical_ids=tuple(predictions.ids[row] for row, same in zip(rows, identical, strict=True) if same)[:5],
        mean_chrf=sum(likeness) / len(rows),
        argues_for_own=float((from_before == own).mean()),
        argues_for_other=float((from_after == other).mean()),
        stays_with_own=float((from_after == own).mean()),
    )


def other_label(label: str | None, probabilities: Mapping[str, float], options: Sequence[str]) -> str | None:
    """The most probable label other than the predicted one, the first of equals; None where it cannot be flipped."""
    predicted = match_label(label, options)
    others = [option for option in options if option != predicted]
    return max(others, key=probabilities.__getitem__) if predicted is not None and others else None
