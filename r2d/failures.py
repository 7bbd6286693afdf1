"""Failures of libraries and of the machine in our words: one line for a person, types and places for a log.

No message of a library is shown or kept, because it may quote the data; our own quote nothing.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from r2d.errors import R2DError, UnexpectedError
from r2d.files import outputs, work_root, zenml_home

OURS = re.compile(r"/(r2d|steps|pipelines|mlops)/[^/]")
NO_SPACE_WORDS = (
    "no space left",
    "disk quota exceeded",
    "file too large",
    "disk is full",
    "pytorchstreamwriter failed",
    "inline_container.cc",
)
"""In messages of Rust, Arrow, SQLite and torch; torch says no more than that it could not write."""


def unexpected(error: BaseException) -> UnexpectedError:
    """An error of a library without its message, which may quote the data."""
    made = UnexpectedError(
        refusal_of_machine(error)
        or refusal_of_cluster(error)
        or f"unexpected {type(error).__name__}{_place(error)}; please report it with its log, which quotes no data"
    )
    made.add_note(describe(error))
    return made


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error, or one of its causes, means that a disk, a quota or a file has no room left."""
    return any(
        getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        or any(words in str(cause).lower() for words in NO_SPACE_WORDS)
        for cause in causes(error)
        if not isinstance(cause, ValueError | LookupError)  # they quote what they read
    )


def refusal_of_machine(error: BaseException) -> str | None:
    """What the machine refused, and the fix: a full disk, a locked database, a folder that may not be written.

    None for any other error.
    """
    again = "then start the same command again: it goes on where it stopped"
    if is_out_of_space(error):
        return f"no space left on the disk, or no more is allowed by a quota ({_free_space()}); make room, {again}"
    for cause in causes(error):
        message = str(cause).lower()
        if "database is locked" in message:
            return (
                "a database is locked: another process has been writing to it for longer than is waited for. See with "
                f"`fuser -v` on the files `zenml.db` and `mlflow.db` which, wait for its end or stop it, {again}"
            )
        if any(words in message for words in ("readonly database", "unable to open database file", "disk i/o error")):
            return f"a database cannot be written; look at the rights, the quota and the health of its disk, {again}"
        if isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return (
                f"{cause.filename or 'a file'} cannot be used ({cause.strerror}); make it accessible, or name another "
                "(R2D_WORK_DIR is the folder of checkpoints, ZENML_CONFIG_PATH of runs, HF_HOME of models of the hub), "
                f"{again}"
            )
    return None


def refusal_of_cluster(error: BaseException) -> str | None:
    """The right that Kubernetes says is missing, with the fix; None for any other error. Its server names account, verb
    and resource there, and no value."""
    for cause in causes(error):
        if type(cause).__module__.startswith("kubernetes.") and getattr(cause, "status", None) == HTTPStatus.FORBIDDEN:
            with suppress(ValueError, TypeError, LookupError):
                message = json.loads(getattr(cause, "body", ""))["message"]
                return (
                    f"Kubernetes refused: {message}; use an account that may, or have this right added to its role "
                    "(k8s/base/rbac.yaml), then start the same command again"
                )
    return None


def _free_space() -> str:
    """What is free where runs write."""
    places = [
        *(("the output", folder) for folder in sorted(outputs)),
        ("checkpoints", work_root()),
        ("ZenML and MLflow", zenml_home()),
        ("temporary files", Path(tempfile.gettempdir())),
    ]
    free = []
    for name, folder in places:
        there = next(part for part in (folder.absolute(), *folder.absolute().parents) if part.exists())
        free.append(f"{shutil.disk_usage(there).free / 1e6:,.1f} MB free for {name} in {folder}")
    return ", ".join(free)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, that which caused it, and so on."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _place(error: BaseException) -> str:
    """Where an error was raised: the innermost line of our own code, else of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if OURS.search(frame.filename)]
    return "".join(f" ({frame.filename}, line {frame.lineno}, in {frame.name})" for frame in (ours or frames)[-1:])


def describe(error: BaseException) -> str:
    """An error for a log: its type, those of its causes, and where each was raised; our own with message and notes.

    Any other message is left out: libraries quote the value that they could not read (`could not convert string to
    float`).
    """
    lines = []
    for cause in causes(error):
        is_ours = isinstance(cause, R2DError)
        message = "\n".join([f": {cause}", *getattr(cause, "__notes__", [])]) if is_ours else " (message not shown)"
        lines.append(f"{'' if cause is error else 'caused by '}{type(cause).__name__}{message}")
        frames = traceback.extract_tb(cause.__traceback__)
        lines += [f"  {frame.filename}, line {frame.lineno}, in {frame.name}" for frame in frames]
    return "\n".join(lines)


def write_log(text: str) -> Path | None:
    """Write a new file of `logs` in `work_root`, else of the folder for temporary files; None where neither can be."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.log"
    for folder in (work_root() / "logs", Path(tempfile.gettempdir()) / f"reason2decide-{os.getuid()}"):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{text}\n")
            return folder / name
    return None
