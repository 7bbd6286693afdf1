"""What every section of a run shares, and how values are held against one: every fault in one message, each with its
key, what was found and what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r2d.errors import ConfigError
from r2d.text import did_you_mean

Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
SectionT = TypeVar("SectionT", bound=BaseModel)


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def parse_section(schema: type[SectionT], values: Any, *, where: str = "config") -> SectionT:
    """Check values and return them as the section.

    Args:
        values: a mapping, as YAML gives it; `${NAME}` and `${NAME:-default}` in its texts are filled in.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    if not isinstance(values, dict):
        allowed = list(schema.model_fields)
        raise ConfigError(f"{where}: expected a mapping of sections {allowed}, found {show_value(values)}")
    try:
        return schema.model_validate(expand_environment(values))
    except ValidationError as error:
        # A list of which each item is faulty is not short of items as well: Pydantic counts the good ones.
        items = [
            item
            for item in error.errors()
            if item["type"] != "too_short" or len(item["input"]) < item["ctx"]["min_length"]
        ]
        faults = [_fault(item, schema) for item in items]
        raise ConfigError(list_faults(where, faults)) from None


def list_faults(where: str, faults: Sequence[str]) -> str:
    """The message about all faults of a file: how many, then a line for each."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return "\n".join([f"{where}: {count}", *faults])


def expand_environment(values: Any) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every text of a nested value."""
    if isinstance(values, dict):
        return {key: expand_environment(value) for key, value in values.items()}
    if isinstance(values, list):
        return [expand_environment(value) for value in values]
    if not isinstance(values, str):
        return values
    parts = re.split(r"\$\{(\w+)(?::-([^}]*))?\}", values)
    for place in range(1, len(parts), 3):
        name, default = parts[place : place + 2]
        value = os.environ.get(name) or default
        if value is None:
            raise ConfigError(
                f"config: ${{{name}}} is not set in the environment; set it or write ${{{name}:-default}}"
            )
        parts[place : place + 2] = value, ""
    return "".join(parts)


def _fault(item: Any, schema: type[BaseModel]) -> str:
    """One line for one Pydantic error: key, found, allowed, nearest name, fix."""
    location = [part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(several keys)"
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        names = list(_section_at(location[:-1], schema).model_fields)
        return f"  {key}: unknown key{did_you_mean(str(location[-1]), names)}; allowed: {', '.join(names)}"
    if kind == "missing":
        return f"  {key}: missing; add it"
    if kind == "value_error":
        return f"  {key}: {context['error']}"
    if kind in ("literal_error", "union_tag_invalid"):
        found, allowed = item["input"], context.get("expected", "").replace(" or ", ", ")
        if kind == "union_tag_invalid":
            key += "." + context["discriminator"].strip("'")
            found, allowed = context["tag"], context["expected_tags"]
        nearest = did_you_mean(str(found), re.findall(r"'([^']*)'", allowed))
        return f"  {key}: found {show_value(found)}{nearest}; allowed: {allowed}{_format_of(found, allowed)}"
    if kind == "too_short":
        return f"  {key}: found {show_value(item['input'])}; needs at least {context['min_length']}"
    hint = ""
    if isinstance(item["input"], bool) and kind.startswith("string"):
        hint = '; YAML reads an unquoted yes, no, on or off as true or false: put it in quotes ("yes")'
    message = item["msg"]
    return f"  {key}: found {show_value(item['input'])}; {message[:1].lower()}{message[1:]}{hint}"


FORMATS = {"xlsx": "csv", "excel": "csv", "tsv": "csv", "json": "jsonl", "ndjson": "jsonl", "pq": "parquet"}
"""Ending of a file, where it is not the name of its format."""


def _format_of(ending: Any, allowed: str) -> str:
    format = FORMATS.get(str(ending).lower().lstrip("."))
    return f"; a file .{ending} is read by format {format!r}" if format and repr(format) in allowed else ""


def _section_at(location: list[Any], schema: type[BaseModel]) -> type[BaseModel]:
    """The section that a location leads to; where several may stand, the one whose kind is named in it."""
    section: type[BaseModel] = schema
    allowed: list[type[BaseModel]] = []
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            section = next((candidate for candidate in allowed if part in _kinds(candidate)), section)
            continue
        allowed = list(sections_in(field.annotation))
        if len(allowed) == 1:
            section = allowed[0]
    return section


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every section that a type names, however deep."""
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from sections_in(inner)


def _kinds(section: type[BaseModel]) -> set[Any]:
    """What a section may be called where several kinds stand in one place, as `format` calls a source."""
    annotations = [field.annotation for field in section.model_fields.values()]
    return {kind for annotation in annotations if get_origin(annotation) is Literal for kind in get_args(annotation)}


def show_value(value: Any) -> str:
    """What was found, for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
