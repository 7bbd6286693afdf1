"""The record of the rows that a model was trained on: keyed hashes beside its weights.

The file `trained_rows.safetensors` of a model folder holds 8 bytes for each distinct row (id and text), text and group
of every split but test, and of every model of ours that training started from. No row can be read from it. Who has the
file can test a text or a group that they know or guess: docs/clinical-safety.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from r2d.data.examples import tidy_texts
from r2d.errors import ModelError
from r2d.modeling.manifest import FACTS_FILE, verify_model

TRAINED_ROWS_FILE = "trained_rows.safetensors"
FORMAT_VERSION = "1"
KEY_BYTES, HASH_BYTES = 16, 8
"""Of N rows held against M hashes, about N * M / 2**64 are the same by chance: 5e-10 for 10,000 and a million."""
Hashes = NDArray[np.uint64]


class RowHashes(NamedTuple):
    """Hashes of the three kinds; in those of a table, a row without a group has 0."""

    rows: Hashes
    """Of id and text together."""
    texts: Hashes
    """Compared as the check for duplicates compares them: case and white space do not count."""
    groups: Hashes


@dataclass(frozen=True)
class TrainedRows:
    """The content of `trained_rows.safetensors`."""

    key: bytes
    hashes: RowHashes
    """Each kind sorted and without repetition."""
    is_complete: bool = True
    """False where training started from a model of ours that keeps no record."""

    @classmethod
    def of(cls, examples: pa.Table, start: Path | None, *, seed: str) -> TrainedRows:
        """All but the test rows of some examples, with the record of the model that training starts from.

        Args:
            start: the folder of that model, where it has one. Its key is taken over with its hashes.
            seed: what a new key is made of: a hash of the rows, so that a repeated run writes the same file.
        """
        inherited = None if start is None else read_trained_rows(start)
        key = hashlib.sha256(seed.encode()).digest()[:KEY_BYTES] if inherited is None else inherited.key
        trained = examples.filter(pc.not_equal(examples["split"], "test"))
        hashes = row_hashes(trained, key)
        if inherited is None:
            is_complete = start is None or not (start / FACTS_FILE).exists()
        else:
            hashes = RowHashes(*(np.append(*both) for both in zip(hashes, inherited.hashes, strict=True)))
            is_complete = inherited.is_complete
        return cls(key, RowHashes(*(np.unique(each[each != 0]) for each in hashes)), is_complete)


def row_hashes(examples: pa.Table, key: bytes) -> RowHashes:
    """The hashes of each row of a table of `EXAMPLES_SCHEMA`, in their order."""
    texts = [text for part in tidy_texts(examples["text"]) for text in part.to_pylist()]
    rows = [f"{row_id}\0{text}" for row_id, text in zip(examples["id"].to_pylist(), texts, strict=True)]
    groups = examples["group"].to_pylist()
    return RowHashes(_keyed(rows, key, b"row"), _keyed(texts, key, b"text"), _keyed(groups, key, b"group"))


def _keyed(values: Sequence[str | None], key: bytes, kind: bytes) -> Hashes:
    """BLAKE2b with a key (RFC 7693) of each value, 8 bytes long; 0 for None."""
    encoded = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
    hashes = [
        bytes(HASH_BYTES)
        if value is None
        else hashlib.blake2b(value, digest_size=HASH_BYTES, key=key, person=kind).digest()
        for value in encoded
    ]
    return np.frombuffer(b"".join(hashes), "<u8")


def write_trained_rows(folder: Path, trained: TrainedRows) -> None:
    from safetensors.numpy import save_file

    tensors = {"key": np.frombuffer(trained.key, np.uint8), **trained.hashes._asdict()}
    tensors["is_complete"] = np.array([trained.is_complete], np.uint8)
    save_file(tensors, folder / TRAINED_ROWS_FILE, metadata={"format_version": FORMAT_VERSION})


def read_trained_rows(folder: Path) -> TrainedRows | None:
    """The record of a model folder; None where it keeps none, as those of earlier versions.

    Raises:
        ModelError: the file is damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    verify_model(folder)
    path = folder / TRAINED_ROWS_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            version = (file.metadata() or {}).get("format_version")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if version == FORMAT_VERSION:
            hashes = RowHashes(*(tensors[name] for name in RowHashes._fields))
            return TrainedRows(bytes(tensors["key"]), hashes, bool(tensors["is_complete"][0]))
    except (OSError, SafetensorError, KeyError, IndexError) as error:
        raise ModelError(
            f"{path}: is damaged ({type(error).__name__}); restore it, or remove it: what the model has seen is then "
            "unknown"
        ) from None
    raise ModelError(f"{path}: is of format {version}, this version reads {FORMAT_VERSION}")
