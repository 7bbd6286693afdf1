"""What was decided, joined by id to the labels that came later: outcomes, or the labels of reviewers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from r2d.config.data import LabelsConfig
from r2d.config.jobs import OutcomesConfig
from r2d.data.labels import declared_labels, undeclared_rows
from r2d.data.readers.files import existing_file
from r2d.data.readers.rows import Faults, column_names, stream_rows
from r2d.errors import DataError
from r2d.inference.output import read_plan
from r2d.text import from_no_formula

ID_COLUMNS = ("id", "example_id")
"""Of a file of outcomes, where `columns.id` is not declared; the second is that of reviews."""
LEFT_OUT = {
    "unknown_id": "outcomes of an id that was never decided",
    "no_label": "outcomes without a label, such as calls that a reviewer declined to judge",
    "conflicting_labels": "ids to which people, or rows without author and time, give different labels",
    "before_decision": "outcomes whose time is before that of the decision",
    "no_id": "decisions without an id",
    "no_decision": "calls that the model has not read",
    "decided_twice": "ids that one version has decided more than once, with different answers",
    "before_since": "decisions before `since`",
}
"""Why something was left out -> what it is, in words."""


class Decision(NamedTuple):
    """One call as a version decided it."""

    id: str
    label: str
    is_shown: bool
    """Whether the label was shown; else the call was handed over to a person."""
    model: str
    """Name of the version, as the output or the log gives it."""
    time: datetime | None = None


class Outcome(NamedTuple):
    """How a call turned out."""

    label: str
    time: datetime | None


class JoinedCall(NamedTuple):
    """A decision and its outcome."""

    decision: Decision
    outcome: Outcome


@dataclass
class Joined:
    """Decisions and outcomes, joined."""

    calls: dict[str, list[JoinedCall]]
    """Version -> its calls in the order in which they were decided."""
    num_decided: dict[str, int]
    """Version -> decisions, with or without an outcome."""
    num_outcomes: int
    """Rows of the file."""
    left_out: Counter[str]
    """Key of `LEFT_OUT` -> number."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Version -> SHA-256 of its folder, of outputs of a batch inference; an audit log does not say it."""


def join_outcomes(
    decided: Sequence[str], outcomes: OutcomesConfig, labels: LabelsConfig, *, since: datetime | None = None
) -> Joined:
    """Join decisions with outcomes by id.

    Args:
        decided: outputs of a batch inference, audit logs, or folders of these.
        since: decisions before this are left out; those without a time stay.

    Raises:
        DataError: a file cannot be read, holds an undeclared label, or nothing could be joined.
    """
    left_out, hashes = Counter[str](), dict[str, str]()
    decisions = list(_distinct(_since(_read_decisions(decided, hashes, left_out), since, left_out), left_out))
    found, num_outcomes = read_outcomes(outcomes, labels, left_out)
    known = {decision.id for decision in decisions}
    left_out["unknown_id"] += sum(id_ not in known for id_ in found)
    calls: dict[str, list[JoinedCall]] = {decision.model: [] for decision in decisions}
    for decision in decisions:
        outcome = found.get(decision.id)
        if outcome is None:
            continue
        if outcome.time is not None and decision.time is not None and outcome.time < decision.time:
            left_out["before_decision"] += 1
            continue
        calls[decision.model].append(JoinedCall(decision, outcome))
    if not any(calls.values()):
        reasons = "; ".join(f"{count:,} {LEFT_OUT[key]}" for key, count in left_out.items() if count)
        raise DataError(
            f"{outcomes.path}: none of its {num_outcomes:,} rows could be joined to {len(decisions):,} decisions "
            f"({reasons or 'no id of one is an id of the other'}); give outcomes of the calls that were decided, or "
            "name the column with their ids: outcomes.columns.id"
        )
    if all(decision.time is not None for decision in decisions):
        for of_version in calls.values():
            of_version.sort(key=lambda call: call.decision.time or datetime.min)
    num_decided = Counter(decision.model for decision in decisions)
    return Joined(calls, dict(num_decided), num_outcomes, +left_out, hashes)


# --- decisions ---


def _read_decisions(paths: Sequence[str], hashes: dict[str, str], left_out: Counter[str]) -> Iterator[Decision]:
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(
                f"{path}: no such file or folder; give the output of `r2d predict-file` (.parquet), or the folder of "
                "the service's audit log"
            )
        files = sorted([*path.glob("*.parquet"), *path.glob("*.jsonl")]) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: holds no .parquet and no .jsonl file; give the folder of an audit log")
        for file in files:
            rows = _read_output(file, hashes) if file.suffix.lower() in (".parquet", ".pq") else _read_audit(file)
            for id_, label, is_shown, model, time in rows:
                if label is None:
                    left_out["no_decision"] += 1
                elif not id_:
                    left_out["no_id"] += 1
                else:
                    yield Decision(id_, label, is_shown, model, time)


_Read = tuple[str | None, str | None, bool, str, datetime | None]


def _read_output(file: Path, hashes: dict[str, str]) -> Iterator[_Read]:
    plan = read_plan(file)
    if plan is None:
        raise DataError(f"{file}: was not written by a batch inference; give the output of `r2d predict-file`")
    hashes[plan.model.name] = plan.model.hash
    with pq.ParquetFile(file) as content:
        for batch in content.iter_batches(columns=["id", "label", "handed_over", "model"]):
            for row in batch.to_pylist():
                yield row["id"], row["label"], not row["handed_over"], row["model"], None


def _read_audit(file: Path) -> Iterator[_Read]:
    faults, rows = Faults(file), list[_Read]()
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                time = _parsed_time(row["time"])
                rows.append((row["id"], row["label"], not row["handed_over"], str(row["model"]), time))
            except (ValueError, KeyError, TypeError):
                faults.add(f"line {number}")
    faults.raise_if_any(
        "line is none of an audit log",
        "lines are none of an audit log",
        "give files that `r2d serve` wrote, and remove lines that were cut off",
    )
    yield from rows


def _since(decisions: Iterable[Decision], since: datetime | None, left_out: Counter[str]) -> Iterator[Decision]:
    for decision in decisions:
        if since is not None and decision.time is not None and decision.time < _in_utc(since):
            left_out["before_since"] += 1
        else:
            yield decision


def _distinct(decisions: Iterable[Decision], left_out: Counter[str]) -> Iterator[Decision]:
    """Each id of a version once: the first decision; none where later ones differ."""
    first: dict[tuple[str, str], Decision] = {}
    differing = set()
    for decision in decisions:
        key = (decision.model, decision.id)
        earlier = first.setdefault(key, decision)
        if (earlier.label, earlier.is_shown) != (decision.label, decision.is_shown):
            differing.add(key)
    left_out["decided_twice"] += len(differing)
    return (decision for key, decision in first.items() if key not in differing)


# --- outcomes ---


def read_outcomes(
    config: OutcomesConfig, labels: LabelsConfig, left_out: Counter[str]
) -> tuple[dict[str, Outcome], int]:
    """Id -> its outcome, and the number of rows of the file.

    Of one author the last label counts, by time; of several authors, all must agree.

    Raises:
        DataError: the file cannot be read, has undeclared labels, or times that are none.
    """
    file, format_ = existing_file(config.path, "outcomes.path"), config.resolved_format
    names, declared = column_names(file, format_, config), config.columns
    id_column = declared.id or next((name for name in ID_COLUMNS if name in names), ID_COLUMNS[0])
    columns = {"id": id_column, "label": declared.label}
    for key in ("time", "author"):
        if (name := getattr(declared, key) or (key if key in names else None)) is not None:
            columns[key] = name
    rows, faults = list[dict[str, str | None]](), Faults(file)
    for number, read in enumerate(stream_rows(file, columns, format_, config), 1):
        values = dict(zip(columns, read.values, strict=True))
        rows.append(values | {"id": values["id"] and from_no_formula(str(values["id"]))})
        try:
            _parsed_time(values.get("time"))
        except ValueError:
            faults.add(f"row {number}" if read.line is None else f"line {read.line}")
    faults.raise_if_any(
        f"row has no time in column {columns.get('time')!r}",
        f"rows have no time in column {columns.get('time')!r}",
        "write times as 2026-11-29T17:00:00+00:00",
    )
    labelled = [row for row in rows if row["label"] and str(row["label"]).strip() and row["id"]]
    left_out["no_label"] += len(rows) - len(labelled)
    given = declared_labels([str(row["label"]).strip() for row in labelled], labels).labels
    if fault := undeclared_rows(given, labels):
        raise DataError(f"{file}: column {declared.label!r}: {fault}. Write the labels of the model")
    last: dict[str, dict[str | None, Outcome]] = {}
    conflicting = set()
    for row, label in zip(labelled, given, strict=True):
        author, outcome = row.get("author"), Outcome(label, _parsed_time(row.get("time")))
        of_id = last.setdefault(str(row["id"]), {})
        earlier = of_id.get(author)
        if earlier is not None and earlier.label != label and not (author and outcome.time and earlier.time):
            conflicting.add(str(row["id"]))  # which of the two is the later one is not known
        if earlier is None or (outcome.time and earlier.time and outcome.time >= earlier.time):
            of_id[author] = outcome
    outcomes = {}
    for id_, by_author in last.items():
        if len({outcome.label for outcome in by_author.values()}) > 1 or id_ in conflicting:
            conflicting.add(id_)
        else:
            outcomes[id_] = next(iter(by_author.values()))
    left_out["conflicting_labels"] += len(conflicting)
    return outcomes, len(rows)


def _parsed_time(text: object) -> datetime | None:
    """A time with its zone, UTC where it names none; None where there is none. Raises a ValueError."""
    if text is None or not str(text).strip():
        return None
    return _in_utc(datetime.fromisoformat(str(text).strip()))


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
