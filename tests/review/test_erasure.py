"""Erasing a person from the database of reviews: gone from rows, bytes, pages and exports; and no other way to change a
row. On SQLite and, where it is installed, on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from r2d.errors import DataError
from r2d.review.exports import export_reviews
from r2d.review.imports import BlindReview, add_blind_reviews
from r2d.review.store import ReviewStore, StaleError
from r2d.review.verdicts import last_standing, verdicts_of
from tests.review.conftest import Review, a_case
from tests.review.test_pages import act as press
from tests.review.test_pages import sign_in
from tests.review.test_store import act

POSTGRES = Path("/usr/lib/postgresql/15/bin")
WORD = "zyxwv"
WHO = {"by": "dpo", "why": "asked for"}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Address of a PostgreSQL server of its own."""
    if not POSTGRES.exists():
        pytest.skip("PostgreSQL is missing (Debian's package postgresql-15)")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    if as_nobody:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
    initdb = [str(POSTGRES / "initdb"), "--pgdata", f"{folder}/data", "--username=ann", "--auth=trust", "--no-sync"]
    subprocess.run([*as_nobody, *initdb], check=True, capture_output=True, cwd="/")
    server = [str(POSTGRES / "postgres"), "-D", f"{folder}/data", "-p", str(port), "-k", "", "-c", "fsync=off"]
    with subprocess.Popen([*as_nobody, *server], stderr=subprocess.DEVNULL, cwd="/") as process:
        url = f"postgresql://ann@127.0.0.1:{port}/postgres"
        engine = create_engine(url)
        for _ in range(300):
            try:
                engine.connect().close()
                break
            except OperationalError:
                time.sleep(0.1)
        yield url
        engine.dispose()
        process.send_signal(signal.SIGINT)
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with 120 cases of the person among 160, with actions of two reviewers."""
    name = str(tmp_path / "reviews.db")
    if request.param == "postgresql":
        name = request.getfixturevalue("postgresql")
        with create_engine(name).begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS review_cases, review_events, reviews_erased")
    store = ReviewStore(name, create=True)
    cases = [
        a_case(f"{WORD}-{n}", text=f"{WORD} has pain {n} " * 40) if n % 4 else a_case(f"row-{n}") for n in range(160)
    ]
    store.add_cases(cases)
    for case in store.cases()[:8]:
        for reviewer in ("ann", "bob"):
            act(store, case, "label", reviewer, label="self care")
            act(store, case, "unsafe", reviewer, reason=f"of {case.case_id} " * 30)
            act(store, case, "correct", reviewer, label="emergency now", rationale=f"{case.case_id} said so")
    store.close()
    if "://" not in name:
        with sqlite3.connect(name) as connection:  # pages that are free and hold notes
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("CREATE TABLE copy AS SELECT * FROM review_cases")
            connection.execute("DROP TABLE copy")
    return name


THEIRS = [f"{WORD}-{n}" for n in range(160) if n % 4]


def test_what_is_erased_is_in_no_row_no_export_and_no_byte_and_the_rest_is_as_it_was(
    database: str, tmp_path: Path
) -> None:
    store = ReviewStore(database)
    before = [case for case in store.cases() if case.case_id not in THEIRS]
    kept = {key: one for key, one in verdicts_of(store.events()).items() if key[1] in {c.number for c in before}}
    assert len(kept) == 4
    store.erase([*THEIRS, f"{WORD}-unknown"], **WHO)
    for each in (store, ReviewStore(database)):
        assert each.cases() == before
        assert verdicts_of(each.events()) == kept
        assert (each.num_erased, len(each.events())) == (120, 48), "an erased action still counts"
    exported = export_reviews(store, tmp_path / "out")
    assert (exported.num_reviewed, exported.num_erased) == (4, 120)
    assert not [path for path in (tmp_path / "out").iterdir() if WORD in path.read_text(encoding="utf-8")]
    with create_engine(database if "://" in database else f"sqlite:///{database}").connect() as connection:
        rows = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in
                ("review_cases", "review_events", "reviews_erased")]  # fmt: skip
    assert WORD not in str(rows)
    assert {(row.by, row.why) for row in rows[2]} == {("dpo", "asked for")}
    assert len(rows[2]) == 121
    if "://" not in database:
        assert WORD.encode() not in Path(database).read_bytes()
        assert [path.name for path in tmp_path.glob("reviews.db*")] == ["reviews.db"], "no journal is left"


def test_a_person_who_was_erased_does_not_come_back(database: str) -> None:
    store, other = ReviewStore(database), ReviewStore(database)
    theirs = next(case for case in other.cases() if case.case_id in THEIRS)
    store.erase([*THEIRS, f"{WORD}-unknown"], **WHO)
    assert store.add_cases([a_case(f"{WORD}-1"), a_case(f" {WORD}-unknown "), a_case("new")]) == 1
    with pytest.raises(StaleError):  # of a page that was open
        act(other, theirs, "decline", "cyd")
    assert add_blind_reviews(store, [BlindReview(name, "cyd", "self care") for name in (f"{WORD}-2", "erased 3")]) == 0
    last = last_standing(store.events(), "ann")
    assert last is not None
    assert last.number == 5
    act(store, store.cases()[-1], "decline")
    store.erase(THEIRS, by="dpo", why="again")
    assert store.num_erased == 120


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE review_cases SET text = ''",
        "UPDATE review_cases SET text = 'other' WHERE number = 2",
        "UPDATE review_cases SET text = 'other' WHERE number = 1",
        "UPDATE review_cases SET model = 'other' WHERE number = 2",
        "UPDATE review_events SET value = '{}'",
        "UPDATE review_events SET reviewer = 'cyd' WHERE number = 2",
        "UPDATE review_events SET number = 2 WHERE number = 1",
        "UPDATE reviews_erased SET number = 1",
        "UPDATE reviews_erased SET by = 'nobody'",
        "DELETE FROM review_cases WHERE number = 2",
        "DELETE FROM review_events WHERE number = 2",
        "DELETE FROM reviews_erased",
    ],
)  # fmt: skip
def test_an_erasure_opens_no_other_way_to_change_a_row(database: str, statement: str) -> None:
    store = ReviewStore(database)
    store.erase(THEIRS, **WHO)
    engine = create_engine(database if "://" in database else f"sqlite:///{database}")
    before = _dump(database)
    with engine.connect() as connection, pytest.raises(DBAPIError, match="reviews are only ever added"):
        connection.exec_driver_sql(statement)
    assert _dump(database) == before


def _dump(database: str) -> list[str]:
    engine = create_engine(database if "://" in database else f"sqlite:///{database}")
    with engine.connect() as connection:
        return [
            str(row)
            for name in ("review_cases", "review_events", "reviews_erased")
            for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2")
        ]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_is_not_deleted_by_putting_another_in_its_place(database: str) -> None:
    before = _dump(database)
    with (
        sqlite3.connect(database) as connection,
        pytest.raises(sqlite3.IntegrityError, match="reviews are only ever added"),
    ):
        connection.execute(
            "INSERT OR REPLACE INTO review_cases SELECT number + 1000, case_id, '', labels, answer, model, reasons, "
            "for_everyone, added_at FROM review_cases"
        )
    assert _dump(database) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_of_an_older_version_can_be_erased_from_and_refuses_all_else(database: str) -> None:
    with sqlite3.connect(database) as old:
        old.execute("DROP TABLE reviews_erased")
        for trigger in [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            old.execute(f"DROP TRIGGER {trigger}")
        for table in ("review_cases", "review_events"):
            for verb in ("UPDATE", "DELETE"):
                refuse = "BEGIN SELECT RAISE(ABORT, 'reviews are only ever added'); END"
                old.execute(f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {refuse}")
    ReviewStore(database).erase(THEIRS, **WHO)
    assert WORD.encode() not in Path(database).read_bytes()
    with sqlite3.connect(database) as connection:
        for statement in ("UPDATE review_cases SET model = 'other'", "DELETE FROM review_events"):
            with pytest.raises(sqlite3.IntegrityError, match="reviews are only ever added"):
                connection.execute(statement)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_killed_erasure_is_whole_or_not_at_all_and_leaves_every_refusal(database: str) -> None:
    program = (
        "import os, signal, sys\nfrom sqlalchemy import Connection\nfrom r2d.review.store import ReviewStore\n"
        "store, execute = ReviewStore(sys.argv[1]), Connection.execute\n"
        "def killed(self, statement, *rest, **more):\n"
        "    if 'UPDATE review_events' in str(statement):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return execute(self, statement, *rest, **more)\n"
        "Connection.execute = killed\nstore.erase(sys.argv[2:], by='dpo', why='asked for')\n"
    )
    before = _dump(database)
    done = subprocess.run([sys.executable, "-c", program, database, *THEIRS], check=False)
    assert done.returncode == -signal.SIGKILL
    assert _dump(database) == before
    with sqlite3.connect(database) as connection, pytest.raises(sqlite3.IntegrityError, match="only ever added"):
        connection.execute("UPDATE review_cases SET text = ''")
    ReviewStore(database).erase(THEIRS, **WHO)
    assert WORD.encode() not in Path(database).read_bytes()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_where_another_program_reads_the_error_says_what_may_be_left_and_the_next_erasure_removes_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r2d.review.store.SECONDS_LOCKED", 0.2)
    store = ReviewStore(database)
    with sqlite3.connect(database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"reviews\.db: database is locked; nothing was erased\. Do it again"):
            store.erase(THEIRS, **WHO)
        other.rollback()
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM review_cases").fetchall()
        with pytest.raises(DataError, match=r"reads it; the rows are erased, and their bytes may still be in the file"):
            store.erase(THEIRS, **WHO)
        other.rollback()
        store.erase(THEIRS, **WHO)
        assert not [path for path in Path(database).parent.glob("reviews.db*") if WORD.encode() in path.read_bytes()]


def test_an_open_page_shows_an_erased_case_no_more(review: Review, store: ReviewStore, tmp_path: Path) -> None:
    service = review()
    sign_in(service)
    press(service, 1, "label", 0, label="self care")
    press(service, 1, "correct", 1, label="emergency now", rationale="a rationale to be erased")
    press(service, 1, "undo", 2)
    assert "a rationale to be erased" in service.client.get("/review/cases/1").text
    ReviewStore(str(tmp_path / "reviews.db")).erase(["a"], **WHO)
    for path in ("/review/cases/1", "/review/cases/1/evidence"):
        gone = service.client.get(path)
        assert (gone.status_code, "to be erased" in gone.text) == (404, False)
    assert press(service, 1, "decline", 3).status_code == 404
    queue = service.client.get("/review").text
    assert "1 of the cases, with all that was said of them" in queue
    assert "/review/cases/1" not in queue
    assert press(service, 2, "label", 0, label="self care").json() == {"next": "/review/cases/2"}
