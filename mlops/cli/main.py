"""The command line `r2d`. What it imports at the top is light: `r2d check` answers in a second."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.cli import lineage, registry, retrain
from mlops.cli.inference import drift, predict_file
from r2d.config.data import LabelsConfig
from r2d.config.loading import load_config
from r2d.errors import R2DError
from r2d.reports.progress import show_live_bars
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.modeling.labels import LabelSet
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
            if run.evaluation.judge is not None:
                from r2d.evaluation.judge.rubric import load_rubric

                load_rubric(Path(run.evaluation.judge.rubric))
        except R2DError as error:
            faulty += 1
            typer.echo(str(error), err=True)
        else:
            typer.echo(
                f"{path}: ok ({run.data.format}, {_label_count(run.data.labels)}, model {run.model.name}, "
                f"at most {run.stage1.max_steps:,} + {run.stage2.max_steps:,} steps)"
            )
    raise typer.Exit(2 if faulty else 0)


@app.command()
def validate(
    config: Annotated[Path, typer.Argument(help="A run configuration: data, validation and model are read.")],
    out: Annotated[Path, typer.Option(help="Folder for the examples, the quarantine, the result and the report.")],
) -> None:
    """Hold the data against the contract: examples.parquet, quarantine.parquet, result.json, report.html."""
    from mlops.registry import start_folder
    from r2d.workflows import validate_to_folder

    run = load_config(config)
    validation = validate_to_folder(run, out, start_folder=start_folder(run.model))
    typer.echo(
        f"{validation.num_rows:,} rows: {len(validation.examples):,} valid, {len(validation.quarantined):,} "
        f"quarantined, {len(validation.errors)} errors, {len(validation.warnings)} warnings; "
        f"read {out / 'report.html'}"
    )
    validation.raise_for_errors()


@app.command()
def ingest(
    config: Annotated[Path, typer.Argument(help="A run configuration; validated first, then its rationales are read.")],
    out: Annotated[Path, typer.Option(help="Folder for the examples, what was rejected, the result and the report.")],
) -> None:
    """Read the rationales of every source: examples.parquet, rejected.parquet, result.json, report.html."""
    from mlops.registry import start_folder
    from r2d.workflows import ingest_to_folder

    run = load_config(config)
    ingestion = ingest_to_folder(run, out, start_folder=start_folder(run.model))
    for name, candidates in ingestion.candidates.items():
        taken = sum(candidate.accepted for candidate in candidates)
        typer.echo(f"{name}: {len(candidates):,} records, {taken:,} rationales, {len(candidates) - taken:,} rejected")
    typer.echo(f"read {out / 'report.html'}")


@app.command()
def batch_input(
    config: Annotated[Path, typer.Argument(help="A run configuration with an endpoint source.")],
    out: Annotated[Path, typer.Option(help="The OpenAI Batch input file to write.")],
    source: Annotated[str, typer.Option(help="Name of the endpoint source in rationales.sources.")] = "llm",
) -> None:
    """Write the requests of an endpoint source as an OpenAI Batch input file, to be run elsewhere."""
    from mlops.registry import start_folder
    from r2d.workflows import write_batch_requests

    run = load_config(config)
    num_requests = write_batch_requests(run, source, out, start_folder=start_folder(run.model))
    typer.echo(f"{out}: {num_requests:,} requests")


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(help="Notes; `-` reads one note a line from standard input.")],
    model: Annotated[
        str, typer.Option(help="Registered model (name@alias or name/version) or a model folder.")
    ] = "reason2decide@champion",
    option: Annotated[
        list[str] | None,
        typer.Option(help="A label these notes can have; repeat it. For models trained with options in the rows."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """Decide and explain: label, its probability, and the rationale for it."""
    from mlops.registry import model_folder
    from r2d.modeling.predictor import Predictor

    notes = [line.rstrip("\n") for line in sys.stdin if line.strip()] if texts == ["-"] else texts
    if not notes:
        raise R2DError("standard input held no note; give one note a line")
    if any(not note.strip() for note in notes):
        raise R2DError("a note is empty; give its text, or `-` to read notes from standard input")
    predictor = Predictor(model_folder(model))
    options = _options(option or [], predictor.labels.declared)
    for decision in predictor.decide(notes, options and [options] * len(notes)):
        typer.echo(json.dumps(decision.as_row(), ensure_ascii=False) if as_json else _shown(decision))


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Labelled rows (.csv, .jsonl, .parquet), or a run configuration (.yaml).")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, predictions.parquet and report.html.")],
    model: Annotated[
        str, typer.Option(help="Registered model (name@alias or name/version) or a model folder.")
    ] = "reason2decide@champion",
    compare_with: Annotated[str | None, typer.Option(help="Another model, measured on the same rows.")] = None,
) -> None:
    """Measure a model: labels, safety, calibration, rationales; metrics.json, predictions.parquet, report.html."""
    from mlops.registry import model_folder, start_folder
    from r2d.evaluation.champion import Champion
    from r2d.workflows import evaluate_to_folder

    champion = None if compare_with is None else Champion(compare_with, model_folder(compare_with))
    found = evaluate_to_folder(
        model_folder(model), data, out, champion=champion, start_folder=lambda run: start_folder(run.model)
    )
    figures = ", ".join(f"{name} {value:.3f}" for name, value in found.overview().items())
    typer.echo(f"{found.metrics['num_rows']:,} rows: {figures}; read {out / 'report.html'}")


stack_app = typer.Typer(help="The ZenML stack of a cluster.", no_args_is_help=True)
app.add_typer(stack_app, name="stack")


@stack_app.callback()
def _stack() -> None:
    """Keeps `apply` a sub-command, however many there are."""


@stack_app.command("apply")
def stack_apply(
    file: Annotated[Path, typer.Argument(help="A stack, such as k8s/stack.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference alone.")] = False,
) -> None:
    """Bring the ZenML server to the stack of a file, and show the difference."""
    from mlops.stack import apply_stack

    typer.echo("\n".join(apply_stack(file, dry_run=dry_run)) or f"{file}: nothing to do")


@app.command()
def doctor(stack: Annotated[str, typer.Option(help="Name of the ZenML stack.")] = "reason2decide") -> None:
    """Whether a run could start on a stack; exits 1 where a line fails."""
    from mlops.doctor import examine

    failed = 0
    for finding in examine(stack):
        typer.echo(str(finding))
        failed += not finding.ok
    raise typer.Exit(1 if failed else 0)


app.command()(predict_file)
app.command()(drift)


registry.add_commands(app)
lineage.add_commands(app)
retrain.add_commands(app)


def main() -> None:
    """Entry point: an error the user can mend is shown as its message, without a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("r2d").setLevel(logging.INFO)
    show_live_bars()
    try:
        app()
    except R2DError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _options(given: list[str], declared: LabelSet | None) -> list[str] | None:
    """The options of every note, or None for a model that decides between declared labels."""
    if declared is not None and given:
        raise R2DError(f"--option: this model decides between {', '.join(declared.names)}; leave --option out")
    if declared is not None:
        return None
    if len({normalise_label(option) for option in given} - {""}) < max(2, len(given)):
        raise R2DError(
            f"this model chooses among options that come with each note; found {len(given)}: give two or more that "
            "differ, such as --option yes --option no"
        )
    return given


def _label_count(labels: LabelsConfig) -> str:
    return "labels in each row" if labels.per_row else f"{len(labels.names)} labels"


def _shown(decision: Decision) -> str:
    ranked = sorted(decision.label_probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{name} {share:.0%}" for name, share in ranked if name != decision.label)
    own = decision.label_probabilities.get(decision.label)
    sure = f" ({own:.0%}; {others})" if own is not None else f" (no declared label; {others})"
    to_whom = "  -> for a person to decide: less sure than this model's threshold\n" if decision.deferred else ""
    return f"{decision.label}{sure}\n{to_whom}  {decision.rationale}"
