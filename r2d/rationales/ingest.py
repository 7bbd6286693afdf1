"""The door of the ingestion: records of every source in, one traceable rationale an example and source out.

Nothing is lost on the way: of each source, the records read are the rationales taken plus the records rejected, each
with a reason (`r2d.rationales.records.REASONS`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.rationales import AnySource, ColumnSource, QualityConfig, RationalesConfig
from r2d.config.validation import PrivacyConfig
from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.errors import DataError
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.candidates import Candidate, Target, choose_one, join, read_answer
from r2d.rationales.choose import choose_rationales, coverage
from r2d.rationales.provenance import provenance_of, with_stages
from r2d.rationales.quality import QualityChecks
from r2d.rationales.sources import records_of

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
"""One row a record that became no rationale. It holds what the record said: treat it as clinical data."""


@dataclass(frozen=True)
class Chosen:
    """What the stages are trained on."""

    stage1: pa.Table
    stage2: pa.Table
    provenance: pa.Table
    """Table of `PROVENANCE_SCHEMA` and `stages`: the stages that train or evaluate on the rationale."""
    coverage: dict[str, Any]
    """Stage -> split -> rows with a rationale, by source."""


@dataclass(frozen=True)
class Ingestion:
    """What came of all sources."""

    examples: pa.Table
    """The examples, `rationales` now holding what was taken from each source."""
    provenance: pa.Table
    """Table of `PROVENANCE_SCHEMA`."""
    rejected: pa.Table
    """Table of `REJECTED_SCHEMA`."""
    candidates: dict[str, list[Candidate]]
    """Source, in order of precedence -> every record with what was decided about it."""

    def choose(self, config: RationalesConfig) -> Chosen:
        """The rationales that each stage is trained on.

        Raises:
            DataError: no row has a rationale of a selected source; says why its records were rejected.
        """
        for name in config.selected():
            several = self.candidates.get(name, [])
            reasons = Counter(str(candidate.reason) for candidate in several if not candidate.accepted)
            if several and len(several) == reasons.total():
                shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(5))
                raise DataError(
                    f"none of the {len(several):,} records of source {name!r} became a rationale ({shown}); read the "
                    f"examples in the report, then mend the files or rationales.sources.{name}"
                )
        stage1 = choose_rationales(self.examples, config.stage1_source, seed=config.seed)
        stage2_source = config.stage1_source if config.stage2_source is None else config.stage2_source
        stage2 = choose_rationales(self.examples, stage2_source, seed=config.seed)
        return Chosen(
            stage1=stage1,
            stage2=stage2,
            provenance=with_stages(self.provenance, {"stage1": stage1, "stage2": stage2}),
            coverage={"stage1": coverage(stage1), "stage2": coverage(stage2)},
        )

    def result(self) -> dict[str, Any]:
        """The machine-readable result: counts and shares a source, no text."""
        return {"sources": {name: _counts(candidates) for name, candidates in self.candidates.items()}}


def ingest(
    examples: pa.Table,
    config: RationalesConfig,
    *,
    data: DataConfig,
    privacy: PrivacyConfig,
    work_dir: Path,
    quarantined: pa.Table | None = None,
) -> Ingestion:
    """Read, join, parse and judge every source, and give each example the rationales that pass.

    Args:
        examples: valid examples, a table of `EXAMPLES_SCHEMA`.
        quarantined: rows that the validation set aside: their outputs are counted, and the order still fits.
        work_dir: where answers of an endpoint are kept, so that none is asked for twice.

    Raises:
        DataError: a file cannot be read, or outputs joined by order are not as many as the rows.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    targets = _targets(examples)
    aside = [] if quarantined is None else list(
        zip(quarantined["row"].to_pylist(), quarantined["id"].to_pylist(), strict=True)
    )  # fmt: skip
    rows = sorted([*zip(examples["row"].to_pylist(), examples["id"].to_pylist(), strict=True), *aside])
    ids_by_row, quarantined_ids = [id_ for _, id_ in rows], {id_ for _, id_ in aside}
    candidates: dict[str, list[Candidate]] = {}
    for name, source in _all_sources(examples, config).items():
        records = records_of(name, source, examples, data=data, work_dir=work_dir)
        candidates[name] = join(name, records, targets, ids_by_row, quarantined_ids)
        _judge(candidates[name], source, data.labels, privacy)
        taken = sum(candidate.accepted for candidate in candidates[name])
        logger.info("%s: %d records, %d rationales taken", name, len(records), taken)
        assert len(candidates[name]) == len(records)
    origins = {
        candidate.record.record_id: name
        for name, several in candidates.items()
        for candidate in several
        if candidate.record.record_id
    }
    return Ingestion(
        examples=_with_rationales(examples, candidates),
        provenance=provenance_of(candidates, origins),
        rejected=_rejected(candidates),
        candidates=candidates,
    )


def _all_sources(examples: pa.Table, config: RationalesConfig) -> dict[str, AnySource]:
    """The declared sources, then those that the data brings besides: these are taken as they are."""
    brought = {name for pairs in examples["rationales"].to_pylist() for name, _ in pairs}
    as_it_is = ColumnSource(format="column", quality=QualityConfig(too_short="flag"))
    return dict(config.sources) | dict.fromkeys(sorted(brought - config.sources.keys()), as_it_is)


def _targets(examples: pa.Table) -> dict[str, Target]:
    columns = [examples[name].to_pylist() for name in ("id", "text", "label", "options", "split")]
    targets = {row[0]: Target(*row) for row in zip(*columns, strict=True)}
    if len(targets) != len(examples):
        raise DataError("examples share an id, so no rationale can be joined to one of them; validate them first")
    return targets


def _judge(candidates: Sequence[Candidate], source: AnySource, labels: LabelsConfig, privacy: PrivacyConfig) -> None:
    for candidate in candidates:
        read_answer(candidate, getattr(source, "parse", None), labels)
    read = [candidate for candidate in candidates if candidate.accepted]
    _shield(read, privacy)
    checks = QualityChecks(source.quality, read)
    for candidate in read:
        checks.hold(candidate)
    choose_one(candidates, source.several)


def _shield(candidates: Sequence[Candidate], privacy: PrivacyConfig) -> None:
    """Apply the policy of the data to rationales that come from elsewhere and may name a person again."""
    hidden = deidentify_texts([candidate.rationale for candidate in candidates], privacy)
    for candidate, (text, num_findings) in zip(candidates, hidden, strict=True):
        if not num_findings:
            candidate.checks_passed.append("privacy")
        elif privacy.policy == "quarantine":
            candidate.reject("privacy", f"{num_findings} findings")
        elif privacy.policy == "redact":
            candidate.rationale = text
            candidate.edits.append("identifiers replaced")
        else:
            candidate.flags.append("privacy")


def _with_rationales(examples: pa.Table, candidates: dict[str, list[Candidate]]) -> pa.Table:
    taken: dict[str, list[tuple[str, str]]] = {}
    for name, several in candidates.items():
        for candidate in several:
            if candidate.accepted and candidate.target is not None:
                taken.setdefault(candidate.target.id, []).append((name, candidate.rationale))
    position = EXAMPLES_SCHEMA.get_field_index("rationales")
    column = EXAMPLES_SCHEMA.field("rationales")
    values = [taken.get(example_id, []) for example_id in examples["id"].to_pylist()]
    return examples.set_column(position, column, pa.array(values, column.type))


def _rejected(candidates: dict[str, list[Candidate]]) -> pa.Table:
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
        for name, several in candidates.items()
        for candidate in several
        if not candidate.accepted
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA)


def _counts(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What the report shows of a source. Shares are over the rationales that were read, before any was dropped."""
    read = [candidate for candidate in candidates if candidate.parser and candidate.rationale]
    stated = [candidate for candidate in read if candidate.stated_label]
    disagreeing = sum("disagrees_with_gold" in one.faults or one.reason == "disagrees_with_gold" for one in stated)
    leaking = sum("leaks_label" in one.faults or one.reason == "leaks_label" for one in read)
    accepted = [candidate for candidate in candidates if candidate.accepted]
    lengths = sorted(len(candidate.rationale) for candidate in accepted)
    return {
        "num_records": len(candidates),
        "num_taken": len(accepted),
        "num_rejected": len(candidates) - len(accepted),
        "rejected": dict(Counter(str(one.reason) for one in candidates if not one.accepted).most_common()),
        "flagged": dict(Counter(flag.split(":")[0] for one in accepted for flag in one.flags).most_common()),
        "edits": dict(Counter(edit for one in accepted for edit in one.edits).most_common()),
        "splits": dict(Counter(one.target.split for one in accepted if one.target)),
        "num_stated_labels": len(stated),
        "num_disagreeing": disagreeing,
        "num_leaking": leaking,
        "num_read": len(read),
        "characters": {f"p{q}": lengths[(len(lengths) - 1) * q // 100] for q in (5, 50, 95)} if lengths else {},
    }
