"""Decides and explains a file of calls: Parquet, CSV or JSON Lines in, Parquet out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from r2d.config.jobs import InferenceConfig
from r2d.errors import DataError, ModelError
from r2d.inference.calls import read_calls, scan_calls
from r2d.inference.decide import decide_calls
from r2d.inference.output import InferenceModel, Parts, Plan
from r2d.modeling.model_folder import read_model_facts
from r2d.modeling.predictor import Predictor
from r2d.reports.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceResult:
    """A finished output."""

    output: str
    model: str
    num_rows: int
    deferral_reasons: Mapping[str, int]
    """Value of `why` -> rows deferred to a person for it, the most frequent first."""

    @property
    def num_deferred(self) -> int:
        return sum(self.deferral_reasons.values())

    def as_facts(self) -> dict[str, Any]:
        """output, model, num_rows, num_handed_over and why_handed_over, for JSON."""
        return {
            "output": self.output,
            "model": self.model,
            "num_rows": self.num_rows,
            "num_handed_over": self.num_deferred,
            "why_handed_over": dict(self.deferral_reasons),
        }


def infer_file(config: InferenceConfig, folder: Path) -> InferenceResult:
    """Decide and explain every call of `config.data`, and write them to `config.output`.

    A killed run keeps its finished parts: the same call resumes there, and the output has the same bytes as that of a
    run never killed. A finished output is left as it is, without loading the model.

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
    return infer(config, InferenceModel.of(config.model, folder), lambda: Predictor(folder))


def infer(config: InferenceConfig, model: InferenceModel, load: Callable[[], Predictor]) -> InferenceResult:
    """`infer_file` with any predictor.

    Args:
        load: makes the predictor; called only when there is something to decide.
    """
    settings = {
        **config.data.model_dump(mode="json", exclude={"path", "format"}),
        "format": config.data.resolved_format,
        "batch_size": config.batch_size,
        "rows_per_part": config.rows_per_part,
    }
    plan = Plan(model, scan_calls(config.data), settings, version("reason2decide"))
    parts = Parts(Path(config.output).expanduser().absolute(), plan)
    if parts.is_finished():
        logger.info("batch inference: %s is finished already", parts.output)
        parts.remove()
    else:
        with parts.locked():
            _decide_parts(config, parts, load)
            parts.join()
    with pq.ParquetFile(parts.output) as file:
        reasons = Counter[str]()
        for batch in file.iter_batches(columns=["why"]):
            reasons.update(batch.column("why").drop_null().to_pylist())
        return InferenceResult(str(parts.output), model.name, file.metadata.num_rows, dict(reasons.most_common()))


def _decide_parts(config: InferenceConfig, parts: Parts, load: Callable[[], Predictor]) -> None:
    """Decide every part that is missing, in order.

    Raises:
        DataError: the input has another number of rows than when it was scanned.
    """
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
                    part, predictor, first_row=start, model_name=model_name, batch_size=config.batch_size,
                    on_progress=on_progress,
                )  # fmt: skip
                parts.write(start, table)
                done += len(part)
                progress.update(done)
        else:
            if next(calls, None) is None:
                return
    raise DataError(f"{config.data.path}: changed while it was read; run again on a file that nobody writes to")
