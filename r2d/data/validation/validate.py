"""Validation: privacy first, then the expectations, then rows that must go are set aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import chain

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.validation import Severity, ValidationConfig
from r2d.data.deidentify import DeidentifiedExamples, deidentify_examples
from r2d.data.examples import EXAMPLES_SCHEMA, shown_splits
from r2d.data.reading import Reading
from r2d.data.validation.expectations import Check, CheckedSuite, check_examples
from r2d.data.validation.measures import CountTokens, DatasetMetric, Profile, measure_dataset, measure_rows, profile_of
from r2d.errors import DataError

UNDECLARED, OWN_LABELS = "(not declared)", "(each row has its own)"
QUARANTINE_SCHEMA = EXAMPLES_SCHEMA.append(pa.field("reasons", pa.list_(pa.string()), nullable=False))
"""A row that was set aside, whole, with the expectations that it did not meet."""


@dataclass(frozen=True, repr=False)
class Validation:
    """The rows that go on, those that do not, and why. It holds notes: its repr never shows them."""

    examples: pa.Table  # table of `EXAMPLES_SCHEMA`, identifying text replaced where the policy is `redact`
    quarantined: pa.Table  # table of `QUARANTINE_SCHEMA`
    findings: pa.Table  # identifying text, as a table of `r2d.data.deidentify.FINDINGS_SCHEMA`; it holds no text
    checks: tuple[Check, ...]
    metrics: tuple[DatasetMetric, ...]
    profile: Profile
    num_redacted: int  # rows in which something was replaced
    reading: Reading = field(default_factory=Reading)  # what was done to the file while it was read
    suites: tuple[CheckedSuite, ...] = ()  # the expectations as suites of Great Expectations, with their results

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
        """Expectations of severity `warn` that are not met."""
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
        present = set(self.examples["split"].to_pylist())
        empty = [split for split in ("train", "validation") if split not in present]
        if empty:
            fix = "add rows of that split, or remove data.columns.split to have the rows divided by data.split"
            if len(self.quarantined):
                fix = "read in the report why, then mend the rows or lower validation.severities"
            raise DataError(
                f"no row in split {' and '.join(empty)}: {len(self.quarantined):,} of {self.num_rows:,} rows were "
                f"quarantined; {fix}"
            )

    def shown_label(self, label: str) -> str:
        """A declared label as it is; of any other, which may be a note in the wrong column, only that it is another."""
        declared = self.profile["labels"]
        return label if label in declared else UNDECLARED if declared else OWN_LABELS

    def result(self) -> dict[str, object]:
        """The machine-readable result: what `result.json` holds."""
        labels = map(self.shown_label, self.examples["label"].to_pylist())
        counts = Counter(zip(self.examples["split"].to_pylist(), labels, strict=True))
        reasons = Counter(reason for reasons in self.quarantined["reasons"].to_pylist() for reason in reasons)
        return {
            "num_rows": self.num_rows,
            "num_valid": len(self.examples),
            "num_quarantined": len(self.quarantined),
            "num_redacted": self.num_redacted,
            "reading": asdict(self.reading),
            "num_errors": len(self.errors),
            "num_warnings": len(self.warnings),
            "splits": {
                split: {label: count for (of_split, label), count in sorted(counts.items()) if of_split == split}
                for split in shown_splits(split for split, _ in counts)
            },
            "quarantine_reasons": dict(reasons),
            "privacy_findings": dict(Counter(self.findings["recogniser"].to_pylist())),
            "figures": [
                {key: getattr(metric, key) for key in ("name", "check", "value", "low", "high")}
                for metric in self.metrics
            ],
            "checks": [
                {key: getattr(check, key) for key in ("name", "title", "severity", "outcome", "num_unexpected")}
                | {"found": list(check.found), "not_measured": check.not_measured}
                for check in self.checks
            ],
            "profile": self.profile,
        }

    def expectation_suites(self) -> dict[str, object]:
        """Suite name -> its expectations, as JSON of Great Expectations."""
        return {checked.suite.name: checked.suite.to_json_dict() for checked in self.suites}

    def expectation_results(self) -> dict[str, object]:
        """Suite name -> its results, as JSON of Great Expectations: counts and observed values, never a text."""
        return {checked.suite.name: checked.result.to_json_dict() for checked in self.suites}


def validate(
    examples: pa.Table,
    config: ValidationConfig,
    *,
    labels: LabelsConfig,
    findings: pa.Table | None = None,
    count_tokens: CountTokens | None = None,
) -> Validation:
    """Hold a table of `EXAMPLES_SCHEMA` against the data contract; `raise_for_errors` then stops what must not go on.

    Args:
        findings: of `deidentify_examples`, where the examples went through it already; by default they do so here.
        count_tokens: counts the tokens of a sample, to find out which texts a model would cut; without it the
            expectation `token_limit` is not measured.

    Raises:
        DataError: the table has other columns, or `validation.reference` cannot be read.
    """
    if not examples.schema.equals(EXAMPLES_SCHEMA):
        raise DataError(f"examples have columns {examples.column_names}, expected are {EXAMPLES_SCHEMA.names}")
    reading = Reading.of(examples)
    if findings is None:
        deidentified = deidentify_examples(examples, config.privacy)
    else:
        deidentified = DeidentifiedExamples(examples, findings)
    examples, num_identifiers = deidentified.examples, deidentified.num_findings
    frame = measure_rows(examples, labels, config, num_identifiers)
    profile = profile_of(frame, labels)
    metrics = measure_dataset(examples, frame, profile, labels, config, count_tokens)
    privacy: Severity = config.privacy.policy if config.privacy.policy in ("quarantine", "warn") else "off"
    checked = check_examples(examples, frame, metrics, labels, config, privacy)

    reasons: dict[int, list[str]] = {}
    for check in checked.checks:
        if check.severity == "quarantine":
            for row in check.rows:
                reasons.setdefault(row, []).append(check.name)
    quarantined = examples.take(pa.array(sorted(reasons), pa.int64())).append_column(
        QUARANTINE_SCHEMA.field("reasons"), pa.array([reasons[row] for row in sorted(reasons)], pa.list_(pa.string()))
    )
    reading.num_quarantined, reading.quarantined = len(reasons), dict(Counter(chain.from_iterable(reasons.values())))
    kept = examples.filter(pa.array([row not in reasons for row in range(len(examples))], pa.bool_()))
    return Validation(
        examples=reading.attached_to(kept),
        quarantined=quarantined,
        findings=deidentified.findings,
        checks=tuple(checked.checks),
        metrics=tuple(checked.metrics),
        profile=profile,
        num_redacted=int((num_identifiers > 0).sum()) if config.privacy.policy == "redact" else 0,
        reading=reading,
        suites=tuple(checked.suites),
    )
