"""Output of an OpenAI batch, of vLLM's run-batch in both shapes, and of whatever else writes such lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from r2d.config.rationales import BatchSource
from r2d.data.readers.files import find_files
from r2d.llm.requests import request_hash
from r2d.rationales.readers.items import Broken, Item, id_text, only_unicode, read_items, time_text
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
    requests = [
        item
        for file in find_files(input_paths, f"{key}.input_paths")
        for item in read_items(name, file, key, form="lines")
    ]
    lines = [item for file in find_files(paths, f"{key}.paths") for item in read_items(name, file, key, form="lines")]
    for file in find_files(error_paths, f"{key}.error_paths"):
        lines += read_items(name, file, key, form="lines", may_be_empty=True)
    asked = {custom_id: item for item in reversed(requests) if (custom_id := _custom_id(item.value))}
    hashes: dict[str | None, str | None] = {
        custom_id: request_hash(item.value["body"]) if isinstance(item.value.get("body"), dict) else None
        for custom_id, item in asked.items()
    }
    records = [
        replace(record, prompt_hash=record.prompt_hash or hashes.get(record.example_id))
        for item in lines
        for record in _records(item)
    ]
    mentioned = {record.example_id for record in records}
    for item in requests:
        custom_id = _custom_id(item.value)
        if custom_id is None:
            detail = "no JSON" if isinstance(item.value, Broken) else "no custom_id in the input"
            records.append(_record(item, reason="malformed_record", detail=detail))
        elif custom_id not in mentioned and asked[custom_id] is item:
            unanswered = _record(item, reason="request_failed", detail="never answered")
            records.append(replace(unanswered, prompt_hash=hashes[custom_id]))
    return only_unicode(records)


def _custom_id(value: Any) -> str | None:
    return id_text(value.get("custom_id")) if isinstance(value, dict) else None


def _record(item: Item, **values: Any) -> Record:
    """A record with what its line says of itself, and these values."""
    line = item.value if isinstance(item.value, dict) else {}
    line_hash = line.get("prompt_hash")
    values = {
        "record_id": id_text(line.get("id")) or "",
        "example_id": _custom_id(line),
        "prompt_hash": line_hash if isinstance(line_hash, str) and line_hash else None,
    } | values
    return item.record(**values)


def _records(item: Item) -> Iterator[Record]:
    line = item.value
    if not isinstance(line, dict):
        yield item.malformed("an object")
        return
    response = line.get("response")
    error = line.get("error")
    if not error and isinstance(response, dict) and isinstance(response.get("body"), dict):
        error = response["body"].get("error") if response.get("status_code", 200) == 200 else None
    status = response.get("status_code", 200) if isinstance(response, dict) else None
    if error or status != 200 or not isinstance(response, dict):
        code = "no response" if not isinstance(response, dict) else "no status code"
        if error:  # its message is left out: it may quote the request
            codes = [id_text(error.get(key)) for key in ("code", "type")] if isinstance(error, dict) else []
            code = next((code for code in codes if code and re.fullmatch(r"[\w.-]{1,60}", code)), "error")
        elif isinstance(status, int) and not isinstance(status, bool):
            code = str(status)
        yield _record(item, reason="request_failed", detail=code)
        return
    body = response.get("body", response)  # vLLM once wrote the body itself
    answers = list(_answers(body)) if isinstance(body, dict) else []
    if not answers:
        yield _record(item, reason="malformed_record", detail="no choices in the response")
        return
    model, response_id = body.get("model"), id_text(body.get("id")) or id_text(line.get("id")) or ""
    author, created_at = (
        model if isinstance(model, str) else None,
        time_text(body.get("created") or body.get("created_at")),
    )
    for number, values in enumerate(answers):
        record_id = f"{response_id}#{number}" if number and response_id else response_id
        if "reason" not in values and not _custom_id(line):
            values |= {"reason": "no_id", "detail": "no custom_id"}
        yield _record(item, record_id=record_id, author=author, created_at=created_at, **values)


def _answers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record fields of each choice of a chat, a completion or the Responses API. Reasoning is left out."""
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
        parts: list[Any] = []
        for message in body["output"]:
            if isinstance(message, dict) and message.get("type", "message") == "message":
                content = message.get("content")
                parts += content if isinstance(content, list) else [content]
        incomplete = body.get("incomplete_details")
        cause = incomplete.get("reason") if isinstance(incomplete, dict) else None
        yield _answer(parts, None, cause == "max_output_tokens", cause == "content_filter")


def _answer(content: Any, refusal: Any, stopped: bool, filtered: bool) -> dict[str, Any]:
    parts = [content] if isinstance(content, dict) else content
    is_list = isinstance(parts, list)
    refused = is_list and any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
    if filtered or refusal or refused:
        return {"reason": "refused", "detail": "content_filter" if filtered else "refusal"}
    if is_list:
        texts = []
        for part in parts:
            if isinstance(part, dict) and part.get("type") in ("text", "output_text", None):
                part = part.get("text")
            if isinstance(part, str):
                texts.append(part)
        return {"content": "".join(texts), "stopped_at_limit": stopped}
    if content is not None and not isinstance(content, str):
        return {"reason": "malformed_record", "detail": f"content is a {type(content).__name__}"}
    return {"content": content or "", "stopped_at_limit": stopped}
