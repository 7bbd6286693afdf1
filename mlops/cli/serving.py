"""`r2d serve`: the champion, asked over HTTP; `r2d export`: for a CPU that has to be quick."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.cli.models import CHAMPION
from mlops.registry.versions import Reference, find_version, model_folder, registry_client
from r2d.config.loading import read_parameters
from r2d.config.section import parse_section
from r2d.config.serving import Quantization, ServingConfig

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


@app.command(epilog="Example: r2d export --model reason2decide@champion --out quick")
def export(
    out: Annotated[Path, typer.Option(help="The model folder to write; it must not exist yet.")],
    model: Annotated[str, typer.Option(help="Registered model (name@alias, name/version) or folder.")] = CHAMPION,
    quantization: Annotated[
        Quantization, typer.Option(help="int8 is smaller and quicker, and decides a few calls otherwise.")
    ] = "none",
) -> None:
    """Export a model for CTranslate2, quicker on CPUs; give the folder to `r2d serve` or `r2d predict-file`."""
    from r2d.modeling.backends.exported import export_model

    facts = export_model(model_folder(model), out, quantization=quantization)
    typer.echo(
        f"{out}: {facts.num_bytes / 1e6:,.1f} MB of weights, {facts.source_num_bytes / 1e6:,.1f} MB before. See what "
        f"it costs: r2d evaluate --model {out} --compare-with {model} --data ROWS --out FOLDER"
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

    store, model = ReviewStore(config.database), service.model
    num_new = fill_queue(store, config, model.answerer, model.version)
    similar = None
    if config.similar is not None:
        labels = read_model_facts(model_folder(service.config.model)).labels
        similar = SimilarCases(load_labelled_file(Path(config.similar), labels)[0])
    pages = ReviewPages(config, store, service, similar)
    service.add_pages = pages.add_to
    typer.echo(f"{len(pages.cases):,} cases to review, {num_new:,} of them new")


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
