"""Stress tests: the rule behind the calls keeps the shipped expectations, and every figure is counted by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.data import LabelsConfig, SyntheticTriageConfig
from r2d.config.evaluation import IntervalsConfig, StressConfig
from r2d.data.examples import Example, to_table
from r2d.errors import ConfigError, DataError
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.stress import StressResult
from r2d.evaluation.stress import StressTests, is_broken, load_stress, sentence_deletion, stress_metrics
from r2d.files import write_text
from r2d.modeling.predictor import Decision
from r2d.rationales.claims import ClaimChecker
from r2d.synthetic.calls import generate_calls
from r2d.synthetic.facts import DISPOSITIONS, Facts, decide
from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, FINDINGS, VOCABULARY

SHIPPED = Path(__file__).parents[2] / "configs" / "stress" / "triage.yaml"
CHECKER = ClaimChecker.of()
TRIAGE = LabelsConfig(names=DISPOSITIONS, ordered=True)
QUICK = IntervalsConfig(num_resamples=1_000)
HOURS = {"h": 1, "d": 24, "w": 168}
SURFACES = [(name, surface) for name, finding in FINDINGS.items() for surface in finding.surfaces]


# --- a reader that knows the rule ---
#
# It reads the facts from the text of a note alone and asks the rule for the label. As a model it shows in how many
# edited calls an expectation is right: where it breaks one, the edit is wrong and not the model.


PHRASES = [
    "denies",
    *(surface for _, surface in SURFACES),
    *(name for family in FAMILIES for name in family.names),
    *(text for condition in CONDITIONS.values() for text in (*condition.present, *condition.absent)),
    *(text for texts in VOCABULARY.courses.values() for text in texts),
]
KNOWN = sorted({word.lower() for phrase in PHRASES for word in re.findall(r"\w+", phrase) if len(word) >= 5})


@cache
def meant(word: str) -> str:
    """The word of the rule that a word with typing errors stands for; else the word itself."""
    close = get_close_matches(word.lower(), KNOWN, n=1, cutoff=0.72) if len(word) >= 5 and word.isalpha() else []
    return close[0] if close and close[0][0] == word[0].lower() else word


def has(phrase: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def facts_read(note: str) -> Facts | None:
    """What a perfect reader takes from a note of an invented call, edited or not; None where the complaint is gone."""
    note = re.sub(r"\w+", lambda word: meant(word[0]), note)
    family = next((n for n, other in enumerate(FAMILIES) if any(has(name, note) for name in other.names)), None)
    if family is None:
        return None
    rest = re.sub("|".join(FAMILIES[family].names), "", note, flags=re.IGNORECASE)
    states: dict[str, bool] = {}
    for clause in re.split(r"(?<=[.!?]) |\bbut\b|, (?=den)", rest):
        is_denied = has("denies", clause) or has("no", clause)
        for name, surface in SURFACES:
            if answer := re.search(rf"\b{surface} (?:now|today): (yes|no)", clause, re.IGNORECASE):
                states[name] = answer[1] == "yes"
            elif ":" not in clause and has(surface, clause):
                states[name] = not is_denied
    vitals = [(name, value) for name, value in re.findall(r"\b(temp|HR|SpO2) (\d+(?:\.\d)?)", note)]
    fahrenheit = " F" in note
    vitals = [
        (name, f"{(float(value) - 32) / 1.8:.1f}" if name == "temp" and fahrenheit and float(value) > 60 else value)
        for name, value in vitals
    ]
    conditions = tuple(
        name for name, condition in CONDITIONS.items()
        if any(has(text, note) for text in condition.present)
        and not any(has(text, note) for text in condition.absent)
    )  # fmt: skip
    courses = [name for name, texts in VOCABULARY.courses.items() if any(has(text, note) for text in texts)]
    durations = re.findall(r"\b(\d+) ?(h|d|w)(?:ours?|ays?|eeks?)?\b", note)
    hours = max((int(number) * HOURS[unit] for number, unit in durations), default=1)
    return Facts(
        age_months=480, sex="F", family=family, asserted=tuple(n for n, there in states.items() if there),
        denied=tuple(n for n, there in states.items() if not there), vitals=tuple(vitals), conditions=conditions,
        denied_conditions=(), duration_hours=hours, course=(courses or ["worse"])[0],  # type: ignore[arg-type]
    )  # fmt: skip


Model = Callable[[str], tuple[str, str]]
"""A note -> label and rationale."""


def decider(model: Model, labels: Sequence[str] = DISPOSITIONS) -> Any:
    """`Predictor.decide` of a model that is sure of its label."""

    def decide_all(texts: Sequence[str], options: Any = None, *, explain: bool = True) -> list[Decision]:
        decisions = []
        for text in texts:
            label, rationale = model(text)
            shares = {name: float(name == label) for name in labels}
            decisions.append(Decision(label, label in labels, shares, rationale if explain else ""))
        return decisions

    return decide_all


def measured(
    notes: Sequence[str],
    file: Path,
    model: Model,
    *,
    groups: Sequence[str] | None = None,
    max_rows: int | None = None,
    decide: Any = None,
) -> StressResult:
    test = to_table(
        Example(id=f"r{row}", text=note, label=DISPOSITIONS[0], rationale="", rationale_source="",
                group=groups[row] if groups else None, split="test", attributes={})
        for row, note in enumerate(notes)
    )  # fmt: skip
    tests = StressTests.of(StressConfig(file=str(file), max_rows=max_rows), test, CHECKER, TRIAGE)
    decide = decide or decider(model)
    predictions = Predictions.of_decisions(test, decide(notes), TRIAGE)

    def decode(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        return [decision.label for decision in decide(texts, options)]

    result = stress_metrics(tests, decide, decode, predictions, notes, CHECKER, QUICK, explains=True)
    assert result.num_decisions <= tests.num_decisions
    return result


def by_rule(note: str) -> tuple[str, str]:
    """The label by the rule, and every finding as a rationale: what is there, and what is not."""
    facts = facts_read(note)
    if facts is None:
        return DISPOSITIONS[-1], ""
    denied = f" No {' or '.join(facts.denied)}." if facts.denied else ""
    return decide(facts)[0], f"There is {' and '.join(facts.asserted)}.{denied}" if facts.asserted else denied.strip()


@pytest.fixture(scope="module")
def notes() -> list[str]:
    calls = generate_calls(SyntheticTriageConfig(num_calls=160, seed=190019))
    assert [by_rule(call.text)[0] for call in calls] == [call.disposition for call in calls]
    return [call.text for call in calls]


def test_the_rule_behind_the_calls_keeps_every_expectation_of_the_shipped_file(notes: list[str]) -> None:
    result = measured(notes, SHIPPED, by_rule)
    assert {edit.name: edit.num_broken for edit in result.edits if edit.num_broken} == {}
    assert min(edit.num_rows for edit in result.edits) >= 5
    for edit in result.edits:
        if edit.expects == "same label":
            assert edit.num_changed == 0
        if edit.num_about_finding:
            assert edit.num_named >= 0.95 * edit.num_about_finding, "a rationale of every finding names the edited one"


# --- by hand ---

EDITS = """
edits:
  ten said:
    {group: words, expects: same label, replace: [{find: '(?P<number>\\d+) h', by: '{number} min', times: 60}]}
  fever denied:
    group: findings
    expects: not less urgent
    denies: true
    findings: {fever: [fever, febrile]}
    replace: [{find: 'has {finding}', by: 'No {finding}'}]
  it is nothing: {group: words, expects: not less urgent, add: [It is nothing.]}
"""


@pytest.fixture
def few_edits(tmp_path: Path) -> Path:
    write_text(tmp_path / "edits.yaml", EDITS)
    return tmp_path / "edits.yaml"


def gullible(note: str) -> tuple[str, str]:
    """A model that believes whoever says that it is nothing, and otherwise hears fever alone."""
    if "nothing" in note:
        return "self care", "It is nothing."
    has_fever = "has fever" in note.lower()
    return ("same day", "There is fever.") if has_fever else ("within three days", "There is no fever.")


def test_the_counts_of_an_edit_are_those_by_hand(few_edits: Path) -> None:
    notes = ["Has fever for 6 h.", "Has fever. Husband: nothing.", "Has febrile child.", "Cough for 20 h.", "Cough."]
    words, fever, nothing = measured(notes, few_edits, gullible).edits
    assert (words.num_rows, words.num_broken, words.num_about_finding) == (2, 0, 0)
    # `Has febrile child` becomes `No febrile child`; only the first note loses a label (same day to within three days).
    assert (fever.num_rows, fever.num_broken, fever.num_changed) == (3, 1, 1)
    assert (fever.num_about_finding, fever.num_named) == (3, 2), "`It is nothing` does not name the fever"
    assert fever.intervals["named_if_changed_share"].value == 1.0
    # All but the note in which it stands already become less urgent.
    assert (nothing.num_rows, nothing.num_broken) == (5, 4)


def test_a_share_is_the_mean_over_notes_with_an_interval_as_wide_as_wilsons(few_edits: Path) -> None:
    random = np.random.default_rng(3)
    notes = [f"Has fever.{' Says nothing.' if random.random() < 0.3 else ''} {row}" for row in range(300)]
    edits = yaml.safe_load(EDITS)["edits"]
    del edits["ten said"]
    write_text(few_edits, yaml.safe_dump({"edits": edits}))
    result = measured(notes, few_edits, gullible)
    share = result.edits[1].intervals["broken_share"]
    num = sum("nothing" not in note for note in notes)
    assert share.value == pytest.approx(num / 300)
    wilson = binomtest(num, 300).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((wilson.low, wilson.high), abs=0.01)
    thrice = measured(notes * 3, few_edits, gullible, groups=[str(row) for row in range(300)] * 3)
    same = thrice.edits[1].intervals["broken_share"]
    assert (same.low, same.high) == pytest.approx((share.low, share.high), abs=0.01), "no more callers, no more certain"
    both = result.edits[0].num_broken + result.edits[1].num_broken
    assert result.broken_by_group["words"].value == share.value
    assert result.broken_by_group["findings"].value == pytest.approx((both - num) / 300)


@pytest.mark.parametrize(
    ("expects", "broken"),
    [
        ("same label", [0, 1, 1, 0, 1]),
        ("not less urgent", [0, 1, 0, 0, 1]),
        ("not more urgent", [0, 0, 1, 0, 0]),
        ("more urgent", [0, 1, 0, 1, 1]),
    ],
)
def test_what_breaks_an_expectation(expects: Any, broken: list[int]) -> None:
    # most urgent and stays; less urgent; more urgent; stays; no label any more
    before, after = np.array([0, 1, 2, 2, 0]), np.array([0, 2, 0, 2, 5])
    assert is_broken(expects, before, after).astype(int).tolist() == broken


def test_sentences_taken_out_move_the_probability_as_counted_by_hand(few_edits: Path) -> None:
    """A model that gives its label 0.5, 0.3 more for `fever` and 0.1 more for `cough`."""

    def decide_all(texts: Sequence[str], options: Any = None, *, explain: bool = True) -> list[Decision]:
        shares = [0.5 + 0.3 * ("fever" in text) + 0.1 * ("cough" in text) for text in texts]
        return [
            Decision("same day", True, {"same day": share, "self care": 1 - share}, "There is fever.")
            for share in shares
        ]

    predictions = Predictions(
        ids=["a", "b", "c"], gold_labels=["same day"] * 3, predicted_labels=["same day"] * 3,
        labels=("same day", "self care"), probabilities=np.full((3, 2), 0.5),
        label_probabilities=[{"same day": share} for share in (0.9, 0.8, 0.9)],
        rationales=["There is fever.", "There is fever.", "Nothing warns."],
    )  # fmt: skip
    notes = ["Has fever. Has cough.", "Has fever. Lives alone.", "Has fever. Has cough."]
    result, num_decisions = sentence_deletion([0, 1, 2], decide_all, predictions, notes, CHECKER, QUICK)
    assert (result.num_rows, result.num_left_out, num_decisions) == (2, 1, 6)
    values = {name: estimate.value for name, estimate in result.intervals.items()}
    assert values == pytest.approx(
        {
            "comprehensiveness": ((0.9 - 0.6) + (0.8 - 0.5)) / 2,
            "sufficiency": ((0.9 - 0.8) + (0.8 - 0.8)) / 2,
            "other_sentences": ((0.9 - 0.8) + (0.8 - 0.8)) / 2,
        }
    )


# --- faulty files ---


def test_every_fault_of_a_file_is_named_with_entry_what_was_found_and_the_fix(tmp_path: Path) -> None:
    faulty = tmp_path / "edits.yaml"
    write_text(
        faulty,
        "edits:\n"
        "  a: {group: g, expects: less urgent, typos: 2}\n"
        "  b: {group: g, expects: same label}\n"
        "  c: {group: g, expects: same label, typos: 0}\n"
        "  d: {group: g, expects: same label, replace: [{find: '(', by: x}]}\n"
        "  e: {group: g, expects: same label, replace: [{find: 'a*', by: x}]}\n"
        "  f: {group: g, expects: same label, replace: [{find: 'a', by: '{when}'}]}\n"
        "  g: {group: g, expects: same label, add: ['{finding}.']}\n"
        "  h: {group: g, expect: same label, typos: 1}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_stress(faulty, CHECKER, TRIAGE)
    message = str(caught.value)
    assert message.startswith(f"{faulty}: 9 faults")
    for fault in (
        "edits.a.expects: found 'less urgent'",
        "edits.b: found no edit; allowed: one of replace, add, typos, cut",
        "edits.c.typos: found 0",
        "edits.d.replace.0.find: found '('; allowed: a regular expression, and this is none",
        "edits.e.replace.0.find: found 'a*', which fits an empty text",
        "edits.f.replace.0: by names ['when']; allowed: groups of find, []",
        "edits.g: `findings` and {finding} in find or add go together",
        "edits.h.expects: missing; add it",
        "edits.h.expect: unknown key (did you mean 'expects'?)",
    ):
        assert fault in message, fault


def test_a_group_that_the_gate_asks_of_and_no_edit_has_is_named_by_check(tmp_path: Path) -> None:
    run = {
        "extends": str(SHIPPED.parents[1] / "demo.yaml"),
        "evaluation": {"stress": {"file": str(SHIPPED)}},
        "registration": {"gate": {"rules": [
            {"rule": "within_limit", "figure": "broken_share", "edits": "polarities", "at_most": 0.1}
        ]}},
    }  # fmt: skip
    write_text(tmp_path / "run.yaml", yaml.safe_dump({"parameters": {"config": run}}))
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "run.yaml")])
    assert checked.exit_code != 0
    assert (
        "no edit has the group 'polarities', which a rule of registration.gate names; allowed: findings, "
        in checked.output
    )


def test_findings_and_an_order_that_do_not_exist_are_named(tmp_path: Path) -> None:
    faulty = tmp_path / "edits.yaml"
    write_text(
        faulty,
        "edits:\n"
        "  a: {group: g, expects: more urgent, add: ['{finding}.'], findings: {throwing up: [throwing up]}}\n"
        "  b: {group: g, expects: same label, typos: 1, unless_reported: [grumpiness]}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_stress(faulty, CHECKER, LabelsConfig(names=("a", "b")))
    message = str(caught.value)
    assert message.startswith(f"{faulty}: 3 faults")
    assert "edits.a.expects: found 'more urgent'; allowed: 'same label'; data.labels.ordered is false" in message
    assert "edits.a.findings: found 'throwing up'; allowed: the first form of a finding" in message
    assert "edits.b.unless_reported: found 'grumpiness'" in message


def test_an_edit_that_applies_to_no_note_is_an_error_that_names_it(few_edits: Path) -> None:
    with pytest.raises(DataError, match=r"edits\.'ten said', edits\.'fever denied': found no note among 2 test rows"):
        measured(["Cough.", "Rash."], few_edits, gullible)
