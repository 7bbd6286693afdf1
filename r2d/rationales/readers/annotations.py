"""Exports of annotation tools, Label Studio and Argilla: one record for each annotation of each annotator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from r2d.config.rationales import ArgillaSource, LabelStudioSource
from r2d.data.readers.files import find_files
from r2d.rationales.readers.items import Item, id_text, joined_text, read_items, time_text
from r2d.rationales.records import Record


def read_label_studio(name: str, source: LabelStudioSource) -> list[Record]:
    """One record for each annotation and each draft of a JSON export: tasks with annotations, or the flat JSON-MIN.

    Predictions are a model's and give none, nor does a task that is not annotated.

    Raises:
        DataError: a file is no JSON list.
    """
    key = f"rationales.sources.{name}"
    items = [
        item for file in find_files(source.paths, f"{key}.paths") for item in read_items(name, file, key, form="list")
    ]
    return [record for item in items for record in _label_studio_records(source, item)]


def _label_studio_records(source: LabelStudioSource, item: Item) -> Iterator[Record]:
    task = item.value
    if not isinstance(task, dict):
        yield item.malformed("a task")
        return
    annotations, drafts = task.get("annotations", task.get("completions")), task.get("drafts")
    data = task.get("data")
    if annotations is None and "data" not in task:
        yield _flat_label_studio_record(source, item)
        return
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
        common = {
            "record_id": id_text(annotation.get("id")) or "",
            "author": _annotator(annotation.get("completed_by")),
            "created_at": time_text(annotation.get("created_at")),
            "edits": id_text(annotation.get("parent_annotation")),
        }
        if annotation.get("was_cancelled"):
            yield item.record(example_id=example_id, reason="cancelled", detail="was_cancelled", **common)
            continue
        label = _regions_text(results, source.label_field, "choices", ", ")
        rationale = _regions_text(results, source.rationale_field, "text", "\n")
        yield item.written(example_id, label, rationale, no_id="no id field in data", **common)
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


def _flat_label_studio_record(source: LabelStudioSource, item: Item) -> Record:
    """The record of a task of JSON-MIN, where `id` is the task's own number, whatever the data calls its id."""
    task = item.value
    label, rationale = task.get(source.label_field), task.get(source.rationale_field)
    label = label.get("choices") if isinstance(label, dict) else label
    if label is None and rationale is None:
        return item.record(reason="malformed_record", detail="neither annotations nor fields of them")
    example_id = id_text(task.get(source.id_field)) if source.id_field != "id" else None
    common = {
        "record_id": id_text(task.get("annotation_id")) or "",
        "author": _annotator(task.get("annotator")),
        "created_at": time_text(task.get("created_at")),
    }
    if task.get("was_cancelled"):
        return item.record(example_id=example_id, reason="cancelled", detail="was_cancelled", **common)
    if source.id_field == "id":
        return item.record(reason="no_id", detail="in JSON-MIN the field id is the task's number", **common)
    return item.written(
        example_id, joined_text(label, ", "), joined_text(rationale), no_id="no id field in data", **common
    )


def read_argilla(name: str, source: ArgillaSource) -> list[Record]:
    """One record for each user who responded, in an export of either major version or in flat rows.

    Suggestions are a model's and give none, nor does a record without responses.

    Raises:
        DataError: a file is neither a JSON list nor JSON Lines.
    """
    key = f"rationales.sources.{name}"
    items = [item for file in find_files(source.paths, f"{key}.paths") for item in read_items(name, file, key)]
    return [record for item in items for record in _argilla_records(source, item)]


class _Response(NamedTuple):
    """The answer of one user to one question."""

    question: str
    value: Any
    user: Any
    status: Any


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
    example_id = next((id_ for id_ in ids if id_ is not None), None)
    by_user: dict[tuple[str | None, int], dict[str, _Response]] = {}
    for response in responses:
        author, turn = _annotator(response.user), 0
        while response.question in by_user.get((author, turn), {}):
            turn += 1
        by_user.setdefault((author, turn), {})[response.question] = response
    for (author, _), answers in by_user.items():
        unsent = [answer.status for answer in answers.values() if answer.status not in (None, "submitted")]
        if unsent:
            status = unsent[0] if unsent[0] in ("draft", "discarded", "pending") else "not submitted"
            yield item.record(example_id=example_id, author=author, reason="cancelled", detail=status)
            continue
        label, rationale = answers.get(source.label_field), answers.get(source.rationale_field)
        yield item.written(
            example_id,
            joined_text(label.value, ", ") if label else None,
            joined_text(rationale.value) if rationale else None,
            no_id="no id field",
            author=author,
        )


def _argilla_responses(value: dict[str, Any], questions: tuple[str, str]) -> list[_Response] | None:
    """The responses of all users to the two questions, in any of Argilla's shapes; None in another shape."""
    responses = value.get("responses")
    found: list[_Response] = []
    if isinstance(responses, dict):  # {question: [{value, user_id, status}]}
        for question in questions:
            answers = responses.get(question) or []
            if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
                return None
            found += [_Response(question, one.get("value"), one.get("user_id"), one.get("status")) for one in answers]
        return found
    if isinstance(responses, list):  # Argilla 1: [{user_id, status, values: {question: {value}}}]
        for response in responses:
            values = response.get("values") if isinstance(response, dict) else None
            if not isinstance(response, dict) or not isinstance(values, dict | None):
                return None
            for question in questions:
                answer = (values or {}).get(question)
                if isinstance(answer, dict) or (values is None and question == questions[1]):
                    text = answer.get("value") if isinstance(answer, dict) else None
                    found.append(_Response(question, text, response.get("user_id"), response.get("status")))
        return found
    flat = [question for question in questions if f"{question}.responses" in value]
    if not flat and ("responses" in value or not ({"fields", "_server_id"} & value.keys())):
        return None
    for question in flat:  # {question.responses: [value], question.responses.users: [...], question.responses.status}
        answers = value[f"{question}.responses"]
        if answers is None:
            continue
        if not isinstance(answers, list):
            return None
        users, states = (value.get(f"{question}.responses.{part}") for part in ("users", "status"))
        found += [_Response(question, one, _at(users, n), _at(states, n)) for n, one in enumerate(answers)]
    return found


def _at(values: Any, place: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else None


def _annotator(value: Any) -> str | None:
    """An annotator's number or pseudonym; never a name or an address, of which only a hash is kept."""
    if isinstance(value, dict):
        value = value.get("id", value.get("email"))
    text = id_text(value)
    if text is None or not set("@ ") & set(text):
        return text
    return f"annotator-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"
