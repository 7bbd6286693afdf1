"""The data contract: what stops a run, what is set aside, what only warns, and that notes are never quoted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.validation import ValidationConfig
from r2d.data.examples import Example, content_hash, iterate_examples, to_table
from r2d.data.validation.expectations import write_data_docs
from r2d.data.validation.measures import measure_rows
from r2d.data.validation.validate import QUARANTINE_SCHEMA, Validation, validate
from r2d.errors import DataError
from r2d.modeling.load import count_tokens
from tests.conftest import TOY_LABELS, toy_examples

SMALL = ModelConfig(name="scratch", scratch=ScratchConfig(vocab_size=120))
WORDS = [
    "walked", "called", "slept", "stairs", "kitchen", "window", "morning", "garden", "shoulder", "dizzy", "nausea",
    "breath", "river", "carpet", "ladder", "music",
]  # fmt: skip


def rows_of(num_rows: int = 24) -> list[Example]:
    """Examples that meet every expectation; no two share a word triple."""
    return [
        replace(
            row,
            text=f"The patient {WORDS[n % 16]} {WORDS[n // 16]} case{n} and {WORDS[(n * 7 + 3) % 16]} number{n} today",
            rationales={"llm": f"Because of the finding with number {n}."},
            row=n,
            place=f"notes.csv: row {n + 1}",
        )
        for n, row in enumerate(iterate_examples(toy_examples(num_rows)))
    ]


def rows_of_split(rows: list[Example], split: str) -> list[int]:
    return [n for n, row in enumerate(rows) if row.split == split]


def check(
    rows: list[Example], *, labels: LabelsConfig = TOY_LABELS, model: ModelConfig = SMALL, **values: Any
) -> Validation:
    counter = partial(count_tokens, model=model, labels=labels)
    return validate(to_table(rows), ValidationConfig(**values), labels=labels, count_tokens=counter)


def outcomes(validation: Validation) -> dict[str, tuple[str, int]]:
    """Every expectation that is not met: its outcome and how often."""
    return {check.name: (check.outcome, check.num_unexpected) for check in validation.checks if not check.passed}


def test_sound_examples_meet_every_expectation_and_go_on_unchanged() -> None:
    rows = rows_of()
    validation = check(rows)
    assert outcomes(validation) == {}
    assert content_hash(validation.examples) == content_hash(to_table(rows))
    assert (validation.num_rows, len(validation.quarantined), validation.num_redacted) == (24, 0, 0)
    names = {check.name for check in validation.checks}
    assert names >= set(ValidationConfig.checks()) - {"label_drift", "length_drift"}
    validation.raise_for_errors()


FAULTS: dict[str, dict[str, Any]] = {
    "id_present": {"id": ""},
    "id_unique": {"id": "toy-002"},
    "split_known": {"split": "holdout"},
    "text_present": {"text": " . "},
    "label_declared": {"label": "see a doctor"},
    "text_length": {"text": "Headache"},
    "rationale_length": {"rationales": {"llm": "Because of the finding.", "nurse": "pain"}},
    "control_characters": {"text": "The patient \x07 has a very sore throat today"},
    "mojibake": {"text": "The patient didnâ€™t sleep at all the whole night"},
    "rationale_equals_text": {"rationales": {"llm": " the  PATIENT called"}, "text": "The patient called "},
}
"""Expectation -> the change to a row that does not meet it."""


@pytest.mark.parametrize("shift", range(4))
def test_the_severity_of_an_expectation_decides_what_becomes_of_the_row(shift: int) -> None:
    """In four runs every expectation has every severity once, beside others of other severities."""
    rows, every = rows_of(), ("error", "quarantine", "warn", "off")
    severities = {name: every[(place + shift) % 4] for place, name in enumerate(FAULTS)}
    for row, change in enumerate(FAULTS.values(), 3):
        rows[row] = replace(rows[row], **change)
    validation = check(rows, severities=severities)
    quarantined = validation.quarantined
    reasons = dict(zip(quarantined["row"].to_pylist(), quarantined["reasons"].to_pylist(), strict=True))
    with pytest.raises(DataError) as caught:
        validation.raise_for_errors()
    for row, (name, severity) in enumerate(severities.items(), 3):
        num_unexpected = 2 if name in ("id_unique", "text_length") else 1
        assert outcomes(validation).get(name) == (None if severity == "off" else (severity, num_unexpected)), name
        assert (name in reasons.get(row, [])) == (severity == "quarantine")
        is_named = re.search(rf"{name} \(.*notes\.csv: row {row + 1}\b", str(caught.value))
        assert bool(is_named) == (severity == "error")


def test_messages_results_and_suites_name_places_and_ids_and_quote_no_note(tmp_path: Path) -> None:
    rows = rows_of()
    rows[3] = replace(rows[3], text="Sentinelword " * 3 + "\x00", label="x" * 60 + " sentinelword", split="nowhere")
    rows[4] = replace(rows[4], text=rows[3].text, rationales={"llm": rows[3].text}, split="a sentinelword or two more")
    validation = check(rows, privacy={"policy": "warn"})
    with pytest.raises(DataError) as caught:
        validation.raise_for_errors()
    assert "notes.csv: row 4" in str(caught.value)
    write_data_docs(validation.suites, tmp_path)
    pages = [path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("*.html"))]
    suites = [validation.expectation_suites(), validation.expectation_results()]
    for text in (str(caught.value), json.dumps(validation.result()), repr(validation), json.dumps(suites), *pages):
        assert "entinelword" not in text


@settings(max_examples=20)
@given(
    faults=st.lists(st.tuples(st.integers(0, 23), st.sampled_from(list(FAULTS.values()))), max_size=12),
    severities=st.dictionaries(st.sampled_from(list(FAULTS)), st.sampled_from(["quarantine", "warn", "error"])),
)
def test_no_row_is_ever_lost_and_what_goes_on_meets_what_quarantines(
    faults: list[tuple[int, dict[str, Any]]], severities: dict[str, str]
) -> None:
    rows = rows_of()
    for row, change in faults:
        rows[row] = replace(rows[row], **change)
    others = dict.fromkeys(set(ValidationConfig.checks()) - {*FAULTS}, "off")
    values: dict[str, Any] = {"severities": others | severities, "privacy": {"policy": "off"}}
    validation = check(rows, **values)
    kept, aside = validation.examples["row"].to_pylist(), validation.quarantined["row"].to_pylist()
    assert sorted(kept + aside) == list(range(24))
    assert kept == sorted(kept)
    assert validation.quarantined.schema.equals(QUARANTINE_SCHEMA)
    assert all(validation.quarantined["reasons"].to_pylist())
    assert len(check(list(iterate_examples(validation.examples)), **values).quarantined) == 0


def test_of_two_copies_in_two_splits_the_one_nearer_to_training_is_taken_out() -> None:
    rows = rows_of()
    train, validation_row, test = (rows_of_split(rows, split)[0] for split in ("train", "validation", "test"))
    rows[train] = replace(rows[train], text="  " + rows[test].text.upper(), label=rows[test].label)
    rows[validation_row] = replace(rows[validation_row], text=rows[test].text, label=rows[test].label)
    assert outcomes(check(rows)) == {"text_across_splits": ("error", 2)}
    aside = check(rows, severities={"text_across_splits": "quarantine"})
    assert sorted(aside.quarantined["row"].to_pylist()) == sorted([train, validation_row])
    of_both = [{check.name: check.fix for check in one.checks}["text_across_splits"] for one in (check(rows), aside)]
    assert ["to quarantine" in fix for fix in of_both] == [True, False], "what is declared already is no advice"
    assert test in aside.examples["row"].to_pylist()


def test_near_copies_are_found_inside_and_across_splits_and_empty_texts_are_no_copies() -> None:
    rows = rows_of(60)
    words = " ".join(f"word{n}" for n in range(60))
    first, second, *_ = rows_of_split(rows, "train")
    test = rows_of_split(rows, "test")[0]
    for n, text in ((first, words), (second, words + " once more"), (test, words + " really")):
        rows[n] = replace(rows[n], text=text, label=rows[first].label)
    validation = check(rows, severities={"language": "off"})
    assert outcomes(validation) == {"near_duplicate": ("warn", 1), "near_duplicate_across_splits": ("warn", 2)}
    rows = [replace(row, text="-") if n < 12 else row for n, row in enumerate(rows_of())]
    assert outcomes(check(rows, min_text_characters=1)) == {"text_present": ("error", 12)}


def test_equal_texts_with_different_labels_conflict() -> None:
    rows = rows_of()
    first, *others = rows_of_split(rows, "train")
    other = next(n for n in others if rows[n].label != rows[first].label)
    rows[other] = replace(rows[other], text=rows[first].text)
    assert outcomes(check(rows)) == {"exact_duplicate": ("warn", 1), "label_conflict": ("warn", 2)}


@pytest.mark.parametrize(("group", "expected"), [("p1", {"group_across_splits": ("error", 2)}), ("", {})])
def test_a_group_in_two_splits_stops_the_run_and_no_group_does_not(group: str, expected: dict[str, Any]) -> None:
    rows = rows_of()
    for split in ("train", "test"):
        row = rows_of_split(rows, split)[0]
        rows[row] = replace(rows[row], group=group)
    assert outcomes(check(rows)) == expected


@pytest.mark.parametrize("policy", ["redact", "quarantine", "warn", "off"])
def test_the_privacy_policy_decides_what_becomes_of_a_telephone_number(policy: str) -> None:
    rows = rows_of()
    text = f"{rows[2].text}; please call (212) 555-0187 back"
    rows[2] = replace(rows[2], text=text, rationales={"llm": "Nobody picks up, please call (212) 555-0187 back."})
    validation = check(rows, privacy={"policy": policy})
    everything = json.dumps([validation.examples.to_pylist(), validation.quarantined.to_pylist()])
    assert ("555-0187" in everything) == (policy != "redact")
    assert "555-0187" not in json.dumps([validation.result(), validation.findings.to_pylist()])
    assert validation.findings["field"].to_pylist() == ([] if policy == "off" else ["text", "rationales.llm"])
    expected = {"quarantine": {"privacy": ("quarantine", 1)}, "warn": {"privacy": ("warn", 1)}}
    assert PrivacyConfig().policy == "redact"
    assert outcomes(validation) == expected.get(policy, {})
    assert validation.quarantined["reasons"].to_pylist() == ([["privacy"]] if policy == "quarantine" else [])
    assert validation.num_redacted == (1 if policy == "redact" else 0)
    if policy == "redact":
        redacted = next(row for row in iterate_examples(validation.examples) if row.row == 2)
        assert redacted.text.endswith("please call [PHONE_1] back")
        assert "please call [PHONE_1] back" in redacted.rationales["llm"]
        finding = validation.findings.to_pylist()[0]
        assert text[finding["start"] : finding["end"]] == "(212) 555-0187"


def test_metrics_of_the_data_set_warn_with_the_value_and_its_limit() -> None:
    rows = [row if n % 2 else replace(row, rationales={}) for n, row in enumerate(rows_of())]
    rows = [row if row.split != "test" else replace(row, label="self care") for row in rows]
    model = SMALL.model_copy(update={"max_input_tokens": 8})
    validation = check(rows, model=model, min_rationale_coverage=0.9, max_cut_share=0.0, max_label_divergence=0.01)
    unmet = {check.name: check.found for check in validation.checks if not check.passed}
    assert unmet["rationale_coverage"] == ("rows with a rationale of source 'llm': 0.5, should be at least 0.9",)
    assert unmet["token_limit"] == ("texts cut at 8 tokens: 1, should be at most 0",)
    assert unmet["labels_in_every_split"] == ("labels absent from test (emergency now): 1, should be at most 0",)
    assert unmet["label_balance"][0].startswith("Jensen-Shannon divergence of the labels of test: 0.")
    french = [replace(row, text=f"Le patient se plaint de maux de tête, {n} fois") for n, row in enumerate(rows)]
    (language,) = (each for each in check(french).checks if each.name == "language")
    assert language.found == ("texts in 'en': 0, should be at least 0.9",)


def test_drift_is_measured_against_an_earlier_result(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(check(rows_of(60)).result()), encoding="utf-8")
    assert outcomes(check(rows_of(60), reference=str(path))) == {}
    longer = [replace(row, text=f"{row.text} {row.text[::-1]}", label="self care") for row in rows_of(60)]
    assert {"label_drift", "length_drift"} <= outcomes(check(longer, reference=str(path))).keys()
    path.write_text('{"rows": 3}', encoding="utf-8")
    with pytest.raises(DataError, match=r"result\.json: is no result of a validation; validation\.reference takes"):
        check(rows_of(), reference=str(path))


def test_labels_of_the_row_itself_are_held_against_its_options() -> None:
    labels = LabelsConfig(per_row=True)
    rows = [replace(row, options=("bridge", "bus depot", row.label)) for row in rows_of()]
    assert outcomes(check(rows, labels=labels)) == {}
    rows[5] = replace(rows[5], options=("bridge", "beach"))
    assert outcomes(check(rows, labels=labels)) == {"label_declared": ("error", 1)}


def test_a_split_that_the_quarantine_empties_stops_the_run() -> None:
    rows = [row if row.split != "validation" else replace(row, label="nothing") for row in rows_of()]
    validation = check(rows, severities={"label_declared": "quarantine"})
    with pytest.raises(DataError, match="no row in split validation: 5 of 24 rows were quarantined"):
        validation.raise_for_errors()


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_what_cannot_be_measured_is_said_and_not_passed(severity: str) -> None:
    severities = {"token_limit": severity, "language": severity}
    model = ModelConfig(name="models/nowhere-to-be-found")
    rows = [replace(row, text=f"{n} mg 12:0{n % 10}") for n, row in enumerate(rows_of())]
    validation = check(rows, model=model, severities=severities, min_text_characters=1)
    not_measured = {check.name: check.not_measured for check in validation.checks if check.not_measured}
    assert "models/nowhere-to-be-found" in not_measured.pop("token_limit")
    (line,) = (check.line() for check in validation.checks if check.name == "token_limit")
    assert "not measured: " in line
    assert "max_input_tokens" not in line, "no limit is at fault where no token was counted"
    assert not_measured == {"language": "texts are too short"}
    errors = {check.name for check in validation.errors}
    assert errors == ({"token_limit", "language"} if severity == "error" else set())
    without_model = validate(to_table(rows), ValidationConfig(), labels=TOY_LABELS)
    assert "no tokenizer was given" in {check.not_measured for check in without_model.checks}


def test_other_columns_are_refused() -> None:
    with pytest.raises(DataError, match="examples have columns"):
        validate(pa.table({"id": ["a"]}), ValidationConfig(), labels=TOY_LABELS)


def test_great_expectations_holds_measures_of_rows_and_of_the_data_set(tmp_path: Path) -> None:
    rows = rows_of()
    rows[1] = replace(rows[1], label="go home", text=rows[2].text, split=rows[2].split)
    validation = check(rows, severities={"exact_duplicate": "quarantine"})
    frame = measure_rows(to_table(rows), TOY_LABELS, ValidationConfig(), num_identifiers=pa.array([0] * 24).to_numpy())
    assert not frame.astype(str).apply(lambda column: column.str.contains("patient")).to_numpy().any()
    suites, results = validation.expectation_suites(), validation.expectation_results()
    again = check(rows, severities={"exact_duplicate": "quarantine"})
    assert (again.expectation_suites(), again.expectation_results()) == (suites, results)
    assert suites.keys() == results.keys() == {"rows", "metrics"}
    of_check = {}
    for name, suite in suites.items():
        configs = [result["expectation_config"] for result in results[name]["results"]]
        assert [config["type"] for config in configs] == [each["type"] for each in suite["expectations"]]
        of_check |= {result["expectation_config"]["meta"]["check"]: result for result in results[name]["results"]}
    assert of_check.keys() == {check.name for check in validation.checks}
    assert of_check["label_declared"]["expectation_config"]["kwargs"]["value_set"] == list(TOY_LABELS.names)
    assert of_check["label_declared"]["result"]["unexpected_count"] == 1
    assert of_check["language"]["expectation_config"]["type"] == "expect_column_mean_to_be_between"
    assert of_check["exact_duplicate"]["expectation_config"]["severity"] == "warning"
    write_data_docs(validation.suites, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"rows.html", "metrics.html"}
    for path in tmp_path.iterdir():
        html = path.read_text(encoding="utf-8")
        assert "http" not in html
        assert "../" not in html
    text = re.sub("<[^>]*>", "", (tmp_path / "rows.html").read_text(encoding="utf-8"))
    assert "values must belong to this set: emergency now self care" in " ".join(text.split())
