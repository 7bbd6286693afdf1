"""Each reader: every record of a file becomes one record, with its reason where it is unusable; nothing is dropped."""

from __future__ import annotations

import csv
import json
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r2d.config.rationales import ArgillaSource, BatchSource, CsvSource, LabelStudioSource, TextSource
from r2d.errors import DataError
from r2d.llm.requests import request_hash
from r2d.rationales.readers.batch import read_batch
from r2d.rationales.records import Record
from r2d.rationales.sources import read_records

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not here: no folder {SHARED}")
SECRET = "Mme Dûrand has chest pain"
SEPARATOR = "\u2028"
"""A line separator, which JSON may hold within a text."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a file: text as it is, a list of values as JSON Lines, anything under a `.json` name as JSON."""

    def write_file(name: str, content: Any, encoding: str = "utf-8") -> str:
        if not isinstance(content, str):
            whole = json.dumps(content, ensure_ascii=False)
            lines = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in content)
            content = whole if name.endswith(".json") else lines
        (tmp_path / name).write_text(content, encoding=encoding)
        return str(tmp_path / name)

    return write_file


def answer(custom_id: str | None, content: Any = "Because. The answer is yes.", **values: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | values.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": values.pop("finish_reason", "stop")}
    body = {"id": f"chat-{custom_id}", "created": 1715633336, "model": "m", "choices": [choice]} | values
    return {"id": "line", "custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def reasons(records: list[Record]) -> dict[str | None, int]:
    return dict(Counter(record.reason for record in records))


def text_source(path: str | tuple[str, ...], **values: Any) -> TextSource:
    return TextSource(format="text", paths=(path,) if isinstance(path, str) else path, **values)


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    trace = "".join(traceback.format_exception(caught.value))
    assert "Dûrand" not in trace
    return str(caught.value)


@needs_shared
class TestTheFormatsAsDocumented:
    folder = SHARED / "formats"

    def test_a_batch_with_errors_and_inputs_accounts_for_every_request(self) -> None:
        paths = {f"{kind}paths": (str(self.folder / f"openai_batch_{file}.jsonl"),)
                 for kind, file in (("", "output"), ("error_", "errors"), ("input_", "input"))}  # fmt: skip
        records = read_records("llm", BatchSource(format="openai_batch", **paths))
        assert reasons(records) == {None: 5, "request_failed": 3}
        assert {record.detail for record in records} == {"", "400", "batch_expired", "never answered"}
        assert len({record.example_id for record in records}) == 8 == len({record.prompt_hash for record in records})
        first = records[0]
        assert (first.record_id, first.row, first.file) == ("chatcmpl-0003", 1, "openai_batch_output.jsonl")
        assert (first.created_at, first.author) == ("2024-05-13T20:48:56+00:00", "example-model")
        assert first.stopped_at_limit

    @pytest.mark.parametrize(("file", "stopped"), [("results", True), ("results_old", False)])
    def test_vllm_in_both_shapes(self, file: str, stopped: bool) -> None:
        source = BatchSource(format="vllm_batch", paths=(str(self.folder / f"vllm_run_batch_{file}.jsonl"),))
        records = read_records("llm", source)
        assert [record.reason for record in records] == [None, None]
        assert all(record.stopped_at_limit is stopped and record.content for record in records)

    def test_label_studio(self) -> None:
        source = LabelStudioSource(format="label_studio", paths=(str(self.folder / "label_studio_export.json"),))
        records = read_records("nurses", source)
        assert reasons(records) == {None: 3, "cancelled": 1}
        assert (records[0].record_id, records[0].author, records[0].label) == ("1001", "1", "yes")
        assert records[0].example_id == "pubmedqa-15879722"

    def test_both_exports_of_argilla_say_the_same(self) -> None:
        exports = [
            read_records("nurses", ArgillaSource(format="argilla", paths=(str(self.folder / file),)))
            for file in ("argilla_records.json", "argilla_flat.jsonl")
        ]
        assert [reasons(records) for records in exports] == [{None: 3}, {None: 3}]
        said = [[(one.example_id, one.label, one.rationale, one.author) for one in records] for records in exports]
        assert said[0] == said[1]

    def test_raw_lists_are_counted_over_all_files_in_natural_order(self) -> None:
        source = text_source(str(SHARED / "raw" / "dss_cqa" / "train_CoT_*.json"), join="order")
        records = read_records("llm", source)
        assert [record.order for record in records] == list(range(9741))
        assert records[-1].file == "train_CoT_9.json"


class TestBatch:
    def test_every_way_to_fail_has_its_reason(self, write: Callable[..., str]) -> None:
        lines = [
            answer("ok"),
            answer("refused", None, message={"refusal": SECRET}),
            answer("filtered", SECRET, finish_reason="content_filter"),
            answer("long", SECRET, finish_reason="length"),
            answer(None),
            {"custom_id": "expired", "response": None, "error": {"code": "batch_expired", "message": SECRET}},
            {"custom_id": "odd", "response": None, "error": {"code": SECRET}},
            {"custom_id": "500", "response": {"status_code": 500, "body": {}}},
            {"custom_id": "true", "response": {"status_code": True, "body": {"choices": [{"text": SECRET}]}}},
            {"custom_id": "in body", "response": {"status_code": 200, "body": {"error": {"type": "bad"}}}},
            {"custom_id": "nothing"},
            {"custom_id": "no choices", "response": {"status_code": 200, "body": {"choices": []}}},
            [SECRET],
        ]
        text = "".join(json.dumps(line) + "\r\n" for line in lines) + '{"custom_id": "cut", "resp'
        records = read_batch("llm", [write("out.jsonl", text)])
        assert [(record.reason, record.detail) for record in records] == [
            (None, ""),
            ("refused", "refusal"),
            ("refused", "content_filter"),
            (None, ""),
            ("no_id", "no custom_id"),
            ("request_failed", "batch_expired"),
            ("request_failed", "error"),
            ("request_failed", "500"),
            ("request_failed", "no status code"),
            ("request_failed", "bad"),
            ("request_failed", "no response"),
            ("malformed_record", "no choices in the response"),
            ("malformed_record", "a list, not an object"),
            ("malformed_record", "no JSON"),
        ]
        assert [record.stopped_at_limit for record in records[:4]] == [False, False, False, True]
        assert [record.row for record in records] == list(range(1, 15))

    def test_every_choice_is_a_record_of_its_own(self, write: Callable[..., str]) -> None:
        choices = [{"message": {"content": text}} for text in ("a", "b")] + [{"text": "c"}, None]
        records = read_batch("llm", [write("out.jsonl", [answer("1", choices=choices)])])
        assert [record.content for record in records] == ["a", "b", "c", None]
        assert [record.record_id for record in records] == ["chat-1", "chat-1#1", "chat-1#2", "chat-1#3"]
        assert records[-1].reason == "malformed_record"

    @pytest.mark.parametrize(
        "content",
        ["one" + SEPARATOR + "two", [{"type": "text", "text": "one" + SEPARATOR}, {"type": "text", "text": "two"}]],
    )
    def test_content_may_be_parts_and_hold_a_line_separator(self, content: Any, write: Callable[..., str]) -> None:
        message = {"reasoning_content": SECRET}
        records = read_batch("llm", [write("out.jsonl", [answer("1", content, message=message)])])
        assert [record.content for record in records] == ["one" + SEPARATOR + "two"]

    def test_the_responses_api(self, write: Callable[..., str]) -> None:
        parts = [{"type": "reasoning", "content": [{"type": "text", "text": SECRET}]}]
        parts.append({"type": "message", "content": [{"type": "output_text", "text": "yes"}]})
        body = {"id": "r", "created_at": 0, "output": parts, "incomplete_details": {"reason": "max_output_tokens"}}
        line = {"custom_id": 7, "response": {"status_code": 200, "body": body}}
        (record,) = read_batch("llm", [write("out.jsonl", [line])])
        assert (record.content, record.example_id, record.record_id, record.stopped_at_limit) == ("yes", "7", "r", True)
        assert record.created_at == "1970-01-01T00:00:00+00:00"

    def test_a_request_that_nobody_mentions_was_never_answered(self, write: Callable[..., str]) -> None:
        bodies = {custom_id: {"model": "m", "messages": [custom_id]} for custom_id in ("1", "2", "3")}
        inputs = write("in.jsonl", [{"custom_id": custom_id, "body": body} for custom_id, body in bodies.items()])
        output = write("out.jsonl", [answer("2"), answer("1") | {"prompt_hash": "own"}])
        records = read_batch("llm", [output], [write("errors.jsonl", "")], [inputs])
        said = [(record.example_id, record.reason, record.prompt_hash) for record in records]
        expected = [("2", None, request_hash(bodies["2"])), ("1", None, "own")]
        assert said == [*expected, ("3", "request_failed", request_hash(bodies["3"]))]

    def test_the_prompt_hash_does_not_hang_on_the_order_of_keys(self) -> None:
        assert request_hash({"a": 1, "b": {"c": 2, "d": 3}}) == request_hash({"b": {"d": 3, "c": 2}, "a": 1})

    def test_half_a_surrogate_pair_is_malformed_and_not_passed_on(self, write: Callable[..., str]) -> None:
        (record,) = read_batch("llm", [write("out.jsonl", json.dumps(answer("1", "\ud800")) + "\n")])
        assert (record.reason, record.content) == ("malformed_record", None)


class TestText:
    @pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
    def test_objects_are_joined_by_id(self, name: str, write: Callable[..., str]) -> None:
        values = [{"key": " a ", "out": "x" + SEPARATOR, "model": "m", "finish_reason": "length"}, {"out": "y"}]
        values += [{"key": 7, "out": "z"}, {"key": "b"}, {"key": "c", "out": None}, "plain", None, 3, []]  # type: ignore[list-item]
        records = read_records("llm", text_source(write(name, values), id_field="key", text_field="out"))
        assert [record.example_id for record in records[:5]] == ["a", None, "7", "b", "c"]
        assert [record.reason for record in records] == [
            None, "no_id", None, "malformed_record", "malformed_record", "no_id", *["malformed_record"] * 3,
        ]  # fmt: skip
        assert (records[0].content, records[0].author, records[0].stopped_at_limit) == ("x" + SEPARATOR, "m", True)
        assert [record.row for record in records] == list(range(1, 10))
        assert all(record.order is None for record in records)

    def test_a_broken_output_keeps_its_place_in_the_order(self, write: Callable[..., str]) -> None:
        paths = [write(f"out_{number}.json", [f"text {number}", None]) for number in (2, 10, 1)]
        records = read_records("llm", text_source(str(Path(paths[0]).parent / "out_*.json"), join="order"))
        assert [record.content for record in records] == ["text 1", None, "text 2", None, "text 10", None]
        assert [record.order for record in records] == list(range(6))
        assert reasons(records) == {None: 3, "malformed_record": 3}

    def test_one_text_in_a_list_is_that_text(self, write: Callable[..., str]) -> None:
        records = read_records("llm", text_source(write("out.json", [["a"], ["b", "c"]]), join="order"))
        assert [(record.content, record.reason) for record in records] == [("a", None), (None, "malformed_record")]

    def test_an_order_is_never_trusted_where_there_are_ids(self, write: Callable[..., str]) -> None:
        path = write("out.json", [{"id": "a", "text": SECRET}, SECRET])
        message = message_of(lambda: read_records("llm", text_source(path, join="order")))
        assert message == (
            "rationales.sources.llm: join is `order`, but 1 of 2 outputs have an id in 'id', and an order is never "
            "trusted where there are ids; set join: id"
        )

    def test_plain_texts_without_ids_need_the_order(self, write: Callable[..., str]) -> None:
        message = message_of(lambda: read_records("llm", text_source(write("out.json", [SECRET, SECRET]))))
        assert "the 2 outputs are plain texts without an id" in message
        assert "set join: order" in message

    def test_a_wrong_field_is_named_with_the_nearest(self, write: Callable[..., str]) -> None:
        path = write("out.jsonl", [{"uid": "a", "texts": SECRET}])
        message = message_of(lambda: read_records("llm", text_source(path, id_field="id")))
        assert "rationales.sources.llm.id_field" in message
        assert "did you mean 'uid'?" in message
        message = message_of(lambda: read_records("llm", text_source(path, id_field="uid")))
        assert "rationales.sources.llm.text_field: no output has a field 'text' (did you mean 'texts'?)" in message

    def test_an_encoding_of_the_users(self, write: Callable[..., str]) -> None:
        path = write("out.json", [SECRET], encoding="cp1252")
        source = text_source(path, join="order", encoding="cp1252")
        assert [record.content for record in read_records("llm", source)] == [SECRET]
        message = message_of(lambda: read_records("llm", text_source(path, join="order")))
        assert f"{path}: is not utf-8: byte 7, on line 1" in message
        assert "rationales.sources.llm.encoding" in message


def task(number: int, *annotations: Any, **values: Any) -> dict[str, Any]:
    return {"id": number, "data": {"id": f"case-{number}"}, "annotations": list(annotations)} | values


def annotation(number: int, rationale: Any = "why", label: Any = ("yes",), **values: Any) -> dict[str, Any]:
    result = [{"from_name": "label", "value": {"choices": list(label)}}] if label else []
    result += [{"from_name": "rationale", "value": {"text": rationale}}] if rationale else []
    return {"id": number, "completed_by": 3, "result": result} | values


class TestLabelStudio:
    def read(self, path: str, **values: Any) -> list[Record]:
        return read_records("nurses", LabelStudioSource(format="label_studio", paths=(path,), **values))

    def test_annotations_and_drafts_are_records_predictions_and_bare_tasks_are_not(
        self, write: Callable[..., str]
    ) -> None:
        tasks = [
            task(1, annotation(11), annotation(12, ["a", "b"], parent_annotation=11), drafts=[{"id": 13}, 14]),
            task(2, predictions=[annotation(21)]),
            task(3, annotation(31, was_cancelled=True)),
            task(4, annotation(41), data={}),
            task(5, annotation(51, rationale=None), annotation(52, None, None), "odd"),
            "odd",
        ]
        records = self.read(write("export.json", tasks))
        assert [(record.row, record.record_id, record.reason) for record in records] == [
            (1, "11", None), (1, "12", None), (1, "13", "cancelled"), (1, "14", "cancelled"), (3, "31", "cancelled"),
            (4, "41", "no_id"), (5, "51", "no_rationale"), (5, "52", "empty"), (5, "", "malformed_record"),
            (6, "", "malformed_record"),
        ]  # fmt: skip
        assert [(one.example_id, one.rationale, one.label, one.author, one.edits) for one in records[:2]] == [
            ("case-1", "why", "yes", "3", None), ("case-1", "a\nb", "yes", "3", "11"),
        ]  # fmt: skip

    def test_the_number_of_a_task_is_no_example_id(self, write: Callable[..., str]) -> None:
        flat = [{"id": 1, "case": "a", "label": {"choices": ["yes"]}, "rationale": ["x", "y"], "annotator": 2}]
        path = write("export.json", flat)
        assert [(one.example_id, one.reason) for one in self.read(path)] == [(None, "no_id")]
        (record,) = self.read(path, id_field="case")
        assert (record.example_id, record.label, record.rationale, record.author) == ("a", "yes", "x\ny", "2")

    def test_an_address_of_an_annotator_is_not_kept(self, write: Callable[..., str]) -> None:
        people = ["ann@clinic.org", {"email": "ann@clinic.org"}, {"id": 9, "email": "ann@clinic.org"}]
        path = write("export.json", [task(1, *(annotation(n, completed_by=one) for n, one in enumerate(people)))])
        authors = [record.author or "" for record in self.read(path)]
        assert authors[0] == authors[1]
        assert authors[0].startswith("annotator-")
        assert authors[2] == "9"

    def test_lines_are_no_export(self, write: Callable[..., str]) -> None:
        message = message_of(lambda: self.read(write("export.json", "{}\n{}\n")))
        assert "is no whole JSON list, broken on line 2" in message
        assert "holds one JSON dict, but a list is wanted" in message_of(lambda: self.read(write("export.json", "{}")))


class TestArgilla:
    def read(self, path: str, **values: Any) -> list[Record]:
        return read_records("nurses", ArgillaSource(format="argilla", paths=(path,), **values))

    def test_label_and_rationale_of_one_user_belong_together(self, write: Callable[..., str]) -> None:
        responses = {
            "label": [{"value": "yes", "user_id": "u"}, {"value": "no", "user_id": "v"}],
            "rationale": [
                {"value": ["b", "c"], "user_id": "v"},
                {"value": "a", "user_id": "u", "status": "submitted"},
                {"value": "d", "user_id": "w", "status": "draft"},
            ],
        }
        records = self.read(write("export.json", [{"id": "1", "fields": {}, "responses": responses}]))
        assert [(one.author, one.label, one.rationale, one.reason) for one in records] == [
            ("u", "yes", "a", None), ("v", "no", "b\nc", None), ("w", None, None, "cancelled"),
        ]  # fmt: skip

    def test_flat_rows(self, write: Callable[..., str]) -> None:
        row = {
            "_server_id": None, "case": "1", "label.responses": ["yes", "no"], "label.responses.users": ["u", "v"],
            "label.responses.status": ["submitted", "discarded"], "rationale.responses": ["a", "b"],
            "rationale.responses.users": ["u", "v"], "rationale.responses.status": ["submitted", "discarded"],
        }  # fmt: skip
        unanswered = {"case": "2", "_server_id": None, "label.suggestion": "yes"}
        records = self.read(write("export.jsonl", [row, unanswered, row | {"case": None}]), id_field="case")
        assert [one.reason for one in records] == [None, "cancelled", "no_id", "cancelled"]
        assert (records[0].example_id, records[0].label, records[0].rationale) == ("1", "yes", "a")

    def test_the_first_version_and_faulty_records(self, write: Callable[..., str]) -> None:
        values = {"label": {"value": "yes"}, "rationale": {"value": "a"}}
        response = {"user_id": "u", "status": "submitted", "values": values}
        export = [
            {"fields": {}, "metadata": {"id": 4}, "responses": [response]},
            {"id": 5, "responses": [{"user_id": "u", "status": "discarded", "values": None}]},
            {"id": 6, "responses": 3},
            {"something": "else"},
            None,
        ]
        records = self.read(write("export.json", export))
        assert [one.reason for one in records] == [None, "cancelled", *["malformed_record"] * 3]
        assert (records[0].example_id, records[0].label, records[0].rationale) == ("4", "yes", "a")


class TestCsv:
    columns = ("rid", "example_id", "rationale", "edited from", "level", "who", "when")

    def read(self, path: str, **values: Any) -> list[Record]:
        names = dict(zip(("id", "edits", "label", "author", "time"), [self.columns[0], *self.columns[3:]], strict=True))
        return read_records(
            "nurses",
            CsvSource(
                format="csv", paths=(path,), **{f"{key}_column": name for key, name in names.items()} | values
            ),
        )  # fmt: skip

    def test_every_row_is_a_record_on_the_line_it_begins_on(self, tmp_path: Path) -> None:
        rows = [
            ["r1", " c1 ", 'two\r\nlines, and a "quote"', "", "yes", "nurse 1", "2025-01-01"],
            ["r2", "c1", "edited", " r1 ", "", "", "yesterday"],
            ["r3", "", "no id", "", "", "", ""],
            ["r4", "c4", "", "", "yes", "", ""],
            ["r5", "c5"],
        ]
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8-sig") as stream:
            csv.writer(stream).writerows([self.columns, *rows])
        with (tmp_path / "t.csv").open("a", newline="") as stream:
            stream.write('\r\nr6,c6,"broken" quote,,,,\r\nr7,c7,fine' + SEPARATOR + ",,,,\r\n")
        records = self.read(str(tmp_path / "t.csv"))
        assert [(one.row, one.record_id, one.reason) for one in records] == [
            (2, "r1", None), (4, "r2", None), (5, "r3", "no_id"), (6, "r4", "no_rationale"),
            (7, "", "malformed_record"), (9, "", "malformed_record"), (10, "r7", None),
        ]  # fmt: skip
        first, second = records[:2]
        assert (first.example_id, first.rationale, first.edits) == ("c1", 'two\r\nlines, and a "quote"', None)
        assert (first.label, first.author, first.created_at) == ("yes", "nurse 1", "2025-01-01")
        assert (second.edits, second.label, second.created_at) == ("r1", None, None)

    def test_a_missing_column_is_named_with_the_nearest(self, write: Callable[..., str]) -> None:
        path = write("t.csv", "rid,exampleid,rationale,edited from,level,who,when\n")
        message = message_of(lambda: self.read(path))
        assert "nurses.example_column: no column 'example_id' (did you mean 'exampleid'?)" in message
        path = write("t.csv", f"{SECRET} since the early morning today\n")
        assert "where that line is data, put a header line before it" in message_of(lambda: self.read(path))

    def test_a_quote_that_never_closes_would_swallow_rows(self, write: Callable[..., str]) -> None:
        path = write("t.csv", f'{",".join(self.columns)}\nr1,c1,"{SECRET}\nr2,c2,x,,,,\n')
        message = message_of(lambda: self.read(path))
        assert "line 2 opens a quote that never closes" in message

    def test_a_delimiter_of_the_users(self, write: Callable[..., str]) -> None:
        path = write("t.csv", ";".join(self.columns) + "\nr1;c1;a, b;;;;\n")
        assert [one.rationale for one in self.read(path, delimiter=";")] == ["a, b"]
        assert "missing at delimiter ','" in message_of(lambda: self.read(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; give a file with data"),
        (b" \n\n", "is empty but for spaces"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git-LFS pointer"),
        (b"PAR1\x00\x01", "is a Parquet file"),
        (b"\x1f\x8b\x08", "is a gzip file: decompress it"),
        (
            json.dumps([SECRET]).encode("utf-16"),
            "begins with a UTF-16 byte order mark at byte 0; set rationales.sources.llm.encoding: utf-16",
        ),
        (json.dumps([SECRET]).encode("utf-16-le"), "holds NUL characters"),
        (
            f'["{SECRET}"]'.encode("latin-1"),
            "byte 7, on line 1, cannot be decoded; set rationales.sources.llm.encoding to the file's own, e.g. cp1252",
        ),
        (f"{SECRET}\n{SECRET}".encode(), "none of its 2 lines is JSON"),
        (f'["{SECRET}", '.encode(), "is no whole JSON list, broken on line 1"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_without_its_text(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    path.write_bytes(content)
    message = message_of(lambda: read_records("llm", text_source(str(path), join="order")))
    assert message.startswith(f"{path}: ")
    assert said in message


def test_paths_that_name_nothing_name_their_key(tmp_path: Path) -> None:
    for path in (str(tmp_path / "no.json"), str(tmp_path / "no_*.json"), str(tmp_path)):
        message = message_of(lambda path=path: read_records("llm", text_source(path)))  # type: ignore[misc]
        assert "rationales.sources.llm.paths" in message


def test_a_file_that_two_paths_name_is_read_once(write: Callable[..., str]) -> None:
    path = write("out[1].json", ["a"])
    records = read_records("llm", text_source((path, str(Path(path).parent / "*.json")), join="order"))
    assert [record.content for record in records] == ["a"]
