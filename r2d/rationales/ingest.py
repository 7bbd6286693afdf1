"""Ingestion: records of every source in, at most one traceable rationale for each example and source out.

Nothing is lost on the way: of each source, the records read are the rationales taken plus the records rejected, each
with a reason (`r2d.rationales.records.REASONS`).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import (
    AnySource,
    ColumnSource,
    ParseConfig,
    QualityConfig,
    RationalesConfig,
    Selection,
    names_of,
)
from r2d.data.examples import Example, iterate_examples, with_columns
from r2d.data.forgotten import Forgotten
from r2d.data.labels import undeclared_labels
from r2d.data.reading import Reading, set_aside_rows
from r2d.errors import DataError
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.order import find_shift
from r2d.rationales.parsing import LIKE_JSON, parse
from r2d.rationales.provenance import PROVENANCE_SCHEMA, REJECTED_SCHEMA, provenance_row, rejected_row, with_stages
from r2d.rationales.quality import QualityChecks
from r2d.rationales.records import Candidate, Record
from r2d.rationales.sources import read_source
from r2d.rationales.wording import is_placeholder
from r2d.text import match_label, normalise_label

logger = logging.getLogger(__name__)

AS_WRITTEN = "as written"  # in place of a parser, where a rationale has a field of its own


class SplitCoverage(TypedDict):
    """How many rows of a split have a rationale."""

    num_rows: int
    num_with_rationale: int
    sources: dict[str, int]  # source -> rows that have its rationale


FEWEST_TO_DOUBT = 10
"""Stated labels from which on a source is warned of whose labels are mostly not the gold ones."""

Coverage: TypeAlias = dict[str, SplitCoverage]  # split -> its coverage


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """The records of one source, counted."""

    num_records: int
    num_taken: int
    num_rejected: int
    rejected: Mapping[str, int]  # reason -> records; these three most first
    flagged: Mapping[str, int]  # flag without its detail -> rationales taken
    edits: Mapping[str, int]  # what was done to a text -> rationales taken
    splits: Mapping[str, int]  # split -> rationales taken
    num_stated_labels: int
    """Rationales read whose source states a label; `num_disagreeing` of them state another than the gold one."""
    num_disagreeing: int
    num_leaking: int  # rationales read that name the gold label
    num_contradicting: int  # rationales read that contradict their text
    num_read: int  # rationales read, before any was dropped by a check
    characters: Mapping[str, int]  # `p5`, `p50`, `p95` of the lengths of those taken; empty without one

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> SourceCounts:
        read = [candidate for candidate in candidates if candidate.parser and candidate.rationale]
        stated = [candidate for candidate in read if candidate.stated_label]
        taken = [candidate for candidate in candidates if candidate.accepted]
        lengths = sorted(len(candidate.rationale) for candidate in taken)
        return cls(
            num_records=len(candidates),
            num_taken=len(taken),
            num_rejected=len(candidates) - len(taken),
            rejected=_count(str(candidate.reason) for candidate in candidates if not candidate.accepted),
            flagged=_count(flag.split(":")[0] for candidate in taken for flag in candidate.flags),
            edits=_count(edit for candidate in taken for edit in candidate.edits),
            splits=dict(Counter(candidate.example.split for candidate in taken if candidate.example)),
            num_stated_labels=len(stated),
            num_disagreeing=sum(candidate.failed("disagrees_with_gold") for candidate in stated),
            num_leaking=sum(candidate.failed("leaks_label") for candidate in read),
            num_contradicting=sum(candidate.failed("contradicts_text") for candidate in read),
            num_read=len(read),
            characters={f"p{q}": lengths[(len(lengths) - 1) * q // 100] for q in (5, 50, 95)} if lengths else {},
        )

    def summary(self) -> str:
        """What became of the records, in words."""
        rejected = ", ".join(f"{reason} {count:,}" for reason, count in list(self.rejected.items())[:5])
        sentence = f"{self.num_taken:,} of {self.num_records:,} records gave a rationale" + (
            rejected and f" ({rejected})"
        )
        others = f"; {self.num_disagreeing:,} of {self.num_stated_labels:,} stated labels are not the gold one"
        return sentence + (others if self.num_disagreeing else "")

    @property
    def is_joined_in_doubt(self) -> bool:
        """Whether so many stated labels are not the gold one that the rationales may stand beside other notes."""
        return self.num_stated_labels >= FEWEST_TO_DOUBT and 2 * self.num_disagreeing > self.num_stated_labels


@dataclass(frozen=True)
class SelectedRationales:
    """What the stages are trained on."""

    stage1: pa.Table
    stage2: pa.Table
    provenance: pa.Table
    """Table of `PROVENANCE_SCHEMA` and `stages`: the stages that train or evaluate on the rationale."""
    coverage: dict[str, Coverage]  # of each stage


@dataclass(frozen=True)
class Ingestion:
    """The rationales of all sources."""

    examples: pa.Table  # the examples; `rationales` holds what was taken from each source
    provenance: pa.Table  # table of `PROVENANCE_SCHEMA`
    rejected: pa.Table  # table of `REJECTED_SCHEMA`
    candidates: dict[str, list[Candidate]]
    """Source, in order of precedence -> every record, with the results of parsing and of the checks."""

    def select(self, config: RationalesConfig) -> SelectedRationales:
        """The rationales that each stage is trained on.

        Raises:
            DataError: no row has a rationale of a selected source; says why its records were rejected.
        """
        for name in config.selected():
            counts = SourceCounts.of(self.candidates.get(name, []))
            if counts.num_records and not counts.num_taken:
                shown = ", ".join(f"{reason} {count:,}" for reason, count in list(counts.rejected.items())[:5])
                raise DataError(
                    f"none of the {counts.num_records:,} records of source {name!r} became a rationale ({shown}); read "
                    f"the examples in the report, then mend the files or rationales.sources.{name}"
                    f"{self._shapes_of_ids(name)}"
                )
        stage1 = select_rationales(self.examples, config.stage1_source, seed=config.seed)
        stage2_source = config.stage1_source if config.stage2_source is None else config.stage2_source
        stage2 = select_rationales(self.examples, stage2_source, seed=config.seed)
        return SelectedRationales(
            stage1=stage1,
            stage2=stage2,
            provenance=with_stages(self.provenance, {"stage1": stage1, "stage2": stage2}),
            coverage={"stage1": coverage(stage1), "stage2": coverage(stage2)},
        )

    def _shapes_of_ids(self, name: str) -> str:
        """How the ids of a source differ from those of the data, where most are unknown; else nothing."""
        unknown = [one.record.example_id or "" for one in self.candidates[name] if one.reason == "unknown_id"]
        if 2 * len(unknown) <= len(self.candidates[name]):
            return ""
        theirs, ours = (
            Counter(map(shape_of, ids)).most_common(2) for ids in (unknown, self.examples["id"].to_pylist())
        )
        of_source, of_data = (", ".join(f"{one} ({count:,})" for one, count in shapes) for shapes in (theirs, ours))
        return (
            f". Ids of the source are like {of_source}, those of the data like {of_data} (a: letters, 9: digits). "
            "Where they differ by words around them or by zeros in front, set "
            f"rationales.sources.{name}.id_pattern or id_width"
        )

    def counts(self) -> dict[str, SourceCounts]:
        """Source -> its records, counted."""
        return {name: SourceCounts.of(candidates) for name, candidates in self.candidates.items()}

    def result(self) -> dict[str, Any]:
        """The machine-readable result, without text: `sources`, name -> `SourceCounts`, and `reading`, what was done to
        the file of the notes."""
        sources = {name: asdict(counts) for name, counts in self.counts().items()}
        return {"sources": sources, "reading": asdict(Reading.of(self.examples))}


def ingest(
    examples: pa.Table,
    config: RationalesConfig,
    *,
    data: DataConfig,
    privacy: PrivacyConfig,
    work_dir: Path,
    quarantined: pa.Table | None = None,
    is_trial: bool = False,
) -> Ingestion:
    """Read, join, parse and check every source, and give each example the rationales that pass.

    Sources that the data brings and that are not declared are taken as they are.

    Args:
        examples: valid examples, a table of `EXAMPLES_SCHEMA`.
        quarantined: rows that the validation set aside: their outputs are counted, and the order still fits, as with
            those that a cut in time sets aside.
        work_dir: where answers of an endpoint are kept, so that none is asked for twice.
        is_trial: whether nothing is logged of the records, since the settings may be the wrong ones.

    Raises:
        DataError: a file cannot be read, or outputs joined by order are not as many as the rows.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    by_id = {example.id: example for example in iterate_examples(examples)}
    if len(by_id) != len(examples):
        raise DataError("examples share an id, so no rationale can be joined to one of them; validate them first")
    forgotten = Forgotten.of(examples, data.forgotten)
    delivered = [
        row
        for table in (examples, quarantined)
        if table is not None
        for row in zip(table["row"].to_pylist(), table["id"].to_pylist(), strict=True)
    ]
    delivered += [*forgotten.rows, *set_aside_rows(examples)]
    as_it_is = ColumnSource(format="column", quality=QualityConfig(too_short="flag"))
    in_data = {name for example in by_id.values() for name in example.rationales}
    sources = config.sources | dict.fromkeys(sorted(in_data - config.sources.keys()), as_it_is)

    candidates: dict[str, list[Candidate]] = {}
    num_records: dict[str, int] = {}
    for name, source in sources.items():
        records = read_source(name, source, examples, data=data, work_dir=work_dir)
        num_records[name] = len(records)
        candidates[name] = [
            candidate
            for candidate in _join_and_parse(name, source, records, by_id, delivered, data.labels, privacy)
            if candidate.example_id not in forgotten.entries and not forgotten.holds(candidate.example_id)
        ]
        _protect(candidates[name], privacy)
    _check(candidates, sources, list(by_id))
    for name, source in sources.items():
        _choose(candidates[name], source)
        if not is_trial:
            _log(name, num_records[name], candidates[name], source.quality)

    all_candidates = [(name, candidate) for name, of_source in candidates.items() for candidate in of_source]
    origins = {candidate.record.record_id: name for name, candidate in all_candidates if candidate.record.record_id}
    rationales: dict[str, list[tuple[str, str]]] = {}
    provenance, rejected = [], []
    for name, candidate in all_candidates:
        if not candidate.accepted:
            rejected.append(rejected_row(name, candidate))
            continue
        edits, edited_from = candidate.record.edits, None
        if edits:
            edited_from = f"{origins.get(edits, 'unknown')}: {edits}"
            if edits not in origins:
                candidate.flags.append("edited form of a record that is not there")
        rationales.setdefault(str(candidate.example_id), []).append((name, candidate.rationale))
        provenance.append(provenance_row(name, candidate, edited_from))
    if privacy.policy == "redact":  # of those taken it is done already
        for column in ("rationale", "content"):
            written = [row for row in rejected if row[column]]
            deidentified = deidentify_texts([str(row[column]) for row in written], privacy)
            for row, (text, _) in zip(written, deidentified, strict=True):
                row[column] = text
    return Ingestion(
        examples=with_columns(examples, rationales=[rationales.get(example_id, []) for example_id in by_id]),
        provenance=pa.Table.from_pylist(provenance, schema=PROVENANCE_SCHEMA),
        rejected=pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA),
        candidates=candidates,
    )


def _log(name: str, num_records: int, candidates: Sequence[Candidate], quality: QualityConfig) -> None:
    """Say what became of the records of a source, and what its reader should look at."""
    counts = SourceCounts.of(candidates)
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in counts.rejected.items())
    logger.info(
        "%s: %s records, %s rationales taken%s",
        name, f"{num_records:,}", f"{counts.num_taken:,}", rejected and f"; rejected: {rejected}",
    )  # fmt: skip
    if counts.is_joined_in_doubt:
        logger.warning(
            "%s: %s of %s stated labels are not the gold label of their row; see whether each rationale stands "
            "beside its own note (ids, order), and whether labels and codes mean the same in both files",
            name, f"{counts.num_disagreeing:,}", f"{counts.num_stated_labels:,}",
        )  # fmt: skip
    elif num_disagreeing := counts.flagged.get("disagrees_with_gold"):
        logger.warning(
            "%s: rationales taken that state another label than the gold one, and are trained on: %s; "
            "rationales.sources.%s.quality.disagrees_with_gold: drop leaves them out",
            name, f"{num_disagreeing:,}", name,
        )  # fmt: skip
    if counts.num_contradicting and quality.contradicts_text != "drop":  # those dropped stand among the rejected
        look = "look at some" if quality.contradicts_text == "flag" else "set it to flag, look at some"
        logger.warning(
            "%s: rationales that claim a finding which their text denies, or deny one that it reports: %s; "
            "rationales.sources.%s.quality.contradicts_text: %s under \"Taken, but flagged\" in the ingestion report "
            "(r2d ingest, or r2d open rationales after a run), then drop them (drop)",
            name, f"{counts.num_contradicting:,}", name, look,
        )  # fmt: skip
    num_json = sum(one.reason == "no_answer" and one.detail == LIKE_JSON for one in candidates)
    if num_json:
        logger.warning(
            "%s: %s of the records without an answer begin like JSON; rationales.sources.%s.parse: {structure: json} "
            "reads such, with json_label_key and json_rationale_key where the keys are others than label and rationale",
            name, f"{num_json:,}", name,
        )  # fmt: skip


def _join_and_parse(
    name: str,
    source: AnySource,
    records: Sequence[Record],
    by_id: Mapping[str, Example],
    delivered: Sequence[tuple[int, str]],
    labels: LabelsConfig,
    privacy: PrivacyConfig,
) -> list[Candidate]:
    """A candidate for each record: with its example, its rationale and its label, or the reason why not.

    Args:
        delivered: `row` and id of every row of the data, quarantined ones too, and the entry of a forgotten one. The
            order refers to those that came with the data, and not to those that reviewers added (`data.reviewed`).
    """
    ids_in_order = [row_id for row, row_id in sorted(delivered) if row >= 0]
    num_ordered = sum(record.order is not None for record in records)
    if num_ordered and num_ordered != len(ids_in_order):
        raise DataError(
            f"rationales.sources.{name}: {num_ordered:,} outputs are joined by order to {len(ids_in_order):,} "
            "examples; the counts must be equal. Name all files of the source, in the order of the data (a list, or a "
            "glob such as llm_*.json), or join by id"
        )
    if num_ordered:
        _require_order(name, records, [by_id.get(row_id) for row_id in ids_in_order])
    delivered_ids = {row_id for _, row_id in delivered}
    # Sources of written rationales have none, but for tables of raw answers.
    parse_config: ParseConfig | None = getattr(source, "parse", None)
    # Identifiers in the examples are replaced already, so those in the texts beside the rationales are too.
    own_texts = deidentify_texts([record.text or "" for record in records], privacy)
    seen: set[tuple[str, ...]] = set()
    candidates = []
    for record, (own_text, _) in zip(records, own_texts, strict=True):
        example_id = record.example_id if record.order is None else ids_in_order[record.order]
        example = by_id.get(example_id or "")
        candidate = Candidate(record, example_id, example)
        candidates.append(candidate)
        texts = (record.record_id, example_id, record.content, record.rationale, record.label)
        identity = tuple(text or "" for text in texts)
        is_repeated = record.order is None and identity in seen
        seen.add(identity)
        if record.reason is not None:
            candidate.reject(record.reason, record.detail)
        elif not example_id:
            candidate.reject("no_id")
        elif example is None:
            candidate.reject("quarantined" if example_id in delivered_ids else "unknown_id")
        elif record.text is not None and normalise_label(own_text) != normalise_label(example.text):
            candidate.reject("another_text")
        elif is_repeated:
            candidate.reject("repeated_record")
        if not candidate.accepted or example is None:
            continue
        options = example.options if labels.per_row else labels.names
        content = record.rationale if record.content is None else record.content
        if parse_config is None or content is None:
            candidate.rationale = (record.rationale or "").strip()
            candidate.label = match_label(record.label, options, labels.codes)
            candidate.stated_label = bool(record.label and record.label.strip())
            candidate.parser = AS_WRITTEN
            if not candidate.rationale or is_placeholder(candidate.rationale):
                detail = "a placeholder" if candidate.rationale else ""
                candidate.rationale = ""
                candidate.reject("no_rationale" if candidate.stated_label else "empty", detail)
            continue
        parsed = parse(
            content,
            options,
            parse_config,
            stopped_at_limit=record.stopped_at_limit,
            codes=labels.codes,
            note=example.text,
        )
        candidate.rationale, candidate.label = parsed.rationale, parsed.label
        candidate.stated_label = parsed.label is not None
        candidate.parser, candidate.edits = parsed.parser, list(parsed.edits)
        candidate.flags += parsed.flags
        if parsed.reason is not None:
            candidate.reject(parsed.reason, parsed.detail)
    _require_declared_labels(name, [one for one in candidates if one.stated_label and one.parser == AS_WRITTEN], labels)
    return candidates


def _require_order(name: str, records: Sequence[Record], examples: Sequence[Example | None]) -> None:
    """Raise a DataError where outputs that are joined by order plainly stand beside a neighbour of their note."""
    ordered = sorted((record for record in records if record.order is not None), key=lambda record: record.order or 0)
    outputs = [record.content or record.rationale or "" for record in ordered]
    shift = find_shift(outputs, [example.text if example else None for example in examples])
    if shift is None:
        return
    neighbour, fault = ("behind", "is missing") if shift.step > 0 else ("before", "is one too many")
    raise DataError(
        f"rationales.sources.{name}: from output {shift.first + 1:,} on ({ordered[shift.first].file}), "
        f"{shift.num_shifted:,} outputs share more words with the note {neighbour} theirs than with their own, and "
        f"{shift.num_own:,} do not: one {fault} at or before that place. An order needs one output for each row of the "
        "data, an empty one where there is none; or join by id"
    )


def _require_declared_labels(name: str, candidates: Sequence[Candidate], labels: LabelsConfig) -> None:
    """Warn of the labels beside written rationales that stand for nothing declared.

    Raises:
        DataError: none stands for anything, so that every rationale would seem to disagree with the gold label.
    """
    unknown = [(one.record.label or "").strip() for one in candidates if one.label is None]
    if not unknown:
        return
    sentence = (
        f"rationales.sources.{name}: {len(unknown):,} of {len(candidates):,} labels of its records are no label of "
    )
    sentence += "; ".join(filter(None, ["their row", undeclared_labels(unknown, labels)]))
    if len(unknown) == len(candidates):
        raise DataError(f"{sentence}. Correct the column or field that holds them, or do not declare it")
    logger.warning(sentence)


def _protect(candidates: Sequence[Candidate], privacy: PrivacyConfig) -> None:
    """Apply the privacy policy to the rationales."""
    readable = [candidate for candidate in candidates if candidate.accepted]
    deidentified = deidentify_texts([candidate.rationale for candidate in readable], privacy)
    for candidate, (text, num_findings) in zip(readable, deidentified, strict=True):
        if not num_findings:
            candidate.checks_passed.append("privacy")
        elif privacy.policy == "quarantine":
            candidate.reject("privacy", f"{num_findings} findings")
        elif privacy.policy == "redact":
            candidate.rationale = text
            candidate.edits.append("identifiers replaced")
        else:
            candidate.flags.append("privacy")


def _check(candidates: Mapping[str, Sequence[Candidate]], sources: Mapping[str, AnySource], ids: Sequence[str]) -> None:
    """Apply the quality checks of each source, example by example: what is read of a note is kept for its next one."""
    readable = {
        name: [each for each in of_source if each.reason in (None, "privacy")] for name, of_source in candidates.items()
    }
    checks = {name: QualityChecks(sources[name].quality, of_source) for name, of_source in readable.items()}
    place = {example_id: at for at, example_id in enumerate(ids)}
    in_order = [
        (place[each.example_id or ""], name, each) for name, of_source in readable.items() for each in of_source
    ]
    for _, name, candidate in sorted(in_order, key=itemgetter(0)):
        checks[name].apply(candidate)


def _choose(candidates: Sequence[Candidate], source: AnySource) -> None:
    """Leave each example with one rationale of the source."""
    by_id = {candidate.record.record_id: candidate for candidate in candidates if candidate.record.record_id}
    for candidate in candidates:  # an edited form wins over what it edits
        original = by_id.get(candidate.record.edits or "")
        if original is not None and original is not candidate and candidate.accepted:
            original.reject("superseded")
    rivals: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.accepted:
            rivals.setdefault(str(candidate.example_id), []).append(candidate)
    for of_example in rivals.values():
        taken = of_example[-1] if source.several == "last" else of_example[0]
        if source.several == "longest":
            taken = max(of_example, key=lambda candidate: len(candidate.rationale))
        for candidate in of_example:
            if candidate is not taken:
                candidate.reject("not_chosen")


def shape_of(text: str) -> str:
    """The form of an id, which says nothing of it: `a7-95` as `a9-99`, runs of the same counted from four on."""
    shape = "".join("9" if one.isdigit() else "a" if one.isalpha() else " " if one.isspace() else one for one in text)
    runs = [match.group() for match in re.finditer(r"(.)\1*", shape[:60], re.DOTALL)]
    short = "".join(f"{run[0]}{{{len(run)}}}" if len(run) > 3 else run for run in runs)
    return repr(short + ("..." if len(text) > 60 else ""))


def _count(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, most first."""
    return dict(Counter(names).most_common())


def select_rationales(examples: pa.Table, selection: Selection | None, *, seed: int = 42) -> pa.Table:
    """The examples with `rationale` and `rationale_source` set; both stay empty where no selected source has one.

    Args:
        selection: one source; several, of which the first that an example has is taken; or weights of sources, of
            which one is drawn among those that the example has. None: no source.
        seed: of the draws between weighted sources, which depend on it and the example's id alone.

    Raises:
        DataError: no row has a rationale of a selected source.
    """
    names, rationales, sources = names_of(selection), [], []
    num_rows = Counter[str]()
    for example_id, pairs in zip(examples["id"].to_pylist(), examples["rationales"].to_pylist(), strict=True):
        texts = {name: text.strip() for name, text in pairs if text.strip()}
        num_rows.update(texts.keys())
        available = [name for name in names if name in texts]
        source = available[0] if available else ""
        if isinstance(selection, dict):
            digest = hashlib.blake2b(f"{seed}:{example_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
            left = int.from_bytes(digest, "big") / 2**64 * sum(selection[name] for name in available)
            bounds = accumulate(selection[name] for name in available)
            source = next((name for name, bound in zip(available, bounds, strict=True) if left < bound), "")
        rationales.append(texts.get(source, ""))
        sources.append(source)
    if absent := [name for name in names if not num_rows[name]]:
        raise DataError(
            f"no row has a rationale of source {absent[0]!r}; found sources {sorted(num_rows)}. "
            "Set rationales.stage1_source / stage2_source to one of them, or declare it in data.columns.rationales or "
            "rationales.sources"
        )
    return with_columns(examples, rationale=rationales, rationale_source=sources)


def coverage(examples: pa.Table) -> Coverage:
    """Count the rows with a rationale by split and source."""
    result: Coverage = {}
    pairs = zip(examples["split"].to_pylist(), examples["rationale_source"].to_pylist(), strict=True)
    for (split, source), count in sorted(Counter(pairs).items()):
        of_split = result.setdefault(split, {"num_rows": 0, "num_with_rationale": 0, "sources": {}})
        of_split["num_rows"] += count
        if source:
            of_split["num_with_rationale"] += count
            of_split["sources"][source] = count
    return result
