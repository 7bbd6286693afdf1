"""The output of a batch inference: its columns, the plan that decides its bytes, and its parts until they are joined.

| beside `out.parquet` | content |
|---|---|
| `out.parquet.parts/plan.json` | model, input and settings that all parts are made by |
| `out.parquet.parts/part-000012.parquet` | a finished part; its footer holds the plan's hash and its rows |
| `out.parquet.partial` | the joined file while it is written |

Every file is written aside, flushed to the disk and renamed: a file with its final name is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.errors import DataError
from r2d.files import held_alone, partial_file
from r2d.inference.calls import CallsSummary
from r2d.modeling.manifest import model_hash, verify_model
from r2d.registered import REGISTERED
from r2d.text import changed_values

logger = logging.getLogger(__name__)

DECISIONS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("label_probability", pa.float64()),
        pa.field("label_probabilities", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("rationale", pa.string()),
        pa.field("handed_over", pa.bool_(), nullable=False),
        pa.field("why", pa.string()),
        pa.field("text_characters", pa.int64()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("contradicted_findings", pa.list_(pa.string()), nullable=False),
        pa.field("unmentioned_findings", pa.list_(pa.string()), nullable=False),
        pa.field("other_labels_stated", pa.list_(pa.string()), nullable=False),
        pa.field("remarks", pa.list_(pa.string()), nullable=False),
    ]
)
"""A row of the output for each row of the input, in its order.

`row` counts from 0; `id` is that of the input and may repeat. `label` and `rationale` are null where the model has not
read the call. `label_probability` is that of `label`, scaled by the model's temperature; null where `label` is none of
the declared ones. `handed_over`: the call is deferred to a person, and `why` is a key of
`r2d.modeling.deferral.DEFERRAL_REASONS`, else null.
The text is not repeated; `text_characters` is its length. `contradicted_findings` are those that the rationale claims
and the text denies, or the reverse, `unmentioned_findings` those that it claims or denies and the text does not
mention, `other_labels_stated` the labels that it states other than `label`; `remarks` says all three in
sentences, and how the call is unlike those of the training.
"""

PLAN_FILE = "plan.json"
PLAN_KEY = b"r2d.plan"
ROWS_KEY = b"r2d.rows"
COMPRESSION = "zstd"
SHOWN_HASH_CHARACTERS = 16


@dataclass(frozen=True)
class InferenceModel:
    """The model of an output."""

    name: str
    """`name/version`; with the start of the hash where the reference is an alias, which may move, or a folder."""
    hash: str
    """SHA-256 over the files of its folder."""

    @classmethod
    def of(cls, reference: str, folder: Path) -> InferenceModel:
        """The model that `name/version`, `name@alias` or a folder means at this moment; its files lie in `folder`.

        Raises:
            ModelError: they are damaged.
        """
        verify_model(folder)
        digest = model_hash(folder)
        name, short = reference.removeprefix(REGISTERED), f"sha256:{digest[:SHOWN_HASH_CHARACTERS]}"
        if Path(reference).is_dir():
            name = short
        elif not re.fullmatch(r"[^/@]+/\d+", name):
            name = f"{name} {short}"
        return cls(name, digest)


@dataclass(frozen=True)
class Plan:
    """All that decides the bytes of an output."""

    model: InferenceModel
    input: CallsSummary
    settings: Mapping[str, Any]
    """How the calls are read and decided, `rows_per_part` among them; JSON values."""
    version: str
    """Of this package."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        facts = json.loads(text)
        facts |= {"model": InferenceModel(**facts["model"]), "input": CallsSummary(**facts["input"])}
        return cls(**facts)

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def bounds(self) -> Iterator[tuple[int, int]]:
        """First row and end of each part, in order."""
        num_rows, step = self.input.num_rows, self.settings["rows_per_part"]
        return ((start, min(start + step, num_rows)) for start in range(0, num_rows, step))

    def differences(self, other: Plan) -> str:
        """Lines that name each value in which the other, earlier plan differs."""
        changes = changed_values(asdict(other), asdict(self), absent="absent")
        return "\n".join(f"  {key}: {then!r} then, {now!r} now" for key, (then, now) in changes.items())


def read_plan(predictions: Path) -> Plan | None:
    """The plan of an output; None for a Parquet file that no batch inference wrote.

    Raises:
        DataError: the file cannot be read as Parquet.
    """
    try:
        with pq.ParquetFile(predictions) as file:
            facts = file.schema_arrow.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{predictions}: is no whole Parquet file ({type(error).__name__}); give the output of `r2d predict-file`"
        ) from None
    return Plan.from_json(facts[PLAN_KEY]) if PLAN_KEY in facts else None


def parts_folder(output: Path) -> Path:
    """Where the parts of an output lie until they are joined."""
    return output.with_name(f"{output.name}.parts")


def begun_plan(output: Path) -> Plan | None:
    """The plan of an output of which parts may lie there; None where it was not begun."""
    path = parts_folder(output) / PLAN_FILE
    return Plan.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


class Parts:
    """The parts of one output. Creating it touches no file."""

    def __init__(self, output: Path, plan: Plan) -> None:
        self.output, self.plan = output, plan
        self.folder = parts_folder(output)
        self._hash = plan.hash.encode()

    def is_finished(self) -> bool:
        """Whether the output exists, made by this plan.

        Raises:
            DataError: another plan made it, or something else.
        """
        if not self.output.exists():
            return False
        earlier = read_plan(self.output)
        if earlier is None:
            raise DataError(f"{self.output}: is there and is no output of a batch inference; give another output")
        if earlier != self.plan:
            raise DataError(
                f"{self.output}: is there, made with another model, input or setting:\n"
                f"{self.plan.differences(earlier)}\nGive another output, or remove that file"
            )
        return True

    @contextmanager
    def locked(self, share: str = "") -> Iterator[None]:
        """Hold the folder for this process alone, with the plan in it.

        Args:
            share: folder within it that is held in its place: processes that decide different parts have one each.

        Raises:
            DataError: it cannot be written, another process works on it, or it was begun by another plan.
        """
        with held_alone(self.folder / share, DataError):
            path = self.folder / PLAN_FILE
            if not path.exists():
                with _flushed_file(path) as aside:
                    aside.write_text(json.dumps(asdict(self.plan), indent=2), encoding="utf-8")
            earlier = Plan.from_json(path.read_text(encoding="utf-8"))
            if earlier != self.plan:
                raise DataError(
                    f"{self.folder}: was begun with another model, input or setting, and cannot be finished so:\n"
                    f"{self.plan.differences(earlier)}\nRun what it was begun with, remove that folder to begin "
                    "anew, or give another output"
                )
            yield

    def has(self, start: int, end: int) -> bool:
        """Whether the part with these rows exists and is whole; one that is damaged is decided again."""
        path = self._path(start)
        if not path.exists():
            return False
        try:
            with pq.ParquetFile(path) as part:
                if part.metadata.num_rows == end - start and part.schema_arrow.metadata == self._facts(start, end):
                    return True
        except (pa.ArrowException, OSError):
            pass
        logger.warning("%s is damaged; its rows are decided again", path)
        return False

    def write(self, start: int, table: pa.Table) -> None:
        """Write the part that begins with this row."""
        with _flushed_file(self._path(start)) as aside:
            facts = self._facts(start, start + len(table))
            pq.write_table(table.replace_schema_metadata(facts), aside, compression=COMPRESSION)

    def join(self) -> None:
        """Write all parts, each as a row group, to the output; then remove them."""
        facts = {PLAN_KEY: json.dumps(asdict(self.plan)).encode()}
        with (
            _flushed_file(self.output) as aside,
            pq.ParquetWriter(aside, DECISIONS_SCHEMA.with_metadata(facts), compression=COMPRESSION) as writer,
        ):
            for start, end in self.plan.bounds():
                with pq.ParquetFile(self._path(start)) as part:
                    writer.write_table(part.read().replace_schema_metadata(facts), row_group_size=end - start)
        self.remove()

    def remove(self) -> None:
        """Remove the folder of the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, start: int) -> Path:
        return self.folder / f"part-{start // self.plan.settings['rows_per_part']:06d}.parquet"

    def _facts(self, start: int, end: int) -> dict[bytes, bytes]:
        """Footer of a part."""
        return {PLAN_KEY: self._hash, ROWS_KEY: f"{start}:{end}".encode()}


@contextmanager
def _flushed_file(path: Path) -> Iterator[Path]:
    """`partial_file` that is flushed to the disk before it is renamed."""
    with partial_file(path) as aside:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
