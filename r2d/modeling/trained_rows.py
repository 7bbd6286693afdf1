"""The record of the rows that a model was trained on: keyed hashes beside its weights.

The file `trained_rows.safetensors` of a model folder holds 8 bytes for each distinct row (id and text), text and group
of every split but test, and of every model of ours that training started from. No row can be read from it. Who has the
file can test a text or a group that they know or guess: docs/clinical-safety.md.

Format 2 hashes a plain form of each text: its letters and digits, in one case. Format 1, of earlier versions, hashed
texts in lower case with single spaces; such a record is read, and says that it finds no near copies.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
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
FORMAT_VERSION, EARLIER_VERSION = "2", "1"
KEY_BYTES, HASH_BYTES = 16, 8
"""Of N rows held against M hashes, about N * M / 2**64 are the same by chance: 5e-10 for 10,000 and a million."""
Hashes = NDArray[np.uint64]

MOST_WORDS_AROUND, LEAST_WORDS_WITHIN = 4, 8
"""A trained text of at least so many words is found with so many others before and behind it (`Triage note: ...`)."""


class RowHashes(NamedTuple):
    """Hashes of the three kinds; in those of a table, a row without a group has 0."""

    rows: Hashes
    """Of id and text together."""
    texts: Hashes
    """Case, white space and signs do not count."""
    groups: Hashes
    """Case does not count, nor which signs or spaces part the words of a name."""


@dataclass(frozen=True)
class TrainedRows:
    """The content of `trained_rows.safetensors`."""

    key: bytes
    hashes: RowHashes
    """Each kind sorted and without repetition."""
    is_complete: bool = True
    """False where training started from a model of ours that keeps no record."""
    finds_near_copies: bool = True
    """False where all of it, or what it inherited, is of format 1."""

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
        finds_near_copies = inherited is None or inherited.finds_near_copies
        unique = RowHashes(*(np.unique(each[each != 0]) for each in hashes))
        return cls(key, unique, is_complete, finds_near_copies)

    def holds(self, examples: pa.Table) -> RowFlags:
        """For each row whether the record holds it, its text and its group, or a near copy of the text."""
        tables = [row_hashes(examples, self.key)]
        if not self.finds_near_copies:
            tables.append(_earlier_row_hashes(examples, self.key))
        flags = RowFlags(
            *(
                np.any([np.isin(getattr(table, kind), known) for table in tables], axis=0)
                for kind, known in self.hashes._asdict().items()
            )
        )
        rest = np.flatnonzero(~flags.texts)
        texts = examples["text"].take(pa.array(rest)).to_pylist()
        parts = [list(_parts(text or "")) for text in texts]
        hashes = _keyed([part for of_text in parts for part in of_text], self.key, b"text 2")
        of_row = np.repeat(rest, [len(of_text) for of_text in parts])
        flags.texts[of_row[np.isin(hashes, self.hashes.texts)]] = True
        return flags


class RowFlags(NamedTuple):
    """Flags of each row of a table, as `RowHashes` has hashes."""

    rows: NDArray[np.bool_]
    texts: NDArray[np.bool_]
    groups: NDArray[np.bool_]


def row_hashes(examples: pa.Table, key: bytes) -> RowHashes:
    """The hashes of each row of a table of `EXAMPLES_SCHEMA`, in their order."""
    texts = ["".join(plain_words(text or "")) or text or "" for text in examples["text"].to_pylist()]
    groups = [
        None if group is None else " ".join(plain_words(group)) or group for group in examples["group"].to_pylist()
    ]
    return _hashes(examples, texts, groups, key, " 2")


def _earlier_row_hashes(examples: pa.Table, key: bytes) -> RowHashes:
    """The same as format 1 had them."""
    texts = [text for part in tidy_texts(examples["text"]) for text in part.to_pylist()]
    return _hashes(examples, texts, examples["group"].to_pylist(), key, "")


def _hashes(examples: pa.Table, texts: Sequence[str], groups: Sequence[str | None], key: bytes, form: str) -> RowHashes:
    rows = [f"{row_id}\0{text}" for row_id, text in zip(examples["id"].to_pylist(), texts, strict=True)]
    return RowHashes(
        *(_keyed(of, key, f"{kind}{form}".encode()) for of, kind in ((rows, "row"), (texts, "text"), (groups, "group")))
    )


def plain_words(text: str) -> list[str]:
    """The words of a text in one case, of letters and digits; in other scripts with the marks on them."""
    folded = text.casefold()
    if folded.isascii():
        return _WORD.findall(folded)
    folded = unicodedata.normalize("NFKC", folded)
    return "".join(sign if unicodedata.category(sign)[0] in "LNM" else " " for sign in folded).split()


_WORD = re.compile(r"[a-z0-9]+")


def _parts(text: str) -> Iterator[str]:
    """The plain forms of a text without up to `MOST_WORDS_AROUND` words at its start and its end."""
    words = plain_words(text)
    for before in range(MOST_WORDS_AROUND + 1):
        for behind in range(MOST_WORDS_AROUND + 1):
            if 0 < before + behind <= len(words) - LEAST_WORDS_WITHIN:
                yield "".join(words[before : len(words) - behind])


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
    tensors["finds_near_copies"] = np.array([trained.finds_near_copies], np.uint8)
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
        if version in (FORMAT_VERSION, EARLIER_VERSION):
            hashes = RowHashes(*(tensors[name] for name in RowHashes._fields))
            finds_near_copies = version == FORMAT_VERSION and bool(tensors["finds_near_copies"][0])
            return TrainedRows(bytes(tensors["key"]), hashes, bool(tensors["is_complete"][0]), finds_near_copies)
    except (OSError, SafetensorError, KeyError, IndexError) as error:
        raise ModelError(
            f"{path}: is damaged ({type(error).__name__}); restore it, or remove it: what the model has seen is then "
            "unknown"
        ) from None
    raise ModelError(f"{path}: is of format {version}, this version reads {EARLIER_VERSION} and {FORMAT_VERSION}")
