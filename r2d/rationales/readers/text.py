"""Raw LLM output in files: texts, or objects with a text, in a JSON list or JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2d.config.rationales import TextSource
from r2d.data.readers.files import find_files
from r2d.errors import DataError
from r2d.rationales.readers.items import Broken, id_text, joined_text, listed_names, nearest_name, read_items
from r2d.rationales.records import Record


def read_text_source(name: str, source: TextSource) -> list[Record]:
    """One record for each output; a broken one keeps its place in the order.

    An object's `finish_reason` and `model` are read where they stand beside its text.

    Raises:
        DataError: a file is neither list nor lines; ids are wanted and no output has one; outputs are to be joined by
            order although they have ids; or no object has the text field.
    """
    key = f"rationales.sources.{name}"
    files = find_files(source.paths, f"{key}.paths")
    items = [item for file in files for item in read_items(name, file, key, source.encoding)]
    objects = [item.value for item in items if isinstance(item.value, dict)]
    with_id = sum(id_text(value.get(source.id_field)) is not None for value in objects)
    if source.join == "order" and with_id:
        raise DataError(
            f"{key}: join is `order`, but {with_id} of {len(items)} outputs have an id in {source.id_field!r}, and an "
            "order is never trusted where there are ids; set join: id"
        )
    if source.join == "id" and items and not with_id:
        if objects:
            raise DataError(
                f"{key}.id_field: none of {len(items)} outputs has an id in {source.id_field!r}"
                f"{_fields_found(source.id_field, objects)}; set it to the field of the example's id, or, where the "
                "outputs stand in the order of the examples and there is one for each, set join: order"
            )
        raise DataError(
            f"{key}: join is `id`, but the {len(items)} outputs are plain texts without an id; where they stand in the "
            "order of the examples and there is one for each, set join: order, else write objects with "
            f"{source.id_field!r} and {source.text_field!r}"
        )
    if objects and len(objects) == len(items) and not any(source.text_field in value for value in objects):
        raise DataError(
            f"{key}.text_field: no output has a field {source.text_field!r}"
            f"{_fields_found(source.text_field, objects)}; set it to the field of the LLM's text"
        )
    records = []
    for place, item in enumerate(items):
        value = item.value[0] if isinstance(item.value, list) and len(item.value) == 1 else item.value
        fields = value if isinstance(value, dict) else {}
        content = value if isinstance(value, str) else joined_text(fields.get(source.text_field))
        order = place if source.join == "order" else None
        example_id = id_text(fields.get(source.id_field)) if source.join == "id" else None
        if content is None:
            detail = "no JSON" if isinstance(value, Broken) else f"a {type(value).__name__}, not a text"
            detail = "no text field" if isinstance(value, dict) else detail
            records.append(item.record(example_id=example_id, order=order, reason="malformed_record", detail=detail))
            continue
        if source.join == "id" and example_id is None:
            records.append(item.record(content=content, reason="no_id", detail="no id field"))
            continue
        author = fields["model"] if isinstance(fields.get("model"), str) else None
        is_cut = fields.get("finish_reason") == "length"
        records.append(
            item.record(example_id=example_id, order=order, content=content, author=author, stopped_at_limit=is_cut)
        )
    return records


def _fields_found(wanted: str, objects: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(field for value in objects[:100] for field in value))
    return f"{nearest_name(wanted, names)}; found {listed_names(names)}"
