"""One family of exceptions. Every message says what, where, what was found, what is allowed, and the fix.

A message names files, rows, declared columns and config keys. It never quotes a cell of a file: of what was found it
gives position, type, length and count. docs/clinical-safety.md has the rule and its exceptions.
"""

from __future__ import annotations

import traceback


class R2DError(Exception):
    """Anything the user can mend: shown as its message alone, without a traceback, by the command line."""


class ConfigError(R2DError):
    """The configuration is wrong. The message lists every fault at once."""


class DataError(R2DError):
    """A data file cannot be read as examples, or its rows break the contract."""


class ModelError(R2DError):
    """A model or tokenizer cannot be found, loaded or used for this label set."""


class TrainingError(R2DError):
    """Training cannot start, go on or resume."""


class RegistryError(R2DError):
    """A registered model cannot be found or written."""


class SignatureError(R2DError):
    """Something is not signed by a declared key, or was changed since."""


class GenerationError(R2DError):
    """Rationales cannot be asked for any further: a budget is spent, or the endpoint fails. Answers are kept."""


def describe_unexpected(error: BaseException) -> str:
    """An error that nobody foresaw, for a log: its type, those of its causes, and where each was raised.

    Its message is left out: libraries quote the value that they could not read (`could not convert string to float`).
    """
    lines, seen = [], set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        lines.append(f"{'unexpected' if cause is error else 'caused by'} {type(cause).__name__}")
        frames = traceback.extract_tb(cause.__traceback__)
        lines += [f"  {frame.filename}, line {frame.lineno}, in {frame.name}" for frame in frames]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    lines.append("Its message is not shown: it may quote the data. Please report these lines")
    return "\n".join(lines)
