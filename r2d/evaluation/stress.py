"""Stress tests as data: edits of notes with what each may do to the label (`configs/stress/triage.yaml`), and sentences
taken out of notes (ERASER, DeYoung et al. 2020).

An edit is broken where the model's label moves in a way that its expectation forbids. The label before the edit is the
model's own, and not the reference. Whether a rationale names the finding that an edit changed is Atanasova and
colleagues' question (ACL 2023), asked of what the rationale claims and not of its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig, StressConfig
from r2d.config.section import Name, Section, list_faults, parse_section
from r2d.errors import ConfigError, DataError
from r2d.evaluation.alignment import PredictLabels
from r2d.evaluation.bootstrap import bootstrap_blocks, bootstrap_intervals, group_sums
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.stress import Expectation, SentenceDeletion, StressEdit, StressResult
from r2d.files import order_by_hash, read_yaml
from r2d.label_scores import BoolArray, FloatArray, IntArray, label_indices
from r2d.rationales.claims import ClaimChecker
from r2d.rationales.standing import sentence_starts

if TYPE_CHECKING:  # imports torch
    from r2d.modeling.predictor import Decision

Decide = Callable[..., "Sequence[Decision]"]
"""`Predictor.decide`: notes and the labels that each can have -> decisions; `explain`: with rationales."""
Answer = TypeVar("Answer")
SHARES = ("broken_share", "changed_share", "named_share", "named_if_changed_share")
MIN_MISSPELT = 6
"""Letters of a word from which on two of them are swapped."""


# --- the file ---


def _check_pattern(pattern: object) -> object:
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f"found {pattern!r}; allowed: a regular expression, in quotes")
    try:
        is_empty = re.search(pattern.replace("{finding}", "(?P<finding>x)"), "") is not None
    except re.error as error:
        raise ValueError(f"found {pattern!r}; allowed: a regular expression, and this is none: {error}") from None
    if is_empty:
        raise ValueError(f"found {pattern!r}, which fits an empty text; allowed: one that needs a letter")
    return pattern


Pattern = Annotated[str, BeforeValidator(_check_pattern)]


class Replacement(Section):
    """What stands in place of what, without regard to case."""

    find: Pattern
    """Regular expression; `{finding}` is any form of `findings`, `(?P<number>...)` a number."""
    by: str
    """Names of groups in braces, such as `{finding} now: yes`."""
    times: float = 1.0
    """The number is multiplied by it, and then `plus` added."""
    plus: float = 0.0

    @model_validator(mode="after")
    def _groups_are_there(self) -> Replacement:
        known = {*re.findall(r"\(\?P<(\w+)>", self.find), *(["finding"] if "{finding}" in self.find else [])}
        if unknown := sorted(set(re.findall(r"\{(\w*)\}", self.by)) - known):
            raise ValueError(f"by names {unknown}; allowed: groups of find, {sorted(known)}; write (?P<name>...) there")
        return self

    def text(self, match: re.Match[str]) -> str:
        groups = match.groupdict(default="")
        if "number" in groups:
            groups["number"] = f"{round(float(groups['number']) * self.times + self.plus, 1):g}"
        text = self.by.format_map(groups)
        return text[:1].upper() + text[1:] if match[0][:1].isupper() else text


class Edited(NamedTuple):
    """A note after an edit."""

    text: str
    finding: str | None
    """Which it reports or denies now; None where the edit is about none."""


class Edit(Section):
    """One edit of a note, by one of `replace`, `add`, `typos` and `cut`."""

    group: Name
    """Edits that the gate gives one limit."""
    expects: Expectation
    """Of the label, beside that of the note as it was. `more urgent`: or already the most urgent."""
    replace: tuple[Replacement, ...] = ()
    """From left to right; the first of them where several fit."""
    once: bool = False
    """Only the first place is replaced."""
    add: tuple[Name, ...] = ()
    """Sentences, of which one is added at the end; `{finding}` is a form of `findings`. Drawn by the id of the row."""
    typos: Annotated[int, Field(ge=1)] | None = None
    """Words of six letters or more in which two neighbouring letters are swapped, drawn by the id of the row."""
    cut: Pattern | None = None
    """The sentences at the end are cut off, as far as they do not match this: what must not be lost."""
    findings: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Finding, by its name in the findings of `evaluation.claims` -> its forms in notes."""
    denies: bool = False
    """Whether the edited note denies the finding; else it reports it."""
    where: Pattern | None = None
    """Only notes that match; `unless`: only those that do not."""
    unless: Pattern | None = None
    unless_reported: tuple[Name, ...] = ()
    """Only notes that report none of these findings, denials read."""

    @model_validator(mode="after")
    def _is_one_edit(self) -> Edit:
        ways = [way for way in ("replace", "add", "typos", "cut") if getattr(self, way)]
        if len(ways) != 1:
            raise ValueError(f"found {ways or 'no edit'}; allowed: one of replace, add, typos, cut")
        texts = [*(rule.find for rule in self.replace), *self.add]
        if bool(self.findings) != any("{finding}" in text for text in texts):
            raise ValueError("`findings` and {finding} in find or add go together; add the one or remove the other")
        return self

    def apply(self, note: str, row_id: str, checker: ClaimChecker) -> Edited | None:
        """The edited note; None where the edit does not apply to it. The same each time for a row."""
        if (self.where and not _found(self.where, note)) or (self.unless and _found(self.unless, note)):
            return None
        if self.unless_reported:
            reported = {claim.finding for claim in checker.claims(note, note) if not claim.denied}
            if reported & set(self.unless_reported):
                return None
        random = Random(row_id)
        forms = {form.casefold(): name for name, of_name in self.findings.items() for form in of_name}
        if self.replace:
            return self._replaced(note, forms)
        if self.add:
            form = random.choice(list(forms)) if forms else ""
            sentence = random.choice(self.add).format_map({"finding": form})
            return Edited(f"{note.rstrip()} {sentence[:1].upper()}{sentence[1:]}", forms.get(form))
        if self.typos:
            words = [match.span() for match in re.finditer(rf"[^\W\d_]{{{MIN_MISSPELT},}}", note)]
            if len(words) < self.typos:
                return None
            for start, end in random.sample(words, self.typos):
                swaps = [at for at in range(start + 1, end - 2) if note[at] != note[at + 1]]
                at = random.choice(swaps or [start])
                note = note[:at] + note[at + 1] + note[at] + note[at + 2 :]
            return Edited(note, None)
        starts = list(sentence_starts(note))
        last = next((at for at in reversed(range(len(starts))) if _found(self.cut or "", note[starts[at] :])), -1)
        return Edited(note[: starts[last + 1]].rstrip(), None) if 0 <= last < len(starts) - 1 else None

    def _replaced(self, note: str, forms: Mapping[str, str]) -> Edited | None:
        of_forms = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        rules = [(rule, rule.find.replace("{finding}", rf"\b(?P<finding>{of_forms})\b")) for rule in self.replace]
        parts, at, finding = list[str](), 0, None
        while True:
            matches = [(rule, re.compile(find, re.IGNORECASE).search(note, at)) for rule, find in rules]
            found = [(match.start(), place) for place, (_, match) in enumerate(matches) if match]
            if not found or (self.once and parts):
                break
            rule, match = matches[min(found)[1]]
            assert match is not None
            finding = finding or forms.get((match.groupdict().get("finding") or "").casefold())
            parts += [note[at : match.start()], rule.text(match)]
            at = match.end()
        text = "".join([*parts, note[at:]])
        return Edited(text, finding) if parts and text != note else None


def _found(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


class StressFile(Section):
    """A file of edits."""

    edits: Annotated[dict[Name, Edit], Field(min_length=1)]
    """Name, in plain words for the report -> the edit."""

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edit.group for edit in self.edits.values()))


def load_stress(path: Path, checker: ClaimChecker, labels: LabelsConfig, *, asked: Collection[str] = ()) -> StressFile:
    """The edits of a YAML file.

    Args:
        checker: reads the findings that the file names; labels: an order of urgency may be asked for.
        asked: groups that the gate asks of.

    Raises:
        ConfigError: lists every fault: entry, what was found, what is allowed, the fix.
    """
    file = parse_section(StressFile, read_yaml(path), where=str(path))
    faults = [
        f"  no edit has the group {group!r}, which a rule of registration.gate names; allowed: {', '.join(file.groups)}"
        for group in sorted(set(asked) - set(file.groups))
    ]
    for name, edit in file.edits.items():
        if edit.expects != "same label" and not labels.ordered:
            faults.append(
                f"  edits.{name}.expects: found {edit.expects!r}; allowed: 'same label'; data.labels.ordered is false"
            )
        for key, findings in (("findings", edit.findings), ("unless_reported", edit.unless_reported)):
            faults += [
                f"  edits.{name}.{key}: found {finding!r}; allowed: the first form of a finding of evaluation.claims; "
                "use one, or add it there"
                for finding in findings
                if [claim.finding for claim in checker.claims(finding, "")] != [finding]
            ]
    if faults:
        raise ConfigError(list_faults(str(path), faults))
    return file


# --- the run ---


class AppliedEdit(NamedTuple):
    """An edit and the notes that it made."""

    name: str
    edit: Edit
    rows: list[int]
    """Of the test rows."""
    edited: list[Edited]


@dataclass(frozen=True)
class StressTests:
    """The edits of a file, applied to test rows."""

    path: str
    applied: Sequence[AppliedEdit]
    rows: Sequence[int]
    """The test rows that were looked at."""

    @classmethod
    def of(cls, config: StressConfig, test: pa.Table, checker: ClaimChecker, labels: LabelsConfig) -> StressTests:
        """Apply the edits to the test rows, or to the first `max_rows` by hash of the id; nothing is decided yet.

        Raises:
            ConfigError: the file is faulty.
            DataError: names every edit that applies to no row.
        """
        file, ids, notes = load_stress(Path(config.file), checker, labels), test["id"].to_pylist(), test["text"]
        rows = sorted(order_by_hash(ids)[: config.max_rows])
        texts, applied, idle = {row: notes[row].as_py() for row in rows}, [], []
        for name, edit in file.edits.items():
            made = {row: edited for row in rows if (edited := edit.apply(texts[row], ids[row], checker)) is not None}
            applied.append(AppliedEdit(name, edit, list(made), list(made.values())))
            idle += [] if made else [repr(name)]
        if idle:
            raise DataError(
                f"{config.file}: edits.{', edits.'.join(idle)}: found no note among {len(rows):,} test rows that it "
                "applies to; an edit that changes nothing tests nothing: fit its find, where and unless to how these "
                "notes are written, raise evaluation.stress.max_rows, or remove it"
            )
        return cls(config.file, applied, rows)

    @property
    def num_decisions(self) -> int:
        """At most: one for each edited note, three for each row whose sentences are taken out."""
        return sum(len(edit.rows) for edit in self.applied) + 3 * len(self.rows)


def is_broken(expects: Expectation, before: IntArray, after: IntArray) -> BoolArray:
    """[rows]: whether the label moved as the expectation forbids. Indices of labels, the most urgent first."""
    broken: BoolArray = {
        "same label": before != after,
        "not less urgent": after > before,
        "not more urgent": after < before,
        "more urgent": (after >= before) & ((before > 0) | (after > 0)),
    }[expects]
    return broken


def stress_metrics(
    tests: StressTests,
    decide: Decide,
    decode: PredictLabels,
    predictions: Predictions,
    notes: Sequence[str],
    checker: ClaimChecker,
    interval: IntervalsConfig,
    *,
    explains: bool,
) -> StressResult:
    """Decide every edited note, and notes without some of their sentences.

    Args:
        decode: the same labels without their probabilities, in less time.
        predictions: of the test rows, with the model's rationales; notes: their texts.
        explains: whether the model writes rationales.
    """
    groups_of, sums_of = _groups(predictions, tests.rows), list[FloatArray]()
    parts = [
        [(note.text, tuple(predictions.options[row])) for row, note in zip(rows, edited, strict=True)]
        for _, _, rows, edited in tests.applied
    ]
    explained = [explains and bool(edit.findings) for _, edit, *_ in tests.applied]
    with_rationales = iter(_ask_once(partial(decide, explain=True), list(compress(parts, explained))))
    labels_alone = iter(_ask_once(decode, list(compress(parts, (not is_explained for is_explained in explained)))))
    for (_, edit, rows, edited), is_explained in zip(tests.applied, explained, strict=True):
        if is_explained:
            answers = [(decision.label, decision.rationale) for decision in next(with_rationales)]
        else:
            answers = [(label, "") for label in next(labels_alone)]
        options = [predictions.options[row] for row in rows]
        after = label_indices([label for label, _ in answers], options)
        after = np.where(after < max(map(len, options)), after, predictions.num_labels)
        before = predictions.predicted[rows]
        broken, changed = is_broken(edit.expects, before, after), before != after
        about = np.array([explains and note.finding is not None for note in edited])
        named = np.array(
            [
                explains and note.finding is not None and _names(rationale, note, edit.denies, checker)
                for (_, rationale), note in zip(answers, edited, strict=True)
            ]
        )
        columns = [np.ones(len(rows)), broken, changed, about, about & named, about & changed, about & changed & named]
        sums_of.append(group_sums(np.column_stack(columns).astype(np.float64), groups_of[rows], groups_of.max() + 1))
    names = dict.fromkeys(edit.group for _, edit, *_ in tests.applied)
    of_groups = [
        np.sum([sums for sums, (_, edit, *_) in zip(sums_of, tests.applied, strict=True) if edit.group == name], axis=0)
        for name in names
    ]
    blocks = [*sums_of, *of_groups]
    trials = [dict(zip(SHARES, (sums[:, [0, 0, 3, 5]] > 0).sum(axis=0).tolist(), strict=True)) for sums in blocks]
    estimates = bootstrap_blocks(np.stack(blocks, axis=1), _shares, interval, trials)
    edits = []
    for (name, edit, *_), sums, of_edit in zip(tests.applied, sums_of, estimates, strict=False):
        num_rows, num_broken, num_changed, num_about, num_named = sums.sum(axis=0).astype(int).tolist()[:5]
        edits.append(
            StressEdit(
                name=name, group=edit.group, expects=edit.expects, num_rows=num_rows, num_broken=num_broken,
                num_changed=num_changed, num_about_finding=num_about, num_named=num_named, intervals=of_edit,
            )
        )  # fmt: skip
    deletion, num_deciding = None, 0
    if explains:
        deletion, num_deciding = sentence_deletion(tests.rows, decide, predictions, notes, checker, interval)
    return StressResult(
        file=tests.path,
        num_rows=len(tests.rows),
        num_decisions=sum(edit.num_rows for edit in edits) + num_deciding,
        edits=tuple(edits),
        broken_by_group={
            name: of_group["broken_share"] for name, of_group in zip(names, estimates[len(edits) :], strict=True)
        },
        sentences=deletion,
    )


def _ask_once(
    ask: Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[Answer]],
    parts: Sequence[Sequence[tuple[str, Sequence[str]]]],
) -> list[list[Answer]]:
    """The answers to each list of (note, its labels): all lists in one go, and a note that stands in several once."""
    notes = list(dict.fromkeys(note for part in parts for note in part))
    answers = dict(zip(notes, ask([text for text, _ in notes], [labels for _, labels in notes]), strict=True))
    return [[answers[note] for note in part] for part in parts]


def _groups(predictions: Predictions, rows: Sequence[int]) -> IntArray:
    """[all rows]: number of the patient or caller among those of some rows, from 0; 0 for the others."""
    numbers = np.zeros(len(predictions), dtype=np.int64)
    numbers[list(rows)] = np.unique(predictions.groups[list(rows)], return_inverse=True)[1]
    return numbers


def _names(rationale: str, note: Edited, denies: bool, checker: ClaimChecker) -> bool:
    """Whether the rationale claims what the edit made of its finding."""
    claims = checker.claims(rationale, note.text)
    return any(claim.finding == note.finding and claim.denied == denies for claim in claims)


def _shares(sums: FloatArray) -> dict[str, FloatArray]:
    """[..., columns] -> name of `SHARES` -> [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums[..., [1, 2, 4, 6]] / sums[..., [0, 0, 3, 5]]
    return {name: shares[..., at] for at, name in enumerate(SHARES)}


# --- sentences taken out ---


def sentence_deletion(
    rows: Sequence[int],
    decide: Decide,
    predictions: Predictions,
    notes: Sequence[str],
    checker: ClaimChecker,
    interval: IntervalsConfig,
) -> tuple[SentenceDeletion, int]:
    """How much of the probability of the model's label hangs on the sentences that its rationale is about: those that
    report or deny a finding of which it claims either. And the number of decisions made.

    Comprehensiveness is p(note) - p(note without them), sufficiency p(note) - p(they alone), as ERASER defines them;
    `other_sentences` is comprehensiveness of as many other sentences, or of all others where they are fewer, drawn by
    the id of the row. Rows where the rationale is about no sentence, or about all, are left out.
    """
    parts: list[tuple[int, str, str, str]] = []
    for row in rows:
        sentences = [notes[row][start:end] for start, end in pairwise([*sentence_starts(notes[row]), len(notes[row])])]
        claimed = {claim.finding for claim in checker.claims(predictions.rationales[row], notes[row])}
        about = [any(claim.finding in claimed for claim in checker.claims(part, part)) for part in sentences]
        others = [at for at, is_about in enumerate(about) if not is_about]
        if not any(about) or not others or not predictions.valid[row]:
            continue
        drawn = set(Random(predictions.ids[row]).sample(others, min(sum(about), len(others))))
        without = "".join(part for part, is_about in zip(sentences, about, strict=True) if not is_about)
        alone = "".join(part for part, is_about in zip(sentences, about, strict=True) if is_about)
        fewer = "".join(part for at, part in enumerate(sentences) if at not in drawn)
        parts.append((row, without.strip(), alone.strip(), fewer.strip()))
    if not parts:
        return SentenceDeletion(num_rows=0, num_left_out=len(rows), intervals={}), 0
    kept = [part[0] for part in parts]
    labels = [predictions.predicted_labels[row] or "" for row in kept]
    options = [tuple(predictions.options[row]) for row in kept]
    whole = np.array([predictions.label_probabilities[row][label] for row, label in zip(kept, labels, strict=True)])
    columns = [np.ones(len(kept))]
    shorter = [list(zip(texts, options, strict=True)) for texts in zip(*(part[1:] for part in parts), strict=True)]
    for decisions in _ask_once(partial(decide, explain=False), shorter):
        rest = [decision.label_probabilities[label] for decision, label in zip(decisions, labels, strict=True)]
        columns.append(whole - np.array(rest))
    groups = _groups(predictions, kept)[kept]
    sums = group_sums(np.column_stack(columns), groups, int(groups.max()) + 1)

    def means(sums: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            each = sums[..., 1:] / sums[..., :1]
        return {name: each[..., at] for at, name in enumerate(("comprehensiveness", "sufficiency", "other_sentences"))}

    intervals = bootstrap_intervals(sums, means, interval)
    return SentenceDeletion(num_rows=len(kept), num_left_out=len(rows) - len(kept), intervals=intervals), 3 * len(kept)
