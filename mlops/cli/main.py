"""The command line `r2d`. Only the module of the command that is asked for is loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Any

import typer
from typer.core import TyperGroup

from mlops.door import log_to_console, one_line, start, stop
from r2d.errors import R2DError
from r2d.reports.progress import show_live_bars
from r2d.signals import signals_caught

MODULES = {
    "runs": ["check", "plan", "validate", "ingest", "batch-input", "retrain", "search"],
    "projects": ["init", "new"],
    "pages": ["open"],
    "models": ["predict", "evaluate", "predict-file", "drift", "monitor"],
    "registry": ["approve", "rollback", "history", "looks", "lineage", "diff", "papers"],
    "operations": ["backup", "restore", "doctor", "forget", "forgotten", "retention", "watch", "beat", "stack"],
    "serving": ["serve", "export"],
    "review": ["review"],
}
"""Module beside this one -> its commands, in the order in which `r2d --help` shows them."""


class Commands(Mapping[str, object]):
    """name -> command, loaded when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        for module, names in MODULES.items():
            if name in names:
                return _commands_of(module)[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(MODULES.values())

    def __len__(self) -> int:
        return sum(map(len, MODULES.values()))


@cache
def _commands_of(module: str) -> Mapping[str, object]:
    return typer.main.get_group(import_module(f"mlops.cli.{module}").app).commands


class LoadedOnDemand(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()  # type: ignore[assignment]  # typer adds none to it


app = typer.Typer(
    name="r2d",
    cls=LoadedOnDemand,
    epilog="Start with `r2d check configs/demo.yaml`, or for files of your own with `r2d init FILE`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def r2d() -> None:
    """Reason2Decide: a small language model that decides and explains. Decision support for professionals."""


def main() -> None:
    """Entry point: an error that the user can mend is shown as its message, any other by its type and place alone."""
    start()
    log_to_console()
    show_live_bars()
    try:
        with signals_caught(stop):
            app()
    except R2DError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        typer.echo(f"error: {one_line(error)}", err=True)
        sys.exit(1)
