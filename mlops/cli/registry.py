"""Commands about registered models: `r2d approve`, `r2d rollback`, `r2d history`."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer

from r2d.errors import R2DError

WORDS = {
    "found": "was champion before the history began",
    "promoted": "passed the gate and became champion",
    "approved": "was approved and became champion",
    "rolled_back": "became champion again by a rollback",
    "challenged": "became challenger",
}

Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.")]
Who = Annotated[str | None, typer.Option("--by", help="Who decides; by default the user who is logged in.")]


def add_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    for command in (approve, rollback, history):
        app.command()(command)


def approve(
    model: Annotated[str, typer.Argument(help="A version (name/version), or a name: its challenger.")],
    reason: Why,
    by: Who = None,
) -> None:
    """Say yes to a version that met every other rule of its gate: it becomes the champion."""
    from mlops import registry

    done = registry.approve(model, by=_who(by), reason=_why(reason))
    typer.echo(f"{done['name']} version {done['version']} is the champion{_instead_of(done)}")


def rollback(
    name: Annotated[str, typer.Argument(help="Name of a registered model.")],
    reason: Why,
    by: Who = None,
) -> None:
    """Go back to the champion before this one, at once."""
    from mlops import registry

    done = registry.rollback(name, by=_who(by), reason=_why(reason))
    if done["version"] is None:
        typer.echo(f"{name} has no champion any more: there was none before version {done['before']}")
    else:
        typer.echo(f"{name} version {done['version']} is the champion again{_instead_of(done)}")


def history(
    name: Annotated[str, typer.Argument(help="Name of a registered model.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """Every change of champion and challenger: when, what, by whom and why."""
    from mlops import registry

    changes = registry.history(name)
    for change in changes:
        typer.echo(json.dumps(change, ensure_ascii=False) if as_json else _line(change))
    if not changes and not as_json:
        typer.echo(f"{name}: no version has had an alias")


def _who(by: str | None) -> str:
    try:
        name = by if by is not None else getpass.getuser()
    except (OSError, KeyError):
        name = ""
    if not name.strip():
        raise R2DError("--by: nobody is named, and the system knows no user; give the name of who decides")
    return name.strip()


def _why(reason: str) -> str:
    if not reason.strip():
        raise R2DError("--reason is empty; say why, it is kept in the history")
    return " ".join(reason.split())


def _instead_of(done: dict[str, Any]) -> str:
    return "" if done["before"] is None else f", in place of version {done['before']}"


def _line(change: dict[str, Any]) -> str:
    what = WORDS[change["action"]]
    who = f"version {change['version']} {what}"
    if change["version"] is None:
        who = f"version {change['before']} was rolled back, and no version is champion"
    elif change["action"] != "challenged" and change["before"] not in (None, change["version"]):
        who += f", in place of version {change['before']}"
    return f"{change['at']}  {who}; by {change['by']}: {change['reason']}"
