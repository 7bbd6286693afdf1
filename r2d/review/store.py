"""The database of reviews: cases, and an append-only list of what reviewers did with them.

Three tables, in SQLite or whatever SQLAlchemy has a URL for. No row is ever changed or deleted: in SQLite and
PostgreSQL triggers refuse it, so taking something back is another event. There is one exception, `ReviewStore.erase`:
once an erasure is written down, the triggers let the rows of its cases be blanked, and nothing else. Each event is
committed before the reviewer's browser gets its answer.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    cast,
    create_engine,
    event,
    func,
    inspect,
    literal,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError

from r2d.data.forgotten import Forgotten, forgotten_entry, new_key
from r2d.errors import DataError, R2DError
from r2d.text import first_of, normalise_label, plural, show_name

if TYPE_CHECKING:
    from r2d.inference.decide import AnswerRow

logger = logging.getLogger(__name__)
Kind = Literal["label", "accept", "correct", "decline", "unsafe", "skip", "undo"]
"""`label`: the reviewer's own, before the model's is shown. `accept`: the model's label and rationale. `correct`:
another label, or the same, and maybe a rationale. `decline`: the reviewer does not judge. `undo`: takes back one event
of the same reviewer."""

SECONDS_LOCKED = 5
"""For which an SQLite file that another program writes is waited for."""

_METADATA = MetaData()
_CASES = Table(
    "review_cases",
    _METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("case_id", String(400), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("model", String(400), nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("for_everyone", Boolean, nullable=False),
    Column("added_at", String(40), nullable=False),
)
_EVENTS = Table(
    "review_events",
    _METADATA,
    Column("reviewer", String(200), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("value", JSON, nullable=False),
    Column("model", String(400), nullable=False),
    Column("at", String(40), nullable=False),
)
_ERASED = Table(
    "reviews_erased",
    _METADATA,
    Column("ordinal", Integer, primary_key=True),
    Column("entry", String(100), nullable=False),
    Column("number", Integer),
    Column("at", String(40), nullable=False),
    Column("by", String(200), nullable=False),
    Column("why", String(400), nullable=False),
)
"""What `ReviewStore.erase` wrote: the hash of each id (`forgotten_entry`), and the number of its case, if any."""

_ERASED_NUMBERS = select(_ERASED.c.number).where(_ERASED.c.number.is_not(None))
_REFUSAL = "reviews are only ever added"
_TAKEN = {
    _CASES: "EXISTS (SELECT 1 FROM review_cases WHERE number = NEW.number OR case_id = NEW.case_id)",
    _EVENTS: "EXISTS (SELECT 1 FROM review_events WHERE reviewer = NEW.reviewer AND ordinal = NEW.ordinal)",
    _ERASED: "EXISTS (SELECT 1 FROM reviews_erased WHERE ordinal = NEW.ordinal)",
}
"""When a row is there already: INSERT OR REPLACE would delete it without asking the trigger of DELETE."""
_BLANKS: dict[Table, dict[str, Any]] = {
    _CASES: {"text": "", "labels": [], "answer": {}},
    _EVENTS: {"kind": "erased", "value": {}},
}
"""What an erasure leaves in a row; the id of its case becomes `erased NUMBER`."""


def _is_erasure(table: Table) -> str:
    """The condition of SQL that an update blanks a row of an erased case and changes nothing else."""
    if table not in _BLANKS:
        return "FALSE"
    blanks = {
        name: f"'{blank if isinstance(blank, str) else json.dumps(blank)}'" for name, blank in _BLANKS[table].items()
    }
    blanks |= {"case_id": "'erased ' || OLD.number"} if table is _CASES else {}
    same = [f"CAST(NEW.{c.name} AS TEXT) = {blanks.get(c.name, f'CAST(OLD.{c.name} AS TEXT)')}" for c in table.columns]
    return " AND ".join(["EXISTS (SELECT 1 FROM reviews_erased WHERE number = OLD.number)", *same])


def _triggers(table: Table) -> tuple[list[str], list[str]]:
    """Those of SQLite and of PostgreSQL that refuse to change a row; they take the place of those of older versions."""
    name, refuse = table.name, f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    late = "EXISTS (SELECT 1 FROM reviews_erased WHERE number = NEW.number)" if table is _EVENTS else "FALSE"
    sqlite = [
        f"CREATE TRIGGER {name}_only_erased BEFORE UPDATE ON {name} WHEN ({_is_erasure(table)}) IS NOT TRUE {refuse}",
        f"CREATE TRIGGER IF NOT EXISTS {name}_no_delete BEFORE DELETE ON {name} {refuse}",
        f"CREATE TRIGGER {name}_only_new BEFORE INSERT ON {name} WHEN {_TAKEN[table]} OR {late} {refuse}",
        *(f"DROP TRIGGER IF EXISTS {name}_{old}" for old in ("no_update", "no_replace")),
    ]
    refuse = f"RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'"
    postgresql = [
        f"CREATE OR REPLACE FUNCTION {name}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'UPDATE' THEN IF {_is_erasure(table)} THEN RETURN NEW; END IF; END IF; "
        f"IF TG_OP = 'INSERT' THEN IF NOT ({late}) THEN RETURN NEW; END IF; END IF; {refuse}; END $$",
        f"DROP TRIGGER IF EXISTS {name}_only_added ON {name}",
        f"CREATE TRIGGER {name}_only_added BEFORE DELETE OR TRUNCATE ON {name} EXECUTE FUNCTION {name}_refuse()",
        f"CREATE TRIGGER {name}_only_erased BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW "
        f"EXECUTE FUNCTION {name}_refuse()",
    ]
    return sqlite, postgresql


for _table in _TAKEN:  # with the last of the tables, which they ask; an older database has the others already
    for _dialect, _statements in zip(("sqlite", "postgresql"), _triggers(_table), strict=True):
        for _statement in _statements:
            event.listen(_ERASED, "after_create", DDL(_statement).execute_if(dialect=_dialect))


class StaleError(R2DError):
    """The reviewer has acted since the page was drawn, in another window or by a second click."""


@dataclass(frozen=True)
class Case:
    """A call with what the model answered, as it is reviewed."""

    case_id: str
    text: str
    labels: Sequence[str]
    """Those that it can have, the most urgent first where they are ordered."""
    answer: AnswerRow
    model: str
    """The version that answered."""
    reasons: Sequence[str]
    """Why it is reviewed, keys of `r2d.review.queue.REASONS`."""
    for_everyone: bool
    """Whether every reviewer is shown it."""
    number: int = 0
    """Its place in the queue, from 1; given by the store."""


class EventValue(TypedDict, total=False):
    """What an event says beside its kind."""

    label: str | None
    rationale: str
    edits_the_model: bool
    """Whether the rationale is an edited form of the model's."""
    reason: str
    """Why the answer is unsafe; maybe empty."""
    undone: int
    """Ordinal of the event that is taken back."""


@dataclass(frozen=True)
class Event:
    """One action of a reviewer."""

    reviewer: str
    ordinal: int
    """Counts the events of this reviewer, from 1."""
    number: int
    """Of the case."""
    kind: Kind | Literal["erased"]
    """`erased`: of a case whose person was forgotten; what was done is not told any more."""
    value: EventValue
    model: str
    """The version whose answer was reviewed."""
    at: str
    """UTC, ISO 8601."""


class ReviewStore:
    """Cases and events of one database; safe for several threads and processes."""

    def __init__(self, database: str, *, create: bool = False) -> None:
        """Open the database.

        Args:
            database: a path of a SQLite file, or an SQLAlchemy URL.
            create: make the tables where it has none. A SQLite file that holds something else is left as it is.

        Raises:
            DataError: it cannot be opened, or holds no reviews. A password of the URL is not shown.
        """
        self.name = database
        """Without a password."""
        self.num_erased = 0
        """Cases whose people were forgotten, as of the last reading."""
        self._cases: list[Case] = []
        self._events: list[Event] = []
        self._last: dict[str, int] = {}
        """Reviewer -> ordinal of the last event in `_events`."""
        self._reading = Lock()
        try:
            url = make_url(database if "://" in database else f"sqlite:///{database}")
            self.name = url.render_as_string() if "://" in database else database
            self._engine = _engine_of(url)
            if fault := _fault_of(self._engine, create=create):
                raise DataError(f"review.database {self.name}: {fault}")
            if not inspect(self._engine).has_table(_ERASED.name):  # nor in a database of an older version
                with self._writing() as connection:
                    _METADATA.create_all(connection)
        except (ArgumentError, SQLAlchemyError, ModuleNotFoundError) as error:
            detail = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"review.database {self.name}: cannot be opened ({detail}); give a file in a folder that exists, or an "
                "SQLAlchemy URL"
            ) from None

    def add_cases(self, cases: Sequence[Case]) -> int:
        """Put cases at the end of the queue, and return how many are new; those whose id is there stay as they are,
        and a warning names those of which the text is another. Those of people who were forgotten are left out.

        Raises:
            DataError: another process adds cases too.
        """
        try:
            with self._engine.begin() as connection:
                known = {row.case_id: row.text for row in connection.execute(select(_CASES.c.case_id, _CASES.c.text))}
                last = connection.scalar(select(func.max(_CASES.c.number))) or 0
                erased, new, others = _erased(connection), list[Case](), list[str]()
                for case in cases:
                    if erased.holds(case.case_id):
                        continue
                    if case.case_id not in known:
                        known[case.case_id] = case.text
                        new.append(case)
                    elif normalise_label(known[case.case_id]) != normalise_label(case.text):
                        others.append(case.case_id)
                rows = [
                    {column.name: getattr(case, column.name, None) for column in _CASES.columns}
                    | {"number": number, "added_at": _now()}
                    for number, case in enumerate(new, last + 1)
                ]
                if rows:
                    connection.execute(_CASES.insert(), rows)
        except IntegrityError:
            raise DataError("review.database: another process adds cases to it; start again when it is done") from None
        if others:
            logger.warning(
                "%s the id of a case with another text, which stays as it is: %s; give each call an id of its own, "
                "or begin a new database",
                plural(len(others), "call has", "calls have"),
                first_of(list(map(show_name, others))),
            )
        return len(new)

    def cases(self) -> list[Case]:
        """Every case that was not erased, in the order of the queue. Only those that are new since the last call are
        read; of an event that was read before, the case is among them."""
        columns = [column for column in _CASES.columns if column.name != "added_at"]
        with self._reading, self._engine.connect() as connection:
            self._drop_erased(connection)
            newer = _CASES.c.number > (self._cases[-1].number if self._cases else 0)
            stands = newer & _CASES.c.number.not_in(_ERASED_NUMBERS)
            rows = connection.execute(select(*columns).where(stands).order_by(_CASES.c.number)).mappings()
            self._cases += [Case(**row) for row in rows]
            return list(self._cases)

    def events(self) -> list[Event]:
        """Every event, each reviewer's in the order in which they happened. Only those that are new since the last call
        are read, unless a person was forgotten since: no other event ever changes."""
        with self._reading, self._engine.connect() as connection:
            self._drop_erased(connection)
            last = connection.execute(select(_EVENTS.c.reviewer, func.max(_EVENTS.c.ordinal)).group_by("reviewer"))
            known = self._last
            fresh = [
                (reviewer, known.get(reviewer, 0)) for reviewer, ordinal in last if ordinal > known.get(reviewer, 0)
            ]
            for reviewer, ordinal in fresh:
                newer = (_EVENTS.c.reviewer == reviewer) & (_EVENTS.c.ordinal > ordinal)
                rows = connection.execute(select(_EVENTS).where(newer).order_by(_EVENTS.c.ordinal)).mappings()
                self._events += [Event(**row) for row in rows]
                known[reviewer] = self._events[-1].ordinal
            return list(self._events)

    def spelling_of(self, reviewer: str) -> str:
        """The name as the reviewer's earlier events have it, who may have written it in other capitals."""
        return spelling_among({event.reviewer for event in self.events()}, reviewer)

    def record(
        self, reviewer: str, case: Case, kind: Kind, value: EventValue, *, after: int, at: str | None = None
    ) -> Event:
        """Append an event; it is on disk when this returns.

        Args:
            after: `ordinal` of the last event of this reviewer that the page knew of, 0 without one.
            at: when it happened, where that is not now.

        Raises:
            StaleError: there are others since.
        """
        new = Event(reviewer, after + 1, case.number, kind, value, case.model, at or _now())
        try:
            with self._engine.begin() as connection:
                last = connection.scalar(select(func.max(_EVENTS.c.ordinal)).where(_EVENTS.c.reviewer == reviewer)) or 0
                if last == after:
                    connection.execute(_EVENTS.insert(), vars(new))
                    return new
        except IntegrityError:
            pass  # of two that came at once, the first is kept
        raise StaleError("this was answered meanwhile, in another window or by a second click; nothing was changed")

    def erase(self, names: Collection[str], *, by: str, why: str) -> None:
        """Blank the cases with these ids and all that was said of them, and write down which (by hashes), who did it,
        when and why. A call with such an id is never added again.

        A case keeps its number, model and reasons; an event keeps who, when and of which case. Both happen in one
        transaction. Then the file, or the tables of PostgreSQL, are written anew, for their pages keep what was there.

        Raises:
            DataError: another program uses the database. Nothing is erased, or the pages are as they were: do it again.
        """
        at, done, reason = _now(), "nothing was erased", None
        try:
            with self._writing() as connection:
                if connection.dialect.name == "postgresql":  # an event of these cases would be too late for the update
                    connection.exec_driver_sql(f"LOCK TABLE {_CASES.name}, {_EVENTS.name} IN SHARE ROW EXCLUSIVE MODE")
                known = _erased(connection)
                key = known.keys[0] if known.entries else new_key()
                numbers: dict[str, list[int | None]] = {name.strip(): [] for name in names}
                for case_id, number in connection.execute(select(_CASES.c.case_id, _CASES.c.number)):
                    if case_id.strip() in numbers:
                        numbers[case_id.strip()].append(number)
                rows = [
                    {"entry": forgotten_entry(name, key), "number": number, "at": at, "by": by, "why": why}
                    for name in sorted(numbers)
                    for number in numbers[name] or ([] if known.holds(name) else [None])
                ]
                if rows:
                    connection.execute(_ERASED.insert(), rows)
                for table in _BLANKS:
                    statement = table.update().where(table.c.number.in_(_ERASED_NUMBERS))
                    if table is _CASES:
                        statement = statement.values(case_id=literal("erased ") + cast(_CASES.c.number, String))
                    connection.execute(statement.values(_BLANKS[table]))
            done = "the rows are erased, and their bytes may still be in the file"
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("VACUUM")
                    if connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar():
                        reason = "another program reads it"
                elif connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"VACUUM FULL {_CASES.name}, {_EVENTS.name}")
        except OperationalError as error:
            reason = str(error.orig).splitlines()[0]
        if reason is not None:
            raise DataError(
                f"review.database {self.name}: {reason}; {done}. Do it again when no other program uses the database"
            )

    def _drop_erased(self, connection: Connection) -> None:
        """Forget what was read before an erasure."""
        num_erased = connection.scalar(select(func.count(_ERASED.c.number))) or 0
        if num_erased != self.num_erased:
            self.num_erased, self._cases, self._events, self._last = num_erased, [], [], {}

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that is whole or not at all, also where it makes tables."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":  # Python begins none before a table is made
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def reviewer_name(given: str) -> str:
    """A name as it is kept: composed (NFC), with single spaces, without characters that show nothing; maybe empty."""
    visible = (one if one.isspace() or unicodedata.category(one)[0] != "C" else "" for one in given)
    return " ".join(unicodedata.normalize("NFC", "".join(visible)).split())


def spelling_among(names: set[str], reviewer: str) -> str:
    """The one of the names that the reviewer's is, in these capitals or else in others; else the reviewer's own."""
    same = (name for name in sorted(names) if name.casefold() == reviewer.casefold())
    return reviewer if reviewer in names else next(same, reviewer)


def _erased(connection: Connection) -> Forgotten:
    return Forgotten(frozenset(connection.scalars(select(_ERASED.c.entry))))


def _fault_of(engine: Engine, *, create: bool) -> str | None:
    """Why a database is none of reviews; nothing in it is changed."""
    there = inspect(engine)
    found = set(there.get_table_names())
    missing = _METADATA.tables.keys() - found - {_ERASED.name}
    if missing and not create:
        return "holds no reviews; give the database that `r2d serve --review` wrote"
    if {_CASES.name, _EVENTS.name} <= missing and found and engine.dialect.name == "sqlite":
        return "is a database of something else; give a file of reviews, or one that is not there yet"
    for name in sorted(_METADATA.tables.keys() & found):
        columns = {column["name"] for column in there.get_columns(name)}
        if lacks := sorted(set(_METADATA.tables[name].columns.keys()) - columns):
            return f"its table {name} is not one of reviews (lacks the columns {lacks}); give another database"
    return None


def _engine_of(url: Any) -> Engine:
    """An engine that returns only when what was committed is on the disk."""
    is_sqlite = url.get_backend_name() == "sqlite"
    serializer: Callable[[Any], str] = lambda value: json.dumps(value, ensure_ascii=False)  # noqa: E731
    engine = create_engine(
        url,
        json_serializer=serializer,
        connect_args={"timeout": SECONDS_LOCKED} if is_sqlite else {},
        pool_pre_ping=not is_sqlite,
    )
    if is_sqlite:

        @event.listens_for(engine, "connect")
        def durable(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous = FULL")

    return engine


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
