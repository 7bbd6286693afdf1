"""The answer as a JSON object, wherever it stands in the text of an LLM."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MOST_OBJECTS = 20
"""Opening braces that are tried; each may cost a pass over the text."""

_DECODER = json.JSONDecoder(strict=False)
_TRAILING_COMMA = re.compile(r",(?=\s{0,50}[}\]])")


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The two fields of the first object that has one of them."""

    label: str | None
    rationale: str
    edits: tuple[str, ...] = ()


def find_json_answer(text: str, label_key: str, rationale_key: str) -> JsonAnswer | str:
    """The answer, or what the text lacks. Keys match without regard to case; line breaks in texts are allowed."""
    forms = [(text, ())] if "{" in text else []
    if forms and (mended := without_trailing_commas(text)) != text:
        forms.append((mended, ("trailing comma removed",)))  # type: ignore[arg-type]
    found = False
    for form, edits in forms:
        for item in json_objects(form):
            found = True
            fields = {key.casefold(): value for key, value in reversed(item.items())}
            label = _text(fields.get(label_key.casefold()), ", ")
            rationale = _text(fields.get(rationale_key.casefold()), "\n")
            if label is not None or rationale is not None:
                return JsonAnswer(label, rationale or "", edits)
    return "neither key in the object" if found else "no JSON object"


def json_objects(text: str) -> list[dict[str, Any]]:
    """The whole objects of a text, in order; those within another are not looked at."""
    found: list[dict[str, Any]] = []
    position = text.find("{")
    for _ in range(MOST_OBJECTS):
        if position < 0:
            break
        try:
            item, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            found.append(item)
        position = text.find("{", end)
    return found


def without_trailing_commas(text: str) -> str:
    """The text without the commas before a closing bracket, which models write and JSON forbids."""
    return _TRAILING_COMMA.sub("", text)


def _text(value: Any, separator: str) -> str | None:
    """A text, a number, or a list of texts as one; anything else is none."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return separator.join(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) if not isinstance(value, str) else value
