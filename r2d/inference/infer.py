"""The door: a file of calls in, a Parquet file of decisions with their rationales out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
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

if TYPE_CHECKING:
    from r2d.inference.decide import Decides

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0


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
    missing = {start for start, end in parts.bounds() if not parts.has(start, end)}
    if not missing:
        return
    predictor = load()
    num_missing = sum(end - start for start, end in parts.bounds() if start in missing)
    progress = _Progress(parts.num_rows, num_missing)
    rows = read_calls(config.data)
    for start, end in parts.bounds():
        some = list(islice(rows, end - start))
        if len(some) < end - start:
            break
        if start in missing:
            decided = decide_calls(
                some,
                predictor,
                first_row=start,
                model=model.name,
                batch_size=config.batch_size,
                on_progress=progress.within_part,
            )
            parts.write(start, decided)
            progress.part_done(len(some))
    else:
        if next(rows, None) is None:
            return
    raise DataError(f"{config.data.path}: changed while it was read; run again on a file that nobody writes to")


class _Progress:
    """A log line every few seconds; speed and time left are those of this session."""

    def __init__(self, num_rows: int, num_missing: int) -> None:
        self.num_rows = num_rows
        self.kept = num_rows - num_missing
        self.done = 0
        self.started = self.said = time.monotonic()
        kept = f"; {self.kept:,} are decided already" if self.kept else ""
        logger.info("batch inference: %s rows%s", f"{num_rows:,}", kept)

    def within_part(self, done: int, total: int) -> None:
        """So many rows of the part at hand are decided."""
        self._say(self.done + done)

    def part_done(self, num_rows: int) -> None:
        """A part is written."""
        self.done += num_rows
        self._say(self.done, always=self.kept + self.done == self.num_rows)

    def _say(self, done: int, *, always: bool = False) -> None:
        now = time.monotonic()
        if not done or (now - self.said < SECONDS_BETWEEN_LINES and not always):
            return
        self.said = now
        speed = done / max(now - self.started, 1e-9)
        so_far = self.kept + done
        left = timedelta(seconds=round((self.num_rows - so_far) / speed))
        shown = (f"{so_far:,}", f"{self.num_rows:,}", f"{speed:,.0f}", left)
        logger.info("batch inference: %s of %s rows, %s rows/s, %s left", *shown)


def _result(output: Path, model: str) -> InferenceResult:
    """Counted in the output itself, part by part."""
    num_rows, why = 0, Counter[str]()
    with pq.ParquetFile(output) as opened:
        for batch in opened.iter_batches(columns=["why"]):
            num_rows += batch.num_rows
            counts = batch.column("why").drop_null().value_counts().to_pylist()
            why.update({entry["values"]: entry["counts"] for entry in counts})
    return InferenceResult(str(output), model, num_rows, why.total(), dict(why.most_common()))
