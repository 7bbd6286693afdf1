"""The command line `r2d`. What it imports at the top is light: `r2d check` answers in a second."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2d.config import load_config
from r2d.errors import R2DError, RegistryError

if TYPE_CHECKING:
    from r2d.modeling.predictor import Decision

app = typer.Typer(
    name="r2d",
    help="Reason2Decide: a small language model that decides and explains. Decision support for professionals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Keeps `check` and `predict` sub-commands, however many there are."""


@app.command()
def check(
    configs: Annotated[list[Path], typer.Argument(help="Run configurations, such as configs/demo.yaml.")],
) -> None:
    """Check run configurations completely, without running anything."""
    faulty = 0
    for path in configs:
        try:
            run = load_config(path)
        except R2DError as error:
            faulty += 1
            typer.echo(str(error), err=True)
        else:
            typer.echo(
                f"{path}: ok ({run.data.format}, {len(run.data.labels.names)} labels, model {run.model.name}, "
                f"at most {run.stage1.max_steps:,} + {run.stage2.max_steps:,} steps)"
            )
    raise typer.Exit(2 if faulty else 0)


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(help="Notes; `-` reads one note a line from standard input.")],
    model: Annotated[
        str, typer.Option(help="Registered model (name@alias or name/version) or a model folder.")
    ] = "reason2decide@champion",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """Decide and explain: label, its probability, and the rationale for it."""
    from r2d.modeling.predictor import Predictor

    notes = [line.rstrip("\n") for line in sys.stdin if line.strip()] if texts == ["-"] else texts
    if not notes:
        raise R2DError("standard input held no note; give one note a line")
    if any(not note.strip() for note in notes):
        raise R2DError("a note is empty; give its text, or `-` to read notes from standard input")
    for decision in Predictor(_model_folder(model)).decide(notes):
        typer.echo(json.dumps(asdict(decision), ensure_ascii=False) if as_json else _shown(decision))


def main() -> None:
    """Entry point: an error the user can mend is shown as its message, without a traceback."""
    try:
        app()
    except R2DError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _model_folder(model: str) -> Path:
    """A folder as it is; a name through the registries that are installed beside `r2d`."""
    if Path(model).is_dir():
        return Path(model)
    registries = list(entry_points(group="r2d.model_registries"))
    if not registries:
        raise RegistryError(f"{model!r} is no folder, and no model registry is installed; give a model folder")
    folder: Path = registries[0].load()(model)
    return folder


def _shown(decision: Decision) -> str:
    ranked = sorted(decision.label_probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{name} {share:.0%}" for name, share in ranked if name != decision.label)
    own = decision.label_probabilities.get(decision.label)
    sure = f" ({own:.0%}; {others})" if own is not None else f" (no declared label; {others})"
    return f"{decision.label}{sure}\n  {decision.rationale}"
