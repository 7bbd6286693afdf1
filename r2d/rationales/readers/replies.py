"""Replies of models in the shapes of their providers: the text, and why the model stopped.

OpenAI (chat, completions, Responses), Azure, Mistral and vLLM; Anthropic; Gemini; Bedrock (Nova, Titan, Llama, Mistral,
Cohere); TGI and Ollama; conversations of `messages` and ShareGPT. A tool call counts as text: its arguments are the
structured answer that was asked for. Reasoning is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r2d.files import read_yaml

Fields: TypeAlias = dict[str, Any]
Stop = Literal["finished", "cut", "refused", "failed"]

STOP_REASONS: dict[Stop, list[str]] = read_yaml(Path(__file__).parent.parent / "stop_reasons.yaml")
"""Why a model stopped -> the words of providers for it, in small letters. Any other word may be a cut."""
_STOP_KEYS = ("finish_reason", "finishReason", "completionReason", "done_reason", "stop_reason", "stopReason")
"""The first that is there counts: vLLM's `stop_reason` is a text that ended the answer."""
_DONE_KEYS = ("finished", "done", "is_finished", "completed", "complete")
"""Whether the model had ended, where a record says so: vLLM, Ollama."""
_LISTS = ("choices", "candidates", "outputs", "results", "generations", "completions")
_TEXTS = ("content", "text", "outputText", "generation", "completion", "generated_text", "response", "value", "parsed")
_MODEL_ROLES = frozenset({"assistant", "model", "gpt", "chatgpt", "bot", "bard", "bing", "claude"})
_CODE = re.compile(r"[\w.-]{1,60}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model."""

    text: str | None = None  # None where the shape holds none
    stop: Stop = "finished"
    detail: str = ""  # the word for the stop, or what is wrong with the shape


def replies_of(body: Fields) -> list[Reply]:
    """Every answer in the body of a response; none where its shape is not known."""
    done = {key: body[key] for key in _DONE_KEYS if body.get(key) is False}
    for key in _LISTS:
        if isinstance(body.get(key), list):
            return [
                _reply(done | item)
                if isinstance(item, dict)
                else Reply(detail=f"a {key.removesuffix('s')} that is no object")
                for item in body[key]
            ] or _blocked(body)
    output = body.get("output")
    if isinstance(output, list):  # the Responses API
        parts = [part for item in output for part in _parts_of_item(item)]
        details = body.get("incomplete_details")
        stop = details.get("reason") if isinstance(details, dict) else None
        return [_reply({"content": parts, "finish_reason": stop})]
    if isinstance(output, dict):  # Nova
        return [_reply(output | {key: body[key] for key in _STOP_KEYS if key in body})]
    if isinstance(body.get("message"), dict) or any(key in body for key in _TEXTS):
        return [_reply(body)]
    return _blocked(body)


def last_turn(turns: Sequence[Any]) -> Reply | None:
    """The last turn of a conversation, where it is the model's; None where it is not."""
    turn = turns[-1] if turns else None
    if not isinstance(turn, dict):
        return None
    role = turn.get("role", turn.get("from"))
    return _reply(turn) if isinstance(role, str) and role.casefold() in _MODEL_ROLES else None


def stop_of(fields: Fields) -> tuple[Stop, str]:
    """Why the model stopped, and the word for it; `finished` where nothing is said."""
    value = next((fields[key] for key in _STOP_KEYS if fields.get(key) is not None), None)
    value = value.get("reason") if isinstance(value, dict) else value
    if value is None and isinstance(fields.get("details"), dict):
        return stop_of(fields["details"])
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return ("cut", "unfinished") if any(fields.get(key) is False for key in _DONE_KEYS) else ("finished", "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    word = str(int(value)) if is_number else value.strip().casefold() if isinstance(value, str) else "another reason"
    stop: Stop = next((stop for stop, words in STOP_REASONS.items() if word in words), "cut")
    return stop, word if _CODE.fullmatch(word) else "another reason"


def error_code(error: Any) -> str:
    """The code or type of an error; its message is left out, because it may quote the request."""
    if isinstance(error, dict):
        inner = error.get("error")
        keys = ("code", "type", "errorCode", "status")
        codes = [str(error[key]) for key in keys if isinstance(error.get(key), str | int)]
        if isinstance(inner, dict):
            return error_code(inner)
        return next((code for code in codes if _CODE.fullmatch(code)), "error")
    return "error"


def _blocked(body: Fields) -> list[Reply]:
    """The refusal of a prompt that Gemini did not answer."""
    feedback = body.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
    return [Reply(stop="refused", detail=blocked.casefold() if isinstance(blocked, str) and _CODE.fullmatch(
        blocked) else "blocked")] if blocked else []  # fmt: skip


def _reply(item: Fields) -> Reply:
    message = next((item[key] for key in ("message", "data") if isinstance(item.get(key), dict)), item)
    stop, word = stop_of(item)
    if stop == "finished" and message is not item:
        stop, word = stop_of(message)
    content = next((message[key] for key in _TEXTS if message.get(key) is not None), None)
    content = content["parts"] if isinstance(content, dict) and isinstance(content.get("parts"), list) else content
    parts = content if isinstance(content, list) else [content]
    if message.get("refusal") or any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts):
        return Reply(stop="refused", detail="refusal")
    if stop in ("refused", "failed"):
        return Reply(stop=stop, detail=word)
    if content is not None and not isinstance(content, str | list | dict):
        return Reply(detail=f"content is a {type(content).__name__}")
    text = "".join(text for part in parts for text in _text_of(part))
    calls = [*_calls_of_message(message), *(call for part in parts for call in _call_of(part))]
    return Reply("\n".join(filter(None, (text, *calls))), stop, word)


def _parts_of_item(item: Any) -> Iterator[Any]:
    """The parts of an item of the Responses API; of reasoning none."""
    if not isinstance(item, dict):
        return
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        yield from content if isinstance(content, list) else [content]
    elif kind in ("function_call", "custom_tool_call"):
        yield item


def _text_of(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text") and not part.get("thought"):
        if isinstance(part.get("text"), str):
            yield part["text"]
        elif "label" in part or "rationale" in part:  # `parsed`
            yield json.dumps(part, ensure_ascii=False)


def _calls_of_message(message: Fields) -> Iterator[str]:
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    for function in (*functions, message.get("function_call")):
        if isinstance(function, dict):
            yield from _arguments(function.get("arguments"))


def _call_of(part: Any) -> Iterator[str]:
    """The arguments of a part that calls a tool: Anthropic, Bedrock's Converse, Gemini, the Responses API."""
    if not isinstance(part, dict):
        return
    if part.get("type") == "tool_use":
        yield from _arguments(part.get("input"))
    elif part.get("type") in ("function_call", "custom_tool_call"):
        yield from _arguments(part.get("arguments", part.get("input")))
    elif isinstance(part.get("toolUse"), dict):
        yield from _arguments(part["toolUse"].get("input"))
    elif isinstance(part.get("functionCall"), dict):
        yield from _arguments(part["functionCall"].get("args"))


def _arguments(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        yield json.dumps(value, ensure_ascii=False)
