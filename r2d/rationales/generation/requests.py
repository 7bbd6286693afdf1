"""From examples to requests: one chat completion each, known by the hash of its body."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.endpoint import EndpointConfig
from r2d.config.rationales import EndpointSource
from r2d.errors import DataError
from r2d.rationales.generation.few_shot import FewShot
from r2d.rationales.generation.prompt import load_prompt

logger = logging.getLogger(__name__)

BATCH_MAX_REQUESTS = 50_000
BATCH_MAX_BYTES = 200_000_000
"""What OpenAI takes in one batch input file; vLLM's run-batch has no limit."""


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One question. It holds a note: neither its repr nor a message ever shows the body."""

    custom_id: str
    """Id of the example."""
    body: dict[str, Any]

    def hash(self) -> str:
        """SHA-256 of the canonical JSON of the body: an answer belongs to exactly this question."""
        canonical = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class RequestList(Protocol):
    """What a run asks: a number of requests, each made when it is needed."""

    @property
    def source(self) -> EndpointConfig: ...

    @property
    def prompt_hash(self) -> str:
        """Of the file that words the questions."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Request: ...

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Id and request hash of every request, in order."""
        ...


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


class Requests:
    """The requests of a source, one for each example of its splits; each is made when it is needed, none is kept."""

    def __init__(self, examples: pa.Table, source: EndpointSource, labels: Sequence[str]) -> None:
        """Read the prompt and collect the solved examples.

        Raises:
            ConfigError: the prompt file is faulty.
            DataError: ids are not unique, or there are too few solved examples.
        """
        self.source, self.labels = source, list(labels)
        self.prompt = load_prompt(Path(source.prompt))
        self.few_shot = FewShot(examples, source)
        chosen = examples.filter(pc.is_in(examples["split"], pa.array(source.splits)))
        self.rows = chosen.select(["id", "text", "label", "group"]).combine_chunks()
        counts = pc.value_counts(self.rows["id"])
        if len(counts) < len(self.rows):
            twice = next(count["values"] for count in counts.to_pylist() if count["counts"] > 1)
            raise DataError(
                f"example id {twice!r} occurs more than once; an answer is joined by its id: make ids unique"
            )
        if source.few_shot and "examples" not in self.prompt.variables:
            logger.warning("%s uses no examples: few_shot %d has no effect", source.prompt, source.few_shot)

    @property
    def prompt_hash(self) -> str:
        return self.prompt.hash

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Request]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> Request:
        """The request of the n-th example of the splits.

        Raises:
            ConfigError: a template fails on this example.
            DataError: it can be shown too few solved examples.
        """
        row = {name: self.rows[name][place].as_py() for name in self.rows.column_names}
        messages = self.prompt.messages(
            row["id"],
            text=row["text"],
            label=row["label"],
            labels=self.labels,
            examples=self.few_shot.of(row["id"], row["group"], row["text"]),
        )
        return Request(row["id"], chat_body(self.source, messages))

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Id and request hash of every example, in order."""
        return ((request.custom_id, request.hash()) for request in self)


def write_batch_input(examples: pa.Table, source: EndpointSource, labels: Sequence[str], path: Path) -> int:
    """Write the input file of an OpenAI batch or of vLLM's run-batch: aside first, then renamed.

    Returns:
        Number of requests: one for each example of the source's splits.

    Raises:
        ConfigError: the prompt file is faulty.
        DataError: ids are not unique, or there are too few solved examples.
    """
    requests = Requests(examples, source, labels)
    aside = path.with_name(path.name + ".partial")
    with aside.open("w", encoding="utf-8") as file:
        for request in requests:
            line = {"custom_id": request.custom_id, "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**line, "body": request.body}) + "\n")
        file.flush()
        os.fsync(file.fileno())
        num_bytes = file.tell()
    aside.replace(path)
    if len(requests) > BATCH_MAX_REQUESTS or num_bytes > BATCH_MAX_BYTES:
        logger.warning(
            "%s: %d requests, %.0f MB; OpenAI takes at most %d and %.0f MB in a file: split it before uploading",
            path, len(requests), num_bytes / 1e6, BATCH_MAX_REQUESTS, BATCH_MAX_BYTES / 1e6,
        )  # fmt: skip
    return len(requests)
