"""Commands for whoever keeps this running: `r2d backup`, `restore`, `doctor`, `forget`, `forgotten`, `retention`,
`watch`, `beat` and `stack apply`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlops.cli.registry import By, decided_by
from mlops.cli.review import opened
from mlops.registry.forgotten import all_erasures
from r2d.config.jobs import RetentionConfig, WatchConfig
from r2d.config.loading import load_job
from r2d.errors import R2DError
from r2d.files import zenml_home
from r2d.text import plural

app = typer.Typer()
stack_app = typer.Typer(help="The ZenML stack of a cluster.", no_args_is_help=True)
app.add_typer(stack_app, name="stack")
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it the command only says what it would do.")]


@app.command(epilog="Example: r2d backup /mnt/safe/monday.tar")
def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write, a .tar; it must not exist yet.")],
    folder: Annotated[Path | None, typer.Option(help="Pack this folder instead of ZenML's home.")] = None,
) -> None:
    """Pack what this machine keeps into one file: runs, artifacts, registered models, and the databases of both."""
    from mlops.backup import pack, require_embedded

    os.umask(0o077)  # what it holds is clinical
    if folder is None:
        require_embedded(zenml_home())
    contents = pack((folder or zenml_home()).absolute(), file)
    typer.echo(f"{file}: {len(contents.files):,} files of {contents.facts.folder}, {file.stat().st_size:,} bytes")


@app.command(epilog="Example: r2d restore /mnt/safe/monday.tar --replace")
def restore(
    file: Annotated[Path, typer.Argument(help="A backup that `r2d backup` wrote.")],
    folder: Annotated[Path | None, typer.Option(help="Unpack into this folder instead of ZenML's home.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move aside what is there.")] = False,
) -> None:
    """Put back what a backup holds, once every file of it was found whole."""
    from mlops.backup import restore as put_back

    os.umask(0o077)
    target = (folder or zenml_home()).absolute()
    contents = put_back(file, target, replace=replace, same_place=folder is None)
    typer.echo(f"{target}: {len(contents.files):,} files as they were at {contents.facts.made_at}")


@app.command(epilog="Example: r2d doctor --stack reason2decide")
def doctor(stack: Annotated[str, typer.Option(help="Name of the ZenML stack.")] = "reason2decide") -> None:
    """Check whether a run could start on a stack; exits 1 where a check fails."""
    from mlops.doctor import examine

    is_ok = True
    for finding in examine(stack):
        typer.echo(str(finding))
        is_ok &= finding.ok
    raise typer.Exit(0 if is_ok else 1)


@app.command(epilog="Example: r2d forget patient-17 --also exports")
def forget(
    group: Annotated[
        str, typer.Argument(help="The patient or caller, as in data.columns.group; `-` reads it from standard input.")
    ],
    row_id: Annotated[
        list[str] | None, typer.Option("--id", help="A further id of the person's rows or calls.")
    ] = None,
    also: Annotated[list[Path] | None, typer.Option(help="A file or folder outside of our stores to search.")] = None,
    reviews: Annotated[
        list[str] | None, typer.Option(help="A database of reviews: a SQLite file, or an SQLAlchemy URL.")
    ] = None,
    yes: Yes = False,
    by: By = None,
) -> None:
    """Forget a person: name all that holds them, remove what may be removed, leave them out of every run to come.

    What stays is named with the reason. Champion and challenger stay until another model takes their place: run
    `r2d retrain`, then this command again.
    """
    name = sys.stdin.readline().strip() if group == "-" else group.strip()
    if not name:
        raise R2DError("the group is empty; give the patient or caller as it stands in the data")
    person = decided_by(by)
    from mlops.erasure import find_person, forget

    stores = [opened(database) for database in reviews or []]
    found = find_person(name, by=person, more_ids=row_id or [], reviews=stores, also=also or [])
    if not found.held and not found.files:
        typer.echo("nothing that is kept here holds this group; see that it is written as in the data")
    if yes:
        erasure = forget(found, by=person)
        typer.echo("\n".join(found.lines(is_done=True)))
        typer.echo(
            f"written down without the name, as erasure {len(all_erasures())}: no run or command reads these rows any "
            "more (`r2d forgotten`)"
        )
        if erasure.versions_kept:
            typer.echo(
                f"a retraining is open: {', '.join(erasure.versions_kept)} was trained on this person; type "
                "`r2d retrain --config FILE`, then this command again"
            )
        return
    typer.echo("\n".join(found.lines(is_done=False)))
    typer.echo("nothing was removed; add --yes to do it")


@app.command(epilog="Example: r2d forgotten")
def forgotten(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """List every erasure: when, by whom, what was removed and what stays. It holds no name."""
    erasures = all_erasures()
    for erasure in erasures:
        removed = ", ".join(f"{count:,} {kind}" for kind, count in erasure.removed.items()) or "nothing"
        what = f"{plural(erasure.num_rows, 'row')} by {erasure.by}: removed {removed}; {len(erasure.kept):,} stay"
        typer.echo(json.dumps(asdict(erasure), ensure_ascii=False) if as_json else f"{erasure.at}  {what}")
    if not erasures and not as_json:
        typer.echo("nobody was forgotten")


@app.command(epilog="Example: r2d retention --config configs/retention.yaml")
def retention(
    config: Annotated[Path, typer.Option(help="The periods, such as configs/retention.yaml.")],
    yes: Yes = False,
) -> None:
    """Remove what is older than declared: tables of notes, quarantine, reports, answers, checkpoints, versions."""
    job = load_job(RetentionConfig, config)
    from mlops.retention import remove_expired, what_expires
    from mlops.watch import beat

    kinds = what_expires(job, datetime.now(UTC))
    if yes:
        remove_expired(kinds)
        beat("retention")
    for kind in kinds:
        typer.echo(kind.line(is_done=yes))
        for piece in kind.expired:
            typer.echo(f"  {piece.place} ({piece.made_at:%Y-%m-%d})")
    if not yes and any(kind.expired for kind in kinds):
        typer.echo("nothing was removed; add --yes to do it")


@app.command(epilog="Example: r2d watch --config configs/watch.yaml")
def watch(
    config: Annotated[Path, typer.Option(help="What to look at, such as configs/watch.yaml.")],
    metrics: Annotated[
        str | None, typer.Option(help="A .prom file for the node exporter, or the address of a Pushgateway.")
    ] = None,
) -> None:
    """Look for overdue jobs, failed runs and moved aliases, send alerts, and write metrics; exits 1 on a finding."""
    job = load_job(WatchConfig, config)
    from mlops.watch import watch

    found = watch(job, metrics=metrics)
    typer.echo("\n".join(found) or "nothing to tell")
    raise typer.Exit(1 if found else 0)


@app.command(epilog="Example: r2d beat nightly-backup")
def beat(job: Annotated[str, typer.Argument(help="Name of the job, as in configs/watch.yaml.")]) -> None:
    """Write down that a job has succeeded now, for `r2d watch`."""
    from mlops.watch import beat

    beat(job)


@stack_app.command("apply", epilog="Example: r2d stack apply k8s/stack.yaml --dry-run")
def stack_apply(
    file: Annotated[Path, typer.Argument(help="A stack, such as k8s/stack.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
) -> None:
    """Bring the ZenML server to the stack of a file, and show the difference."""
    from mlops.stack import apply_stack

    typer.echo("\n".join(apply_stack(file, dry_run=dry_run)) or f"{file}: nothing to do")
