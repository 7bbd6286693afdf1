"""Raw output of language models: texts and conversations in files, and the lines of batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from r2d.config.rationales import BatchSource, TextSource
from r2d.data.readers.rows import field_at
from r2d.errors import DataError
from r2d.llm.requests import request_hash
from r2d.rationales.readers.items import Item, excluded_by, id_text, joined_text, read_items, time_text
from r2d.rationales.readers.replies import Fields, Reply, error_code, last_turn, replies_of, stop_of
from r2d.rationales.readers.written import count_stated_labels
from r2d.rationales.records import Record
from r2d.text import did_you_mean, plural, shown_names


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
        order = place if source.join == "order" else None
        base = item.record(
            example_id=id_text(field_at(fields, source.id_field)) if source.join == "id" else None,
            order=order,
            author=fields["model"] if isinstance(fields.get("model"), str) else None,
        )
        replies = [Reply(value)] if isinstance(value, str) else _replies(source, fields)
        if not replies and isinstance(value, dict):
            detail = f"no {source.text_field if source.format == 'text' else 'answer of the model'}"
            detail = "no text field" if source.format == "text" else detail
            records.append(base._replace(author=None, reason="malformed_record", detail=detail))
        elif not replies:
            records.append(replace(item, value=value).malformed("a text", order=order))
        of_item = [_answered(base, reply, no_id="no id field") for reply in replies]
        if source.label_field is not None:
            label = joined_text(field_at(fields, source.label_field), ", ")
            of_item = [record._replace(content=None, rationale=record.content, label=label) for record in of_item]
        if why := excluded_by(source.only, {name: joined_text(field_at(fields, name)) for name in source.only}):
            of_item = [record._replace(reason="cancelled", detail=why) for record in of_item]
        records += of_item
    if source.label_field is not None:
        count_stated_labels(f"rationales.sources.{name}.label_field {source.label_field!r}", records)
    return records


KEYS_OF_FORMATS = {"messages": "messages", "sharegpt": "conversations", "vllm_offline": "outputs"}
"""Format -> the key whose list holds the model's words."""


def _replies(source: TextSource, fields: Fields) -> list[Reply]:
    """The answers of one object."""
    if source.format == "text":
        text = joined_text(field_at(fields, source.text_field))
        return [] if text is None else [Reply(text, *stop_of(fields))]
    values = fields.get(KEYS_OF_FORMATS[source.format])
    if not isinstance(values, list):
        return []
    if source.format == "vllm_offline":
        return replies_of(fields | {"outputs": values})
    turn = last_turn(values)
    return [] if turn is None else [turn]


def _answered(base: Record, reply: Reply, *, no_id: str) -> Record:
    """The record of one answer."""
    if reply.stop == "refused":
        return base._replace(reason="refused", detail=reply.detail)
    if reply.stop == "failed":
        return base._replace(reason="request_failed", detail=reply.detail)
    if reply.text is None:
        return base._replace(reason="malformed_record", detail=reply.detail)
    answer = base._replace(content=reply.text, stopped_at_limit=reply.stop == "cut")
    if base.order is None and base.example_id is None:
        return answer._replace(author=None, reason="no_id", detail=no_id)
    return answer


def _check_fields(name: str, source: TextSource, items: Sequence[Item]) -> None:
    """Refuse outputs that cannot be joined as declared, or have no text where it is declared to be."""
    key = f"rationales.sources.{name}"
    objects = [item.value for item in items if isinstance(item.value, dict)]
    with_id = sum(id_text(field_at(value, source.id_field)) is not None for value in objects)
    fields = list(dict.fromkeys(field for value in objects[:100] for field in value))
    names = shown_names(fields, (source.id_field, source.text_field, *KEYS_OF_FORMATS.values()))
    found = f"found {', '.join(map(repr, names[:30]))}"
    if not names:
        found = f"found {plural(len(fields), 'field')}, which may be data, not shown"
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
    if not objects or len(objects) < len(items):
        return
    if source.format != "text" and not any(KEYS_OF_FORMATS[source.format] in value for value in objects):
        raise DataError(
            f"{key}.format: {source.format} has its answers in {KEYS_OF_FORMATS[source.format]!r}, and no output has "
            f"it; {found}; set the format to that of the file"
        )
    if source.format == "text" and all(field_at(value, source.text_field) is None for value in objects):
        others = [name for name, field in KEYS_OF_FORMATS.items() if any(field in value for value in objects)]
        raise DataError(
            f"{key}.text_field: no output has a field {source.text_field!r}{did_you_mean(source.text_field, names)}; "
            f"{found}; set it to the field of the LLM's text"
            + (f", or set format: {others[0]}, which the outputs look like" if others else "")
        )


def read_batch(name: str, source: BatchSource) -> list[Record]:
    """One record for each choice of each answer, and for each request that failed. An empty error file has no errors.

    With the input files each answer gets its `prompt_hash`, unless its line has one, and a request that is mentioned in
    no other file becomes a record too.

    Raises:
        DataError: no line has the shape of a batch.
    """
    requests = read_items(name, source.input_paths, key="input_paths", form="lines")
    lines = read_items(name, source.paths, form="either")
    lines += read_items(name, source.error_paths, key="error_paths", form="lines", may_be_empty=True)
    asked = {base.example_id: item for item in reversed(requests) if (base := _base_record(item, source)).example_id}
    hashes = {
        custom_id: request_hash(body)
        for custom_id, item in asked.items()
        if (body := next((item.value[key] for key in _REQUEST_KEYS if isinstance(item.value.get(key), dict)), None))
    }
    records = [
        record if record.prompt_hash or not hashes else record._replace(prompt_hash=hashes.get(record.example_id or ""))
        for item in lines
        for record in _batch_records(item, source)
    ]
    objects = [item.value for item in lines if isinstance(item.value, dict)]
    if len(objects) > 1 and all(record.detail == _NO_SHAPE for record in records):
        keys = Counter(key for value in objects for key in value)
        names = shown_names([key for key, _ in keys.most_common(20)], ("custom_id", "id", "response", "error"))
        shown = ", ".join(map(repr, names)) or f"{len(keys)} keys, which may be data and are not shown"
        raise DataError(
            f"rationales.sources.{name}.format: none of the {len(objects)} lines has the shape of a batch: `response` "
            f"(OpenAI, Azure, Mistral, vLLM, Gemini), `result` (Anthropic) or `modelOutput` (Bedrock); found {shown}; "
            "set format: text with id_field and text_field, or the format of the file"
        )
    mentioned = {record.example_id for record in records}
    for item in requests:
        base = _base_record(item, source)
        if base.example_id is None:
            detail = "no custom_id in the input" if item.is_json else "no JSON"
            records.append(base._replace(reason="malformed_record", detail=detail))
        elif base.example_id not in mentioned and asked[base.example_id] is item:
            prompt_hash = hashes.get(base.example_id)
            records.append(base._replace(prompt_hash=prompt_hash, reason="request_failed", detail="never answered"))
    return records


_REQUEST_KEYS = ("body", "params", "request", "modelInput")
_NO_SHAPE = "no response"


def _base_record(item: Item, source: BatchSource) -> Record:
    """A record with what the line of a batch says of itself."""
    line = item.value if isinstance(item.value, dict) else {}
    prompt_hash = line.get("prompt_hash")
    ids = [line.get(key) for key in ("custom_id", "key", "recordId")]
    ids = [field_at(line, source.id_field)] if source.id_field is not None else ids
    return item.record(
        record_id=id_text(line.get("id")) or "",
        example_id=next((example_id for example_id in map(id_text, ids) if example_id is not None), None),
        prompt_hash=prompt_hash if isinstance(prompt_hash, str) and prompt_hash else None,
    )


def _batch_records(item: Item, source: BatchSource) -> Iterator[Record]:
    """The records of one line: one for each choice."""
    line, base = item.value, _base_record(item, source)
    if not isinstance(line, dict):
        yield item.malformed("an object")
        return
    if failure := _failure(line):
        yield base._replace(reason="request_failed", detail=failure)
        return
    body = _body(line)
    if body is None:
        yield base._replace(reason="malformed_record", detail=_NO_SHAPE)
        return
    response_id = id_text(body.get("id")) or id_text(body.get("responseId")) or base.record_id
    author = next((body[key] for key in ("model", "modelVersion") if isinstance(body.get(key), str)), None)
    created_at = time_text(
        next((body[key] for key in ("created", "created_at", "createTime") if body.get(key) is not None), None)
    )
    described = base._replace(author=author, created_at=created_at)
    replies = replies_of(body)
    if not replies:
        yield base._replace(reason="malformed_record", detail="no choices in the response")
    for number, reply in enumerate(replies):
        record_id = f"{response_id}#{number}" if number and response_id else response_id
        yield _answered(described, reply, no_id="no custom_id")._replace(record_id=record_id)


def _failure(line: Fields) -> str:
    """Why a request failed, as its line says; empty where it does not say so."""
    result, response, status = line.get("result"), line.get("response"), line.get("status")
    if isinstance(result, dict) and isinstance(result.get("type"), str):  # Anthropic
        if result["type"] == "succeeded":
            return ""
        return error_code(result["error"]) if result.get("error") else error_code({"type": result["type"]})
    if line.get("error"):
        return error_code(line["error"])
    if isinstance(response, dict):
        code = response.get("status_code", 200)
        body = response.get("body")
        if isinstance(body, dict) and code == 200 and body.get("error"):
            return error_code(body["error"])
        is_code = isinstance(code, int) and not isinstance(code, bool)
        return "" if is_code and code == 200 else str(code) if is_code else "no status code"
    if isinstance(status, str) and status.strip() and "modelOutput" not in line:  # Vertex
        return "error"
    return "no response" if "response" in line and response is None else ""


def _body(line: Fields) -> Fields | None:
    """What the model answered; None where the line has no known shape."""
    result, response = line.get("result"), line.get("response")
    values = [result.get("message") if isinstance(result, dict) else None, line.get("modelOutput")]
    if isinstance(response, dict):
        values.append(response.get("body", response))  # vLLM once wrote the body itself
    return next((value for value in values if isinstance(value, dict)), None)
