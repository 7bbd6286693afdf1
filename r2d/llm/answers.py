"""The answers of an endpoint and what they cost: an append-only file in the shape of an OpenAI batch's output.

A lock (`.lock`), since one process at a time may write, and a count of requests (`.ledger.json`) are kept beside it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from r2d.config.endpoint import EndpointConfig
from r2d.errors import DataError, GenerationError
from r2d.files import partial_file, write_json
from r2d.llm.requests import RequestList

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Numbers of tokens that a model has read and written."""

    prompt: int = 0
    output: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.output + other.output)

    @property
    def total(self) -> int:
        return self.prompt + self.output

    def cost(self, source: EndpointConfig) -> float:
        """Cost at the configured prices."""
        return (self.prompt * source.input_price_per_million + self.output * source.output_price_per_million) / 1e6


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """One line of an answers file: an answer, a refusal, or that the retries ran out."""

    offset: int  # byte of the file where the line begins
    num_bytes: int
    values: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """`custom_id` and request hash: an answer to another prompt has another hash."""
        return str(self.values.get("custom_id")), str(self.values.get("request_hash"))

    @property
    def is_answered(self) -> bool:
        return self.values.get("error") is None

    @property
    def is_settled(self) -> bool:
        """Whether its request is never sent again: it has an answer, or was refused for what it says."""
        return self.is_answered or self.values.get("final") is True

    @property
    def tokens(self) -> Tokens:
        spent = self.values.get("tokens") or {}
        return Tokens(int(spent.get("prompt", 0)), int(spent.get("output", 0)))


@dataclass
class BudgetSpent(Exception):  # noqa: N818 -- it ends a run cleanly
    """Nothing more may be sent."""

    key: str
    limit: int
    spent: int


def answers_lock(path: Path) -> FileLock:
    """The lock that whoever changes an answers file holds."""
    return FileLock(path.with_name(path.name + ".lock"))


class Answers:
    """The one writer of an answers file and of the count of requests; a context, within which the file is locked.

    Each request is counted before it is sent, so that no crash can lose one. Tokens are counted from the answers, which
    hold them: those in flight are known only on arrival, so their budget may be overshot by at most `max_concurrency`
    answers.
    """

    def __init__(self, path: Path, source: EndpointConfig) -> None:
        self.path, self.source = path, source
        self.ledger_path = path.with_name(path.name + ".ledger.json")
        self.lock = answers_lock(path)
        self.settled: dict[tuple[str, str], bool] = {}
        """Key of each settled request -> whether it has an answer; all others are still to be sent."""
        self.tokens = Tokens()
        """Of all lines, those of earlier prompts included."""
        self.num_requests = 0
        """Sent over all runs, retries included."""
        self._file = -1

    def __enter__(self) -> Answers:
        """Lock the file, cut off a half-written last line, and read which requests are settled.

        Raises:
            GenerationError: another process is writing this file.
            DataError: a line within the file is no answer, or the count of requests is none.
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
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            end = 0
            for answer in read_answers(self.path):
                self._count(answer)
                self.num_requests += int(answer.values.get("attempts") or 0)
                end = answer.offset + answer.num_bytes
            if half := os.fstat(self._file).st_size - end:
                os.ftruncate(self._file, end)
                logger.warning("%s: cut off %d bytes of a half-written last line; it is asked again", self.path, half)
            if self.ledger_path.exists():  # where it is lost, the attempts of the answers count
                try:
                    counted = int(json.loads(self.ledger_path.read_text(encoding="utf-8"))["requests"])
                except (ValueError, KeyError, TypeError):
                    raise DataError(
                        f'{self.ledger_path}: expected {{"requests": a number}}, the requests sent so far. Delete the '
                        "file: they are then counted from the answers"
                    ) from None
                self.num_requests = max(self.num_requests, counted)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.lock.release()

    def append(self, line: str) -> None:
        """Write one line, JSON without its line break, so that it survives whatever happens next.

        Raises:
            GenerationError: the line could not be written whole; what was written of it is cut off again.
        """
        content = line.encode() + b"\n"
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
        self._count(Answer(offset, len(content), json.loads(line)))

    def count_request(self) -> None:
        """Count one request that is about to be sent."""
        for key, limit, spent in (
            ("max_requests", self.source.max_requests, self.num_requests),
            ("max_total_tokens", self.source.max_total_tokens, self.tokens.total),
        ):
            if limit is not None and spent >= limit:
                raise BudgetSpent(key, limit, spent)
        self.num_requests += 1
        write_json(self.ledger_path, {"requests": self.num_requests}, indent=None)

    def _count(self, answer: Answer) -> None:
        self.tokens += answer.tokens
        if answer.is_settled:
            self.settled[answer.key] = answer.is_answered


def read_answers(path: Path) -> Iterator[Answer]:
    """Yield the whole lines of an answers file, in order; none where it is missing, a half-written last one neither.

    Raises:
        DataError: a line is no answer.
    """
    if not path.exists():
        return
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
            yield Answer(offset, len(content), values)
            offset += len(content)


def write_current_answers(requests: RequestList, answers: Path, path: Path) -> int:
    """Write the last line of each request that has one, in the order of the requests: a clean OpenAI batch output.

    Answers to earlier prompts, and failures that were followed by an answer, are left out; `answers` is not changed.

    Returns:
        Number of lines; below the number of requests while some were never asked.
    """
    keys = list(requests.hashes())
    wanted = set(keys)
    places = {answer.key: (answer.offset, answer.num_bytes) for answer in read_answers(answers) if answer.key in wanted}
    current = [places[key] for key in keys if key in places]
    with partial_file(path) as partial, partial.open("wb") as clean:
        if current:
            with answers.open("rb") as file:
                for offset, num_bytes in current:
                    file.seek(offset)
                    clean.write(file.read(num_bytes))
    return len(current)
