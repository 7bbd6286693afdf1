"""Raw output of language models: texts in files, and the lines of OpenAI's batches and of vLLM's run-batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from r2d.config.rationales import BatchSource, TextSource
from r2d.errors import DataError
from r2d.llm.requests import request_hash
from r2d.rationales.readers.items import Item, id_text, joined_text, plain_names, read_items, time_text
from r2d.rationales.records import Record
from r2d.text import did_you_mean


def read_texts(name: str, source: TextSource) -> list[Record]:
    """One record for each output; a broken one keeps its place in the order.

    An object's `finish_reason` and `model` are read where it has them beside its text.
    """
    items = read_items(name, source.paths, encoding=source.encoding)
    _check_fields(name, source, items)
    records = []
    for place, item in enumerate(items):
        value = item.value[0] if isinstance(item.value, list) and len(item.value) == 1 else item.value
        fields = value if isinstance(value, dict) else {}
        content = value if isinstance(value, str) else joined_text(fields.get(source.text_field))
        order = place if source.join == "order" else None
        example_id = id_text(fields.get(source.id_field)) if source.join == "id" else None
        if content is None and isinstance(value, dict):
            record = item.record(example_id=example_id, order=order, reason="malformed_record", detail="no text field")
        elif content is None:
            record = replace(item, value=value).malformed("a text", example_id=example_id, order=order)
        elif source.join == "id" and example_id is None:
            record = item.record(content=content, reason="no_id", detail="no id field")
        else:
            author = fields["model"] if isinstance(fields.get("model"), str) else None
            is_cut = fields.get("finish_reason") == "length"
            record = item.record(
                example_id=example_id, order=order, content=content, author=author, stopped_at_limit=is_cut
            )
        records.append(record)
    return records


def _check_fields(name: str, source: TextSource, items: Sequence[Item]) -> None:
    """Refuse outputs that cannot be joined as declared, or have no text where it is declared to be."""
    key = f"rationales.sources.{name}"
    objects = [item.value for item in items if isinstance(item.value, dict)]
    with_id = sum(id_text(value.get(source.id_field)) is not None for value in objects)
    names = plain_names(list(dict.fromkeys(field for value in objects[:100] for field in value)), ())
    found = f"found {', '.join(map(repr, names[:30])) or '(none)'}"
    if source.join == "order" and with_id:
        raise DataError(
            f"{key}: join is `order`, but {with_id} of {len(items)} outputs have an id in {source.id_field!r}, and an "
            "order is never trusted where there are ids; set join: id"
        )
    if source.join == "id" and items and not with_id:
        if objects:
            raise DataError(
                f"{key}.id_field: none of {len(items)} outputs has an id in {source.id_field!r}"
                f"{did_you_mean(source.id_field, names)}; {found}; set it to the field of the example's id, or, where "
                "the outputs stand in the order of the examples and there is one for each, set join: order"
            )
        raise DataError(
            f"{key}: join is `id`, but the {len(items)} outputs are plain texts without an id; where they stand in the "
            "order of the examples and there is one for each, set join: order, else write objects with "
            f"{source.id_field!r} and {source.text_field!r}"
        )
    if objects and len(objects) == len(items) and not any(source.text_field in value for value in objects):
        raise DataError(
            f"{key}.text_field: no output has a field {source.text_field!r}{did_you_mean(source.text_field, names)}; "
            f"{found}; set it to the field of the LLM's text"
        )


def read_batch(name: str, source: BatchSource) -> list[Record]:
    """One record for each choice of each answer, and for each request that failed. An empty error file has no errors.

    With the input files each answer gets its `prompt_hash`, unless its line has one, and a request that is mentioned in
    no other file becomes a record too.
    """
    requests = read_items(name, source.input_paths, key="input_paths", form="lines")
    lines = read_items(name, source.paths, form="lines")
    lines += read_items(name, source.error_paths, key="error_paths", form="lines", may_be_empty=True)
    asked = {base.example_id: item for item in reversed(requests) if (base := _base_record(item)).example_id}
    hashes = {
        custom_id: request_hash(item.value["body"])
        for custom_id, item in asked.items()
        if isinstance(item.value.get("body"), dict)
    }
    records = [
        replace(record, prompt_hash=record.prompt_hash or hashes.get(record.example_id or ""))
        for item in lines
        for record in _batch_records(item)
    ]
    mentioned = {record.example_id for record in records}
    for item in requests:
        base = _base_record(item)
        if base.example_id is None:
            detail = "no custom_id in the input" if item.is_json else "no JSON"
            records.append(replace(base, reason="malformed_record", detail=detail))
        elif base.example_id not in mentioned and asked[base.example_id] is item:
            prompt_hash = hashes.get(base.example_id)
            records.append(replace(base, prompt_hash=prompt_hash, reason="request_failed", detail="never answered"))
    return records


def _base_record(item: Item) -> Record:
    """A record with what the line of a batch says of itself."""
    line = item.value if isinstance(item.value, dict) else {}
    prompt_hash = line.get("prompt_hash")
    return item.record(
        record_id=id_text(line.get("id")) or "",
        example_id=id_text(line.get("custom_id")),
        prompt_hash=prompt_hash if isinstance(prompt_hash, str) and prompt_hash else None,
    )


def _batch_records(item: Item) -> Iterator[Record]:
    """The records of one line: one for each choice of a chat, a completion or the Responses API."""
    line, base = item.value, _base_record(item)
    if not isinstance(line, dict):
        yield item.malformed("an object")
        return
    error, has_response = line.get("error"), isinstance(line.get("response"), dict)
    response: dict[str, Any] = line["response"] if has_response else {"status_code": None}
    status = response.get("status_code", 200)
    if not error and status == 200 and isinstance(response.get("body"), dict):
        error = response["body"].get("error")
    if error or status != 200:
        code = "no status code" if has_response else "no response"
        if error:  # its message is left out: it may quote the request
            codes = [id_text(error.get(key)) for key in ("code", "type")] if isinstance(error, dict) else []
            code = next((code for code in codes if code and re.fullmatch(r"[\w.-]{1,60}", code)), "error")
        elif isinstance(status, int) and not isinstance(status, bool):
            code = str(status)
        yield replace(base, reason="request_failed", detail=code)
        return
    body = response.get("body", response)  # vLLM once wrote the body itself
    body = body if isinstance(body, dict) else {}
    response_id = id_text(body.get("id")) or base.record_id
    author = body["model"] if isinstance(body.get("model"), str) else None
    described = replace(base, author=author, created_at=time_text(body.get("created") or body.get("created_at")))
    choices, output, incomplete = body.get("choices"), body.get("output"), body.get("incomplete_details")
    answers = []
    if isinstance(choices, list):
        for choice in choices:
            if not isinstance(choice, dict):
                detail = "a choice that is no object"
                answers.append(replace(described, reason="malformed_record", detail=detail))
                continue
            message = choice.get("message")
            message = message if isinstance(message, dict) else {"content": choice.get("text")}
            finish = choice.get("finish_reason")
            answers.append(_answer(described, message.get("content"), message.get("refusal"), finish))
    elif isinstance(output, list):
        messages = [part for part in output if isinstance(part, dict) and part.get("type", "message") == "message"]
        contents = [message.get("content") for message in messages]
        parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
        finish = incomplete.get("reason") if isinstance(incomplete, dict) else None
        answers.append(_answer(described, parts, None, finish))
    if not answers:
        yield replace(base, reason="malformed_record", detail="no choices in the response")
    for number, answer in enumerate(answers):
        record_id = f"{response_id}#{number}" if number and response_id else response_id
        answer = replace(answer, record_id=record_id)
        if answer.reason is None and base.example_id is None:
            answer = replace(answer, reason="no_id", detail="no custom_id")
        yield answer


def _answer(base: Record, content: Any, refusal: Any, finish: Any) -> Record:
    """The record of one choice. Reasoning is left out.

    Args:
        content: a text, or a list of parts.
        finish: why the model stopped.
    """
    parts = [content] if isinstance(content, dict) else content
    is_list = isinstance(parts, list)
    refused = is_list and any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
    if finish == "content_filter" or refusal or refused:
        return replace(base, reason="refused", detail="content_filter" if finish == "content_filter" else "refusal")
    if is_list:
        texts = [
            part.get("text") if isinstance(part, dict) and part.get("type") in ("text", "output_text", None) else part
            for part in parts
        ]
        content = "".join(text for text in texts if isinstance(text, str))
    elif content is not None and not isinstance(content, str):
        return replace(base, reason="malformed_record", detail=f"content is a {type(content).__name__}")
    return replace(base, content=content or "", stopped_at_limit=finish in ("length", "max_output_tokens"))
