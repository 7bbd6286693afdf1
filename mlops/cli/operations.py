"""Commands that operate training on a cluster: `r2d retrain`, `doctor` and `stack apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlops.doctor import examine
from mlops.stack import apply_stack
from r2d.errors import R2DError

app = typer.Typer()
stack_app = typer.Typer(help="The ZenML stack of a cluster.", no_args_is_help=True)


@app.command()
def retrain(
    config: Annotated[Path, typer.Option(help="A run configuration; its section `retraining` declares the triggers.")],
    force: Annotated[
        str | None, typer.Option(help="Train whatever the triggers say; the reason.", metavar="REASON")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for decision.json, summary.md and the pages of the run.")
    ] = None,
) -> None:
    """Train again where a trigger fires: new data, drift, age, other code or configuration; else say why not.

    Exits 0 where there is nothing to do, and where a model was trained, whether or not it passed the gate.
    """
    if force is not None and not force.strip():
        raise R2DError("--force is empty; say why")
    from mlops import retraining

    result = retraining.retrain(config, force=force and " ".join(force.split()), dry_run=dry_run, out=out)
    typer.echo("\n".join(result.lines()))


@app.command()
def doctor(stack: Annotated[str, typer.Option(help="Name of the ZenML stack.")] = "reason2decide") -> None:
    """Check whether a run could start on a stack; exits 1 where a check fails."""
    num_failed = 0
    for finding in examine(stack):
        typer.echo(str(finding))
        num_failed += not finding.ok
    raise typer.Exit(1 if num_failed else 0)


@stack_app.command("apply")
def stack_apply(
    file: Annotated[Path, typer.Argument(help="A stack, such as k8s/stack.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
) -> None:
    """Bring the ZenML server to the stack of a file, and show the difference."""
    typer.echo("\n".join(apply_stack(file, dry_run=dry_run)) or f"{file}: nothing to do")
