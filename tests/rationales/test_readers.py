"""Each reader: every record of a file becomes one record, with its reason where it is unusable; nothing is dropped."""

from __future__ import annotations

import csv
import io
import json
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from r2d.config.rationales import AnySource
from r2d.errors import DataError
from r2d.llm.requests import request_hash
from r2d.rationales.records import Record
from r2d.rationales.sources import read_records
from tests.conftest import SHARED, needs_shared

SECRET = "Mme Dûrand has chest pain"
SEPARATOR = "\u2028"
"""A line separator, which JSON may hold within a text."""


def read_paths(format: str, *paths: Path | str, **values: Any) -> list[Record]:
    adapter = TypeAdapter[AnySource](AnySource)
    source = adapter.validate_python({"format": format, "paths": [str(path) for path in paths], **values})
    as_a_step_gets_it = adapter.validate_json(adapter.dump_json(source))  # every default written
    return read_records("src", as_a_step_gets_it)


class Reader:
    """Reads what it wrote: text as it is, a list as JSON Lines or, under a `.json` name, as one JSON value."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: Any, encoding: str = "utf-8") -> Path:
        if not isinstance(content, str):
            values = [content] if name.endswith(".json") else content
            content = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        path = self.folder / name
        path.write_text(content, encoding=encoding, newline="")
        return path

    def __call__(self, format: str, content: Any, name: str = "file.json", **values: Any) -> list[Record]:
        return read_paths(format, self.write(name, content), **values)

    def refusal(self, format: str, content: Any, name: str = "file.json", **values: Any) -> str:
        return message_of(lambda: self(format, content, name, **values))


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def message_of(call: Callable[[], object]) -> str:
    """The message of the DataError, which quotes nothing of the file."""
    with pytest.raises(DataError) as caught:
        call()
    assert "Dûrand" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def reasons(records: list[Record]) -> list[str | None]:
    return [record.reason for record in records]


def batch_line(custom_id: str | None, content: Any = "Because. The answer is yes.", **values: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | values.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": values.pop("finish_reason", "stop")}
    body = {"id": f"chat-{custom_id}", "created": 1715633336, "model": "m", "choices": [choice]} | values
    return {"id": "line", "custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


@needs_shared
class TestTheFormatsAsDocumented:
    folder = SHARED / "formats"

    def test_a_batch_with_errors_and_inputs_accounts_for_every_request(self) -> None:
        others = {f"{kind}_paths": [str(self.folder / f"openai_batch_{file}.jsonl")]
                  for kind, file in (("error", "errors"), ("input", "input"))}  # fmt: skip
        records = read_paths("openai_batch", self.folder / "openai_batch_output.jsonl", **others)
        assert Counter(reasons(records)) == {None: 5, "request_failed": 3}
        assert {record.detail for record in records} == {"", "400", "batch_expired", "never answered"}
        assert len({record.example_id for record in records}) == 8 == len({record.prompt_hash for record in records})
        first = records[0]
        assert (first.record_id, first.row, first.file) == ("chatcmpl-0003", 1, "openai_batch_output.jsonl")
        assert (first.created_at, first.author) == ("2024-05-13T20:48:56+00:00", "example-model")
        assert first.stopped_at_limit

    @pytest.mark.parametrize(("file", "is_cut"), [("results", True), ("results_old", False)])
    def test_vllm_in_both_shapes(self, file: str, is_cut: bool) -> None:
        records = read_paths("vllm_batch", self.folder / f"vllm_run_batch_{file}.jsonl")
        assert reasons(records) == [None, None]
        assert all(record.stopped_at_limit is is_cut and record.content for record in records)

    def test_label_studio(self) -> None:
        records = read_paths("label_studio", self.folder / "label_studio_export.json")
        assert Counter(reasons(records)) == {None: 3, "cancelled": 1}
        assert (records[0].record_id, records[0].author, records[0].label) == ("1001", "1", "yes")
        assert records[0].example_id == "pubmedqa-15879722"

    def test_both_exports_of_argilla_hold_the_same(self) -> None:
        first, second = (
            [(one.example_id, one.label, one.rationale, one.author, one.reason) for one in read_paths("argilla", path)]
            for path in (self.folder / "argilla_records.json", self.folder / "argilla_flat.jsonl")
        )
        assert first == second
        assert [values[-1] for values in first] == [None] * 3

    def test_raw_lists_are_counted_over_all_files_in_natural_order(self) -> None:
        records = read_paths("text", SHARED / "raw" / "dss_cqa" / "train_CoT_*.json", join="order")
        assert [record.order for record in records] == list(range(9741))
        assert records[-1].file == "train_CoT_9.json"


class TestBatch:
    def test_every_way_to_fail_has_its_reason(self, read: Reader) -> None:
        cases: list[tuple[Any, str | None, str]] = [
            (batch_line("ok"), None, ""),
            (batch_line("refused", None, message={"refusal": SECRET}), "refused", "refusal"),
            (batch_line("filtered", SECRET, finish_reason="content_filter"), "refused", "content_filter"),
            (batch_line("long", SECRET, finish_reason="length"), None, ""),
            (batch_line(None), "no_id", "no custom_id"),
            ({"custom_id": "expired", "response": None, "error": {"code": "batch_expired", "message": SECRET}},
             "request_failed", "batch_expired"),
            ({"custom_id": "odd", "response": None, "error": {"code": SECRET}}, "request_failed", "error"),
            ({"custom_id": "500", "response": {"status_code": 500, "body": {}}}, "request_failed", "500"),
            ({"custom_id": "true", "response": {"status_code": True, "body": {"choices": [{"text": SECRET}]}}},
             "request_failed", "no status code"),
            ({"custom_id": "in body", "response": {"status_code": 200, "body": {"error": {"type": "bad"}}}},
             "request_failed", "bad"),
            ({"custom_id": "nothing"}, "malformed_record", "no response"),
            ({"custom_id": "no choices", "response": {"status_code": 200, "body": {"choices": []}}},
             "malformed_record", "no choices in the response"),
            ([SECRET], "malformed_record", "a list, not an object"),
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\r\n" for line, _, _ in cases) + '{"custom_id": "cut", "resp'
        records = read("openai_batch", text)
        expected = [*((reason, detail) for _, reason, detail in cases), ("malformed_record", "no JSON")]
        assert [(record.reason, record.detail) for record in records] == expected
        assert [record.stopped_at_limit for record in records[:4]] == [False, False, False, True]
        assert [record.row for record in records] == list(range(1, len(cases) + 2))

    def test_every_choice_is_a_record_of_its_own(self, read: Reader) -> None:
        choices = [{"message": {"content": text}} for text in ("a", "b")] + [{"text": "c"}, None]
        records = read("openai_batch", [batch_line("1", choices=choices)], "out.jsonl")
        assert [record.content for record in records] == ["a", "b", "c", None]
        assert [record.record_id for record in records] == ["chat-1", "chat-1#1", "chat-1#2", "chat-1#3"]
        assert records[-1].reason == "malformed_record"

    @pytest.mark.parametrize(
        "content",
        ["one" + SEPARATOR + "two", [{"type": "text", "text": "one" + SEPARATOR}, {"type": "text", "text": "two"}]],
    )
    def test_content_may_be_parts_and_hold_a_line_separator(self, content: Any, read: Reader) -> None:
        records = read("openai_batch", [batch_line("1", content, message={"reasoning_content": SECRET})], "out.jsonl")
        assert [record.content for record in records] == ["one" + SEPARATOR + "two"]

    def test_the_responses_api(self, read: Reader) -> None:
        parts = [{"type": "reasoning", "content": [{"type": "text", "text": SECRET}]}]
        parts.append({"type": "message", "content": [{"type": "output_text", "text": "yes"}]})
        body = {"id": "r", "created_at": 0, "output": parts, "incomplete_details": {"reason": "max_output_tokens"}}
        (record,) = read("openai_batch", {"custom_id": 7, "response": {"status_code": 200, "body": body}})
        assert (record.content, record.example_id, record.record_id, record.stopped_at_limit) == ("yes", "7", "r", True)
        assert record.created_at == "1970-01-01T00:00:00+00:00"

    def test_a_request_that_no_file_mentions_was_never_answered(self, read: Reader) -> None:
        bodies = {custom_id: {"model": "m", "messages": [custom_id]} for custom_id in ("1", "2", "3")}
        inputs = read.write("in.jsonl", [{"custom_id": custom_id, "body": body} for custom_id, body in bodies.items()])
        lines = [batch_line("2"), batch_line("1") | {"prompt_hash": "of the line"}]
        paths = {"error_paths": [str(read.write("errors.jsonl", ""))], "input_paths": [str(inputs)]}
        records = read("openai_batch", lines, "out.jsonl", **paths)
        assert [(record.example_id, record.reason, record.prompt_hash) for record in records] == [
            ("2", None, request_hash(bodies["2"])), ("1", None, "of the line"),
            ("3", "request_failed", request_hash(bodies["3"])),
        ]  # fmt: skip

    def test_the_hash_of_a_request_does_not_depend_on_the_order_of_keys(self) -> None:
        assert request_hash({"a": 1, "b": {"c": 2, "d": 3}}) == request_hash({"b": {"d": 3, "c": 2}, "a": 1})

    def test_half_a_surrogate_pair_is_malformed_and_not_passed_on(self, read: Reader) -> None:
        (record,) = read("openai_batch", json.dumps(batch_line("1", "\ud800")))
        assert (record.reason, record.content) == ("malformed_record", None)


class TestText:
    @pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
    def test_objects_are_joined_by_id(self, name: str, read: Reader) -> None:
        values = [
            {"key": " a ", "out": "x" + SEPARATOR, "model": "m", "finish_reason": "length"},
            {"out": "y"}, {"key": 7, "out": "z"}, {"key": "b"}, {"key": "c", "out": None}, "plain", None, 3, [],
        ]  # fmt: skip
        records = read("text", values, name, id_field="key", text_field="out")
        assert [record.example_id for record in records[:5]] == ["a", None, "7", "b", "c"]
        assert reasons(records) == [
            None, "no_id", None, "malformed_record", "malformed_record", "no_id", *["malformed_record"] * 3,
        ]  # fmt: skip
        assert (records[0].content, records[0].author, records[0].stopped_at_limit) == ("x" + SEPARATOR, "m", True)
        assert [record.row for record in records] == list(range(1, 10))
        assert all(record.order is None for record in records)

    def test_a_broken_output_keeps_its_place_in_the_order(self, read: Reader) -> None:
        for number in (2, 10, 1):
            read.write(f"out_{number}.json", [f"text {number}", None])
        records = read_paths("text", read.folder / "out_*.json", join="order")
        assert [record.content for record in records] == ["text 1", None, "text 2", None, "text 10", None]
        assert [record.order for record in records] == list(range(6))
        assert reasons(records) == [None, "malformed_record"] * 3

    def test_one_text_in_a_list_is_that_text(self, read: Reader) -> None:
        records = read("text", [["a"], ["b", "c"]], join="order")
        assert [(record.content, record.reason) for record in records] == [("a", None), (None, "malformed_record")]

    def test_an_order_is_never_trusted_where_there_are_ids(self, read: Reader) -> None:
        assert read.refusal("text", [{"id": "a", "text": SECRET}, SECRET], join="order") == (
            "rationales.sources.src: join is `order`, but 1 of 2 outputs have an id in 'id', and an order is never "
            "trusted where there are ids; set join: id"
        )

    @pytest.mark.parametrize(
        ("content", "values", "parts"),
        [
            ([SECRET, SECRET], {}, ["the 2 outputs are plain texts without an id", "set join: order"]),
            ([{"uid": "a", "texts": SECRET}], {}, ["sources.src.id_field", "found 2 fields, which may be data"]),
            ([{"uid": "a", "texts": SECRET}], {"id_field": "uid"},
             ["sources.src.text_field: no output has a field 'text' (did you mean 'texts'?)"]),
        ],
    )  # fmt: skip
    def test_a_wrong_field_is_named_with_the_fix(
        self, content: Any, values: dict[str, str], parts: list[str], read: Reader
    ) -> None:
        message = read.refusal("text", content, **values)
        assert all(part in message for part in parts)

    def test_an_encoding_of_the_users(self, read: Reader) -> None:
        path = read.write("out.json", [SECRET], encoding="cp1252")
        records = read_paths("text", path, join="order", encoding="cp1252")
        assert [record.content for record in records] == [SECRET]
        message = message_of(lambda: read_paths("text", path, join="order"))
        assert f"{path}: is not utf-8: byte 7, on line 1" in message
        assert "rationales.sources.src.encoding" in message


def task(number: int, *annotations: Any, **values: Any) -> dict[str, Any]:
    return {"id": number, "data": {"id": f"case-{number}"}, "annotations": list(annotations)} | values


def annotation(number: int, rationale: Any = "why", label: Any = ("yes",), **values: Any) -> dict[str, Any]:
    result = [{"from_name": "label", "value": {"choices": list(label)}}] if label else []
    result += [{"from_name": "rationale", "value": {"text": rationale}}] if rationale else []
    return {"id": number, "completed_by": 3, "result": result} | values


class TestLabelStudio:
    def test_annotations_and_drafts_are_records_predictions_and_bare_tasks_are_not(self, read: Reader) -> None:
        tasks = [
            task(1, annotation(11), annotation(12, ["a", "b"], parent_annotation=11), drafts=[{"id": 13}, 14]),
            task(2, predictions=[annotation(21)]),
            task(3, annotation(31, was_cancelled=True)),
            task(4, annotation(41), data={}),
            task(5, annotation(51, rationale=None), annotation(52, None, None), "odd"),
            "odd",
        ]
        records = read("label_studio", tasks)
        assert [(record.row, record.record_id, record.reason) for record in records] == [
            (1, "11", None), (1, "12", None), (1, "13", "cancelled"), (1, "14", "cancelled"), (3, "31", "cancelled"),
            (4, "41", "no_id"), (5, "51", "no_rationale"), (5, "52", "empty"), (5, "", "malformed_record"),
            (6, "", "malformed_record"),
        ]  # fmt: skip
        assert [(one.example_id, one.rationale, one.label, one.author, one.edits) for one in records[:2]] == [
            ("case-1", "why", "yes", "3", None), ("case-1", "a\nb", "yes", "3", "11"),
        ]  # fmt: skip

    def test_the_number_of_a_task_is_no_example_id(self, read: Reader) -> None:
        flat = [{"id": 1, "case": "a", "label": {"choices": ["yes"]}, "rationale": ["x", "y"], "annotator": 2}]
        assert [(one.example_id, one.reason) for one in read("label_studio", flat)] == [(None, "no_id")]
        (record,) = read("label_studio", flat, id_field="case")
        assert (record.example_id, record.label, record.rationale, record.author) == ("a", "yes", "x\ny", "2")

    def test_an_address_of_an_annotator_is_not_kept(self, read: Reader) -> None:
        people = ["ann@clinic.org", {"email": "ann@clinic.org"}, {"id": 9, "email": "ann@clinic.org"}]
        tasks = [task(1, *(annotation(number, completed_by=one) for number, one in enumerate(people)))]
        first, second, third = (str(record.author) for record in read("label_studio", tasks))
        assert first == second
        assert first.startswith("annotator-")
        assert third == "9"

    def test_several_texts_of_json_min_are_read_in_each_of_its_shapes(self, read: Reader) -> None:
        values: list[Any] = ["x", {"text": ["x", "y"]}, ["x", "y"], [{"text": ["x", "y"]}, "z"], {"text": "x"}]
        flat = [{"case": f"c{n}", "label": {"choices": ["yes"]}, "rationale": one} for n, one in enumerate(values)]
        records = read("label_studio", flat, id_field="case")
        assert [record.rationale for record in records] == ["x", "x\ny", "x\ny", "x\ny\nz", "x"]

    def test_fields_that_no_annotation_has_stop_and_the_found_ones_are_named(
        self, read: Reader, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks = [task(n, annotation(n, label=("yes",) if n else ())) for n in range(4)]
        found = "no annotation has it; fields found, with their counts: rationale 4, label 3; correct it"
        assert f"rationale_field 'why': {found}" in read.refusal("label_studio", tasks, rationale_field="why")
        assert f"label_field 'level': {found}" in read.refusal("label_studio", tasks, label_field="level")
        flat = [{"case": "a", "triage": {"choices": ["yes"]}, "rationale": "x"}]
        assert "label_field 'label': no annotation has it" in read.refusal("label_studio", flat, id_field="case")
        with caplog.at_level("INFO", logger="r2d"):
            read("label_studio", tasks)
        assert "3 of 4 records state a label; the others are not held against the gold label" in caplog.text

    def test_lines_are_no_export(self, read: Reader) -> None:
        assert "is no whole JSON list, broken on line 2" in read.refusal("label_studio", "{}\n{}\n")
        assert "holds one JSON dict, but a list is wanted" in read.refusal("label_studio", "{}")


class TestArgilla:
    def test_label_and_rationale_of_one_user_belong_together(self, read: Reader) -> None:
        responses = {
            "label": [{"value": "yes", "user_id": "u"}, {"value": "no", "user_id": "v"}],
            "rationale": [
                {"value": ["b", "c"], "user_id": "v"},
                {"value": "a", "user_id": "u", "status": "submitted"},
                {"value": "d", "user_id": "w", "status": "draft"},
            ],
        }
        records = read("argilla", [{"id": "1", "fields": {}, "responses": responses}])
        assert [(one.author, one.label, one.rationale, one.reason) for one in records] == [
            ("u", "yes", "a", None), ("v", "no", "b\nc", None), ("w", None, None, "cancelled"),
        ]  # fmt: skip

    def test_flat_rows(self, read: Reader) -> None:
        row = {
            "_server_id": None, "case": "1", "label.responses": ["yes", "no"], "label.responses.users": ["u", "v"],
            "label.responses.status": ["submitted", "discarded"], "rationale.responses": ["a", "b"],
            "rationale.responses.users": ["u", "v"], "rationale.responses.status": ["submitted", "discarded"],
        }  # fmt: skip
        unanswered = {"case": "2", "_server_id": None, "label.suggestion": "yes"}
        records = read("argilla", [row, unanswered, row | {"case": None}], "export.jsonl", id_field="case")
        assert reasons(records) == [None, "cancelled", "no_id", "cancelled"]
        assert (records[0].example_id, records[0].label, records[0].rationale) == ("1", "yes", "a")

    def test_the_first_version_and_faulty_records(self, read: Reader) -> None:
        values = {"label": {"value": "yes"}, "rationale": {"value": "a"}}
        response = {"user_id": "u", "status": "submitted", "values": values}
        export = [
            {"fields": {}, "metadata": {"id": 4}, "responses": [response]},
            {"id": 5, "responses": [{"user_id": "u", "status": "discarded", "values": None}]},
            {"id": 6, "responses": 3},
            {"something": "else"},
            None,
        ]
        records = read("argilla", export)
        assert reasons(records) == [None, "cancelled", *["malformed_record"] * 3]
        assert (records[0].example_id, records[0].label, records[0].rationale) == ("4", "yes", "a")

    def test_an_export_without_labels_is_read_where_none_is_asked_for(self, read: Reader) -> None:
        responses = {"rationale": [{"value": "a", "user_id": "u"}]}
        (record,) = read("argilla", [{"id": "1", "fields": {}, "responses": responses}])
        assert (record.label, record.rationale) == (None, "a")

    def test_questions_that_nobody_answered_stop(self, read: Reader) -> None:
        responses = {"level": [{"value": "yes", "user_id": "u"}], "rationale": [{"value": "a", "user_id": "u"}]}
        message = read.refusal("argilla", [{"id": "1", "fields": {}, "responses": responses}], label_field="label")
        assert (
            "label_field 'label': no annotation has it; fields found, with their counts: level 1, rationale 1"
            in message
        )


COLUMNS = {
    "id_column": "rid", "edits_column": "edited from", "label_column": "level", "author_column": "who",
    "time_column": "when",
}  # fmt: skip
HEADER = "rid,example_id,rationale,edited from,level,who,when"


class TestCsv:
    def test_every_row_is_a_record_on_the_line_it_begins_on(self, read: Reader) -> None:
        rows = [
            ["r1", " c1 ", 'two\r\nlines, and a "quote"', "", "yes", "nurse 1", "2025-01-01"],
            ["r2", "c1", "edited", " r1 ", "", "", "yesterday"],
            ["r3", "", "no id", "", "", "", ""],
            ["r4", "c4", "", "", "yes", "", ""],
            ["r5", "c5"],
        ]
        stream = io.StringIO()
        csv.writer(stream).writerows([HEADER.split(","), *rows])
        broken = '\r\nr6,c6,"broken" quote,,,,\r\nr7,c7,fine' + SEPARATOR + ",,,,\r\n"
        records = read("csv", "\ufeff" + stream.getvalue() + broken, **COLUMNS)
        assert [(one.row, one.record_id, one.reason) for one in records] == [
            (2, "r1", None), (4, "r2", None), (5, "r3", "no_id"), (6, "r4", "no_rationale"),
            (7, "", "malformed_record"), (9, "", "malformed_record"), (10, "r7", None),
        ]  # fmt: skip
        first, second = records[:2]
        assert (first.example_id, first.rationale, first.edits) == ("c1", 'two\r\nlines, and a "quote"', None)
        assert (first.label, first.author, first.created_at) == ("yes", "nurse 1", "2025-01-01")
        assert (second.edits, second.label, second.created_at) == ("r1", None, None)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (HEADER.replace("example_id", "exampleid") + "\n",
             "src.example_column: no column 'example_id' (did you mean 'exampleid'?)"),
            (f"{SECRET} since the early morning today\n", "if its first line is data, add a header line"),
            ("", "is empty; give a file with data"),
            (f'{HEADER}\nr1,c1,"{SECRET}\nr2,c2,x,,,,\n', "line 2 opens a quote that never closes"),
            (f'"{SECRET}\n', "line 1 opens a quote that never closes"),
            (HEADER + ",who\n", "two columns bear the same name (rationales.sources.src.author_column 'who')"),
            (f"{HEADER}\nr1,c1,{SECRET},,,,\nr2,c2,x,,,,\n", "label_column 'level': none of 2 records has a label"),
            (HEADER.replace(",", ";") + "\n", 'but holds 6 of ";"; set rationales.sources.src.delimiter: ";"'),
        ],
    )  # fmt: skip
    def test_a_table_that_cannot_be_read_says_why(self, content: str, message: str, read: Reader) -> None:
        assert message in read.refusal("csv", content, **COLUMNS)

    def test_a_delimiter_of_the_users(self, read: Reader) -> None:
        content = HEADER.replace(",", ";") + "\nr1;c1;a, b;;yes;;\n"
        assert [one.rationale for one in read("csv", content, delimiter=";", **COLUMNS)] == ["a, b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give a file with data"),
        (b" \n\n", "is empty but for spaces"),
        (b"PAR1\x00\x01", "is a Parquet file"),
        (json.dumps([SECRET]).encode("utf-16"), "UTF-16 byte order mark at byte 0; set rationales.sources.src."),
        (
            json.dumps([SECRET]).encode("utf-16-le"),
            "is UTF-16 without a byte order mark; set rationales.sources.src.encoding: utf-16-le",
        ),
        (f'["{SECRET}"]'.encode("latin-1"), "byte 7, on line 1, cannot be decoded; set rationales.sources"),
        (f"{SECRET}\n{SECRET}".encode(), "none of its 2 lines is JSON"),
        (f'["{SECRET}", '.encode(), "is no whole JSON list, broken on line 1"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_without_its_text(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    path.write_bytes(content)
    refusal = message_of(lambda: read_paths("text", path, join="order"))
    assert refusal.startswith(f"{path}: ")
    assert message in refusal


@pytest.mark.parametrize("name", ["no.json", "no_*.json", ""])
def test_paths_that_name_nothing_name_their_key(tmp_path: Path, name: str) -> None:
    assert "rationales.sources.src.paths" in message_of(lambda: read_paths("text", tmp_path / name))


def test_a_file_that_two_paths_name_is_read_once(read: Reader) -> None:
    path = read.write("out[1].json", ["a"])
    records = read_paths("text", path, read.folder / "*.json", join="order")
    assert [record.content for record in records] == ["a"]


ANSWERED = "Because. The answer is yes."
CALL = '{"label": "yes"}'


def anthropic_line(custom_id: str, stop: str = "end_turn", **values: Any) -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": SECRET}, {"type": "text", "text": ANSWERED}]
    message = {"type": "message", "model": "m", "content": content, "stop_reason": stop} | values
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


def gemini_line(key: str, stop: str | int = "STOP") -> dict[str, Any]:
    parts = [{"text": SECRET, "thought": True}, {"text": ANSWERED}]
    request = {"contents": [{"role": "user", "parts": [{"text": f"Case {key}: {SECRET}"}]}]}
    return {"request": request, "response": {"candidates": [{"content": {"parts": parts}, "finishReason": stop}]}}


class TestBatchesOfOtherProviders:
    def test_anthropic(self, read: Reader) -> None:
        failed = [{"custom_id": "3", "result": {"type": "errored", "error": {"error": {"type": "overloaded_error"}}}},
                  {"custom_id": "4", "result": {"type": "expired"}}]  # fmt: skip
        lines = [anthropic_line("1"), anthropic_line("2", "max_tokens"), *failed, anthropic_line("5", "refusal")]
        records = read("anthropic_batch", lines, "out.jsonl")
        assert [(one.example_id, one.reason, one.detail) for one in records] == [
            ("1", None, ""), ("2", None, ""), ("3", "request_failed", "overloaded_error"),
            ("4", "request_failed", "expired"), ("5", "refused", "refusal"),
        ]  # fmt: skip
        assert [one.content for one in records[:2]] == [ANSWERED] * 2
        assert [one.stopped_at_limit for one in records[:2]] == [False, True]

    def test_gemini_by_an_id_within_the_prompt(self, read: Reader) -> None:
        for stops in (("STOP", "MAX_TOKENS", "SAFETY"), (1, 2, 3)):
            lines = [gemini_line(key, stop) for key, stop in zip("789", stops, strict=True)]
            records = read(
                "gemini_batch", lines, "o.jsonl", id_field="request.contents[0].parts[0].text", id_pattern=r"Case (\d+)"
            )
            assert [(one.example_id, one.reason, one.stopped_at_limit) for one in records] == [
                ("7", None, False), ("8", None, True), ("9", "refused", False),
            ]  # fmt: skip
        blocked = {"key": "1", "response": {"promptFeedback": {"blockReason": "SAFETY"}}}
        assert records[0].content == ANSWERED
        assert reasons(read("gemini_batch", [blocked], "out.jsonl")) == ["refused"]

    @pytest.mark.parametrize(
        "output",
        [
            {"content": [{"type": "text", "text": ANSWERED}], "stop_reason": "max_tokens"},
            {"output": {"message": {"content": [{"text": ANSWERED}]}}, "stopReason": "max_tokens"},
            {"results": [{"outputText": ANSWERED, "completionReason": "LENGTH"}]},
            {"generation": ANSWERED, "stop_reason": "length"},
            {"outputs": [{"text": ANSWERED, "stop_reason": "length"}]},
            {"generations": [{"text": ANSWERED, "finish_reason": "MAX_TOKENS"}]},
            {"completions": [{"data": {"text": ANSWERED}, "finishReason": {"reason": "length"}}]},
            {"choices": [{"message": {"content": ANSWERED}, "finish_reason": "model_length"}]},
            {"generation": ANSWERED, "stop_reason": "a_word_of_next_year"},
        ],
    )
    def test_bedrock_in_the_shape_of_each_model(self, output: dict[str, Any], read: Reader) -> None:
        lines = [{"recordId": "1", "modelOutput": output}, {"recordId": "2", "error": {"errorCode": 429}}]
        answered, failed = read("bedrock_batch", lines, "out.jsonl")
        assert (answered.example_id, answered.content, answered.stopped_at_limit) == ("1", ANSWERED, True)
        assert (failed.example_id, failed.reason, failed.detail) == ("2", "request_failed", "429")

    @pytest.mark.parametrize(
        "line",
        [
            batch_line(
                "1", None, message={"tool_calls": [{"function": {"name": "f", "arguments": '{"label": "yes"}'}}]}
            ),
            batch_line(
                "1", None, message={"function_call": {"arguments": '{"label": "yes"}'}}, finish_reason="tool_calls"
            ),
            batch_line("1", choices=None, output=[{"type": "function_call", "arguments": '{"label": "yes"}'}]),
            anthropic_line("1", "tool_use", content=[{"type": "tool_use", "input": {"label": "yes"}}]),
        ],
    )
    def test_the_arguments_of_a_tool_call_are_the_answer(self, line: dict[str, Any], read: Reader) -> None:
        (record,) = read("openai_batch", [line], "out.jsonl")
        assert (record.content, record.reason, record.stopped_at_limit) == (CALL, None, False)

    def test_lines_of_no_batch_are_refused_with_their_keys(self, read: Reader) -> None:
        message = read.refusal("openai_batch", [{"custom_id": "1", "answer": SECRET}] * 2, "out.jsonl")
        assert "none of the 2 lines has the shape of a batch" in message
        assert "found 'custom_id', 'answer'" in message


class TestConversations:
    def test_the_last_turn_of_the_model_counts(self, read: Reader) -> None:
        turns = [
            {"role": "user", "content": SECRET},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "?"},
        ]
        last = {"role": "assistant", "content": [{"type": "text", "text": ANSWERED}]}
        records = read(
            "messages", [{"id": "1", "messages": [*turns, last]}, {"id": "2", "messages": turns}], "out.jsonl"
        )
        assert [(one.content, one.reason) for one in records] == [(ANSWERED, None), (None, "malformed_record")]
        shared = [{"from": "human", "value": SECRET}, {"from": "gpt", "value": ANSWERED}]
        assert [one.content for one in read("sharegpt", [{"id": "1", "conversations": shared}])] == [ANSWERED]

    def test_vllm_offline_by_a_nested_id(self, read: Reader) -> None:
        outputs = [{"text": ANSWERED, "finish_reason": "stop", "stop_reason": "###"}]
        (record,) = read(
            "vllm_offline", [{"meta": [{"id": 4}], "outputs": outputs}], "out.jsonl", id_field="meta[0].id"
        )
        assert (record.example_id, record.content, record.stopped_at_limit) == ("4", ANSWERED, False)

    @pytest.mark.parametrize(("finished", "stopped"), [(False, True), (True, False)])
    def test_an_answer_that_its_record_calls_unfinished_may_be_cut(
        self, finished: bool, stopped: bool, read: Reader
    ) -> None:
        value = {"id": "4", "finished": finished, "outputs": [{"text": ANSWERED, "finish_reason": None}]}
        (record,) = read("vllm_offline", [value], "out.jsonl")
        assert (record.content, record.stopped_at_limit) == (ANSWERED, stopped)
        (record,) = read("text", [{"id": "4", "text": ANSWERED, "done": finished, "finish_reason": None}], "out.jsonl")
        assert record.stopped_at_limit is stopped

    def test_a_conversation_read_as_text_names_its_format(self, read: Reader) -> None:
        message = read.refusal(
            "text", [{"id": "1", "messages": [{"role": "assistant", "content": SECRET}]}], "out.jsonl"
        )
        assert "or set format: messages, which the outputs look like" in message


class TestDecoratedIds:
    def test_a_pattern_and_a_width_give_the_id_of_the_data(self, read: Reader) -> None:
        values = [{"id": "case-7-of-9", "text": "a"}, {"id": "other", "text": "b"}]
        records = read("text", values, "out.jsonl", id_pattern=r"case-(\d+)", id_width=4)
        assert [(one.example_id, one.reason) for one in records] == [("0007", None), (None, "no_id")]

    @pytest.mark.parametrize("pattern", ["case-.+", "(a)(b)", "("])
    def test_a_pattern_without_one_group_is_refused(self, pattern: str, read: Reader) -> None:
        with pytest.raises(ValueError, match="id_pattern"):
            read("text", [{"id": "1", "text": "a"}], "out.jsonl", id_pattern=pattern)
