"""Decides and explains a file of calls, or says why a call is deferred to a person; Parquet, CSV or JSON Lines in,
Parquet out, and a table for people beside it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.jobs import InferenceConfig
from r2d.errors import DataError, ModelError
from r2d.inference.calls import Call, read_calls, scan_calls
from r2d.inference.decide import REMARKED, Answer, Answerer
from r2d.inference.output import DECISIONS_SCHEMA, InferenceModel, Parts, Plan, begun_plan
from r2d.inference.table import write_table
from r2d.modeling.model_folder import read_model_facts
from r2d.reports.progress import Progress

logger = logging.getLogger(__name__)


class Share(NamedTuple):
    """Every `of`-th part of an output, from part `number` on, which is counted from 0."""

    number: int
    of: int


WHOLE = Share(0, 1)
_loading = threading.Lock()
"""Shares may be threads of one process, and transformers cannot load two models at the same time in one."""


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
    num_unmentioned: int
    """Rationales that claim or deny a finding of which the call says nothing."""
    num_other_label: int
    """Rationales that state another label than the one shown."""


def infer_file(config: InferenceConfig, folder: Path) -> InferenceResult:
    """Decide and explain every call of `config.data`, and write them to `config.output`.

    A killed run keeps its finished parts: the same call resumes there, and the output has the same bytes as that of a
    run never killed, or of one whose parts were decided by `infer_share`. A finished output is left as it is, without
    loading the model; so is its table.

    Args:
        folder: where the files of `config.model` lie.

    Raises:
        DataError: the calls cannot be read, or the output was begun with another plan.
        ModelError: the folder holds no model that can decide, or the calls have no column of options for it.
    """
    return infer(config, _checked_model(config, folder), lambda: Answerer.of_model(folder))


def begin_shares(config: InferenceConfig, folder: Path) -> list[Share]:
    """Write the plan of an output, and return the shares of its parts, of which each has at least one.

    Raises as `infer_file` does.
    """
    parts = _parts(config, _checked_model(config, folder))
    if parts.is_finished():
        return []
    with parts.locked():
        num_shares = min(config.shares, len(list(parts.plan.bounds())))
        return [Share(number, num_shares) for number in range(num_shares)]


def infer_share(config: InferenceConfig, folder: Path, share: Share) -> int:
    """Decide the missing parts of a share, and leave them for `infer_file`, which joins all; return their rows.

    Shares of one output may be decided at the same time, on machines that see its folder. Raises as `infer_file` does.
    """
    parts = _parts(config, _checked_model(config, folder))
    with parts.locked(f"share-{share.number}"):
        return _decide_parts(config, parts, lambda: Answerer.of_model(folder), share)


def _checked_model(config: InferenceConfig, folder: Path) -> InferenceModel:
    if read_model_facts(folder).labels.per_row != (config.data.columns.options is not None):
        raise ModelError(
            f"{config.model}: a model that was trained with data.labels.per_row needs data.columns.options, and no "
            "other takes it; add or remove that column"
        )
    return InferenceModel.of(config.model, folder)


def _parts(config: InferenceConfig, model: InferenceModel) -> Parts:
    """The parts of the output, whose plan follows from calls, model and settings."""
    settings = {
        **config.data.model_dump(mode="json", exclude={"path", "format"}),
        "format": config.data.resolved_format,
        "batch_size": config.batch_size,
        "rows_per_part": config.rows_per_part,
        "output_columns": DECISIONS_SCHEMA.names,
    }
    begun = begun_plan(config.predictions)  # by an earlier run, or by `begin_shares`
    calls = scan_calls(config.data, None if begun is None else begun.input)
    return Parts(config.predictions, Plan(model, calls, settings, version("reason2decide")))


def infer(config: InferenceConfig, model: InferenceModel, load: Callable[[], Answerer]) -> InferenceResult:
    """`infer_file` with any predictor; `load` is called only when there is something to decide."""
    table = config.table
    if table is not None and table.exists() and not config.predictions.exists():
        raise DataError(f"{table}: is there and is of no batch inference here; give another output")
    parts = _parts(config, model)
    if parts.is_finished():
        logger.info("batch inference: %s is finished already", parts.output)
        parts.remove()
    else:
        with parts.locked():
            _decide_parts(config, parts, load)
            parts.join()
    if table is not None and not table.exists():
        write_table(parts.output, table, config.data if config.with_text else None)
    with pq.ParquetFile(parts.output) as file:
        reasons = Counter[str]()
        num_remarked = Counter[str]()
        for batch in file.iter_batches(columns=["why", *REMARKED]):
            reasons.update(batch.column("why").drop_null().to_pylist())
            num_remarked.update({name: sum(map(bool, batch.column(name).to_pylist())) for name in REMARKED})
        num_rows, why = file.metadata.num_rows, dict(reasons.most_common())
    counts = [num_remarked[name] for name in REMARKED]
    return InferenceResult(
        str(parts.output), None if table is None else str(table), model.name, num_rows, reasons.total(), why, *counts
    )


def _decide_parts(config: InferenceConfig, parts: Parts, load: Callable[[], Answerer], share: Share = WHOLE) -> int:
    """Decide every part of a share that is missing, in order, and return the rows decided; a DataError where the input
    has changed since it was scanned."""
    plan = parts.plan
    own = dict(list(plan.bounds())[share.number :: share.of])
    missing = {start: end for start, end in own.items() if not parts.has(start, end)}
    if not missing:
        return 0
    with _loading:
        answerer = load()
    calls = read_calls(config.data)
    num_rows, num_missing = (sum(end - start for start, end in bounds.items()) for bounds in (own, missing))
    done = num_rows - num_missing
    logger.info("batch inference: %s rows%s", f"{num_rows:,}", f"; {done:,} are decided already" if done else "")
    with Progress("batch inference", num_rows, already_done=done) as progress:
        for start, end in plan.bounds():
            part = list(islice(calls, end - start))
            if len(part) < end - start:
                break
            if start in missing:
                answers = answerer.answer(part, batch_size=config.batch_size, on_progress=progress.after(done))
                parts.write(start, table_of(part, answers, first_row=start, model_name=plan.model.name))
                done += len(part)
                progress.update(done)
        else:
            if next(calls, None) is None:
                return num_missing
    raise DataError(f"{config.data.path}: changed while it was read; run again on a file that nobody writes to")


def table_of(calls: Sequence[Call], answers: Sequence[Answer], *, first_row: int, model_name: str) -> pa.Table:
    """A table of `DECISIONS_SCHEMA`, a row for each call, counted from `first_row`."""
    rows = []
    for row, (call, answer) in enumerate(zip(calls, answers, strict=True), first_row):
        decision = answer.decision
        probabilities = decision.label_probabilities if decision else {}
        values = {
            "row": row,
            "id": call.id,
            "model": model_name,
            "text_characters": None if call.text is None else len(call.text),
            "label_probability": decision.confidence if decision and decision.valid else None,
        }
        rows.append(answer.as_row() | values | {"label_probabilities": list(probabilities.items())})
    return pa.Table.from_pylist(rows, schema=DECISIONS_SCHEMA)
