"""One family of exceptions. Every message says what, where, what was found, what is allowed, and the fix.

A message names files, row ids, columns and config keys. It never quotes the text of a note or a rationale.
"""


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


class GenerationError(R2DError):
    """Rationales cannot be asked for any further: a budget is spent, or the endpoint fails. Answers are kept."""
