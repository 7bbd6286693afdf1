"""`r2d serve`: the champion, asked over HTTP; `r2d export`: for a CPU that has to be quick."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.cli.models import CHAMPION, Settings, keys_set_by_option
from mlops.registry.forgotten import without_forgotten
from mlops.registry.looks import look_counter
from mlops.registry.versions import (
    Reference,
    config_of_version,
    find_version,
    model_folder,
    registry_client,
    start_folder,
)
from r2d.config.loading import parse_settings, read_parameters
from r2d.config.section import parse_section
from r2d.config.serving import Engine, Quantization, ServingConfig
from r2d.errors import DataError, R2DError

if TYPE_CHECKING:
    from r2d.serving.batching import ServedModel
    from r2d.serving.service import Service

app = typer.Typer()


@app.command(epilog="Example: r2d serve --config configs/serve.yaml")
def serve(
    config: Annotated[
        Path | None, typer.Option(help="A file such as configs/serve.yaml; options go before it.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Registered model (name@alias, name/version) or folder.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; off the loopback a token is needed.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    review: Annotated[
        str | None, typer.Option(help="Show the review page, and keep what is said there in this SQLite file or URL.")
    ] = None,
    cases: Annotated[
        str | None, typer.Option(help="Calls to review: a .csv, .jsonl or .parquet file with columns id and text.")
    ] = None,
) -> None:
    """Answer calls over HTTP: POST /v1/decide. A moved alias is followed without a dropped request."""
    given: dict[str, Any] = {"model": model, "host": host, "port": port}
    values: dict[str, Any] = {} if config is None else dict(read_parameters(config))
    values |= {key: value for key, value in given.items() if value is not None}
    reviewing = {"database": review, "cases": cases and {"path": cases}}
    if any(reviewing.values()):
        values["review"] = (values.get("review") or {}) | {key: value for key, value in reviewing.items() if value}
    settings = parse_section(ServingConfig, values, where=str(config or "r2d serve"))
    from r2d.serving.limits import TOKEN_VARIABLE, require_guarded

    token = os.environ.get(TOKEN_VARIABLE)
    require_guarded(settings, token)
    from r2d.review.pages import require_reviewable
    from r2d.serving.run import run_service

    require_reviewable(settings, token)

    newer = newer_model(settings.model)
    first = newer("")
    assert first is not None, "no version is called ''"
    run_service(settings, first, token=token, newer_model=newer, say=typer.echo, prepare=add_review)


@app.command(epilog="Example: r2d export --model reason2decide@champion --quantization int8 --out quick")
def export(
    out: Annotated[Path, typer.Option(help="The model folder to write; it must not exist yet.")],
    model: Annotated[str, typer.Option(help="Registered model (name@alias, name/version) or folder.")] = CHAMPION,
    engine: Annotated[Engine, typer.Option(help="What will run it.")] = "ctranslate2",
    quantization: Annotated[
        Quantization, typer.Option(help="int8 is smaller and quicker, and decides a few calls otherwise.")
    ] = "none",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Rows to measure the cost on, or a run configuration: its test rows. Of a registered model by default "
            "the test rows of its run."
        ),
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure what the export costs: cost.json, README.md.")] = True,
    settings: Settings = None,
) -> None:
    """Export a model for CTranslate2, quicker on CPUs, and measure what that costs in macro-F1, under-triage, BERTScore
    and bytes; give the folder to `r2d serve`, `predict` or `predict-file`."""
    from r2d.workflows import export_to_folder

    folder, rows = model_folder(model), data
    if rows is None and measure and not Path(model).is_dir():
        rows = config_of_version(model)
    if not measure and data is not None:
        raise R2DError("--data is measured on, and --no-measure measures nothing; leave one of them out")
    is_file = rows is not None and rows.suffix.lower() not in (".yaml", ".yml")
    try:
        with keys_set_by_option("--data", model, is_file=is_file):
            facts, cost = export_to_folder(
                folder,
                out,
                name=Path(model).name if Path(model).is_dir() else model,
                quantization=quantization,
                data=rows if measure else None,
                declared=parse_settings(settings or ()),
                prepare=lambda run: (without_forgotten(run), start_folder(run.model)),
                count_look=look_counter(f"{model} exported for {engine} ({quantization})", folder),
            )
    except DataError as error:
        if data is not None:
            raise
        raise DataError(
            f"{error}. The cost is measured on the test rows of the run that registered {model}; give others by "
            "--data, or leave it out by --no-measure"
        ) from None
    typer.echo(f"{out}: {facts.num_bytes / 1e6:,.1f} MB of weights, {facts.source_num_bytes / 1e6:,.1f} MB before")
    if cost is None:
        typer.echo("what it costs was not measured; give --data, rows that the model has not seen")
        return
    differences = ", ".join(
        f"{name} {metric.original:.3f} -> {metric.exported:.3f}" for name, metric in cost.metrics.items()
    )
    typer.echo(
        f"{cost.num_rows:,} rows, {cost.equal_labels:.1%} with the same label: {differences}; with intervals in "
        f"{out / 'README.md'}"
    )


def add_review(service: Service) -> None:
    """Decide and choose the calls to review, and add the pages, where the service is to have them."""
    config = service.config.review
    if config is None:
        return
    from r2d.data.load import load_labelled_file
    from r2d.modeling.model_folder import read_model_facts
    from r2d.review.evidence import SimilarCases
    from r2d.review.pages import ReviewPages
    from r2d.review.queue import fill_queue
    from r2d.review.store import ReviewStore

    store, model = ReviewStore(config.database, create=True), service.model
    num_new = fill_queue(store, config, model.answerer, model.version)
    similar = None
    if config.similar is not None:
        labels = read_model_facts(model_folder(service.config.model)).labels
        similar = SimilarCases(load_labelled_file(Path(config.similar), labels)[0])
    pages = ReviewPages(config, store, service, similar)
    service.add_pages = pages.add_to
    typer.echo(f"{len(store.cases()):,} cases to review, {num_new:,} of them new")


def newer_model(reference: str) -> Callable[[str], ServedModel | None]:
    """A function that gives what `reference` stands for, None where that is the version it is told."""
    from r2d.inference.decide import Answerer
    from r2d.serving.batching import ServedModel

    def of_folder(served: str) -> ServedModel | None:
        return None if served == reference else ServedModel(reference, Answerer.of_model(model_folder(reference)))

    def of_registry(served: str) -> ServedModel | None:
        with registry_client(f"looking for model {reference!r}") as client:
            found = find_version(client, Reference.parse(reference), "Name a version, or give a model folder")
        version = f"{found.name}/{found.version}"
        return None if served == version else ServedModel(version, Answerer.of_model(model_folder(version)))

    return of_folder if Path(reference).is_dir() else of_registry
