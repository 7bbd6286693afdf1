"""The ingestion: every record is taken or rejected with a reason, and every rationale can be traced to its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.data.examples import Example, content_hash, iterate_examples, to_table
from r2d.data.validation.validate import QUARANTINE_SCHEMA
from r2d.errors import DataError
from r2d.rationales.ingest import Ingestion, coverage, ingest, select_rationales
from r2d.rationales.provenance import trained_on

LABELS = ("emergency now", "same day", "self care")
DATA = DataConfig(format="csv", path="notes.csv", labels={"names": LABELS, "ordered": True})
NOTES = (
    ("a", "62 yo with chest pain for 2 hours, sweating.", "emergency now", "train"),
    ("b", "Sore throat since Tuesday, fever 39.", "same day", "train"),
    ("c", "Runny nose, otherwise well.", "self care", "train"),
    ("d", "Itchy rash on both arms for 3 weeks.", "same day", "validation"),
    ("e", "Mild headache after work.", "self care", "test"),
)


def examples_of(rationales: Mapping[str, Mapping[str, str]] | None = None) -> pa.Table:
    place, beside = "notes.csv: row {}", rationales or {}
    return to_table(
        Example(i, text, label, split=split, row=n, place=place.format(n + 1), rationales=beside.get(i, {}))
        for n, (i, text, label, split) in enumerate(NOTES)
    )


def run(
    tmp_path: Path,
    sources: dict[str, Any],
    *,
    examples: pa.Table | None = None,
    quarantined: pa.Table | None = None,
    policy: str = "redact",
) -> Ingestion:
    config = RationalesConfig(stage1_source=next(iter(sources), "llm"), sources=sources)
    ingestion = ingest(
        examples_of() if examples is None else examples,
        config,
        data=DATA,
        privacy=PrivacyConfig.model_validate({"policy": policy}),
        work_dir=tmp_path,
        quarantined=quarantined,
    )
    for name, candidates in ingestion.candidates.items():
        taken = ingestion.provenance["source"].to_pylist().count(name)
        assert taken + ingestion.rejected["source"].to_pylist().count(name) == len(candidates)
    return ingestion


def texts(path: Path, outputs: list[Any]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(output) + "\n" for output in outputs), encoding="utf-8")
    return {"format": "text", "paths": [str(path)]}


def taken(ingestion: Ingestion, source: str) -> dict[str, str]:
    return {row.id: row.rationales[source] for row in iterate_examples(ingestion.examples) if source in row.rationales}


def rejected(ingestion: Ingestion) -> dict[str, str]:
    return dict(
        zip(ingestion.rejected["example_id"].to_pylist(), ingestion.rejected["reason"].to_pylist(), strict=True)
    )


def answer(reason: str, label: str) -> str:
    return f"{reason} So the answer is {label}."


def test_answers_are_joined_by_id_parsed_and_traceable(tmp_path: Path) -> None:
    outputs = [
        {"id": "c", "text": answer("A runny nose alone needs no visit.", "self care")},
        {"id": "a", "text": "<think>hm</think>" + answer("Chest pain with sweating may be cardiac.", "Emergency Now")},
        {"id": "zz", "text": answer("It belongs to nobody here.", "same day")},
        {"id": "b", "text": answer("Fever with a sore throat.", "call the vet")},
    ]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs)})
    assert taken(ingestion, "llm") == {
        "a": "Chest pain with sweating may be cardiac.",
        "c": "A runny nose alone needs no visit.",
    }
    assert rejected(ingestion) == {"zz": "unknown_id", "b": "not_a_label"}
    rows = {row["example_id"]: row for row in ingestion.provenance.to_pylist()}
    assert (rows["a"]["file"], rows["a"]["row"], rows["a"]["label"]) == ("out.jsonl", 2, "emergency now")
    assert "reasoning removed" in rows["a"]["edits"]
    assert rows["a"]["rationale_sha256"] == hashlib.sha256(b"Chest pain with sweating may be cardiac.").hexdigest()
    assert "disagrees_with_gold" in rows["a"]["checks_passed"]


def test_outputs_in_order_belong_to_the_rows_as_delivered_quarantined_ones_too(tmp_path: Path) -> None:
    source = texts(
        tmp_path / "out.jsonl", [answer(f"A reason of some length, {i}.", label) for i, _, label, _ in NOTES]
    )
    rows = examples_of()
    aside = rows.slice(1, 1).append_column(QUARANTINE_SCHEMA.field("reasons"), pa.array([["text_length"]]))
    kept = pa.concat_tables([rows.slice(0, 1), rows.slice(2)])
    ingestion = run(tmp_path, {"llm": source | {"join": "order"}}, examples=kept, quarantined=aside)
    assert taken(ingestion, "llm") == {i: f"A reason of some length, {i}." for i in "acde"}
    assert rejected(ingestion) == {"b": "quarantined"}
    with_review = to_table([*iterate_examples(rows), replace(next(iterate_examples(rows)), id="new", row=-1)])
    assert len(taken(run(tmp_path, {"llm": source | {"join": "order"}}, examples=with_review), "llm")) == 5
    with pytest.raises(DataError, match="5 outputs are joined by order to 4 examples; the counts must be equal"):
        run(tmp_path, {"llm": source | {"join": "order"}}, examples=kept)


@pytest.mark.parametrize(
    ("check", "output", "settings"),
    [
        ("disagrees_with_gold", answer("The pain sounds muscular to me.", "self care"), {}),
        ("leaks_label", answer("The right level is emergency now for this.", "emergency now"), {}),
        ("too_short", answer("Ok now.", "emergency now"), {}),
        (
            "too_long",
            answer("Because of the pain, the sweating and the age, which each point to the heart.", "emergency now"),
            {"max_characters": 60},
        ),
        ("copies_text", answer("62 yo with chest pain for 2 hours, sweating.", "emergency now"), {}),
        ("contradicts_text", answer("Chest pain without sweating can wait.", "emergency now"), {}),
        ("ungrounded", answer("A pulse of 143 is a warning sign.", "emergency now"), {}),
    ],
)
@pytest.mark.parametrize("action", ["keep", "flag", "drop"])
def test_each_check_keeps_flags_or_drops_as_configured(
    tmp_path: Path, check: str, output: str, settings: dict[str, Any], action: str
) -> None:
    source = texts(tmp_path / "out.jsonl", [{"id": "a", "text": output}])
    source["quality"] = {"too_short": "keep"} | settings | {check: action}
    ingestion = run(tmp_path, {"llm": source})
    if action == "drop":
        assert rejected(ingestion) == {"a": check}
    else:
        (row,) = ingestion.provenance.to_pylist()
        assert any(flag.split(":")[0] == check for flag in row["flags"]) == (action == "flag")
        assert check not in row["checks_passed"]


@pytest.mark.parametrize(
    ("quality", "advice"),
    [
        ({}, "contradicts_text: set it to flag, look at some under "),
        ({"contradicts_text": "flag"}, "contradicts_text: look at some under "),
        ({"contradicts_text": "drop"}, ""),
    ],
)
def test_rationales_that_contradict_their_text_are_counted_and_the_next_step_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, quality: dict[str, str], advice: str
) -> None:
    outputs = [
        {"id": "a", "text": answer("Chest pain without sweating can wait.", "emergency now")},
        {"id": "b", "text": answer("Sore throat with a fever of 39 is seen today.", "same day")},
    ]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs) | {"quality": quality}})
    assert set(taken(ingestion, "llm")) == ({"a", "b"} if advice else {"b"})
    assert ingestion.counts()["llm"].num_contradicting == 1
    assert bool(advice) == (
        "llm: rationales that claim a finding which their text denies, or deny one that it reports: 1;" in caplog.text
    )
    assert advice in caplog.text
    assert "state another label" not in caplog.text
    assert "sweating" not in caplog.text


@pytest.mark.parametrize("shift", [0, 1])
def test_rationales_that_stand_beside_other_notes_are_warned_of(
    tmp_path: Path, shift: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Ids that are one row off join all records; the labels that they state tell."""
    labels = ("emergency now", "same day", "self care")
    note = "62 yo with pain in the knee for hours"
    examples = to_table([
        Example(id=f"n{i}", text=f"{note}, call {i}.", label=labels[i % 3], split="train") for i in range(12)
    ])  # fmt: skip
    outputs = [
        {"id": f"n{(i + shift) % 12}", "text": answer(f"Reason {i} in words.", labels[i % 3])} for i in range(12)
    ]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs)}, examples=examples)
    assert ("12 of 12 stated labels are not the gold label of their row" in caplog.text) == bool(shift)
    assert ("; 12 of 12 stated labels are not the gold one" in ingestion.counts()["llm"].summary()) == bool(shift)


def test_a_rationale_that_many_different_texts_share_is_repeated(tmp_path: Path) -> None:
    outputs = [{"id": i, "text": answer("The presentation points this way.", label)} for i, _, label, _ in NOTES]
    source = texts(tmp_path / "out.jsonl", outputs) | {"quality": {"repeated": "drop", "max_repeats": 4}}
    assert set(rejected(run(tmp_path, {"llm": source})).values()) == {"repeated"}


def test_a_masked_label_stands_nowhere_in_the_rationale(tmp_path: Path) -> None:
    output = answer("Emergency  NOW is right: chest pain, sweating.", "emergency now")
    source = texts(tmp_path / "out.jsonl", [{"id": "a", "text": output}]) | {"quality": {"leaks_label": "mask"}}
    ingestion = run(tmp_path, {"llm": source})
    assert taken(ingestion, "llm") == {"a": "[LABEL] is right: chest pain, sweating."}
    assert "label masked" in ingestion.provenance["edits"].to_pylist()[0]
    assert ingestion.result()["sources"]["llm"]["num_leaking"] == 1


def test_an_edited_form_wins_in_its_source_and_points_across_sources(tmp_path: Path) -> None:
    nurses = "rid,example_id,rationale,edits,author\n"
    nurses += "n1,a,CP and diaphoresis - 911,,nurse 7\nn2,a,Chest pain with sweating: call 911.,n1,nurse 7\n"
    nurses += "n3,b,Throat plus fever today,,nurse 7\n"
    (tmp_path / "nurses.csv").write_text(nurses, encoding="utf-8")
    edited = "rid,example_id,rationale,edits\np1,b,A sore throat with fever is seen today.,n3\n"
    edited += "p2,c,Nothing to edit here.,n9\n"
    (tmp_path / "edited.csv").write_text(edited, encoding="utf-8")
    columns = {"format": "csv", "id_column": "rid", "edits_column": "edits"}
    ingestion = run(
        tmp_path,
        {
            "nurse": columns | {"paths": [str(tmp_path / "nurses.csv")], "author_column": "author"},
            "nurse_post_processed": columns | {"paths": [str(tmp_path / "edited.csv")]},
        },
    )
    assert taken(ingestion, "nurse") == {"a": "Chest pain with sweating: call 911.", "b": "Throat plus fever today"}
    assert ingestion.rejected.select(["record_id", "reason"]).to_pylist() == [
        {"record_id": "n1", "reason": "superseded"}
    ]
    rows = {row["record_id"]: row for row in ingestion.provenance.to_pylist()}
    assert (rows["n2"]["edited_from"], rows["p1"]["edited_from"]) == ("nurse: n1", "nurse: n3")
    assert rows["n2"]["author"] == "nurse 7"
    assert rows["p2"]["flags"] == ["edited form of a record that is not there"]


@pytest.mark.parametrize(
    ("rule", "expected"), [("first", "One reason."), ("last", "Third reason."), ("longest", "A second, longer reason.")]
)
def test_of_several_rationales_of_an_example_one_is_taken_by_rule(tmp_path: Path, rule: str, expected: str) -> None:
    reasons = ("One reason.", "A second, longer reason.", "Third reason.")
    outputs = [{"id": "a", "text": answer(reason, "emergency now")} for reason in reasons]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs) | {"several": rule}})
    assert taken(ingestion, "llm") == {"a": expected}
    assert ingestion.rejected["reason"].to_pylist() == ["not_chosen", "not_chosen"]


def test_the_same_record_twice_counts_once(tmp_path: Path) -> None:
    output = {"id": "a", "text": answer("Chest pain with sweating.", "emergency now")}
    assert rejected(run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", [output, output])})) == {"a": "repeated_record"}


@pytest.mark.parametrize("policy", ["redact", "quarantine", "warn"])
def test_a_rationale_that_names_somebody_falls_under_the_policy_of_the_data(tmp_path: Path, policy: str) -> None:
    output = answer("Call back on (212) 555-0187 about the chest pain.", "emergency now")
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", [{"id": "a", "text": output}])}, policy=policy)
    if policy == "redact":
        assert taken(ingestion, "llm") == {"a": "Call back on [PHONE_1] about the chest pain."}
    elif policy == "quarantine":
        assert rejected(ingestion) == {"a": "privacy"}
    else:
        assert "privacy" in ingestion.provenance["flags"].to_pylist()[0]


def test_columns_need_no_declaration_and_are_taken_as_they_are(tmp_path: Path) -> None:
    beside = {"a": {"nurse": " CP "}, "b": {"nurse": "fever"}}
    ingestion = run(tmp_path, {}, examples=examples_of(beside))
    assert taken(ingestion, "nurse") == {"a": "CP", "b": "fever"}
    assert ingestion.result()["sources"]["nurse"]["flagged"] == {"too_short": 2, "copies_text": 1}
    declared = {"nurse": {"format": "column", "quality": {"too_short": "drop"}}}
    assert taken(run(tmp_path, declared, examples=examples_of(beside)), "nurse") == {}


def test_provenance_says_what_each_stage_was_trained_on_and_holds_no_text(tmp_path: Path) -> None:
    outputs = [{"id": i, "text": answer(f"Sentinel reason for {i}.", label)} for i, _, label, _ in NOTES if i != "b"]
    beside = {i: {"nurse": f"sentinel {i} short words"} for i in "abc"}
    config = RationalesConfig(
        stage1_source="llm", stage2_source=("nurse", "llm"), sources={"llm": texts(tmp_path / "out.jsonl", outputs)}
    )
    ingestion = ingest(examples_of(beside), config, data=DATA, privacy=PrivacyConfig(policy="warn"), work_dir=tmp_path)
    chosen = ingestion.select(config)
    assert chosen.stage1["rationale_source"].to_pylist() == ["llm", "", "llm", "llm", "llm"]
    assert chosen.stage2["rationale_source"].to_pylist() == ["nurse", "nurse", "nurse", "llm", "llm"]
    assert "entinel" not in json.dumps(chosen.provenance.to_pylist())
    counts = {(row["stage"], row["source"]): row["num_rationales"] for row in trained_on(chosen.provenance)}
    assert counts == {("stage1", "llm"): 2, ("stage2", "nurse"): 3}


def test_where_every_record_is_rejected_the_reasons_are_named(tmp_path: Path) -> None:
    source = texts(tmp_path / "out.jsonl", [{"id": "a", "text": "A cough."}, {"id": "zz", "text": "None."}])
    config = RationalesConfig(stage1_source="llm", sources={"llm": source})
    ingestion = ingest(examples_of(), config, data=DATA, privacy=PrivacyConfig(policy="off"), work_dir=tmp_path)
    with pytest.raises(
        DataError, match=r"none of the 2 records of source 'llm' became .*\(no_answer 1, unknown_id 1\)"
    ):
        ingestion.select(config)


def test_the_result_adds_up_and_holds_no_text(tmp_path: Path) -> None:
    outputs = [{"id": i, "text": answer(f"Sentinel reason for {i}.", "same day")} for i, *_ in NOTES] + ["{broken"]
    path = tmp_path / "out.jsonl"
    path.write_text("".join((o if isinstance(o, str) else json.dumps(o)) + "\n" for o in outputs), encoding="utf-8")
    ingestion = run(tmp_path, {"llm": {"format": "text", "paths": [str(path)]}})
    counts = ingestion.result()["sources"]["llm"]
    assert counts["num_records"] == 6 == counts["num_taken"] + counts["num_rejected"]
    assert (counts["num_stated_labels"], counts["num_disagreeing"]) == (5, 3)
    assert counts["rejected"] == {"malformed_record": 1}
    assert "entinel" not in json.dumps(ingestion.result())


# --- which source each stage trains on ---

ROWS = to_table(
    [
        Example("a", "text a", "x", split="train", rationales={"llm": " because a ", "nurse": "a!"}),
        Example("b", "text b", "x", split="train", rationales={"nurse": "b!"}),
        Example("c", "text c", "x", split="test", rationales={"llm": "because c"}),
    ]
)


def test_each_row_gets_the_rationale_of_the_first_source_that_it_has_or_none_and_nothing_else_changes() -> None:
    chosen = select_rationales(ROWS, "llm")
    assert chosen["rationale"].to_pylist() == ["because a", "", "because c"]
    assert chosen["rationale_source"].to_pylist() == ["llm", "", "llm"]
    others = [name for name in ROWS.column_names if not name.startswith("rationale")]
    assert content_hash(chosen.select(others)) == content_hash(ROWS.select(others))
    for order, sources in (("llm", "nurse"), ["llm", "nurse", "llm"]), (("nurse", "llm"), ["nurse", "nurse", "llm"]):
        assert select_rationales(ROWS, order)["rationale_source"].to_pylist() == sources


def test_coverage_counts_rows_with_a_rationale_by_split() -> None:
    assert coverage(select_rationales(ROWS, "llm")) == {
        "test": {"num_rows": 1, "num_with_rationale": 1, "sources": {"llm": 1}},
        "train": {"num_rows": 2, "num_with_rationale": 1, "sources": {"llm": 1}},
    }


def test_a_mixture_draws_by_weight_and_by_the_id_alone() -> None:
    rows = to_table(
        [Example(f"e{n}", "t", "x", rationales={"llm": "l", "nurse": "n"}, split="train") for n in range(4000)]
    )
    chosen = select_rationales(rows, {"llm": 3.0, "nurse": 1.0}, seed=7)["rationale_source"].to_pylist()
    # Three standard deviations of 4,000 draws are 2 points.
    assert abs(chosen.count("llm") / 4000 - 0.75) < 0.02
    backwards = rows.take(list(range(4000))[::-1])
    assert (
        select_rationales(backwards, {"llm": 3.0, "nurse": 1.0}, seed=7)["rationale_source"].to_pylist() == chosen[::-1]
    )
    assert select_rationales(rows, {"llm": 3.0, "nurse": 1.0}, seed=8)["rationale_source"].to_pylist() != chosen
    # A row that has but one of them gets that one; a weight of nothing is never drawn.
    assert select_rationales(ROWS, {"llm": 1.0, "nurse": 1.0})["rationale_source"].to_pylist()[1:] == ["nurse", "llm"]
    assert select_rationales(ROWS, {"llm": 1.0, "nurse": 0.0})["rationale_source"].to_pylist() == ["llm", "", "llm"]


def test_a_source_that_no_row_has_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"source 'expert'; found sources \['llm', 'nurse'\]"):
        select_rationales(ROWS, "expert")


def test_raw_answers_in_a_table_and_in_a_column_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(f"id,reply\na,{answer('Sweating points to the heart.', 'emergency now')}\n", encoding="utf-8")
    table = {"format": "csv", "paths": [str(path)], "example_column": "id", "rationale_column": "reply", "parse": True}
    rows = examples_of({"b": {"said": answer("Fever for days.", "same day")}})
    ingestion = run(tmp_path, {"llm": table, "said": {"format": "column", "parse": True}}, examples=rows)
    assert taken(ingestion, "llm") == {"a": "Sweating points to the heart."}
    assert taken(ingestion, "said") == {"b": "Fever for days."}
    assert ingestion.provenance["label"].to_pylist() == ["emergency now", "same day"]


def test_refusals_loops_and_markup_do_not_pass_unseen(tmp_path: Path) -> None:
    outputs = [
        {"id": "a", "text": "I'm sorry, but I can't help with that. Answer: emergency now"},
        {"id": "b", "text": answer("The throat is sore today. " * 5, "same day")},
        {"id": "c", "text": answer("A runny <b>nose</b> needs&nbsp;rest.", "self care")},
    ]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs)})
    assert rejected(ingestion) == {"a": "refusal", "b": "loops"}
    (row,) = ingestion.provenance.to_pylist()
    assert "markup" in row["flags"]


@pytest.mark.parametrize(
    ("action", "is_said"), [("flag", True), ("drop", False), ("keep", False)], ids=["flag", "drop", "keep"]
)
def test_the_screen_says_what_is_rejected_and_how_many_state_another_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, action: str, is_said: bool
) -> None:
    caplog.set_level("INFO", logger="r2d")
    outputs = [
        {"id": "a", "text": answer("Chest pain can wait.", "self care")},
        {"id": "b", "text": '{"answer": "same day"}'},
        {"id": "c", "text": "I'm sorry, but I can't provide medical advice."},
    ]
    source = texts(tmp_path / "out.jsonl", outputs) | {"quality": {"disagrees_with_gold": action}}
    run(tmp_path, {"llm": source})
    assert f"llm: 3 records, {int(action != 'drop')} rationales taken; rejected: " in caplog.text
    assert "no_answer 1, refusal 1" in caplog.text
    assert "llm: 1 of the records without an answer begin like JSON" in caplog.text
    said = "state another label than the gold one, and are trained on: 1; rationales.sources.llm.quality"
    assert (said in caplog.text) == is_said


@pytest.mark.parametrize("text", ["-", "n/a", "None.", "see above", "s.o.", "dito", "?", "siehe oben"])
def test_a_placeholder_in_a_column_is_no_rationale_and_a_refusal_there_is_dropped(tmp_path: Path, text: str) -> None:
    rows = examples_of({"a": {"nurse": text}, "b": {"nurse": "I cannot answer this."}, "c": {"nurse": "STEMI"}})
    ingestion = run(tmp_path, {}, examples=rows)
    assert rejected(ingestion) == {"a": "empty", "b": "refusal"}
    assert taken(ingestion, "nurse") == {"c": "STEMI"}


def test_ids_that_do_not_join_are_shown_by_their_form_alone(tmp_path: Path) -> None:
    outputs = [{"id": f"Dupont-{number:05}", "text": answer("It is so.", "same day")} for number in range(3)]
    ingestion = run(tmp_path, {"llm": texts(tmp_path / "out.jsonl", outputs)})
    with pytest.raises(DataError, match=r"like 'a\{6\}-9\{5\}' \(3\), those of the data like 'a' \(5\)") as caught:
        ingestion.select(RationalesConfig(stage1_source="llm"))
    assert "Dupont" not in str(caught.value)
    assert "id_pattern" in str(caught.value)


def test_labels_beside_rationales_that_are_declared_nowhere_stop_or_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else each of these rationales would be flagged as one that disagrees with the gold label."""
    table = tmp_path / "why.csv"
    source = {"format": "csv", "paths": [str(table)], "label_column": "lab"}
    header = "example_id,rationale,lab\n"
    table.write_text(header + "a,Sweating warns of the heart.,1\nb,Fever for days needs a look.,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 of 2 labels of its records are no label of their row.*data.labels.codes"):
        run(tmp_path, {"nurse": source})
    table.write_text(
        header + "a,Sweating warns of the heart.,emergency now\nb,Fever for days needs a look.,2\n", encoding="utf-8"
    )
    assert set(taken(run(tmp_path, {"nurse": source}), "nurse")) == {"a", "b"}
    assert "1 of 2 labels of its records are no label of their row" in caplog.text
