"""Quality of what a model writes, without a reference: length, repetition, copying, grounding, labels given away.

The checks are those of ingestion (`r2d.rationales`), held against the note that was explained and the label that the
model gave. They are plain word matching and say where to look; row ids are listed, never texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from r2d.config.rationales import QualityConfig
from r2d.rationales.quality import Findings, contains_label, copied_share, load_findings, mask_label, ungrounded
from r2d.text import match_label, normalise_label

NUM_IDS = 5
"""Rows that are named for each fault."""
REPEATED_WORDS = 4
"""A run of that many words that stands twice in a rationale is a repetition."""

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Texts -> their number of tokens, end-of-sequence included."""

_WORD = re.compile(r"[^\W_]+")


def written_quality(
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    rationales: Sequence[str],
    predicted_labels: Sequence[str],
    options: Sequence[Sequence[str]],
    count_tokens: CountTokens | None = None,
    max_tokens: int | None = None,
    limits: QualityConfig | None = None,
    findings: Findings | None = None,
) -> tuple[dict[str, Any], list[list[str]]]:
    """Look at each rationale for itself and beside its note.

    Args:
        texts: the notes; `options`: the labels that each row can have.
        max_tokens: where the model had to stop writing.
        limits: from which share of copied words a rationale is a copy; by default as ingestion has it.
        findings: the lexicon; by default the shipped one.

    Returns:
        figures, and the names of the faults of each row. Figures:
        num_rows, num_written (not empty), lengths: words and tokens -> mean, median, min, max over those written,
        distinct_1, distinct_2: distinct words, and pairs, per word and pair written (Li et al. 2016); they fall with
        the number of rows, so compare equal numbers only,
        copied: mean_share (of word triples), mean_longest_run, longest_run (words in a row that stand in the note),
        faults: name -> rows, of, share, ids (the first few), of the rows that are written but for `empty`:
        empty; cut: has more tokens than `max_tokens`, counted only where both are known; repeats_itself: a run of four
        words twice; same_as_another: word for word as of another note; copies_text; ungrounded_numbers,
        ungrounded_findings: stand nowhere in the note, the given label aside; names_own_label, names_other_label: the
        label that was given, or another of the row's set that is no part of a longer one named, stands word for word.

    Raises:
        ValueError: the columns differ in length.
    """
    sizes = {len(column) for column in (ids, texts, rationales, predicted_labels, options)}
    if len(sizes) > 1:
        raise ValueError(f"columns of {sorted(sizes)} rows: give one id, text, rationale, label and options a row")
    written = [row for row, rationale in enumerate(rationales) if rationale.strip()]
    said = [rationales[row] for row in written]
    words, notes = [_words(text) for text in said], [texts[row] for row in written]
    tokens = list(count_tokens(said)) if count_tokens and said else []
    runs = [_longest_run(some, _words(note)) for some, note in zip(words, notes, strict=True)]
    copied = [copied_share(text, note) for text, note in zip(said, notes, strict=True)]
    max_copied = (limits or QualityConfig()).max_copied_share
    is_faulty = _beside_the_note(
        said,
        notes,
        [predicted_labels[row] for row in written],
        [options[row] for row in written],
        findings or load_findings(),
    ) | {
        "repeats_itself": [_repeats_itself(some) for some in words],
        "same_as_another": _same_as_another(said, notes),
        "copies_text": [share > max_copied for share in copied],
        "cut": [] if max_tokens is None else [count > max_tokens for count in tokens],
    }
    written_ids = [ids[row] for row in written]
    figures = {
        "num_rows": len(rationales),
        "num_written": len(written),
        "lengths": {"words": _spread([len(some) for some in words]), "tokens": _spread(tokens)},
        "distinct_1": _distinct(words, 1),
        "distinct_2": _distinct(words, 2),
        "copied": {
            "mean_share": _mean(copied),
            "mean_longest_run": _mean(runs),
            "longest_run": max(runs, default=None),
        },
        "faults": {"empty": _share([not text.strip() for text in rationales], ids)}
        | {name: _share(rows, written_ids) for name, rows in sorted(is_faulty.items())},
    }
    names_of = {
        row: [name for name, rows in sorted(is_faulty.items()) if rows and rows[place]]
        for place, row in enumerate(written)
    }
    return figures, [names_of.get(row, ["empty"]) for row in range(len(rationales))]


def _beside_the_note(
    rationales: Sequence[str],
    texts: Sequence[str],
    predicted_labels: Sequence[str],
    options: Sequence[Sequence[str]],
    findings: Findings,
) -> dict[str, list[bool]]:
    """For each row: does it say what the note does not, and does it name a label?"""
    own = [match_label(label, some) for label, some in zip(predicted_labels, options, strict=True)]
    named = [_labels_named(text, some) for text, some in zip(rationales, options, strict=True)]
    # A label may hold a number of its own ("within three days"); that it is named is no claim about the patient.
    beyond = [
        ungrounded(mask_label(rationale, label or ""), text, findings)
        for rationale, label, text in zip(rationales, own, texts, strict=True)
    ]
    return {
        "ungrounded_numbers": [bool(found.numbers) for found in beyond],
        "ungrounded_findings": [bool(found.findings) for found in beyond],
        "names_own_label": [label in some for label, some in zip(own, named, strict=True)],
        "names_other_label": [bool(some - {label}) for label, some in zip(own, named, strict=True)],
    }


def _labels_named(rationale: str, labels: Sequence[str]) -> set[str | None]:
    """Labels that stand word for word; where one is part of another, the longer one."""
    named: set[str | None] = set()
    for label in sorted(labels, key=len, reverse=True):
        if contains_label(rationale, label):
            named.add(label)
            rationale = mask_label(rationale, label)
    return named


def _repeats_itself(words: Sequence[str]) -> bool:
    counts = Counter(_runs(words, REPEATED_WORDS))
    return any(count > 1 for count in counts.values())


def _same_as_another(rationales: Sequence[str], texts: Sequence[str]) -> list[bool]:
    """Whether each rationale is also written for a different note; case and spaces do not count."""
    notes: dict[str, set[str]] = {}
    for rationale, text in zip(rationales, texts, strict=True):
        notes.setdefault(normalise_label(rationale), set()).add(normalise_label(text))
    return [len(notes[normalise_label(rationale)]) > 1 for rationale in rationales]


def _longest_run(words: Sequence[str], source: Sequence[str]) -> int:
    """Words in a row that both hold."""
    return SequenceMatcher(None, words, source, autojunk=False).find_longest_match().size


def _distinct(texts: Sequence[Sequence[str]], size: int) -> float | None:
    runs = [run for words in texts for run in _runs(words, size)]
    return len(set(runs)) / len(runs) if runs else None


def _runs(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(size)), strict=False))


def _spread(values: Sequence[int]) -> dict[str, float | int] | None:
    if not values:
        return None
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "min": min(values),
        "max": max(values),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(is_faulty: Sequence[bool], ids: Sequence[str]) -> dict[str, Any]:
    rows = [row for row, is_so in enumerate(is_faulty) if is_so]
    share = len(rows) / len(is_faulty) if is_faulty else None
    return {"rows": len(rows), "of": len(is_faulty), "share": share, "ids": [ids[row] for row in rows[:NUM_IDS]]}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
