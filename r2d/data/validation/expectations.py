"""The data contract as Great Expectations suites over measures, and how the examples met them.

`rows` holds the expectations about rows and about aggregates of rows, over the frame of `measures.measure_rows`;
`metrics` those about metrics of the whole data set, over one row with the metrics of `measures.measure_dataset`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import pandas as pd
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.validation import RowCheck, Severity, ValidationConfig
from r2d.data.examples import SPLITS
from r2d.data.labels import undeclared_labels
from r2d.data.validation.measures import RATIONALE_CHARACTERS, DatasetMetric
from r2d.files import read_yaml, write_text
from r2d.text import plural, show_label

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation import Expectation

CHECKS: dict[str, dict[str, str]] = read_yaml(Path(__file__).with_name("checks.yaml"))
"""Expectation -> `title`, what it asks, and `fix`, what to do when it is not met; in the order of reports."""

SHOWN_ROWS = 5
MAX_LISTED = 50  # allowed names in a message; further ones are counted
ROW_CHECKS = {*get_args(RowCheck), "privacy"}
GX_SEVERITIES = {"error": "critical", "quarantine": "warning", "warn": "info"}
KEPT_RESULTS = (
    "element_count", "missing_count", "unexpected_count", "unexpected_percent", "observed_value",
    "partial_unexpected_counts", "partial_unexpected_index_list", "partial_missing_list",
)  # fmt: skip
"""What is kept of the result of an expectation: no value or list of all rows."""
DATA_DOCS_STYLE = (
    "body{font-family:sans-serif;margin:2rem}table{border-collapse:collapse}td,th{padding:.3rem .6rem;"
    "border-bottom:1px solid #ccc;text-align:left;vertical-align:top}.badge{font-weight:bold}"
    ".fa-check-circle::before{content:'✓';color:#1d6b45}.fa-times::before{content:'✗';color:#a8330f}"
)


@dataclass(frozen=True)
class Check:
    """One expectation and how the data met it."""

    name: str
    severity: Severity
    num_unexpected: int = 0  # rows, or metrics of the data set, that do not meet it
    found: tuple[str, ...] = ()
    """The first of them: place and id of a row, or the metric beside its limit; never the text of a note."""
    rows: tuple[int, ...] = field(default=(), repr=False)  # indices of the rows in the table that was checked
    allowed: str = ""  # what would meet it, where that is a list of the config
    advice: str = ""  # what to do about it, in place of the general fix
    not_measured: str = ""  # why there is no result, where there is none

    @property
    def passed(self) -> bool:
        return self.num_unexpected == 0 and not self.not_measured

    @property
    def title(self) -> str:
        return CHECKS[self.name]["title"]

    @property
    def fix(self) -> str:
        """What to do about it."""
        known = CHECKS[self.name]
        advice = self.advice or known["fix"]
        if "or" in known and self.severity != "quarantine":
            advice += f"; or {known['or']}"
        return (f"allowed: {self.allowed}; " if self.allowed else "") + advice

    @property
    def outcome(self) -> str:
        """`ok`, `not measured`, or the severity."""
        if self.not_measured:
            return "not measured"
        return "ok" if self.passed else str(self.severity)

    def line(self) -> str:
        """One line for a message. Of what was not measured, the reason says what to do; no row is at fault."""
        if self.not_measured:
            return f"{self.name} ({self.title}): not measured: {self.not_measured}"
        more = self.num_unexpected - len(self.found)
        shown = "; ".join(self.found) + (f"; and {more:,} more" if more > 0 else "")
        what = plural(self.num_unexpected, "row") if self.rows else "the table"
        return f"{self.name} ({self.title}): {what}: {shown}; {self.fix}"


class CheckedSuite(NamedTuple):
    """A suite of Great Expectations, and its result on the measures. Neither holds a text."""

    suite: ExpectationSuite
    result: ExpectationSuiteValidationResult
    """One result for each expectation, in the order of the suite: counts and observed values."""
    unexpected_rows: Sequence[Sequence[int]]  # indices of the rows that do not meet each expectation


class Checked(NamedTuple):
    """How the examples met the data contract."""

    checks: list[Check]  # those about rows, then those about the data set
    metrics: list[DatasetMetric]
    suites: list[CheckedSuite]


def check_examples(
    examples: pa.Table,
    frame: pd.DataFrame,
    metrics: Sequence[DatasetMetric],
    labels: LabelsConfig,
    config: ValidationConfig,
    privacy: Severity,
) -> Checked:
    """Hold the measures against every expectation that is switched on.

    Args:
        examples: the rows, for places and ids in messages.
        frame, metrics: of `measures.measure_rows` and `measures.measure_dataset`.
        privacy: severity of a row that identifies somebody.
    """
    # Before its first import, which logs hundreds of lines.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    severities = {name: config.severity(name) for name in config.checks()} | {"privacy": privacy}
    is_on = {name for name, severity in severities.items() if severity != "off"}
    of_rows = [pair for pair in _row_expectations(frame, labels, config) if pair[0] in is_on]
    of_dataset = [pair for pair in _dataset_expectations(frame, metrics, labels, config) if pair[0].check in is_on]
    aggregates = [(metric.check, expected) for metric, expected in of_dataset if expected and metric.value is None]
    measured = [(metric.check, expected) for metric, expected in of_dataset if expected and metric.value is not None]
    suites = [_run_suite("rows", frame, [*of_rows, *aggregates], severities)]
    if measured:
        values = pd.DataFrame([{metric.name: metric.value for metric in metrics}])
        suites.append(_run_suite("metrics", values, measured, severities))

    unexpected: dict[str, set[int]] = {name: set() for name in CHECKS if name in ROW_CHECKS & is_on}
    for (name, _), rows in zip(of_rows, suites[0].unexpected_rows, strict=False):
        unexpected[name].update(rows)
    checks = [_row_check(name, severities[name], sorted(rows), examples, labels) for name, rows in unexpected.items()]

    aggregate_results = iter(suites[0].result.results[len(of_rows) :])
    metric_results = iter(suites[-1].result.results)
    observed: list[DatasetMetric] = []
    unmet: dict[str, list[str]] = {metric.check: [] for metric, _ in of_dataset}
    for metric, expectation in of_dataset:
        if expectation:
            result = next(aggregate_results if metric.value is None else metric_results)
            num_absent = result.result.get("missing_count")  # labels that are absent from a split
            metric = replace(metric, value=result.result["observed_value"] if num_absent is None else num_absent)
            if not result.success:
                unmet[metric.check].append(metric.line())
        observed.append(metric)
    not_measured = {metric.check: metric.not_measured for metric in observed if metric.not_measured}
    checks += [
        Check(name, severities[name], len(lines), tuple(lines), not_measured=not_measured.get(name, ""))
        for name, lines in unmet.items()
    ]
    return Checked(checks, observed, suites)


def _row_expectations(
    frame: pd.DataFrame, labels: LabelsConfig, config: ValidationConfig
) -> Iterator[tuple[str, Expectation]]:
    """(check, expectation) about the measures of each row."""
    import great_expectations.expectations as gxe

    def between(column: str, low: float | None, high: float | None) -> Expectation:
        return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)

    yield "id_present", between("id_characters", 1, None)
    yield "id_unique", gxe.ExpectColumnValuesToBeUnique(column="id_number")
    yield "split_known", gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))
    yield "text_present", between("text_first_letter", 0, None)
    if labels.per_row:
        yield "label_declared", between("options_equal_to_label", 1, None)
    else:
        yield "label_declared", gxe.ExpectColumnValuesToBeInSet(column="label", value_set=list(labels.names))
    yield "text_length", between("text_characters", config.min_text_characters, config.max_text_characters)
    for column in frame.columns:
        if column.startswith(RATIONALE_CHARACTERS):
            low, high = config.min_rationale_characters, config.max_rationale_characters
            yield "rationale_length", between(column, low, high)
    for check, column, high in (
        ("control_characters", "control_characters", 0),
        ("mojibake", "mojibake_sequences", 0),
        ("markup", "markup", 0),
        ("rationale_equals_text", "rationales_equal_to_text", 0),
        ("exact_duplicate", "earlier_copies_in_split", 0),
        ("near_duplicate", "earlier_near_copies_in_split", 0),
        ("label_conflict", "labels_of_text", 1),
        ("text_across_splits", "splits_to_copy", 0),
        ("near_duplicate_across_splits", "splits_to_near_copy", 0),
        ("group_across_splits", "splits_of_group", 1),
        ("privacy", "identifiers", 0),
    ):
        if column in frame:
            yield check, between(column, None, high)


def _dataset_expectations(
    frame: pd.DataFrame, metrics: Sequence[DatasetMetric], labels: LabelsConfig, config: ValidationConfig
) -> Iterator[tuple[DatasetMetric, Expectation | None]]:
    """Metrics in the order of reports, each with its expectation unless it cannot be measured.

    A metric without a value is an aggregate of the rows, which Great Expectations observes.
    """
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    for check in config.checks():
        if check == "language" and "in_language" in frame:
            metric = DatasetMetric(check, f"texts in {config.language!r}", low=config.min_language_share)
            if frame["in_language"].isna().all():
                yield replace(metric, name="language", not_measured="texts are too short"), None
            else:
                yield metric, gxe.ExpectColumnMeanToBeBetween(column="in_language", min_value=metric.low)
        elif check == "labels_in_every_split" and not labels.per_row:
            for split in SPLITS:
                present = set(frame.loc[frame["split"] == split, "label"])
                if present:
                    absent = [name for name in labels.names if name not in present]
                    named = f" ({', '.join(absent[:10])})" if absent else ""
                    expectation = gxe.ExpectColumnDistinctValuesToContainSet(
                        column="label", value_set=list(labels.names), row_condition=Column("split") == split
                    )
                    yield DatasetMetric(check, f"labels absent from {split}{named}", high=0), expectation
        elif check == "rationale_coverage":
            for column in frame.columns:
                if column.startswith(RATIONALE_CHARACTERS):
                    name = f"rows with a rationale of source {column.removeprefix(RATIONALE_CHARACTERS)!r}"
                    low = config.min_rationale_coverage
                    share = gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(column=column, min_value=low)
                    yield DatasetMetric(check, name, low=low), share
        for metric in (metric for metric in metrics if metric.check == check):
            limits = {"min_value": metric.low, "max_value": metric.high}
            is_measured = metric.value is not None
            yield metric, gxe.ExpectColumnMaxToBeBetween(column=metric.name, **limits) if is_measured else None


def _run_suite(
    name: str, frame: pd.DataFrame, expectations: Sequence[tuple[str, Expectation]], severities: dict[str, Severity]
) -> CheckedSuite:
    """Hold a frame of measures against expectations, given as (check, expectation)."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.util import convert_to_json_serializable

    # This logger resets its level at import.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("examples").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name=name)
    for number, (check, expectation) in enumerate(expectations):
        expectation.severity = FailureSeverity(GX_SEVERITIES[severities[check]])
        expectation.meta = {"check": check, "title": CHECKS[check]["title"], "number": number}
        suite.add_expectation(expectation)
    result = batch.validate(suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False})
    result.results.sort(key=lambda each: each.expectation_config.meta["number"])
    unexpected_rows = []
    for each in result.results:
        if each.exception_info.get("raised_exception"):
            raise RuntimeError(f"expectation on {each.expectation_config.kwargs['column']!r} could not be evaluated")
        unexpected_rows.append(each.result.get("unexpected_index_list") or [])
        kept = {key: each.result[key] for key in KEPT_RESULTS if key in each.result}
        if "partial_missing_list" in kept:
            kept["partial_missing_list"] = sorted(kept["partial_missing_list"])
        each.result = json.loads(json.dumps(convert_to_json_serializable(kept)))  # no numpy types
    result.meta = {key: result.meta[key] for key in ("great_expectations_version", "active_batch_definition")}
    return CheckedSuite(suite, result, unexpected_rows)


def _row_check(name: str, severity: Severity, rows: Sequence[int], examples: pa.Table, labels: LabelsConfig) -> Check:
    """The check of an expectation about rows, which names the first rows that do not meet it."""
    listed = {"label_declared": labels.names, "split_known": SPLITS}.get(name, ())
    found = []
    for row in examples.take(pa.array(rows[:SHOWN_ROWS], pa.int64())).to_pylist():
        what = ""
        if name in ("label_declared", "split_known"):
            value = row["label" if name == "label_declared" else "split"]
            what = f" holds {show_label(value, listed)}"
        elif name == "text_length":
            what = f": {len(row['text']):,} characters"
        found.append(f"{row['place']}{what}")
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    allowed = ", ".join(map(repr, listed[:MAX_LISTED])) + more
    advice = ""
    if name == "label_declared" and labels.per_row:
        advice = "write one of the row's own options (data.columns.options) as its label, never the number of one"
    elif name == "label_declared" and rows:
        advice = f"{undeclared_labels(examples['label'].to_pylist(), labels)}; {CHECKS[name]['fix']}".removeprefix("; ")
    return Check(name, severity, len(rows), tuple(found), tuple(rows), allowed, advice)


def write_data_docs(suites: Sequence[CheckedSuite], folder: Path) -> None:
    """Write the Data Docs of Great Expectations: one page for each suite, `rows.html` and `metrics.html`.

    Their links to styles and scripts of CDNs are removed: the pages need no network, and look plainer.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("rows", "metrics"):
        (folder / f"{name}.html").unlink(missing_ok=True)
    for suite, result, _ in suites:
        document = ValidationResultsPageRenderer().render(result)
        page = DefaultJinjaPageView().render(document, template="page_minimal.j2")
        page = re.sub(r"<link[^>]*>|<script[^>]*src=[^>]*>\s*</script>|url\('https?:[^)]*\)", "", page)
        # Links to pages that are not built.
        page = re.sub(r'<a [^>]*href="\.\./[^>]*>(.*?)</a>', r"\1", page, flags=re.DOTALL)
        page = page.replace("</head>", f"<style>{DATA_DOCS_STYLE}</style></head>", 1)
        write_text(folder / f"{suite.name}.html", page)
