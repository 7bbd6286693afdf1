"""Decides and explains a file of calls, or says why a call is deferred to a person; Parquet, CSV or JSON Lines in,
Parquet out, and a table for people beside it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.jobs import InferenceConfig
from r2d.errors import DataError, ModelError
from r2d.inference.calls import Call, read_calls, scan_calls
from r2d.inference.output import DECISIONS_SCHEMA, InferenceModel, Parts, Plan
from r2d.inference.table import write_table
from r2d.modeling.model_folder import Calibration, read_model_facts
from r2d.modeling.prompts import LabelSets
from r2d.rationales.claims import ClaimChecker
from r2d.reports.progress import Progress
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.modeling.predictor import Decision, Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceResult:
    """A finished output; the fields are the keys of its JSON."""

    output: str
    """The Parquet file."""
    table: str | None
    """The CSV or Excel file beside it, where one is asked for."""
    model: str
    num_rows: int
    num_handed_over: int
    """Deferred to a person."""
    why_handed_over: dict[str, int]
    """Value of `why` -> rows deferred to a person for it, the most frequent first."""
    num_contradicted: int
    """Rationales that claim a finding that the call denies, or deny one that it reports."""
    num_other_label: int
    """Rationales that state another label than the one shown."""


def infer_file(config: InferenceConfig, folder: Path) -> InferenceResult:
    """Decide and explain every call of `config.data`, and write them to `config.output`.

    A killed run keeps its finished parts: the same call resumes there, and the output has the same bytes as that of a
    run never killed. A finished output is left as it is, without loading the model; so is its table.

    Args:
        folder: where the files of `config.model` lie.

    Raises:
        DataError: the calls cannot be read, or the output was begun with another plan.
        ModelError: the folder holds no model that can decide, or the calls have no column of options for it.
    """
    if read_model_facts(folder).labels.per_row != (config.data.columns.options is not None):
        raise ModelError(
            f"{config.model}: a model that was trained with data.labels.per_row needs data.columns.options, and no "
            "other takes it; add or remove that column"
        )

    def load() -> Predictor:
        from r2d.modeling.predictor import Predictor  # torch: not for a finished output

        return Predictor(folder)

    return infer(config, InferenceModel.of(config.model, folder), load, ClaimChecker.of_model(folder))


def infer(
    config: InferenceConfig, model: InferenceModel, load: Callable[[], Predictor], checker: ClaimChecker
) -> InferenceResult:
    """`infer_file` with any predictor; `load` makes it, and is called only when there is something to decide."""
    table = config.table
    if table is not None and table.exists() and not config.predictions.exists():
        raise DataError(f"{table}: is there and is of no batch inference here; give another output")
    settings = {
        **config.data.model_dump(mode="json", exclude={"path", "format"}),
        "format": config.data.resolved_format,
        "batch_size": config.batch_size,
        "rows_per_part": config.rows_per_part,
        "output_columns": DECISIONS_SCHEMA.names,
    }
    plan = Plan(model, scan_calls(config.data), settings, version("reason2decide"))
    parts = Parts(config.predictions, plan)
    if parts.is_finished():
        logger.info("batch inference: %s is finished already", parts.output)
        parts.remove()
    else:
        with parts.locked():
            _decide_parts(config, parts, load, checker)
            parts.join()
    if table is not None and not table.exists():
        write_table(parts.output, table, config.data if config.with_text else None)
    with pq.ParquetFile(parts.output) as file:
        reasons = Counter[str]()
        remarked = ("contradicted_findings", "other_labels_stated")
        num_remarked = Counter[str]()
        for batch in file.iter_batches(columns=["why", *remarked]):
            reasons.update(batch.column("why").drop_null().to_pylist())
            num_remarked.update({name: sum(map(bool, batch.column(name).to_pylist())) for name in remarked})
        num_rows, why = file.metadata.num_rows, dict(reasons.most_common())
    counts = [num_remarked[name] for name in remarked]
    return InferenceResult(
        str(parts.output), None if table is None else str(table), model.name, num_rows, reasons.total(), why, *counts
    )


def _decide_parts(config: InferenceConfig, parts: Parts, load: Callable[[], Predictor], checker: ClaimChecker) -> None:
    """Decide every part that is missing, in order; a DataError where the input has changed since it was scanned."""
    plan = parts.plan
    missing = {start: end for start, end in plan.bounds() if not parts.has(start, end)}
    if not missing:
        return
    predictor, calls, num_rows = load(), read_calls(config.data), plan.input.num_rows
    done = num_rows - sum(end - start for start, end in missing.items())
    logger.info("batch inference: %s rows%s", f"{num_rows:,}", f"; {done:,} are decided already" if done else "")
    with Progress("batch inference", num_rows, already_done=done) as progress:
        for start, end in plan.bounds():
            part = list(islice(calls, end - start))
            if len(part) < end - start:
                break
            if start in missing:
                model_name, on_progress = plan.model.name, progress.after(done)
                table = decide_calls(
                    part, predictor, checker, first_row=start, model_name=model_name, batch_size=config.batch_size,
                    on_progress=on_progress,
                )  # fmt: skip
                parts.write(start, table)
                done += len(part)
                progress.update(done)
        else:
            if next(calls, None) is None:
                return
    raise DataError(f"{config.data.path}: changed while it was read; run again on a file that nobody writes to")


def decide_calls(
    calls: Sequence[Call],
    predictor: Predictor,
    checker: ClaimChecker,
    *,
    first_row: int,
    model_name: str,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """A table of `DECISIONS_SCHEMA`, a row for each call, counted from `first_row`. A call that the model cannot read
    is deferred and does not fail the others."""
    reasons = [_reason_unreadable(call, predictor.labels) for call in calls]
    readable = [call for call, reason in zip(calls, reasons, strict=True) if reason is None]
    texts = [call.text or "" for call in readable]
    options = None if predictor.labels.declared is not None else [call.options or () for call in readable]
    decisions = predictor.decide(texts, options, batch_size=batch_size, on_progress=on_progress) if readable else []
    in_order = iter(decisions)
    rows = []
    for row, (call, reason) in enumerate(zip(calls, reasons, strict=True), first_row):
        values: dict[str, object] = {"row": row, "id": call.id, "label_probabilities": [], "model": model_name}
        values |= {"contradicted_findings": [], "other_labels_stated": [], "remarks": []}
        values["text_characters"] = None if call.text is None else len(call.text)
        if reason is None:
            decision = next(in_order)
            reason = _reason_deferred(decision, predictor.calibration)
            values["label"], values["rationale"] = decision.label, decision.rationale
            row_labels = list(decision.label_probabilities)
            values |= checker.check(decision.rationale, call.text or "", decision.label, row_labels).as_row()
            values["label_probability"] = decision.confidence if decision.valid else None
            values["label_probabilities"] = list(decision.label_probabilities.items())
        rows.append(values | {"handed_over": reason is not None, "why": reason})
    return pa.Table.from_pylist(rows, schema=DECISIONS_SCHEMA)


def _reason_unreadable(call: Call, labels: LabelSets) -> str | None:
    """Why the model cannot read this call; None where it can."""
    if call.text is None or not call.text.strip():
        return "no_text"
    try:
        call.text.encode()
    except UnicodeEncodeError:
        return "damaged_text"
    if labels.declared is not None:
        return None
    options = call.options or ()
    if len({normalise_label(option) for option in options if option} - {""}) < 2:
        return "no_options"
    try:
        labels.of(options)
    except ModelError:
        return "unusable_options"
    return None


def _reason_deferred(decision: Decision, calibration: Calibration | None) -> str | None:
    """Why a decision goes to a person; None where its label is shown."""
    if not decision.valid:
        return "no_declared_label"
    if calibration is None:
        return "never_evaluated"
    if not decision.deferred:
        return None
    return "no_threshold" if calibration.threshold is None else "below_threshold"
