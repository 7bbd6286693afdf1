"""Commands that begin: `r2d init` drafts a configuration, `r2d new` a whole project around one."""

from __future__ import annotations

import csv
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from fnmatch import fnmatch
from importlib.resources import files as shipped_files
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import click
import typer

from mlops.code import ROOT, code_state
from r2d import __version__
from r2d.config.data import SyntheticTriageConfig
from r2d.config.loading import as_settings, load_config
from r2d.errors import R2DError
from r2d.files import file_in_made_folder, out_folder, write_text

app = typer.Typer()
Rationales = Annotated[
    list[Path] | None,
    typer.Option(
        "--rationales",
        help="A file of rationales (a table, an LLM's output, an export), or a quoted glob of one source's files; "
        "repeatable.",
    ),
]
Text = Annotated[str | None, typer.Option(help="Column of the note.")]
Label = Annotated[str | None, typer.Option(help="Column of the label.")]
RowId = Annotated[str | None, typer.Option("--id", help="Column of the id.")]
Group = Annotated[str | None, typer.Option(help="Column of the patient or caller.")]
Rationale = Annotated[str | None, typer.Option(help="Column of FILE with a rationale, where its name does not tell.")]
Labels = Annotated[
    str, typer.Option(help="The labels, most urgent first, by commas; of codes: '1=immediate, 2=urgent'.")
]
Encoding = Annotated[
    str | None, typer.Option(help="Of files that are not UTF-8, where it cannot be told, e.g. mac-roman.")
]
EXAMPLE = SyntheticTriageConfig(num_calls=600, num_test_calls=0, seed=17)
EXAMPLE_LABELS = "emergency now, emergency department, same day, within three days, self care"
TEMPLATES = {"gitignore": ".gitignore", "workflow.yml": ".github/workflows/reason2decide.yml"}


@app.command(
    epilog="Example: r2d init notes.csv --rationales batch.jsonl --labels 'emergency now, same day, self care'"
)
def init(
    file: Annotated[Path, typer.Argument(help="The notes with their labels: CSV, JSON Lines or Parquet.")],
    rationales: Rationales = None,
    out: Annotated[
        Path, typer.Option(help="The YAML to write; it must not exist yet.", callback=file_in_made_folder)
    ] = Path("my.yaml"),
    text: Text = None,
    label: Label = None,
    row_id: RowId = None,
    group: Group = None,
    rationale: Rationale = None,
    labels: Labels = "",
    encoding: Encoding = None,
) -> None:
    """Look at your files and draft a run configuration, with the evidence beside each guess; asks on a terminal."""
    if out.exists():
        raise R2DError(f"{out}: is there already; name another file with --out, or move it away")
    _require_files("FILE", file, rationales)
    declared = {"text": text, "label": label, "id": row_id, "group": group, "rationale": rationale}
    write_text(out, _drafted(file, rationales or [], declared, labels, encoding))
    typer.echo(f"{out}: read the lines that end in `?`, then type: r2d check {out}")


@app.command(epilog="Example: r2d new triage --data notes.csv")
def new(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; it must not exist yet, or be empty.")],
    data: Annotated[
        Path | None, typer.Option(help="Your notes with their labels, copied to data/; else 600 invented calls.")
    ] = None,
    rationales: Rationales = None,
    text: Text = None,
    label: Label = None,
    row_id: RowId = None,
    group: Group = None,
    rationale: Rationale = None,
    labels: Labels = "",
    encoding: Encoding = None,
) -> None:
    """Make a project of your own: run.yaml, data/, README.md with the commands in order, .gitignore, a CI workflow."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise R2DError(f"{folder}: is there already and not empty; name another folder")
    from r2d.data.readers.files import existing_file, find_files

    if data is None and rationales:
        raise R2DError("--rationales needs --data, the notes that they belong to")
    _require_files("--data", data, rationales)
    given = {
        source: [existing_file(str(file), "--rationales") for file in find_files([str(source)], "--rationales")]
        for source in rationales or []
    }
    sources = [existing_file(str(data), "--data")] if data else []
    sources += dict.fromkeys(chain.from_iterable(given.values()))
    for source in sources:
        if sum(other.name == source.name for other in sources) > 1:
            raise R2DError(f"{source}: another file has this name too, and both go to data/; rename one")
    for source, files in given.items():
        if others := [file.name for file in sources if file not in files and fnmatch(file.name, source.name)]:
            raise R2DError(f"--rationales {source}: would match {others[0]} too, as all go to data/; rename it")
    declared = {"text": text, "label": label, "id": row_id, "group": group, "rationale": rationale}
    out_folder(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".r2d-new-") as aside:
        project = Path(aside) / "project"
        (project / "data").mkdir(parents=True)
        (project / ".zen").mkdir()  # by it ZenML knows the folder
        for source in sources:
            shutil.copyfile(source, project / "data" / source.name)
        if data is None:
            _write_example(project / "data" / "calls.csv")
            labels = EXAMPLE_LABELS
        with chdir(project):
            notes, *of_sources = [Path("data") / path.name for path in (data or Path("calls.csv"), *given)]
            draft = _drafted(notes, of_sources, declared, labels, encoding, project=folder.resolve().name)
        write_text(project / "run.yaml", draft)
        _write_templates(project, name=folder.resolve().name, invented=data is None)
        project.replace(folder)
    holds = f"{EXAMPLE.num_calls} invented calls" if data is None else "a copy of your files"
    typer.echo(
        f"{folder}: made, with {holds} in data/. Type next:\n"
        f"  . {Path(sys.executable).parent / 'activate'}\n  cd {shlex.quote(str(folder))}\n  r2d check run.yaml\n"
        "Then read the lines of run.yaml that end in `?`; README.md has the commands in order."
    )


def _require_files(key: str, file: Path | None, rationales: Sequence[Path] | None) -> None:
    """Refuse all files that are missing at once."""
    from r2d.data.readers.files import require_files

    named = [] if file is None else [(key, str(file))]
    require_files(named + [("--rationales", str(source)) for source in rationales or []])


def _drafted(
    file: Path,
    rationales: Sequence[Path],
    declared: dict[str, str | None],
    labels: str,
    encoding: str | None,
    project: str = "",
) -> str:
    from r2d.draft import draft_config

    ask = ask_at_terminal if sys.stdin.isatty() else None
    with remarks_withheld("r2d"):  # sources are read again and again
        return draft_config(
            file, declared=declared, rationales=rationales, order=labels, encoding=encoding, ask=ask, project=project
        )


def _write_example(path: Path) -> None:
    """Invented calls, with the columns that an export may have."""
    from r2d.synthetic.calls import generate_calls

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["call_id", "caller", "age_band", "note", "level", "nurse_comment"])
        for call in generate_calls(EXAMPLE):
            row = (call.id, call.group, call.attributes["age_band"], call.text, call.label, call.rationales["nurse"])
            table.writerow(row)


def _write_templates(project: Path, *, name: str, invented: bool) -> None:
    """Everything of a project but its data and its configuration."""
    from r2d.reports.templates import render

    for template, place in TEMPLATES.items():
        (project / place).parent.mkdir(parents=True, exist_ok=True)
        write_text(project / place, (shipped_files("mlops.cli") / "project" / template).read_text(encoding="utf-8"))
    with chdir(project):
        run = load_config(Path("run.yaml"))
    options = as_settings(run.data.columns, ("id", "text", "text_template", "options"))
    facts = {"model": run.registration.model_name, "version": __version__, "commit": code_state(ROOT)[0]}
    readme = render("mlops.cli", "project/README.md.j2", name=name, invented=invented, options=options, **facts)
    write_text(project / "README.md", f"{readme}\n")


@contextmanager
def remarks_withheld(name: str) -> Iterator[None]:
    """Let a logger and those below it say warnings alone, until the block ends."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def ask_at_terminal(question: str, allowed: Sequence[str]) -> str:
    """The answer to a question; asked again until it is allowed."""
    choice = click.Choice(list(allowed)) if allowed else None
    return str(typer.prompt(question, default=None if allowed else "", type=choice, show_default=False))
