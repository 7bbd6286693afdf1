"""The door: a file of calls in, a Parquet file of decisions with their rationales out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from r2d.config.jobs import InferenceConfig
from r2d.errors import DataError, ModelError
from r2d.inference.calls import read_calls, scan_calls
from r2d.inference.decide import decide_calls
from r2d.inference.model import InferenceModel, inference_model
from r2d.inference.parts import Parts
from r2d.reports.progress import Progress

if TYPE_CHECKING:
    from r2d.inference.decide import Decides

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceResult:
    """What the output holds."""

    output: str
    model: str
    num_rows: int
    num_handed_over: int
    why_handed_over: dict[str, int]
    """Value of `why` -> rows, the most frequent first."""

    def as_facts(self) -> dict[str, Any]:
        """Its fields, for a JSON file."""
        return asdict(self)


def infer_file(config: InferenceConfig, folder: Path) -> InferenceResult:
    """Decide and explain every call of `config.data`, and write them to `config.output`.

    What a killed run has decided is kept: the same call goes on where it stopped, and the output has the same bytes as
    that of a run never killed. A finished output is left as it is, without loading the model.

    Args:
        folder: where the files of `config.model` lie.

    Raises:
        DataError: the calls cannot be read, or the output was begun by something else.
        ModelError: the folder holds no model that can decide, or the calls have no column of options for it.
    """
    from r2d.modeling.model_folder import read_model_facts

    if read_model_facts(folder).labels.per_row != (config.data.columns.options is not None):
        raise ModelError(
            f"{config.model}: a model that was trained with data.labels.per_row needs data.columns.options, and no "
            "other takes it; add or remove that column"
        )

    def load() -> Decides:
        from r2d.modeling.predictor import Predictor

        return Predictor(folder)

    return infer(config, inference_model(config.model, folder), load)


def infer(config: InferenceConfig, model: InferenceModel, load: Callable[[], Decides]) -> InferenceResult:
    """As `infer_file`, with any predictor.

    Args:
        load: makes the predictor; called when there is something to decide.
    """
    calls = scan_calls(config.data)
    plan = {
        "model": {"name": model.name, "hash": model.hash},
        "input": {"num_rows": calls.num_rows, "fingerprint": calls.fingerprint},
        "settings": {
            **config.data.model_dump(mode="json", exclude={"path", "format"}),
            "format": config.data.resolved_format,
            "batch_size": config.batch_size,
            "rows_per_part": config.rows_per_part,
        },
        "version": version("reason2decide"),
    }
    parts = Parts(Path(config.output).expanduser().absolute(), plan)
    if parts.is_finished():
        logger.info("batch inference: %s is finished already", parts.output)
        parts.remove()
    else:
        with parts.opened():
            _decide_parts(config, model, parts, load)
            parts.join()
    return _result(parts.output, model.name)


def _decide_parts(config: InferenceConfig, model: InferenceModel, parts: Parts, load: Callable[[], Decides]) -> None:
    """Decide every part that is missing, in order.

    Raises:
        DataError: the input has another number of rows than when it was scanned.
    """
    missing = {start: end for start, end in parts.bounds() if not parts.has(start, end)}
    if not missing:
        return
    predictor, rows = load(), read_calls(config.data)
    done = parts.num_rows - sum(end - start for start, end in missing.items())
    logger.info("batch inference: %s rows%s", f"{parts.num_rows:,}", f"; {done:,} are decided already" if done else "")
    with Progress("batch inference", parts.num_rows, already_done=done) as progress:
        for start, end in parts.bounds():
            calls = list(islice(rows, end - start))
            if len(calls) < end - start:
                break
            if start in missing:
                table = decide_calls(
                    calls,
                    predictor,
                    first_row=start,
                    model=model.name,
                    batch_size=config.batch_size,
                    on_progress=progress.after(done),
                )
                parts.write(start, table)
                done += len(calls)
                progress.update(done)
        else:
            if next(rows, None) is None:
                return
    raise DataError(f"{config.data.path}: changed while it was read; run again on a file that nobody writes to")


def _result(output: Path, model: str) -> InferenceResult:
    """Counted in the output itself, part by part."""
    num_rows, why = 0, Counter[str]()
    with pq.ParquetFile(output) as opened:
        for batch in opened.iter_batches(columns=["why"]):
            num_rows += batch.num_rows
            counts = batch.column("why").drop_null().value_counts().to_pylist()
            why.update({entry["values"]: entry["counts"] for entry in counts})
    return InferenceResult(str(output), model, num_rows, why.total(), dict(why.most_common()))
