"""One reader for each format of a rationale source: every record of its files, usable or not; it judges no rationale.

`read_records` is the door; `read_batch` reads batch output of any source. Nothing is dropped and one bad record never
stops a file: it becomes a record with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from r2d.config.rationales import ArgillaSource, BatchSource, CsvSource, LabelStudioSource, TextSource
from r2d.rationales.readers.argilla import read_argilla
from r2d.rationales.readers.batch import prompt_hash, read_batch, read_batch_source
from r2d.rationales.readers.label_studio import read_label_studio
from r2d.rationales.readers.table import read_table
from r2d.rationales.readers.text import read_text_source
from r2d.rationales.readers.unicode import only_unicode
from r2d.rationales.records import Record

__all__ = ["READERS", "prompt_hash", "read_batch", "read_records"]

READERS: dict[str, Callable[[str, Any], list[Record]]] = {
    "text": read_text_source,
    "openai_batch": read_batch_source,
    "vllm_batch": read_batch_source,
    "label_studio": read_label_studio,
    "argilla": read_argilla,
    "csv": read_table,
}


def read_records(
    name: str, source: TextSource | BatchSource | LabelStudioSource | ArgillaSource | CsvSource
) -> list[Record]:
    """Every record of a source's files, in their order.

    Raises:
        DataError: a file is missing, empty, no such format or wrongly encoded, or lacks a declared column.
    """
    return only_unicode(READERS[source.format](name, source))
