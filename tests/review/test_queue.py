"""Which decided calls come for review, and how agreement is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from r2d.config.jobs import CallsConfig, InferenceConfig
from r2d.config.review import QueueConfig, ReviewConfig
from r2d.errors import DataError
from r2d.inference.infer import infer_file
from r2d.review.agreement import agreement_of, agreements
from r2d.review.queue import choose, fill_queue
from r2d.review.store import Case, ReviewStore
from r2d.review.verdicts import Verdict
from r2d.serving.batching import ServedModel
from tests.review.conftest import a_case

NOTHING = QueueConfig(
    handed_over=0, under_triage=0, other_label=0, findings=0, lowest_confidence=0, audit=0, second_reading=0
)


def decided(case_id: str, **answer: Any) -> Case:
    case = a_case(case_id)
    return replace(case, answer=case.answer | answer)


class TestRules:
    @pytest.mark.parametrize(
        ("reason", "case"),
        [
            ("handed_over", decided("x", handed_over=True, why="below_threshold")),
            ("under_triage", decided("x", label_probabilities={"emergency now": 0.3, "self care": 0.7})),
            ("other_label", decided("x", other_labels_stated=["emergency now"])),
            ("findings", decided("x", contradicted_findings=["fever"])),
            ("findings", decided("x", unmentioned_findings=["fever"])),
        ],
    )
    def test_each_takes_what_it_names_and_nothing_else(self, reason: str, case: Case) -> None:
        rule = NOTHING.model_copy(update={reason: 1.0})
        [chosen] = choose([a_case("plain"), case], rule, is_ordered=True)
        assert (chosen.case_id, chosen.reasons) == ("x", [reason])

    def test_no_label_is_above_another_where_they_have_no_order(self) -> None:
        case = decided("x", label_probabilities={"emergency now": 0.3, "self care": 0.7})
        assert choose([case], NOTHING.model_copy(update={"under_triage": 1.0}), is_ordered=False) == []

    def test_the_least_probable_are_a_share_of_all(self) -> None:
        cases = [
            decided(str(n), label_probabilities={"emergency now": 0.4 - n / 100, "self care": 0.6 + n / 100})
            for n in range(20)
        ]
        chosen = choose(cases, NOTHING.model_copy(update={"lowest_confidence": 0.1}), is_ordered=True)
        assert {case.case_id for case in chosen} == {"0", "1"}

    def test_draws_depend_on_seed_and_id_alone(self) -> None:
        cases = [a_case(str(n)) for n in range(1_000)]
        rules = NOTHING.model_copy(update={"audit": 0.2, "second_reading": 0.3})
        first = choose(cases, rules, is_ordered=True)
        assert choose(cases[::-1], rules, is_ordered=True) == first
        assert 150 < len(first) < 250
        assert 0.2 < np.mean([case.for_everyone for case in first]) < 0.4
        other = choose(cases, rules.model_copy(update={"seed": 1}), is_ordered=True)
        assert {case.case_id for case in other} != {case.case_id for case in first}
        assert choose(cases, rules.model_copy(update={"max_cases": 7}), is_ordered=True) == first[:7]


class TestFilling:
    def test_a_file_of_decisions_gives_the_same_queue_as_the_model_itself(
        self, model: ServedModel, stage2_model: Path, tmp_path: Path
    ) -> None:
        calls = tmp_path / "calls.csv"
        rows = [f"c{n},pt {'reports' if n % 2 else 'denies'} fever for {n} days" for n in range(1, 9)]
        calls.write_text("\n".join(["id,text", *rows, "c9,"]), encoding="utf-8")
        data, out = CallsConfig(path=str(calls)), tmp_path / "decided.parquet"
        infer_file(InferenceConfig(data=data, output=str(out), model=str(stage2_model)), stage2_model)
        queues = []
        for name, decisions in (("decided here", None), ("decided before", str(out))):
            store = ReviewStore(str(tmp_path / f"{name}.db"), create=True)
            config = ReviewConfig(database="unused", cases=data, decisions=decisions)
            assert fill_queue(store, config, model.answerer, "toy/1") == 8, "the call without a text is not reviewed"
            assert fill_queue(store, config, model.answerer, "toy/1") == 0
            queues.append(store.cases())
        for one, other in zip(*queues, strict=True):
            assert other.answer.pop("label_probabilities") == pytest.approx(one.answer.pop("label_probabilities"))
            assert replace(other, model="toy/1") == one
            assert other.model.startswith("sha256:")

        calls.write_text("\n".join(["id,text", *rows[::-1], "c9,"]), encoding="utf-8")
        with pytest.raises(DataError, match="its rows are not those of"):
            fill_queue(store, config, model.answerer, "toy/1")


class TestAgreement:
    def test_kappa_is_that_of_scikit_learn_within_its_interval(self) -> None:
        draw = np.random.default_rng(3)
        first = draw.choice(["a", "b", "c"], 80)
        second = np.where(draw.random(80) < 0.7, first, draw.choice(["a", "b", "c"], 80))
        found = agreement_of("ann", "bob", zip(first, second, strict=True))
        assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert found.low is not None
        assert found.high is not None
        assert found.kappa is not None
        assert found.low < found.kappa < found.high
        assert 0.2 < found.high - found.low < 0.4, "about 4 standard errors of 0.07"

    def test_what_cannot_be_measured_is_not_given(self) -> None:
        same = agreement_of("ann", "bob", [("a", "a")] * 12)
        assert (same.same, same.kappa, same.low) == (1.0, None, None)
        few = agreement_of("ann", "bob", [("a", "a"), ("b", "a"), ("b", "b")])
        assert few.kappa is not None
        assert few.low is None

    def test_few_cases_that_agree_or_do_not_leave_it_open(self) -> None:
        agreed = agreement_of("ann", "bob", [("a", "a")] * 5 + [("b", "b")] * 5)
        assert agreed.kappa == agreed.high == 1
        assert agreed.low is not None
        assert agreed.low < 0.75
        constant = agreement_of("ann", "bob", [("a", "a"), ("a", "b")] * 5)
        assert constant.kappa == 0
        assert constant.low is not None
        assert constant.high is not None
        assert constant.low < -0.1
        assert constant.high > 0.2

    @pytest.mark.simulation
    @pytest.mark.parametrize("num_cases", [10, 20, 40, 100])
    def test_the_interval_covers(self, num_cases: int) -> None:
        """The figures of docs/review.md: 20 true tables, 500 samples of each."""
        draw, covered = np.random.default_rng(3), []
        for shares in ([0.5, 0.5], [0.85, 0.15], [0.5, 0.3, 0.2], [0.05, 0.15, 0.4, 0.3, 0.1]):
            chance = np.outer(shares, shares)
            true_expected = np.trace(chance)
            for agreement in (0.0, 0.4, 0.7, 0.9, 0.97):
                table = agreement * np.diag(shares) + (1 - agreement) * chance
                kappa = (np.trace(table) - true_expected) / (1 - true_expected)
                inside = []
                for cell in draw.choice(table.size, size=(500, num_cases), p=table.ravel()):
                    pairs = [(str(one), str(other)) for one, other in zip(*divmod(cell, len(shares)), strict=True)]
                    found = agreement_of("ann", "bob", pairs)
                    if found.low is not None and found.high is not None:
                        inside.append(found.low <= kappa <= found.high)
                covered.append(np.mean(inside))
        print(f"{num_cases} cases: {min(covered):.1%} to {max(covered):.1%}, mean {np.mean(covered):.1%}")
        assert min(covered) > 0.88
        assert 0.93 < np.mean(covered) < 0.97

    def test_a_reviewer_named_like_the_model_is_told_from_it(self, store: ReviewStore) -> None:
        cases = store.cases()
        verdicts = {
            (who, case.number): Verdict(who, case.number, blind_label=label)
            for who, label in (("the model", "emergency now"), ("ann", "self care"))
            for case in cases
        }
        assert [(one.first, one.second, one.same) for one in agreements(cases, verdicts)] == [
            ("ann", "the model (a reviewer)", 0.0),
            ("ann", "the model", 1.0),
            ("the model (a reviewer)", "the model", 0.0),
        ]
