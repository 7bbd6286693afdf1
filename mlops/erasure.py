"""`r2d forget`: finds everything that holds a person, removes what may be removed, and says what stays and why."""

from __future__ import annotations

import html
import json
import logging
import re
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import markupsafe
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops.kept import (
    ARTIFACT_KINDS,
    TABLES,
    Kept,
    kept_artifacts,
    kept_cases,
    kept_versions,
    kept_work,
    weights_in_use,
)
from mlops.registry.forgotten import Erasure, entries_of, entries_of_person, read_erasures, write_erasure
from mlops.registry.versions import registered_file, registry_client
from r2d.data.forgotten import Forgotten
from r2d.errors import DataError, ModelError, RegistryError, SignatureError
from r2d.files import partial_file
from r2d.llm.answers import answers_lock, read_answers
from r2d.modeling.trained_rows import TRAINED_ROWS_FILE, TrainedRows, read_trained_rows
from r2d.review.store import ReviewStore
from r2d.text import first_of, plural, show_name

logger = logging.getLogger(__name__)

ID_COLUMNS = ("id", "example_id")
TABLE_SUFFIXES, DATABASE_SUFFIXES, BOOK_SUFFIXES = (".parquet", ".pq"), (".db", ".sqlite", ".sqlite3"), (".xlsx",)
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".html", ".txt", ".md", ".log", ".yaml", ".yml", ".xml")
UNSEARCHED = "it was not searched, for a file of its kind cannot be"
YOURS = "it is yours: remove the rows there, those of a database of reviews by --reviews"
NEVER_TRAINED = "its weights never saw the person"
MIN_WORD_CHARACTERS = 4
"""Shorter ids, such as 7, are in every line of a file of text, and are not looked for there."""


@dataclass(frozen=True)
class Held:
    """Something that holds the person."""

    kept: Kept
    why: str
    """How that is known, without a name."""


@dataclass(frozen=True)
class Found:
    """Everything that holds one person."""

    held: Sequence[Held]
    names: Collection[str]
    """The group and the ids of its rows."""
    num_rows: int
    """Rows of the person among all that were ever loaded."""
    files: Sequence[tuple[str, str]]
    """Path of each file outside of our stores, and what it holds."""

    def lines(self, *, is_done: bool) -> list[str]:
        """A line for each thing: what becomes of it, and how it is known."""
        verb = "removed" if is_done else "would be removed"
        lines = [
            f"{'stays' if each.kept.in_use else verb}: {each.kept.kind} {each.kept.place} ({each.why})"
            + (f"; {each.kept.in_use}" if each.kept.in_use else "")
            for each in self.held
        ]
        return lines + [f"stays: {path} ({what}); {YOURS}" for path, what in self.files]


def find_person(
    group: str, *, by: str, more_ids: Sequence[str] = (), reviews: Sequence[ReviewStore] = (), also: Sequence[Path] = ()
) -> Found:
    """Look through ZenML's artifacts, the registry, the work folder and databases of reviews.

    Args:
        by: who asks, for the databases of reviews.
        group: of a patient or caller; of rows without one, the id.
        more_ids: further ids of the person, such as those of decided calls.
        also: files and folders outside of our stores that are searched too.
    """
    with registry_client("looking for everything that holds a person") as client:
        versions = list(kept_versions(client))
        pieces = list(kept_artifacts(weights_in_use(versions)))
        rows = {piece.place: _rows_of(piece, group, more_ids) for piece in pieces if piece.kind in TABLES}
        ids = {row_id for found in rows.values() if found.has_groups for row_id in found.ids} | set(more_ids)
        # Of an earlier erasure, which removed the tables, the ids are known by their hashes alone.
        before = Forgotten(frozenset(entries_of_person(group, read_erasures(client))))
        candidates = {row_id for found in rows.values() for row_id in found.all_ids} | _ids_of_versions(versions)
        ids |= {row_id for row_id in candidates if before.holds(row_id)}
        held, holding = [], set[Any]()
        for piece in pieces:
            found = rows.get(piece.place)
            if found is None:
                continue
            num_rows = len(found.ids) if found.has_groups else sum(row_id in ids for row_id in found.all_ids)
            if num_rows:
                held.append(Held(piece, plural(num_rows, "row")))
                holding.add(piece.source.id)
        known = {piece.source.id for piece in pieces}
        held += _made_from(pieces, holding, known)
        held += [Held(case, "its case has an id of the person") for case in kept_cases(client) if case.source in ids]
        held += [each for piece in versions if (each := _version_that_holds(piece, group, ids))]
        held += _work_that_holds(group, ids)
        held += [each for store in reviews for each in _reviews_that_hold(store, {group, *ids}, by)]
        files = _files_that_hold({group, *ids}, [*_files_read(versions), *_decided_files(), *also])
    return Found(held, {group, *ids}, len(ids), files)


def forget(found: Found, *, by: str) -> Erasure:
    """Remove what may be removed, and write down what was done. The record is written first: from then on no run reads
    the rows, and a killed command is started again."""
    removed = [each.kept for each in found.held if each.kept.in_use is None]
    stays = [each.kept for each in found.held if each.kept.in_use is not None]
    with registry_client("forgetting a person") as client:
        erasure = Erasure(
            entries=entries_of(sorted(found.names), read_erasures(client)),
            num_rows=found.num_rows,
            removed=dict(Counter(piece.kind for piece in removed)),
            versions_removed=tuple(piece.place for piece in removed if piece.kind == "versions"),
            versions_kept=tuple(
                piece.place for piece in stays if piece.kind == "versions" and piece.in_use != NEVER_TRAINED
            ),
            kept={piece.place: str(piece.in_use) for piece in stays} | {path: YOURS for path, _ in found.files},
            by=by,
        )
        write_erasure(client, erasure)
        for piece in removed:
            piece.remove()
            logger.info("removed: %s %s", piece.kind, piece.place)
    return erasure


# --- tables and what was made from them ---


@dataclass(frozen=True)
class _Rows:
    """The rows of a table that are the person's, as far as it knows groups."""

    ids: Sequence[str]
    all_ids: Sequence[str]
    has_groups: bool


def _rows_of(piece: Kept, group: str, more_ids: Sequence[str]) -> _Rows:
    """Those with that group; without a group, those with that id, or with one of `more_ids`."""
    from zenml.io import fileio

    from steps.materializers import TableMaterializer

    with fileio.open(f"{piece.source.uri}/{TableMaterializer.FILE}", "rb") as file:
        opened = pq.ParquetFile(pa.BufferReader(file.read()))
    table = opened.read([name for name in (*ID_COLUMNS, "group") if name in opened.schema_arrow.names])
    name = next(name for name in ID_COLUMNS if name in table.column_names)
    ids = table[name].to_pylist()
    if "group" not in table.column_names:
        return _Rows((), ids, False)
    groups = table["group"].to_pylist()
    own = {group, *more_ids}
    theirs = [
        row_id for row_id, other in zip(ids, groups, strict=True) if other == group or (other is None and row_id in own)
    ]
    return _Rows(theirs, ids, True)


def _made_from(pieces: Sequence[Kept], holding: set[Any], known: Collection[Any]) -> Iterator[Held]:
    """Reports and weights of steps that read a table of the person, or one that is gone and may have been."""
    from zenml.client import Client

    for piece in pieces:
        if piece.kind in TABLES or piece.source.producer_step_run_id is None:
            continue
        step = Client().get_run_step(piece.source.producer_step_run_id)
        read = [artifact for several in step.inputs.values() for artifact in several]
        made = [artifact for several in step.outputs.values() for artifact in several]
        if holding & {artifact.id for artifact in (*read, *made)}:
            yield Held(piece, "made from rows of it")
        elif any(artifact.id not in known for artifact in read if ARTIFACT_KINDS.get(artifact.name) in TABLES):
            yield Held(piece, "cannot be told: the rows that it was made from are gone")


# --- models ---


def _ids_of_versions(versions: Sequence[Kept]) -> set[str]:
    """Ids of all rows that the provenance of a registered version names."""
    ids: set[str] = set()
    for piece in versions:
        with suppress(RegistryError):
            ids |= set(_provenance_ids(piece).to_pylist())
    return ids


def _provenance_ids(piece: Kept) -> pa.ChunkedArray:
    return pq.read_table(registered_file(piece.source, "rationale_provenance"), columns=["example_id"])["example_id"]


def _version_that_holds(piece: Kept, group: str, ids: Collection[str]) -> Held | None:
    """The registered version and how it holds the person; None where it does not."""
    try:
        trained = read_trained_rows(registered_file(piece.source, "model"))
        num_rationales = pc.sum(pc.is_in(_provenance_ids(piece), value_set=pa.array(sorted(ids), pa.string()))).as_py()
    except (RegistryError, ModelError, SignatureError):
        return Held(piece, "cannot be told: its files cannot be read")
    num_rationales = num_rationales or 0
    named = f"{plural(num_rationales, 'row')} of its provenance"
    if trained is None or not trained.is_complete:
        return Held(piece, named if num_rationales else "cannot be told: it keeps no whole record of trained rows")
    if _holds_group(trained, group):
        return Held(piece, "its record of trained rows holds the group")
    if not num_rationales:
        return None
    # Another data set may use the same ids, so a record of groups counts for more.
    is_known = len(trained.hashes.groups) > 0 and piece.in_use is None
    return Held(replace(piece, in_use=NEVER_TRAINED) if is_known else piece, named)


def _holds_group(trained: TrainedRows, group: str) -> bool:
    person = pa.table({"id": [group], "text": [""], "group": [group]})
    return bool(trained.holds(person).groups.any())


# --- reviews ---


def _reviews_that_hold(store: ReviewStore, names: Collection[str], by: str) -> Iterator[Held]:
    """The person's cases with what was said of them, and other cases in which the person is named."""
    cases, events, word = store.cases(), store.events(), _word(names)
    own = {case.number for case in cases if case.case_id.strip() in names}
    num_events = sum(event.number in own for event in events)
    erase = partial(store.erase, names, by=by, why="a person was forgotten (r2d forget)")
    now = datetime.now(UTC)
    counts = (
        f"{plural(len(own), 'case')} with {plural(num_events, 'action')} of reviewers; no call of the person is added"
    )
    yield Held(Kept("reviews", store.name, now, erase), counts)
    texts = [(case.number, f"{case.text}\n{case.answer}") for case in cases]
    texts += [(event.number, str(event.value)) for event in events]
    naming = {number for number, text in texts if number not in own and word.search(text.encode("utf-8", "replace"))}
    if naming:
        ids = first_of([show_name(case.case_id) for case in cases if case.number in naming])
        yield Held(
            Kept("reviews", store.name, now, lambda: None, "if they are the person's, add these ids by --id"),
            f"{plural(len(naming), 'other case names', 'other cases name')} the person: {ids}",
        )


# --- files ---


def _work_that_holds(group: str, ids: Collection[str]) -> Iterator[Held]:
    """Folders of stages, files of answers and copies of pages that hold the person, or may."""
    for piece in kept_work():
        if piece.kind == "reports":
            yield Held(piece, "a copy of a page, which may quote notes; opening the page makes it anew")
            continue
        if piece.kind == "unfinished":
            records = [read_trained_rows(file.parent) for file in piece.source.rglob(TRAINED_ROWS_FILE)]
            known = [record for record in records if record is not None and len(record.hashes.groups)]
            if any(_holds_group(record, group) for record in known):
                yield Held(piece, "its record of trained rows holds the group")
            elif not known:
                yield Held(piece, "cannot be told: its checkpoints name no groups")
            continue
        num_lines = sum(_asked_of(answer.values) in ids for answer in read_answers(piece.source))
        if num_lines:
            remove = partial(drop_answers, piece.source, ids)
            yield Held(replace(piece, remove=remove), f"{plural(num_lines, 'line')}, the others stay")


def _asked_of(values: dict[str, Any]) -> str:
    """Id of the row that an answer is about; a judge's request is named `ID#what it sees#vote`."""
    return re.sub(r"#[\w+]+#\d+$", "", str(values.get("custom_id")))


def drop_answers(path: Path, ids: Collection[str]) -> None:
    """Remove the answers about some rows from a file of answers."""
    with answers_lock(path), path.open("rb") as lines, partial_file(path) as aside:
        content = b""
        for answer in read_answers(path):
            lines.seek(answer.offset)
            content += b"" if _asked_of(answer.values) in ids else lines.read(answer.num_bytes)
        aside.write_bytes(content)


def _files_read(versions: Sequence[Kept]) -> Iterator[Path]:
    """The files of data and rationales that registered versions were made of."""
    for piece in versions:
        try:
            origin = json.loads(registered_file(piece.source, "origin").read_text(encoding="utf-8"))
        except RegistryError:
            continue
        yield from map(Path, origin.get("files_read") or ())


def _decided_files() -> Iterator[Path]:
    """The outputs of batch inferences that ran as pipelines."""
    from zenml.client import Client
    from zenml.utils.pagination_utils import depaginate

    for artifact in depaginate(Client().list_artifact_versions, artifact="r2d_batch_inference", hydrate=True):
        yield Path(str(artifact.load()["output"]))


def _files_that_hold(names: Collection[str], paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Path of each file with one of the names as a value or a word, and how often; each file once. A file of a kind
    that cannot be searched is said to be so, and of a folder how many there are."""
    found, searched = [], set[Path]()
    for path in map(Path.absolute, paths):
        unsearched = 0
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file() or file in searched:
                continue
            searched.add(file)
            occurrences = _occurrences(file, names)
            if occurrences is None and file == path:
                found.append((str(file), UNSEARCHED))
            elif occurrences is None:
                unsearched += 1
            elif occurrences[0]:
                found.append((str(file), plural(*occurrences)))
        if unsearched:
            found.append((str(path), f"{plural(unsearched, 'file')} in it not searched, for the kind cannot be"))
    return found


def _occurrences(file: Path, names: Collection[str]) -> tuple[int, str] | None:
    """How often a file has one of the names, and as what; None where its kind cannot be searched.

    Raises:
        DataError: it is damaged.
    """
    word = _word(names)
    suffix = file.suffix.lower()
    try:
        if file.name == TRAINED_ROWS_FILE:
            trained = read_trained_rows(file.parent)
            return sum(trained is not None and _holds_group(trained, name) for name in names), "group"
        if suffix in TABLE_SUFFIXES + DATABASE_SUFFIXES:
            rows = (_rows_of_table if suffix in TABLE_SUFFIXES else _rows_of_database)(file)
            return sum(any(text in names or word.search(text.encode()) for text in row) for row in rows), "row"
        if suffix in BOOK_SUFFIXES:
            with zipfile.ZipFile(file) as book:
                return sum(len(word.findall(book.read(name))) for name in book.namelist()), "cell"
        if suffix in TEXT_SUFFIXES:
            with file.open("rb") as stream:
                return sum(word.search(line) is not None for line in stream), "line"
    except (pa.ArrowException, sqlite3.Error, zipfile.BadZipFile, OSError) as error:
        kind = {**dict.fromkeys(TABLE_SUFFIXES, "Parquet"), ".xlsx": "Excel"}.get(suffix, "SQLite")
        raise DataError(f"{file}: is no whole {kind} file ({type(error).__name__}); leave it out of --also") from None
    return None


def _word(names: Collection[str]) -> re.Pattern[bytes]:
    """Finds any of the names that are long enough, however a file writes it: escaped in JSON, XML or HTML, its accents
    composed or not, in UTF-8, UTF-16 or Windows-1252."""
    long = {normalize(form, name) for name in names if len(name) >= MIN_WORD_CHARACTERS for form in ("NFC", "NFD")}
    escapes = (str, json.dumps, html.escape, partial(html.escape, quote=False), markupsafe.escape)
    forms = {str(escape(name)).strip('"') for name in long for escape in escapes}
    encodings = ("utf-8", "utf-16-le", "cp1252")
    words = {form.encode(encoding, "xmlcharrefreplace") for form in forms for encoding in encodings}
    return re.compile(rb"(?<!\w)(?:" + b"|".join(map(re.escape, sorted(words))) + rb")(?!\w)" if words else rb"(?!)")


def _rows_of_table(file: Path) -> Iterator[list[str]]:
    """The values of each row, as texts."""
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches():
            yield from (list(map(str, row.values())) for row in batch.to_pylist())


def _rows_of_database(file: Path) -> Iterator[list[str]]:
    """The values of each row of each table, as texts."""
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
        database.text_factory = partial(str, encoding="utf-8", errors="replace")
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            rows = database.execute(f'SELECT * FROM "{quoted}"')  # nosec B608 # the database named it
            yield from (list(map(str, row)) for row in rows)
