"""The data contract, held with Great Expectations: schema, emptiness, label set, and no id or group in two splits."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from r2d.config import LabelsConfig
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS
from r2d.errors import DataError

Severity = Literal["error", "warn"]


@dataclass(frozen=True)
class Check:
    """One expectation and how the data met it."""

    name: str
    severity: Severity
    num_unexpected: int
    found: str = ""
    """What broke it: ids, labels or columns, never the text of a note."""

    @property
    def passed(self) -> bool:
        return self.num_unexpected == 0


@dataclass(frozen=True)
class DataReport:
    """All checks of one table."""

    num_rows: int
    checks: tuple[Check, ...]

    @property
    def num_warnings(self) -> int:
        return sum(not check.passed for check in self.checks)

    def html(self) -> str:
        """The report as a small table for the dashboard, without anything from the network."""
        rows = "".join(
            f"<tr><td>{'ok' if check.passed else '<b>' + check.severity + '</b>'}</td><td>{escape(check.name)}</td>"
            f"<td style='text-align:right'>{check.num_unexpected:,}</td><td>{escape(check.found)}</td></tr>"
            for check in self.checks
        )
        head = "".join(f"<th scope=col style='text-align:left'>{name}</th>" for name in ("", "check", "rows", "found"))
        style = "font-family:system-ui;border-spacing:1rem .3rem"
        return f"<table style='{style}'><caption>{self.num_rows:,} examples</caption><tr>{head}</tr>{rows}</table>"


def validate(examples: pa.Table, labels: LabelsConfig) -> DataReport:
    """Check a table of `EXAMPLES_SCHEMA` against the data contract.

    Raises:
        DataError: an expectation of severity `error` is not met; lists all of them with counts and row ids.
    """
    if not examples.schema.equals(EXAMPLES_SCHEMA):
        raise DataError(f"examples have columns {examples.column_names}, expected are {EXAMPLES_SCHEMA.names}")
    frame = examples.select(["id", "split", "text", "label", "group"]).to_pandas()
    report = DataReport(len(frame), (*_expectations(frame, labels), *_leaks(frame)))
    broken = [check for check in report.checks if not check.passed and check.severity == "error"]
    if broken:
        lines = [f"  {check.name}: {check.num_unexpected:,} rows, {check.found}" for check in broken]
        raise DataError("\n".join([f"the examples break the data contract ({len(frame):,} rows):", *lines]))
    return report


def _expectations(frame: pd.DataFrame, labels: LabelsConfig) -> list[Check]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    expectations = {
        "every id is there once": gxe.ExpectColumnValuesToBeUnique(column="id"),
        "every text has a word": gxe.ExpectColumnValuesToMatchRegex(column="text", regex=r"\w"),
        "every label is declared": gxe.ExpectColumnValuesToBeInSet(column="label", value_set=list(labels.names)),
        "every split is train, validation or test": gxe.ExpectColumnValuesToBeInSet(
            column="split", value_set=list(SPLITS)
        ),
    }
    suite = gx.ExpectationSuite(name="data contract", expectations=list(expectations.values()))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("examples").add_dataframe_asset("examples")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    results = batch.validate(suite, result_format={"result_format": "COMPLETE"}).results
    names = {(e.column, type(e).__name__): name for name, e in expectations.items()}
    checks = []
    for result in results:
        column = result.expectation_config.kwargs["column"]
        name = names[column, "".join(part.title() for part in result.expectation_config.type.split("_"))]
        ids = frame["id"].iloc[result.result["unexpected_index_list"] or []].tolist()
        checks.append(Check(name, "error", len(ids), _first(ids)))
    return checks


def _leaks(frame: pd.DataFrame) -> Iterator[Check]:
    """Ids, groups and texts that stand in more than one split."""
    severities: dict[str, Severity] = {"id": "error", "group": "error", "text": "warn"}
    for column, severity in severities.items():
        num_splits = frame.dropna(subset=[column]).groupby(column)["split"].nunique()
        leaking = frame[frame[column].isin(num_splits.index[num_splits > 1])]
        yield Check(f"no {column} stands in two splits", severity, len(leaking), _first(leaking["id"].tolist()))


def _first(ids: list[Any]) -> str:
    more = f" and {len(ids) - 5:,} more" if len(ids) > 5 else ""
    return f"ids {', '.join(map(str, ids[:5]))}{more}" if ids else ""
