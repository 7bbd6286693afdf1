"""The gate: rules as data, held against the metrics of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from scipy import stats

from r2d.config.data import NO_ORDER, LabelsConfig
from r2d.config.gate import GATE_METRICS, GateConfig, RegistrationConfig, RulesOfRun
from r2d.config.training import MethodConfig
from r2d.errors import ConfigError
from r2d.evaluation.evaluate import evaluate_labels
from r2d.evaluation.label_metrics import difference_to_chances
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator, LabelMetrics
from r2d.gate.decision import NEXT_STEPS, NEXT_STEPS_PAGE, Approval, GateDecision, Verdict
from r2d.gate.rules import estimate_of, evaluate_rules
from tests.gate.measured import LABELS, QUICK, decisions, examples, measured

GOOD, WORSE = tuple(decisions(0.8)), tuple(decisions(0.7, seed=3))


def label(macro_f1: float | None, accuracy: float = 0.6) -> LabelMetrics:
    return LabelMetrics(
        num_rows=100, accuracy=accuracy, macro_f1=macro_f1, weighted_f1=macro_f1, invalid_label_rate=0.0
    )


def few_metrics(macro_f1: float, majority: float = 0.1, linear: float = 0.5) -> Metrics:
    """The few metrics that the default rules read."""
    return Metrics(
        num_rows=100, decoding="constrained", method="r2d", label=label(macro_f1),
        baselines={Comparator.MAJORITY_CLASS: label(majority), Comparator.LINEAR_MODEL: label(linear)},
    )  # fmt: skip


def options_metrics(accuracy: float, at_random: float = 0.2, frequent: float = 0.3) -> Metrics:
    """The same where each row has options of its own."""
    return replace(
        few_metrics(0.0), label=label(None, accuracy),
        baselines={Comparator.RANDOM_OPTION: label(None, at_random), Comparator.FREQUENT_OPTION: label(None, frequent)},
    )  # fmt: skip


@pytest.mark.parametrize(("limit", "said"), [(0.6004, "60.04 %"), (0.5996, "59.96 %"), (0.6, "60 %"), (0.7, "70 %")])
def test_the_plain_words_of_a_rule_round_no_limit_away(limit: float, said: str) -> None:
    rule = {"rule": "within_limit", "figure": "accuracy", "at_least": limit, "by": "value"}
    found = verdict(rule, few_metrics(0.5))
    assert f"accuracy at least {said}," in found.asks
    assert found.measured == ("60 %" if limit in (0.6, 0.7) else found.reason)


BY_VALUE: list[dict[str, Any]] = [
    {"rule": "better_than_baseline", "baseline": baseline, "by": "value"} for baseline in ("simple", "learnt")
]


def gate(*rules: dict[str, Any]) -> RulesOfRun:
    return GateConfig.model_validate({"rules": rules}).for_labels(LABELS)


def verdict(rule: dict[str, Any], metrics: Metrics) -> Verdict:
    (only,) = evaluate_rules(metrics, gate(rule)).verdicts
    return only


@pytest.mark.parametrize(
    ("metrics", "passed"),
    [*((few_metrics(macro_f1), macro_f1 > 0.5) for macro_f1 in (0.6, 0.5, 0.3, 0.05)),
     *((options_metrics(accuracy), accuracy > 0.3) for accuracy in (0.31, 0.3, 0.25, 0.1))],
)  # fmt: skip
def test_by_value_a_model_must_be_better_than_the_baselines_not_as_good(metrics: Metrics, passed: bool) -> None:
    """By macro-F1; by accuracy where each row has options of its own."""
    assert (evaluate_rules(metrics, gate(*BY_VALUE)).outcome == "passed") is passed


def test_by_default_a_model_is_held_against_the_learnt_baseline_and_the_champion_by_interval() -> None:
    defaults = gate({"rule": "defaults"})
    assert GateConfig().for_labels(LABELS) == defaults
    rules = [(rule.rule, getattr(rule, "figure", None), getattr(rule, "margin", None)) for rule in defaults.rules]
    worse = "not_worse_than_champion"
    assert rules == [
        ("better_than_baseline", None, None), (worse, "macro_f1", 0.02), (worse, "under_triage_rate", 0.02),
        (worse, "recall", 0.05),
    ]  # fmt: skip
    assert defaults.rules[-1].label == "emergency now"
    assert all(rule.by == "interval" for rule in defaults.rules)
    unordered = GateConfig().for_labels(LabelsConfig(names=("a", "b")))
    assert unordered.rules == defaults.rules[:2]
    (left_out,) = unordered.left_out
    decision = evaluate_rules(measured(GOOD, GOOD), unordered)
    assert (decision.verdicts[-1].status, decision.reasons()[-1]) == ("not_applicable", left_out)
    of_options = GateConfig().for_labels(LabelsConfig(per_row=True))
    assert [getattr(rule, "figure", None) for rule in of_options.rules] == [None, "accuracy"]
    assert "each row has options of its own" in of_options.left_out[0]
    extended = gate({"rule": "defaults"}, {"rule": "human_approval"})
    assert extended.rules == (*defaults.rules, *gate({"rule": "human_approval"}).rules)


def test_a_reader_is_told_of_a_missing_limit_and_of_a_margin_of_0() -> None:
    """The line that is shown can be pasted, and then nothing is missing."""
    for declared in (
        [{"rule": "defaults"}],
        [
            {"rule": "human_approval"},
            {"rule": "within_limit", "figure": "recall", "label": "self care", "at_least": 0.1},
        ],
    ):
        (advice,) = GateConfig.model_validate({"rules": declared}).for_labels(LABELS).advice
        pasted = yaml.safe_load(advice.partition("registration.gate: ")[2])
        assert pasted["rules"][:-1] == declared, "what is declared stays"
        assert ("compares it with the champion's" in advice) == (declared[0]["rule"] == "defaults")
        assert GateConfig.model_validate(pasted).for_labels(LABELS).advice == ()
    slices = [{"rule": "no_slice_worse_than_champion", "figure": "under_triage_rate"}]
    (advice,) = GateConfig.model_validate({"rules": slices}).for_labels(LABELS).advice
    assert "the gate compares it with the champion's" in advice
    beside = [{"rule": "within_limit", "figure": "under_triage_minus_raters", "at_most": 0.05}]
    assert GateConfig.model_validate({"rules": beside}).for_labels(LABELS).advice == ()
    (unordered,) = GateConfig().for_labels(LabelsConfig(names=("a", "b"))).advice
    assert "under-triage is not measured" in unordered
    assert "data.labels.ordered: true" in unordered
    assert GateConfig().for_labels(LabelsConfig(per_row=True)).advice == ()
    margin = GateConfig.model_validate({"rules": [{"rule": "not_worse_than_champion", "figure": "macro_f1"}]})
    (superiority,) = margin.for_labels(LabelsConfig(per_row=True)).advice
    assert "(superiority)" in superiority


def test_labels_without_an_order_on_purpose_ask_for_nothing_and_the_decision_says_what_is_not_measured() -> None:
    """`ordered` may be true, false on purpose, or not said; what a step is given is one of the three too."""
    for said, num_advice, remarks in ((None, 1, ()), (False, 0, (NO_ORDER,))):
        labels = LabelsConfig(names=("a", "b"), ordered=said)
        rules = GateConfig().for_labels(LabelsConfig.model_validate(labels.model_dump(mode="json")))
        assert (len(rules.advice), rules.remarks) == (num_advice, remarks)
        decision = evaluate_rules(measured(GOOD, GOOD), rules)
        assert (NO_ORDER in decision.remarks, NO_ORDER in decision.to_do) == (said is False, False)
        assert labels.decide_alike(LabelsConfig(names=("a", "b")))


def test_every_rule_gives_its_figures_as_a_reason_and_a_cold_start_is_named() -> None:
    assert evaluate_rules(few_metrics(0.3), gate(*BY_VALUE)).reasons() == [
        "macro-F1 0.300 is above that of majority class, 0.100",
        "macro-F1 0.300 is NOT above that of TF-IDF + logistic regression, 0.500",
        "there is no champion: this is the first model, and it is compared with none",
    ]
    assert evaluate_rules(options_metrics(0.25), gate(*BY_VALUE)).reasons()[:2] == [
        "accuracy 0.250 is above that of an option at random, 0.200",
        "accuracy 0.250 is NOT above that of the option most often right in training, 0.300",
    ]
    without_rules = evaluate_rules(few_metrics(0.0), gate())
    assert (without_rules.outcome, without_rules.reasons()[0]) == ("passed", "no rule was asked for")


def test_figures_that_round_alike_are_shown_with_the_digits_that_tell_them_apart() -> None:
    metrics = few_metrics(0.50004, linear=0.50012)
    assert evaluate_rules(metrics, gate(*BY_VALUE)).reasons()[1] == (
        "macro-F1 0.5000 is NOT above that of TF-IDF + logistic regression, 0.5001"
    )


def test_at_a_cold_start_the_rules_of_comparison_do_not_apply_and_hold_no_figure() -> None:
    rules = gate({"rule": "not_worse_than_champion", "figure": "macro_f1"}, {"rule": "no_slice_worse_than_champion"})
    decision = evaluate_rules(measured(GOOD), rules)
    assert (decision.outcome, decision.champion) == ("passed", None)
    for result in decision.verdicts:
        assert (result.status, result.value, result.low, result.limit) == ("not_applicable", None, None, None)


@pytest.mark.parametrize(("margin", "met"), [(0.01, False), (0.3, True)])
def test_not_worse_than_the_champion_is_held_by_the_lower_bound_of_the_paired_difference(
    margin: float, met: bool
) -> None:
    metrics = measured(WORSE, GOOD)
    rule = {"rule": "not_worse_than_champion", "figure": "macro_f1", "margin": margin}
    paired = metrics.differences[Comparator.CHAMPION].macro_f1
    result = verdict(rule, metrics)
    assert (result.status == "passed") is met
    assert (result.value, result.low, result.high, result.limit) == (paired.value, paired.low, paired.high, -margin)
    assert (paired.low >= -margin) is met
    bare = verdict(rule | {"by": "value"}, metrics)
    assert (bare.status == "passed") is (paired.value >= -margin)


def test_of_a_figure_that_should_be_low_the_upper_bound_is_held() -> None:
    metrics = measured(WORSE, GOOD)
    rate = metrics.intervals.under_triage_rate
    between = (rate.value + rate.high) / 2
    rule = {"rule": "within_limit", "figure": "under_triage_rate", "at_most": between}
    assert verdict(rule, metrics).status == "failed"
    assert "upper bound" in verdict(rule, metrics).reason
    assert verdict(rule | {"by": "value"}, metrics).status == "passed"
    assert verdict(rule | {"at_most": rate.high}, metrics).status == "passed"
    worse = verdict({"rule": "not_worse_than_champion", "figure": "under_triage_rate", "margin": 0.5}, metrics)
    assert (worse.status, worse.limit, worse.higher_is_better) == ("passed", 0.5, False)


@pytest.mark.parametrize(
    ("figure", "limit", "value"),
    [
        ({"figure": "consistency"}, 0.8, 0.85),
        ({"figure": "bleu"}, 20.0, 25.0),
        ({"figure": "bertscore_f1"}, 0.78, 0.8),
        ({"figure": "recall", "label": "emergency now"}, 0.5, None),
    ],
)
def test_a_limit_may_be_set_on_alignment_on_rationales_and_on_one_label(
    figure: dict[str, Any], limit: float, value: float | None
) -> None:
    metrics = measured(GOOD)
    result = verdict({"rule": "within_limit", "at_least": limit, **figure}, metrics)
    expected = metrics.intervals.per_class["emergency now"]["recall"].value if value is None else value
    assert (result.status, result.value) == ("passed", expected)
    beyond = {"rule": "within_limit", "at_least": 38.0 if limit > 1 else 0.999, **figure}
    assert verdict(beyond, metrics).status == "failed"


def test_contradictions_of_rationales_may_be_held_against_a_limit_and_against_the_champion() -> None:
    figure = {"figure": "contradicted_rationale_rate"}
    limit = verdict({"rule": "within_limit", "at_most": 0.08} | figure, measured(GOOD))
    assert (limit.status, limit.value, limit.high) == ("failed", 0.05, 0.09)
    worse = {"rule": "not_worse_than_champion"} | figure
    for margin, status in ((0.05, "passed"), (0.03, "failed")):
        held = verdict(worse | {"margin": margin}, measured(GOOD, WORSE))
        assert (held.status, held.high) == (status, 0.04)
    assert "rationales that their note contradicts minus that of triage/1: +0.010" in held.reason
    assert verdict(worse | {"margin": 0.0, "by": "value"}, measured(GOOD, WORSE)).status == "failed"
    assert verdict(worse, measured(GOOD)).status == "not_applicable"
    (advice,) = gate_advice(worse | {"margin": 0.0})
    assert "not_worse_than_champion of contradicted_rationale_rate has margin 0" in advice


def test_consistency_by_an_outside_reader_may_be_held_against_the_champion() -> None:
    rule = {"rule": "not_worse_than_champion", "figure": "consistency_by_outside_reader"}
    for margin, status in ((0.05, "passed"), (0.03, "failed")):
        held = verdict(rule | {"margin": margin}, measured(GOOD, WORSE))
        assert (held.status, held.low) == (status, -0.04)
    metrics = measured(GOOD, WORSE)
    older = replace(metrics, champion=replace(metrics.champion, outside_reader_difference={}))
    assert verdict(rule | {"margin": 0.05}, older).status == "failed", "not measured is not met"


def gate_advice(rule: dict[str, Any]) -> tuple[str, ...]:
    """Without that of a limit on under-triage."""
    limit = {"rule": "within_limit", "figure": "under_triage_rate", "at_most": 0.1}
    return GateConfig.model_validate({"rules": [rule, limit]}).for_labels(LABELS).advice


def test_all_rules_together_pass_an_equal_model_less_often_than_the_strictest_and_more_than_if_independent() -> None:
    metrics = measured(tuple(decisions(0.8)), tuple(decisions(0.79, seed=4)))
    decision = evaluate_rules(metrics, gate({"rule": "defaults"}))
    assert decision.joint_power is not None
    least, largest = decision.joint_power
    shares = [verdict.power.champion_passes for verdict in decision.verdicts if verdict.power is not None]
    assert len(shares) == 4
    assert shares[0] > 0.99, "the champion is far above the baseline"
    assert shares[1:] == [verdict.power.equal_passes for verdict in decision.verdicts[1:]]
    assert (least, largest) == pytest.approx((np.prod(shares), min(shares)))
    assert decision.joint_power_text in decision.lines()
    limit = {"rule": "within_limit", "figure": "under_triage_rate", "at_most": 0.3}
    with_limit = evaluate_rules(metrics, gate({"rule": "defaults"}, limit)).verdicts[-1].power
    assert with_limit.champion_passes > 0.9
    assert evaluate_rules(metrics, gate({"rule": "defaults"}, {"rule": "human_approval"})).joint_power is not None
    without_interval = {"rule": "within_limit", "figure": "consistency", "at_least": 0.5}
    assert evaluate_rules(metrics, gate({"rule": "defaults"}, without_interval)).joint_power is None
    assert evaluate_rules(measured(GOOD), gate({"rule": "defaults"})).joint_power_text == ""


def test_no_slice_of_enough_rows_may_be_worse_than_the_champion_there() -> None:
    metrics = measured(tuple(decisions(0.9, seed=1, wrong_in={"south": 0.3})), tuple(decisions(0.85, seed=3)))
    rule = {"rule": "no_slice_worse_than_champion", "figure": "accuracy", "margin": 0.03, "min_rows": 60}
    result, by_value = verdict(rule, metrics), verdict(rule | {"by": "value"}, metrics)
    assert result.status == by_value.status == "failed"
    assert [(part.by, part.value) for part in result.details] == [("attributes.site", "south")]
    assert result.details[0].difference.high < -0.03
    assert "1 is shown to be worse" in result.reason
    assert all(part.difference.value < -0.03 and part.num_rows >= 60 for part in by_value.details)
    assert "are worse" in by_value.reason
    assert verdict(rule | {"margin": 1.0}, metrics).status == "passed"
    small = verdict(rule | {"min_rows": 10_000}, metrics)
    reason = "no slice of 10000 rows or more has accuracy of both models"
    assert (small.status, small.reason) == ("not_applicable", reason)


def test_the_worst_slice_says_on_which_rare_label_its_macro_f1_hangs() -> None:
    metrics = measured(tuple(decisions(0.9, seed=1, wrong_in={"south": 0.3})), tuple(decisions(0.85, seed=3)))
    rule = {"rule": "no_slice_worse_than_champion", "figure": "macro_f1", "margin": 0.03, "min_rows": 60}
    worst = verdict(rule, metrics).details[0]
    (part,) = (part for part in metrics.champion_slices if (part.by, part.value) == (worst.by, worst.value))
    assert part.rare_labels
    assert f", which {part.hangs_on}" in verdict(rule, metrics).reason
    assert "hangs on" not in verdict(rule | {"figure": "accuracy"}, metrics).reason


def test_the_intervals_of_slices_are_widened_to_their_number() -> None:
    metrics = measured(WORSE, GOOD)
    part = verdict({"rule": "no_slice_worse_than_champion", "min_rows": 60}, metrics).details[0]
    (bare,) = (s.difference["accuracy"] for s in metrics.champion_slices if (s.by, s.value) == (part.by, part.value))
    factor = stats.norm.ppf(1 - 0.025 / 10) / stats.norm.ppf(0.975)
    assert part.difference.high - bare.value == pytest.approx(factor * (bare.high - bare.value))


def test_two_models_that_decide_alike_are_not_worse_by_a_margin_and_not_better() -> None:
    """No difference in 120 groups is no certainty: the score bound is z^2 / (groups + z^2)."""
    metrics = measured(GOOD, GOOD)
    bound = 3.8415 / (120 + 3.8415)
    for figure, better in (("macro_f1", 1), ("under_triage_rate", -1)):
        rule = {"rule": "not_worse_than_champion", "figure": figure}
        result = verdict(rule | {"margin": 0.04}, metrics)
        assert (result.status, result.low, result.high) == (
            "passed", pytest.approx(-bound, abs=1e-4), pytest.approx(bound, abs=1e-4),
        )  # fmt: skip
        assert "(non-inferiority)" in result.tests
        assert verdict(rule | {"margin": 0.03}, metrics).status == "failed"
        without_margin = verdict(rule, metrics)
        assert (without_margin.status, "superiority" in without_margin.tests) == ("failed", True)
        assert result.limit == -better * 0.04


def test_a_perfect_score_is_no_certainty_either() -> None:
    gold = tuple(examples()["label"].to_pylist())
    result = verdict({"rule": "within_limit", "figure": "macro_f1", "at_least": 0.98}, measured(gold))
    assert (result.value, result.low) == (1.0, pytest.approx(0.025 ** (1 / 120)))
    assert result.status == "failed"


def test_a_figure_that_was_not_measured_does_not_let_a_model_pass() -> None:
    metrics = measured(GOOD, WORSE)
    alignment = replace(metrics.alignment, consistency=None)
    metrics = replace(metrics, alignment=alignment, calibration=None, baselines={}, champion_slices=None)
    for rule in (
        {"rule": "within_limit", "figure": "consistency", "at_least": 0.0},
        {"rule": "not_worse_than_champion", "figure": "consistency", "margin": 1.0},
        {"rule": "within_limit", "figure": "brier", "at_most": 2.0},
        {"rule": "better_than_baseline", "baseline": "learnt"},
        {"rule": "no_slice_worse_than_champion"},
    ):
        result = verdict(rule, metrics)
        assert result.status == "failed", rule
        assert result.value is None


def test_a_recall_of_too_few_rows_has_no_interval_and_does_not_pass_by_it() -> None:
    metrics = measured(GOOD)
    recall = metrics.intervals.per_class["self care"]["recall"]
    per_class = {"self care": {"recall": IntervalEstimate(recall.value)}}
    metrics = replace(metrics, intervals=replace(metrics.intervals, per_class=per_class))
    rule = {"rule": "within_limit", "figure": "recall", "label": "self care", "at_least": 0.1}
    assert verdict(rule, metrics).status == "failed"
    assert verdict(rule | {"by": "value"}, metrics).status == "passed"


def test_a_champion_of_other_labels_cannot_be_compared_and_the_gate_stays_shut() -> None:
    metrics = measured(GOOD, WORSE)
    metrics = replace(
        metrics, champion=replace(metrics.champion, not_compared="it decides between other labels", label=None)
    )
    result = verdict({"rule": "not_worse_than_champion", "figure": "accuracy"}, metrics)
    assert result.reason == "accuracy cannot be compared with triage/1: it decides between other labels"
    assert result.status == "failed"


def test_a_person_is_asked_by_a_rule_and_a_yes_holds_for_the_champion_it_was_given_against() -> None:
    metrics, rules = measured(GOOD, WORSE), gate({"rule": "human_approval"})
    of_another = replace(metrics, champion=replace(metrics.champion, reference="triage/2"))
    yes = Approval("Dr. Who", "read fifty", "2030-01-01T00:00:00+00:00", "triage/1")
    assert evaluate_rules(metrics, rules).outcome == evaluate_rules(of_another, rules, yes).outcome == "waiting"
    assert evaluate_rules(metrics, rules, yes).reasons() == ["approved by Dr. Who: read fifty"]
    never = gate({"rule": "human_approval"}, {"rule": "within_limit", "figure": "accuracy", "at_least": 1.0})
    assert evaluate_rules(metrics, never, yes).outcome == "failed"


@pytest.mark.parametrize(("quality", "kind"), [(0.2, "not_better"), (0.6, "not_shown"), (0.9, None)])
def test_a_refused_model_is_given_the_next_step_that_its_figures_ask_for(quality: float, kind: str | None) -> None:
    rules = gate({"rule": "better_than_baseline", "baseline": "learnt"})
    decision = evaluate_rules(measured(tuple(decisions(quality, seed=3)), linear_right=0.5), rules)
    assert decision.next_steps == ([NEXT_STEPS[kind], f"more in {NEXT_STEPS_PAGE}"] if kind else [])


def test_the_page_of_the_next_steps_has_the_heading() -> None:
    page, _, heading = NEXT_STEPS_PAGE.partition("#")
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert f"## {heading.replace('-', ' ')}\n" in text.lower()


def test_a_decision_survives_a_round_through_json() -> None:
    rules = gate(
        {"rule": "no_slice_worse_than_champion", "margin": 0.0},
        {"rule": "within_limit", "figure": "brier", "at_most": 1},
    )
    decision = evaluate_rules(measured(WORSE, GOOD), rules)
    decision = replace(decision, test_set=TestSetUse("0" * 64, 3, 2, "macro-F1", 0.01))
    again = GateDecision.from_json(json.loads(json.dumps(decision.to_json(), allow_nan=False)))
    assert again == decision
    assert again.lines()[-1] == decision.test_set.sentence()
    older = {("seen" if name == "remarks" else name): value for name, value in decision.to_json().items()}
    assert GateDecision.from_json(older) == decision


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("beat_everything", {}, "any of the expected tags: 'defaults', 'better_than_"),
        ("within_limit", {"figure": "accuracy"}, "more of 'accuracy' is better: give at_least, and no at_most"),
        ("within_limit", {"figure": "under_triage_rate", "at_least": 0.1},
         "less of 'under_triage_rate' is better: give at_most, and no at_least"),
        ("within_limit", {"figure": "under_triage_rate", "at_most": 2},
         "at_most of 'under_triage_rate' lies between 0 and 1; found 2"),
        ("within_limit", {"figure": "recall", "at_least": 0.5}, "figure 'recall' needs `label`"),
        ("within_limit", {"figure": "accuracy", "label": "x", "at_least": 0.5},
         "figure 'accuracy' is of all rows; remove `label`"),
        ("within_limit", {"figure": "consistency", "at_least": 0.5, "by": "interval"},
         "figure 'consistency' has no interval; leave `by` out or write by: value"),
        ("not_worse_than_champion", {"figure": "brier"},
         "figure 'brier' is not measured for the champion; use rule within_limit"),
        ("not_worse_than_champion", {"figure": "accuracy", "margin": -0.1}, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_judged_is_a_fault_of_the_configuration(
    name: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        gate({"rule": name} | keys)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "keys", "labels", "method", "message"),
    [
        ("within_limit", {"figure": "under_triage_rate", "at_most": 0.1},
         {"names": ["a", "b"]}, "r2d", "needs data.labels.ordered: true"),
        ("within_limit", {"figure": "recall", "label": "c", "at_least": 0.5},
         {"names": ["a", "b"]}, "r2d", "label 'c' is not declared; allowed: a, b"),
        ("within_limit", {"figure": "consistency", "at_least": 0.5},
         {"names": ["a", "b"]}, "sft", "is of rationales, and method 'sft' writes none"),
        ("within_limit", {"figure": "macro_f1", "at_least": 0.5},
         {"per_row": True}, "r2d", "is of declared labels, and data.labels.per_row has none"),
        ("no_slice_worse_than_champion", {},
         {"per_row": True}, "r2d", "there are no slices where data.labels.per_row"),
    ],
)  # fmt: skip
def test_what_a_run_does_not_measure_is_found_before_it_starts(
    name: str, keys: dict[str, Any], labels: dict[str, Any], method: Any, message: str
) -> None:
    config = GateConfig.model_validate({"rules": [{"rule": name} | keys]})
    (fault,) = config.faults(LabelsConfig(**labels), MethodConfig(name=method))
    assert fault.startswith("registration.gate.rules.0: ")
    assert message in fault
    assert config.faults(LABELS, MethodConfig()) == [] or keys.get("label") == "c"


def test_with_options_in_the_rows_the_bare_figures_are_compared() -> None:
    metrics = options_metrics(0.5)
    metrics = replace(metrics, champion=ChampionMetrics(reference="quiz/1", label=label(None, 0.52)))
    rule = {"rule": "not_worse_than_champion", "figure": "accuracy", "margin": 0.01}
    result = verdict(rule, metrics)
    assert (result.status, result.value, result.low) == ("failed", pytest.approx(-0.02), None)
    assert verdict(rule | {"margin": 0.03}, metrics).status == "passed"


def test_with_options_in_the_rows_the_defaults_hold_by_paired_intervals_of_accuracy() -> None:
    """200 questions of four options; the baseline is right by chance in a quarter."""
    generator, num_rows = np.random.default_rng(0), 200
    options = [("a", "b", "c", "d")] * num_rows
    run = EvaluationRun(examples().slice(0, num_rows), LabelsConfig(per_row=True), QUICK)

    def predicted(share_right: float) -> Predictions:
        labels = np.where(generator.random(num_rows) < share_right, "a", "b").tolist()
        return Predictions(
            ids=[str(row) for row in range(num_rows)], gold_labels=["a"] * num_rows, predicted_labels=labels,
            row_options=options,
        )  # fmt: skip

    good, champion = predicted(0.6), predicted(0.55)
    chances = [0.25] * num_rows
    bare = options_metrics(float(good.correct.mean()), frequent=0.25)
    bare = replace(
        bare, champion=ChampionMetrics(reference="quiz/1", label=label(None, float(champion.correct.mean()))),
        differences={Comparator.FREQUENT_OPTION: difference_to_chances(good, chances, QUICK.intervals)},
    )  # fmt: skip
    metrics = evaluate_labels(run, bare, good, {Comparator.CHAMPION: champion}, None)
    decision = evaluate_rules(metrics, GateConfig().for_labels(run.labels))
    baseline, paired, left_out = decision.verdicts
    assert (baseline.status, baseline.value) == ("passed", pytest.approx(good.correct.mean() - 0.25))
    assert 0 < baseline.low < baseline.value < baseline.high
    assert paired.value == pytest.approx(good.correct.mean() - champion.correct.mean())
    assert (paired.low < paired.value, left_out.status) == (True, "not_applicable")


def test_the_name_of_a_history_is_no_name_for_a_model() -> None:
    with pytest.raises(ValidationError, match=r"must not end in '\.alias-history'"):
        RegistrationConfig(model_name="triage.alias-history")


def test_all_faults_of_a_gate_are_told_in_one_message() -> None:
    from r2d.config.loading import parse_config
    from tests.mlops.conftest import run_config

    def messages(*rules: dict[str, Any]) -> str:
        values = run_config("triage").model_dump(mode="json", exclude_none=True)
        values["registration"]["gate"]["rules"] = [{"rule": "within_limit"} | rule for rule in rules]
        with pytest.raises(ConfigError) as caught:
            parse_config(values)
        return str(caught.value)

    undeclared = messages(*({"figure": "recall", "label": name, "at_least": 0.5} for name in ("home", "clinic")))
    for place, name in enumerate(("home", "clinic")):
        assert f"registration.gate.rules.{place}: label '{name}' is not declared" in undeclared
    misspelt = messages({"figure": "accuracy", "at_last": 0.5})
    assert "rules.0.within_limit.at_last: unknown key (did you mean 'at_least'?)" in misspelt


def test_net_benefit_is_held_at_the_cut_and_threshold_that_a_rule_names() -> None:
    rule = {"rule": "within_limit", "figure": "net_benefit_gain", "at_least": 0.0}
    worth = gate(rule | {"label": "Same day", "threshold_probability": 0.5})
    (verdict,) = evaluate_rules(measured(GOOD, WORSE), worth).verdicts
    assert verdict.status == "passed"
    assert "of notes at least as urgent as Same day, at 50%: 0." in verdict.reason
    (verdict,) = evaluate_rules(
        measured(GOOD, WORSE), gate(rule | {"label": "same day", "threshold_probability": 0.02})
    ).verdicts
    assert verdict.status == "failed"
    assert "lower bound -0." in verdict.reason


def test_the_worst_slice_and_the_label_sets_are_held_by_their_bounds() -> None:
    metrics = measured(GOOD, WORSE)
    assert metrics.slices is not None
    worst, sets = metrics.slices.worst, metrics.label_sets
    assert worst is not None
    assert sets is not None
    low = sets.coverage_of_label["same day"].low
    assert low is not None
    between = (worst.rate + worst.bound) / 2
    rules = (
        {"rule": "within_limit", "figure": "worst_slice_under_triage_rate", "at_most": worst.bound + 0.001},
        {"rule": "within_limit", "figure": "worst_slice_under_triage_rate", "at_most": between},
        {"rule": "within_limit", "figure": "set_coverage", "label": "same day", "at_least": low - 0.001},
        {"rule": "within_limit", "figure": "set_coverage", "label": "same day", "at_least": low + 0.001},
    )
    verdicts = evaluate_rules(metrics, gate(*rules)).verdicts
    assert [verdict.status for verdict in verdicts] == ["passed", "failed", "passed", "failed"]
    assert f"upper bound {worst.bound:.3f} is " in verdicts[0].reason
    with pytest.raises(ValidationError, match="is a bound over all slices"):
        gate({"rule": "within_limit", "figure": "worst_slice_under_triage_rate", "at_most": 0.1, "by": "value"})


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"label": "same day"}, "needs `threshold_probability`"),
        ({"threshold_probability": 0.1}, "needs `label`"),
        ({"label": "same day", "threshold_probability": 0.17}, "is none of evaluation.operating_points"),
        ({"label": "self care", "threshold_probability": 0.1}, "every note is at least as urgent as 'self care'"),
        ({"figure": "broken_share", "at_least": None, "at_most": 0.1, "edits": "red flags"}, "set evaluation.stress"),
        ({"figure": "accuracy_minus_raters", "at_least": -0.05}, "set evaluation.raters"),
        ({"figure": "accuracy_minus_raters", "at_least": -1.05}, "lies between -1 and 1"),
        ({"figure": "i_squared", "at_least": None, "at_most": 0.5}, "needs `attribute`"),
        (
            {"figure": "i_squared", "at_least": None, "at_most": 0.5, "attribute": "ward"},
            "attribute 'ward' is none of those that the rows have and evaluation.slices.pooled names, []",
        ),
    ],
)
def test_a_rule_of_a_figure_that_no_run_measures_is_refused(rule: dict[str, Any], fault: str) -> None:
    from r2d.config.loading import parse_config
    from tests.mlops.conftest import run_config

    values = run_config("triage").model_dump(mode="json", exclude_none=True)
    values["data"]["labels"] = LABELS.model_dump(mode="json")
    values["registration"]["gate"]["rules"] = [
        {"rule": "within_limit", "figure": "net_benefit_gain", "at_least": 0.0} | rule
    ]
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert fault in str(caught.value)


def test_the_edits_of_a_group_are_held_to_its_limit_by_the_upper_bound() -> None:
    rule = {"rule": "within_limit", "figure": "broken_share", "edits": "red flags"}
    kept, broken, unknown = evaluate_rules(
        measured(GOOD, WORSE),
        gate(rule | {"at_most": 0.07}, rule | {"at_most": 0.069}, rule | {"edits": "typos", "at_most": 0.5}),
    ).verdicts
    assert [verdict.status for verdict in (kept, broken, unknown)] == ["passed", "failed", "failed"]
    assert "stress tests broken, edits of red flags: 0.040 (0.020 to 0.070), upper bound 0.070 is NOT" in broken.reason
    assert "edits of typos was not measured" in unknown.reason
    assert kept.power is not None
    with pytest.raises(ValidationError, match="figure 'broken_share' needs `edits`"):
        gate({"rule": "within_limit", "figure": "broken_share", "at_most": 0.1})
    with pytest.raises(ValidationError, match="figure 'accuracy' has no `edits`"):
        gate({"rule": "within_limit", "figure": "accuracy", "at_least": 0.1, "edits": "red flags"})


@pytest.mark.parametrize(
    ("rule", "kept", "broken", "said"),
    [
        ({"figure": "i_squared", "attribute": "site"}, 0.6, 0.59, "by site: 0.600 is"),
        ({"figure": "next_part_under_triage_rate", "attribute": "site"}, 0.28, 0.27, "the next site: 0.100 (0.030 to"),
        ({"figure": "under_triage_minus_raters"}, 0.03, 0.02, "of a rater: 0.010 (-0.010 to 0.030), upper bound"),
        ({"figure": "accuracy_minus_raters"}, -0.06, -0.05, "of a rater: -0.020 (-0.060 to 0.020), lower bound -0.060"),
    ],
)
def test_differences_between_sites_and_to_people_are_held_by_their_worse_bound(
    rule: dict[str, Any], kept: float, broken: float, said: str
) -> None:
    key = "at_least" if rule["figure"].startswith("accuracy") else "at_most"
    rules = [{"rule": "within_limit", **rule, key: limit} for limit in (kept, broken)]
    verdicts = evaluate_rules(measured(GOOD, WORSE), gate(*rules)).verdicts
    assert [verdict.status for verdict in verdicts] == ["passed", "failed"]
    assert said in verdicts[0].reason
    assert [verdict.power for verdict in verdicts] == [None, None], "its rows are not those of the test"
    if "attribute" in rule:
        for attribute in ("ward", "region"):  # one of its values could be pooled; nobody asked for it
            (unknown,) = evaluate_rules(measured(GOOD, WORSE), gate(rules[0] | {"attribute": attribute})).verdicts
            assert (unknown.status, "was not measured" in unknown.reason) == ("failed", True)


def test_every_metric_that_a_rule_may_name_is_found_in_the_metrics_of_a_run() -> None:
    metrics = measured(GOOD, WORSE)
    for name, metric in GATE_METRICS.items():
        parts = {"class": "self care", "cut": "same day", "set": "same day", "stress": "red flags", "parts": "site"}
        part = parts.get(metric.section)
        estimate = estimate_of(name, metrics, part, 0.1 if metric.section == "cut" else None)
        assert estimate is not None, name
        assert estimate.value is not None, name


def test_the_last_yes_of_a_person_is_the_one_that_stands() -> None:
    decision = evaluate_rules(measured(GOOD), gate({"rule": "human_approval"}))
    assert decision.outcome == "waiting"
    for by in ("Dr. Who", "Dr. No"):
        decision = decision.approved(Approval(by, "read fifty", "2026-01-01T00:00:00+00:00", None))
        assert (decision.outcome, decision.reasons()[0]) == ("passed", f"approved by {by}: read fifty")
