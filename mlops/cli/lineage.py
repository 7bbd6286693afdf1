"""Commands about where models come from: `r2d lineage`, `r2d diff`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from r2d.errors import R2DError

Version = Annotated[str, typer.Argument(help="A version: name/version, name@alias, or name: its champion.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]


def add_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(lineage)
    app.command()(diff)


def lineage(
    model: Annotated[
        str | None,
        typer.Argument(help="A version: name/version, name@alias, or name: its champion; with --row: all of its."),
    ] = None,
    row: Annotated[
        str | None, typer.Option(help="Id of a row: where it and its rationale come from, and which versions saw it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """From a registered version back to its files; or from a row to the versions that saw it."""
    from mlops.lineage.facts import lineage_facts, row_facts
    from r2d.lineage.rows import row_tree
    from r2d.lineage.tree import drawn
    from r2d.lineage.version_tree import version_tree

    if row is not None:
        seen = row_facts(row, model)
        typer.echo(_json({"row": row, "seen_by": seen}) if as_json else drawn(row_tree(row, seen)))
    elif model is not None:
        facts = lineage_facts(model)
        typer.echo(_json(facts) if as_json else drawn(version_tree(facts)))
    else:
        raise R2DError("no model is named; give one, such as reason2decide@champion, or a row with --row ID")


def diff(before: Version, after: Version, as_json: AsJson = False) -> None:
    """What changed between two versions, and by how much their figures moved."""
    from mlops.lineage.facts import lineage_facts
    from r2d.lineage.difference import difference_of, difference_tree
    from r2d.lineage.tree import drawn

    found = difference_of(lineage_facts(before), lineage_facts(after))
    typer.echo(_json(found) if as_json else drawn(difference_tree(found)))


def _json(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False)
