"""Whatever the bytes: a `DataError`, or records that add up; never another exception, never a text in a message."""

from __future__ import annotations

import csv
import io
import json
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from r2d.config.rationales import AnySource, ParseConfig
from r2d.errors import DataError
from r2d.rationales.parsing import parse
from r2d.rationales.records import REASONS, Record
from r2d.rationales.sources import read_records
from tests.rationales.test_readers import annotation, batch_line, task

SECRET = "Dûrand"
"""Stands in every text of the files, and in no message."""
NUM_RECORDS = 6
LIGHT = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answered(number: int) -> dict[str, Any]:
    return batch_line(f"case-{number}", f"{SECRET} {number} aches. The answer is yes.")


def annotated(number: int) -> dict[str, Any]:
    return task(number, annotation(10 + number, [f"{SECRET} {number}"]))


def argilla_record(number: int) -> dict[str, Any]:
    responses = {name: [{"value": value, "user_id": "u"}] for name, value in (("label", "yes"), ("rationale", SECRET))}
    return {"id": f"case-{number}", "fields": {"text": SECRET}, "responses": responses}


def argilla_row(number: int) -> dict[str, Any]:
    flat = {f"{name}.responses": [value] for name, value in (("label", "yes"), ("rationale", SECRET))}
    return {"id": f"case-{number}", "text": SECRET} | flat | {f"{name}.users": ["u"] for name in flat}


def text_object(number: int) -> dict[str, Any]:
    return {"id": f"case-{number}", "text": f"{SECRET} {number}"}


def as_lines(values: list[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def as_list(values: list[Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1)


def as_csv(values: list[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([["example_id", "rationale"], *([one["id"], one["text"]] for one in values)])
    return stream.getvalue()


KINDS: dict[str, tuple[Callable[[list[Any]], str], Callable[[int], dict[str, Any]], str]] = {
    "openai_batch": (as_lines, answered, "openai_batch"),
    "label_studio": (as_list, annotated, "label_studio"),
    "argilla": (as_list, argilla_record, "argilla"),
    "argilla_flat": (as_lines, argilla_row, "argilla"),
    "text_lines": (as_lines, text_object, "text"),
    "text_list": (as_list, text_object, "text"),
    "csv": (as_csv, text_object, "csv"),
}
"""Kind of file -> how records are written, one record by its number, and the format of the source."""
every_kind = pytest.mark.parametrize("kind", KINDS)


def read(kind: str, content: bytes | str, folder: Path) -> list[Record] | None:
    """The records, or None where the file is refused; anything else fails."""
    path = folder / "file"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    refusal = ""
    records: list[Record] = []
    try:
        source = {"format": KINDS[kind][2], "paths": [str(path)]}
        records = read_records("fuzzed", TypeAdapter(AnySource).validate_python(source))
    except DataError as error:
        refusal = "".join(traceback.format_exception(error))
    if refusal:
        assert SECRET not in refusal
        assert "rand" not in refusal.split("DataError: ")[-1].replace(str(folder), "")
        return None
    for record in records:
        assert record.reason is None or record.reason in REASONS
        assert SECRET not in record.detail
        texts = [record.content, record.rationale, record.label, record.example_id, record.author, record.created_at]
        "".join(text or "" for text in texts).encode()
        if record.content is not None:
            for structure in ("text", "json"):
                parse(record.content, ("yes",), ParseConfig(structure=structure), stopped_at_limit=False)  # type: ignore[arg-type]
    return records


def file_of(kind: str, order: list[int] | None = None) -> str:
    write, value, _ = KINDS[kind]
    return write([value(number) for number in (range(NUM_RECORDS) if order is None else order)])


def without_place(records: list[Record] | None) -> Counter[Record]:
    assert records is not None
    return Counter(record._replace(row=0) for record in records)


@every_kind
def test_the_whole_file_gives_every_record(kind: str, tmp_path: Path) -> None:
    records = read(kind, file_of(kind), tmp_path)
    assert records is not None
    assert len(records) == NUM_RECORDS
    assert {record.reason for record in records} == {None}


@every_kind
def test_the_order_of_records_does_not_matter_and_a_double_counts_twice(kind: str, tmp_path: Path) -> None:
    order = list(range(NUM_RECORDS))
    whole = without_place(read(kind, file_of(kind), tmp_path))
    for seed in range(5):
        random.Random(seed).shuffle(order)
        assert without_place(read(kind, file_of(kind, order), tmp_path)) == whole
    assert without_place(read(kind, file_of(kind, order * 2), tmp_path)) == whole + whole


@every_kind
def test_a_file_cut_anywhere_is_refused_or_loses_only_its_end(kind: str, tmp_path: Path) -> None:
    content = file_of(kind).encode()
    whole = [record._replace(row=0) for record in read(kind, content, tmp_path) or []]
    for end in range(0, len(content), 7):
        records = read(kind, content[:end], tmp_path)
        if records is None:
            continue
        good = [record._replace(row=0) for record in records if record.reason is None]
        assert len(records) <= NUM_RECORDS
        assert len(records) - len(good) <= 1
        assert good[:-1] == whole[: len(good[:-1])]


@every_kind
def test_another_encoding_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    text = file_of(kind)
    whole = read(kind, text, tmp_path)
    assert read(kind, text.encode("utf-8-sig"), tmp_path) == whole
    assert read(kind, text.replace("\n", "\r\n") if kind != "csv" else text, tmp_path) == whole
    for encoding in ("latin-1", "utf-16", "utf-16-le", "utf-32"):
        assert read(kind, text.encode(encoding), tmp_path) is None
    assert read(kind, b"\0" + text.encode(), tmp_path) is None


@LIGHT
@every_kind
@given(data=st.data())
def test_bytes_overwritten_anywhere(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(file_of(kind).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 20))] = data.draw(
            st.sampled_from([b"", b"\0", b"\n", b'"', b"\xff", b"{", b"]", b"null", b"1e999", b"\\ud800", b"\xe2"])
        )  # fmt: skip
    read(kind, bytes(content), tmp_path)


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@LIGHT
@every_kind
@given(data=st.data())
def test_a_value_of_any_type_in_any_place(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    write, value, _ = KINDS[kind]
    if kind == "csv":
        return
    records = [value(number) for number in range(3)]
    _replace_one(records, data)
    result = read(kind, write(records), tmp_path)
    untouched = read(kind, write([value(number) for number in range(3)]), tmp_path) or []
    if result is not None and kind in ("openai_batch", "text_lines", "text_list"):
        assert len(result) >= len(records)
        assert len(set(untouched) & set(result)) >= min(2, len(records) - 1)


def _replace_one(records: list[Any], data: st.DataObject) -> None:
    """Put an odd value somewhere in one record."""
    place: Any = records
    key: Any = data.draw(st.integers(0, len(records) - 1))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(odd)


@LIGHT
@every_kind
@given(content=odd)
def test_any_json_as_the_whole_file(kind: str, tmp_path: Path, content: Any) -> None:
    read(kind, json.dumps(content), tmp_path)
    read(kind, as_lines([content, content]), tmp_path)


@pytest.mark.parametrize("kind", ["openai_batch", "text_lines", "csv"])
def test_a_line_of_ten_megabytes_takes_seconds(kind: str, tmp_path: Path) -> None:
    write, value, _ = KINDS[kind]
    huge = json.loads(json.dumps(value(0)).replace("D\\u00fbrand", "the answer is the " * 550_000))
    start = time.process_time()
    records = read(kind, write([huge, value(1)]), tmp_path)
    assert records is not None
    assert [record.reason for record in records] == [None, None]
    assert time.process_time() - start < 10


@pytest.mark.parametrize("line", ["[" * 100_000, "1" * 5_000, "{" * 5, '{"custom_id": NaN}', "\u2028", "\x1c"])
def test_lines_that_break_a_json_parser(line: str, tmp_path: Path) -> None:
    for kind in ("openai_batch", "text_lines"):
        records = read(kind, file_of(kind) + line + "\n", tmp_path)
        assert records is not None
        assert sum(record.reason is None for record in records) == NUM_RECORDS
        assert len(records) == NUM_RECORDS + bool(line.strip())


@LIGHT
@given(
    content=st.text()
    | st.lists(
        st.sampled_from(
            ["the answer is ", "Answer:", " (a", ") ", "yes", "no", " or ", "\n", "\nQ: ", "<think>", "</think>", "```",
             '{"label": "yes", ', '"rationale": "x"}', "**", "\\boxed{", "}", ".", " because ", "Rationale: ", "<|a|>",
             "{", SECRET]
        )
    ).map("".join),
    stopped=st.booleans(),
    structure=st.sampled_from(["text", "json"]),
    require_label=st.booleans(),
)  # fmt: skip
def test_any_text_is_parsed_to_an_option_and_a_rationale_or_a_reason(
    content: str, stopped: bool, structure: Any, require_label: bool
) -> None:
    config = ParseConfig(structure=structure, require_label=require_label)
    parsed = parse(content, ("yes", "no", "no or"), config, stopped_at_limit=stopped)
    assert SECRET not in parsed.detail
    if parsed.reason is None:
        assert parsed.rationale.strip()
        assert parsed.rationale == parsed.rationale.strip()
        assert parsed.label in (("yes", "no", "no or") if require_label else ("yes", "no", "no or", None))
    else:
        assert (parsed.label, parsed.rationale) == (None, "")


HOSTILE = [
    "- ", "That is wrong. ", "<", "<|", "User: ", "a. b ", "and no, ", "Draft: a\n", "The answer is no? ", "'\" ",
    "1. ", "the answer is not yes. ", "Some say the answer is yes. ", "1) yes 2) no ", "~~a", "wait, ",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_longest_text_that_is_read_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """Eight times the text takes about eight times as long; were it the square, it would take 64 times."""

    def seconds(length: int) -> float:
        text = f"{unit * (length // len(unit))} So the answer is yes."
        times = []
        for _ in range(3):
            start = time.process_time()
            parse(text, ("yes", "no"), ParseConfig(), stopped_at_limit=False, note=unit * 30)
            times.append(time.process_time() - start)
        return min(times)

    seconds(1_000)
    assert any(seconds(99_000) < 24 * seconds(12_375) + 0.1 for _ in range(3))


@pytest.mark.parametrize(
    "unit",
    [" ", "\n", "the ", "the\n", "the answer is ", "answer:\n", "*", "<think>", "</think>", "<think ", "{", ",]",
     "```\n", "\\boxed{", "so ", "a. ", "Q: \n", "(a", "<|", "# ", "a\n \n", "most likely "],
)  # fmt: skip
def test_five_megabytes_of_anything_take_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit)) + "\nAnswer: yes"
        start = time.process_time()
        for structure in ("text", "json"):
            parse(text, ("yes", "no"), ParseConfig(structure=structure), stopped_at_limit=False)  # type: ignore[arg-type]
        return time.process_time() - start

    assert any(seconds(5_000_000) < 24 * seconds(625_000) + 0.1 for _ in range(3))
