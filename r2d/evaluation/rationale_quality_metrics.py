"""Quality of rationales without a reference: length, repetition, copying, grounding, labels given away.

The checks are those of ingestion (`r2d.rationales`), applied to the note that was explained and the label that was
given. They are plain word matching and say where to look; row ids are listed, never texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import numpy as np

from r2d.config.rationales import QualityConfig
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.rationales import CopiedWords, FaultCount, RationaleQuality, Spread
from r2d.rationales.claims import Claim
from r2d.rationales.findings import Findings, shipped_findings
from r2d.rationales.labels import labels_named, mask_label
from r2d.rationales.quality import copied_share, ungrounded
from r2d.text import match_label, normalise_label

NUM_IDS = 5
"""Rows that are named for each fault."""
REPEATED_WORDS = 4
"""A run of that many words that stands twice in a rationale is a repetition."""

_WORD = re.compile(r"[^\W_]+")


def rationale_quality(
    predictions: Predictions,
    texts: Sequence[str],
    *,
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None,
    max_tokens: int | None = None,
    claims: Sequence[Sequence[Claim]] | None = None,
    findings: Findings | None = None,
    max_copied_share: float = QualityConfig().max_copied_share,
) -> tuple[RationaleQuality, list[list[str]]]:
    """Look at each rationale for itself, beside its note and beside the label that it was written for.

    The faults, of the rationales that are not empty:

    - `cut`: has more tokens than `max_tokens`; counted only where both are known.
    - `repeats_itself`: has a run of four words twice. `same_as_another`: is word for word that of another note.
    - `copies_text`: more than `max_copied_share` of its word triples stand in the note.
    - `ungrounded_numbers`, `ungrounded_findings`: are nowhere in the note; the given label aside.
    - `contradicts_note`: claims a finding that the note denies, or denies one that it reports; counted only where the
      claims are known.
    - `names_own_label`, `names_other_label`: names the given label, or another of the row's set that is no part of a
      longer one named, word for word.

    Args:
        texts: [rows], the notes.
        count_tokens: texts -> their number of tokens, end-of-sequence included.
        max_tokens: where the model had to stop writing.
        claims: [rows], the claims of each rationale.
        findings: the lexicon; by default the shipped one.

    Returns:
        the metrics, and the names of the faults of each row.
    """
    ids, rationales, options = predictions.ids, predictions.rationales, predictions.options
    rows = [row for row, rationale in enumerate(rationales) if rationale.strip()]
    written, notes = [rationales[row] for row in rows], [texts[row] for row in rows]
    words = [_WORD.findall(text.casefold()) for text in written]
    num_tokens = list(count_tokens(written)) if count_tokens and written else []
    longest_runs = [
        SequenceMatcher(None, of_row, _WORD.findall(note.casefold()), autojunk=False).find_longest_match().size
        for of_row, note in zip(words, notes, strict=True)
    ]
    copied = [copied_share(rationale, note) for rationale, note in zip(written, notes, strict=True)]
    notes_of: dict[str, set[str]] = {}
    for rationale, note in zip(written, notes, strict=True):
        notes_of.setdefault(normalise_label(rationale), set()).add(normalise_label(note))
    findings = findings or shipped_findings()
    own_labels = [match_label(predictions.predicted_labels[row], options[row]) for row in rows]
    named = [labels_named(rationales[row], options[row]) for row in rows]
    # A label may hold a number of its own ("within three days"); naming it is no claim about the patient.
    beyond = [
        ungrounded(mask_label(rationale, label or ""), note, findings)
        for rationale, label, note in zip(written, own_labels, notes, strict=True)
    ]
    contradictions = [] if claims is None else [[c for c in claims[row] if c.verdict == "contradicted"] for row in rows]
    is_faulty = {
        "contradicts_note": [bool(of_row) for of_row in contradictions],
        "copies_text": [share > max_copied_share for share in copied],
        "cut": [] if max_tokens is None else [number > max_tokens for number in num_tokens],
        "names_other_label": [bool(others - {label}) for label, others in zip(own_labels, named, strict=True)],
        "names_own_label": [label in names for label, names in zip(own_labels, named, strict=True)],
        "repeats_itself": [max(Counter(_runs(of_row, REPEATED_WORDS)).values(), default=0) > 1 for of_row in words],
        "same_as_another": [len(notes_of[normalise_label(rationale)]) > 1 for rationale in written],
        "ungrounded_findings": [bool(row.findings) for row in beyond],
        "ungrounded_numbers": [bool(row.numbers) for row in beyond],
    }
    written_ids = [ids[row] for row in rows]
    faults = {"empty": _fault_count([not text.strip() for text in rationales], ids)}
    faults |= {name: _fault_count(column, written_ids) for name, column in is_faulty.items()}
    flags = {row: [name for name, column in is_faulty.items() if column and column[at]] for at, row in enumerate(rows)}
    quality = RationaleQuality(
        num_rows=len(rationales),
        num_written=len(rows),
        lengths={"words": _spread([len(of_row) for of_row in words]), "tokens": _spread(num_tokens)},
        distinct_1=_distinct_share(words, 1),
        distinct_2=_distinct_share(words, 2),
        copied=CopiedWords(
            mean_share=sum(copied) / len(copied) if copied else None,
            mean_longest_run=sum(longest_runs) / len(longest_runs) if longest_runs else None,
            longest_run=max(longest_runs, default=None),
        ),
        faults=faults,
    )
    return quality, [flags.get(row, ["empty"]) for row in range(len(rationales))]


def _runs(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Every `size` words in a row."""
    return list(zip(*(words[start:] for start in range(size)), strict=False))


def _distinct_share(texts: Sequence[Sequence[str]], size: int) -> float | None:
    runs = [run for words in texts for run in _runs(words, size)]
    return len(set(runs)) / len(runs) if runs else None


def _spread(values: Sequence[int]) -> Spread | None:
    if not values:
        return None
    mean, median = float(np.mean(values)), float(np.median(values))
    return Spread(mean=mean, median=median, min=min(values), max=max(values))


def _fault_count(is_faulty: Sequence[bool], ids: Sequence[str]) -> FaultCount:
    faulty = [id_ for id_, is_so in zip(ids, is_faulty, strict=False) if is_so]
    share = len(faulty) / len(is_faulty) if is_faulty else None
    return FaultCount(rows=len(faulty), of=len(is_faulty), share=share, ids=tuple(faulty[:NUM_IDS]))
