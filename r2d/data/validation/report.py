"""The data report: one HTML page that says whether the data may be trained on, and what to mend. It quotes no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r2d.config.validation import PrivacyConfig, Recogniser
from r2d.data.examples import SPLITS
from r2d.data.validation.checks import CHECKS, Check
from r2d.data.validation.plots import label_shares_plot, text_lengths_plot
from r2d.errors import DataError
from r2d.reports.templates import render

if TYPE_CHECKING:
    from r2d.data.validation.figures import Figure
    from r2d.data.validation.validate import Validation

SHOWN_QUARANTINED = 20
MAX_LABELS = 40
"""Of more labels, the rest stands in one row of the table."""
NO_SPLIT = "no known split"
UNDECLARED = "(not declared)"

_GROUPS = {
    "error": ("Errors", "They stop the run until the data is mended."),
    "quarantine": ("Quarantine", "The rows were set aside and are not trained on; the others go on."),
    "warn": ("Warnings", "Nothing was stopped or set aside: look at them before you trust the model."),
    "not measured": ("Not measured", "Nothing was found out, neither good nor bad."),
}
"""Group of checks -> heading and what follows from it, in the order of the page; what passed comes after."""

_SHARES = frozenset({"token_limit", "language", "rationale_coverage"})
"""Checks whose figures are shares of rows, and read as percentages."""

_RECOGNISED: dict[Recogniser, str] = {
    "phone": "telephone numbers",
    "email": "e-mail addresses",
    "date_of_birth": "dates of birth",
    "health_card": "health card numbers",
    "national_id": "national identity numbers",
    "postal_code": "postal codes",
    "record_number": "record, account and policy numbers",
    "person_name": "names of persons",
}

_POLICIES = {
    "redact": "What was found was replaced by placeholders such as [PHONE_1] before anything else looked at the texts.",
    "quarantine": "Rows in which something was found were set aside.",
    "warn": "What was found still stands in the texts: nothing was replaced or set aside.",
    "off": "The search is switched off: nobody looked.",
}


@dataclass(frozen=True)
class _Gauge:
    """A figure drawn beside its limit."""

    name: str
    value: str
    limit: str
    met: bool
    bar: float
    """Length of the bar, as a share of the track."""
    mark: float
    """Where the limit stands on the track."""


def render_data_report(
    validation: Validation,
    *,
    privacy: PrivacyConfig,
    title: str = "Data report",
    source: Mapping[str, object] | None = None,
    synthetic: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML text. It holds counts, figures, labels, and places and ids of rows; no text and no rationale.

    Args:
        privacy: the policy under which identifying text was looked for.
        source: facts about where the data comes from, e.g. `{"file": "calls.csv", "encoding": "utf-8"}`.
        synthetic: invented text, no real patients; said at the top.
    """
    label_rows = _label_rows(validation)
    return render(
        "r2d.data.validation",
        "report.html.j2",
        title=title,
        validation=validation,
        stopped=_stopped(validation),
        groups=[
            (group, *_GROUPS[group], [check for check in validation.checks if _group(check) == group])
            for group in _GROUPS
        ],
        passed=[check for check in validation.checks if check.passed],
        not_asked=_not_asked(validation.checks, privacy),
        table_checks={figure.check for figure in validation.figures},
        gauges=[_gauge(figure) for figure in validation.figures if figure.value is not None],
        label_columns=_columns(validation),
        label_rows=label_rows,
        label_totals=[sum(rows) for rows in zip(*(rows for _, rows, _ in label_rows), strict=True)],
        reasons=Counter(reason for row in validation.quarantined["reasons"].to_pylist() for reason in row),
        quarantined=validation.quarantined.select(["id", "place", "reasons"]).slice(0, SHOWN_QUARANTINED).to_pylist(),
        titles={name: asked for name, (asked, _) in CHECKS.items()},
        privacy=privacy,
        policy=_POLICIES[privacy.policy],
        recognised=_recognised(validation, privacy),
        source=source or {},
        synthetic=synthetic,
        notes=notes,
        label_shares=label_shares_plot(validation) if validation.profile["labels"] else None,
        text_lengths=text_lengths_plot(validation),
    )


def _stopped(validation: Validation) -> str:
    """Why the data may not be trained on; empty where it may."""
    try:
        validation.raise_for_errors()
    except DataError as error:
        if not validation.errors:
            return str(error)
        broken = len(validation.errors)
        return "1 expectation is broken" if broken == 1 else f"{broken} expectations are broken"
    return ""


def _group(check: Check) -> str:
    """Its outcome; what must be known and could not be measured stops the run like an error, and stands with them."""
    return "error" if check.not_measured and check.severity == "error" else check.outcome


def _not_asked(checks: Sequence[Check], privacy: PrivacyConfig) -> list[str]:
    """Expectations without an outcome. Under `redact` privacy is no question: what was found is gone."""
    asked = {check.name for check in checks} | ({"privacy"} if privacy.policy == "redact" else set())
    return [name for name in CHECKS if name not in asked]


def _gauge(figure: Figure) -> _Gauge:
    """At least: the track runs from 0 to 1. At most: to twice the limit, which so stands in the middle."""
    value, least = figure.value or 0.0, figure.low is not None
    limit = figure.low if figure.low is not None else figure.high or 0.0
    end = 1.0 if least else 2 * limit or 1.0
    return _Gauge(
        name=figure.name,
        value=_written(figure, value),
        limit=f"{'at least' if least else 'at most'} {_written(figure, limit)}",
        met=value >= limit if least else value <= limit,
        bar=min(1.0, max(0.0, value / end)),
        mark=min(1.0, limit / end),
    )


def _written(figure: Figure, value: float) -> str:
    """In percent where it is a share of rows; else without digits that say nothing."""
    return f"{100 * value:.4g} %" if figure.check in _SHARES else f"{round(value, 4):.6g}"


def _columns(validation: Validation) -> list[str]:
    """The splits that rows stand in, and one for rows in none of them."""
    there = set(validation.examples["split"].to_pylist())
    return [split for split in SPLITS if split in there] + ([NO_SPLIT] if there - set(SPLITS) else [])


def _label_rows(validation: Validation) -> list[tuple[str, list[int], int]]:
    """(label, valid rows by column, quarantined rows) in the declared order; together every row that came in."""
    declared, columns = list(validation.profile["labels"]), _columns(validation)
    named = dict.fromkeys(declared[:MAX_LABELS]) if declared else {}
    rest = f"({len(declared) - MAX_LABELS} further labels)"

    def row_of(label: str) -> str:
        if not declared:
            return "(each row has its own)"
        return label if label in named else rest if label in validation.profile["labels"] else UNDECLARED

    valid = Counter(
        (row_of(label), split if split in SPLITS else NO_SPLIT)
        for label, split in zip(
            validation.examples["label"].to_pylist(), validation.examples["split"].to_pylist(), strict=True
        )
    )
    aside = Counter(map(row_of, validation.quarantined["label"].to_pylist()))
    found = dict.fromkeys([*named, *(label for label, _ in valid), *aside])
    ordered = sorted(found, key=lambda label: (label == UNDECLARED, label == rest))
    return [(label, [valid[label, column] for column in columns], aside[label]) for label in ordered]


def _recognised(validation: Validation, privacy: PrivacyConfig) -> list[tuple[str, int, int]]:
    """(what, findings, rows) of every recogniser that was switched on."""
    findings = validation.findings.select(["recogniser", "id"]).to_pylist()
    counts = Counter(finding["recogniser"] for finding in findings)
    rows = Counter(recogniser for recogniser, _ in {(finding["recogniser"], finding["id"]) for finding in findings})
    return [(_RECOGNISED[name], counts[name], rows[name]) for name in privacy.recognisers]
