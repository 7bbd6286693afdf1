"""JSON exports of Label Studio: tasks with annotations, and the flat JSON-MIN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from r2d.config.rationales import LabelStudioSource
from r2d.data.readers.files import find_files
from r2d.rationales.readers.items import Item, id_text, joined_text, read_list, time_text
from r2d.rationales.readers.written import annotator, missing
from r2d.rationales.records import Record


def read_label_studio(name: str, source: LabelStudioSource) -> list[Record]:
    """One record for each annotation and each draft. Predictions are a model's; a task not annotated gives none.

    Raises:
        DataError: a file is no JSON list.
    """
    key = f"rationales.sources.{name}"
    items = [item for file in find_files(source.paths, f"{key}.paths") for item in read_list(file, key)]
    return [record for item in items for record in _task_records(name, source, item)]


def _task_records(name: str, source: LabelStudioSource, item: Item) -> Iterator[Record]:
    task = item.value
    common: dict[str, Any] = {"source": name, "file": item.file, "row": item.row}
    if not isinstance(task, dict):
        yield Record(**common, reason="malformed_record", detail=f"a {type(task).__name__}, not a task")
        return
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None and "data" not in task:
        yield _flat_record(source, task, common)
        return
    data = task.get("data")
    common["example_id"] = id_text(data.get(source.id_field)) if isinstance(data, dict) else None
    for kind in (annotations, task.get("drafts")):
        if kind is not None and not isinstance(kind, list):
            yield Record(**common, reason="malformed_record", detail="annotations or drafts are no list")
    for annotation in annotations if isinstance(annotations, list) else []:
        yield _annotation_record(source, annotation, common)
    for draft in task["drafts"] if isinstance(task.get("drafts"), list) else []:
        record_id = id_text(draft.get("id") if isinstance(draft, dict) else draft)
        yield Record(**common, record_id=record_id or "", reason="cancelled", detail="draft")


def _annotation_record(source: LabelStudioSource, annotation: Any, common: dict[str, Any]) -> Record:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
        return Record(**common, reason="malformed_record", detail="an annotation without a list of results")
    common = common | {
        "record_id": id_text(annotation.get("id")) or "",
        "author": annotator(annotation.get("completed_by")),
        "created_at": time_text(annotation.get("created_at")),
        "edits": id_text(annotation.get("parent_annotation")),
    }
    if annotation.get("was_cancelled"):
        return Record(**common, reason="cancelled", detail="was_cancelled")
    label = _values(annotation["result"], source.label_field, "choices", ", ")
    rationale = _values(annotation["result"], source.rationale_field, "text", "\n")
    return _written(common, label, rationale)


def _written(common: dict[str, Any], label: str | None, rationale: str | None) -> Record:
    reason = missing(rationale, label)
    if common.get("example_id") is None:
        return Record(**common, label=label, rationale=rationale, reason="no_id", detail="no id field in data")
    return Record(**common, label=label, rationale=rationale, reason=reason)


def _values(results: list[Any], field: str, kind: str, separator: str) -> str | None:
    """What all regions of a field say, as one text."""
    values = [
        result.get("value") for result in results if isinstance(result, dict) and result.get("from_name") == field
    ]
    texts = [joined_text(value.get(kind), separator) for value in values if isinstance(value, dict)]
    return separator.join(text for text in texts if text) or None


def _flat_record(source: LabelStudioSource, task: dict[str, Any], common: dict[str, Any]) -> Record:
    """Of JSON-MIN, where `id` is the task's own number, whatever the data called so."""
    label, rationale = task.get(source.label_field), task.get(source.rationale_field)
    label = label.get("choices") if isinstance(label, dict) else label
    if label is None and rationale is None:
        return Record(**common, reason="malformed_record", detail="neither annotations nor fields of them")
    common = common | {
        "example_id": id_text(task.get(source.id_field)) if source.id_field != "id" else None,
        "record_id": id_text(task.get("annotation_id")) or "",
        "author": annotator(task.get("annotator")),
        "created_at": time_text(task.get("created_at")),
    }
    if task.get("was_cancelled"):
        return Record(**common, reason="cancelled", detail="was_cancelled")
    if source.id_field == "id":
        return Record(**common, reason="no_id", detail="in JSON-MIN the field id is the task's number")
    return _written(common, joined_text(label, ", "), joined_text(rationale))
