"""Chat completion requests: what is asked, known by the hash of its body."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from r2d.config.endpoint import EndpointConfig

Body: TypeAlias = dict[str, Any]
"""The JSON body of a chat completion. It holds a note."""


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One chat completion. The repr does not show the body."""

    custom_id: str  # names the request within its list, such as the id of the example
    body: Body


class RequestList(ABC):
    """The requests of a run. Each is made when it is needed; none is kept."""

    source: EndpointConfig
    prompt_hash: str  # hash of the file that words the questions

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, place: int, /) -> Request: ...

    def __iter__(self) -> Iterator[Request]:
        return (self[place] for place in range(len(self)))

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Yield `custom_id` and request hash of every request, in order."""
        return ((request.custom_id, request_hash(request.body)) for request in self)


def request_hash(body: Body) -> str:
    """SHA-256 of a request's body as canonical JSON (sorted keys, no spaces, ASCII): an answer belongs to one body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def chat_body(source: EndpointConfig, messages: Sequence[Mapping[str, str]]) -> Body:
    """The body of one chat completion."""
    body: Body = {
        "model": source.model,
        "messages": list(messages),
        source.max_tokens_field: source.max_output_tokens,
        "seed": source.seed,
    }
    if source.temperature is not None:
        body["temperature"] = source.temperature
    return body
