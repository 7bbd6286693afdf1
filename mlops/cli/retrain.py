"""The command `r2d retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r2d.errors import R2DError


def add_commands(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(retrain)


def retrain(
    config: Annotated[Path, typer.Option(help="A run configuration; its section `retraining` declares the triggers.")],
    force: Annotated[str | None, typer.Option(help="Train whatever is found; the reason.", metavar="REASON")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and why.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for decision.json, summary.md and the pages of the run.")
    ] = None,
) -> None:
    """Train again where a trigger fires: new data, drift, age, another code or configuration; else say why not.

    Exits 0 where there is nothing to do, and where a model was trained, whatever the gate said of it.
    """
    if force is not None and not force.strip():
        raise R2DError("--force is empty; say why")
    from mlops.retraining.retrain import retrain as decide_and_train

    result = decide_and_train(config, force=force and " ".join(force.split()), dry_run=dry_run, out=out)
    typer.echo("\n".join(result.lines()))
