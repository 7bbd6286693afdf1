"""Commands about registered models: `r2d approve`, `rollback`, `history`, `looks`, `lineage`, `diff` and `papers`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.registry import aliases
from mlops.registry.versions import Reference
from r2d.errors import R2DError
from r2d.files import out_folder

app = typer.Typer()

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; by default the user who is logged in.")]
Version = Annotated[str, typer.Argument(help="A version: name/version, name@alias, or name: its champion.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]


@app.command(epilog="Example: r2d approve reason2decide --reason 'read 20 worst cases with Dr Silva'")
def approve(
    model: Annotated[str, typer.Argument(help="A version (name/version), or a name: its challenger.")],
    reason: Reason,
    by: By = None,
) -> None:
    """Approve a version that met every other rule of its gate: it becomes the champion."""
    from mlops.registry import decisions

    done, signature = decisions.approve(model, by=decided_by(by), reason=_checked_reason(reason))
    typer.echo(f"{Reference.parse(model).name} version {done.version} is the champion{_in_place_of(done.before)}")
    typer.echo(f"the gate's decision on version {done.version}: {signature}")


@app.command(epilog="Example: r2d rollback reason2decide --reason 'misses strokes'")
def rollback(
    name: Annotated[str, typer.Argument(help="Name of a registered model.")],
    reason: Reason,
    by: By = None,
    to_none: Annotated[
        bool, typer.Option("--to-none", help="Where there was no champion before, leave the model without one.")
    ] = False,
) -> None:
    """Go back to the champion before this one, at once."""
    from mlops.registry import decisions

    done, signature = decisions.rollback(name, by=decided_by(by), reason=_checked_reason(reason), to_none=to_none)
    if done.version is None:
        typer.echo(f"{name} has no champion any more: there was none before version {done.before}")
    else:
        typer.echo(f"{name} version {done.version} is the champion again{_in_place_of(done.before)}")
        typer.echo(f"the gate's decision on version {done.version}: {signature or 'it cannot be read'}")


@app.command(epilog="Example: r2d history reason2decide")
def history(
    name: Annotated[str, typer.Argument(help="Name of a registered model.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """List every change of champion and challenger: when, what, by whom and why."""
    changes = aliases.history(name)
    for change in changes:
        typer.echo(json.dumps(asdict(change), ensure_ascii=False) if as_json else f"{change.at}  {change.sentence()}")
    if not changes and not as_json:
        typer.echo(f"{name}: no version has had an alias")


@app.command(epilog="Example: r2d looks reason2decide")
def looks(
    name: Annotated[
        str | None, typer.Argument(help="Name of a registered model: only the test sets it was measured on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """List every look at every test set: who measured which model, and what the gate decided."""
    from mlops.registry.looks import all_looks, use_of

    seen = all_looks(name)
    for look in seen:
        compared = f", compared with {look.champion}" if look.champion else ""
        outcome = f": {look.outcome}" if look.outcome else ""
        line = (
            f"{look.at}  test set {look.test_set[:12]}: {look.purpose} of {look.model} by {look.by}{compared}{outcome}"
        )
        typer.echo(json.dumps(asdict(look), ensure_ascii=False) if as_json else line)
    if as_json:
        return
    for test_set in dict.fromkeys(look.test_set for look in seen):
        typer.echo(use_of(test_set, [look for look in seen if look.test_set == test_set]).sentence())
    if not seen:
        typer.echo(f"no look at a test set{f' of {name}' if name else ''} is written down")


def decided_by(by: str | None) -> str:
    """The person of `--by`, or the user who is logged in."""
    from mlops.registry.looks import user_name

    name = by if by is not None else user_name()
    if not name.strip():
        raise R2DError("--by: nobody is named, and the system knows no user; give the name of who decides")
    return name.strip()


def _checked_reason(reason: str) -> str:
    if not reason.strip():
        raise R2DError("--reason is empty; say why, it is kept in the history")
    return " ".join(reason.split())


def _in_place_of(before: str | None) -> str:
    return "" if before is None else f", in place of version {before}"


@app.command(epilog="Example: r2d lineage reason2decide@champion")
def lineage(
    model: Annotated[
        str | None,
        typer.Argument(help="A version: name/version, name@alias, or name: its champion; with --row: all of its."),
    ] = None,
    row: Annotated[
        str | None, typer.Option(help="Id of a row: where it and its rationale come from, and which versions saw it.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="Every line: hashes, steps, artifacts and settings too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Trace a registered version back to its files, or a row to the versions that saw it."""
    from mlops.lineage import row_lineage, version_lineage
    from r2d.lineage.rendering import render, row_tree, short_tree, version_tree

    if row is not None:
        seen = row_lineage(row, model)
        content = {"row": row, "seen_by": [asdict(version) for version in seen]}
        typer.echo(_json(content) if as_json else render(row_tree(row, seen)))
    elif model is not None:
        version = version_lineage(model)
        tree = version_tree if whole else short_tree
        typer.echo(_json(version.to_json()) if as_json else render(tree(version)))
    else:
        raise R2DError("no model is named; give one, such as reason2decide@champion, or a row with --row ID")


@app.command(epilog="Example: r2d diff reason2decide/1 reason2decide/2")
def diff(before: Version, after: Version, as_json: AsJson = False) -> None:
    """Show what changed between two versions, and by how much their metrics moved."""
    from mlops.lineage import version_lineage
    from r2d.lineage.difference import difference_of
    from r2d.lineage.rendering import difference_tree, render

    difference = difference_of(version_lineage(before), version_lineage(after))
    typer.echo(_json(difference.to_json()) if as_json else render(difference_tree(difference)))


@app.command(epilog="Example: r2d papers reason2decide@champion --out papers")
def papers(
    model: Version,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the papers; answers that you wrote into its answers.yaml are taken.", callback=out_folder
        ),
    ],
) -> None:
    """Draft the papers to hand in with a version: TRIPOD+AI and TRIPOD-LLM checklists, CHAI model card, hazard log and
    the EU AI Act's Annex IV file, each sentence with the record it rests on."""
    from mlops.lineage import version_records
    from mlops.page_origin import of_reference
    from r2d.papers.papers import ANSWERS_FILE, write_papers
    from r2d.reports.origin import pages_of

    records = version_records(model)
    version = records["registry"].values
    with pages_of(of_reference(f"{version['name']}/{version['version']}")):
        written = write_papers(out, records)
    for paper in written:
        open_items, num_items = len(paper.open), len(paper.answered)
        typer.echo(f"{out / paper.name}.html: {num_items} items, you must answer {open_items}")
    typer.echo(f"write your answers into {out / ANSWERS_FILE}, then type this again")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
