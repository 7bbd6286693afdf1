"""The output while it grows: parts beside it, each whole and each made by the same plan, joined at the end.

| beside `out.parquet` | what |
|---|---|
| `out.parquet.parts/plan.json` | model, input and settings that all parts are made by |
| `out.parquet.parts/part-000012.parquet` | a finished part; its footer names the plan's hash and its rows |
| `out.parquet.partial` | the joined file, for as long as it is written |

Every file is written aside, brought to the disk, and renamed: what bears its final name is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from r2d.errors import DataError
from r2d.inference.decide import DECISIONS_SCHEMA
from r2d.training.fingerprint import differences

logger = logging.getLogger(__name__)

PLAN_KEY = b"r2d.plan"
ROWS_KEY = b"r2d.rows"
COMPRESSION = "zstd"


class Parts:
    """The parts of one output."""

    def __init__(self, output: Path, plan: Mapping[str, Any]) -> None:
        """Nothing is touched yet.

        Args:
            plan: all that decides the bytes of the output, as JSON; `num_rows` and `rows_per_part` below `input` and
                `settings`.
        """
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")
        self.plan = plan
        self.num_rows: int = plan["input"]["num_rows"]
        self.rows_per_part: int = plan["settings"]["rows_per_part"]
        self.hash = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()

    def bounds(self) -> Iterator[tuple[int, int]]:
        """First row and end of each part, in order."""
        for start in range(0, self.num_rows, self.rows_per_part):
            yield start, min(start + self.rows_per_part, self.num_rows)

    def is_finished(self) -> bool:
        """Whether the output is there, made by this very plan.

        Raises:
            DataError: another plan made it, or something else.
        """
        if not self.output.exists():
            return False
        theirs = plan_of(self.output)
        if theirs is None:
            raise DataError(f"{self.output}: is there and is no output of a batch inference; give another output")
        if theirs != self.plan:
            raise DataError(
                f"{self.output}: is there, made with another model, input or setting:\n"
                f"{_differences(theirs, self.plan)}\nGive another output, or remove that file"
            )
        return True

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process alone, with the plan in it.

        Raises:
            DataError: another process works on it, or it was begun by another plan.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                self._take_up_plan()
                yield
        except Timeout:
            raise DataError(f"{self.folder}: another process works on this output; wait for it to end") from None

    def _take_up_plan(self) -> None:
        path = self.folder / "plan.json"
        if not path.exists():
            _write_aside(path, lambda aside: aside.write_text(json.dumps(self.plan, indent=2), encoding="utf-8"))
            return
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if theirs != self.plan:
            raise DataError(
                f"{self.folder}: was begun with another model, input or setting, and cannot be finished so:\n"
                f"{_differences(theirs, self.plan)}\nRun what it was begun with, remove that folder to begin anew, or "
                "give another output"
            )

    def has(self, start: int, end: int) -> bool:
        """Whether the part with these rows is there and whole; one that is damaged is decided again."""
        path = self._path(start)
        if not path.exists():
            return False
        try:
            with pq.ParquetFile(path) as part:
                facts = part.schema_arrow.metadata
                if part.metadata.num_rows == end - start and facts == self._facts(start, end):
                    return True
        except (pa.ArrowException, OSError):
            pass
        logger.warning("%s is damaged; its rows are decided again", path)
        return False

    def write(self, start: int, table: pa.Table) -> None:
        """Write the part that begins with this row."""
        marked = table.replace_schema_metadata(self._facts(start, start + len(table)))
        _write_aside(self._path(start), lambda aside: pq.write_table(marked, aside, compression=COMPRESSION))

    def join(self) -> None:
        """All parts, each a row group, as the output; then the parts go."""

        def write(aside: Path) -> None:
            facts = {PLAN_KEY: json.dumps(self.plan).encode()}
            schema = DECISIONS_SCHEMA.with_metadata(facts)
            with pq.ParquetWriter(aside, schema, compression=COMPRESSION) as writer:
                for start, end in self.bounds():
                    with pq.ParquetFile(self._path(start)) as part:
                        writer.write_table(part.read().replace_schema_metadata(facts), row_group_size=end - start)

        _write_aside(self.output, write)
        self.remove()

    def remove(self) -> None:
        """Remove what is no longer needed beside the output."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, start: int) -> Path:
        return self.folder / f"part-{start // self.rows_per_part:06d}.parquet"

    def _facts(self, start: int, end: int) -> dict[bytes, bytes]:
        return {PLAN_KEY: self.hash.encode(), ROWS_KEY: f"{start}:{end}".encode()}


def plan_of(predictions: Path) -> dict[str, Any] | None:
    """The plan that made an output; None where no batch inference did.

    Raises:
        DataError: the file cannot be read as Parquet.
    """
    try:
        with pq.ParquetFile(predictions) as opened:
            facts = opened.schema_arrow.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{predictions}: is no whole Parquet file ({type(error).__name__}); give the output of a batch inference"
        ) from None
    plan: dict[str, Any] | None = json.loads(facts[PLAN_KEY]) if PLAN_KEY in facts else None
    return plan


def _write_aside(path: Path, write: Callable[[Path], object]) -> None:
    aside = path.with_name(f"{path.name}.partial")
    write(aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    return "\n".join(f"  {one.key}: {one.theirs!r} then, {one.ours!r} now" for one in differences(theirs, ours))
