"""Rationales that people wrote: exports of Label Studio and Argilla, and tables."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from r2d.config.rationales import ArgillaSource, CsvSource, LabelStudioSource
from r2d.data.readers.delimited import DelimitedFile
from r2d.data.readers.files import existing_file, find_files, open_text
from r2d.errors import DataError
from r2d.rationales.readers.items import Item, excluded_by, id_text, joined_text, read_items, time_text
from r2d.rationales.records import Record
from r2d.text import from_no_formula

logger = logging.getLogger(__name__)


def read_label_studio(name: str, source: LabelStudioSource) -> list[Record]:
    """One record for each annotation and each draft of a JSON export: tasks with annotations, or the flat JSON-MIN.

    Predictions are a model's and give none, nor does a task that is not annotated.
    """
    items = read_items(name, source.paths, form="list")
    records = [record for item in items for record in label_studio_records(source, item)]
    _check_fields(name, source, records, [field for item in items for field in _label_studio_fields(item.value)])
    return records


class Field(NamedTuple):
    """A field that an annotation has."""

    name: str
    is_choice: bool  # whether it holds chosen labels


def _label_studio_fields(task: Any) -> Iterator[Field]:
    """The `from_name` of each region of a task; of JSON-MIN the fields that are not Label Studio's own."""
    if not isinstance(task, dict):
        return
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None and "data" not in task:
        for name, value in task.items():
            if name not in JSON_MIN_OWN and isinstance(value, str | dict | list):
                yield Field(name, isinstance(value, dict) and "choices" in value)
    for annotation in annotations if isinstance(annotations, list) else []:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        for result in results if isinstance(results, list) else []:
            if isinstance(result, dict) and isinstance(result.get("from_name"), str):
                value = result.get("value")
                yield Field(result["from_name"], isinstance(value, dict) and "choices" in value)


def _check_fields(
    name: str, source: LabelStudioSource | ArgillaSource, records: Sequence[Record], fields: Sequence[Field]
) -> None:
    """Stop where no annotation has the field of the rationales, or none has the declared field of the labels: the
    check against gold would be off without a word. Say it where only some have a label.

    Raises:
        DataError: names the fields that the annotations have, with their counts.
    """
    section, counts = f"rationales.sources.{name}", Counter(field.name for field in fields)
    found = ", ".join(f"{_plain(field)} {count:,}" for field, count in counts.items())
    if counts and source.rationale_field not in counts:
        raise DataError(
            f"{section}.rationale_field {source.rationale_field!r}: no annotation has it; fields found, with their "
            f"counts: {found}; correct it"
        )
    label_field = _label_field(source)
    has_labels = source.label_field is not None or any(field.is_choice for field in fields)
    if counts and has_labels and label_field not in counts:
        raise DataError(
            f"{section}.label_field {label_field!r}: no annotation has it; fields found, with their counts: "
            f"{found}; correct it, or no rationale would be held against the gold label"
        )
    if has_labels:
        count_stated_labels(f"{section}.label_field {label_field!r}", records)


def _label_field(source: LabelStudioSource | ArgillaSource) -> str:
    return source.label_field or "label"


def _plain(field: str) -> str:
    """A field's name for a message; of what is no plain name, and may be a text, only the length."""
    return field if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", field) else f"({len(field)} characters)"


def count_stated_labels(declared: str, records: Sequence[Record]) -> None:
    """Log how many of the readable records state a label, where not all do.

    Args:
        declared: the config key and the field or column that it names.

    Raises:
        DataError: none does, so that the check against gold would be off without a word.
    """
    readable = [record for record in records if record.reason in (None, "no_rationale")]
    num_stated = sum(bool(record.label and record.label.strip()) for record in readable)
    if readable and not num_stated:
        raise DataError(
            f"{declared}: none of {len(readable):,} records has a label there; correct it, or remove it, and no "
            "rationale is held against the gold label"
        )
    if num_stated < len(readable):
        logger.info(
            "%s: %d of %d records state a label; the others are not held against the gold label",
            declared, num_stated, len(readable),
        )  # fmt: skip


def _min_value(value: Any, kind: str) -> Any:
    """A value of JSON-MIN without the objects `{kind: [...]}` around it or its parts."""
    if isinstance(value, list):
        return [_min_value(part, kind) for part in value]
    return value.get(kind) if isinstance(value, dict) else value


def label_studio_records(source: LabelStudioSource, item: Item) -> Iterator[Record]:
    """One record for each annotation and each draft of a task."""
    task = item.value
    if not isinstance(task, dict):
        yield item.malformed("a task")
        return
    annotations, drafts = task.get("annotations", task.get("completions")), task.get("drafts")
    if annotations is None and "data" not in task:  # JSON-MIN; its `id` is the task's number, whatever the data says
        label = _min_value(task.get(_label_field(source)), "choices")
        rationale = _min_value(task.get(source.rationale_field), "text")
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
            _regions_text(results, _label_field(source), "choices", ", "),
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


JSON_MIN_OWN = (
    "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "was_cancelled",
)  # fmt: skip
"""Fields of a task in JSON-MIN that are Label Studio's own."""


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
    items = read_items(name, source.paths)
    records = [record for item in items for record in _argilla_records(source, item)]
    questions = [Field(question, False) for item in items for question in _argilla_questions(item.value)]
    _check_fields(name, source, records, questions)
    return records


def _argilla_questions(value: Any) -> Iterator[str]:
    """The questions of an Argilla record that somebody answered."""
    responses = value.get("responses") if isinstance(value, dict) else None
    if isinstance(responses, dict):
        yield from (question for question, answers in responses.items() if answers)
    elif isinstance(responses, list):
        for response in responses:
            values = response.get("values") if isinstance(response, dict) else None
            yield from values if isinstance(values, dict) else ()
    elif isinstance(value, dict):
        flat = (key for key, answers in value.items() if key.endswith(".responses") and answers)
        yield from (key.removesuffix(".responses") for key in flat)


def _argilla_records(source: ArgillaSource, item: Item) -> Iterator[Record]:
    value = item.value
    if not isinstance(value, dict):
        yield item.malformed("a record")
        return
    responses = _argilla_responses(value, (_label_field(source), source.rationale_field))
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
        label, rationale = answers.get(_label_field(source)), answers.get(source.rationale_field)
        yield item.written(
            next((example_id for example_id in ids if example_id is not None), None),
            joined_text(label.value, ", ") if label else None,
            joined_text(rationale.value) if rationale else None,
            no_id="no id field",
            cancelled=next((s if s in ("draft", "discarded", "pending") else "not submitted" for s in unsent), ""),
            author=author,
        )


def _argilla_responses(value: dict[str, object], questions: tuple[str, str]) -> list[Response] | None:
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
    "text_column": "text",
    "rationale_column": "rationale",
    "id_column": "record_id",
    "edits_column": "edits",
    "label_column": "label",
    "author_column": "author",
    "time_column": "created_at",
}
"""Config key of a column of a table -> field of the record."""


def read_table(name: str, source: CsvSource) -> list[Record]:
    """One record for each row that is not blank; a row of another length than the header is malformed.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a quote that swallows rows.
    """
    section = f"rationales.sources.{name}"
    columns = {key: column for key in COLUMNS if (column := getattr(source, key)) is not None}
    columns |= {f"only.{column}": column for column in source.only}
    records = []
    for file in find_files(source.paths, f"{section}.paths"):
        existing_file(str(file), f"{section}.paths")
        notes: list[str] = []
        with open_text(file, source.encoding, key=section, notes=notes) as stream:
            table = DelimitedFile(file, stream, source, columns, section=section, prefix=f"{section}.")
            for line, fields, fault, _ in table.records():
                item = Item(name, file.name, line, fields)
                if fields is None:
                    is_short = fault.startswith("has ")
                    detail = f"{fault.removeprefix('has ')} fields, the header has {len(table.header)}"
                    detail = detail if is_short else "a quote within a field that is not quoted"
                    records.append(item.record(reason="malformed_record", detail=detail))
                    continue
                fields = [from_no_formula(field) for field in fields]
                cells = {key: fields[place] for key, place in table.places.items()}
                values = {field: cells[key].strip() or None for key, field in COLUMNS.items() if key in cells}
                values |= {
                    "rationale": fields[table.places["rationale_column"]],
                    "created_at": time_text(values.get("created_at")),
                    "record_id": values.get("record_id") or "",
                }
                cancelled = excluded_by(source.only, {name: cells[f"only.{name}"] for name in source.only})
                records.append(item.written(no_id="no example id", cancelled=cancelled, **{"label": None} | values))
        for note in [*notes, *table.notes]:
            logger.info("%s: %s", file, note)
    if source.label_column is not None:
        count_stated_labels(f"{section}.label_column {source.label_column!r}", records)
    return records
