"""Asking a language model for rationales: the prompt file, solved examples, and one request for each example."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import traceback
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.rationales import EndpointSource
from r2d.data.examples import Example, iterate_examples, split_of
from r2d.errors import ConfigError, DataError
from r2d.files import file_sha256, partial_file, read_yaml
from r2d.llm.requests import Request, RequestList, chat_body

if TYPE_CHECKING:
    from jinja2 import Template

logger = logging.getLogger(__name__)

PARTS = ("system", "user")
VARIABLES = ("text", "label", "labels", "examples")
"""What a template may use: the note, its gold label, all labels, and solved examples (each text, label, rationale)."""
BATCH_MAX_REQUESTS = 50_000
BATCH_MAX_BYTES = 200_000_000  # what OpenAI takes in one batch input file; vLLM's run-batch has no limit


@dataclass(frozen=True, slots=True)
class Prompt:
    """The two Jinja templates of a prompt file."""

    path: Path
    hash: str  # SHA-256 of the file's bytes, in hexadecimal
    variables: frozenset[str]
    """Which of `VARIABLES` the templates use; with `label` among them, the model is told the gold label."""
    templates: Mapping[str, Template]  # by part

    def messages(
        self, *, text: str, label: str, labels: Sequence[str], examples: Sequence[Mapping[str, str]]
    ) -> list[dict[str, str]]:
        """The chat messages for one note. An empty system message is left out: some models accept none."""
        values = {"text": text, "label": label, "labels": list(labels), "examples": list(map(dict, examples))}
        messages = []
        for part in PARTS:
            try:
                content = self.templates[part].render(values).strip()
            except Exception as error:  # a template can raise anything, and its message may quote the note
                frames = traceback.extract_tb(error.__traceback__)  # Jinja lets it point into the template
                line = next((frame.lineno for frame in reversed(frames) if frame.filename == "<template>"), "?")
                raise ConfigError(
                    f"{self.path}: {part}, line {line} of the template, fails for an example with "
                    f"{type(error).__name__}. Allowed are {', '.join(VARIABLES)}; examples have text, label, rationale"
                ) from None
            if content:
                messages.append({"role": part, "content": content})
            elif part == "user":
                raise ConfigError(f"{self.path}: user comes out empty for an example; it has to ask something")
        return messages


def load_prompt(path: Path) -> Prompt:
    """Read and check a prompt file, a YAML of `system` and `user`. Its templates run in a sandbox.

    Raises:
        ConfigError: the file is missing, is no YAML, lacks a part, has another key, or a template is faulty.
    """
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    values = read_yaml(path)
    keys = sorted(map(str, values)) if isinstance(values, dict) else []
    if keys != sorted(PARTS) or not all(isinstance(text, str) for text in values.values()):
        raise ConfigError(
            f"{path}: a prompt file has exactly the keys system and user, each a text; found "
            f'{", ".join(keys) or type(values).__name__}. Write `system: ""` for a model without one'
        )
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    templates, used = {}, set[str]()
    for part in PARTS:
        try:
            used |= find_undeclared_variables(environment.parse(values[part]))
            templates[part] = environment.from_string(values[part])
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"{path}: {part}, line {error.lineno} of the template is no Jinja: {error.message}"
            ) from None
    if unknown := sorted(used - set(VARIABLES)):
        raise ConfigError(f"{path}: unknown variables {', '.join(unknown)}; allowed are {', '.join(VARIABLES)}")
    if "text" not in used:
        raise ConfigError(f"{path}: neither template uses text; the model would never see the note. Add {{{{ text }}}}")
    return Prompt(path, file_sha256(path), frozenset(used), templates)


class FewShot:
    """Draws solved training examples by consistent hashing.

    The training rows lie on a ring by the hash of seed and id. Each draw for a note goes to a point of the ring and
    takes the next eligible row. So a row that is added or removed changes the few prompts beside it, and the answers to
    all others, already paid for, stay valid.
    """

    def __init__(self, examples: pa.Table, source: EndpointSource) -> None:
        """Collect the training rows that have a rationale of `few_shot_source`."""
        self.source = source
        self.ring: list[tuple[int, Example]] = []
        """Point and training example, by point."""
        if not source.few_shot:
            return
        self.rationale_source = str(source.few_shot_source)
        for example in iterate_examples(split_of(examples, "train")):
            if example.rationales.get(self.rationale_source, "").strip():
                self.ring.append((self._point(example.id), example))
        self.ring.sort(key=lambda item: (item[0], item[1].id))
        if len(self.ring) < source.few_shot:
            raise DataError(
                f"few_shot: {source.few_shot} solved examples are asked for, and {len(self.ring)} training rows have a "
                f"rationale of few_shot_source {self.rationale_source!r}; lower few_shot, or name another source in "
                "few_shot_source"
            )

    def draw(self, row_id: str, group: str | None, text: str) -> list[dict[str, str]]:
        """The solved examples for one note, in the order drawn: text, label and rationale of each.

        The row itself, rows of its group (patient or caller) and copies of its note are left out.
        """
        drawn: dict[int, Example] = {}
        for draw in range(self.source.few_shot):
            first = bisect_left(self.ring, self._point(row_id, draw), key=lambda item: item[0])
            for step in range(len(self.ring)):
                place = (first + step) % len(self.ring)
                example = self.ring[place][1]
                same_group = example.group is not None and example.group == group
                if place not in drawn and example.id != row_id and not same_group and example.text != text:
                    drawn[place] = example
                    break
        if len(drawn) < self.source.few_shot:
            raise DataError(
                f"few_shot: one example can be shown {len(drawn)} solved examples, not {self.source.few_shot}: "
                "itself, its group and copies of its note are left out; lower few_shot"
            )
        return [
            {"text": row.text, "label": row.label, "rationale": row.rationales[self.rationale_source].strip()}
            for row in drawn.values()
        ]

    def _point(self, *parts: object) -> int:
        name = "\0".join(map(str, (self.source.seed, *parts)))
        return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


class RationaleRequests(RequestList):
    """The requests of an endpoint source, one for each example of its splits."""

    source: EndpointSource

    def __init__(self, examples: pa.Table, source: EndpointSource, labels: Sequence[str]) -> None:
        """Read the prompt and collect the solved examples.

        Args:
            examples: table of `EXAMPLES_SCHEMA`; the training split gives the solved examples.
            labels: all labels, in order.

        Raises:
            ConfigError: the prompt file is faulty, or a template fails on an example (then when it is asked for).
            DataError: ids are not unique, or there are too few solved examples.
        """
        self.source, self.labels = source, list(labels)
        self.prompt = load_prompt(Path(source.prompt))
        self.prompt_hash = self.prompt.hash
        self.few_shot = FewShot(examples, source)
        selected = examples.filter(pc.is_in(examples["split"], pa.array(source.splits)))
        self.rows = selected.select(["id", "text", "label", "group"]).combine_chunks()
        counts = pc.value_counts(self.rows["id"])
        if len(counts) < len(self.rows):
            raise DataError(
                f"{len(self.rows) - len(counts):,} examples have the id of another; an answer is joined by its id: "
                "make ids unique"
            )
        if source.few_shot and "examples" not in self.prompt.variables:
            logger.warning("%s uses no examples: few_shot %d has no effect", source.prompt, source.few_shot)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int, /) -> Request:
        """The request for one example of the splits."""
        row_id, text, label, group = (self.rows[name][place].as_py() for name in ("id", "text", "label", "group"))
        solved = self.few_shot.draw(row_id, group, text)
        messages = self.prompt.messages(text=text, label=label, labels=self.labels, examples=solved)
        return Request(row_id, chat_body(self.source, messages))


def write_batch_input(examples: pa.Table, source: EndpointSource, labels: Sequence[str], path: Path) -> int:
    """Write the input file of an OpenAI batch or of vLLM's run-batch.

    Returns:
        Number of requests: one for each example of the source's splits.

    Raises:
        ConfigError, DataError: as `RationaleRequests`.
    """
    requests = RationaleRequests(examples, source, labels)
    with partial_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for request in requests:
            line = {"custom_id": request.custom_id, "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**line, "body": request.body}) + "\n")
        file.flush()
        os.fsync(file.fileno())
        num_bytes = file.tell()
    if len(requests) > BATCH_MAX_REQUESTS or num_bytes > BATCH_MAX_BYTES:
        logger.warning(
            "%s: %d requests, %.0f MB; OpenAI takes at most %d and %.0f MB in a file: split it before uploading",
            path, len(requests), num_bytes / 1e6, BATCH_MAX_REQUESTS, BATCH_MAX_BYTES / 1e6,
        )  # fmt: skip
    return len(requests)
