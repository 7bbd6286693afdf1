"""Output of an OpenAI batch, of vLLM's run-batch in both shapes, and of whatever else writes such lines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from r2d.config.rationales import BatchSource
from r2d.data.readers.files import find_files
from r2d.rationales.readers.items import Broken, Item, id_text, read_lines, time_text
from r2d.rationales.readers.unicode import only_unicode
from r2d.rationales.records import Record


def read_batch_source(name: str, source: BatchSource) -> list[Record]:
    """Every answer and every failed request of a batch."""
    return read_batch(name, source.paths, source.error_paths, source.input_paths)


def read_batch(
    name: str, paths: Sequence[str], error_paths: Sequence[str] = (), input_paths: Sequence[str] = ()
) -> list[Record]:
    """One record for each choice of each answer, and for each request that failed.

    Args:
        error_paths: error files; an empty one is one without errors.
        input_paths: input files; with them each answer gets its `prompt_hash`, and a request that is mentioned in
            no other file becomes a record too. A line's own key `prompt_hash` comes first.

    Raises:
        DataError: a file is no text, or holds no JSON at all.
    """
    key = f"rationales.sources.{name}"
    requests = [item for file in find_files(input_paths, f"{key}.input_paths") for item in read_lines(file, key)]
    asked = {custom_id: item for item in reversed(requests) if (custom_id := _custom_id(item.value))}
    lines = [item for file in find_files(paths, f"{key}.paths") for item in read_lines(file, key)]
    for file in find_files(error_paths, f"{key}.error_paths"):
        lines += read_lines(file, key, may_be_empty=True)
    records = [record for item in lines for record in _records(name, item)]
    hashes = {custom_id: _request_hash(item.value) for custom_id, item in asked.items()}
    records = [replace(record, prompt_hash=_hash(record, hashes)) for record in records]
    mentioned = {record.example_id for record in records}
    for item in requests:
        custom_id = _custom_id(item.value)
        if custom_id is None:
            fault = item.value.fault if isinstance(item.value, Broken) else "no custom_id in the input"
            records.append(_record(name, item, reason="malformed_record", detail=fault))
        elif custom_id not in mentioned and asked[custom_id] is item:
            unanswered = _record(name, item, reason="request_failed", detail="never answered")
            records.append(replace(unanswered, prompt_hash=hashes[custom_id]))
    return only_unicode(records)


def prompt_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 of a request's body as canonical JSON: sorted keys, no spaces, ASCII."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _custom_id(value: Any) -> str | None:
    return id_text(value.get("custom_id")) if isinstance(value, dict) else None


def _request_hash(value: dict[str, Any]) -> str | None:
    return prompt_hash(value["body"]) if isinstance(value.get("body"), dict) else None


def _hash(record: Record, hashes: Mapping[str, str | None]) -> str | None:
    return record.prompt_hash or hashes.get(record.example_id or "")


def _record(name: str, item: Item, **values: Any) -> Record:
    line = item.value if isinstance(item.value, dict) else {}
    own_hash = line.get("prompt_hash")
    values = {
        "record_id": id_text(line.get("id")) or "",
        "example_id": _custom_id(line),
        "prompt_hash": own_hash if isinstance(own_hash, str) and own_hash else None,
    } | values
    return Record(source=name, file=item.file, row=item.row, **values)


def _records(name: str, item: Item) -> Iterator[Record]:
    line = item.value
    if not isinstance(line, dict):
        fault = line.fault if isinstance(line, Broken) else f"a {type(line).__name__}, not an object"
        yield _record(name, item, reason="malformed_record", detail=fault)
        return
    response = line.get("response")
    code = _failure(line, response)
    if code is not None:
        yield _record(name, item, reason="request_failed", detail=code)
        return
    assert isinstance(response, dict)
    body = response.get("body", response)  # vLLM once wrote the body itself
    answers = list(_answers(body)) if isinstance(body, dict) else []
    if not answers:
        yield _record(name, item, reason="malformed_record", detail="no choices in the response")
        return
    model, response_id = body.get("model"), id_text(body.get("id")) or id_text(line.get("id")) or ""
    common = {
        "author": model if isinstance(model, str) else None,
        "created_at": time_text(body.get("created") or body.get("created_at")),
    }
    for number, answer in enumerate(answers):
        record_id = f"{response_id}#{number}" if number and response_id else response_id
        unusable = {} if _custom_id(line) or "reason" in answer else {"reason": "no_id", "detail": "no custom_id"}
        yield _record(name, item, record_id=record_id, **common, **answer, **unusable)


def _failure(line: dict[str, Any], response: Any) -> str | None:
    """The code of a failed request. Messages are left out: they may quote the request."""
    if line.get("error"):
        return _code(line["error"])
    if not isinstance(response, dict):
        return "no response"
    status = response.get("status_code", 200)
    if status != 200:
        return id_text(status) if isinstance(status, int) else "no status code"
    body = response.get("body")
    return _code(body["error"]) if isinstance(body, dict) and body.get("error") else None


def _code(error: Any) -> str:
    for key in ("code", "type"):
        code = id_text(error.get(key)) if isinstance(error, dict) else None
        if code and re.fullmatch(r"[\w.-]{1,60}", code):
            return code
    return "error"


def _answers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each choice says: of a chat, of a completion, or of the Responses API. Reasoning is left out."""
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict):
            yield {"reason": "malformed_record", "detail": "a choice that is no object"}
            continue
        message = choice.get("message")
        message = message if isinstance(message, dict) else {"content": choice.get("text")}
        finish = choice.get("finish_reason")
        yield _answer(message.get("content"), message.get("refusal"), finish == "length", finish == "content_filter")
    if not isinstance(choices, list) and isinstance(body.get("output"), list):
        output = [
            item for item in body["output"] if isinstance(item, dict) and item.get("type", "message") == "message"
        ]
        parts = [part for item in output for part in (_list(item.get("content")))]
        incomplete = body.get("incomplete_details")
        cause = incomplete.get("reason") if isinstance(incomplete, dict) else None
        yield _answer(parts, None, cause == "max_output_tokens", cause == "content_filter")


def _answer(content: Any, refusal: Any, stopped: bool, filtered: bool) -> dict[str, Any]:
    if isinstance(content, dict):
        content = [content]
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if filtered or refusal or any(part.get("type") == "refusal" for part in parts):
        return {"reason": "refused", "detail": "content_filter" if filtered else "refusal"}
    if isinstance(content, list):
        texts = [part if isinstance(part, str) else _part_text(part) for part in content]
        return {"content": "".join(texts), "stopped_at_limit": stopped}
    if content is not None and not isinstance(content, str):
        return {"reason": "malformed_record", "detail": f"content is a {type(content).__name__}"}
    return {"content": content or "", "stopped_at_limit": stopped}


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") in ("text", "output_text", None) else None
    return text if isinstance(text, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
