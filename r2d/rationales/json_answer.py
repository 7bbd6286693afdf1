"""An answer given as JSON: the objects of a text as written, or as `json-repair` reads one that is nearly JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import json_repair

from r2d.rationales.records import Reason

JsonObject: TypeAlias = dict[str, object]

MOST_OBJECTS = 20  # opening braces that are tried; each may cost a pass over the text
LONGEST_REPAIRED = 20_000  # characters of a text that is repaired
MOST_NESTED = 4  # levels within an object at which the keys are looked for

_TRAILING_COMMA = re.compile(r",(?=\s{0,50}[}\]])")
_FENCED = re.compile(r"```[\w-]{0,20}\s{0,5}(?P<inside>[{\[].*?)```", re.DOTALL)
COMMENT = re.compile(r"(?<!:)//[^\n\"']*$|/\*.*?\*/|(?<=[,{\s])#[^\n\"']*$", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|.)")
_VALUE_KEYS = ("value", "label", "name", "text", "answer", "category", "content")
"""Keys of an object that stands in the place of a text, in order of trust."""

_NO_OTHER_LABEL = frozenset({"", "none", "null", "n/a", "na", "-", "unchanged", "same", "no change", "not changed"})


class _TwiceNamed(dict[str, object]):
    """An object in which one key stands twice, with different values."""


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The two texts of an answer given as JSON, or the reason why there is none."""

    label: str | None = None
    rationale: str | None = None
    edits: tuple[str, ...] = ()  # `trailing comma removed`, `JSON in a text decoded`, `JSON repaired`
    reason: Reason | None = None
    detail: str = ""
    label_first: bool = True  # whether the label stands before the rationale
    others: tuple[tuple[str, str], ...] = ()  # the other keys, in small letters, with their texts


def read_json_answer(text: str, label_key: str, rationale_key: str, *, stopped: bool) -> JsonAnswer:
    """The texts of the objects that have one of the two keys, at any depth; case of keys does not count.

    A text that is nearly JSON is repaired where that loses and invents no letter, and where the token limit did not
    end it. Objects with different labels state none.
    """
    keys, edits = (label_key.casefold(), rationale_key.casefold()), tuple[str, ...]()
    if (inner := _inner_text(text)) is not None:
        text, edits = inner, ("JSON in a text decoded",)
    detail = "no JSON object"
    for objects, done in json_forms(text, _TwiceNamed):
        detail = "neither key in the object" if objects else detail
        if with_keys := list(_with_keys(objects, keys)):
            return _of_objects(with_keys, keys, (*edits, *done))
    if stopped:
        return JsonAnswer(reason="truncated", detail=detail)
    repaired = repaired_json(text, label_key)
    if with_keys := list(_with_keys(repaired, keys)):
        return _of_objects(with_keys, keys, (*edits, "JSON repaired"))
    return JsonAnswer(reason="bad_json", detail=detail)


def _of_objects(objects: list[JsonObject], keys: tuple[str, str], edits: tuple[str, ...]) -> JsonAnswer:
    if any(isinstance(item, _TwiceNamed) for item in objects):
        return JsonAnswer(edits=edits, reason="unclear_answer", detail="a key twice in the object")
    fields = [{key.casefold(): value for key, value in reversed(item.items())} for item in objects]
    texts = [(_field_text(item.get(keys[0]), ", "), _field_text(item.get(keys[1]), "\n")) for item in fields]
    labels = {" ".join(label.casefold().split()) for label, _ in texts if label is not None}
    for item in fields:
        for key, value in item.items():
            if key not in keys and _takes_back(key, value, keys[0], labels):
                return JsonAnswer(edits=edits, reason="unclear_answer", detail="another key takes the label back")
    if len(labels) > 1:
        return JsonAnswer(edits=edits, reason="unclear_answer", detail=f"{len(labels)} objects with different labels")
    label, rationale = next((pair for pair in texts if pair[0] is not None), texts[0])
    order = [key.casefold() for key in objects[0]]
    label_first = set(keys) - set(order) != set() or order.index(keys[0]) < order.index(keys[1])
    others = tuple((key, text) for item in fields for key, value in item.items()
                   if key not in keys and (text := _field_text(value, ", ")))  # fmt: skip
    return JsonAnswer(label, rationale, edits, label_first=label_first, others=others)


def _takes_back(key: str, value: Any, label_key: str, labels: set[str]) -> bool:
    """Whether another key of the object gives another label, or says that the label does not stand: `final_label`,
    `override`, `valid: false`, `status: withdrawn`."""
    text = " ".join(str(value).casefold().split()) if isinstance(value, str | bool | int) else ""
    if _VOID_KEY.search(key) and text in _TRUE:
        return True
    if _STANDS_KEY.search(key) and (text in _FALSE or _VOID_VALUE.search(text)):
        return True
    if _JUDGES_KEY.search(key) and _VOID_VALUE.search(text):
        return True
    if (_BOUND_KEY.search(key) and text) or (_CONFIDENCE_KEY.search(key) and value in (0, "0", "none", "zero")):
        return True
    names_label = (
        re.fullmatch(rf"{_LATER}[\W_]*{re.escape(label_key)}|{re.escape(label_key)}_after\w*", key)
        or re.search(_OVERRIDES, key)
    )  # fmt: skip
    other = " ".join((_field_text(value, ", ") or "").casefold().split())
    return names_label is not None and bool(labels) and other not in labels | _NO_OTHER_LABEL


_LATER = r"(?:final|revised|corrected|updated|amended|adjusted|new)"
_OVERRIDES = (
    r"overrid|correct(?:ed|ion)|revision|second|label_?2|\bgold|ground_?truth|^reference"
    r"|(?:true|expected|actual|target)_?(?:label|answer|class)"
)
_VOID_KEY = re.compile(
    r"retract|withdr|void|cancel|invalid|obsolete|supersed|reject|deprecat|wrong|mistake|refus|error|example|draft"
    r"|placeholder|template|dummy|hypothe"
)
_STANDS_KEY = re.compile(r"valid|\bcorrect\b|is_(?:correct|final)|approved|accepted|confirmed|\bagrees?\b")
_JUDGES_KEY = re.compile(r"status|review|check|verif|audit|verdict|feedback|comment")
_BOUND_KEY = re.compile(r"applies_to|(?:only|valid)_(?:if|for|when)|unless")
_CONFIDENCE_KEY = re.compile(r"confidence|certainty")
_TRUE = frozenset({"true", "yes", "1", "y"})
_FALSE = frozenset({"false", "no", "0", "n"})
_VOID_VALUE = re.compile(
    r"\b(?:withdrawn|retracted|void(?:ed)?|cancel\w+|invalid|rejected|reject|disagree\w*|wrong|incorrect|fail\w*|overturned"
    r"|overruled|superseded|not\s+\w+)\b"
)


def _inner_text(text: str) -> str | None:
    """The text that a JSON text holds, where it holds an object; None for anything else."""
    if not text.startswith('"') or "{" not in text:
        return None
    try:
        inner = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, str) and "{" in inner else None


def json_forms(text: str, twice: type[JsonObject] = dict) -> Iterator[tuple[list[JsonObject], tuple[str, ...]]]:
    """Yield the JSON objects of a text as written, then without the commas before a closing bracket, which models
    write and JSON forbids; with each, what was done.

    Args:
        twice: type of an object in which a key stands twice, with different values.
    """
    if "{" in text:
        yield json_objects(text, twice), ()
        mended = _TRAILING_COMMA.sub("", text)
        if mended != text:
            yield json_objects(mended, twice), ("trailing comma removed",)


def json_objects(text: str, twice: type[JsonObject] = dict) -> list[JsonObject]:
    """The whole JSON objects of a text, in order; objects within another are not listed."""

    def build(pairs: list[tuple[str, Any]]) -> JsonObject:
        item = dict(pairs)
        folded = {key.casefold(): value for key, value in pairs}
        return item if len(folded) == len(pairs) or all(folded[key.casefold()] == value for key, value in pairs) else (
            twice(item))  # fmt: skip

    decoder = json.JSONDecoder(strict=False, object_pairs_hook=build)
    objects: list[JsonObject] = []
    end = 0
    for _ in range(MOST_OBJECTS):
        position = text.find("{", end)
        if position < 0:
            break
        try:
            item, end = decoder.raw_decode(text, position)
            objects.append(item)
        except (ValueError, RecursionError):
            end = position + 1
    return objects


def _with_keys(values: Iterable[Any], keys: tuple[str, str], depth: int = 0) -> Iterator[JsonObject]:
    """The outermost objects that have one of the keys."""
    for value in values:
        if isinstance(value, dict) and any(key.casefold() in keys for key in value):
            yield value
        elif isinstance(value, dict | list) and depth < MOST_NESTED:
            inner = [item for key, item in value.items() if not _NO_ANSWER_KEY.search(key.casefold())] if (
                isinstance(value, dict)) else value  # fmt: skip
            yield from _with_keys(inner, keys, depth + 1)


_NO_ANSWER_KEY = re.compile(
    r"example|sample|reject|wrong|draft|^if_|alternat|previous|^old|input|user|template|hypothe"
)
"""Keys of an object that holds somebody else's answer, or none."""


def repaired_json(text: str, label_key: str) -> list[Any]:
    """The values of a text that is nearly JSON, where there is one way to read it; else none.

    That is where the repair loses and invents no letter or digit but those of comments, the label's key stands once,
    and the text does not end within a value.
    """
    fenced = _FENCED.search(text)
    start, end = text.find("{"), text.rfind("}") + 1
    nearly = fenced.group("inside") if fenced else text[start : end if end > start else len(text)].strip()
    if start < 0 or len(nearly) > LONGEST_REPAIRED or nearly.count("{") > MOST_OBJECTS or nearly[-1:] not in "}]\"',”":
        return []
    if len(re.findall(rf"(?<!\w){re.escape(label_key)}[\"'”’]?\s*:", nearly, re.I)) != 1:
        return []
    try:
        value = json_repair.loads(nearly, skip_json_loads=True)
    except (ValueError, RecursionError):
        return []
    letters = _letters("".join(_texts(value)))
    return [value] if letters in (_letters(nearly), _letters(COMMENT.sub("", nearly))) else []


def _texts(value: Any) -> Iterator[str]:
    """Keys and values in their order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield "null" if value is None else str(value)


def _letters(text: str) -> str:
    """Letters and digits alone, without case; escapes are what they stand for."""
    plain = _ESCAPE.sub(lambda match: chr(int(match["code"], 16)) if match["code"] else " ", text)
    return "".join(filter(str.isalnum, re.sub(r"\bNone\b", "null", plain).casefold()))


def _field_text(value: Any, separator: str) -> str | None:
    """A text, a whole number, a list of texts as one, or the text of an object; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return separator.join(value)
    if isinstance(value, list) and len(value) == 1:
        return _field_text(value[0], separator) if isinstance(value[0], dict) else None
    if isinstance(value, dict):
        fields = {key.casefold(): inner for key, inner in value.items()}
        named = [fields[key] for key in _VALUE_KEYS if isinstance(fields.get(key), str)]
        return named[0] if len(named) == 1 else None
    return None if isinstance(value, bool) or not isinstance(value, str | int) else str(value)
