"""Chat completion requests: what is asked, known by the hash of its body."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2d.config.endpoint import EndpointConfig


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One chat completion. The body holds a note, so the repr does not show it."""

    custom_id: str
    """Names the request within its list, such as the id of the example."""
    body: dict[str, Any]

    def hash(self) -> str:
        """See `request_hash`."""
        return request_hash(self.body)


class RequestList(ABC):
    """The requests of a run. Each is made when it is needed; none is kept."""

    source: EndpointConfig
    prompt_hash: str
    """Hash of the file that words the questions."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, place: int, /) -> Request: ...

    def __iter__(self) -> Iterator[Request]:
        return (self[place] for place in range(len(self)))

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Yield `custom_id` and request hash of every request, in order."""
        return ((request.custom_id, request.hash()) for request in self)


def request_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 of a request's body as canonical JSON (sorted keys, no spaces, ASCII): an answer belongs to one body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def chat_body(source: EndpointConfig, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The body of one chat completion."""
    body: dict[str, Any] = {
        "model": source.model,
        "messages": list(messages),
        source.max_tokens_field: source.max_output_tokens,
        "seed": source.seed,
    }
    if source.temperature is not None:
        body["temperature"] = source.temperature
    return body
