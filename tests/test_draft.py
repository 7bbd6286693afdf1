"""`r2d init` drafts what `r2d check` accepts, from files in the shapes in which they come; neither shows a cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.data import DataConfig
from r2d.config.loading import load_config
from r2d.config.rationales import CsvSource, TextSource
from r2d.config.run import RunConfig
from r2d.data.load import load_examples
from r2d.draft import draft_config
from r2d.errors import R2DError
from tests.tables import as_csv

LABELS = ("urgent", "soon", "later")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def rows(num_rows: int = 60) -> list[dict[str, Any]]:
    """Notes with an id, a label, a patient and a reason; every note and name is unique."""
    return [
        {
            "call_id": f"{number:04d}",
            "note": f"Canary{number} reports a cough for {number} days, and no fever.",
            "triage": LABELS[number % 3],
            "patient": f"Canary-P{number // 2}",
            "why": f"A cough of {number} days needs a visit, as canary{number} says.",
            "sex": "FM"[number % 2],
        }
        for number in range(num_rows)
    ]


def drafted(path: Path, **options: Any) -> tuple[str, RunConfig]:
    """The text of the draft, and the run that it declares."""
    text = draft_config(path, declared=options.pop("declared", {}), **options)
    config = path.with_name("drafted.yaml")
    config.write_text(text, encoding="utf-8")
    return text, load_config(config)


def write_as(kind: str, path: Path) -> Path:
    table = rows()
    if kind == "jsonl":
        path = path.with_suffix(".jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    elif kind == "pretty":
        path = path.with_suffix(".json")
        path.write_text(json.dumps(table, indent=2), encoding="utf-8")
    elif kind == "parquet":
        import pandas as pd

        path = path.with_suffix(".parquet")
        pd.DataFrame(table).to_parquet(path)
    elif kind == "sep":
        path.write_text("sep=;\n" + as_csv(table, delimiter=";"), encoding="utf-8")
    elif kind == "utf-16-le":
        path.write_bytes(as_csv(table).encode("utf-16-le"))
    elif kind == "backslash":
        for row in table:
            row["note"] += ' He said "now".'
        path.write_text(as_csv(table, doublequote=False, escapechar="\\"), encoding="utf-8")
    elif kind == "no quoting":
        table[1]["note"] = '"Bad" cough, ' + table[1]["note"]
        lines = ["\t".join(map(str, row.values())) for row in [dict(zip(table[0], table[0], strict=True)), *table]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif kind == "csv":
        path.write_text(as_csv(table), encoding="utf-8")
    else:
        table[0]["note"] += " Fièvre à 39°"
        path.write_bytes(as_csv(table, delimiter=";").encode("cp1252"))
    return path


@pytest.mark.parametrize(
    "kind", ["jsonl", "pretty", "parquet", "sep", "utf-16-le", "backslash", "no quoting", "cp1252"]
)
def test_a_file_of_any_shape_is_drafted_so_that_its_rows_are_read(tmp_path: Path, kind: str) -> None:
    text, run = drafted(write_as(kind, tmp_path / "calls.csv"))
    columns = run.data.columns
    assert (columns.id, columns.text, columns.label, columns.group) == ("call_id", "note", "triage", "patient")
    assert columns.rationales == {"why": "why"}
    assert columns.attributes == {"sex": "sex"}
    assert set(run.data.labels.names) == set(LABELS)
    examples = load_examples(run.data)
    assert examples["label"].to_pylist() == [row["triage"] for row in rows()]
    assert all(row["note"][:30] in note for row, note in zip(rows(), examples["text"].to_pylist(), strict=True))
    assert "canary" not in text.casefold(), "names, counts and shapes, and no cell"


@pytest.mark.parametrize("row_id", ["case", "Case ID", "case_no", "encounter_id", "Patient", "key"])
@pytest.mark.parametrize("person", ["pt", "PatientID", "xyz"])
def test_what_differs_in_every_row_is_the_id_and_what_few_rows_share_is_the_person(
    tmp_path: Path, row_id: str, person: str
) -> None:
    path, names = tmp_path / "calls.csv", {"call_id": row_id, "patient": person}
    table = [{names.get(key, key): value for key, value in row.items()} for row in rows()]
    path.write_text(as_csv([row | {"caller": ("self", "wife")[n % 2]} for n, row in enumerate(table)]))
    columns = drafted(path)[1].data.columns
    assert (columns.id, columns.group) == (row_id, person)


def test_german_names_of_columns_are_understood(tmp_path: Path) -> None:
    german = {"call_id": "Anrufnummer", "note": "Fallnotiz", "triage": "Dringlichkeit", "patient": "Patientennummer"}
    table = [{german[name]: row[name] for name in german} for row in rows()]
    path = tmp_path / "anrufe.csv"
    path.write_text(as_csv(table, delimiter=";"), encoding="utf-8")
    columns = drafted(path)[1].data.columns
    assert [columns.id, columns.text, columns.label, columns.group] == list(german.values())


ENCODINGS = ["cp1252", "mac-roman", "cp437", "cp850", "cp1250", "cp1251"]
PROSE = {
    "cp1250": "pacjentka zgłasza ból głowy i gorączkę, mówi że źle się czuje, łokieć boli",
    "cp1251": "Жалуется на боль в груди, одышка усиливается ночью",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_is_read_right_or_asked_for_with_its_evidence(tmp_path: Path, encoding: str) -> None:
    """Never another one in silence, and no word of the text in the question."""
    prose = PROSE.get(encoding, "la fièvre est tombée à 39°, élève très gênée, naïve, Müller läßt grüßen")
    table = [row | {"note": f"{prose} {number}"} for number, row in enumerate(rows())]
    path = tmp_path / "calls.csv"
    path.write_bytes(as_csv(table).encode(encoding))
    texts = [row["note"] for row in table]
    asked: list[Sequence[str]] = []

    def ask(question: str, allowed: Sequence[str]) -> str:
        asked.append(allowed)
        return encoding if "encoding" in question else ""

    if encoding != "cp1252":
        with pytest.raises(R2DError, match=r"its encoding cannot be told.*U\+[0-9A-F]{4} \d.*--encoding") as refused:
            drafted(path)
        assert prose.split()[1] not in str(refused.value)
    text, run = drafted(path, ask=ask)
    assert load_examples(run.data)["text"].to_pylist() == texts
    assert "of its characters beyond ASCII stand where they can (U+" in text
    assert (encoding in asked[0]) == (encoding != "cp1252")
    _, run = drafted(path, encoding=encoding)
    assert load_examples(run.data)["text"].to_pylist() == texts


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f"Calls of the year\nby the ward, 2026\n\n{text}",
        lambda text: f"Calls of the year,,,,,\n{text}",
        lambda text: text.replace("\r\n", ",\r\n"),
        lambda text: "\n".join(f"{n or ''},{line}" for n, line in enumerate(text.splitlines())),
    ],
    ids=["titles", "title of a sheet", "a delimiter at each end", "row numbers of pandas"],
)
def test_what_stands_around_a_table_is_left_out(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(change(as_csv(rows())), encoding="utf-8")
    _, run = drafted(path)
    columns = run.data.columns
    assert (columns.id, columns.text, columns.label) == ("call_id", "note", "triage")
    assert load_examples(run.data)["text"].to_pylist() == [row["note"] for row in rows()]


def test_rows_within_an_object_and_a_page_are_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    path.write_text(json.dumps({"data": rows(), "total": 60}), encoding="utf-8")
    with pytest.raises(R2DError, match="is one JSON object, and its 60 rows stand in a list under 'data'"):
        drafted(path)
    config = {"format": "jsonl", "path": str(path), "labels": {"names": LABELS}, "columns": {"text": "note"}}
    with pytest.raises(R2DError, match="is one JSON object, and its 60 rows stand in a list under 'data'"):
        load_examples(DataConfig.model_validate(config))
    page = tmp_path / "calls.xls"
    page.write_text("<html><table><tr><td>Canary</td></tr></table></html>")
    with pytest.raises(R2DError, match="is an HTML page"):
        drafted(page)


def test_codes_stay_as_they_are_and_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([row | {"triage": 1 + number % 4} for number, row in enumerate(rows())]))
    text, run = drafted(path)
    assert run.data.labels.names == ("1", "2", "3", "4")
    assert set(load_examples(run.data)["label"].to_pylist()) == {"1", "2", "3", "4"}
    assert "What does each of these codes stand for? Then: r2d init --labels '1=..., 2=...'" in text


def test_a_typing_error_of_a_label_is_pointed_at_and_umlauts_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    table = [row | {"triage": ("Übergabe", "Hausarzt")[number % 2]} for number, row in enumerate(rows())]
    table[7]["triage"], table[9]["triage"], table[11]["triage"] = "Hausartz", "2 - Hausarzt", "hausarzt*"
    path.write_text(as_csv(table), encoding="utf-8")
    text, run = drafted(path)
    assert run.data.labels.names == ("Übergabe", "Hausarzt", "Hausartz", "2 - Hausarzt", "hausarzt*")
    assert '#   "Übergabe": 30\n' in text
    assert text.count('# a typing error of "Hausarzt"?') == text.count("typing error") == 3
    assert '#   "Hausartz": 1   # a typing error of "Hausarzt"? Then declare it under codes, not under names\n' in text


def test_a_label_of_few_rows_beside_hundreds_is_asked_about_and_none_of_the_names(tmp_path: Path) -> None:
    path, table = tmp_path / "calls.csv", rows(400)
    for number, value in enumerate(["?", "?", "9", "handover", "handover", "handover", "handover", "handover"]):
        table[number]["triage"] = value
    path.write_text(as_csv(table))
    text, run = drafted(path)
    assert set(run.data.labels.names) == {*LABELS, "handover"}
    assert '#   "?": 2   # a label, or a slip? Not declared, since it is rare' in text
    assert text.count("or a slip?") == 2
    path.write_text(as_csv([row | {"triage": "no" if number else "yes"} for number, row in enumerate(table)]))
    assert set(drafted(path, declared={"label": "triage"})[1].data.labels.names) == {"no", "yes"}


def test_a_label_that_the_order_forgets_is_marked_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv(rows()))
    text, run = drafted(path, order="urgent, later")
    assert run.data.labels.names == ("urgent", "later")
    assert '#   "soon": 20   # not declared: its rows are refused until it is a name, or a code of one\n' in text
    assert text.count("not declared") == 1
    assert "20 of 60 rows have no declared label" in caplog.text
    caplog.clear()
    assert "not declared" not in drafted(path, order="urgent, soon, later")[0]
    assert not caplog.text


def test_copies_of_a_note_do_not_stop_the_run_that_was_drafted(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([*rows(), rows()[7] | {"call_id": "0060", "patient": "Canary-P60"}]))
    text, run = drafted(path)
    assert run.validation.severity("text_across_splits") == "quarantine"
    assert "# 1 row with the note of an earlier one" in text
    path.write_text(as_csv(rows()))
    assert drafted(path)[1].validation.severity("text_across_splits") == "error"


@pytest.mark.parametrize(
    ("note", "language"),
    [
        ("Patient {} klagt über Kopfschmerzen und Fieber seit drei Tagen, keine Atemnot.", "de"),
        ("O paciente {} queixa-se de dor no peito há duas horas e falta de ar.", "pt"),
        ("Caller {} reports chest pain since this morning and has a history of heart disease.", "en"),
        ("{} {}", "en"),
    ],
)
def test_the_language_of_the_notes_is_declared_where_it_is_another_one(
    tmp_path: Path, note: str, language: str
) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        as_csv([row | {"note": note.format(number, number + 1)} for number, row in enumerate(rows())]), encoding="utf-8"
    )
    text, run = drafted(path, declared={"text": "note"})
    assert run.validation.language == language
    assert ("seem to be in it" in text) == (language != "en")


def test_codes_get_their_names_and_join_with_answers_that_state_these(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes, answers = tmp_path / "calls.csv", tmp_path / "answers.jsonl"
    codes = {"urgent": 1, "soon": 2, "later": 3}
    columns = ("call_id", "note", "triage")
    table = [{key: row[key] for key in columns} | {"triage": codes[row["triage"]]} for row in rows()]
    notes.write_text(as_csv(table))
    answers.write_text("".join(json.dumps(RATIONALES["openai_batch"](row)) + "\n" for row in rows()))
    with pytest.raises(R2DError, match=r"not_a_label 60.*none of the labels '1'; '2'; '3'.*--labels"):
        drafted(notes, rationales=[answers])
    table[0]["triage"], table[1]["triage"] = "Urgent", "soon"  # are read as the labels, so are no typing errors of them
    notes.write_text(as_csv(table))
    caplog.set_level("INFO", logger="r2d")
    text, run = drafted(notes, rationales=[answers], order="1=urgent, 2=soon, 3=later")
    assert "typing error" not in text
    assert "records" not in caplog.text, "of the settings that were tried, the draft tells what the best gave"
    assert (run.data.labels.names, run.data.labels.ordered) == (("urgent", "soon", "later"), True)
    assert load_examples(run.data)["label"].to_pylist() == [row["triage"] for row in rows()]
    assert "60 of 60 records gave a rationale" in text


def test_a_fault_of_the_table_is_named_in_the_encoding_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    lines = as_csv(rows(), delimiter=";").replace("no fever", "no fièvre").splitlines()
    lines[2] = ";" + lines[2]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(R2DError, match=r"line 3 \(has 7\)"):
        drafted(path)


def test_without_an_id_the_row_is_the_id_and_without_a_rationale_the_model_only_decides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([{"note": row["note"], "triage": row["triage"]} for row in rows()]))
    _, run = drafted(path)
    assert load_examples(run.data)["id"].to_pylist()[:2] == ["1", "2"]
    assert run.method.name == "sft"
    assert "has no effect" not in caplog.text


def test_options_of_each_row_are_found_in_its_text(tmp_path: Path) -> None:
    table = [
        {"id": f"q{n}", "question": f"What is {n}?\n(a) one {n}\n(b) two {n}\n(c) three {n}", "answer": f"two {n}"}
        for n in range(50)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    _, run = drafted(path)
    assert run.data.labels.per_row
    assert load_examples(run.data)["options"].to_pylist()[3] == ["one 3", "two 3", "three 3"]


def test_what_cannot_be_told_is_asked_or_refused_with_the_option(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([row | {"second_level": LABELS[number % 2]} for number, row in enumerate(rows())]))
    with pytest.raises(R2DError, match=r"which column is the label cannot be told.*'triage'; 'second_level'.*--label"):
        drafted(path)
    questions: list[str] = []

    def ask(question: str, allowed: Sequence[str]) -> str:
        questions.append(question)
        return "second_level" if allowed else "soon, urgent"

    _, run = drafted(path, ask=ask)
    assert (run.data.columns.label, run.data.labels.names, run.data.labels.ordered) == (
        "second_level", ("soon", "urgent"), True,
    )  # fmt: skip
    assert len(questions) == 2


def test_a_draft_says_that_labels_have_no_order_only_of_who_was_asked_for_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv(rows()))
    assert drafted(path)[1].data.labels.ordered is None
    assert drafted(path, ask=lambda question, allowed: "")[1].data.labels.ordered is False


def test_prose_beside_the_note_is_pointed_at(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([row | {"hpi": f"It began {row['call_id']} days ago."} for row in rows()]))
    assert 'to read them with it: ["note", "hpi"]' in drafted(path)[0]
    path.write_text(as_csv(rows()))
    assert "to read them with it" not in drafted(path)[0]


def test_a_first_line_of_data_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("\n".join(as_csv(rows()).splitlines()[1:]))
    with pytest.raises(R2DError, match="looks like data") as raised:
        drafted(path)
    assert "canary" not in str(raised.value).casefold()


def answer(row: dict[str, Any]) -> str:
    return f"{row['why']} So the answer is {row['triage']}."


RATIONALES = {
    "openai_batch": lambda row: {
        "custom_id": f"request-{row['call_id']}",
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": answer(row)}}]}},
    },
    "anthropic_batch": lambda row: {
        "custom_id": row["call_id"],
        "result": {
            "type": "succeeded",
            "message": {"content": [{"type": "text", "text": answer(row)}], "stop_reason": "end_turn"},
        },
    },
    "text": lambda row: {"key": row["call_id"], "output": answer(row)},
    "label_studio": lambda row: {
        "data": {"call": row["call_id"]},
        "annotations": [
            {
                "result": [
                    {"from_name": "level", "type": "choices", "value": {"choices": [row["triage"]]}},
                    {"from_name": "comment", "type": "textarea", "value": {"text": [row["why"]]}},
                ]
            }
        ],
    },
}


@pytest.mark.parametrize("format", RATIONALES)
def test_a_file_of_rationales_is_read_so_that_its_records_join(tmp_path: Path, format: str) -> None:
    notes = tmp_path / "calls.csv"
    table = rows()
    notes.write_text(as_csv([{key: value for key, value in row.items() if key != "why"} for row in table]))
    path = tmp_path / ("reasons.json" if format == "label_studio" else "reasons.jsonl")
    records = [RATIONALES[format](row) for row in table]
    lines = json.dumps(records) if format == "label_studio" else "\n".join(map(json.dumps, records))
    path.write_text(lines)
    text, run = drafted(notes, rationales=[path])
    assert run.rationales.sources["reasons"].format == format
    assert "60 of 60 records gave a rationale" in text


@pytest.mark.parametrize(
    "record",
    [lambda row: {"custom_id": row["call_id"], "url": "/v1/chat", "body": {"messages": [{"content": row["note"]}]}},
     lambda row: {"call_id": row["call_id"], "label": row["triage"]}],
    ids=["requests", "labels"],
)  # fmt: skip
def test_a_file_without_rationales_is_refused(tmp_path: Path, record: Callable[[Any], Any]) -> None:
    notes, path = tmp_path / "calls.csv", tmp_path / "answers.jsonl"
    notes.write_text(as_csv(rows()))
    path.write_text("\n".join(json.dumps(record(row)) for row in rows()))
    with pytest.raises(R2DError, match=r"no column holds rationales: .* 1\.0 words on average"):
        drafted(notes, rationales=[path])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_beside_rationales_are_read_and_drafts_are_left_out(tmp_path: Path, ending: str) -> None:
    notes, reasons = tmp_path / "calls.csv", tmp_path / f"reasons.{ending}"
    notes.write_text(as_csv([{key: value for key, value in row.items() if key != "why"} for row in rows()]))
    table = [
        {
            "case": row["call_id"],
            "reason": row["why"],
            "level": row["triage"],
            "status": ("final", "Draft", "checked")[n % 3],
        }
        for n, row in enumerate(rows())
    ]
    lines = "\n".join(map(json.dumps, table)) if ending == "jsonl" else as_csv(table)
    reasons.write_text(lines, encoding="utf-8")
    text, run = drafted(notes, rationales=[reasons])
    source = run.rationales.sources["reasons"]
    assert isinstance(source, TextSource | CsvSource)
    assert source.only == {"status": ("checked", "final")}
    assert "40 of 60 records gave a rationale" in text
    stated = source.label_field if isinstance(source, TextSource) else source.label_column
    assert stated == "level"
    reasons.write_text(lines.replace("final", "draft").replace("checked", "draft"), encoding="utf-8")
    with pytest.raises(R2DError, match="'status' says of every record that it is no finished one"):
        drafted(notes, rationales=[reasons])


def test_the_files_of_one_source_are_named_by_a_glob(tmp_path: Path) -> None:
    notes = tmp_path / "calls.csv"
    notes.write_text(as_csv([{key: value for key, value in row.items() if key != "why"} for row in rows()]))
    for part in (10, 2):  # in natural order
        table = rows()[:20] if part == 2 else rows()[20:]
        (tmp_path / f"llm_{part}.json").write_text(json.dumps([answer(row) for row in table]))
    text, run = drafted(notes, rationales=[tmp_path / "llm_*.json"])
    source = run.rationales.sources["llm"]
    assert isinstance(source, TextSource)
    assert source.join == "order"
    assert "60 of 60 records gave a rationale" in text
    made = ["new", str(tmp_path / "own"), "--data", str(notes), "--rationales", str(tmp_path / "llm_*.json")]
    assert CliRunner().invoke(app, made).exit_code == 0
    copied = {path.name for path in (tmp_path / "own" / "data").iterdir()}
    assert copied == {"calls.csv", "llm_2.json", "llm_10.json"}
    assert "data/llm_*.json" in (tmp_path / "own" / "run.yaml").read_text(encoding="utf-8")
    refused = CliRunner().invoke(app, ["new", str(tmp_path / "other"), *made[2:-1], str(tmp_path / "c*.json")])
    assert "matches no file" in str(refused.exception)


def test_a_column_that_is_not_there_is_answered_with_all_names_the_nearest_first(tmp_path: Path) -> None:
    notes = tmp_path / "calls.csv"
    notes.write_text(as_csv([row | {f"extra_{n}": n for n in range(9)} for row in rows()]))
    made = ["new", str(tmp_path / "own"), "--data", str(notes), "--text", "the_note"]
    said = str(CliRunner().invoke(app, made).exception)
    assert "found: 'note'; " in said
    assert all(f"'{name}'" in said for name in (*rows()[0], "extra_8"))


def test_a_project_names_its_model_and_shows_how_its_notes_are_decided(tmp_path: Path) -> None:
    notes, project = tmp_path / "calls.csv", tmp_path / "wärd 7"
    notes.write_text(as_csv(rows()))
    made = CliRunner().invoke(app, ["new", str(project), "--data", str(notes)])
    assert made.exit_code == 0
    assert f"cd '{project}'" in made.output
    assert load_config(project / "run.yaml").registration.model_name == "ward-7"
    options = "--out decided.csv --set data.columns.id=call_id --set data.columns.text=note"
    assert f"r2d predict-file FILE --model ward-7@champion {options}" in (project / "README.md").read_text()


def test_raw_answers_in_a_table_are_parsed(tmp_path: Path) -> None:
    notes, answers = tmp_path / "calls.csv", tmp_path / "answers.csv"
    notes.write_text(as_csv([{key: value for key, value in row.items() if key != "why"} for row in rows()]))
    answers.write_text(as_csv([{"call": row["call_id"], "gpt": answer(row)} for row in rows()]))
    _, run = drafted(notes, rationales=[answers])
    source = run.rationales.sources["answers"]
    assert source.format == "csv"
    assert source.parse is not None


@given(st.lists(st.text(max_size=30), min_size=2, max_size=5, unique=True), st.integers(0, 30))
def test_any_table_is_drafted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], num_rows: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "calls.csv"
    path.write_text(as_csv([{name: f"{name} {n}" for name in names} for n in range(num_rows + 1)]), encoding="utf-8")
    try:
        _, run = drafted(path)
    except R2DError:
        return
    load_examples(run.data)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/cases and ../shared/data beside the project")
@pytest.mark.parametrize("path", sorted(SHARED.glob("cases/*/notes*")), ids=lambda path: path.parent.name)
def test_every_public_case_is_drafted_or_refused_for_its_fault(path: Path, tmp_path: Path) -> None:
    faulty = {
        "duplicate-json-keys": "stands twice",
        "headerless-prints-patients": "looks like data",
        "r-row-names": "row.names = FALSE",
    }
    why = faulty.get(path.parent.name)
    if why is not None:
        with pytest.raises(R2DError, match=why):
            draft_config(path, declared={})
        return
    config = tmp_path / "drafted.yaml"
    config.write_text(draft_config(path, declared={}), encoding="utf-8")
    assert len(load_examples(load_config(config).data)) == 48


def test_a_column_without_a_text_and_keys_that_may_be_names_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text(as_csv([row | {"note": ""} for row in rows()]), encoding="utf-8")
    with pytest.raises(R2DError, match="the column of the text, 'note', is empty in every row"):
        drafted(empty, declared={"text": "note"})
    keyed = tmp_path / "keyed.json"
    keyed.write_text(json.dumps({row["patient"]: row for row in rows()}), encoding="utf-8")
    with pytest.raises(R2DError, match="an object of 30 objects, whose keys seem to be ids") as refused:
        drafted(keyed)
    assert "Canary" not in str(refused.value)
    by_id = {f"Canary-{row['call_id']}": row["triage"] for row in rows()}
    for content in (json.dumps(by_id), "".join(json.dumps({key: value}) + "\n" for key, value in by_id.items())):
        keyed.write_text(content, encoding="utf-8")
        with pytest.raises(R2DError, match="keys have a value in one row at most, as ids have") as refused:
            drafted(keyed)
        assert "Canary" not in str(refused.value)


def test_a_model_may_write_as_much_as_the_longest_rationale_has(tmp_path: Path) -> None:
    path, source, table = tmp_path / "calls.csv", tmp_path / "reasons.jsonl", rows()
    path.write_text(as_csv(table))
    assert drafted(path)[1].model.max_rationale_tokens == 48, "that of the demo"
    table[3]["why"] = ""
    later = "".join(f", on day {day} it was there still" for day in range(14))
    table[7]["why"] += later
    path.write_text(as_csv(table))
    num_words = len(table[7]["why"].split())
    assert num_words * 1.5 <= drafted(path)[1].model.max_rationale_tokens < num_words * 1.5 + 16
    long = [{**row, "why": f"A cough of {number} days{later}"} for number, row in enumerate(rows())]
    source.write_text("\n".join(json.dumps(RATIONALES["text"](row)) for row in long))
    num_words = len(long[0]["why"].split())
    limit = drafted(path, rationales=[source])[1].model.max_rationale_tokens
    assert num_words * 1.5 <= limit < num_words * 1.5 + 32, "the answer has words around it"


@pytest.mark.parametrize("name", ["Begründung", "commentaire du médecin", "justificativa", "motivazione", "Reden"])
def test_a_rationale_is_found_by_its_name_in_other_languages(tmp_path: Path, name: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([{name if key == "why" else key: row[key] for key in row} for row in rows()]), "utf-8")
    _, run = drafted(path)
    assert (run.data.columns.text, run.data.columns.rationales) == ("note", {name: name})


def test_a_rationale_whose_name_does_not_tell_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([{"xyz" if key == "why" else key: row[key] for key in row} for row in rows()]), "utf-8")
    _, run = drafted(path, declared={"rationale": "xyz"})
    assert (run.data.columns.text, run.data.columns.rationales) == ("note", {"xyz": "xyz"})


def test_a_header_is_no_title_where_the_notes_hold_many_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(as_csv([row | {"note": row["note"] + ", asked: a, b, c, d, e, f, g, h, i, j"} for row in rows()]))
    _, run = drafted(path)
    assert (run.data.skip_lines, run.data.columns.text) == (0, "note")
