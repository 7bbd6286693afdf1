"""Rationales that people wrote: exports of Label Studio and Argilla, and tables."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from r2d.config.rationales import ArgillaSource, CsvSource, LabelStudioSource
from r2d.data.readers.files import find_files
from r2d.data.readers.rows import check_columns, csv_records
from r2d.errors import DataError
from r2d.rationales.readers.items import Item, id_text, joined_text, read_items, read_text, time_text
from r2d.rationales.records import Record


def read_label_studio(name: str, source: LabelStudioSource) -> list[Record]:
    """One record for each annotation and each draft of a JSON export: tasks with annotations, or the flat JSON-MIN.

    Predictions are a model's and give none, nor does a task that is not annotated.
    """
    items = read_items(name, source.paths, form="list")
    return [record for item in items for record in _label_studio_records(source, item)]


def _label_studio_records(source: LabelStudioSource, item: Item) -> Iterator[Record]:
    task = item.value
    if not isinstance(task, dict):
        yield item.malformed("a task")
        return
    annotations, drafts = task.get("annotations", task.get("completions")), task.get("drafts")
    if annotations is None and "data" not in task:  # JSON-MIN; its `id` is the task's number, whatever the data says
        label, rationale = task.get(source.label_field), task.get(source.rationale_field)
        label = label.get("choices") if isinstance(label, dict) else label
        if label is None and rationale is None:
            yield item.record(reason="malformed_record", detail="neither annotations nor fields of them")
            return
        has_id = source.id_field != "id"
        yield item.written(
            id_text(task.get(source.id_field)) if has_id else None,
            joined_text(label, ", "),
            joined_text(rationale),
            no_id="no id field in data" if has_id else "in JSON-MIN the field id is the task's number",
            cancelled="was_cancelled" if task.get("was_cancelled") else "",
            record_id=id_text(task.get("annotation_id")) or "",
            author=_annotator(task.get("annotator")),
            created_at=time_text(task.get("created_at")),
        )
        return
    data = task.get("data")
    example_id = id_text(data.get(source.id_field)) if isinstance(data, dict) else None
    for kind in (annotations, drafts):
        if kind is not None and not isinstance(kind, list):
            detail = "annotations or drafts are no list"
            yield item.record(example_id=example_id, reason="malformed_record", detail=detail)
    for annotation in annotations if isinstance(annotations, list) else []:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list):
            detail = "an annotation without a list of results"
            yield item.record(example_id=example_id, reason="malformed_record", detail=detail)
            continue
        yield item.written(
            example_id,
            _regions_text(results, source.label_field, "choices", ", "),
            _regions_text(results, source.rationale_field, "text", "\n"),
            no_id="no id field in data",
            cancelled="was_cancelled" if annotation.get("was_cancelled") else "",
            record_id=id_text(annotation.get("id")) or "",
            author=_annotator(annotation.get("completed_by")),
            created_at=time_text(annotation.get("created_at")),
            edits=id_text(annotation.get("parent_annotation")),
        )
    for draft in drafts if isinstance(drafts, list) else []:
        record_id = id_text(draft.get("id") if isinstance(draft, dict) else draft) or ""
        yield item.record(example_id=example_id, record_id=record_id, reason="cancelled", detail="draft")


def _regions_text(results: Sequence[Any], field: str, kind: str, separator: str) -> str | None:
    """The values of all regions of a field as one text."""
    values = [
        result.get("value") for result in results if isinstance(result, dict) and result.get("from_name") == field
    ]
    texts = [joined_text(value.get(kind), separator) for value in values if isinstance(value, dict)]
    return separator.join(text for text in texts if text) or None


def _annotator(value: Any) -> str | None:
    """An annotator's number or pseudonym; never a name or an address, of which only a hash is kept."""
    if isinstance(value, dict):
        value = value.get("id", value.get("email"))
    text = id_text(value)
    if text is None or not set("@ ") & set(text):
        return text
    return f"annotator-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


class Response(NamedTuple):
    """The answer of one user to one question."""

    question: str
    value: Any
    user: Any
    status: Any


def read_argilla(name: str, source: ArgillaSource) -> list[Record]:
    """One record for each user who responded, in an export of either major version or in flat rows.

    Suggestions are a model's and give none, nor does a record without responses.
    """
    return [record for item in read_items(name, source.paths) for record in _argilla_records(source, item)]


def _argilla_records(source: ArgillaSource, item: Item) -> Iterator[Record]:
    value = item.value
    if not isinstance(value, dict):
        yield item.malformed("a record")
        return
    responses = _argilla_responses(value, (source.label_field, source.rationale_field))
    if responses is None:
        yield item.record(reason="malformed_record", detail="no responses in a known shape")
        return
    places = [value, value.get("metadata"), value.get("fields")]
    ids = [id_text(place.get(source.id_field)) for place in places if isinstance(place, dict)]
    by_user: dict[tuple[str | None, int], dict[str, Response]] = {}
    for response in responses:
        author, turn = _annotator(response.user), 0
        while response.question in by_user.get((author, turn), {}):
            turn += 1
        by_user.setdefault((author, turn), {})[response.question] = response
    for (author, _), answers in by_user.items():
        unsent = [answer.status for answer in answers.values() if answer.status not in (None, "submitted")]
        label, rationale = answers.get(source.label_field), answers.get(source.rationale_field)
        yield item.written(
            next((example_id for example_id in ids if example_id is not None), None),
            joined_text(label.value, ", ") if label else None,
            joined_text(rationale.value) if rationale else None,
            no_id="no id field",
            cancelled=next((s if s in ("draft", "discarded", "pending") else "not submitted" for s in unsent), ""),
            author=author,
        )


def _argilla_responses(value: dict[str, Any], questions: tuple[str, str]) -> list[Response] | None:
    """The responses of all users to the two questions, in any of Argilla's shapes; None in another shape."""
    responses = value.get("responses")
    result: list[Response] = []
    if isinstance(responses, dict):  # {question: [{value, user_id, status}]}
        for question in questions:
            answers = responses.get(question) or []
            if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
                return None
            result += [Response(question, *map(answer.get, ("value", "user_id", "status"))) for answer in answers]
        return result
    if isinstance(responses, list):  # Argilla 1: [{user_id, status, values: {question: {value}}}]
        for response in responses:
            values = response.get("values") if isinstance(response, dict) else None
            if not isinstance(response, dict) or not isinstance(values, dict | None):
                return None
            for question in questions:
                answer = (values or {}).get(question)
                if isinstance(answer, dict) or (values is None and question == questions[1]):
                    text = answer.get("value") if isinstance(answer, dict) else None
                    result.append(Response(question, text, response.get("user_id"), response.get("status")))
        return result
    flat = [question for question in questions if f"{question}.responses" in value]
    if not flat and ("responses" in value or not ({"fields", "_server_id"} & value.keys())):
        return None
    for question in flat:  # {question.responses: [value], question.responses.users: [...], question.responses.status}
        answers = value[f"{question}.responses"]
        if not isinstance(answers, list | None):
            return None
        columns = [value.get(f"{question}.responses.{part}") for part in ("users", "status")]
        for place, answer in enumerate(answers or []):
            details = [
                column[place] if isinstance(column, list) and place < len(column) else None for column in columns
            ]
            result.append(Response(question, answer, *details))
    return result


COLUMNS = {
    "example_column": "example_id",
    "rationale_column": "rationale",
    "id_column": "record_id",
    "edits_column": "edits",
    "label_column": "label",
    "author_column": "author",
    "time_column": "created_at",
}
"""Config key of a column of a table -> field of the record."""


def read_table(name: str, source: CsvSource) -> list[Record]:
    """One record for each row that is not blank; a row of another length than the header is malformed."""
    section = f"rationales.sources.{name}"
    records = []
    for file in find_files(source.paths, f"{section}.paths"):
        text = io.StringIO(read_text(file, section, source.encoding), newline="")
        header: list[str] = []
        for line, fields, fault in csv_records(text, source.delimiter):
            if "end of data" in fault:
                raise DataError(
                    f"{file}: the row that begins on line {line} opens a quote that never closes; close it, and "
                    'double a quote within a field ("")'
                )
            if not header:
                if not fault:
                    header = [column.strip() for column in fields]
                    places = _column_places(source, header, file, section)
                continue
            item = Item(name, file.name, line, fields)
            if fault or len(fields) != len(header):
                detail = f"{len(fields or ())} fields, the header has {len(header)}"
                detail = "a quote within a field that is not quoted" if fault else detail
                records.append(item.record(reason="malformed_record", detail=detail))
                continue
            values = {field: fields[place].strip() or None for field, place in places.items()}
            values |= {"rationale": fields[places["rationale"]], "created_at": time_text(values.get("created_at"))}
            values["record_id"] = values.get("record_id") or ""
            records.append(item.written(no_id="no example id", **{"label": None} | values))
        if not header:
            _column_places(source, header, file, section)
    return records


def _column_places(source: CsvSource, header: Sequence[str], file: Path, section: str) -> dict[str, int]:
    """Field of the record -> place of its column."""
    columns = {key: column.strip() for key in COLUMNS if (column := getattr(source, key)) is not None}
    check_columns(columns, header, f"{file} at delimiter {source.delimiter!r}", section=f"{section}.")
    return {COLUMNS[key]: header.index(column) for key, column in columns.items()}
