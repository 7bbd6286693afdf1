"""Exports of Argilla: records with responses, of both major versions, or flat rows with `<question>.responses`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from r2d.config.rationales import ArgillaSource
from r2d.data.readers.files import find_files
from r2d.rationales.readers.items import Broken, Item, id_text, joined_text, read_list_or_lines
from r2d.rationales.readers.written import annotator, missing
from r2d.rationales.records import Record

Response = tuple[str, Any, Any, Any]
"""Question, value, user and status."""


def read_argilla(name: str, source: ArgillaSource) -> list[Record]:
    """One record for each user who responded. Suggestions are a model's; a record without responses gives none.

    Raises:
        DataError: a file is neither a JSON list nor JSON Lines.
    """
    key = f"rationales.sources.{name}"
    items = [item for file in find_files(source.paths, f"{key}.paths") for item in read_list_or_lines(file, key)]
    return [record for item in items for record in _records(name, source, item)]


def _records(name: str, source: ArgillaSource, item: Item) -> Iterator[Record]:
    value = item.value
    common: dict[str, Any] = {"source": name, "file": item.file, "row": item.row}
    if not isinstance(value, dict):
        fault = value.fault if isinstance(value, Broken) else f"a {type(value).__name__}, not a record"
        yield Record(**common, reason="malformed_record", detail=fault)
        return
    questions = (source.label_field, source.rationale_field)
    responses = _responses(value, questions)
    if responses is None:
        yield Record(**common, reason="malformed_record", detail="no responses in a known shape")
        return
    common["example_id"] = _example_id(value, source.id_field)
    answered: dict[tuple[str | None, int], dict[str, tuple[Any, Any]]] = {}
    for question, answer, user, status in responses:
        turn = 0
        while question in answered.get((annotator(user), turn), {}):
            turn += 1
        answered.setdefault((annotator(user), turn), {})[question] = (answer, status)
    for (user, _), answers in answered.items():
        yield _record(source, answers, common | {"author": user})


def _record(source: ArgillaSource, answers: dict[str, tuple[Any, Any]], common: dict[str, Any]) -> Record:
    unsent = [status for _, status in answers.values() if status not in (None, "submitted")]
    if unsent:
        known = unsent[0] if unsent[0] in ("draft", "discarded", "pending") else "not submitted"
        return Record(**common, reason="cancelled", detail=known)
    label = joined_text(answers.get(source.label_field, (None,))[0], ", ")
    rationale = joined_text(answers.get(source.rationale_field, (None,))[0])
    if common["example_id"] is None:
        return Record(**common, label=label, rationale=rationale, reason="no_id", detail="no id field")
    return Record(**common, label=label, rationale=rationale, reason=missing(rationale, label))


def _example_id(value: dict[str, Any], field: str) -> str | None:
    """The id of the record itself, else of its metadata, else of its fields."""
    places = [value, value.get("metadata"), value.get("fields")]
    ids = [id_text(place.get(field)) for place in places if isinstance(place, dict)]
    return next((found for found in ids if found is not None), None)


def _responses(value: dict[str, Any], questions: tuple[str, str]) -> list[Response] | None:
    """What users said to the two questions; None where the record has no such shape."""
    responses = value.get("responses")
    if isinstance(responses, dict):
        return _by_question(responses, questions)
    if isinstance(responses, list):
        return _by_user(responses, questions)
    flat = [question for question in questions if f"{question}.responses" in value]
    if not flat and ("responses" in value or not ({"fields", "_server_id"} & value.keys())):
        return None
    found: list[Response] = []
    for question in flat:
        answers = value[f"{question}.responses"]
        if answers is None:
            continue
        users, states = (_beside(value.get(f"{question}.responses.{part}")) for part in ("users", "status"))
        if not isinstance(answers, list):
            return None
        found += [(question, answer, _at(users, n), _at(states, n)) for n, answer in enumerate(answers)]
    return found


def _by_question(responses: dict[str, Any], questions: tuple[str, str]) -> list[Response] | None:
    found: list[Response] = []
    for question in questions:
        answers = responses.get(question) or []
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            return None
        found += [(question, answer.get("value"), answer.get("user_id"), answer.get("status")) for answer in answers]
    return found


def _by_user(responses: list[Any], questions: tuple[str, str]) -> list[Response] | None:
    """Argilla 1: `[{user_id, status, values: {question: {value}}}]`."""
    found: list[Response] = []
    for response in responses:
        values = response.get("values") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(values, dict | None):
            return None
        for question in questions:
            answer = (values or {}).get(question)
            if isinstance(answer, dict) or (values is None and question == questions[1]):
                value = answer.get("value") if isinstance(answer, dict) else None
                found.append((question, value, response.get("user_id"), response.get("status")))
    return found


def _beside(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else None
