"""The data report: one HTML page that says whether the data may be trained on, and what to mend. It quotes no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from r2d.config.data import LabelsConfig
from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import SPLITS
from r2d.data.labels import undeclared_labels
from r2d.data.validation.expectations import CHECKS, Check
from r2d.data.validation.plots import label_shares_plot, text_lengths_plot
from r2d.data.validation.validate import UNDECLARED, Validation
from r2d.errors import DataError
from r2d.reports.templates import render
from r2d.text import plural

SHOWN_QUARANTINED = 20
MAX_LABELS = 40  # labels with a row of their own in the table; further ones share a row
NO_SPLIT = "no known split"

_SHARES = frozenset({"token_limit", "language", "rationale_coverage"})
"""Checks whose metrics are shares of rows, shown as percentages."""


def render_data_report(
    validation: Validation,
    *,
    privacy: PrivacyConfig,
    source: Mapping[str, object] | None = None,
    synthetic: bool = False,
) -> str:
    """The page as HTML text. It holds counts, metrics, labels, and places and ids of rows; no text and no rationale.

    Args:
        privacy: the policy under which identifying text was looked for.
        source: facts about where the data comes from, e.g. `{"file": "calls.csv", "encoding": "utf-8"}`.
        synthetic: invented text, no real patients; said at the top.
    """
    stopped = ""
    try:
        validation.raise_for_errors()
    except DataError as error:
        broken = plural(len(validation.errors), "expectation is", "expectations are") + " broken"
        stopped = broken if validation.errors else str(error)

    groups: dict[str, list[Check]] = {group: [] for group in ("error", "quarantine", "warn", "not measured")}
    for check in validation.checks:
        if not check.passed:
            # What must be known and could not be measured stops the run like an error.
            group = "error" if check.not_measured and check.severity == "error" else check.outcome
            groups[group].append(check)
    # Under `redact` privacy is no question: what was found is gone.
    asked = {check.name for check in validation.checks} | ({"privacy"} if privacy.policy == "redact" else set())

    splits = set(validation.examples["split"].to_pylist())
    columns = [split for split in SPLITS if split in splits] + ([NO_SPLIT] if splits - set(SPLITS) else [])
    label_rows = _label_rows(validation, columns)
    names = tuple(validation.profile["labels"])
    labels = [*validation.examples["label"].to_pylist(), *validation.quarantined["label"].to_pylist()]
    findings = validation.findings.select(["recogniser", "id"]).to_pylist()
    num_findings = Counter(finding["recogniser"] for finding in findings)
    num_rows = Counter(recogniser for recogniser, _ in {(finding["recogniser"], finding["id"]) for finding in findings})
    return render(
        "r2d.data.validation",
        "report.html.j2",
        title="Data report",
        validation=validation,
        stopped=stopped,
        groups=groups,
        passed=[check for check in validation.checks if check.passed],
        not_asked=[name for name in CHECKS if name not in asked],
        dataset_checks={metric.check for metric in validation.metrics},
        shares=_SHARES,
        label_columns=columns,
        label_rows=label_rows,
        label_totals=[sum(rows) for rows in zip(*(rows for _, rows, _ in label_rows), strict=True)],
        undeclared=undeclared_labels(labels, LabelsConfig(names=names)) if names else "",
        reasons=Counter(reason for row in validation.quarantined["reasons"].to_pylist() for reason in row),
        quarantined=validation.quarantined.select(["id", "place", "reasons"]).slice(0, SHOWN_QUARANTINED).to_pylist(),
        titles={name: check["title"] for name, check in CHECKS.items()},
        privacy=privacy,
        num_findings=num_findings,
        num_rows_with_findings=num_rows,
        source=source or {},
        synthetic=synthetic,
        label_shares=label_shares_plot(validation) if validation.profile["labels"] else None,
        text_lengths=text_lengths_plot(validation),
    )


def _label_rows(validation: Validation, columns: Sequence[str]) -> list[tuple[str, list[int], int]]:
    """(label, valid rows by column, quarantined rows) in the declared order; together every row that came in."""
    declared = validation.profile["labels"]
    named = dict.fromkeys(list(declared)[:MAX_LABELS])
    rest = f"({len(declared) - MAX_LABELS} further labels)"

    def row_of(label: str) -> str:
        shown = validation.shown_label(label)
        return rest if shown in declared and shown not in named else shown

    pairs = zip(validation.examples["label"].to_pylist(), validation.examples["split"].to_pylist(), strict=True)
    valid = Counter((row_of(label), split if split in SPLITS else NO_SPLIT) for label, split in pairs)
    quarantined = Counter(map(row_of, validation.quarantined["label"].to_pylist()))
    names = dict.fromkeys([*named, *(label for label, _ in valid), *quarantined])
    ordered = sorted(names, key=lambda label: (label == UNDECLARED, label == rest))
    return [(label, [valid[label, column] for column in columns], quarantined[label]) for label in ordered]
