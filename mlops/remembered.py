"""Answers of ZenML and MLflow that hold until their databases change: to ask anew, importing the two takes seconds.

Only SQLite files on this machine are known to be unchanged. An answer lies in the user's cache folder, so it may hold
no text that a person has written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from r2d import __version__
from r2d.files import work_root, write_json, zenml_home

SQLITE = "sqlite"
CHANGE_COUNTER = slice(24, 28)
"""Bytes of a SQLite file that change with each transaction, by its published format."""


class Remembered:
    """One question, and the answer that was kept in the present state of what it depends on."""

    def __init__(self, question: str, state: Callable[[], str | None]) -> None:
        """`state`: changes whenever the answer may; None where nobody knows, so that nothing is kept."""
        name = hashlib.sha256(question.encode()).hexdigest()
        self._file, self._state = work_root() / "registry" / f"{name[:32]}.json", state
        self._before = self._now()

    def answer(self) -> Any:
        """What was kept; None where nothing was, or not in this state."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if self._before is not None and kept["state"] == self._before:
                return kept["answer"]
        return None

    def keep(self, answer: Any) -> None:
        """Keep an answer, unless the state has changed while it was asked for, or the folder cannot be written."""
        if self._before is None or self._now() != self._before:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"state": self._before, "answer": answer})

    def _now(self) -> str | None:
        """The state as a hash, for it may hold passwords."""
        state = self._state()
        return None if state is None else hashlib.sha256(f"{__version__} {state}".encode()).hexdigest()


def database_state(address: str) -> str | None:
    """What changes with every transaction of a SQLite file; None for another address, or while one is being written."""
    parts = urlsplit(address)
    path = Path(parts.path[1:])
    if parts.scheme != SQLITE or any(Path(f"{path}{ending}").exists() for ending in ("-journal", "-wal")):
        return None
    try:
        with path.open("rb") as file:
            facts, head = os.fstat(file.fileno()), file.read(CHANGE_COUNTER.stop)
    except OSError:
        return None
    counter = head[CHANGE_COUNTER].hex()
    return f"{path.absolute()} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {counter}"


def stack_state() -> str | None:
    """What changes whenever another stack may be the active one; None where that is for a server to say."""
    variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith("ZENML_")}
    if any(name.startswith(("ZENML_STORE_", "ZENML_SERVER")) for name in variables):
        return None
    root = Path(os.environ.get("ZENML_REPOSITORY_PATH") or Path.cwd()).absolute()
    try:
        home = (zenml_home() / "config.yaml").read_text(encoding="utf-8")
        files = [folder / ".zen" / "config.yaml" for folder in (root, *root.parents)]
        chosen = [file.read_text(encoding="utf-8") for file in files if file.exists()]
        database = database_state(yaml.safe_load(home)["store"]["url"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return None if database is None else json.dumps([home, chosen, database, variables])
