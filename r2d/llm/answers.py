"""The answers file: JSON Lines in the shape of an OpenAI batch's output, appended at once, by one process at a time."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from r2d.config.rationales import EndpointSource
from r2d.errors import DataError, GenerationError
from r2d.rationales.generation.requests import Requests

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model has read and written."""

    prompt: int = 0
    output: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.output + other.output)

    @property
    def total(self) -> int:
        return self.prompt + self.output


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """One line of an answers file, and where it stands."""

    offset: int
    num_bytes: int
    values: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Which request it belongs to: an answer to another prompt has another hash."""
        return str(self.values.get("custom_id")), str(self.values.get("request_hash"))

    @property
    def answered(self) -> bool:
        return self.values.get("error") is None

    @property
    def settled(self) -> bool:
        """Whether its request is never sent again: it has an answer, or was refused for what it says."""
        return self.answered or self.values.get("final") is True

    @property
    def tokens(self) -> Tokens:
        spent = self.values.get("tokens") or {}
        return Tokens(int(spent.get("prompt", 0)), int(spent.get("output", 0)))


class Answers:
    """The one writer of an answers file; a context, within which the file is locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = FileLock(path.with_name(path.name + ".lock"))
        self.settled: dict[tuple[str, str], bool] = {}
        """Request -> whether it has an answer; those missing here are still to be sent."""
        self.tokens = Tokens()
        """Of all lines, those of earlier prompts included."""
        self.attempts = 0
        """Requests that the lines tell of, retries included."""
        self._file = -1

    def __enter__(self) -> Answers:
        """Lock the file, cut off a half-written last line, and read what is settled.

        Raises:
            GenerationError: another process is writing this file.
            DataError: a line within the file is no answer.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            raise GenerationError(
                f"{self.path}: another process is writing answers to it (lock {self.lock.lock_file}). Wait until it is "
                "done, or stop it; a lock left by a killed process does not block"
            ) from None
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._cut_half_line()
            for line in read_lines(self.path):
                self._count(line)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.lock.release()

    def append(self, text: str) -> None:
        """Write one line, as JSON without its end, so that it outlives whatever happens next.

        Raises:
            GenerationError: the line could not be written whole; what was written of it is cut off again.
        """
        content = text.encode() + b"\n"
        offset = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, content)
            if written < len(content):
                raise OSError(f"{written} of {len(content)} bytes")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, offset)
            raise GenerationError(
                f"{self.path}: an answer could not be written ({error.strerror or error}); make room and run again: "
                "what stands in the file is not asked again"
            ) from None
        self._count(Line(offset, len(content), json.loads(text)))

    def _count(self, line: Line) -> None:
        self.tokens += line.tokens
        self.attempts += int(line.values.get("attempts") or 0)
        if line.settled:
            self.settled[line.key] = line.answered

    def _cut_half_line(self) -> None:
        size = os.fstat(self._file).st_size
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
            logger.warning("%s: cut off %d bytes of a half-written last line; it is asked again", self.path, size - end)


def read_lines(path: Path) -> Iterator[Line]:
    """The whole lines of an answers file, in order; a half-written last one is passed over.

    Raises:
        DataError: a line is no answer.
    """
    offset = 0
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            if not content.endswith(b"\n"):
                return
            try:
                values = json.loads(content)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict) or not {"custom_id", "request_hash"} <= values.keys():
                raise DataError(
                    f"{path}: line {number} is no answer: a JSON object with custom_id and request_hash is expected. "
                    "Delete the line, or give another file for the answers"
                )
            yield Line(offset, len(content), values)
            offset += len(content)


def write_current_answers(
    examples: pa.Table, source: EndpointSource, labels: Sequence[str], answers: Path, path: Path
) -> int:
    """Write one line for each example that has one for its present request, in order: a clean OpenAI batch output.

    Answers to earlier prompts, and failures that were followed by an answer, stay out; `answers` is not touched.

    Returns:
        Number of lines; below the number of examples while some were never asked.

    Raises:
        ConfigError: the prompt file is faulty.
        DataError: the answers, the ids or the solved examples are faulty.
    """
    wanted = dict(Requests(examples, source, labels).hashes())
    found: dict[str, tuple[int, int]] = {}
    if answers.exists():
        for line in read_lines(answers):
            custom_id, request_hash = line.key
            if wanted.get(custom_id) == request_hash:
                found[custom_id] = (line.offset, line.num_bytes)
    aside = path.with_name(path.name + ".partial")
    with aside.open("wb") as clean:
        if found:
            with answers.open("rb") as file:
                for offset, num_bytes in (found[custom_id] for custom_id in wanted if custom_id in found):
                    file.seek(offset)
                    clean.write(file.read(num_bytes))
    aside.replace(path)
    return len(found)
