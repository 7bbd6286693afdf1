"""`r2d plan`: standard errors of the expected table against draws from it, and a plan from figures or from data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta, binom

from r2d.config.evaluation import SelectiveConfig
from r2d.config.gate import GateConfig
from r2d.config.loading import load_config
from r2d.config.plan import ExpectedConfig, PlanConfig
from r2d.config.section import parse_section
from r2d.data.examples import Example, to_table
from r2d.errors import ConfigError
from r2d.gate.power import Decided, z_of
from r2d.planning.plan import ExpectedTable, plan

SHARES = {"emergency": 0.1, "same day": 0.3, "self care": 0.6}
EXPECTED = ExpectedConfig()
UNDER_TRIAGE = {"rule": "within_limit", "figure": "under_triage_rate", "at_most": 0.08}
RECALL = {"rule": "within_limit", "figure": "recall", "label": "Emergency", "at_least": 0.95}
FIGURES = ("accuracy", "macro_f1", "weighted_f1", "under_triage_rate", "over_triage_rate", "recall/0", "precision/2")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("minus", [None, "champion", "baseline"])
def test_standard_errors_are_those_of_drawn_studies(ordered: bool, minus: str | None) -> None:
    table, rows = ExpectedTable.of(SHARES, EXPECTED, ordered=ordered), 4_000
    shares = table.unlike if minus == "baseline" else table.alike
    counts = np.random.default_rng(5).multinomial(rows, shares, 4_000)
    drawn, other = table.statistics(counts @ table.first), table.statistics(counts @ table.second)
    for figure in FIGURES:
        if figure in drawn:
            values = drawn[figure] - (other[figure] if minus else 0.0)
            planned = table.deviation(figure, minus=minus)  # type: ignore[arg-type]
            assert planned / math.sqrt(rows) == pytest.approx(values.std(), rel=0.05), figure


def test_the_expected_table_is_what_is_expected() -> None:
    table = ExpectedTable.of(SHARES, EXPECTED, ordered=True)
    assert table.alike.sum() == pytest.approx(1)
    assert table.value("under_triage_rate") == pytest.approx(EXPECTED.under_triage)
    assert table.value("over_triage_rate") == pytest.approx(EXPECTED.over_triage)
    assert table.value("accuracy") == pytest.approx(0.85)
    assert table.deviation("accuracy") == pytest.approx(math.sqrt(0.85 * 0.15)), "of a binomial"
    differ = (table.first[:, 6:9] != table.second[:, 6:9]).any(axis=1)  # rows that each predicts as each label
    assert table.alike[differ].sum() == pytest.approx(EXPECTED.differing)
    right, other_right = (sums[:, :3].sum(axis=1) for sums in (table.first, table.second))
    only_one = table.alike[right != other_right].sum()  # McNemar: the variance of a paired difference
    assert table.deviation("accuracy", minus="champion") == pytest.approx(math.sqrt(only_one))


def test_rules_pass_as_often_as_planned_and_those_that_cannot_say_so() -> None:
    gate = parse_section(
        GateConfig,
        {
            "rules": [
                UNDER_TRIAGE,
                RECALL,
                {"rule": "within_limit", "figure": "rouge_l", "at_least": 0.3},
                {"rule": "not_worse_than_champion", "figure": "accuracy", "margin": 0.02},
                {"rule": "no_slice_worse_than_champion"},
                {"rule": "human_approval"},
            ]
        },
    )
    result = plan(PlanConfig(label_shares=SHARES, gate=gate, test_rows=1_000))
    limit, hopeless, unknown, as_good, slices = [need for need in result.needs if need.aim.startswith("gate")]
    assert limit.num_rows is not None
    rule, error = Decided(0.08, False, z_of(0.95)), math.sqrt(0.08 * 0.92 / limit.num_rows)
    assert rule.passes(0.05, error) == pytest.approx(0.8, abs=0.001)
    assert hopeless.num_rows is None
    assert "no number of rows" in hopeless.remark
    assert (unknown.num_rows, slices.num_rows) == (None, None)
    assert "after a first run" in unknown.remark
    assert as_good.remark == "to pass in 80%, if it is as good"
    assert [power.figure for power in result.gate] == [
        "under-triage rate", "recall of Emergency", "accuracy minus champion's",
    ]  # fmt: skip
    assert all("1,000 rows like these" in power.sentence for power in result.gate)


def test_patients_with_several_rows_multiply_the_rows() -> None:
    alone, together = (
        plan(PlanConfig(label_shares=SHARES, max_under_triage=0.15, rows_per_group=size)) for size in (1, 2)
    )
    assert (alone.design_effect, together.design_effect) == (1, pytest.approx(1.3))
    for one, two in zip(alone.needs, together.needs, strict=True):
        assert one.num_rows is not None
        assert two.num_rows is not None
        assert two.num_groups is not None
        if one.aim.startswith(("gate", "observed", "calibration")):
            assert two.num_rows == pytest.approx(1.3 * one.num_rows, abs=1)
        assert two.num_groups <= one.num_rows < two.num_rows


def test_without_an_order_errors_and_the_confidence_are_planned_for_and_no_threshold_without_a_bound() -> None:
    config = PlanConfig(
        label_shares=SHARES, ordered=False, max_under_triage=0.2, selective=SelectiveConfig(bound_confidence=None)
    )
    result = plan(config)
    assert [need.aim.split(":")[0] for need in result.needs[:3]] == [
        "errors", "observed to expected, the label is right", "calibration slope, the label is right",
    ]  # fmt: skip
    assert result.most("calibration") is None
    assert "Calibration rows" not in "\n".join(result.lines())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give run, a run configuration, or label_shares"),
        ({"label_shares": {"a": 0.5, "b": 0.4}}, "label_shares sum to 0.9"),
        ({"label_shares": {"a": 0.5, "A": 0.5}}, "the same but for case"),
        ({"label_shares": SHARES, "expected": {"differing": 0.9}}, "differ on .* and on no more"),
        ({"label_shares": SHARES, "expected": {"under_triage": 0.3, "over_triage": 0.5}}, "no right label for"),
        ({"label_shares": {"a": 0.9}}, "label_shares needs at least two labels; found 1"),
        (
            {"label_shares": SHARES, "gate": {"rules": [{**RECALL, "label": "urgent"}]}},
            r"  gate.rules.0: label 'urgent' is not declared; allowed: emergency, same day, self care",
        ),
        (
            {"label_shares": SHARES, "ordered": False, "gate": {"rules": [UNDER_TRIAGE]}},
            "figure 'under_triage_rate' needs data.labels.ordered: true",
        ),
        ({"label_shares": SHARES, "ordered": False, "selective": {"risk": "under_triage"}}, "needs an order"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(parse_section(PlanConfig, values))


def test_aims_out_of_reach_say_so_beside_the_others() -> None:
    """Without an order the guesses for errors, 5 and 10 %, lie above the default limit: the rest is planned."""
    config = PlanConfig(label_shares=SHARES, ordered=False, selective=SelectiveConfig(max_risk=0.01))
    result = plan(config)
    errors, threshold = (need for need in result.needs if "no number of rows" in need.remark)
    assert errors.remark.endswith(
        "0.15 is expected (expected.under_triage + expected.over_triage), which is not far enough below "
        "max_under_triage"
    )
    assert (threshold.rows_of, threshold.num_rows) == ("calibration", None)
    assert "all of these" not in "\n".join(result.lines())
    assert "all that have a number" in "\n".join(result.lines())


def test_a_threshold_of_each_part_needs_rows_of_that_part_and_bounds_that_hold_at_once() -> None:
    examples = to_table(
        [Example(str(i), "test", "text", "emergency", attributes={"sex": "f" if i % 4 else "m"}) for i in range(8)]
    )
    by_sex = PlanConfig(label_shares=SHARES, rows_per_group=1, selective=SelectiveConfig(per="sex"))
    needs = [need for need in plan(by_sex, examples=examples).needs if need.rows_of == "calibration"]
    # Of the surest fifth the bound at a doubt of 0.05 / 2 must keep 5 %: scipy's Clopper-Pearson, from these rows on.
    shown = np.arange(1, 400)
    most = [max((k for k in range(9) if beta.ppf(0.975, k + 1, n - k) <= 0.05), default=-1) for n in shown]
    rows = 1 + shown[binom.cdf(most, shown, 0.01) < 0.8].max()
    assert [need.num_rows for need in needs] == [math.ceil(rows * 5 / 0.75), rows * 5 * 4]
    assert "for sex f, 0.75 of the rows" in needs[0].aim

    unknown = [need for need in plan(by_sex).needs if need.rows_of == "calibration"]
    assert [need.num_rows for need in unknown] == [None]
    assert "is not known" in unknown[0].remark

    by_label = by_sex.model_copy(update={"selective": SelectiveConfig(per="label")})
    shares = ExpectedTable.of(SHARES, EXPECTED, ordered=True).predicted_shares
    assert shares["self care"] == pytest.approx(0.6 - 0.6 * 0.1 / 0.9 + 0.3 * 0.05 / 0.4)
    needs = [need for need in plan(by_label).needs if need.rows_of == "calibration"]
    assert [need.num_rows * share for need, share in zip(needs, shares.values(), strict=True)] == [  # type: ignore[operator]
        pytest.approx(needs[0].num_rows * shares["emergency"], abs=1)  # type: ignore[operator]
    ] * 3


def test_declared_shares_take_the_labels_and_the_order_of_the_run() -> None:
    run = load_config(Path("configs/demo.yaml"))
    names = run.data.labels.names
    shares = dict(zip(reversed(names), [0.3, 0.25, 0.2, 0.15, 0.1], strict=True))
    config = PlanConfig(run="configs/demo.yaml", label_shares=shares, rows_per_group=1)
    assert plan(config, run).labels == {name: shares[name] for name in names}
    other = config.model_copy(update={"label_shares": SHARES})
    with pytest.raises(ConfigError, match=r"configs/demo\.yaml: label_shares: not declared: 'emergency'"):
        plan(other, run)
