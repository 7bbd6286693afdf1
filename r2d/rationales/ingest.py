"""Ingestion: records of every source in, at most one traceable rationale for each example and source out.

Nothing is lost on the way: of each source, the records read are the rationales taken plus the records rejected, each
with a reason (`r2d.rationales.records.REASONS`).
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.rationales import AnySource, ColumnSource, ParseConfig, QualityConfig, RationalesConfig, names_of
from r2d.config.validation import PrivacyConfig
from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.errors import DataError
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.parsing import parse
from r2d.rationales.provenance import provenance_table, with_stages
from r2d.rationales.quality import QualityChecks
from r2d.rationales.records import Candidate, Record, Target
from r2d.rationales.sources import read_source
from r2d.text import match_label

logger = logging.getLogger(__name__)

REJECTED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("record_id", pa.string()),
        ("example_id", pa.string()),
        ("label", pa.string()),
        ("gold_label", pa.string()),
        ("rationale", pa.string()),
        ("content", pa.string()),
    ]
)
"""One row for each record that became no rationale. It holds what the record says: treat it as clinical data."""

Selection: TypeAlias = str | tuple[str, ...] | dict[str, float]
"""One source; several, of which the first that an example has is taken; or weights of sources, of which one is drawn
among those that the example has."""


@dataclass(frozen=True)
class SelectedRationales:
    """What the stages are trained on."""

    stage1: pa.Table
    stage2: pa.Table
    provenance: pa.Table
    """Table of `PROVENANCE_SCHEMA` and `stages`: the stages that train or evaluate on the rationale."""
    coverage: dict[str, Any]
    """Stage -> split -> rows with a rationale, by source; see `coverage`."""


@dataclass(frozen=True)
class Ingestion:
    """The rationales of all sources."""

    examples: pa.Table
    """The examples; `rationales` holds what was taken from each source."""
    provenance: pa.Table
    """Table of `PROVENANCE_SCHEMA`."""
    rejected: pa.Table
    """Table of `REJECTED_SCHEMA`."""
    candidates: dict[str, list[Candidate]]
    """Source, in order of precedence -> every record with what was decided about it."""

    def select(self, config: RationalesConfig) -> SelectedRationales:
        """The rationales that each stage is trained on.

        Raises:
            DataError: no row has a rationale of a selected source; says why its records were rejected.
        """
        for name in config.selected():
            candidates = self.candidates.get(name, [])
            reasons = Counter(str(candidate.reason) for candidate in candidates if not candidate.accepted)
            if candidates and len(candidates) == reasons.total():
                shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(5))
                raise DataError(
                    f"none of the {len(candidates):,} records of source {name!r} became a rationale ({shown}); read "
                    f"the examples in the report, then mend the files or rationales.sources.{name}"
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

    def result(self) -> dict[str, Any]:
        """The machine-readable result, without text.

        Returns:
            sources: name -> num_records, num_taken, num_rejected; rejected, flagged, edits: name -> records, most
            first; splits: split -> rationales taken; num_read: rationales that were read, before any was dropped;
            num_leaking: of them, with the gold label; num_stated_labels: of them, with a label of the source;
            num_disagreeing: of these, with another than the gold one; characters: p5, p50, p95 of those taken.
        """
        result = {}
        for name, candidates in self.candidates.items():
            read = [candidate for candidate in candidates if candidate.parser and candidate.rationale]
            stated = [candidate for candidate in read if candidate.stated_label]
            taken = [candidate for candidate in candidates if candidate.accepted]
            lengths = sorted(len(candidate.rationale) for candidate in taken)
            result[name] = {
                "num_records": len(candidates),
                "num_taken": len(taken),
                "num_rejected": len(candidates) - len(taken),
                "rejected": _count(str(candidate.reason) for candidate in candidates if not candidate.accepted),
                "flagged": _count(flag.split(":")[0] for candidate in taken for flag in candidate.flags),
                "edits": _count(edit for candidate in taken for edit in candidate.edits),
                "splits": dict(Counter(candidate.target.split for candidate in taken if candidate.target)),
                "num_stated_labels": len(stated),
                "num_disagreeing": sum(candidate.failed("disagrees_with_gold") for candidate in stated),
                "num_leaking": sum(candidate.failed("leaks_label") for candidate in read),
                "num_read": len(read),
                "characters": {f"p{q}": lengths[(len(lengths) - 1) * q // 100] for q in (5, 50, 95)} if lengths else {},
            }
        return {"sources": result}


def ingest(
    examples: pa.Table,
    config: RationalesConfig,
    *,
    data: DataConfig,
    privacy: PrivacyConfig,
    work_dir: Path,
    quarantined: pa.Table | None = None,
) -> Ingestion:
    """Read, join, parse and check every source, and give each example the rationales that pass.

    Sources that the data brings and that are not declared are taken as they are.

    Args:
        examples: valid examples, a table of `EXAMPLES_SCHEMA`.
        quarantined: rows that the validation set aside: their outputs are counted, and the order still fits.
        work_dir: where answers of an endpoint are kept, so that none is asked for twice.

    Raises:
        DataError: a file cannot be read, or outputs joined by order are not as many as the rows.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    columns = [examples[name].to_pylist() for name in ("id", "text", "label", "options", "split")]
    targets = {row[0]: Target(*row) for row in zip(*columns, strict=True)}
    if len(targets) != len(examples):
        raise DataError("examples share an id, so no rationale can be joined to one of them; validate them first")
    delivered = [examples] if quarantined is None else [examples, quarantined]
    rows = [pair for table in delivered for pair in zip(table["row"].to_pylist(), table["id"].to_pylist(), strict=True)]
    ids_by_row = [row_id for _, row_id in sorted(rows)]
    as_it_is = ColumnSource(format="column", quality=QualityConfig(too_short="flag"))
    in_data = {name for rationales in examples["rationales"].to_pylist() for name, _ in rationales}
    sources = config.sources | dict.fromkeys(sorted(in_data - config.sources.keys()), as_it_is)

    candidates: dict[str, list[Candidate]] = {}
    for name, source in sources.items():
        records = read_source(name, source, examples, data=data, work_dir=work_dir)
        candidates[name] = _join_and_parse(name, source, records, targets, ids_by_row, data.labels)
        _check(candidates[name], source, privacy)
        num_taken = sum(candidate.accepted for candidate in candidates[name])
        logger.info("%s: %d records, %d rationales taken", name, len(records), num_taken)

    origins = {
        candidate.record.record_id: name
        for name, of_source in candidates.items()
        for candidate in of_source
        if candidate.record.record_id
    }
    rationales: dict[str, list[tuple[str, str]]] = {}
    for name, of_source in candidates.items():
        for candidate in of_source:
            if candidate.accepted and candidate.target is not None:
                rationales.setdefault(candidate.target.id, []).append((name, candidate.rationale))
                if candidate.record.edits and candidate.record.edits not in origins:
                    candidate.flags.append("edited form of a record that is not there")
    return Ingestion(
        examples=_with_column(examples, "rationales", [rationales.get(example_id, []) for example_id in targets]),
        provenance=provenance_table(candidates, origins),
        rejected=_rejected_table(candidates),
        candidates=candidates,
    )


def _join_and_parse(
    name: str,
    source: AnySource,
    records: Sequence[Record],
    targets: Mapping[str, Target],
    ids_by_row: Sequence[str],
    labels: LabelsConfig,
) -> list[Candidate]:
    """A candidate for each record: with its example, its rationale and its label, or the reason why not.

    Args:
        targets: example id -> example.
        ids_by_row: id of every row of the data as delivered, quarantined ones too: what the order refers to.

    Raises:
        DataError: records are joined by order and their number is not that of the rows.
    """
    num_ordered = sum(record.order is not None for record in records)
    if num_ordered and num_ordered != len(ids_by_row):
        raise DataError(
            f"rationales.sources.{name}: {num_ordered:,} outputs are joined by order to {len(ids_by_row):,} "
            "examples; the counts must be equal. Name all files of the source, in the order of the data, or join by id"
        )
    delivered_ids = set(ids_by_row)
    parse_config = getattr(source, "parse", ParseConfig())
    seen: set[tuple[str | None, ...]] = set()
    candidates = []
    for record in records:
        example_id = record.example_id if record.order is None else ids_by_row[record.order]
        target = targets.get(example_id or "")
        candidate = Candidate(record, example_id, target)
        candidates.append(candidate)
        identity = (
            record.record_id,
            example_id or "",
            record.content or "",
            record.rationale or "",
            record.label or "",
        )
        is_repeated = record.order is None and identity in seen
        seen.add(identity)
        if record.reason is not None:
            candidate.reject(record.reason, record.detail)
        elif not example_id:
            candidate.reject("no_id")
        elif target is None:
            candidate.reject("quarantined" if example_id in delivered_ids else "unknown_id")
        elif is_repeated:
            candidate.reject("repeated_record")
        if not candidate.accepted or target is None:
            continue
        options = target.options if labels.per_row else labels.names
        if record.content is None:
            candidate.rationale = (record.rationale or "").strip()
            candidate.label = match_label(record.label, options)
            candidate.stated_label = bool(record.label and record.label.strip())
            candidate.parser = "as written"
            if not candidate.rationale:
                candidate.reject("no_rationale" if candidate.stated_label else "empty")
            continue
        parsed = parse(record.content, options, parse_config, stopped_at_limit=record.stopped_at_limit)
        candidate.rationale, candidate.label = parsed.rationale, parsed.label
        candidate.stated_label = parsed.label is not None
        candidate.parser, candidate.edits = parsed.parser, list(parsed.edits)
        if parsed.reason is not None:
            candidate.reject(parsed.reason, parsed.detail)
    return candidates


def _check(candidates: Sequence[Candidate], source: AnySource, privacy: PrivacyConfig) -> None:
    """Apply the privacy policy and the quality checks to the rationales, and leave each example with one of them."""
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
    checks = QualityChecks(source.quality, readable)
    for candidate in readable:
        checks.apply(candidate)

    by_id = {candidate.record.record_id: candidate for candidate in candidates if candidate.record.record_id}
    for candidate in candidates:  # an edited form wins over what it edits
        original = by_id.get(candidate.record.edits or "")
        if original is not None and original is not candidate and candidate.accepted:
            original.reject("superseded")
    rivals: dict[str, list[Candidate]] = {}
    for candidate in readable:
        if candidate.accepted and candidate.target is not None:
            rivals.setdefault(candidate.target.id, []).append(candidate)
    for of_example in rivals.values():
        if source.several == "longest":
            taken = max(of_example, key=lambda candidate: len(candidate.rationale))
        else:
            taken = of_example[0 if source.several == "first" else -1]
        for candidate in of_example:
            if candidate is not taken:
                candidate.reject("not_chosen")


def _rejected_table(candidates: Mapping[str, Sequence[Candidate]]) -> pa.Table:
    rows = [
        {
            "source": name,
            "reason": candidate.reason,
            "detail": candidate.detail,
            "file": candidate.record.file,
            "row": candidate.record.row,
            "record_id": candidate.record.record_id,
            "example_id": candidate.example_id,
            "label": candidate.label,
            "gold_label": candidate.gold or None,
            "rationale": candidate.rationale,
            "content": candidate.record.content,
        }
        for name, of_source in candidates.items()
        for candidate in of_source
        if not candidate.accepted
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA)


def _count(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, most first."""
    return dict(Counter(names).most_common())


def _with_column(examples: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    field = EXAMPLES_SCHEMA.field(name)
    return examples.set_column(EXAMPLES_SCHEMA.get_field_index(name), field, pa.array(values, field.type))


def select_rationales(examples: pa.Table, selection: Selection, *, seed: int = 42) -> pa.Table:
    """The examples with `rationale` and `rationale_source` set; both stay empty where no selected source has one.

    Args:
        seed: of the draws between weighted sources, which depend on it and the example's id alone.

    Raises:
        DataError: no row has a rationale of a selected source.
    """
    names = names_of(selection)
    rationales, sources = [], []
    num_rows = Counter[str]()
    for example_id, pairs in zip(examples["id"].to_pylist(), examples["rationales"].to_pylist(), strict=True):
        texts = {name: text.strip() for name, text in pairs if text.strip()}
        num_rows.update(texts.keys())
        available = [name for name in names if name in texts]
        source = available[0] if available else ""
        if isinstance(selection, dict):
            digest = hashlib.blake2b(f"{seed}:{example_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
            left = int.from_bytes(digest, "big") / 2**64 * sum(selection[name] for name in available)
            source = ""
            for name in available:
                left -= selection[name]
                if left < 0:
                    source = name
                    break
        rationales.append(texts.get(source, ""))
        sources.append(source)
    absent = [name for name in names if not num_rows[name]]
    if absent:
        raise DataError(
            f"no row has a rationale of source {absent[0]!r}; found sources {sorted(num_rows)}. "
            "Set rationales.stage1_source / stage2_source to one of them, or declare it in data.columns.rationales or "
            "rationales.sources"
        )
    return _with_column(_with_column(examples, "rationale", rationales), "rationale_source", sources)


def coverage(examples: pa.Table) -> dict[str, Any]:
    """Rows with a rationale, by split: `{train: {num_rows, num_with_rationale, sources: {llm: 7}}, ...}`."""
    counts = Counter(zip(examples["split"].to_pylist(), examples["rationale_source"].to_pylist(), strict=True))
    report: dict[str, Any] = {}
    for split in sorted({split for split, _ in counts}):
        sources = {source: count for (where, source), count in sorted(counts.items()) if where == split and source}
        num_rows = sum(count for (where, _), count in counts.items() if where == split)
        report[split] = {"num_rows": num_rows, "num_with_rationale": sum(sources.values()), "sources": sources}
    return report
