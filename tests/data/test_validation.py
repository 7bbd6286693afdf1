"""The data contract: what stops a run, what is set aside, what only warns, and that notes are never quoted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.validation import PrivacyConfig, ValidationConfig
from r2d.data.examples import EXAMPLES_SCHEMA, Example, content_hash, iterate_examples, to_table
from r2d.data.validation import QUARANTINE_SCHEMA, Validation, validate
from r2d.errors import DataError
from tests.conftest import TOY_LABELS, toy_examples

SMALL = ModelConfig(name="scratch", scratch=ScratchConfig(vocab_size=120))
WORDS = [
    "walked", "called", "slept", "stairs", "kitchen", "window", "morning", "garden", "shoulder", "dizzy", "nausea",
    "breath", "river", "carpet", "ladder", "music",
]  # fmt: skip


def rows_of(num_rows: int = 24) -> list[Example]:
    """Examples that meet every expectation; no two share a word triple."""
    rows = list(iterate_examples(toy_examples(num_rows)))
    return [
        replace(
            row,
            text=f"The patient {WORDS[n % 16]} {WORDS[n // 16]} case{n} and {WORDS[(n * 7 + 3) % 16]} number{n} today",
            rationales={"llm": f"Because of the finding with number {n}."},
            row=n,
            place=f"notes.csv: row {n + 1}",
        )
        for n, row in enumerate(rows)
    ]


def check(rows: list[Example], *, labels: LabelsConfig = TOY_LABELS, **values: Any) -> Validation:
    return validate(to_table(rows), ValidationConfig(**values), labels=labels, model=SMALL)


def outcomes(validation: Validation) -> dict[str, tuple[str, int]]:
    """Every expectation that is not met: its outcome and how often."""
    return {one.name: (one.outcome, one.num_unexpected) for one in validation.checks if not one.passed}


def test_sound_examples_meet_every_expectation_and_go_on_unchanged() -> None:
    rows = rows_of()
    validation = check(rows)
    assert outcomes(validation) == {}
    assert content_hash(validation.examples) == content_hash(to_table(rows))
    assert (validation.num_rows, len(validation.quarantined), validation.num_redacted) == (24, 0, 0)
    assert {one.name for one in validation.checks} >= set(ValidationConfig.checks()) - {"label_drift", "length_drift"}
    validation.raise_for_errors()


FAULTS = [
    ({"id": " "}, {}),
    ({"id": "toy-002"}, {}),
    ({"split": "holdout"}, {}),
    ({"text": " . "}, {}),
    ({"label": "see a doctor"}, {}),
    ({"text": "Headache"}, {"min_text_characters": 20}),
    ({"text": "The patient \x07 has a very sore throat today"}, {}),
    ({"text": "The patient didnâ€™t sleep at all the whole night"}, {}),
]
NAMES = [
    "id_present", "id_unique", "split_known", "text_present", "label_declared", "text_length", "control_characters",
    "mojibake",
]  # fmt: skip


@pytest.mark.parametrize(("change", "name"), [(c[0], n) for c, n in zip(FAULTS, NAMES, strict=True)])
@pytest.mark.parametrize("severity", ["error", "quarantine", "warn", "off"])
def test_the_severity_of_an_expectation_decides_what_becomes_of_the_row(
    change: dict[str, str], name: str, severity: str
) -> None:
    rows = rows_of()
    rows[1] = replace(rows[1], **{key: value.strip() if key == "id" else value for key, value in change.items()})
    limits = next(extra for (fault, extra) in FAULTS if fault == change)
    validation = check(rows, severities={name: severity, "id_unique": "off"} | {name: severity}, **limits)
    found = outcomes(validation).get(name)
    twice = 2 if name == "id_unique" else 1
    if severity == "off":
        assert found is None
        return
    assert found == (severity, twice)
    reasons = dict(
        zip(validation.quarantined["row"].to_pylist(), validation.quarantined["reasons"].to_pylist(), strict=True)
    )
    assert (1 in reasons and name in reasons[1]) == (severity == "quarantine")
    if severity == "error":
        with pytest.raises(DataError, match=rf"{name} \(.*notes\.csv: row 2"):
            validation.raise_for_errors()


def test_messages_and_results_name_places_and_ids_and_quote_no_note() -> None:
    rows = rows_of()
    rows[3] = replace(rows[3], text="Sentinelword " * 3 + "\x00", label="x" * 60 + " sentinelword", split="nowhere")
    rows[4] = replace(rows[4], text=rows[3].text, rationales={"llm": rows[3].text})
    validation = check(rows, privacy={"policy": "warn"})
    with pytest.raises(DataError) as caught:
        validation.raise_for_errors()
    assert "notes.csv: row 4, id 'toy-003'" in str(caught.value)
    for text in (str(caught.value), json.dumps(validation.result()), repr(validation.checks)):
        assert "entinelword" not in text


@settings(max_examples=40, deadline=None)
@given(
    faults=st.lists(st.tuples(st.integers(0, 23), st.sampled_from(range(len(FAULTS)))), max_size=12),
    severities=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["quarantine", "warn", "error"])),
)
def test_no_row_is_ever_lost_and_what_goes_on_meets_what_quarantines(
    faults: list[tuple[int, int]], severities: dict[str, str]
) -> None:
    rows = rows_of()
    for row, kind in faults:
        rows[row] = replace(rows[row], **FAULTS[kind][0])
    values: dict[str, Any] = {"severities": severities | {"language": "off", "token_limit": "off"}}
    validation = check(rows, privacy={"policy": "off"}, **values)
    kept, aside = validation.examples["row"].to_pylist(), validation.quarantined["row"].to_pylist()
    assert sorted(kept + aside) == list(range(24))
    assert kept == sorted(kept)
    assert validation.quarantined.schema.equals(QUARANTINE_SCHEMA)
    assert all(validation.quarantined["reasons"].to_pylist())
    again = validate(
        validation.examples, ValidationConfig(**values, privacy={"policy": "off"}), labels=TOY_LABELS, model=SMALL
    )
    assert len(again.quarantined) == 0


def test_of_two_copies_in_two_splits_the_one_nearer_to_training_is_taken_out() -> None:
    rows = rows_of()
    where = {
        split: [n for n, row in enumerate(rows) if row.split == split] for split in ("train", "validation", "test")
    }
    train, validation_row, test = where["train"][0], where["validation"][0], where["test"][0]
    rows[train] = replace(rows[train], text="  " + rows[test].text.upper(), label=rows[test].label)
    rows[validation_row] = replace(rows[validation_row], text=rows[test].text, label=rows[test].label)
    stopped = check(rows)
    assert outcomes(stopped) == {"text_across_splits": ("error", 2)}
    aside = check(rows, severities={"text_across_splits": "quarantine"})
    assert sorted(aside.quarantined["row"].to_pylist()) == sorted([train, validation_row])
    assert test in aside.examples["row"].to_pylist()


def test_near_copies_are_found_inside_and_across_splits() -> None:
    rows = rows_of(60)
    words = " ".join(f"word{n}" for n in range(60))
    where = {split: [n for n, row in enumerate(rows) if row.split == split] for split in ("train", "test")}
    first, second, test = *where["train"][:2], where["test"][0]
    for n, text in ((first, words), (second, words + " once more"), (test, words + " really")):
        rows[n] = replace(rows[n], text=text, label=rows[first].label)
    found = outcomes(check(rows, severities={"language": "off"}))
    assert found == {"near_duplicate": ("warn", 1), "near_duplicate_across_splits": ("warn", 2)}


def test_equal_texts_with_different_labels_conflict() -> None:
    rows = rows_of()
    train = [n for n, row in enumerate(rows) if row.split == "train"]
    other = next(n for n in train if rows[n].label != rows[train[0]].label)
    rows[other] = replace(rows[other], text=rows[train[0]].text)
    assert outcomes(check(rows)) == {"exact_duplicate": ("warn", 1), "label_conflict": ("warn", 2)}


def test_a_group_in_two_splits_stops_the_run() -> None:
    rows = rows_of()
    train, test = (next(n for n, row in enumerate(rows) if row.split == split) for split in ("train", "test"))
    rows[train], rows[test] = replace(rows[train], group="p1"), replace(rows[test], group="p1")
    assert outcomes(check(rows)) == {"group_across_splits": ("error", 2)}


PHONE = "please call (212) 555-0187 back"


@pytest.mark.parametrize("policy", ["redact", "quarantine", "warn", "off"])
def test_the_privacy_policy_decides_what_becomes_of_a_telephone_number(policy: str) -> None:
    rows = rows_of()
    text = f"{rows[2].text}; {PHONE}"
    rows[2] = replace(rows[2], text=text, rationales={"llm": f"Nobody picks up, {PHONE}."})
    validation = check(rows, privacy={"policy": policy})
    everything = json.dumps([validation.examples.to_pylist(), validation.quarantined.to_pylist()])
    assert ("555-0187" in everything) == (policy != "redact")
    assert "555-0187" not in json.dumps([validation.result(), validation.findings.to_pylist()])
    fields = validation.findings["field"].to_pylist()
    assert fields == ([] if policy == "off" else ["text", "rationales.llm"])
    if policy == "redact":
        redacted = next(row for row in iterate_examples(validation.examples) if row.row == 2)
        assert redacted.text.endswith("please call [PHONE_1] back")
        assert "please call [PHONE_1] back" in redacted.rationales["llm"]
        assert (validation.num_redacted, outcomes(validation)) == (1, {})
        finding = validation.findings.to_pylist()[0]
        assert text[finding["start"] : finding["end"]] == "(212) 555-0187"
    if policy == "quarantine":
        assert validation.quarantined["reasons"].to_pylist() == [["privacy"]]
    if policy == "warn":
        assert outcomes(validation) == {"privacy": ("warn", 1)}


def test_figures_of_the_table_warn_with_the_figure_and_its_limit() -> None:
    rows = rows_of()
    for n in range(0, 24, 2):
        rows[n] = replace(rows[n], rationales={})
    limits = {"min_rationale_coverage": 0.9, "max_cut_share": 0.0}
    model = SMALL.model_copy(update={"max_input_tokens": 8})
    validation = validate(to_table(rows), ValidationConfig(**limits), labels=TOY_LABELS, model=model)
    found = {one.name: one.found for one in validation.checks if not one.passed}
    assert found["rationale_coverage"] == ("rows with a rationale of source 'llm': 0.5, should be at least 0.9",)
    assert found["token_limit"] == ("texts cut at 8 tokens: 1, should be at most 0",)


def test_a_label_that_is_absent_from_a_split_is_named() -> None:
    rows = [row if row.split != "test" else replace(row, label="self care") for row in rows_of()]
    found = {one.name: one.found for one in check(rows).checks if not one.passed}
    assert "labels absent from test (emergency now): 1, should be at most 0" in found["labels_in_every_split"]


def test_drift_is_measured_against_an_earlier_result(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(check(rows_of(60)).result()), encoding="utf-8")
    reference = {"reference": str(tmp_path / "result.json")}
    assert outcomes(check(rows_of(60), **reference)) == {}
    longer = [replace(row, text=f"{row.text} {row.text[::-1]}", label="self care") for row in rows_of(60)]
    found = outcomes(check(longer, **reference, severities={"language": "off"}))
    assert {"label_drift", "length_drift"} <= found.keys()


def test_a_reference_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"rows": 3}', encoding="utf-8")
    with pytest.raises(DataError, match=r"result\.json: is no result of a validation; validation\.reference takes"):
        check(rows_of(), reference=str(tmp_path / "result.json"))


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


def test_a_tokenizer_that_cannot_be_had_is_said_and_not_passed() -> None:
    model = ModelConfig(name="models/nowhere-to-be-found")
    validation = validate(to_table(rows_of()), ValidationConfig(), labels=TOY_LABELS, model=model)
    (one,) = [one for one in validation.checks if not one.passed]
    assert (one.name, one.outcome) == ("token_limit", "not measured")
    assert "models/nowhere-to-be-found" in one.not_measured


def test_other_columns_are_refused() -> None:
    with pytest.raises(DataError, match="examples have columns"):
        validate(pa.table({"id": ["a"]}), ValidationConfig(), labels=TOY_LABELS, model=SMALL)


def test_the_expectations_look_at_measures_and_never_at_the_notes() -> None:
    from r2d.data.validation.measures import measure

    frame = measure(to_table(rows_of()), TOY_LABELS, ValidationConfig())
    assert not frame.astype(str).apply(lambda column: column.str.contains("patient")).to_numpy().any()


def test_privacy_and_schema_have_defaults_that_protect() -> None:
    assert PrivacyConfig().policy == "redact"
    assert EXAMPLES_SCHEMA.names[:4] == ["id", "split", "text", "label"]
