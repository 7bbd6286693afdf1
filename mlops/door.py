"""The door of every command: files that only their owner reads, and an end in one line.

`r2d` enters by `mlops.cli.main`. The command `zenml` enters by `enter`, an init hook of ZenML (pyproject.toml), for
what ends before a pipeline of ours is loaded, such as an unknown stack, and by `pipelines.outcome` for the rest.
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import os
import signal
import sys
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TextIO

from r2d.errors import R2DError
from r2d.failures import OURS, causes, describe, refusal_of_machine, unexpected, write_log
from r2d.files import keep_private

STOPPED = "stopped by {}; what is finished is kept: the same command goes on from there"
LOG_FORMAT_VARIABLE = "ZENML_CONSOLE_LOGGING_FORMAT"  # named here too, for importing ZenML takes seconds
OBJECTS_OF_A_START = 1_000_000
"""More than the imports of any command make; looking for cycles among them takes half a second of CPU."""
REPORTING = ("r2d", "steps", "pipelines", "mlops", "zenml")
"""Packages whose remarks are shown; of all others, warnings are."""


class OneConsole(logging.StreamHandler):
    """Writes every line once, to standard error. ZenML adds a handler of its own whenever it is imported, which writes
    the same lines to the output among the results; the first line after that takes it away."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error as it is at the moment of a line."""
        return sys.stderr

    def take_over(self) -> None:
        """Take every other console away; a handler that writes elsewhere stays."""
        consoles = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        for handler in logging.root.handlers[:]:
            is_zenml = type(handler).__module__.startswith("zenml")  # its stream wraps standard output
            is_console = isinstance(handler, logging.StreamHandler) and (is_zenml or handler.stream in consoles)
            if is_console and handler is not self:
                logging.root.removeHandler(handler)

    def emit(self, record: logging.LogRecord) -> None:
        self.take_over()
        if record.levelno >= logging.WARNING or record.name.split(".")[0] in REPORTING:
            super().emit(record)


def log_to_console() -> None:
    """Show the remarks of `r2d`, and of ZenML once it is imported, in the form that the steps use too."""
    console = OneConsole()
    if os.environ.get(LOG_FORMAT_VARIABLE, "").lower() == "json":
        from zenml.logger import ZenMLJsonFormatter

        console.setFormatter(ZenMLJsonFormatter())
    console.take_over()
    logging.root.addHandler(console)
    logging.getLogger("r2d").setLevel(logging.INFO)


def start() -> None:
    """What every command begins with: files for their owner alone, no search for cycles while it starts, and one list
    of the installed packages, which ZenML asks for anew with each table and model that it stores: half a second."""
    keep_private()
    list_packages = importlib.metadata.packages_distributions
    if not hasattr(list_packages, "cache_info"):
        importlib.metadata.packages_distributions = cache(list_packages)
    usual = gc.get_threshold()

    def search_as_usual(*_: object) -> None:
        gc.callbacks.remove(search_as_usual)
        gc.set_threshold(*usual)

    if usual[0] < OBJECTS_OF_A_START:  # else it has begun already
        gc.callbacks.append(search_as_usual)  # called by the first search
        gc.set_threshold(OBJECTS_OF_A_START)


def enter() -> None:
    """Called by ZenML when it is imported. Only the command `zenml` gets another way to show its errors."""
    start()
    if Path(sys.argv[0]).name == "zenml":
        os.environ.setdefault("ZENML_ENABLE_RICH_TRACEBACK", "false")
        if not sys.stdout.isatty():  # where ZenML writes its log
            os.environ.setdefault("ZENML_LOGGING_COLORS_DISABLED", "true")
        sys.excepthook = show_error


def show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error as `sys.excepthook` gets it, in one line. Ctrl-C is none."""
    print(STOPPED.format("Ctrl-C") if kind is KeyboardInterrupt else f"Error: {one_line(error)}", file=sys.stderr)


def one_line(error: BaseException, *, step: str | None = None) -> str:
    """What happened and what to do, and for an error of a step or an unforeseen one the file with its traceback, which
    holds no message that may quote data."""
    said = error
    if not isinstance(error, R2DError):
        said = (None if step or refusal_of_machine(error) else _refusal_of_zenml(error)) or unexpected(error)
    log = None if said is error and step is None else write_log(describe(error))
    return (f"step {step}: " if step else "") + str(said) + (f" [log: {log}]" if log else "")


def _refusal_of_zenml(error: BaseException) -> R2DError | None:
    """The error of ZenML with its message where none of our code, and so no data, had a part in it."""
    frames = [cause.__traceback__ for cause in causes(error)]
    while frames:
        frame = frames.pop()
        if frame is None:
            continue
        if OURS.search(frame.tb_frame.f_code.co_filename):
            return None
        frames.append(frame.tb_next)
    message = " ".join(" ".join(map(str, error.args)).split()).rstrip(".") or type(error).__name__
    fix = "`zenml stack list` names the stacks" if "stack" in message.lower() else "see `zenml status`"
    return R2DError(f"ZenML: {message}; {fix}")


def stop(number: int) -> NoReturn:
    """End by a signal, as a handler of it.

    Raises:
        SystemExit: with 128 plus the signal's number.
    """
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    print(STOPPED.format(name), file=sys.stderr)
    raise SystemExit(128 + number)
