"""Each reader, through `load_examples`: equal content gives equal rows; what cannot be read says why, and the fix."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2d.config.data import DataConfig, LabelsConfig
from r2d.data.examples import Example, iterate_examples
from r2d.data.load import load_examples
from r2d.data.readers.files import find_files, require_files
from r2d.errors import DataError
from tests.data.messages import message_of
from tests.tables import as_csv

NOTE = "Mme Dûrand rang at night"
WHY = "because of her heart"
LABELS = ("urgent", "routine")
COLUMNS = {
    "text": "note",
    "label": "level",
    "group": "caller",
    "rationales": {"llm": "why"},
    "attributes": {"age": "age"},
}
HEADER = "id,note,level,caller,why,age\n"


def rows_of(num_rows: int = 30) -> list[dict[str, Any]]:
    return [
        {
            "why": WHY if number % 3 else "",
            "level": LABELS[number % 2],
            "unused": "never read",
            "id": f"{number:04d}",
            "note": f'{NOTE}, "call" {number};\nsecond line',
            "caller": f"0{number // 2}",
            "age": str(number) if number % 4 else None,
        }
        for number in range(num_rows)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    path.write_text(as_csv(rows, delimiter=delimiter), encoding=encoding, newline="")
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding=encoding)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_parquet_folder(path: Path, rows: list[dict[str, Any]]) -> Path:
    (path / "deep").mkdir(parents=True)
    write_parquet(path / "a.parquet", rows[:11])
    write_parquet(path / "deep" / "b.parquet", rows[11:])
    (path / "_SUCCESS").touch()
    return path


def write_dataset(path: Path, parts: list[dict[str, Any]] | dict[str, list[dict[str, Any]]]) -> Path:
    """A folder of `save_to_disk`, of one split or of named splits."""
    from datasets import Dataset, DatasetDict

    if isinstance(parts, list):
        Dataset.from_list(parts).save_to_disk(path)
    else:
        DatasetDict({name: Dataset.from_list(part) for name, part in parts.items()}).save_to_disk(path)
    return path


def write_in_folder(path: Path, rows: list[dict[str, Any]], write: Callable[..., Path], name: str) -> Path:
    path.mkdir()
    write(path / name, rows)
    return path


WRITERS: dict[str, tuple[str, Callable[..., Path]]] = {
    "csv": ("csv", write_csv),
    "jsonl": ("jsonl", write_jsonl),
    "parquet": ("parquet", write_parquet),
    "parquet_folder": ("parquet", write_parquet_folder),
    "saved_dataset": ("huggingface", write_dataset),
    "folder_of_parquet": ("huggingface", partial(write_in_folder, write=write_parquet, name="train.parquet")),
    "folder_of_jsonl": ("huggingface", partial(write_in_folder, write=write_jsonl, name="train.jsonl")),
    "folder_of_csv": ("huggingface", partial(write_in_folder, write=write_csv, name="train.csv")),
}


def config_of(path: Path | str, kind: str = "csv", **values: Any) -> DataConfig:
    values = {"labels": {"names": LABELS}, "columns": COLUMNS} | values
    return DataConfig(format=kind, path=str(path), **values)


def examples_of(config: DataConfig) -> list[Example]:
    return list(iterate_examples(load_examples(config)))


# What every reader gives


@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_gives_the_same_rows_for_the_same_content(tmp_path: Path, name: str) -> None:
    kind, write = WRITERS[name]
    rows = rows_of()
    examples = examples_of(config_of(write(tmp_path / "data", rows), kind))
    for example, row in zip(examples, rows, strict=True):
        assert (example.id, example.text, example.label) == (row["id"], row["note"], row["level"])
        assert (example.group, example.rationale) == (row["caller"], "")
        assert dict(example.rationales) == ({"llm": row["why"]} if row["why"] else {})
        assert dict(example.attributes) == ({"age": row["age"]} if row["age"] else {})
    reference = examples_of(config_of(write_csv(tmp_path / "reference.csv", rows)))
    assert [e.split for e in examples] == [e.split for e in reference]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("word", ["None", "NA", "null", "nan"])
def test_a_label_or_attribute_that_looks_like_nothing_stays_text(tmp_path: Path, name: str, word: str) -> None:
    kind, write = WRITERS[name]
    rows = [row | {"level": word if row["level"] == "urgent" else "routine", "age": word} for row in rows_of()]
    examples = examples_of(config_of(write(tmp_path / "data", rows), kind, labels={"names": [word, "routine"]}))
    assert [e.label for e in examples] == [row["level"] for row in rows]
    assert {e.attributes["age"] for e in examples} == {word}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_numbers_become_the_text_one_would_write_and_a_missing_number_none(tmp_path: Path, kind: str) -> None:
    rows = [row | {"id": n, "age": 45.0, "caller": n // 2, "level": True} for n, row in enumerate(rows_of())]
    rows[8]["age"] = float("nan")
    config = config_of(WRITERS[kind][1](tmp_path / "data", rows), kind, labels={"names": ["true", "false"]})
    example, missing = examples_of(config)[7:9]
    assert (example.id, example.group, example.label, example.attributes["age"]) == ("7", "3", "true", "45")
    assert dict(missing.attributes) == {}


def test_dictionary_columns_and_class_labels_are_read_as_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    expected = [row["level"] for row in rows_of()]
    table = pa.Table.from_pylist(rows_of())
    table = table.set_column(table.column_names.index("level"), "level", table["level"].dictionary_encode())
    pq.write_table(table, tmp_path / "table")
    assert [e.label for e in examples_of(config_of(tmp_path / "table", "parquet"))] == expected
    data = Dataset.from_list(rows_of()).cast_column("level", ClassLabel(names=["routine", "urgent"]))
    data.save_to_disk(tmp_path / "data")
    assert [e.label for e in examples_of(config_of(tmp_path / "data", "huggingface"))] == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_files_of_other_encodings_are_read_and_a_byte_order_mark_is_no_data(
    tmp_path: Path, kind: str, encoding: str
) -> None:
    rows = [{"id": row["id"], **row} for row in rows_of()]
    path = WRITERS[kind][1](tmp_path / "calls", rows, encoding=encoding)
    example = examples_of(config_of(path, kind, encoding=encoding.removesuffix("-sig")))[0]
    assert (example.id, example.text) == ("0000", rows[0]["note"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_null_bytes_line_separators_and_huge_fields_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    rows = rows_of()
    rows[4]["note"] = "a\0b" * 66_000
    rows[5]["note"] = "one\u2028two\u2029three\x85four"
    limit = csv.field_size_limit()
    examples = examples_of(config_of(WRITERS[kind][1](tmp_path / "data", rows), kind))
    assert [e.text for e in examples] == [row["note"] for row in rows]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_options_of_a_row_are_read_from_a_list_and_a_row_without_is_named(tmp_path: Path, kind: str) -> None:
    rows = [{"id": f"q{n}", "text": f"question {n}", "label": "b", "choices": ["a", "b", "3"]} for n in range(30)]
    values = {"labels": LabelsConfig(per_row=True), "columns": {"options": "choices"}}
    config = config_of(WRITERS[kind][1](tmp_path / "questions", rows), kind, **values)
    assert load_examples(config)["options"].to_pylist() == [["a", "b", "3"]] * 30
    rows[2]["choices"] = None
    WRITERS[kind][1](tmp_path / "questions", rows)
    with pytest.raises(DataError, match=r"1 row has no list in column 'choices' \(data\.columns\.options\): row 3"):
        load_examples(config)
    WRITERS[kind][1](tmp_path / "questions", [row | {"choices": "a or b"} for row in rows])
    with pytest.raises(DataError, match=r"column 'choices'.*(data\.columns\.options\) holds a str|options is a list)"):
        load_examples(config)


# Splits of a data set


@pytest.mark.parametrize("validation", ["validation", "val", "dev"])
def test_a_dataset_keeps_its_own_splits_and_without_validation_the_rest_is_divided(
    tmp_path: Path, validation: str
) -> None:
    rows = rows_of()
    path = write_dataset(tmp_path / "data", {"test": rows[:6], "train": rows[6:20], validation: rows[20:]})
    examples = examples_of(config_of(path, "huggingface"))
    assert [e.split for e in examples] == ["test"] * 6 + ["train"] * 14 + ["validation"] * 10
    assert [e.id for e in examples] == [row["id"] for row in rows]
    path = write_dataset(tmp_path / "two", {"train": rows[10:], "test": rows[:10]})
    splits = [e.split for e in examples_of(config_of(path, "huggingface"))]
    assert splits[20:] == ["test"] * 10
    assert sorted(splits[:20]) == ["train"] * 18 + ["validation"] * 2


def test_a_row_is_named_by_its_split_or_its_file(tmp_path: Path) -> None:
    rows = rows_of()
    path = write_dataset(tmp_path / "data", {"train": rows[:20], "unsupervised": rows[20:]})
    message = message_of(config_of(path, "huggingface"))
    assert "10 rows: data: unsupervised: row 1 holds (a text of 12 characters)" in message
    rows[15]["level"] = "urgnt"
    path = write_parquet_folder(tmp_path / "folder", rows)
    assert "deep/b.parquet: row 5 holds 'urgnt'" in message_of(config_of(path, "parquet"))


# What cannot be read


@pytest.mark.parametrize(("delimiter", "name"), [(";", '";"'), ("\t", '"\\t"'), ("|", '"|"')])
def test_a_wrong_delimiter_is_named_and_the_named_one_works(tmp_path: Path, delimiter: str, name: str) -> None:
    path = write_csv(tmp_path / "calls.csv", rows_of(), delimiter)
    message = message_of(config_of(path))
    assert str(path) in message
    assert message.endswith(f"set data.delimiter: {name}")
    assert len(examples_of(config_of(path, delimiter=delimiter))) == 30


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("encoding", "declared", "part"),
    [
        ("cp1252", "utf-8", "is not utf-8: byte {offset}, on line {line}, cannot be decoded;"),
        ("cp1252", "utf-8", "set data.encoding to the file's own, e.g. cp1252, or save the file as UTF-8"),
        ("utf-16", "utf-8", "begins with a UTF-16 byte order mark at byte 0; set data.encoding: utf-16"),
        ("utf-8", "utf-16", "set data.encoding to the file's own, e.g. utf-8"),
        ("utf-8", "utf8mb4", "data.encoding 'utf8mb4' is no known encoding; use e.g. utf-8"),
    ],
)  # fmt: skip
def test_a_wrong_encoding_names_the_byte_and_the_encoding_to_set(
    tmp_path: Path, kind: str, encoding: str, declared: str, part: str
) -> None:
    path = WRITERS[kind][1](tmp_path / "calls", rows_of(), encoding=encoding)
    offset, line = path.read_bytes().find("û".encode("cp1252")), 2 if kind == "csv" else 1
    message = message_of(config_of(path, kind, encoding=declared))
    assert message.startswith(f"{path}: ")
    assert part.format(offset=offset, line=line) in message


def test_a_wrong_byte_far_into_a_file_is_found_at_its_offset_and_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "calls", rows_of(2000))
    raw = bytearray(path.read_bytes())
    offset = raw.index(b"1777;")
    raw[offset] = 0xFF
    path.write_bytes(raw)
    assert f"byte {offset}, on line 1778," in message_of(config_of(path, "jsonl"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column_names_its_key_the_nearest_name_and_what_was_found(tmp_path: Path, name: str) -> None:
    kind, write = WRITERS[name]
    path = write(tmp_path / "data", rows_of())
    message = message_of(config_of(path, kind, columns=COLUMNS | {"label": "Levle", "rationales": {"nurse": "zzz"}}))
    assert str(path) in message
    assert "2 declared columns missing" in message
    assert "data.columns.label: no column 'Levle' (did you mean 'level'?)" in message
    assert "data.columns.rationales.nurse: no column 'zzz'\n" in message
    assert "'unused'" in message


def test_the_nearest_name_is_shown_also_where_other_names_may_be_cells(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("Nummer,Notiz,Alter in Jahren,level\n1,Hustet.,40,routine\n", encoding="utf-8")
    message = message_of(config_of(path, "csv", columns={"id": "Nummer", "text": "Notitz", "label": "level"}))
    assert "data.columns.text: no column 'Notitz' (did you mean 'Notiz'?)" in message
    assert "Jahren" not in message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pubmedqa"])
def test_files_without_data_are_named_for_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "calls.data"
    message = message_of(config_of("calls.data", kind))
    assert message.startswith(f"{path}: no such file or folder (data.path is 'calls.data')")
    assert "working directory" in message
    path.touch()
    assert message_of(config_of(path, kind)).startswith(f"{path}: is empty")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    assert "is a Git-LFS pointer, not the data; run `git lfs pull`" in message_of(config_of(path, kind))


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_folders_without_data_are_named_for_what_they_are(tmp_path: Path, kind: str) -> None:
    assert message_of(config_of(tmp_path, kind)).startswith(f"{tmp_path}: ")
    write_parquet(tmp_path / "a.parquet", rows_of())
    (tmp_path / "b.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert f"{tmp_path / 'b.parquet'}: is a Git-LFS pointer" in message_of(config_of(tmp_path, kind))


RAGGED = f"1,{NOTE},urgent,c,x,2\n" + f"{WHY},urgent,{NOTE}, and more,1,2,3,4,5\n" * 7


@pytest.mark.parametrize(
    ("kind", "content", "part"),
    [
        ("csv", "\n\n\n", "is empty but for line breaks"),
        ("csv", HEADER, "has columns but no rows"),
        ("csv", f'1,urgent,"{NOTE} and then again at noon"\n2,routine,"{NOTE}"\n', "add a header line"),
        ("csv", f"note,{HEADER}1,{NOTE},{NOTE},urgent,c,{WHY},3\n", "data.columns.text 'note'); rename one"),
        ("csv", HEADER + RAGGED, "7 rows have not the 6 fields of the header: line 3 has 9; line 4 has 9;"),
        ("csv", HEADER + RAGGED, "; and 2 more; put a field that holds the delimiter in double quotes"),
        ("csv", f'{HEADER}1,{NOTE},a,c,x,2\n2,"{NOTE},a,c,x,2\n', "begins on line 3 opens a quote that never closes"),
        ("csv", "PAR1\0\1", "is a Parquet file: set data.format: parquet"),
        ("csv", "PK\x03\x04\xff", "is no whole zip file; fetch it again"),
        ("csv", "\x1f\x8b\xff", "is no whole gzip file; fetch it again"),
        ("jsonl", "\n\n\n", "is empty but for line breaks"),
        (
            "jsonl",
            f'\n{{"note": "{NOTE}" oops}}\n["{NOTE}"]\n' + "[" * 100_000 + "\n",
            "3 lines hold no JSON object: line 2: no JSON (Expecting ',' delimiter at column 37); line 3: a list, "
            "not an object; line 4: no JSON (nested too deep or a number too long); write one object a line",
        ),
        (
            "jsonl",
            "".join(json.dumps(row | {"note": [NOTE, WHY]}) + "\n" for row in rows_of(1)),
            "1 value is no text: line 1, column 'note' (data.columns.text) holds a list of 2; write a string",
        ),
        (
            "jsonl",
            "".join(json.dumps(row | {"note": NOTE + "\ud83d"}) + "\n" for row in rows_of(2)),
            "column 'note' holds half a surrogate pair (\\ud800 to \\udfff alone) in 2 rows: row 1; row 2;",
        ),
        ("parquet", "PAR1 no more", "is no whole Parquet file"),
        ("pubmedqa", '{"1": {"QUESTION": "Mme Dûrand?"}}', "entry 1 lacks 'CONTEXTS'"),
        ("pubmedqa", '["Mme Dûrand"]', "expected an object"),
        ("pubmedqa", '{"1": \n"Mme Dûrand}', "is no JSON on line 2"),
        (
            "pubmedqa",
            '{"1": {"QUESTION": "Mme Dûrand?", "CONTEXTS": [3], "LONG_ANSWER": "", "final_decision": ""}}',
            "entry 1 is no object of texts",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why_where_and_the_fix(tmp_path: Path, kind: str, content: str, part: str) -> None:
    path = tmp_path / "calls.data"
    path.write_bytes(content.encode("latin-1" if content[:1] in "P\x1f" else "utf-8"))
    message = message_of(config_of(path, kind))
    assert message.startswith(f"{path}: ")
    assert part in message


@pytest.mark.parametrize("name", ["parquet", "saved_dataset"])
def test_a_column_of_lists_where_texts_are_due_and_a_file_cut_off_are_named(tmp_path: Path, name: str) -> None:
    kind, write = WRITERS[name]
    path = write(tmp_path / "data", [row | {"note": [NOTE, WHY]} for row in rows_of()])
    message = message_of(config_of(path, kind))
    assert re.search("column 'note' holds list.*, which is no text; store it as a string", message)
    if kind == "parquet":
        path.write_bytes(path.read_bytes()[:-100])
        assert f"{path}: is no whole Parquet file" in message_of(config_of(path, kind))


# Data sets of folders and of the hub


def test_reading_a_folder_leaves_no_copy_of_the_notes_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = WRITERS["folder_of_jsonl"][1](tmp_path / "data", rows_of())
    assert len(examples_of(config_of(path, "huggingface"))) == 30
    assert not [file for file in tmp_path.rglob("*") if file.suffix == ".arrow"]


def test_a_folder_that_datasets_cannot_load_is_a_named_fault(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows_of())
    (tmp_path / "test.jsonl").write_text(f'{{"note": "{NOTE}')
    message = message_of(config_of(tmp_path, "huggingface"))
    assert message.startswith(f"{tmp_path}: `datasets` cannot load it")
    assert "save_to_disk" in message


@pytest.mark.parametrize(
    ("path", "revision", "part"),
    [
        ("nurses/calls", None, "its data.revision is not set, and without a commit .* cannot be repeated"),
        (
            "nurses/calls",
            "0123abc",
            r"'nurses/calls' at revision '0123abc': cannot be fetched .*save_to_disk\(folder\)` and set data\.path",
        ),
        ("./calls", "0123abc", "no such file or folder"),
        ("/nowhere/calls", "0123abc", "no such file or folder"),
        ("data/raw/calls", "0123abc", "no such file or folder"),
        ("calls.csv", "0123abc", "is a file, but .* set data.format to csv"),
    ],
)
def test_a_dataset_that_cannot_be_had_says_how_to_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, revision: str | None, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    write_csv(tmp_path / "calls.csv", rows_of())
    assert re.search(part, message_of(config_of(path, "huggingface", revision=revision)))


# Files


def test_all_files_that_are_missing_are_named_at_once_with_the_nearest_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").touch()
    with pytest.raises(DataError) as caught:
        require_files(
            [
                ("data.path", str(tmp_path / "cals.csv")),
                ("b", str(tmp_path / "no" / "a")),
                ("c", str(tmp_path / "*.txt")),
            ]
        )
    first, second, third = str(caught.value).splitlines()
    assert "cals.csv') (did you mean 'calls.csv'?); correct data.path" in first
    assert "no such file or folder (b is" in second
    assert "matches no file" in third


def test_a_glob_gives_its_files_in_natural_order_and_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("part_10.csv", "part_2.csv", "part_a.csv", "odd[1].csv"):
        (tmp_path / name).touch()
    names = [file.name for file in find_files(["part_2.csv", "part_*.csv", "odd[1].csv"], "data.path")]
    assert names == ["part_2.csv", "part_10.csv", "part_a.csv", "odd[1].csv"]
    with pytest.raises(DataError, match=r"data\.path: 'none_\*' matches no file; .* working directory"):
        find_files(["none_*"], "data.path")
