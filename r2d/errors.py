"""One family of exceptions. Every message says what, where, what was found, what is allowed, and the fix.

A message names files, rows, declared columns and config keys. It never quotes a cell of a file: of what was found it
gives position, type, length and count. docs/clinical-safety.md has the rule and its exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence


class R2DError(Exception):
    """Anything the user can mend: shown as its message alone, without a traceback, by the command line."""


class ConfigError(R2DError):
    """The configuration is wrong. The message lists every fault at once."""


class DataError(R2DError):
    """A data file cannot be read as examples, or its rows break the contract."""


class MissingColumnsError(DataError):
    """A file lacks declared columns."""

    names: Sequence[str] = ()
    """Of the columns that it has: perhaps cells, so the message holds them only where they cannot be."""


class ModelError(R2DError):
    """A model or tokenizer cannot be found, loaded or used for this label set."""


class TrainingError(R2DError):
    """Training cannot start, go on or resume."""


class DivergedError(TrainingError):
    """The loss is no number or explodes: these hyper-parameters train nothing."""


class RegistryError(R2DError):
    """A registered model cannot be found or written."""


class SignatureError(R2DError):
    """Something is not signed by a declared key, or was changed since."""


class GenerationError(R2DError):
    """Rationales cannot be asked for any further: a budget is spent, or the endpoint fails. Answers are kept."""


class UnexpectedError(R2DError):
    """Nobody foresaw it, or the machine refused it: one line, and a description for a log as its note."""
