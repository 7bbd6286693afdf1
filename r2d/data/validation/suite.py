"""The expectations as one Great Expectations suite a table: built from the config, held against measures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from r2d.config.data import LabelsConfig
from r2d.config.validation import Severity, ValidationConfig
from r2d.data.examples import SPLITS
from r2d.data.validation.checks import SHOWN_ROWS, Check
from r2d.data.validation.figures import Figure
from r2d.text import show_name

if TYPE_CHECKING:
    import great_expectations.expectations as gxe

# As it is imported it tells of each of its functions, 200 lines among those of the run.
logging.getLogger("great_expectations").setLevel(logging.WARNING)

FLAGS = {
    "text_present": "text_empty",
    "label_declared": "label_undeclared",
} | {
    name: name
    for name in (
        "control_characters", "mojibake", "rationale_equals_text", "exact_duplicate", "near_duplicate",
        "label_conflict", "text_across_splits", "near_duplicate_across_splits", "group_across_splits", "privacy",
    )
}  # fmt: skip
"""Expectations that a flag is nowhere True -> the column of the flag."""

SHOWN_COLUMNS = {"label_declared": "label", "split_known": "split"}
"""Values that may stand beside the id in a message, unless they look like prose."""


def check_rows(
    frame: pd.DataFrame, places: Sequence[str], labels: LabelsConfig, config: ValidationConfig, privacy: Severity
) -> list[Check]:
    """Every expectation about rows that is switched on, held against the measures of the rows.

    Args:
        frame: of `measure`, and the flag `privacy` where that is to be checked.
        places: where each row stands, for messages.
        privacy: severity of a row that identifies somebody.
    """
    severities = {name: config.severity(name) for name in config.checks()} | {"privacy": privacy}
    expectations = [
        (name, expectation) for name, expectation in _row_expectations(frame, config) if severities[name] != "off"
    ]
    unexpected: dict[str, set[int]] = {}
    for (name, _), result in zip(expectations, _held(frame, [one for _, one in expectations]), strict=True):
        unexpected.setdefault(name, set()).update(result["unexpected_index_list"] or ())
    checks = [_row_check(name, severities[name], sorted(rows), frame, places) for name, rows in unexpected.items()]
    allowed = {"label_declared": _listed(labels.names), "split_known": _listed(SPLITS)}
    return [replace(check, allowed=allowed.get(check.name, "")) for check in checks]


def check_figures(figures: Sequence[Figure], config: ValidationConfig) -> list[Check]:
    """Every expectation about the table, held against its figures."""
    measured = [figure for figure in figures if figure.value is not None]
    frame = pd.DataFrame([{figure.name: figure.value for figure in measured}])
    results = _held(frame, [_between(figure.name, figure.low, figure.high) for figure in measured]) if measured else []
    broken: dict[str, list[str]] = {figure.check: [] for figure in figures}
    for figure, result in zip(measured, results, strict=True):
        if result["unexpected_index_list"]:
            broken[figure.check].append(figure.shown())
    absent = {figure.check: figure.not_measured for figure in figures if figure.value is None}
    return [
        Check(name, config.severity(name), len(found), tuple(found), not_measured=absent.get(name, ""))
        for name, found in broken.items()
    ]


def _row_expectations(frame: pd.DataFrame, config: ValidationConfig) -> Iterator[tuple[str, gxe.Expectation]]:
    import great_expectations.expectations as gxe

    yield "id_present", _between("id_length", 1, None)
    yield "id_unique", gxe.ExpectColumnValuesToBeUnique(column="id")
    yield "split_known", gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))
    yield "text_length", _between("text_characters", config.min_text_characters, config.max_text_characters)
    yield "rationale_length", _between("rationale_shortest", config.min_rationale_characters, None)
    yield "rationale_length", _between("rationale_longest", None, config.max_rationale_characters)
    for name, column in FLAGS.items():
        if column in frame:
            yield name, gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[False])


def _between(column: str, low: float | None, high: float | None) -> gxe.Expectation:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)


def _held(frame: pd.DataFrame, expectations: Sequence[gxe.Expectation]) -> list[dict[str, Any]]:
    """The result of each expectation, in order."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # This one sets its own level when it is imported, and speaks of its temporary folders.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("examples").add_dataframe_asset("examples")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="data contract")
    for number, expectation in enumerate(expectations):
        expectation.meta = {"number": number}
        suite.add_expectation(expectation)
    results = batch.validate(suite, result_format={"result_format": "COMPLETE"}).results
    by_number = {}
    for one in results:
        if one.exception_info.get("raised_exception"):
            raise RuntimeError(f"expectation on {one.expectation_config.kwargs['column']!r} could not be evaluated")
        by_number[one.expectation_config.meta["number"]] = one.result
    return [by_number[number] for number in range(len(expectations))]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 50} more" if len(names) > 50 else ""
    return ", ".join(map(repr, names[:50])) + more


def _row_check(name: str, severity: Severity, rows: Sequence[int], frame: pd.DataFrame, places: Sequence[str]) -> Check:
    found = []
    for row in rows[:SHOWN_ROWS]:
        what = ""
        if name in SHOWN_COLUMNS:
            value = str(frame[SHOWN_COLUMNS[name]].iloc[row])
            what = f" holds {show_name(value) if value else '(empty)'}"
        elif name == "text_length":
            what = f": {frame['text_characters'].iloc[row]:,} characters"
        found.append(f"{places[row]}, id {show_name(str(frame['id'].iloc[row]))}{what}")
    return Check(name, severity, len(rows), tuple(found), tuple(rows))
