"""Commands about a run before and after it: `r2d check`, `plan`, `validate`, `ingest`, `batch-input`,
`retrain` and `search`.

`r2d check` answers in a second: a module that loads pyarrow, pandas or torch is imported inside a command.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.cli.projects import remarks_withheld
from mlops.registry.forgotten import without_forgotten
from mlops.registry.versions import start_folder
from r2d.config.loading import load_config, read_parameters
from r2d.config.plan import PlanConfig
from r2d.config.run import RunConfig
from r2d.config.section import parse_section
from r2d.errors import R2DError
from r2d.files import file_in_made_folder, out_folder
from r2d.modeling.hub import WITHOUT_HUB, UnreachableError, locate
from r2d.registered import REGISTERED
from r2d.signing import Keys

if TYPE_CHECKING:
    from r2d.search import Trial

app = typer.Typer()


@app.command(epilog="Example: r2d check configs/demo.yaml")
def check(
    configs: Annotated[list[Path], typer.Argument(help="Run configurations, such as configs/demo.yaml.")],
    data: Annotated[bool, typer.Option(help="Open the files of data and rationales too.")] = True,
) -> None:
    """Check run configurations completely, and the files that they name, without running anything."""
    num_faulty = 0
    for path in configs:
        try:
            run = load_config(path)
            Keys.declared(run.registration.signing).require()
            if (judge := run.evaluation.judge) is not None:
                from r2d.evaluation.judge.rubric import load_rubric

                rubric = load_rubric(Path(judge.rubric))
                if judge.human_scores is not None:
                    from r2d.evaluation.judge.agreement import read_human_scores

                    read_human_scores(Path(judge.human_scores), rubric)
            if run.evaluation.files():
                from r2d.rationales.claims import ClaimChecker

                claims, stress = run.evaluation.claims, run.evaluation.stress
                checker = ClaimChecker.of(claims.findings_file, claims.negation_file)
                if stress is not None:
                    from r2d.evaluation.stress import load_stress

                    load_stress(Path(stress.file), checker, run.data.labels, asked=run.registration.gate.edits)
            lines: list[str] = []
            if data and run.data.format != "synthetic_triage":
                from r2d.workflows import check_files

                with remarks_withheld("r2d"):  # the lines below say it
                    lines = check_files(run, start_folder=start_folder(run.model))
            for place in hub_names(run) if data else ():
                try:
                    locate(*place)
                except UnreachableError as error:  # the machine of the run may reach it
                    typer.echo(f"{path}: warning: {error}", err=True)
        except R2DError as error:
            num_faulty += 1
            typer.echo(str(error), err=True)
            continue
        stages = [run.stage1, run.stage2] if run.method.has_stage1 else [run.stage2]
        steps = " + ".join(f"{stage.max_steps:,}" for stage in stages)
        labels = "labels in each row" if run.data.labels.per_row else f"{len(run.data.labels.names)} labels"
        typer.echo(f"{path}: ok ({run.data.format}, {labels}, model {run.model.name}, at most {steps} steps)")
        for line in lines:
            typer.echo(f"  {line}")
        if needs := run.threshold_needs():
            typer.echo(f"{path}: {needs}")
        rules = run.registration.gate.for_labels(run.data.labels)
        for remark in rules.remarks:
            typer.echo(f"{path}: {remark}")
        for advice in (*rules.advice, *run.judge_remarks()):
            typer.echo(f"{path}: warning: {advice}", err=True)
    raise typer.Exit(2 if num_faulty else 0)


def hub_names(run: RunConfig) -> list[tuple[str, str | None, str]]:
    """Name, revision and key of each model that a run asks the hub for; folders too, which are found at once."""
    model, evaluation = run.model, run.evaluation
    places = [
        (model.name, model.revision, "model.name"),
        (evaluation.bertscore_model, evaluation.bertscore_revision, "evaluation.bertscore_model"),
    ]
    return [place for place in places if place[0] != WITHOUT_HUB[place[2]] and not place[0].startswith(REGISTERED)]


@app.command(epilog="Example: r2d plan configs/demo.yaml")
def plan(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run configuration: its labels, threshold and gate, and its data for their shares."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A file such as configs/plan.yaml; the argument goes before its `run`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON in place of the table.")] = False,
) -> None:
    """Say how many rows a study needs, before training: for a bound on under-triage, calibration, a threshold and the
    rules of the gate."""
    from r2d.data.load import load_examples
    from r2d.planning.plan import plan as plan_rows

    values = {} if config is None else dict(read_parameters(config))
    values |= {} if run is None else {"run": str(run)}
    asked = parse_section(PlanConfig, values, where=str(config or "r2d plan"))
    of_run = None if asked.run is None else without_forgotten(load_config(Path(asked.run)))
    is_read = of_run is not None and None in (asked.label_shares, asked.rows_per_group)
    result = plan_rows(asked, of_run, load_examples(of_run.data) if of_run is not None and is_read else None)
    typer.echo(json.dumps(asdict(result), indent=2) if as_json else "\n".join(result.lines()))


@app.command(epilog="Example: r2d validate docs/delivery/delivery.yaml --out checked")
def validate(
    config: Annotated[Path, typer.Argument(help="A run configuration: data, validation and model are read.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the examples, the quarantine, the result and the report.", callback=out_folder),
    ],
) -> None:
    """Check the data against the data contract: examples.parquet, quarantine.parquet, result.json, report.html."""
    from mlops.page_origin import before_training
    from r2d.reports.origin import pages_of
    from r2d.text import plural
    from r2d.workflows import require_usable, validate_to_folder

    run = without_forgotten(load_config(config))
    start = start_folder(run.model)
    with pages_of(before_training()):
        validation = validate_to_folder(run, out, start_folder=start)
    typer.echo(
        f"{validation.num_rows:,} rows: {len(validation.examples):,} valid, {len(validation.quarantined):,} "
        f"quarantined, {plural(len(validation.errors), 'error')}, {plural(len(validation.warnings), 'warning')}; "
        f"read {out / 'report.html'}"
    )
    require_usable(validation, run, start)


@app.command(epilog="Example: r2d ingest docs/delivery/delivery.yaml --out ingested")
def ingest(
    config: Annotated[Path, typer.Argument(help="A run configuration; validated first, then its rationales are read.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the examples, rejected rationales, result and report.", callback=out_folder),
    ],
) -> None:
    """Read the rationales of every source: examples.parquet, rejected.parquet, result.json, report.html."""
    from mlops.page_origin import before_training
    from r2d.reports.origin import pages_of
    from r2d.workflows import ingest_to_folder

    run = without_forgotten(load_config(config))
    with pages_of(before_training()):
        ingestion = ingest_to_folder(run, out, start_folder=start_folder(run.model))
    for name, candidates in ingestion.candidates.items():
        accepted = sum(candidate.accepted for candidate in candidates)
        rejected = len(candidates) - accepted
        typer.echo(f"{name}: {len(candidates):,} records, {accepted:,} rationales, {rejected:,} rejected")
    typer.echo(f"read {out / 'report.html'}")


@app.command(epilog="Example: r2d batch-input my.yaml --source llm --out requests.jsonl")
def batch_input(
    config: Annotated[Path, typer.Argument(help="A run configuration with an endpoint source.")],
    out: Annotated[Path, typer.Option(help="The OpenAI Batch input file to write.", callback=file_in_made_folder)],
    source: Annotated[str, typer.Option(help="Name of the endpoint source in rationales.sources.")] = "llm",
) -> None:
    """Write the requests of an endpoint source as an OpenAI Batch input file, to be run elsewhere."""
    from r2d.workflows import write_batch_requests

    run = without_forgotten(load_config(config))
    num_requests = write_batch_requests(run, source, out, start_folder=start_folder(run.model))
    typer.echo(f"{out}: {num_requests:,} requests")


@app.command(epilog="Example: r2d retrain --config my.yaml --dry-run")
def retrain(
    config: Annotated[Path, typer.Option(help="A run configuration; its section `retraining` declares the triggers.")],
    force: Annotated[
        str | None, typer.Option(help="Train whatever the triggers say; the reason.", metavar="REASON")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for decision.json, summary.md and the pages of the run.", callback=out_folder),
    ] = None,
) -> None:
    """Train again where a trigger fires: new data, drift, age, other code or configuration; else say why not.

    Exits 0 where there is nothing to do, and where a model was trained, whether or not it passed the gate.
    """
    if force is not None and not force.strip():
        raise R2DError("--force is empty; say why")
    from mlops import retraining
    from mlops.watch import beat

    result = retraining.retrain(config, force=force and " ".join(force.split()), dry_run=dry_run, out=out)
    typer.echo("\n".join(result.lines()))
    if not dry_run:
        beat("retrain")


@app.command(epilog="Example: r2d search --config configs/search.yaml --out searched")
def search(
    config: Annotated[Path, typer.Option(help="A run configuration with a section `search`.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the journal, trials.html and best.yaml; the same to go on.", callback=out_folder),
    ],
) -> None:
    """Search hyper-parameters: each trial trains a model and is measured on the validation rows, never on test rows.

    After a stop, the same command goes on. Exits 1 where no trial keeps the bound on under-triage.
    """
    from mlops import search as searching

    def show(trial: Trial) -> None:
        values = ", ".join(f"{key} {trial.shown(key)}" for key in trial.values)
        above = "" if trial.is_allowed or trial.outcome != "measured" else " (above the bound)"
        typer.echo(f"trial {trial.number}: {trial.figures or trial.reason}{above}; {values}")

    trials = searching.search(config, out, show)
    best = trials.best()
    typer.echo(f"every trial: {out / searching.PAGE_FILE}")
    if best is None:
        typer.echo("no trial was measured that keeps search.max_under_triage; widen the space, or see the page")
        raise typer.Exit(1)
    typer.echo(
        f"the best: trial {best.number}, {best.figures} on the validation rows. They chose it, so these figures are "
        "too good; what it is worth, a run says on the test rows:\n"
        f"zenml pipeline run reason2decide --config {out / searching.BEST_FILE}"
    )
