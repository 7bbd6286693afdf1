"""`r2d review`: what reviewers said, as files that a training run reads; and reviews that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2d.files import out_folder

if TYPE_CHECKING:
    from r2d.review.store import ReviewStore

app = typer.Typer()
review_app = typer.Typer(help="What reviewers said on the page of `r2d serve --review`.", no_args_is_help=True)
app.add_typer(review_app, name="review")
Database = Annotated[str, typer.Argument(help="A SQLite file, or an SQLAlchemy URL.")]


@review_app.command(epilog="Example: r2d review export reviews.db --out reviewed")
def export(
    database: Database,
    out: Annotated[
        Path, typer.Option(help="Folder for the files; those of an earlier export are replaced.", callback=out_folder)
    ],
) -> None:
    """Write the reviews as files that a run reads, and show the keys that read them."""
    import yaml

    from r2d.review.exports import export_reviews, labeling_config

    store = opened(database)
    exported = export_reviews(store, out)
    if cases := store.cases():
        (out / "labeling_config.xml").write_text(labeling_config(cases[0].labels), encoding="utf-8")
    sources = ", ".join(f"{name} {count:,}" for name, count in exported.sources.items())
    erased = f" {exported.num_erased:,} cases are erased and left out;" if exported.num_erased else ""
    typer.echo(
        f"{out}: {exported.num_reviewed:,} labels, {exported.num_disagreements:,} cases on which reviewers differ;"
        f"{erased} rationales: {sources}\n\nUnder `parameters: config:` of a run, beside what stands there; the stages "
        "take a source that rationales.stage1_source or stage2_source names:\n"
    )
    typer.echo(yaml.safe_dump(exported.config(), sort_keys=False).rstrip())


@review_app.command("import", epilog="Example: r2d review import reviews.db label_studio.json")
def import_(
    database: Database,
    file: Annotated[Path, typer.Argument(help="A JSON export of a Label Studio project with the tasks of an export.")],
) -> None:
    """Add the annotations of Label Studio as reviews; those that are there already are left."""
    from r2d.review.imports import import_label_studio

    num_new = import_label_studio(opened(database), file)
    typer.echo(f"{file}: {num_new:,} new reviews")


@review_app.command(epilog="Example: r2d review push reviews.db --queue triage-reviews --reviewer ann --reviewer bob")
def push(
    database: Database,
    queue: Annotated[str, typer.Option(help="Name of the review queue in MLflow, and of its experiment.")],
    reviewer: Annotated[
        list[str] | None, typer.Option(help="A user of MLflow who reviews; repeat it, at most 10.")
    ] = None,
) -> None:
    """Put the cases into a review queue of MLflow, without the model's answers. Their notes then lie in MLflow."""
    from mlops.review_queue import push_cases

    num_new = push_cases(opened(database), queue, reviewer or [])
    typer.echo(f"{queue}: {num_new:,} new cases in MLflow's review queue")


@review_app.command(epilog="Example: r2d review pull reviews.db --queue triage-reviews")
def pull(
    database: Database,
    queue: Annotated[str, typer.Option(help="Name of the review queue in MLflow.")],
) -> None:
    """Add what reviewers said in a review queue of MLflow; what is there already is left."""
    from mlops.review_queue import pull_reviews

    num_new = pull_reviews(opened(database), queue)
    typer.echo(f"{queue}: {num_new:,} new reviews")


def opened(database: str) -> ReviewStore:
    """The database, which must be there.

    Raises:
        DataError: it is a file that is not there, or holds no reviews.
    """
    from r2d.data.readers.files import existing_file
    from r2d.review.store import ReviewStore

    return ReviewStore(database if "://" in database else str(existing_file(database, "the database of reviews")))
