"""Which rows are loaded and how broken ones are named, labelled files, and when a fingerprint changes."""

from __future__ import annotations

import html
import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from r2d.config.data import DataConfig, LabelsConfig, SplitConfig, SyntheticTriageConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.validation import ValidationConfig
from r2d.data.examples import EXAMPLES_SCHEMA, content_hash, iterate_examples, shown_splits, to_table
from r2d.data.fingerprint import data_fingerprint
from r2d.data.load import load_examples, load_labelled_file
from r2d.data.reading import Reading
from r2d.data.times import period_of
from r2d.data.validation.report import render_data_report
from r2d.data.validation.validate import validate
from r2d.errors import ConfigError, DataError
from r2d.synthetic.calls import generate_calls
from tests.conftest import SHARED, needs_shared
from tests.data.messages import message_of

NOTE = "Mme Dûrand rang at night"
LABELS = ("Emergency Now", "Same Day")


def rows_of(num_rows: int = 40) -> list[dict[str, Any]]:
    return [
        {"id": f"c{number}", "text": f"{NOTE} {number}", "label": LABELS[number % 2], "llm": f"so {number}"}
        for number in range(num_rows)
    ]


def config_of(folder: Path, rows: list[dict[str, Any]], **values: Any) -> DataConfig:
    path = folder / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {"labels": {"names": LABELS}, "columns": {"rationales": {"llm": "llm"}}} | values
    return DataConfig(format="jsonl", path=str(path), **values)


def test_the_table_is_the_one_that_the_same_examples_make(tmp_path: Path) -> None:
    rows = [row | {"sex": "F" if number % 3 else None, "p": f"p{number}"} for number, row in enumerate(rows_of())]
    rows[3]["llm"] = "  "
    rows[5]["p"] = " "
    columns = {"group": "p", "rationales": {"llm": "llm", "none": "sex"}, "attributes": {"sex": "sex"}}
    table = load_examples(config_of(tmp_path, rows, columns=columns))
    assert table.schema.equals(EXAMPLES_SCHEMA)
    assert content_hash(table) == content_hash(to_table(iterate_examples(table)))
    third, fifth = list(iterate_examples(table))[3:6:2]
    assert (dict(third.rationales), dict(third.attributes), third.group) == ({}, {}, "p3")
    assert (dict(fifth.rationales), fifth.group) == ({"llm": "so 5", "none": "F"}, None)


@pytest.mark.parametrize(
    ("values", "names", "declared"),
    [
        ((" emergency   NOW ", "Same Day."), LABELS, LABELS),  # case, spaces and a last full stop do not count
        (("emergency now", "same\u200b day"), LABELS, LABELS),  # nor does what looks alike, or like nothing
        (("Ｓame–day", "re\u0301a"), ("same-day", "réa"), ("same-day", "réa")),
        ((1, 2.0), ("2", "1", "3"), ("1", "2")),  # numbers that are labels themselves
    ],
)
def test_labels_are_stored_as_declared(
    tmp_path: Path, values: tuple[Any, Any], names: tuple[str, ...], declared: tuple[str, str]
) -> None:
    rows = [row | {"label": values[n % 2]} for n, row in enumerate(rows_of())]
    table = load_examples(config_of(tmp_path, rows, labels={"names": names}))
    assert table["label"].to_pylist() == [declared[n % 2] for n in range(40)]


@pytest.mark.parametrize("values", [(1, 2), ("1", "2"), (1.0, 2.0), ("1.0", "2.00")])
def test_declared_codes_are_translated_and_it_is_said(tmp_path: Path, values: tuple[Any, Any]) -> None:
    rows = [row | {"label": values[n % 2]} for n, row in enumerate(rows_of())]
    labels = {"names": LABELS, "codes": {1: LABELS[1], 2: "emergency now", "ESI 1": LABELS[0]}}
    table = load_examples(config_of(tmp_path, rows, labels=labels))
    assert table["label"].to_pylist() == [LABELS[1], LABELS[0]] * 20
    reading = Reading.of(table)
    assert reading.label_codes == {"1": {LABELS[1]: 20}, "2": {LABELS[0]: 20}}
    (note,) = reading.notes
    assert "'1' as 'Same Day' in 20, '2' as 'Emergency Now' in 20" in note
    validation = validate(table, ValidationConfig(), labels=LabelsConfig.model_validate(labels))
    assert validation.result()["reading"]["label_codes"] == reading.label_codes
    assert note in html.unescape(render_data_report(validation, privacy=PrivacyConfig())).replace("L", "l")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("values", [(0, 1), (1, 2), (1.0, 2.0), (False, True), ("1,0", "0,0")])
def test_a_number_without_a_declared_meaning_is_refused_with_a_mapping_to_paste(
    tmp_path: Path, kind: str, values: tuple[Any, Any]
) -> None:
    """ESI levels, REDCap's yes and no: a position from 0 would put every row one level off."""
    rows = [{"id": f"c{n}", "text": f"{NOTE} {n}", "label": values[n % 2]} for n in range(40)]
    path = tmp_path / f"calls.{kind}"
    frame = pd.DataFrame(rows)
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    config = DataConfig(format=kind, path=str(path), labels={"names": LABELS})
    first, second = (str(value).lower().removesuffix(".0") for value in values)
    message = message_of(config)
    assert f"found (rows): '{first}' 20, '{second}' 20; if these are codes" in message
    mapping = re.search(r"data\.labels\.codes: (\{.*?\})", message)
    assert mapping
    assert {str(code).lower() for code in yaml.safe_load(mapping.group(1))} == {first, second}
    with pytest.raises(DataError, match=r"40 of 40 rows have no label of the model.*data\.labels\.codes: \{"):
        load_labelled_file(path, config.labels)
    codes = {values[0]: LABELS[1], values[1]: LABELS[0]}
    table = load_examples(DataConfig(format=kind, path=str(path), labels={"names": LABELS, "codes": codes}))
    assert table["label"].to_pylist() == [LABELS[1], LABELS[0]] * 20


def test_levels_of_an_ordered_scale_are_proposed_from_one(tmp_path: Path) -> None:
    names = ("now", "soon", "today", "later", "never")
    rows = [row | {"label": n % 4 + 1} for n, row in enumerate(rows_of())]
    message = message_of(config_of(tmp_path, rows, labels={"names": names, "ordered": True}))
    assert "once the code book agrees: data.labels.codes: {1: now, 2: soon, 3: today, 4: later}" in message
    message = message_of(config_of(tmp_path, rows, labels={"names": names}))
    assert 'with a label in place of each "?": data.labels.codes: {1: "?", 2: "?", 3: "?", 4: "?"}' in message


def test_of_an_undeclared_label_only_codes_and_near_spellings_are_shown(tmp_path: Path) -> None:
    values = ["Jane Doe", "Same Dаy", "ESI 3", "chest pain since noon", "Same Day", "sme day", "same Kay", "same Dana"]
    rows = [row | {"label": values[n % 8]} for n, row in enumerate(rows_of())]
    message = message_of(config_of(tmp_path, rows))
    assert "Jane" not in message
    assert "chest" not in message
    assert "Dana" not in message, "a name behind the first word of a label is no typing error of it"
    assert "(a text of 8 characters) 5" in message
    assert "'Same Dаy' with U+0430 CYRILLIC SMALL LETTER A (nearly 'Same Day') 5" in message
    assert "'sme day' (nearly 'Same Day') 5" in message
    assert "correct typing errors in the file, or declare what they mean: data.labels.codes: {" in message
    assert "sme day: Same Day" in message
    assert 'data.labels.codes: {esi 3: "?"}' in message


def test_a_label_that_no_row_holds_is_asked_for_before_the_file_is_to_be_changed(tmp_path: Path) -> None:
    misspelt = [LABELS[0] + "y", *LABELS[1:]]
    message = message_of(config_of(tmp_path, rows_of(), labels={"names": misspelt}))
    assert (
        f"no row holds {misspelt[0]!r}: is it misspelt in data.labels.names?; correct typing errors in the file"
        in message
    )


@pytest.mark.parametrize(
    ("codes", "part"),
    [
        ({1: "tomorrow"}, "'1' stands for 'tomorrow', which is not among names"),
        ({"a": "Same Day", "A ": "Emergency Now"}, "stands for 'Emergency Now' and for 'Same Day'; keep one"),
        ({"same day": "Emergency Now"}, "stands for 'Emergency Now' and for 'Same Day'; keep one"),
    ],
)
def test_codes_that_are_unclear_are_refused(codes: dict[Any, str], part: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(part)):
        LabelsConfig.model_validate({"names": LABELS, "codes": codes})


def test_codes_are_what_yaml_makes_of_them() -> None:
    values = yaml.safe_load('{names: ["yes", "no"], codes: {1: yes, Y: yes, off: no}}')
    codes = LabelsConfig.model_validate(values).codes
    assert codes == {"1": "yes", "Y": "yes", "false": "no", "no": "no", "off": "no"}


LONG = {"label": f"{NOTE} and once more in the morning"}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {n: {"label": "tomorrow"} for n in range(10, 18)},
            (
                "the data contract is broken (40 rows, 1 expectation)",
                "label_declared (every label is allowed): 8 rows: calls.jsonl: row 11 (line 11) holds",
                "row 15 (line 15) holds (a text of 8 characters); and 3 more; ",
                "allowed: 'Emergency Now', 'Same Day'",
                "found (rows): (a text of 8 characters) 8; correct the rows",
                "data.labels.names",
            ),
        ),
        ({3: LONG}, ("row 4 (line 4) holds (a text of 53 characters)",)),
        ({2: {"label": None}}, ("row 3 (line 3) holds (empty)",)),
        (
            {1: {"text": " \n\t"}, 2: {"text": None}, 3: {"id": " "}},
            (
                "2 expectations",
                "text_present (every text has a word): 2 rows: calls.jsonl: row 2 (line 2); calls",
                "id_present (every row has an id): 1 row: calls.jsonl: row 4 (line 4)",
            ),
        ),
        (
            {9: {"id": " c4 "}},
            ("id_unique (every id is there once): 2 rows: calls.jsonl: row 5 (line 5); calls.jsonl: row",),
        ),
    ],
)  # fmt: skip
def test_broken_rows_are_counted_and_the_first_ones_named(
    tmp_path: Path, changes: dict[int, dict[str, Any]], parts: tuple[str, ...]
) -> None:
    rows = [row | changes.get(number, {}) for number, row in enumerate(rows_of())]
    message = message_of(config_of(tmp_path, rows))
    assert [part for part in parts if part not in message] == []


def test_rows_are_counted_without_the_header_and_lines_with_it(tmp_path: Path) -> None:
    more = "".join(f"{number},note {number},Same Day\n" for number in range(3, 40))
    (tmp_path / "calls.csv").write_text(f'id,text,label\n1,"two\nlines",Same Day\n\n2,x,nil\n{more}', encoding="utf-8")
    config = DataConfig(format="csv", path=str(tmp_path / "calls.csv"), labels={"names": LABELS})
    assert "row 2 (line 5) holds (a text of 3 characters)" in message_of(config)


def test_a_gold_label_is_stored_as_the_options_of_its_row_have_it(tmp_path: Path) -> None:
    """Else its tokens would be learnt while those of the option are decoded, and the row would count as undeclared."""
    written = [" bus  Depot", "beach", "BRIDGE", "pier"]
    rows = [
        {"id": f"q{n}", "text": f"question {n}", "label": written[n % 4], "options": ["Bus depot", "beach", "Bridge"]}
        for n in range(40)
    ]
    examples = load_examples(config_of(tmp_path, rows, labels={"per_row": True}, columns={"options": "options"}))
    assert examples["label"].to_pylist() == ["Bus depot", "beach", "Bridge", "pier"] * 10


@pytest.mark.parametrize(
    ("row_label", "cells"),
    [("letter", ["A", "(b)", "C.", "d"]), ("from_0", ["0", "1.0", "2", "3"]), ("from_1", ["1", "2.0", "03", "4"])],
)
def test_a_letter_or_a_number_names_an_option_of_its_row_where_this_is_declared(
    tmp_path: Path, row_label: str, cells: list[str]
) -> None:
    rows = [
        {"id": f"q{n}", "text": f"question {n}", "label": cells[n % 4], "options": [f"{o} {n}" for o in "xyz"]}
        for n in range(40)
    ]
    labels = {"per_row": True, "row_label": row_label}
    found = load_examples(config_of(tmp_path, rows, labels=labels, columns={"options": "options"}))["label"].to_pylist()
    assert found[:4] == ["x 0", "y 1", "z 2", cells[3]]  # the fourth is none of the three
    with pytest.raises(ValidationError, match="set per_row"):
        config_of(tmp_path, rows, labels={"names": LABELS, "row_label": row_label})


def test_rare_answers_stand_in_every_split_where_rows_have_options_of_their_own(tmp_path: Path) -> None:
    """Strata of one row each would leave every answer that occurs once in training, and the test too easy."""
    rows = [
        {"id": f"q{n}", "text": f"question {n}", "label": answer, "options": [answer, "neither"]}
        for n in range(600)
        for answer in ["the usual one" if n % 2 else f"answer {n}"]
    ]
    config = config_of(tmp_path, rows, labels={"per_row": True}, columns={"options": "options"})
    table = load_examples(config)
    for split in shown_splits(()):
        found = [a for a, s in zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True) if s == split]
        assert 0.3 < found.count("the usual one") / len(found) < 0.7


def test_given_splits_are_kept_under_their_usual_names_and_others_are_named(tmp_path: Path) -> None:
    names = ["Train", "dev", "val", "valid", "validation", "TEST", " test "]
    rows = [row | {"part": name} for row, name in zip(rows_of(7), names, strict=True)]
    config = config_of(tmp_path, rows, columns={"split": "part"})
    assert load_examples(config)["split"].to_pylist() == ["train", *["validation"] * 4, "test", "test"]
    rows[4]["part"], rows[5]["part"] = "holdout", None
    message = message_of(config_of(tmp_path, rows, columns={"split": "part"}))
    assert "split_known (every split is train, validation, calibration or test): 2 rows" in message
    assert "row 5 (line 5) holds (a text of 7 characters); calls" in message
    assert "row 6 (line 6) holds (empty)" in message


@pytest.mark.parametrize("group", ["id", "caller"])
def test_a_group_that_differs_in_every_row_is_said(
    tmp_path: Path, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="r2d")
    rows = [row | {"caller": f"p{n // 2}"} for n, row in enumerate(rows_of())]
    load_examples(config_of(tmp_path, rows, columns={"group": group}))
    assert ("data.columns.group has another value in each row" in caplog.text) == (group == "id")


def test_groups_are_one_whatever_their_outer_spaces_and_stand_in_one_split(tmp_path: Path) -> None:
    rows = [
        row | {"part": shown_splits(())[n % 3], "caller": f"p{n // 2}{' ' * (n % 2)}"}
        for n, row in enumerate(rows_of())
    ]
    message = message_of(config_of(tmp_path, rows, columns={"split": "part", "group": "caller"}))
    assert "group_across_splits (no patient or caller stands in two splits): 40 rows" in message
    table = load_examples(config_of(tmp_path, rows, columns={"group": "caller"}))
    assert all(len(set(table["split"].to_pylist()[start : start + 2])) == 1 for start in range(0, 40, 2))


@pytest.mark.parametrize("content", [["c1", "c2", "c3"], {"c1": "x", "c2": "y", "c3": 1}])
def test_the_test_ids_of_a_file_are_the_test_split(tmp_path: Path, content: Any) -> None:
    (tmp_path / "test.json").write_text(json.dumps(content))
    table = load_examples(config_of(tmp_path, rows_of(), split={"test_ids": str(tmp_path / "test.json")}))
    assert [e.id for e in iterate_examples(table) if e.split == "test"] == ["c1", "c2", "c3"]
    assert Counter(table["split"].to_pylist())["validation"] == 4


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('["c1", "zz"]', "1 of the 2 ids in {file} are ids of no row (of 2 to 2 characters)"),
        ("[]", "{file}: names no id"),
        ("[[1]]", "{file}: data.split.test_ids takes a JSON list"),
        ("c1\nc2", "{file}: is no JSON"),
        ("", "{file}: is empty"),
    ],
)
def test_a_faulty_file_of_test_ids_is_named(tmp_path: Path, content: str, part: str) -> None:
    (tmp_path / "test.json").write_text(content)
    message = message_of(config_of(tmp_path, rows_of(), split={"test_ids": str(tmp_path / "test.json")}))
    assert part.format(file=tmp_path / "test.json") in message


def test_a_missing_file_of_test_ids_and_two_authorities_on_the_test_split_are_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path, rows_of(), split={"test_ids": str(tmp_path / "gone.json")})
    assert f"{tmp_path / 'gone.json'}: no such file or folder (data.split.test_ids is" in message_of(config)
    with pytest.raises(DataError, match=r"no such file or folder \(data\.split\.test_ids is"):
        data_fingerprint(config)
    config = config_of(tmp_path, rows_of(), columns={"split": "part"}, split={"test_ids": "x.json"})
    assert "remove one of them" in message_of(config)


def test_a_fresh_test_set_is_one_key(tmp_path: Path) -> None:
    """All rows of the data then train, validate or calibrate; the fresh file is in the fingerprint."""
    rows = [row | {"p": f"p{number // 2}"} for number, row in enumerate(rows_of())]
    columns = {"group": "p", "rationales": {"llm": "llm"}}
    fresh = tmp_path / "fresh.jsonl"

    def load(*numbers: int, **values: Any) -> Any:
        lines = (
            row | {"id": f"new {row['id']}", "p": f"new {row['p']}"} for row in rows if int(row["id"][1:]) in numbers
        )
        fresh.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
        return load_examples(config_of(tmp_path, rows, columns=columns, test={"path": str(fresh)}, **values))

    table = load(1, 2, 3, 4)
    counts = Counter(table["split"].to_pylist())
    assert (counts["test"], sum(counts.values()), len(set(table["row"].to_pylist()))) == (4, 44, 44)
    assert table["place"].to_pylist()[-1] == "fresh.jsonl: row 4 (line 4)"
    assert table["rationales"].to_pylist()[-1] == [("llm", "so 4")]
    config = config_of(tmp_path, rows, columns=columns, test={"path": str(fresh)})
    before = data_fingerprint(config)
    load(1, 2, 3)
    assert data_fingerprint(config) != before
    for taken, key in (({"id": "c1", "p": "new"}, "id"), ({"id": "new", "p": "p3"}, "group")):
        fresh.write_text(json.dumps(rows[0] | taken) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=rf"1 rows have the {key} of a row of the data.*fresh.jsonl: row 1"):
            load_examples(config)
    again = DataConfig.model_validate(config.model_dump(mode="json"))
    assert again == config, "a step gets its section with every default spelt out"
    with pytest.raises(ValidationError, match="both say which rows are test"):
        load(1, split={"test_ids": "ids.json"})
    with pytest.raises(ValidationError, match="format 'pubmedqa' reads none"):
        DataConfig(format="pubmedqa", path="x", labels=LabelsConfig(names=LABELS), test={"path": "y"})
    given = [row | {"s": "test" if number % 4 == 0 else "train"} for number, row in enumerate(rows)]
    with pytest.raises(DataError, match="10 rows of the data are in split test already"):
        load_examples(config_of(tmp_path, given, columns=columns | {"split": "s"}, test={"path": str(fresh)}))


def test_synthetic_calls_are_checked_and_divided_like_any_data() -> None:
    values: dict[str, Any] = {"format": "synthetic_triage", "synthetic": {"num_calls": 200, "seed": 3}}
    calls = generate_calls(SyntheticTriageConfig(num_calls=200, seed=3))
    config = DataConfig(labels={"names": sorted({call.label for call in calls})}, **values)
    loaded = list(iterate_examples(load_examples(config)))
    for example, call in zip(loaded, calls, strict=True):
        assert (example.id, example.text, example.label, example.group) == (call.id, call.text, call.label, call.group)
        # The LLM's rationales come as raw batch output and are ingested.
        assert dict(example.rationales) == {name: text for name, text in call.rationales.items() if name != "llm"}
        assert example.attributes == call.attributes | {"period": period_of(call.time, "quarter")}
    assert {e.split for e in loaded} == set(shown_splits(()))


def lines_of(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:  # not `splitlines`, which also splits at U+2028 inside a text
        return [json.loads(line) for line in stream]


def pubmedqa_config(raw: Path) -> DataConfig:
    return DataConfig(
        format="pubmedqa",
        path=str(raw / "ori_pqal.json"),
        labels={"names": ["yes", "no", "maybe"]},
        split={"test_ids": str(raw / "test_ground_truth.json")},
    )


def test_bare_pubmed_ids_name_the_test_rows(tmp_path: Path) -> None:
    entry = {"CONTEXTS": ["One.", "Two."], "LONG_ANSWER": "Yes, so.", "final_decision": "yes", "YEAR": None}
    entries = {f"{number:03d}": {"QUESTION": f"Is it {number}?", **entry} for number in range(40)}
    (tmp_path / "ori_pqal.json").write_text(json.dumps(entries))
    (tmp_path / "test_ground_truth.json").write_text(json.dumps({"007": "yes", "pubmedqa-008": "no"}))
    examples = list(iterate_examples(load_examples(pubmedqa_config(tmp_path))))
    assert (examples[7].id, examples[7].text) == ("pubmedqa-007", "Question: Is it 7?\nContext: One. Two.")
    assert dict(examples[7].rationales) == {"human": "Yes, so."}
    assert [e.id for e in examples if e.split == "test"] == ["pubmedqa-007", "pubmedqa-008"]


@needs_shared
def test_published_pubmedqa_has_its_official_test_rows_and_the_texts_known_elsewhere() -> None:
    examples = list(iterate_examples(load_examples(pubmedqa_config(SHARED / "raw" / "pubmedqa"))))
    assert Counter(e.split for e in examples) == {"train": 450, "validation": 50, "test": 500}
    known = {
        row["id"]: (row["question"], row["label"], row["rationale"], split == "test")
        for split in shown_splits(())
        for row in lines_of(SHARED / "pubmedqa" / f"{split}.jsonl")
    }
    assert {e.id: (e.text, e.label, e.rationales["human"], e.split == "test") for e in examples} == known
    shares = {split: Counter(e.label for e in examples if e.split == split) for split in ("train", "validation")}
    assert all(abs(shares["validation"][label] - shares["train"][label] / 9) < 1 for label in ("yes", "no", "maybe"))


@needs_shared
@pytest.mark.parametrize(("name", "num_rows"), [("triage_nursesim_gpt", 96), ("cqa_palm", 8819)])
def test_real_json_lines_are_read_through_a_mapping(name: str, num_rows: int) -> None:
    path = SHARED / name / "train.jsonl"
    rows = lines_of(path)
    labels = {" ".join(row["label"].split()).casefold(): row["label"] for row in rows}
    columns = {"text": "question", "rationales": {"llm": "rationale"}, "attributes": {"source": "rationale_source"}}
    config = DataConfig(format="jsonl", path=str(path), labels={"names": tuple(labels.values())}, columns=columns)
    examples = list(iterate_examples(load_examples(config)))
    assert len(examples) == num_rows
    assert [(e.id, e.text, e.rationales.get("llm", "")) for e in examples] == [
        (row["id"], row["question"], row["rationale"]) for row in rows
    ]


@needs_shared
def test_a_folder_of_json_lines_keeps_its_own_splits() -> None:
    names = ["immediate", "very urgent", "urgent", "standard", "non-urgent"]
    folder = SHARED / "triage_nursesim_gpt"
    config = DataConfig(format="huggingface", path=str(folder), labels={"names": names}, columns={"text": "question"})
    assert Counter(load_examples(config)["split"].to_pylist()) == {"train": 96, "validation": 32, "test": 32}
    apart = config.model_copy(update={"split": SplitConfig(calibration_fraction=0.1)})
    with pytest.raises(DataError, match=r"brings its own splits \(test, train, validation\).*calibration_fraction"):
        load_examples(apart)


def fingerprint_of(kind: str, path: Path | str | None = None, **values: Any) -> str:
    where = {} if path is None else {"path": str(path)}
    return data_fingerprint(DataConfig(format=kind, labels={"names": LABELS}, **where, **values))


def test_a_fingerprint_changes_with_a_byte_or_the_test_ids_and_not_when_the_file_moves(tmp_path: Path) -> None:
    path, test_ids = Path(str(config_of(tmp_path, rows_of()).path)), tmp_path / "test.json"
    before = fingerprint_of("jsonl", path)
    assert fingerprint_of("jsonl", shutil.copy(path, tmp_path / "elsewhere.jsonl")) == before
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    assert fingerprint_of("jsonl", path) != before
    test_ids.write_text('["c1"]')
    before = fingerprint_of("jsonl", path, split={"test_ids": str(test_ids)})
    test_ids.write_text('["c2"]')
    assert fingerprint_of("jsonl", path, split={"test_ids": str(test_ids)}) != before


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_the_fingerprint_of_a_folder_knows_contents_and_names_but_not_its_place(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "1.parquet").write_bytes(b"first")
    (tmp_path / "a" / "3.parquet").write_bytes(b"second")
    before = fingerprint_of(kind, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fingerprint_of(kind, tmp_path / "b") == before
    (tmp_path / "b" / "3.parquet").rename(tmp_path / "b" / "4.parquet")
    assert fingerprint_of(kind, tmp_path / "b") != before
    (tmp_path / "a" / "deep" / "1.parquet").write_bytes(b"firsT")
    assert fingerprint_of(kind, tmp_path / "a") != before


def test_the_fingerprint_of_what_is_no_file_is_its_revision_or_its_parameters() -> None:
    first, again, other = (fingerprint_of("huggingface", "nurses/calls", revision=r) for r in ("0123", "0123", "4567"))
    assert first == again != other
    first, again, other = (fingerprint_of("synthetic_triage", synthetic={"seed": seed}) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("codes", "labels"), [
    ({1: "same day", 2: "emergency now"}, ["Same Day"] * 4 + ["9", "Emergency Now"]),
    ({1: "same day", "01": "emergency now"}, ["Same Day", "Emergency Now", "Same Day", "1e0", "9", "2"]),
    ({0: "emergency now", 1: "same day"}, ["Same Day"] * 4 + ["9", "2"]),
])  # fmt: skip
def test_numbers_written_in_another_way_are_codes_where_they_have_one_reading(
    tmp_path: Path, codes: dict[object, str], labels: list[str]
) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("id,text,label\n0,a,1\n1,a,01\n2,a,1.0\n3,a,1e0\n4,a,9\n5,a,2\n")
    config = DataConfig(format="csv", path=str(path), labels={"names": LABELS, "codes": codes})
    assert load_examples(config)["label"].to_pylist() == labels


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pubmedqa"])
def test_the_fingerprint_of_a_missing_file_is_the_same_fault_as_reading_it(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        fingerprint_of(kind, tmp_path / "gone")
    config = DataConfig(format=kind, path=str(tmp_path / "gone"), labels={"names": LABELS})
    assert str(caught.value) == message_of(config)


def test_a_labelled_file_is_test_data_with_its_references(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        "id,text,label,rationale,extra\n1,a note,same day,because,x\n2,another,Same Day,,y\n", encoding="utf-8"
    )
    examples, config = load_labelled_file(path, LabelsConfig(names=LABELS))
    assert (config.format, config.columns.group, config.columns.split) == ("csv", None, None)
    rows = [(e.id, e.label, e.split, e.rationale, e.rationale_source) for e in iterate_examples(examples)]
    assert rows == [("1", "Same Day", "test", "because", "reference"), ("2", "Same Day", "test", "", "")]
    path.write_text("id,text,label,split,group\n1,a note,same day,train,p1\n", encoding="utf-8")
    (example,) = iterate_examples(load_labelled_file(path, LabelsConfig(names=LABELS))[0])
    assert (example.split, example.group) == ("train", "p1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calls.xls", "", r"a data file ends in \.csv, \.xlsx, \.jsonl, \.parquet"),
        ("gone.csv", None, "is no file; give a file with the columns id, text and label"),
        ("calls.csv", "id,note\n1,a\n", r"data\.columns\.text: no column 'text'"),
        ("calls.jsonl", '{"id": 1, "text": " ", "label": "x"}\n', r"row 1 \(line 1\): has no text; remove the row"),
    ],
)
def test_a_labelled_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_labelled_file(tmp_path / name, LabelsConfig(names=LABELS))


@pytest.mark.parametrize("filling", ["0123456789 ", "reports pain in the chest, ", "a", "Ã© "])
def test_a_cell_of_ten_megabytes_is_cut_and_said_and_stalls_no_check(
    filling: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of()
    rows[3]["text"] = filling * (10_000_000 // len(filling))
    caplog.set_level("INFO")
    config, started_at = config_of(tmp_path, rows), time.process_time()
    examples = load_examples(config)
    assert "1 cell longer than 200,000 characters cut there" in caplog.text
    validation = validate(examples, ValidationConfig(), labels=config.labels)
    assert time.process_time() - started_at < 60
    page = render_data_report(validation, privacy=PrivacyConfig())
    assert "1 cell longer than 200,000 characters cut there" in page
    (check,) = [check for check in validation.checks if check.name == "text_length"]
    assert check.num_unexpected == 1
    assert max(map(len, examples["text"].to_pylist())) == 200_000


def test_a_labelled_file_has_its_reference_rationales_in_any_column_and_no_other_source(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text,label,why\na,Fell on the stairs.,LABEL,Nothing warns.\n".replace("LABEL", LABELS[0]))
    labels = LabelsConfig(names=LABELS)
    declared = {"columns": {"rationales": {"reference": "why"}}}
    (example,) = iterate_examples(load_labelled_file(path, labels, declared)[0])
    assert example.rationale == "Nothing warns."
    with pytest.raises(ConfigError, match=r"names 'nurse'; .* data\.columns\.rationales\.reference"):
        load_labelled_file(path, labels, {"columns": {"rationales": {"nurse": "why"}}})
