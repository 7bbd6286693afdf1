"""The database of reviews: cases, and an append-only list of what reviewers did with them.

Two tables, in SQLite or whatever SQLAlchemy has a URL for. A row of either is never changed and never deleted: in
SQLite and PostgreSQL triggers refuse it, so taking something back is another event. Each event is committed before the
reviewer's browser gets its answer.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from r2d.errors import DataError, R2DError
from r2d.text import first_of, normalise_label, show_name

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
for _table, _keys in ((_CASES, ("number",)), (_EVENTS, ("reviewer", "ordinal"))):
    for _verb in ("UPDATE", "DELETE"):
        _name = f"{_table.name}_no_{_verb.lower()}"
        event.listen(
            _table,
            "after_create",
            DDL(
                f"CREATE TRIGGER {_name} BEFORE {_verb} ON {_table.name} "
                "BEGIN SELECT RAISE(ABORT, 'reviews are only ever added'); END"
            ).execute_if(dialect="sqlite"),
        )
    _same = " AND ".join(f"{_key} = NEW.{_key}" for _key in _keys)
    event.listen(
        _table,
        "after_create",
        DDL(  # INSERT OR REPLACE deletes without asking the trigger above
            f"CREATE TRIGGER {_table.name}_no_replace BEFORE INSERT ON {_table.name} "  # nosec B608 # names of this file
            f"WHEN EXISTS (SELECT 1 FROM {_table.name} WHERE {_same}) "
            "BEGIN SELECT RAISE(ABORT, 'reviews are only ever added'); END"
        ).execute_if(dialect="sqlite"),
    )
    event.listen(
        _table,
        "after_create",
        DDL(
            f"CREATE FUNCTION {_table.name}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'reviews are only ever added'; END $$; "
            f"CREATE TRIGGER {_table.name}_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.name} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_table.name}_refuse()"
        ).execute_if(dialect="postgresql"),
    )


class StaleError(R2DError):
    """The reviewer has acted since the page was drawn, in another window or by a second click."""


@dataclass(frozen=True)
class Case:
    """A call with what the model answered, as it is reviewed."""

    case_id: str
    text: str
    labels: Sequence[str]
    """Those that it can have, the most urgent first where they are ordered."""
    answer: dict[str, Any]
    """`Answer.as_row`."""
    model: str
    """The version that answered."""
    reasons: Sequence[str]
    """Why it is reviewed, keys of `r2d.review.queue.REASONS`."""
    for_everyone: bool
    """Whether every reviewer is shown it."""
    number: int = 0
    """Its place in the queue, from 1; given by the store."""


@dataclass(frozen=True)
class Event:
    """One action of a reviewer."""

    reviewer: str
    ordinal: int
    """Counts the events of this reviewer, from 1."""
    number: int
    """Of the case."""
    kind: Kind
    value: dict[str, Any]
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
        self._cases: list[Case] = []
        self._events: list[Event] = []
        self._last: dict[str, int] = {}
        """Reviewer -> ordinal of the last event in `_events`."""
        self._reading = Lock()
        shown = database
        try:
            url = make_url(database if "://" in database else f"sqlite:///{database}")
            shown = url.render_as_string(hide_password=True)
            self._engine = _engine_of(url)
            if fault := _fault_of(self._engine, create=create):
                raise DataError(f"review.database {shown}: {fault}")
            if create:
                _METADATA.create_all(self._engine)
        except (ArgumentError, SQLAlchemyError, ModuleNotFoundError) as error:
            detail = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"review.database {shown}: cannot be opened ({detail}); give a file in a folder that exists, or an "
                "SQLAlchemy URL"
            ) from None

    def add_cases(self, cases: Sequence[Case]) -> int:
        """Put cases at the end of the queue, and return how many are new; those whose id is there stay as they are,
        and a warning names those of which the text is another.

        Raises:
            DataError: another process adds cases too.
        """
        try:
            with self._engine.begin() as connection:
                known = {row.case_id: row.text for row in connection.execute(select(_CASES.c.case_id, _CASES.c.text))}
                last = connection.scalar(select(func.max(_CASES.c.number))) or 0
                new, others = list[Case](), list[str]()
                for case in cases:
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
                "%s call(s) have the id of a case with another text, and are not reviewed: %s; give each call an id of "
                "its own, or begin a new database",
                len(others),
                first_of(list(map(show_name, others))),
            )
        return len(new)

    def cases(self) -> list[Case]:
        """Every case, in the order of the queue. Only those that are new since the last call are read; of an event that
        was read before, the case is among them."""
        columns = [column for column in _CASES.columns if column.name != "added_at"]
        with self._reading, self._engine.connect() as connection:
            newer = _CASES.c.number > (self._cases[-1].number if self._cases else 0)
            rows = connection.execute(select(*columns).where(newer).order_by(_CASES.c.number)).mappings()
            self._cases += [Case(**row) for row in rows]
            return list(self._cases)

    def events(self) -> list[Event]:
        """Every event, each reviewer's in the order in which they happened. Only those that are new since the last call
        are read, for none ever changes."""
        with self._reading, self._engine.connect() as connection:
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
        self, reviewer: str, case: Case, kind: Kind, value: dict[str, Any], *, after: int, at: str | None = None
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


def _fault_of(engine: Engine, *, create: bool) -> str | None:
    """Why a database is none of reviews; nothing in it is changed."""
    there = inspect(engine)
    found = set(there.get_table_names())
    missing = _METADATA.tables.keys() - found
    if missing and not create:
        return "holds no reviews; give the database that `r2d serve --review` wrote"
    if len(missing) == len(_METADATA.tables) and found and engine.dialect.name == "sqlite":
        return "is a database of something else; give a file of reviews, or one that is not there yet"
    for name in sorted(_METADATA.tables.keys() - missing):
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
