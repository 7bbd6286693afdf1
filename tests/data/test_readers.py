"""Each reader, through `load_examples`: equal content gives equal rows; what cannot be read says why, and the fix."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2d.config.data import DataConfig, LabelsConfig
from r2d.data.examples import Example, iterate_examples
from r2d.data.load import load_examples
from r2d.errors import DataError
from tests.data.messages import message_of

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
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
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


def write_saved_dataset(path: Path, rows: list[dict[str, Any]]) -> Path:
    from datasets import Dataset

    Dataset.from_list(rows).save_to_disk(path)
    return path


def write_folder_of(write: Callable[..., Path], name: str) -> Callable[..., Path]:
    def inside(path: Path, rows: list[dict[str, Any]]) -> Path:
        path.mkdir()
        write(path / name, rows)
        return path

    return inside


WRITERS: dict[str, tuple[str, Callable[..., Path]]] = {
    "csv": ("csv", write_csv),
    "jsonl": ("jsonl", write_jsonl),
    "parquet": ("parquet", write_parquet),
    "parquet_folder": ("parquet", write_parquet_folder),
    "saved_dataset": ("huggingface", write_saved_dataset),
    "folder_of_parquet": ("huggingface", write_folder_of(write_parquet, "train.parquet")),
    "folder_of_jsonl": ("huggingface", write_folder_of(write_jsonl, "train.jsonl")),
    "folder_of_csv": ("huggingface", write_folder_of(write_csv, "train.csv")),
}


def config_of(path: Path | str, kind: str = "csv", **values: Any) -> DataConfig:
    values = {"labels": {"names": LABELS}, "columns": COLUMNS} | values
    return DataConfig(format=kind, path=str(path), **values)


def examples_of(config: DataConfig) -> list[Example]:
    return list(iterate_examples(load_examples(config)))


@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_gives_the_same_rows_for_the_same_content(tmp_path: Path, name: str) -> None:
    kind, write = WRITERS[name]
    rows = rows_of()
    examples = examples_of(config_of(write(tmp_path / "data", rows), kind))
    assert [
        (e.id, e.text, e.label, e.group, dict(e.rationales), dict(e.attributes), e.rationale) for e in examples
    ] == [
        (
            row["id"],
            row["note"],
            row["level"],
            row["caller"],
            {"llm": row["why"]} if row["why"] else {},
            {"age": row["age"]} if row["age"] else {},
            "",
        )
        for row in rows
    ]
    reference = examples_of(config_of(write_csv(tmp_path / "reference.csv", rows)))
    assert [e.split for e in examples] == [e.split for e in reference]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("word", ["None", "NA", "null", "nan"])
def test_a_label_or_attribute_that_looks_like_nothing_stays_text(tmp_path: Path, name: str, word: str) -> None:
    kind, write = WRITERS[name]
    rows = [row | {"level": word if row["level"] == "urgent" else "routine", "age": word} for row in rows_of()]
    config = config_of(write(tmp_path / "data", rows), kind, labels={"names": [word, "routine"]})
    examples = examples_of(config)
    assert [e.label for e in examples] == [row["level"] for row in rows]
    assert {e.attributes["age"] for e in examples} == {word}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_numbers_become_the_text_one_would_write(tmp_path: Path, kind: str) -> None:
    rows = [
        row | {"id": number, "age": 45.0, "caller": number // 2, "level": True} for number, row in enumerate(rows_of())
    ]
    config = config_of(WRITERS[kind][1](tmp_path / "data", rows), kind, labels={"names": ["true", "false"]})
    example = examples_of(config)[7]
    assert (example.id, example.group, example.label, example.attributes["age"]) == ("7", "3", "true", "45")


def test_a_missing_number_of_a_parquet_file_is_no_attribute_called_nan(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row | {"age": float("nan")} for row in rows_of()])
    pq.write_table(table, tmp_path / "data")
    assert not any(example.attributes for example in examples_of(config_of(tmp_path / "data", "parquet")))


def test_dictionary_columns_of_parquet_are_text(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows_of())
    table = table.set_column(table.column_names.index("level"), "level", table["level"].dictionary_encode())
    pq.write_table(table, tmp_path / "data")
    assert {e.label for e in examples_of(config_of(tmp_path / "data", "parquet"))} == set(LABELS)


@pytest.mark.parametrize(("delimiter", "name"), [(";", '";"'), ("\t", '"\\t"'), ("|", '"|"')])
def test_a_wrong_delimiter_is_named_and_the_named_one_works(tmp_path: Path, delimiter: str, name: str) -> None:
    path = write_csv(tmp_path / "calls.csv", rows_of(), delimiter)
    message = message_of(config_of(path))
    assert str(path) in message
    assert message.endswith(f"set data.delimiter: {name}")
    assert len(examples_of(config_of(path, delimiter=delimiter))) == 30


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(("encoding", "byte"), [("cp1252", None), ("utf-16", 0)])
def test_a_wrong_encoding_names_the_byte_and_the_encoding_to_set(
    tmp_path: Path, kind: str, encoding: str, byte: int | None
) -> None:
    path = WRITERS[kind][1](tmp_path / "calls", rows_of(), encoding=encoding)
    offset = path.read_bytes().index("û".encode("cp1252")) if byte is None else byte
    message = message_of(config_of(path, kind))
    assert str(path) in message
    assert f"byte {offset}" in message
    assert "data.encoding" in message
    assert encoding in message
    assert examples_of(config_of(path, kind, encoding=encoding))[3].text == rows_of()[3]["note"]


def test_a_wrong_byte_far_into_a_file_is_found_at_its_offset_and_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "calls", rows_of(2000))
    raw = bytearray(path.read_bytes())
    offset = raw.index(b"1777;")
    raw[offset] = 0xFF
    path.write_bytes(raw)
    assert f"byte {offset}, on line 1778," in message_of(config_of(path, "jsonl"))


def test_utf8_read_as_utf16_and_an_unknown_encoding_are_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls.csv", rows_of())
    assert "e.g. utf-8" in message_of(config_of(path, encoding="utf-16"))
    assert "data.encoding 'utf8mb4' is no known encoding" in message_of(config_of(path, encoding="utf8mb4"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_byte_order_mark_that_excel_writes_is_no_part_of_the_data(tmp_path: Path, kind: str) -> None:
    rows = [{"id": row["id"], **row} for row in rows_of()]
    path = WRITERS[kind][1](tmp_path / "calls", rows, encoding="utf-8-sig")
    assert examples_of(config_of(path, kind))[0].id == "0000"


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column_names_its_key_the_nearest_name_and_what_was_found(tmp_path: Path, name: str) -> None:
    kind, write = WRITERS[name]
    path = write(tmp_path / "data", rows_of())
    message = message_of(config_of(path, kind, columns=COLUMNS | {"label": "Levle", "rationales": {"nurse": "zzz"}}))
    assert str(path) in message
    assert "2 declared column(s) missing" in message
    assert "data.columns.label: no column 'Levle' (did you mean 'level'?)" in message
    assert "data.columns.rationales.nurse: no column 'zzz'\n" in message
    assert "'unused'" in message


def test_a_file_without_a_header_is_not_quoted_as_if_it_had_one(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f'1,urgent,"{NOTE} and then again at noon"\n2,routine,"{NOTE}"\n')
    assert "add a header line" in message_of(config_of(path))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f"id,note,note,level,caller,why,age\n1,{NOTE},{NOTE},urgent,c,{WHY},3\n")
    assert "data.columns.text 'note'" in message_of(config_of(path))


@pytest.mark.parametrize(("kind", "key"), [("csv", "data.path"), ("parquet", "data.path"), ("pubmedqa", "data.path")])
def test_a_missing_file_is_shown_with_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = message_of(config_of("calls.data", kind))
    assert message.startswith(f"{tmp_path / 'calls.data'}: no such file or folder ({key} is 'calls.data')")
    assert "working directory" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pubmedqa"])
def test_a_git_lfs_pointer_is_recognised(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "calls.data"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    message = message_of(config_of(path, kind))
    assert "Git-LFS pointer" in message
    assert "git lfs pull" in message


def test_a_git_lfs_pointer_among_the_files_of_a_folder_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", rows_of())
    (tmp_path / "b.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    for kind in ("parquet", "huggingface"):
        assert f"{tmp_path / 'b.parquet'}: is a Git-LFS pointer" in message_of(config_of(tmp_path, kind))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pubmedqa"])
def test_an_empty_file_is_called_empty(tmp_path: Path, kind: str) -> None:
    (tmp_path / "calls").touch()
    assert f"{tmp_path / 'calls'}: is empty" in message_of(config_of(tmp_path / "calls", kind))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_of_line_breaks_is_called_empty(tmp_path: Path, kind: str) -> None:
    (tmp_path / "calls").write_text("\n\n\n")
    assert "is empty but for line breaks" in message_of(config_of(tmp_path / "calls", kind))


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("id,note,level,caller,why,age\n")
    assert "no rows" in message_of(config_of(tmp_path / "calls.csv"))


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_an_empty_folder_is_refused(tmp_path: Path, kind: str) -> None:
    message = message_of(config_of(tmp_path, kind))
    assert message.startswith(f"{tmp_path}: ")


@pytest.mark.parametrize(
    ("start", "meaning"), [(b"PAR1", "data.format: parquet"), (b"PK\x03\x04", "Excel"), (b"\x1f\x8b", "gzip")]
)
def test_a_file_that_is_no_text_is_called_what_it_is(tmp_path: Path, start: bytes, meaning: str) -> None:
    (tmp_path / "calls.csv").write_bytes(start + bytes(range(256)))
    assert meaning in message_of(config_of(tmp_path / "calls.csv"))


def test_ragged_rows_are_counted_and_named_by_line(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls.csv", rows_of())
    lines = path.read_text().splitlines()
    ragged = [f"{WHY},urgent,{NOTE}, and more,1,2,3,4,5"] * 7
    path.write_text("\n".join([*lines, *ragged]))
    message = message_of(config_of(path))
    assert "7 row(s) have not the 7 fields of the header" in message
    assert f"line {len(lines) + 1} has 9; line {len(lines) + 2} has 9" in message
    assert "and 2 more" in message
    assert "double quotes" in message


def test_a_quote_that_never_closes_is_named_by_the_line_where_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        f'id,note,level,caller,why,age\n1,{NOTE},urgent,c,x,2\n2,"{NOTE},urgent,c,x,2\n3,{NOTE},urgent,c,x,2\n'
    )
    message = message_of(config_of(path))
    assert "line 3 is no CSV" in message
    assert "double quotes" in message


def test_malformed_json_lines_are_counted_and_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "calls.jsonl", rows_of())
    path.write_text(path.read_text() + f'\n{{"note": "{NOTE}" oops}}\n["{NOTE}"]\n' + "[" * 100_000 + "\n")
    message = message_of(config_of(path, "jsonl"))
    assert f"{path}: 3 line(s) hold no JSON object: line 32: no JSON (" in message
    assert "line 33: a list, not an object" in message
    assert "line 34" in message


def test_a_json_array_is_told_from_json_lines(tmp_path: Path) -> None:
    (tmp_path / "calls.json").write_text(json.dumps(rows_of(), indent=1))
    assert "one object a line" in message_of(config_of(tmp_path / "calls.json", "jsonl"))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_a_list_where_a_text_is_due_is_refused(tmp_path: Path, kind: str) -> None:
    rows = [row | {"note": [NOTE, WHY]} for row in rows_of()]
    name = {"huggingface": "saved_dataset"}.get(kind, kind)
    message = message_of(config_of(WRITERS[name][1](tmp_path / "data", rows), kind))
    assert "'note'" in message
    assert "list" in message


def test_half_a_surrogate_pair_is_a_named_fault_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row | {"note": NOTE + "\ud83d"}) + "\n" for row in rows_of(2)))
    message = message_of(config_of(path, "jsonl"))
    assert "half a surrogate pair" in message
    assert "2 row(s): row 1; row 2" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_unicode_line_separators_inside_a_text_end_no_line(tmp_path: Path, kind: str) -> None:
    rows = [row | {"note": "one\u2028two\u2029three\x85four"} for row in rows_of()]
    examples = examples_of(config_of(WRITERS[kind][1](tmp_path / "data", rows), kind))
    assert [e.text for e in examples] == [row["note"] for row in rows]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_null_bytes_and_huge_fields_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    rows = rows_of()
    rows[4]["note"] = "a\0b" * 1_000_000
    limit = csv.field_size_limit()
    assert examples_of(config_of(WRITERS[kind][1](tmp_path / "data", rows), kind))[4].text == rows[4]["note"]
    assert csv.field_size_limit() == limit


def test_a_broken_parquet_file_is_a_named_fault(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "data.parquet", rows_of())
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: is no whole Parquet file" in message_of(config_of(path, "parquet"))


def test_a_row_of_a_parquet_folder_is_named_by_its_file(tmp_path: Path) -> None:
    rows = rows_of()
    rows[15]["level"] = "urgnt"
    path = write_parquet_folder(tmp_path / "data", rows)
    assert "deep/b.parquet: row 5, id '0015' holds 'urgnt'" in message_of(config_of(path, "parquet"))


def test_class_label_numbers_are_read_as_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    data = Dataset.from_list(rows_of()).cast_column("level", ClassLabel(names=["routine", "urgent"]))
    data.save_to_disk(tmp_path / "data")
    labels = [example.label for example in examples_of(config_of(tmp_path / "data", "huggingface"))]
    assert labels == [row["level"] for row in rows_of()]


@pytest.mark.parametrize("validation", ["validation", "val", "dev"])
def test_a_dataset_keeps_its_own_splits(tmp_path: Path, validation: str) -> None:
    from datasets import Dataset, DatasetDict

    rows = rows_of()
    parts = {"test": rows[:6], "train": rows[6:20], validation: rows[20:]}
    DatasetDict({name: Dataset.from_list(part) for name, part in parts.items()}).save_to_disk(tmp_path / "data")
    examples = examples_of(config_of(tmp_path / "data", "huggingface"))
    assert [e.split for e in examples] == ["test"] * 6 + ["train"] * 14 + ["validation"] * 10
    assert [e.id for e in examples] == [row["id"] for row in rows]


def test_a_dataset_of_train_and_test_keeps_test_and_divides_the_rest(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = rows_of()
    parts = {"train": rows[10:], "test": rows[:10]}
    DatasetDict({name: Dataset.from_list(part) for name, part in parts.items()}).save_to_disk(tmp_path / "data")
    splits = [e.split for e in examples_of(config_of(tmp_path / "data", "huggingface"))]
    assert splits[20:] == ["test"] * 10
    assert sorted(splits[:20]) == ["train"] * 18 + ["validation"] * 2


def test_a_split_of_a_dataset_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = rows_of()
    parts = {"train": rows[:20], "unsupervised": rows[20:]}
    DatasetDict({name: Dataset.from_list(part) for name, part in parts.items()}).save_to_disk(tmp_path / "data")
    message = message_of(config_of(tmp_path / "data", "huggingface"))
    assert "10 row(s): data: unsupervised: row 1, id '0020' holds 'unsupervised'" in message


def test_reading_a_folder_leaves_no_copy_of_the_notes_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = write_folder_of(write_jsonl, "train.jsonl")(tmp_path / "data", rows_of())
    assert len(examples_of(config_of(path, "huggingface"))) == 30
    assert not [file for file in tmp_path.rglob("*") if file.suffix == ".arrow"]


def test_a_folder_that_datasets_cannot_load_is_a_named_fault(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows_of())
    (tmp_path / "test.jsonl").write_text(f'{{"note": "{NOTE}')
    message = message_of(config_of(tmp_path, "huggingface"))
    assert message.startswith(f"{tmp_path}: `datasets` cannot load it")
    assert "save_to_disk" in message


def test_a_hub_dataset_without_a_revision_says_why_one_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = message_of(config_of("nurses/calls", "huggingface"))
    assert "data.revision is not set" in message
    assert "cannot be repeated" in message


def test_a_hub_dataset_that_cannot_be_fetched_says_how_to_bring_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = message_of(config_of("nurses/calls", "huggingface", revision="0123abc"))
    assert "'nurses/calls' at revision '0123abc': cannot be fetched" in message
    assert "save_to_disk(folder)" in message
    assert "set data.path to that folder" in message


@pytest.mark.parametrize("path", ["./calls", "/nowhere/calls", "data/raw/calls"])
def test_a_path_that_can_only_be_local_is_never_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such file or folder" in message_of(config_of(path, "huggingface", revision="0123abc"))


def test_a_single_file_as_a_dataset_points_to_its_own_format(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls.csv", rows_of())
    assert "set data.format to csv" in message_of(config_of(path, "huggingface"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"1": {"QUESTION": "Mme Dûrand?"}}', "entry pubmedqa-1 lacks 'CONTEXTS'"),
        ('["Mme Dûrand"]', "expected an object"),
        ('{"1": \n"Mme Dûrand}', "is no JSON on line 2"),
        (
            '{"1": {"QUESTION": "Mme Dûrand?", "CONTEXTS": [3], "LONG_ANSWER": "", "final_decision": ""}}',
            "object of texts",
        ),
    ],
)
def test_a_file_that_is_not_pubmedqa_is_a_named_fault(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "ori_pqal.json"
    path.write_text(content)
    message = message_of(config_of(path, "pubmedqa"))
    assert str(path) in message
    assert part in message


def test_the_options_of_a_row_are_read_from_a_list(tmp_path: Path) -> None:
    labels = LabelsConfig(per_row=True)
    rows = [{"id": f"q{n}", "text": f"question {n}", "label": "b", "choices": ["a", "b", 3]} for n in range(30)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pq.write_table(
        pa.Table.from_pylist([row | {"choices": ["a", "b", "3"]} for row in rows]), tmp_path / "questions.parquet"
    )
    for kind in ("jsonl", "parquet"):
        path = str(tmp_path / f"questions.{kind}")
        config = DataConfig(format=kind, path=path, labels=labels, columns={"options": "choices"})
        assert load_examples(config)["options"].to_pylist() == [["a", "b", "3"]] * 30


def test_options_that_are_no_list_are_named(tmp_path: Path) -> None:
    rows = [{"id": f"q{n}", "text": "question", "label": "b", "choices": "a or b"} for n in range(30)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "questions.parquet")
    values = {"labels": LabelsConfig(per_row=True), "columns": {"options": "choices"}}
    for kind, part in (
        ("jsonl", "column 'choices' (data.columns.options) holds a str"),
        ("parquet", "data.columns.options is a list"),
    ):
        assert part in message_of(DataConfig(format=kind, path=str(tmp_path / f"questions.{kind}"), **values))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_row_without_options_is_named(tmp_path: Path, kind: str) -> None:
    rows = [{"id": f"q{n}", "text": "question", "label": "b", "choices": ["a", "b"] if n else None} for n in range(30)]
    path = WRITERS[kind][1](tmp_path / "questions", rows)
    config = DataConfig(format=kind, path=str(path), labels=LabelsConfig(per_row=True), columns={"options": "choices"})
    part = r"1 row\(s\) have no list in column 'choices' \(data\.columns\.options\): row 1"
    with pytest.raises(DataError, match=part):
        load_examples(config)
