"""The generator of invented calls: its promises as a data set, and as a task that keywords alone do not solve."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from r2d.config.data import SyntheticTriageConfig
from r2d.synthetic.calls import FAULTS, Call, generate_calls, write_llm_batch
from r2d.synthetic.facts import DISPOSITIONS, Facts, decide, facts_of
from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, FINDINGS, VITALS
from r2d.synthetic.wording import add_typos, write_note

SEED = 42
NUM_CALLS = 6000


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return generate_calls(SyntheticTriageConfig(num_calls=NUM_CALLS, seed=SEED))


@pytest.fixture(scope="module")
def facts(calls: list[Call]) -> list[Facts]:
    return [call.facts for call in calls]


def urgency(facts: Facts) -> int:
    return len(DISPOSITIONS) - DISPOSITIONS.index(decide(facts)[0])


def a_call(family: str, **changes: object) -> Facts:
    """Facts of an adult without anything remarkable, but for the changes."""
    number = next(number for number, other in enumerate(FAMILIES) if other.names[0] == family)
    plain = Facts(
        age_months=480, sex="F", family=number, asserted=(), denied=(), vitals=(), conditions=(),
        denied_conditions=(), duration_hours=24, course="gradual",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def mentioned(text: str) -> set[str]:
    """The findings of the pool that a text names, in any of their surfaces."""
    for family in FAMILIES:
        for name in family.names:
            text = re.sub(re.escape(name), "", text, flags=re.IGNORECASE)
    return {
        name
        for name, finding in FINDINGS.items()
        for surface in (*finding.surfaces, finding.short)
        if re.search(rf"(?<![\w-]){re.escape(surface)}(?!\w)", text, flags=re.IGNORECASE)
    }


def test_calls_depend_on_the_seed_and_not_on_their_number(calls: list[Call]) -> None:
    few, other_seed = (generate_calls(SyntheticTriageConfig(num_calls=200, seed=seed)) for seed in (SEED, SEED + 1))
    assert few == calls[:200]
    assert not {call.text for call in few} & {call.text for call in other_seed}


def test_a_caller_has_one_site_and_fresh_calls_come_in_the_year_after() -> None:
    calls = generate_calls(SyntheticTriageConfig(num_calls=2000, num_test_calls=1000, seed=SEED))
    sites: dict[str, set[str]] = {}
    for call in calls:
        sites.setdefault(call.group, set()).update([call.attributes["site"]] if "site" in call.attributes else [])
    assert all(len(of_caller) <= 1 for of_caller in sites.values())
    assert {call.time.year for call in calls if call.is_test} == {2025}
    assert {call.time.year for call in calls if not call.is_test} == {2024}
    assert 0.01 < sum("site" not in call.attributes for call in calls) / len(calls) < 0.03


def test_families_and_vitals_are_sound() -> None:
    for family in FAMILIES:
        assert not set(family.red_flags) & set(family.benign)
        assert set(family.red_flags + family.benign) <= set(FINDINGS)
        assert set(family.risks) <= set(CONDITIONS)
        assert set(family.vitals) <= set(VITALS)
        assert len(family.red_flags) == len(family.benign) == 3
    for vital in VITALS.values():
        assert all(vital.is_abnormal(value) for value in vital.abnormal)
        assert not any(vital.is_abnormal(value) for value in vital.normal)


def test_every_label_and_family_occurs_and_no_label_is_rare(calls: list[Call]) -> None:
    counts = Counter(call.label for call in calls)
    assert counts.keys() == set(DISPOSITIONS)
    assert len(DISPOSITIONS) >= 5
    assert min(counts.values()) >= 0.08 * len(calls)
    assert len({call.attributes["family"] for call in calls}) == len(FAMILIES)


def test_every_call_has_an_id_a_caller_attributes_and_rationales_of_their_proper_lengths(calls: list[Call]) -> None:
    assert len({call.id for call in calls}) == len(calls)
    assert calls[123].id == "call-000123"
    for call in calls:
        assert call.group
        assert set(call.attributes) - {"site"} == {"age_band", "sex", "family"}
        assert set(call.rationales) == {"llm", "nurse", "nurse_post_processed"}
        assert 9 <= len(call.rationales["llm"].split()) <= 40
        assert 4 <= len(call.rationales["nurse"].replace(" - ", " ").split()) <= 12
        assert call.rationales["nurse_post_processed"].endswith(".")
    silent = sum(call.disposition not in call.rationales["llm"] for call in calls)
    assert 0.35 <= silent / len(calls) <= 0.45, "the LLM often argues without naming the label"


def test_some_callers_call_two_or_three_times_and_stay_the_same_person(calls: list[Call]) -> None:
    sizes = Counter(Counter(call.group for call in calls).values())
    assert set(sizes) == {1, 2, 3}
    people = {(call.group, call.attributes["sex"], call.attributes["age_band"]) for call in calls}
    assert len(people) == sum(sizes.values())


def test_denying_a_deciding_red_flag_instead_of_asserting_it_is_less_urgent(facts: list[Facts]) -> None:
    num_checked = 0
    for fact in facts:
        kinds = Counter(reason.kind for reason in decide(fact)[1])
        flag = next((reason.name for reason in decide(fact)[1] if reason.kind == "red_flag"), None)
        if flag is None or kinds["red_flag"] > 1:
            continue
        asserted = tuple(name for name in fact.asserted if name != flag)
        denied = replace(fact, asserted=asserted, denied=(*fact.denied, flag))
        assert urgency(denied) <= urgency(fact)
        if not kinds["vital"] + kinds["risk"] + kinds["sudden"]:
            assert urgency(denied) < urgency(fact)
            num_checked += 1
    assert num_checked > 500


@pytest.mark.parametrize(
    ("family", "calmer", "more_urgent"),
    [
        pytest.param("stomach bug", {"asserted": ("vomiting",)}, {"asserted": ("bleeding",)},
                     id="a finding warns in its own families only"),
        pytest.param("head injury", {"denied": ("vomiting",)}, {"asserted": ("vomiting",)},
                     id="a denied red flag is absent"),
        pytest.param("cold symptoms", {"conditions": ("diabetes",)}, {"conditions": ("immunosuppressed",)},
                     id="a condition raises in its own families only"),
        pytest.param("stomach bug", {"vitals": (("temp", "39.2"),)}, {"vitals": (("temp", "39.6"),)},
                     id="a high temperature raises"),
        pytest.param("chest discomfort", {}, {"course": "sudden"}, id="a sudden onset raises where it matters"),
        pytest.param("skin infection", {"duration_hours": 24 * 21, "course": "unchanged"}, {},
                     id="weeks without a change lower"),
        pytest.param("cold symptoms", {"vitals": (("temp", "39.6"),)}, {"vitals": (("SpO2", "86"),)},
                     id="a dangerous vital weighs more than a high temperature"),
    ],
)  # fmt: skip
def test_the_rule_follows_its_docstring(family: str, calmer: dict[str, Any], more_urgent: dict[str, Any]) -> None:
    assert urgency(a_call(family, **calmer)) < urgency(a_call(family, **more_urgent))


def test_a_dangerous_vital_weighs_as_much_as_a_red_flag_and_once() -> None:
    flag, vital = {"asserted": ("confusion",)}, {"vitals": (("SpO2", "86"),)}
    urgencies = {urgency(a_call("cold symptoms", **changes)) for changes in (flag, vital, flag | vital)}
    assert urgencies == {urgency(a_call("cold symptoms")) + 2}


def test_test_calls_are_of_other_callers_and_leave_the_other_calls_as_they_are(calls: list[Call]) -> None:
    both = generate_calls(SyntheticTriageConfig(num_calls=200, num_test_calls=300, seed=SEED))
    fresh = [call for call in both if call.is_test]
    assert both[:200] == calls[:200]
    assert len(fresh) == 300
    for name in ("id", "group", "text"):
        assert not {getattr(call, name) for call in fresh} & {getattr(call, name) for call in calls}
    fewer = generate_calls(SyntheticTriageConfig(num_calls=100, num_test_calls=50, seed=SEED))
    assert fewer[100:] == fresh[:50]
    assert [call.disposition for call in fresh] == [decide(call.facts)[0] for call in fresh]


def test_label_noise_moves_its_share_of_labels_to_neighbours_and_nothing_else() -> None:
    num_calls, label_noise = 3000, 0.1
    clean, noisy = (
        generate_calls(SyntheticTriageConfig(num_calls=num_calls, seed=SEED, label_noise=noise))
        for noise in (0.0, label_noise)
    )
    assert [replace(call, label="") for call in noisy] == [replace(call, label="") for call in clean]
    assert [call.label for call in clean] == [decide(facts_of(SEED, index))[0] for index in range(num_calls)]
    steps = [abs(DISPOSITIONS.index(call.label) - DISPOSITIONS.index(call.disposition)) for call in noisy]
    assert set(steps) == {0, 1}
    four_sigma = 4 * math.sqrt(num_calls * label_noise * (1 - label_noise))
    assert abs(sum(steps) - num_calls * label_noise) < four_sigma


def test_a_note_holds_all_its_facts_and_no_other_finding(facts: list[Facts]) -> None:
    for index, fact in enumerate(facts[:1500]):
        note = write_note(fact, Random(index))
        assert mentioned(note) == {*fact.asserted, *fact.denied}
        assert all(f"{name} {value}" in note for name, value in fact.vitals)
        for phrases in (
            *(CONDITIONS[name].present for name in fact.conditions),
            *(CONDITIONS[name].absent for name in fact.denied_conditions),
        ):
            assert any(phrase in note or phrase[0].upper() + phrase[1:] in note for phrase in phrases)


def test_rationales_name_red_flags_in_the_order_of_their_family(calls: list[Call]) -> None:
    """An order by chance could not be learned, and would hide whether a model reads the answers."""
    for call in calls[:1500]:
        flags = FAMILIES[call.facts.family].red_flags
        warning, _, absent = call.rationales["llm"].removeprefix(f"In {call.attributes['family']} ").partition("; no ")
        for part, names in ((warning, call.facts.asserted), (absent, call.facts.denied)):
            named = [name for name in flags if name in names]
            assert sorted(named, key=part.index) == named


def test_rationales_mention_only_what_the_note_mentions(calls: list[Call]) -> None:
    num_mentions = 0
    for call in calls[:1500]:
        fact = call.facts
        for rationale in call.rationales.values():
            found = mentioned(rationale)
            num_mentions += len(found)
            assert found <= {*fact.asserted, *fact.denied}
            for name, condition in CONDITIONS.items():
                assert condition.name not in rationale or name in fact.conditions
            for number in re.findall(r"\d+\.\d+", rationale):
                assert number in call.text
    assert num_mentions > 1500


def test_notes_are_short_of_moderate_vocabulary_and_typos_leave_numbers_and_negations_alone(
    calls: list[Call], facts: list[Facts]
) -> None:
    lengths = [len(call.text.split()) for call in calls]
    assert min(lengths) >= 20
    assert max(lengths) <= 75
    vocabulary: set[str] = set()
    num_words = num_typos = 0
    for index, fact in enumerate(facts):
        before = write_note(fact, Random(index)).split()
        vocabulary.update(word.strip(".,:;()").lower() for word in before)
        after = add_typos(" ".join(before), Random(index)).split()
        changed = [word for word, typed in zip(before, after, strict=True) if word != typed]
        assert not {"No", "Neg", "no", "but", "or", "not"} & set(changed)
        assert not any(character.isdigit() for word in changed for character in word)
        num_words, num_typos = num_words + len(before), num_typos + len(changed)
    assert 0.001 < num_typos / num_words <= 0.02
    assert len(vocabulary) < 600


def test_red_flags_are_asserted_and_denied_in_comparable_measure(facts: list[Facts]) -> None:
    asserted = Counter(name for fact in facts for name in fact.asserted)
    denied = Counter(name for fact in facts for name in fact.denied)
    assert 0.7 <= asserted.total() / denied.total() <= 1.4
    for name in FINDINGS:
        assert min(asserted[name], denied[name]) >= 0.15 * (asserted[name] + denied[name])


@pytest.mark.slow
def test_keywords_do_not_solve_the_task_but_the_rule_does(calls: list[Call], facts: list[Facts]) -> None:
    train, test = calls[:4800], calls[4800:]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    features = vectorizer.fit_transform([call.text for call in train])
    gold = [call.label for call in test]
    model = LogisticRegression(C=3.0, max_iter=200).fit(features, [call.label for call in train])
    guessed = model.predict(vectorizer.transform([call.text for call in test]))
    assert 0.4 < f1_score(gold, guessed, average="macro") < 0.7
    assert f1_score(gold, [decide(fact)[0] for fact in facts[4800:]], average="macro") > 0.93


def test_the_llm_batch_is_the_same_each_time_and_has_its_share_of_faults(tmp_path: Path) -> None:
    config = SyntheticTriageConfig(num_calls=NUM_CALLS, seed=SEED)
    output, errors = write_llm_batch(config, tmp_path / "first")
    again = write_llm_batch(config, tmp_path / "second")
    assert [path.read_bytes() for path in (output, errors)] == [path.read_bytes() for path in again]
    answers = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    failures = [json.loads(line) for line in errors.read_text(encoding="utf-8").splitlines()]
    failed_share = FAULTS["failed"] + FAULTS["expired"]
    assert len(failures) == pytest.approx(NUM_CALLS * failed_share, rel=0.5)
    ids = Counter(line["custom_id"] for line in answers)
    assert sum(count == 2 for count in ids.values()) == (NUM_CALLS - len(failures)) // 300
    assert sum(custom_id.startswith("call-of-another-batch") for custom_id in ids) == 3
    assert list(ids) != sorted(ids)
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] or "" for line in answers]
    assert sum("<think>" in text for text in texts) == pytest.approx(NUM_CALLS * FAULTS["reasoning"], rel=0.2)
