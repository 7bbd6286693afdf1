"""Half a surrogate pair, which JSON can hold and no file can: such a record is malformed, whatever it says."""

from __future__ import annotations

from collections.abc import Iterable

from r2d.rationales.records import Record

TEXTS = ("record_id", "example_id", "content", "rationale", "label", "author", "prompt_hash", "created_at", "edits")


def only_unicode(records: Iterable[Record]) -> list[Record]:
    """The records, with one of the same place for each whose texts could not be written."""
    return [record if _is_unicode(record) else _without_texts(record) for record in records]


def _is_unicode(record: Record) -> bool:
    try:
        "".join(getattr(record, field) or "" for field in TEXTS).encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_texts(record: Record) -> Record:
    place = {"source": record.source, "file": record.file, "row": record.row, "order": record.order}
    return Record(**place, reason="malformed_record", detail="half a surrogate pair")  # type: ignore[arg-type]
