"""No cell of a file is ever printed: a canary in every cell, every reader, every fault, and the rest at random.

What is held against it is all that a user or a log could show: standard output and error, every log record of every
library, warnings, and the whole traceback with its causes.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mlops.cli import main as command_line
from r2d.config.data import ColumnsConfig, DataConfig, LabelsConfig, SplitConfig
from r2d.config.jobs import CallsColumns, CallsConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import AnySource, RationalesConfig
from r2d.config.validation import ValidationConfig
from r2d.data.load import load_examples, load_labelled_file
from r2d.data.validation.validate import validate
from r2d.errors import R2DError
from r2d.evaluation.judge.agreement import read_human_scores
from r2d.evaluation.judge.rubric import load_rubric
from r2d.failures import describe, unexpected
from r2d.inference.calls import scan_calls
from r2d.inference.output import read_plan
from r2d.llm.answers import read_answers
from r2d.modeling.reference import read_reference
from r2d.rationales.ingest import ingest
from r2d.synthetic.calls import generate_calls  # noqa: F401  (imported once, before output is caught)
from steps.private import private
from tests.conftest import toy_examples
from tests.evaluation.judge.judged import SHIPPED
from tests.rationales.test_readers import annotation, batch_line, task
from tests.tables import as_csv

CANARY = "Qanary Zyxwv"
"""As short as a name, so that no message would leave it out for its length."""
PHONE = "555-0142"
SECRETS = ("qanary", "zyxwv", PHONE)
LABELS = LabelsConfig(names=("emergency", "routine"), ordered=True)
LIGHT = settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shown_by(function: Callable[[], object]) -> str:
    """All that is printed, logged or raised."""
    stream, records = io.StringIO(), logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    level = root.level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), warnings.catch_warnings():
            warnings.simplefilter("always")
            function()
    except R2DError:
        stream.write(traceback.format_exc())
    except Exception as error:  # shown so by the command line and by every step
        stream.write(f"{unexpected(error)}\n{describe(error)}")
    finally:
        root.removeHandler(records)
        root.setLevel(level)
    return stream.getvalue() + records.stream.getvalue()


def assert_nothing_is_shown(function: Callable[[], object]) -> str:
    shown = shown_by(function)
    folded = shown.casefold()
    assert not [secret for secret in SECRETS if secret in folded], shown[-3000:]
    return shown


# --- the files: a canary in every cell ---


def cells(number: int) -> dict[str, str]:
    """A row of notes whose every cell is about one person."""
    secret = f"{CANARY} {PHONE}"
    return {
        "id": f"{CANARY} {number}",
        "text": f"{secret} has chest pain, number {number}",
        "label": LABELS.names[number % 2],
        "group": f"{CANARY} {number // 2}",
        "site": f"{CANARY} ward",
        "why": f"{secret} has pain, so it is urgent {number}",
    }


Rows = list[dict[str, Any]]


def rows_of(fault: str) -> Rows:
    """Thirty rows with a fault of their values."""
    rows: Rows = [cells(number) for number in range(30)]
    for row in rows[3:9]:
        row |= {
            "same id": {"id": CANARY},
            "no id": {"id": ""},
            "no text": {"text": " "},
            "text in the label": {"label": row["text"]},
            "name in the label": {"label": CANARY},
            "name in the split": {"split": CANARY},
            "group in two splits": {"group": CANARY},
            "same text": {"text": f"{CANARY} {PHONE} has a cough"},
            "short text": {"text": CANARY},
            "control character": {"text": f"{CANARY}\x07 has {PHONE}"},
            "mojibake": {"text": f"{CANARY} Ã©Ã¨ has {PHONE} and much pain"},
            "rationale is the text": {"why": row["text"]},
        }.get(fault, {})
    if fault in ("group in two splits", "same text", "name in the split"):
        for place, row in enumerate(rows):
            row.setdefault("split", ("train", "validation", "test")[place % 3])
    if fault == "columns of other names":
        rows = [{f"{CANARY} {key}": value for key, value in row.items()} for row in rows]
    if fault == "id column of another name":
        rows = [{("ident" if key == "id" else key): value for key, value in row.items()} for row in rows]
    return rows


VALUE_FAULTS = (
    "none", "same id", "no id", "no text", "text in the label", "name in the label", "name in the split",
    "group in two splits", "same text", "short text", "control character", "mojibake", "rationale is the text",
    "columns of other names", "id column of another name",
)  # fmt: skip
SEEN_BY_READERS = ("none", "same id", "no id", "columns of other names", "id column of another name")
"""The others are found in the table of examples, which is the same whatever it was read from."""


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def as_pubmedqa(rows: Rows) -> bytes:
    content = {
        row.get("id", CANARY): {"QUESTION": row.get("text"), "CONTEXTS": [CANARY], "final_decision": row.get("label")}
        for row in rows
    }
    return json.dumps(content).encode()


WRITERS = {"csv": lambda rows: as_csv(rows).encode(), "jsonl": as_jsonl, "parquet": as_parquet, "pubmedqa": as_pubmedqa}
SECOND = f'"{CANARY} {PHONE}"'
FORM_FAULTS: dict[str, bytes] = {
    "headerless": as_csv(rows_of("none"), header=False).encode(),
    "another delimiter": as_csv(rows_of("none"), delimiter=";").encode(),
    "HL7": f"MSH|^~\\&|{CANARY}|{PHONE}\rPID|1||{CANARY}^^^{PHONE}\n".encode(),
    "an unclosed quote": (as_csv(rows_of("none")) + f'"{CANARY},{PHONE},x\n').encode(),
    "a stray quote": (as_csv(rows_of("none")) + f'{CANARY},"a"{PHONE},x\n').encode(),
    "ragged": (as_csv(rows_of("none")) + f"{CANARY},{PHONE}\n").encode(),
    "a NUL": (as_csv(rows_of("none")) + f"{CANARY}\0{PHONE}\n").encode(),
    "latin-1": f"id,text,label\n{CANARY} é,{PHONE} é,routine\n".encode("latin-1"),
    "UTF-16 without mark": as_csv(rows_of("none")).encode("utf-16-le"),
    "a broken line": as_jsonl(rows_of("none")) + f'{{"id": "{CANARY}", "text": \\{PHONE}}}\n'.encode(),
    "an escape": as_jsonl(rows_of("none")) + f'{{"id": "{CANARY} \\q {PHONE}"}}\n'.encode(),
    "a list": json.dumps(rows_of("none")).encode(),
    "an object by id": json.dumps({row["id"]: row for row in rows_of("none")}).encode(),
    "text alone": f"{SECOND}\n{SECOND}\n".encode(),
    "nested": json.dumps({"id": CANARY, "text": {CANARY: PHONE}, "label": [CANARY]}).encode(),
    "half a surrogate": f'{{"id": "{CANARY} \\ud800", "text": "{PHONE} \\ud800", "label": "routine"}}\n'.encode(),
    "no content": b"\n\n",
    "a number of many digits": f'{{"id": {"9" * 5000}, "text": "{CANARY}"}}\n'.encode(),
    "Parquet, cut": as_parquet(rows_of("none"))[:-40],
    "Parquet of structs": as_parquet([{"id": CANARY, "text": {CANARY: PHONE}, "label": b"\xff" + CANARY.encode()}]),
}


def check_notes(path: Path, kind: str) -> None:
    """Read and validate, every expectation an error; then as a labelled file."""
    columns = ColumnsConfig(group="group", rationales={"nurse": "why"}, attributes={"site": "site"})
    data = DataConfig(format=kind, path=str(path), labels=LABELS, columns=columns)
    if kind == "csv" and b"split" in path.read_bytes()[:200]:
        data = data.model_copy(update={"columns": columns.model_copy(update={"split": "split"})})
    severities = dict.fromkeys(ValidationConfig.checks(), "error")
    config = ValidationConfig(severities=severities, privacy=PrivacyConfig(policy="warn"))
    outcome = validate(load_examples(data), config, labels=LABELS)
    for check in outcome.checks:
        print(check.line())
    print(json.dumps(outcome.result()["checks"]), outcome)
    outcome.raise_for_errors()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("csv", fault) for fault in VALUE_FAULTS]
    + [(kind, fault) for kind in ("jsonl", "parquet") for fault in SEEN_BY_READERS],
)
def test_of_notes_whatever_is_wrong_with_their_values(kind: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / f"notes.{kind}"
    path.write_bytes(WRITERS[kind](rows_of(fault)))
    shown = assert_nothing_is_shown(lambda: check_notes(path, kind))
    assert "unexpected" not in shown.splitlines()[:1]
    assert_nothing_is_shown(lambda: load_labelled_file(path, LABELS))


@pytest.mark.parametrize("fault", FORM_FAULTS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pubmedqa", "calls", "folder"])
def test_of_files_that_are_not_what_they_are_declared_as(fault: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(FORM_FAULTS[fault])
    if kind == "folder":
        assert_nothing_is_shown(lambda: check_notes(tmp_path, "huggingface"))
    elif kind == "calls":
        for format in ("csv", "jsonl", "parquet"):
            config = CallsConfig(path=str(path), format=format, columns=CallsColumns(id="id", text="text"))
            assert_nothing_is_shown(lambda config=config: scan_calls(config))
    else:
        assert_nothing_is_shown(lambda: check_notes(path, kind))


@pytest.mark.parametrize("fault", ["none", "unknown ids", "a group divided"])
def test_of_a_list_of_test_ids(fault: str, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_bytes(as_csv(rows_of("none")).encode())
    ids = [f"{CANARY} {number}" for number in range(0, 10, 2 if fault == "a group divided" else 1)]
    (tmp_path / "test.json").write_text(json.dumps([*ids, *([f"{CANARY} gone"] if fault == "unknown ids" else [])]))
    data = DataConfig(
        format="csv", path=str(tmp_path / "notes.csv"), labels=LABELS, columns=ColumnsConfig(group="group"),
        split=SplitConfig(test_ids=str(tmp_path / "test.json")),
    )  # fmt: skip
    shown = assert_nothing_is_shown(lambda: load_examples(data))
    assert ("DataError" in shown) == (fault != "none")


# --- rationales ---

SOURCES: dict[str, dict[str, Any]] = {
    "text": {"format": "text"},
    "openai_batch": {"format": "openai_batch"},
    "label_studio": {"format": "label_studio"},
    "argilla": {"format": "argilla"},
    "csv": {"format": "csv", "label_column": "label", "author_column": "author"},
}
SAID = f"{CANARY} {PHONE} aches. The answer is {CANARY}."
WRITTEN: dict[str, bytes] = {
    "text": as_jsonl([{"id": f"toy-00{n}", "text": SAID} for n in range(9)]),
    "openai_batch": as_jsonl([batch_line(f"toy-00{n}", SAID) for n in range(9)]),
    "label_studio": json.dumps([task(n, annotation(n, [SAID])) for n in range(9)]).encode(),
    "argilla": as_jsonl([{"id": CANARY, "fields": {"text": SAID}, "responses": {"label": [{"value": CANARY}]}}] * 9),
    "csv": as_csv([{"example_id": CANARY, "rationale": SAID, "label": CANARY, "author": CANARY}] * 9).encode(),
}


def ingest_file(path: Path, source: str) -> None:
    declared = TypeAdapter(AnySource).validate_python({**SOURCES[source], "paths": [str(path)]})
    config = RationalesConfig(stage1_source="src", sources={"src": declared})
    data = DataConfig(format="csv", path="toy.csv", labels=LABELS)
    ingestion = ingest(toy_examples(20), config, data=data, privacy=PrivacyConfig(), work_dir=path.parent)
    print(ingestion.counts(), ingestion.result())
    ingestion.select(config)


@pytest.mark.parametrize("fault", ["none", *FORM_FAULTS])
@pytest.mark.parametrize("source", SOURCES)
def test_of_rationales(source: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "written.json"
    path.write_bytes(WRITTEN[source] if fault == "none" else FORM_FAULTS[fault])
    assert_nothing_is_shown(lambda: ingest_file(path, source))


# --- what commands read beside notes ---


@pytest.mark.parametrize("fault", FORM_FAULTS)
def test_of_scores_answers_predictions_and_references(fault: str, tmp_path: Path) -> None:
    path, rubric = tmp_path / "file", load_rubric(SHIPPED)
    path.write_bytes(FORM_FAULTS[fault])
    readers: list[Callable[[], object]] = [
        lambda: read_human_scores(path, rubric),
        lambda: list(read_answers(path)),
        lambda: read_plan(path),
        lambda: read_reference(path),
    ]
    for read in readers:
        assert_nothing_is_shown(read)
    path.write_text(f"id,criterion,score,rater\n{CANARY},{CANARY},{PHONE},{CANARY}\n" * 2, encoding="utf-8")
    assert "line 2" in assert_nothing_is_shown(lambda: read_human_scores(path, rubric))


# --- at random ---


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", *SOURCES])
@LIGHT
@given(data=st.data())
def test_of_a_file_that_was_damaged_anywhere(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    is_source = kind in SOURCES and kind != "csv"
    content = WRITTEN[kind] if is_source else WRITERS[kind](rows_of("none")[:12])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        end = place + data.draw(st.integers(0, 60))
        noise = data.draw(st.sampled_from([b"", b'"', b",", b"\n", b"{", b"]", b"\\", b"\0", b"\xff", b'"\n"', b";"]))
        content = content[:place] + noise + content[end:]
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    if is_source:
        assert_nothing_is_shown(lambda: ingest_file(path, kind))
    else:
        assert_nothing_is_shown(lambda: load_examples(
            DataConfig(format=kind, path=str(path), labels=LABELS, columns=ColumnsConfig(group="group"))
        ))  # fmt: skip


# --- errors that nobody foresaw ---


def unforeseen() -> None:
    try:
        int(f"{CANARY} {PHONE}")
    except ValueError:
        raise KeyError(CANARY) from RuntimeError(PHONE)


def test_an_error_that_nobody_foresaw_is_shown_by_type_and_place_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path))
    monkeypatch.setattr(command_line, "app", unforeseen)
    with pytest.raises(SystemExit) as left:
        command_line.main()
    line = capsys.readouterr().err
    assert left.value.code == 1
    assert line.startswith("error: unexpected KeyError")
    assert line.count("\n") == 1
    (log,) = (tmp_path / "logs").iterdir()
    assert f"[log: {log}]" in line
    printed = line + log.read_text(encoding="utf-8")
    assert "caused by RuntimeError" in printed
    assert f"{Path(__file__).name}, line" in printed
    assert "in unforeseen" in printed
    assert not [secret for secret in SECRETS if secret in printed.casefold()]


def test_a_step_hands_such_an_error_on_without_its_message_and_our_own_as_they_are() -> None:
    with pytest.raises(R2DError) as raised:
        private(unforeseen)()
    text = "".join(traceback.format_exception(raised.value))
    assert "unexpected KeyError" in text
    assert not [secret for secret in SECRETS if secret in text.casefold()]
    with pytest.raises(R2DError, match="mend this"):
        private(lambda: (_ for _ in ()).throw(R2DError("mend this")))()


def test_every_step_is_private_so() -> None:
    steps = {path.stem: path.read_text(encoding="utf-8") for path in Path("steps").glob("*.py")}
    assert [name for name, code in steps.items() if "\n@step(" in code and "\n@private\ndef " not in code] == []


def test_a_command_prints_no_cell_of_a_file_without_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.csv").write_bytes(FORM_FAULTS["headerless"])
    config = {"data": {"format": "csv", "path": str(tmp_path / "notes.csv"), "labels": LABELS.model_dump()}}
    config["rationales"] = {"stage1_source": "nurse"}
    config["data"]["columns"] = {"rationales": {"nurse": "why"}}
    (tmp_path / "run.yaml").write_text(json.dumps({"parameters": {"config": config}}), encoding="utf-8")
    command = ["r2d", "validate", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        command_line.main()
    printed = capsys.readouterr().err
    assert "found: 6 names, of " in printed
    assert not [secret for secret in SECRETS if secret in printed.casefold()]
