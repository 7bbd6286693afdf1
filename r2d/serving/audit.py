"""The log of what was answered, where it is declared: one JSON object a call, a file a day."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from r2d.config.serving import AuditConfig
from r2d.inference.calls import Call
from r2d.privacy.deidentify import deidentify_texts
from r2d.serving.batching import VersionedAnswer

WORDS_OF_NOTE = ("rationale", "contradicted_findings", "unmentioned_findings", "remarks")
"""Keys of an answer that may quote its note."""
FILE_NAME = "answers-%Y-%m-%d.jsonl"


class AuditLog:
    """Appends to the file of the day, and removes files older than `days`."""

    def __init__(self, config: AuditConfig) -> None:
        self.config, self.folder = config, Path(config.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder

    def write(self, user: str, calls: list[Call], answers: list[VersionedAnswer]) -> None:
        """Append a line for each call; they are on disk when this returns."""
        now = datetime.now(UTC)
        path = self.folder / now.strftime(FILE_NAME)
        if path != self._path:  # a day has begun
            self._remove_old(now)
            self._path = path
        lines = [
            json.dumps(self._line(now, user, *pair), ensure_ascii=False) for pair in zip(calls, answers, strict=True)
        ]
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def _line(self, now: datetime, user: str, call: Call, answered: VersionedAnswer) -> dict[str, object]:
        row = answered.answer.as_row()
        texts = {"text": call.text, "rationale": row["rationale"]}
        line: dict[str, object] = {
            "time": now.isoformat(), "user": user, "id": call.id, "model": answered.version,
            **{name: value for name, value in row.items() if name not in WORDS_OF_NOTE},
        }  # fmt: skip
        if self.config.with_text:
            redacted = deidentify_texts([str(text or "") for text in texts.values()], self.config.privacy)
            line |= {name: found.text for name, found in zip(texts, redacted, strict=True)}
        return line

    def _remove_old(self, now: datetime) -> None:
        oldest = (now - timedelta(days=self.config.days)).strftime(FILE_NAME)
        for path in self.folder.glob("answers-*.jsonl"):
            if path.name < oldest:
                path.unlink()
