"""The door of the validation: privacy first, then the expectations, then rows that must go are set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.validation import Severity, ValidationConfig
from r2d.data.deidentify import deidentify_examples
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS
from r2d.data.validation.checks import Check
from r2d.data.validation.figures import Figure, figures_of
from r2d.data.validation.measures import measure
from r2d.data.validation.suite import check_figures, check_rows
from r2d.errors import DataError

QUARANTINE_SCHEMA = EXAMPLES_SCHEMA.append(pa.field("reasons", pa.list_(pa.string()), nullable=False))
"""A row that was set aside, whole, with the expectations that it did not meet."""


@dataclass(frozen=True)
class Validation:
    """What came of a table: the rows that go on, those that do not, and why."""

    examples: pa.Table
    """Table of `EXAMPLES_SCHEMA`, identifying text replaced where the policy is `redact`."""
    quarantined: pa.Table
    """Table of `QUARANTINE_SCHEMA`."""
    findings: pa.Table
    """Identifying text by id, field, recogniser, offsets in the text as delivered, and score; never the text."""
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...]
    profile: dict[str, Any]
    """What later data can be compared with: shares and deciles."""
    num_redacted: int
    """Rows in which something was replaced."""

    @property
    def num_rows(self) -> int:
        """Rows that came in."""
        return len(self.examples) + len(self.quarantined)

    @property
    def errors(self) -> list[Check]:
        """Expectations of severity `error` that are not met."""
        return [check for check in self.checks if not check.passed and check.severity == "error"]

    @property
    def warnings(self) -> list[Check]:
        return [check for check in self.checks if not check.passed and check.severity == "warn"]

    def raise_for_errors(self) -> None:
        """Stop what a broken contract must stop.

        Raises:
            DataError: lists every expectation of severity `error` that is not met, or says that no row is left.
        """
        if self.errors:
            kinds = "1 expectation" if len(self.errors) == 1 else f"{len(self.errors)} expectations"
            lines = [f"  {check.line()}" for check in self.errors]
            raise DataError("\n".join([f"the data contract is broken ({self.num_rows:,} rows, {kinds}):", *lines]))
        counts = Counter(self.examples["split"].to_pylist())
        empty = [split for split in ("train", "validation") if not counts[split]]
        if empty:
            fix = "add rows of that split, or remove data.columns.split to have the rows divided by data.split"
            if len(self.quarantined):
                fix = "read in the report why, then mend the rows or lower validation.severities"
            raise DataError(
                f"no row in split {' and '.join(empty)}: {len(self.quarantined):,} of {self.num_rows:,} rows were "
                f"quarantined; {fix}"
            )

    def result(self) -> dict[str, Any]:
        """The machine-readable result: what `result.json` holds."""
        counts = Counter(zip(self.examples["split"].to_pylist(), self.examples["label"].to_pylist(), strict=True))
        return {
            "num_rows": self.num_rows,
            "num_valid": len(self.examples),
            "num_quarantined": len(self.quarantined),
            "num_redacted": self.num_redacted,
            "num_errors": len(self.errors),
            "num_warnings": len(self.warnings),
            "splits": {
                split: {label: count for (where, label), count in sorted(counts.items()) if where == split}
                for split in SPLITS
            },
            "quarantine_reasons": dict(Counter(r for row in self.quarantined["reasons"].to_pylist() for r in row)),
            "privacy_findings": dict(Counter(self.findings["recogniser"].to_pylist())),
            "figures": [
                {"name": one.name, "check": one.check, "value": one.value, "low": one.low, "high": one.high}
                for one in self.figures
            ],
            "checks": [check.as_json() for check in self.checks],
            "profile": self.profile,
        }


def validate(
    examples: pa.Table,
    config: ValidationConfig,
    *,
    labels: LabelsConfig,
    model: ModelConfig,
    start_folder: Path | None = None,
) -> Validation:
    """Hold a table of `EXAMPLES_SCHEMA` against the data contract; `raise_for_errors` then stops what must not go on.

    Args:
        model: its tokenizer and token limits say which texts would be cut.
        start_folder: where `model.name` lies, if it is a registered version.

    Raises:
        DataError: the table has other columns, or `validation.reference` cannot be read.
    """
    if not examples.schema.equals(EXAMPLES_SCHEMA):
        raise DataError(f"examples have columns {examples.column_names}, expected are {EXAMPLES_SCHEMA.names}")
    deidentified = deidentify_examples(examples, config.privacy)
    frame = measure(deidentified.examples, labels, config)
    privacy: Severity = {"quarantine": "quarantine", "warn": "warn"}.get(config.privacy.policy, "off")  # type: ignore[assignment]
    if privacy != "off":
        frame["privacy"] = deidentified.num_findings > 0
    figures, profile = figures_of(deidentified.examples, frame, labels, config, model, start_folder)
    checks = [
        *check_rows(frame, deidentified.examples["place"].to_pylist(), labels, config, privacy),
        *check_figures(figures, config),
    ]
    kept, quarantined = _set_aside(deidentified.examples, checks)
    assert len(kept) + len(quarantined) == len(examples)
    return Validation(
        examples=kept,
        quarantined=quarantined,
        findings=deidentified.findings,
        checks=tuple(checks),
        figures=tuple(figures),
        profile=profile,
        num_redacted=int((deidentified.num_findings > 0).sum()) if config.privacy.policy == "redact" else 0,
    )


def _set_aside(examples: pa.Table, checks: Sequence[Check]) -> tuple[pa.Table, pa.Table]:
    """The rows that go on, and those that some check of severity `quarantine` takes out, with its name."""
    reasons: dict[int, list[str]] = {}
    for check in checks:
        if check.severity == "quarantine":
            for row in check.rows:
                reasons.setdefault(row, []).append(check.name)
    rows = sorted(reasons)
    kept = [True] * len(examples)
    for row in rows:
        kept[row] = False
    out = examples.take(pa.array(rows, pa.int64()))
    why = pa.array([reasons[row] for row in rows], pa.list_(pa.string()))
    return examples.filter(pa.array(kept, pa.bool_())), out.append_column(QUARANTINE_SCHEMA.field("reasons"), why)
