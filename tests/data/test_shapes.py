"""Shapes in which files come, read by configuration alone, alike for notes and calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from r2d.config.data import DataConfig
from r2d.config.jobs import CallsConfig
from r2d.data.examples import Example, iterate_examples
from r2d.data.load import load_examples
from r2d.data.reading import Reading
from r2d.errors import DataError
from r2d.inference.calls import Call, read_calls, scan_calls
from tests.data.messages import message_of

LABELS = ("now", "later")


def rows_of(num_rows: int = 30) -> list[dict[str, Any]]:
    return [
        {"complaint": f"knee {n}", "history": f"fell {n}" if n % 3 else "", "label": LABELS[n % 2]}
        for n in range(num_rows)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("".join(f"{line}\n" for line in lines))
    return path


def examples_of(path: Path, columns: dict[str, Any], **values: Any) -> list[Example]:
    kind = path.suffix.lstrip(".")
    config = DataConfig(**{"format": kind, "path": str(path), "labels": {"names": LABELS}, "columns": columns} | values)
    return list(iterate_examples(load_examples(config)))


KINDS = ["csv", "jsonl", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_several_columns_are_one_text_and_rows_without_ids_get_their_number(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"calls.{kind}", rows_of())
    columns: dict[str, Any] = {"id": {"from": "row"}, "text": ["complaint", "history"]}
    first, second = examples_of(path, columns)[:2]
    assert (first.id, first.text) == ("1", "knee 0")
    assert (second.id, second.text) == ("2", "knee 1\nfell 1")
    calls = list(read_calls(CallsConfig(path=str(path), columns=columns)))
    assert calls[:2] == [Call("1", "knee 0"), Call("2", "knee 1\nfell 1")]
    columns["text_template"] = "Complaint: {complaint}. History: {history}."
    assert examples_of(path, columns)[1].text == "Complaint: knee 1. History: fell 1."
    table = load_examples(DataConfig(format=kind, path=str(path), labels={"names": LABELS}, columns=columns))
    assert Reading.of(table).notes[0].startswith("ids are the numbers of the rows")


def test_an_empty_column_of_a_template_leaves_its_words_and_is_counted(tmp_path: Path) -> None:
    rows = [row | {"history": "fell"} for row in rows_of()]
    rows[3]["history"] = rows[4]["history"] = " "
    path = write(tmp_path / "notes.csv", rows)
    columns: dict[str, Any] = {"id": {"from": "row"}, "text": ["complaint", "history"]}
    columns["text_template"] = "Complaint: {complaint}. History: {history}."
    table = load_examples(DataConfig(format="csv", path=str(path), labels={"names": LABELS}, columns=columns))
    said = "text_template: column 'history' is empty in 2 rows, where the words around it stay"
    assert said in Reading.of(table).notes
    assert table["text"].to_pylist()[3].startswith(f"Complaint: {rows[3]['complaint']}. History:")
    notes: list[str] = []
    calls = CallsConfig.model_validate({"path": str(path), "columns": columns})
    assert [call.text for call in read_calls(calls, notes)] == table["text"].to_pylist()
    assert said in notes
    columns |= {"text": ["complaint"], "text_template": "Complaint: {complaint}"}
    assert examples_of(path, columns)[0].text == f"Complaint: {rows[0]['complaint']}"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_made_of_texts_stay_when_rows_move_and_tell_copies_apart(tmp_path: Path, kind: str) -> None:
    columns: dict[str, Any] = {"id": {"from": "text"}, "text": "complaint"}
    rows = rows_of()
    rows[7]["complaint"] = rows[3]["complaint"]
    before = {e.text: e.id for e in examples_of(write(tmp_path / f"a.{kind}", rows), columns) if e.row != 7}
    moved = examples_of(write(tmp_path / f"b.{kind}", rows[10:] + rows[:10]), columns)
    assert {e.text: e.id for e in moved if not e.id.endswith("-2")} == before
    assert [e.id for e in moved if e.id.endswith("-2")] == [before[rows[3]["complaint"]] + "-2"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_nested_values_and_lists_of_one_are_read_by_their_path(tmp_path: Path, kind: str) -> None:
    rows = [
        {"meta": {"case": {"id": n}}, "data": {"notes": [{"body": f"note {n}"}]}, "label": [LABELS[n % 2]]}
        for n in range(30)
    ]
    path = write(tmp_path / f"calls.{kind}", rows)
    columns = {"id": "meta.case.id", "text": "data.notes[0].body"}
    example = examples_of(path, columns)[3]
    assert (example.id, example.text, example.label) == ("3", "note 3", "later")
    assert list(read_calls(CallsConfig(path=str(path), columns=columns)))[3] == Call("3", "note 3")
    rows[4]["label"] = ["now", "later"]
    with pytest.raises(DataError, match=r"list of 2|holds list"):
        examples_of(write(path, rows), columns)
    with pytest.raises(DataError, match=r"no column '(meta\.kase\.id|meta)'|meta.kase"):
        examples_of(path, columns | {"id": "meta.kase.id"})


def test_options_stand_in_the_text_or_in_columns_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"id": n, "text": f"Where {n}? (a) bed (b) home", "label": "home", "o1": "bed", "o2": "home"} for n in range(30)
    ]
    path = write(tmp_path / "questions.csv", rows)
    for options in ({"pattern": r"\([a-e]\) (?P<option>[^()]+)"}, ["o1", "o2"]):
        examples = examples_of(path, {"options": options}, labels={"per_row": True})
        assert {tuple(e.options) for e in examples} == {("bed", "home")}
        assert examples[0].text == "Where 0? (a) bed (b) home"
        calls = CallsConfig(path=str(path), columns={"options": options})
        assert next(read_calls(calls)).options == ["bed", "home"]
    rows[2]["text"] = "Where?"
    with pytest.raises(DataError, match=r"1 row has no list in the columns or the pattern .*: row 3"):
        examples_of(write(path, rows), {"options": {"pattern": r"\((?P<option>[^()]+)\)"}}, labels={"per_row": True})


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"text": ["a", "b"], "text_template": "{a} {c}"}, "text_template names ['c']"),
        ({"text": ["a", "b"], "text_template": "{a}"}, "text_template lacks ['b'] of text"),
        ({"options": {"pattern": "x"}}, "needs a group named option"),
        ({"id": {"from": "hash"}}, "'row' or 'text'"),
    ],
)
def test_columns_that_do_not_fit_are_faults_of_the_config(values: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CallsConfig.model_validate({"path": "calls.csv", "columns": values})
    assert part in str(caught.value)


@pytest.mark.parametrize("form", ["list", "pretty list", "pretty objects", "lines"])
def test_json_is_read_whatever_its_line_breaks(tmp_path: Path, form: str) -> None:
    rows = [{"id": f"k{n}", "text": f"note\n[{n}] {{}}", "label": LABELS[n % 2]} for n in range(30)]
    path = tmp_path / "calls.jsonl"
    path.write_text({
        "list": json.dumps(rows),
        "pretty list": "\n" + json.dumps(rows, indent=2),
        "pretty objects": "\n".join(json.dumps(row, indent=1) for row in rows),
        "lines": "".join(json.dumps(row) + "\n" for row in rows),
    }[form])  # fmt: skip
    assert [(e.id, e.text) for e in examples_of(path, {})] == [(row["id"], row["text"]) for row in rows]
    path.write_text(path.read_text()[:-9] if form != "lines" else path.read_text() + "{")
    message = message_of(DataConfig(format="jsonl", path=str(path), labels={"names": LABELS}))
    assert "1 line holds no JSON object" in message


def test_a_declared_key_that_stands_twice_is_refused_and_another_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    lines = [f'{{"id": "k{n}", "text": "note {n}", "label": "now", "x": 1}}' for n in range(30)]
    lines[4] = lines[4].replace('"x": 1', '"x": 1, "x": 2, "label": "now"')
    path.write_text("\n".join(lines))
    config = DataConfig(format="jsonl", path=str(path), labels={"names": LABELS})
    assert Reading.of(load_examples(config)).notes == ["1 object has a key twice that is not declared"]
    lines[6] = lines[6].replace('"x": 1', '"label": "later"')
    path.write_text("\n".join(lines))
    message = message_of(config)
    assert "1 declared key stands twice in its object, with different values: line 7, key 'label'" in message
    path.write_text('{"id": 1, "text": "a", "text": "b"}\n')
    with pytest.raises(DataError, match="key 'text'"):
        scan_calls(CallsConfig(path=str(path)))


def redcap(tmp_path: Path) -> Path:
    rows = [{"id": "p0", "form": "", "n": "", "text": "", "label": "now", "site": "north"}]
    for n in range(30):
        rows.append({"id": f"p{n}", "form": "call", "n": "1", "text": f"first {n}", "label": LABELS[n % 2], "site": ""})
        rows.append({"id": f"p{n}", "form": "labs", "n": "1", "text": "", "label": "", "site": "9"})
        rows.append({"id": f"p{n}", "form": "call", "n": "2", "text": f"second {n}", "label": "", "site": ""})
        rows.append({"id": f"p{n}", "form": "", "n": "", "text": "", "label": LABELS[(n + 1) % 2], "site": "south"})
    return write(tmp_path / "redcap.csv", rows[1:])


def test_repeated_rows_are_those_that_are_declared(tmp_path: Path) -> None:
    path, columns = redcap(tmp_path), {"attributes": {"site": "site"}}
    repeats = {"instance": "n", "rows": {"form": "call"}}
    last = examples_of(path, columns, repeats=repeats)
    assert [(e.id, e.text, e.label, e.attributes["site"]) for e in last[:2]] == [
        ("p0", "second 0", "later", "south"), ("p1", "second 1", "now", "south"),
    ]  # fmt: skip
    first = examples_of(path, columns, repeats=repeats | {"keep": "first"})
    assert [(e.text, e.label) for e in first[:2]] == [("first 0", "now"), ("first 1", "later")]
    assert [e.text for e in examples_of(path, columns, repeats=repeats | {"keep": 2})[:1]] == ["second 0"]
    every = examples_of(path, columns, repeats=repeats | {"keep": "all"})
    assert [(e.id, e.group) for e in every[:2]] == [("p0-1", "p0"), ("p0-2", "p0")]
    assert len(every) == 60
    config = DataConfig(format="csv", path=str(path), labels={"names": LABELS}, columns=columns, repeats=repeats)
    (note,) = Reading.of(load_examples(config)).notes
    assert note.startswith("repeated rows: of each id, instance 'last' counts; 90 of 120 rows left out")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_without_any_declared_value_are_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    rows = [{"id": f"k{n}", "text": f"note {n}", "label": "now", "x": n} for n in range(30)]
    rows += [{"id": None, "text": " ", "label": "", "x": 30}, {"id": "", "text": None, "label": None, "x": 31}]
    path = write(tmp_path / f"calls.{kind}", rows)
    table = load_examples(DataConfig(format=kind, path=str(path), labels={"names": LABELS}))
    assert len(table) == 30
    assert Reading.of(table).notes[0].startswith("2 rows without any value in the declared columns left out (row 31")


def test_a_number_is_a_position_where_a_parquet_file_names_its_classes(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    rows = [{"id": str(n), "text": f"note {n}", "label": n % 2} for n in range(30)]
    Dataset.from_list(rows).cast_column("label", ClassLabel(names=["later", "now"])).to_parquet(tmp_path / "a.parquet")
    assert [e.label for e in examples_of(tmp_path / "a.parquet", {})] == ["later", "now"] * 15


def test_calls_without_a_word_and_repeated_ids_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "calls.csv", [{"id": f"k{n % 8}", "text": "" if n < 3 else "note"} for n in range(10)])
    with caplog.at_level("INFO", logger="r2d"):
        summary = scan_calls(CallsConfig(path=str(path)))
    assert (summary.num_without_text, summary.num_repeated_ids) == (3, 2)
    assert "3 of 10 calls have no text: each is deferred to a person" in caplog.text
    assert "2 of 10 calls have the id of an earlier one" in caplog.text
