"""Draft of a run configuration, made from a look at the files: what each column seems to hold, and the evidence.

What is shown and written are names of columns, counts, shapes, and the values of the label column where they are few,
short and repeated. No other cell of a file is.
"""

from __future__ import annotations

import logging
import math
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import yaml

from r2d.config.data import DataConfig
from r2d.config.files import suffix_of
from r2d.config.loading import SHIPPED, parse_config, read_parameters
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.config.section import parse_section
from r2d.config.validation import ValidationConfig
from r2d.data.examples import with_columns
from r2d.data.labels import undeclared_rows
from r2d.data.load import SPLIT_NAMES, load_examples
from r2d.data.look import JSON_SUFFIXES, MOST_LABELS, Column, EightBit, Look, looks_at
from r2d.data.readers.delimited import Record
from r2d.data.readers.files import existing_file, find_files, open_text
from r2d.data.readers.rows import json_records
from r2d.data.text_quality import languages
from r2d.errors import ConfigError, DataError
from r2d.rationales.ingest import SourceCounts, ingest
from r2d.rationales.readers.items import joined_text
from r2d.reports.templates import render
from r2d.text import first_of, flatten, match_label, near_label, nearest_names, normalise_label, show_name

logger = logging.getLogger(__name__)

SPLIT_VALUES = {*SPLIT_NAMES, "training"}
OPTION_PATTERNS = (
    r"\([a-hA-H1-8]\)\s*(?P<option>[^()\n]*[^()\s])",
    r"(?m)^\s*[A-H1-8][.)]\s*(?P<option>.*\S)",
)
"""Ways in which the options of a question stand inside its text."""
UNFINISHED = {
    "draft", "drafted", "pending", "unfinished", "incomplete", "preliminary", "discarded", "cancelled", "wip", "todo",
    "to do", "in progress", "in_progress", "entwurf", "brouillon", "borrador",
}  # fmt: skip
"""Values that say of a record that nobody has finished it."""
YES, NO = {"true", "yes", "1", "y"}, {"false", "no", "0", "n"}
ROWS_OF_PERSON = 20  # on average; a column whose values have more names no persons
RARER = 10  # times: a label may be a typing error of one that so many more rows have
HANDFUL = 5  # rows; a label that fewer have, beside one that a hundred have, may be a slip
WORDS_OF_PROSE = 2.0  # more on average, and a column is prose
NOTES_READ = 200  # for their language
TOKENS_PER_WORD = 1.5  # of a tokenizer that is trained on the notes; `r2d validate` says what is cut


@dataclass(frozen=True)
class Roles:
    """Which column holds what; None where none does."""

    text: str | None = None
    label: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    options: str | Mapping[str, str] | None = None  # a column, or the `pattern` that finds them in the text
    rationales: Mapping[str, str] = field(default_factory=dict)  # source -> column
    attributes: Mapping[str, str] = field(default_factory=dict)  # attribute -> column
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # role -> the columns that it could be


def guess_roles(look: Look, declared: Mapping[str, str | None]) -> Roles:
    """Guess what each column holds, by its shape first and by its name where shapes do not decide.

    Args:
        declared: role (`text`, `label`, `id`, `group`, `rationale`) -> column; None where the user says nothing.

    Raises:
        DataError: a declared column is not there.
    """
    columns, by_name = look.columns, {column.name: column for column in look.columns}
    for role, name in declared.items():
        if name is not None and name not in by_name:
            raise DataError(f"--{role}: no column {name!r}; found: {nearest_names(by_name, name)}; name one")
    taken = {name for name in declared.values() if name is not None}
    doubts: dict[str, Sequence[str]] = {}

    def choose(role: str, candidates: Sequence[Column], *, named_only: bool = False) -> str | None:
        """The declared column, else the only candidate, or the only one whose name speaks for the role."""
        if declared.get(role) is not None:
            return declared[role]
        free = [column for column in candidates if column.name not in taken]
        speaking = [column for column in free if column.speaks_for(role)]
        chosen = speaking[:1] if len(speaking) == 1 or role in ("id", "group") else []
        if not chosen and not named_only and len(speaking or free) == 1:
            chosen = speaking or free
        if chosen:
            taken.add(chosen[0].name)
            return chosen[0].name
        if not named_only and free:
            doubts[role] = [column.name for column in speaking or free]
        return None

    filled = [column for column in columns if column.num_filled]
    split = choose("split", [c for c in filled if c.counts and {v.casefold() for v in c.counts} <= SPLIT_VALUES])
    prose = [column for column in filled if column.mean_words > WORDS_OF_PROSE and not column.counts]
    reasons = [column for column in prose if column.speaks_for("rationale") and not column.speaks_for("text")]
    texts = [column for column in prose if column not in reasons] or prose
    text = choose("text", texts)
    few = [column for column in filled if len(column.counts) > 1]
    label = choose("label", [c for c in few if not (c.speaks_for("attribute") or c.speaks_for("group"))] or few)
    options: str | Mapping[str, str] | None = None
    if label is None and "label" not in doubts:  # no column with few values: perhaps each row has its own
        label = choose("label", [c for c in filled if c.speaks_for("label")], named_only=True)
        options = _options_of(look, text, label)
        label = None if options is None else label
    short = [column for column in filled if column.mean_words <= 1.5 and column.longest <= 100]
    own = [column for column in short if column.is_unique]
    own.sort(key=lambda column: column.speaks_for("group") == column.speaks_for("id"))  # the names of one alone first
    row_id = choose("id", own, named_only=True)
    if row_id is None and declared.get("id") is None:
        row_id = next((column.name for column in own if column.name not in taken), None)
        taken |= {row_id} if row_id else set()
    repeated = sorted((c for c in short if not c.is_unique and not _holds_kinds(c)), key=lambda c: c.num_distinct)
    group = choose("group", repeated, named_only=True)
    if group is None:
        numbered = [c for c in repeated if c.name not in taken and _numbers_persons(c, look.cells[c.name])]
        group = choose("group", numbered[:1])
    rationales = {column.name: column.name for column in reasons if column.name not in taken}
    if (named := declared.get("rationale")) is not None:
        rationales = {named: named} | rationales
    attributes = {c.name: c.name for c in few if c.name not in taken and c.speaks_for("attribute")}
    return Roles(text, label, row_id, group, split, options, rationales, attributes, doubts)


def _holds_kinds(column: Column) -> bool:
    """Whether its values are few and many rows have each, as those of `caller: self, wife` are."""
    return column.num_distinct <= MOST_LABELS and column.num_filled > ROWS_OF_PERSON * column.num_distinct


def _numbers_persons(column: Column, cells: Sequence[str | None]) -> bool:
    """Whether the values are letters with a number, as in `P0012`, and few rows have each."""
    is_numbered = all(cell is None or _PERSON.fullmatch(cell.strip()) for cell in cells)
    return is_numbered and 1.1 * column.num_distinct <= column.num_filled <= ROWS_OF_PERSON * column.num_distinct


_PERSON = re.compile(r"([^\W\d_][^\d\s.]*[ ]?\d+)?")


JSON_MARKS = {
    "label_studio": {"annotations", "completions", "annotation_id"},
    "argilla": {"responses", "_server_id"},
    "messages": {"messages"},
    "sharegpt": {"conversations"},
    "vllm_offline": {"outputs"},
    "anthropic_batch": {"result"},
    "gemini_batch": {"response.candidates"},
    "bedrock_batch": {"modelOutput"},
    "openai_batch": {"response"},
}
"""Format of a source -> keys of which its records have one, those of an outer object joined by a point."""
JSON_MIN_KEYS = ("id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "was_cancelled")


Settings: TypeAlias = Mapping[str, object]
"""Keys of a section of the configuration -> value."""


@dataclass(frozen=True)
class DraftedSource:
    """A file of rationales, the settings that read most of it, and what they gave."""

    name: str
    settings: Settings
    counts: SourceCounts
    longest: int
    """Words of its longest rationale."""


def draft_source(
    name: str, path: Path, data: DataConfig, examples: pa.Table, encoding: str | None = None
) -> DraftedSource:
    """The settings, of all that may fit the file, with which most records give a rationale and a label.

    Args:
        path: a file, or a glob of the files of one source.

    Raises:
        DataError: it cannot be read, or no setting gives a rationale; says what the best one met.
    """
    ids = set(examples["id"].to_pylist())
    first = find_files([str(path)], "--rationales")[0]
    ways = list(_source_ways(first, ids, data.labels.names, encoding))
    states_label = {"parse", "label_field"}
    without_label = [{**way, "parse": {"require_label": False}} for way in ways if not states_label & way.keys()]
    tried: list[DraftedSource] = []
    faults: list[str] = []
    for some in (ways, [way for way in without_label if way["format"] == "text"]):
        waiting: list[Settings] = [{"paths": [str(path)], **way} for way in some]
        while waiting:
            settings = waiting.pop(0)
            rationales = parse_section(RationalesConfig, {"stage1_source": name, "sources": {name: settings}})
            with tempfile.TemporaryDirectory(prefix="r2d-init-") as work_dir:
                try:
                    ingestion = ingest(
                        examples,
                        rationales,
                        data=data,
                        privacy=PrivacyConfig(policy="off"),
                        work_dir=Path(work_dir),
                        is_trial=True,
                    )
                except DataError as error:
                    faults.append(str(error))
                    continue
            counts, candidates = ingestion.counts()[name], ingestion.candidates[name]
            longest = max((len(one.rationale.split()) for one in candidates), default=0)
            tried.append(DraftedSource(name, settings, counts, longest))
            unknown = [one.record.example_id or "" for one in candidates if one.reason == "unknown_id"]
            if 2 * len(unknown) > counts.num_records and not {"id_pattern", "id_width"} & settings.keys():
                waiting += [{**settings, **how} for how in _ways_to_join(unknown[0], ids)]
        if any(source.counts.num_taken for source in tried):
            return max(tried, key=lambda source: source.counts.num_taken + source.counts.num_stated_labels)
    if not tried:
        raise DataError(faults[0])
    best = max(tried, key=lambda source: (_num_joined(source.counts), source.counts.num_stated_labels))
    advice = "declare the source by hand (docs/data-contract.md), or leave it out"
    if 2 * best.counts.rejected.get("not_a_label", 0) > _num_joined(best.counts):
        advice = (
            "its answers name none of the labels "
            f"{first_of([show_name(label) for label in data.labels.names])}: where these are codes, say what they "
            "stand for, most urgent first, as in --labels '1=emergency now, 2=same day'"
        )
    raise DataError(f"{path}: read as {best.settings['format']}, {best.counts.summary()}; {advice}")


def _num_joined(counts: SourceCounts) -> int:
    """Records whose id is one of the data."""
    return counts.num_records - counts.rejected.get("unknown_id", 0)


def _ways_to_join(source_id: str, ids: Set[str]) -> Iterator[Settings]:
    """Settings that may turn an id of the source into one of the data."""
    within = max((row_id for row_id in ids if row_id and row_id in source_id), key=len, default=None)
    if within is not None and within != source_id:
        before, after = source_id.split(within, 1)
        yield {"id_pattern": f"^{re.escape(before)}(.+){re.escape(after)}$"}
    widths = {len(row_id) for row_id in ids}
    if source_id.isdigit() and len(widths) == 1:
        yield {"id_width": widths.pop()}


def _source_ways(path: Path, ids: Set[str], labels: Sequence[str], encoding: str | None) -> Iterator[Settings]:
    """Settings of a source that may read the file, by its first value or its columns."""
    if suffix_of(path) not in JSON_SUFFIXES:
        yield from _table_sources(next(looks_at(path, encoding)), ids, labels)
        return
    with open_text(existing_file(str(path), "--rationales")) as stream:
        first = next(json_records(stream), Record(1, None)).value
    first = first[0] if isinstance(first, list) and first else first
    if not isinstance(first, dict):
        yield {"format": "text", "join": "order"}
        return
    keys = {*first, *flatten(first)}
    formats = [format for format, marks in JSON_MARKS.items() if marks & keys]
    formats += ["argilla"] if any(key.endswith(".responses") for key in keys) else []
    for format in formats:
        if format in ("label_studio", "argilla"):
            yield from ({"format": format, **fields} for fields in _annotation_fields(first, ids, labels))
        else:
            yield {"format": format}
            yield {"format": format, "parse": {"structure": "json"}}
    if not formats:
        look = next(looks_at(path))
        text = _longest_texts(look, look.columns).name
        row_id = max(look.columns, key=lambda column: _num_known(look, column.name, ids)).name
        of_text = {"format": "text", "text_field": text}
        by = {"id_field": row_id} if _num_known(look, row_id, ids) else {"join": "order"}
        joined: Settings = {**by, **_only_finished(look)}
        yield {**of_text, **joined}
        yield {**of_text, **joined, "parse": {"structure": "json"}}
        for column in _columns_of_labels([c for c in look.columns if c.name not in (text, row_id)], labels)[:1]:
            yield {**of_text, "label_field": column.name, **joined}


def _longest_texts(look: Look, columns: Sequence[Column]) -> Column:
    """The column with most words.

    Raises:
        DataError: it holds single words, as ids and labels are: a file of requests has no others.
    """
    column = max(columns, key=lambda column: column.mean_words)
    if column.mean_words < WORDS_OF_PROSE and all((cell or "").isascii() for cell in look.cells[column.name]):
        raise DataError(
            f"{look.path}: no column holds rationales: the longest texts have {column.mean_words:.1f} words on "
            "average; give the file with the answers, and not that with the requests or the labels"
        )
    return column


def _columns_of_labels(columns: Sequence[Column], labels: Sequence[str]) -> list[Column]:
    """The columns that hold labels of the data."""
    known = {normalise_label(label) for label in labels}
    return [column for column in columns if known & {normalise_label(value) for value in column.counts}]


def _only_finished(look: Look) -> Settings:
    """The setting that leaves drafts out, where a column says which records are drafts.

    Raises:
        DataError: all of them are.
    """
    for column in look.columns:
        values = {(cell or "").strip() for cell in look.cells[column.name]}
        if len(values) > MOST_LABELS:
            continue
        is_about_drafts = re.search("draft|unfinished|pending", column.name.casefold()) is not None
        unfinished = YES if is_about_drafts and {v.casefold() for v in values} <= {*YES, *NO, ""} else UNFINISHED
        drafts = {value for value in values if value.casefold() in unfinished}
        finished = sorted(values - drafts - {""})
        if drafts and not finished:
            raise DataError(
                f"{look.path}: column {show_name(column.name)} says of every record that it is no finished one"
            )
        if drafts:
            return {"only": {column.name: finished if len(finished) > 1 else finished[0]}}
    return {}


def _annotation_fields(first: Mapping[str, Any], ids: Set[str], labels: Sequence[str]) -> Iterator[Settings]:
    """Names of the fields of an export of annotations: the usual ones, and those of its first record."""
    data = first.get("data") or first.get("metadata") or first.get("fields") or first
    usual = {"id_field": next((key for key, value in data.items() if str(value) in ids), "id")}
    yield usual
    results = [result for one in first.get("annotations") or () for result in one.get("result") or ()]
    kinds = {str(result.get("type")): str(result.get("from_name")) for result in results}
    if {"choices", "textarea"} <= kinds.keys():
        yield usual | {"label_field": kinds["choices"], "rationale_field": kinds["textarea"]}
    if "annotation_id" in first:  # JSON-MIN: one key for each field
        fields = [key for key in first if key not in (*JSON_MIN_KEYS, usual["id_field"])]
        choices = [key for key in fields if match_label(joined_text(_plain(first[key])), labels)]
        for choice in choices[:1]:
            yield from (usual | {"label_field": choice, "rationale_field": key} for key in fields if key != choice)


def _plain(value: Any) -> Any:
    """A value of JSON-MIN without the object around its list."""
    return next(iter(value.values()), None) if isinstance(value, dict) else value


def _num_known(look: Look, name: str, ids: Set[str]) -> int:
    return sum(value in ids for value in look.cells[name])


def _table_sources(look: Look, ids: Set[str], labels: Sequence[str]) -> Iterator[Settings]:
    """Settings of a table: the column that joins most rows, the longest texts, and the labels where there are any."""
    id_column = max(look.columns, key=lambda column: _num_known(look, column.name, ids))
    others = [column for column in look.columns if column is not id_column]
    named = [column for column in others if column.speaks_for("rationale")]
    rationale = _longest_texts(look, named or others)
    states = _columns_of_labels([column for column in others if column is not rationale], labels)
    settings: Settings = {
        **{key: value for key, value in look.settings.items() if key != "format"},
        **{"format": "csv", "example_column": id_column.name, "rationale_column": rationale.name},
        **_only_finished(look),
    }
    if states:
        yield {**settings, "label_column": states[0].name}
        return
    yield settings
    yield {**settings, "parse": True}


def _options_of(look: Look, text: str | None, label: str | None) -> str | Mapping[str, str] | None:
    """Where the options of each row stand: a column of lists, or a pattern over the text; None where nowhere."""
    if text is None or label is None:
        return None
    labels = [normalise_label(value or "") for value in look.cells[label]]

    def hold(options: Sequence[Sequence[str]]) -> bool:
        """Whether nearly every label is among the options of its row."""
        pairs = zip(labels, options, strict=True)
        return sum(one in map(normalise_label, of_row) for one, of_row in pairs) > 0.9 * len(labels)

    for name in look.lists:
        if hold([(cell or "").split("\n") for cell in look.cells[name]]):
            return name
    for pattern in OPTION_PATTERNS:
        if hold([re.findall(pattern, cell or "") for cell in look.cells[text]]):
            return {"pattern": pattern}
    return None


Ask: TypeAlias = Callable[[str, Sequence[str]], str]
"""Question and the answers that are allowed (none: any) -> the user's answer; empty where he leaves it open."""


def draft_config(
    path: Path,
    *,
    declared: Mapping[str, str | None],
    rationales: Sequence[Path] = (),
    order: str = "",
    encoding: str | None = None,
    ask: Ask | None = None,
    project: str = "",
) -> str:
    """The text of a run configuration for a file of notes, with a comment beside each guess.

    Args:
        declared: role (`text`, `label`, `id`, `group`, `rationale`) -> column, where the user names it.
        rationales: files of rationales beside those in columns.
        order: labels from the most urgent to the least, by commas; of codes `1=immediate, 2=urgent`.
        encoding: of files that are no Unicode.
        ask: asks the user what the files do not tell; without it, what cannot be guessed is an error.
        project: name of the model; by default that of the file.

    Raises:
        ConfigError: text, label or encoding cannot be guessed; names the columns and the option.
        DataError: a file cannot be read in any known way.
    """
    faults: list[DataError] = []
    if encoding is None and ask is not None:
        eight_bit = EightBit.of(existing_file(str(path), "FILE"))
        if eight_bit is not None and eight_bit.sure is None:
            shown = "\n".join(f"  {name}: {eight_bit.evidence(name)}" for name in eight_bit.shares)
            encoding = ask(f"{path} is no UTF-8. Which encoding has it?\n{shown}\n", list(eight_bit.shares))
    for look in looks_at(path, encoding):
        roles = _asked(guess_roles(look, declared), look, ask)
        labels = _labels_of(look, roles)
        if ask is not None and labels and not order:
            question = "Labels from the most urgent to the least, by commas, codes as in 1=immediate, 2=urgent"
            order = ask(f"{question}; empty where they have no order", ())
        parts = [part.rpartition("=") for part in order.split(",") if part.strip()]
        ordered = list(dict.fromkeys(label.strip() for _, _, label in parts))
        codes = {code.strip(): label.strip() for code, mark, label in parts if mark}
        declared_labels: dict[str, object] = {"names": ordered or _usual_labels(labels)}
        if ordered or ask is not None:  # who was asked and gave no order says that there is none
            declared_labels["ordered"] = bool(ordered)
        if roles.options is not None:
            declared_labels = {"per_row": True}
        elif codes:
            declared_labels = {**declared_labels, "codes": codes}
        columns: dict[str, object] = {"id": roles.id or {"from": "row"}, "text": roles.text, "label": roles.label}
        columns |= {key: value for key in ("group", "split", "options") if (value := getattr(roles, key)) is not None}
        columns |= {key: dict(value) for key in ("rationales", "attributes") if (value := getattr(roles, key))}
        data: Settings = {**look.settings, "path": str(path), "labels": declared_labels, "columns": columns}
        try:
            section = parse_section(DataConfig, data, where=str(path))
            examples = load_examples(section)
        except DataError as error:
            faults.append(error)
            continue
        if fault := undeclared_rows(examples["label"].to_pylist(), section.labels):
            logger.warning("%s: %s. The draft marks them", path, fault)
        stems = [re.sub(r"[_-]*[*?]+", "", file.stem) or "rationales" for file in rationales]
        names_of_sources = [
            stem if stems.count(stem) == 1 else file.name.replace(".", "_")
            for stem, file in zip(stems, rationales, strict=True)
        ]
        without = with_columns(examples, rationales=[[]] * len(examples))  # each trial would ingest those columns again
        sources = [
            draft_source(name, file, section, without, encoding)
            for name, file in zip(names_of_sources, rationales, strict=True)
        ]
        return _rendered(look, roles, labels, data, sources, project)
    raise faults[0]


def _asked(roles: Roles, look: Look, ask: Ask | None) -> Roles:
    """The roles with what the user answers where text or label is in doubt."""
    for role in ("text", "label"):
        if getattr(roles, role) is not None:
            continue
        candidates = list(roles.doubts.get(role, ())) or [column.name for column in look.columns]
        if ask is None:
            raise ConfigError(
                f"{look.path}: which column is the {role} cannot be told; columns: "
                f"{nearest_names(candidates)}. Name it with --{role}"
            )
        answer = ask(f"Which column is the {role}?", candidates)
        roles = replace(roles, text=answer) if role == "text" else replace(roles, label=answer)
    if not any(look.cells[str(roles.text)]):
        raise DataError(f"{look.path}: the column of the text, {roles.text!r}, is empty in every row; name another")
    if roles.options is None and not _labels_of(look, roles):
        raise ConfigError(
            f"{look.path}: column {roles.label!r} holds no labels that repeat "
            f"({_column(look, roles.label).evidence()}); name another with --label. A label is one of at most "
            f"{MOST_LABELS} short texts"
        )
    return roles


def _column(look: Look, name: str | None) -> Column:
    return next(column for column in look.columns if column.name == name)


def _labels_of(look: Look, roles: Roles) -> dict[str, int]:
    """Label, in its most frequent spelling -> rows."""
    if roles.options is not None:
        return {}
    labels: dict[str, int] = {}
    for value, count in _column(look, roles.label).counts.items():
        spelling = match_label(value, list(labels)) or value
        labels[spelling] = labels.get(spelling, 0) + count
    is_number = all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in labels)
    return dict(sorted(labels.items(), key=lambda item: float(item[0]))) if is_number else labels


def _usual_labels(labels: Mapping[str, int]) -> list[str]:
    """The labels without those that few rows have beside others, which may be slips; all, where fewer than two are
    left."""
    num_rows, most = sum(labels.values()), max(labels.values(), default=0)
    is_slip = {label: 100 * num < num_rows or (num < HANDFUL and most >= 100) for label, num in labels.items()}
    usual = [label for label in labels if not is_slip[label]]
    return usual if len(usual) > 1 else list(labels)


_AROUND_LABEL = "0123456789 .:;,!?*#()[]\"'=/-–—"


def _typing_errors(labels: Mapping[str, int], names: Sequence[str], codes: Mapping[str, str]) -> dict[str, str]:
    """Rare label -> the frequent one that it may be a typing error of; levels that differ in a digit are none. And
    label -> the one that it is with signs or a number around it: `2 - urgent`, `urgent*`. What is read as another label
    already, as `Urgent` is, is none."""
    found: dict[str, str] = {}
    num_rows = Counter[str]()
    for label, count in labels.items():
        num_rows[match_label(label, names, codes) or label] += count
    plain = {name.casefold(): name for name in names if len(name) > 3 and not re.search(r"\d", name)}
    for label, count in labels.items():
        if match_label(label, names, codes) not in (None, label):
            continue
        bare = label.casefold().strip(_AROUND_LABEL)
        if bare in plain and plain[bare] != label:
            found[label] = plain[bare]
            continue
        usual = [name for name in names if name != label and num_rows[name] >= RARER * count]
        meant = near_label(label, usual)
        if meant is not None and re.findall(r"\d", label) == re.findall(r"\d", meant):
            found[label] = meant
    return found


def _language_of(texts: Sequence[str]) -> tuple[str, str] | None:
    """The language of most notes and what speaks for it; None where it is the default of `validation.language`, or
    most notes tell none."""
    known = languages(pa.array(texts, pa.string()), NOTES_READ).drop_null().to_pylist()
    ((language, count),) = Counter(known).most_common(1) or [("", 0)]
    if language == ValidationConfig().language or 2 * count <= min(len(texts), NOTES_READ):
        return None
    return language, f"of {min(len(texts), NOTES_READ)} notes, {count} seem to be in it"


def _model_name(name: str) -> str:
    """The letters of a name without their marks, and its digits (`Übersicht` is `Ubersicht`)."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return re.sub(r"[^A-Za-z0-9]+", "-", letters).strip("-") or "model"


def _token_limit(num_words: int, *, step: int, most: int, least: int = 0) -> int:
    """Tokens that a text of that many words takes with this tokenizer, rounded up to a multiple of `step`."""
    return max(least, min(most, step * math.ceil(num_words * TOKENS_PER_WORD / step)))


def _rendered(
    look: Look,
    roles: Roles,
    labels: Mapping[str, int],
    data: Mapping[str, Any],
    sources: Sequence[DraftedSource],
    project: str,
) -> str:
    """The configuration as text, which is checked as every other."""
    used = {roles.text, roles.label, roles.id, roles.group, roles.split}
    used |= {roles.options} if isinstance(roles.options, str) else set()
    used |= {*roles.rationales.values(), *roles.attributes.values()}
    demo = read_parameters(SHIPPED / "demo.yaml")
    texts = [text for text in look.cells[str(roles.text)] if text]
    explained = [len(text.split()) for column in roles.rationales.values() for text in look.cells[column] if text]
    limits = {
        "max_input_tokens": _token_limit(max(len(text.split()) for text in texts), step=64, most=512),
        "max_rationale_tokens": _token_limit(
            max([*explained, *(source.longest for source in sources)], default=0),
            step=16, least=demo["model"]["max_rationale_tokens"], most=256,
        ),
    }  # fmt: skip
    sizes = {"model": demo["model"] | limits}
    selected = [source.name for source in sources] + list(roles.rationales)
    if selected:
        sizes |= {section: demo[section] for section in ("stage1", "stage2")}
    else:  # no Stage 1, and no rationale to write
        sizes["stage2"] = {key: value for key, value in demo["stage2"].items() if key != "validation_rationales"}
    names, codes = data["labels"].get("names", []), data["labels"].get("codes", {})
    text = render(
        "r2d",
        "draft.yaml.j2",
        look=look,
        roles=roles,
        labels=labels,
        numeric=bool(names) and _column(look, roles.label).is_numeric and not codes,
        typing_errors=_typing_errors(labels, names, codes),
        left_out=[label for label in labels if match_label(label, names, codes) is None],
        language=_language_of(texts),
        num_copies=0 if roles.split else len(texts) - len(set(texts)),
        data=data,
        sources=sources,
        selected=selected[0] if len(selected) == 1 else selected,
        evidence={column.name: column.evidence() for column in look.columns},
        unused=[column for column in look.columns if column.name not in used],
        beside_text=[
            column.name
            for column in look.columns
            if column.name not in used and column.mean_words > WORDS_OF_PROSE and not column.counts
        ],
        sizes=yaml.safe_dump(sizes, sort_keys=False, default_flow_style=None, width=110).splitlines(),
        model_name=_model_name(project or look.path.name.split(".")[0]),
    )
    parse_config(yaml.safe_load(text)["parameters"]["config"], where=f"the draft for {look.path}")
    return f"{text}\n"
