"""Thresholds: chosen by a bound that holds on the population as often as it says, also where a patient has many notes,
and measured on rows which did not choose them.

The rates in `docs/evaluation.md` are those of the simulations here (`make test-simulations`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from r2d.config.evaluation import SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.calibration import FittedCalibration, scale
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.selective import SelectiveMetrics, ThresholdChoice
from r2d.evaluation.threshold import evaluate_threshold, held, risk_bounds, risk_coverage_curve, select_threshold
from r2d.label_scores import BoolArray, FloatArray
from tests.evaluation.predicted import QUICK, predictions_of

# --- the risk-coverage curve ---

BARE = SelectiveConfig(risk="error", bound_confidence=None)


def lost(pattern: str) -> BoolArray:
    return np.array([sign == "x" for sign in pattern])


def two_labels(confidence: FloatArray, harm: BoolArray, **more: Any) -> Predictions:
    """Every row is `urgent`; a harmed one was called `later`, with that confidence."""
    predicted, shares = np.where(harm, "later", "urgent").tolist(), np.column_stack([confidence, 1 - confidence])
    shares[harm] = shares[harm, ::-1]
    return predictions_of(["urgent"] * len(harm), predicted, labels=("urgent", "later"), probabilities=shares, **more)


def simulated(seed: int, num_rows: int) -> tuple[FloatArray, BoolArray]:
    """Confidences that are true: a row with confidence c is wrong with probability 1 - c."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.6, 1.0, num_rows)
    return confidence, draw.random(num_rows) > confidence


def test_a_curve_of_four_rows_worked_by_hand() -> None:
    metrics = risk_coverage_curve(np.array([0.9, 0.8, 0.7, 0.6]), lost(".x.x"))
    assert [(point.coverage, point.risk) for point in metrics.points] == [
        (1 / 4, 0), (2 / 4, 1 / 2), (3 / 4, pytest.approx(1 / 3)), (1, 2 / 4),
    ]  # fmt: skip
    assert metrics.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert metrics.aurc_of_perfect_order == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert metrics.risk == 2 / 4


def test_rows_of_equal_confidence_are_shown_together_whatever_their_order() -> None:
    first, other = (risk_coverage_curve(np.array([0.9, 0.5, 0.5, 0.5]), lost(pattern)) for pattern in (".xx.", "..xx"))
    assert first == other
    assert [point.coverage for point in first.points] == [1 / 4, 1]
    equal = risk_coverage_curve(np.full(4, 0.5), lost("x..."))
    assert (equal.num_rows, equal.risk, equal.aurc, equal.aurc_of_perfect_order) == (4, 1 / 4, 1 / 4, 1 / 16)


def test_a_perfect_order_reaches_the_least_area_a_reversed_one_the_most_and_a_long_curve_is_thinned() -> None:
    confidence, errors = np.linspace(1, 0.5, 10), lost(".......xxx")
    best, worst = risk_coverage_curve(confidence, errors), risk_coverage_curve(confidence, errors[::-1])
    assert best.aurc == pytest.approx(best.aurc_of_perfect_order)
    assert worst.aurc > worst.risk > best.aurc
    points = risk_coverage_curve(*simulated(0, 5_000)).points
    assert (len(points), points[0].coverage, points[-1].coverage) == (100, 1 / 5_000, 1), "the ends are kept"


# --- the threshold ---


def chosen(confidence: FloatArray, is_error: BoolArray, config: SelectiveConfig = BARE) -> ThresholdChoice:
    return select_threshold(two_labels(confidence, is_error), ordered=True, config=config)


def test_the_bare_threshold_shows_as_much_as_the_share_allows() -> None:
    confidence = np.arange(20, 0, -1) / 20
    choice = chosen(confidence, lost("." * 10 + "x" * 10), BARE.model_copy(update={"max_risk": 0.2}))
    assert (choice.threshold, choice.reason) == (pytest.approx(0.45), None)
    on_validation = choice.validation
    assert (on_validation.coverage, on_validation.risk, on_validation.upper_bound) == (12 / 20, 2 / 12, None)


def test_where_groups_have_one_row_the_bound_is_clopper_pearsons() -> None:
    confidence = 1 - np.arange(1_000) / 2_000
    choice = chosen(confidence, np.arange(1_000) >= 700, SelectiveConfig(risk="error", max_risk=0.05))
    shown = round(1_000 * choice.validation.coverage)
    expected = stats.binomtest(shown - 700, shown, alternative="less").proportion_ci(0.95, method="exact").high
    assert choice.validation.upper_bound == pytest.approx(expected)
    assert choice.validation.upper_bound <= 0.05
    looser = stats.binomtest(shown - 650, shown + 50, alternative="less").proportion_ci(0.95, method="exact").high
    assert looser > 0.05, "and the next coverage does not pass"


def test_the_rows_that_a_bound_needs_are_said_beforehand_and_one_fewer_are_too_few() -> None:
    config = SelectiveConfig(risk="error", max_risk=0.05)
    assert [config.least_rows(num_errors) for num_errors in (0, 1, 2)] == [59, 93, 124]
    for num_rows, is_enough in ((59, True), (58, False)):
        choice = chosen(np.full(num_rows, 0.9), np.zeros(num_rows, bool), config)
        assert (choice.threshold is not None) is is_enough
    assert "even without an error among them the upper bound would be 0.0503" in str(choice.reason)


def test_the_sequence_goes_from_strict_to_loose_and_ends_at_the_first_that_fails() -> None:
    """A stretch of errors in the middle stops it, although the looser thresholds would pass again."""
    confidence = 1 - np.arange(2_000) / 4_000
    config = SelectiveConfig(risk="error", max_risk=0.05)
    is_error = np.zeros(2_000, bool)
    is_error[600:640] = True  # 6 % of the first 640 rows, 2 % of all
    assert chosen(confidence, is_error, config).validation.coverage == pytest.approx(0.3, abs=0.01)
    is_error[:] = False
    is_error[10:50] = True  # among the strictest fifth
    refused = chosen(confidence, is_error, config)
    assert (refused.threshold, refused.validation.upper_bound) == (None, None)
    assert "shown by the strictest threshold that can be tested, 400 of 2,000, up to" in str(refused.reason)
    assert "a stricter one" not in str(refused.reason)
    few = chosen(confidence[:90], is_error[:90], config)
    assert "a stricter one would show too few of the 90 groups to tell" in str(few.reason)


def test_many_notes_of_few_patients_are_not_many_rows() -> None:
    """Without an error, 40 patients with 50 notes each say no more than 40 rows."""
    confidence = np.tile(np.linspace(1, 0.6, 50), 40)
    names = [f"patient {row // 50}" for row in range(2_000)]
    rows = two_labels(confidence, np.zeros(2_000, bool), group_names=names)
    choice = select_threshold(rows, ordered=False, config=SelectiveConfig(risk="error", max_risk=0.05))
    assert (choice.threshold, choice.validation.num_groups) == (None, 40)
    exact = 1 - 0.05 ** (1 / 40)
    bound = risk_bounds(np.full((40, 1), 50.0), np.zeros((40, 1)), 0.95)
    assert bound == pytest.approx([exact], abs=0.003)


def test_no_threshold_is_a_result_with_a_reason() -> None:
    choice = chosen(np.linspace(0.5, 1, 100), np.ones(100, bool))
    assert (choice.threshold, choice.validation.coverage, choice.validation.risk) == (None, 0, None)
    bounded = chosen(np.linspace(0.5, 1, 100), lost("." * 99 + "x"), SelectiveConfig(risk="error", max_risk=0.001))
    nothing = select_threshold(predictions_of(["home"] * 10, [None] * 10), ordered=True, config=BARE)
    for reason, words in (
        (choice.reason, "the lowest share among 20 coverages is 1.0000, max_risk is 0.05"),
        (bounded.reason, "too few rows or groups"),
        (nothing.reason, "no row that could choose it has a declared label"),
    ):
        assert words in str(reason)


def test_without_errors_everything_is_shown_but_never_what_is_no_label() -> None:
    predictions = two_labels(np.array([0.9, 0.9, *np.linspace(0.5, 1, 98)]), np.zeros(100, bool))
    predictions = replace(predictions, predicted_labels=[None, None, *predictions.predicted_labels[2:]])
    choice = select_threshold(predictions, ordered=True, config=BARE)
    assert (choice.threshold, choice.validation.coverage, choice.validation.risk) == (0.5, 98 / 100, 0)


def clustered(seed: int, num_groups: int, notes: int, dependence: float) -> tuple[FloatArray, BoolArray, list[str]]:
    """As `simulated`, with several notes of a patient: where `dependence` is the correlation of their errors. The true
    risk above a threshold t is (1 - t) / 2 all the same."""
    draw = np.random.default_rng(seed)
    num_rows = num_groups * notes
    confidence = draw.uniform(0.6, 1.0, num_rows)
    of_patient = np.repeat(draw.random(num_groups), notes)
    luck = np.where(draw.random(num_rows) < np.sqrt(dependence), of_patient, draw.random(num_rows))
    return confidence, luck > confidence, [f"patient {row // notes}" for row in range(num_rows)]


def violations(num_runs: int, notes: int, dependence: float, num_groups: int = 150) -> dict[str, float]:
    """Share of runs whose threshold has a true risk above `max_risk`, with groups counted, and with rows counted; and
    in which one is found."""
    config = SelectiveConfig(risk="error", max_risk=0.1)
    counts = {"groups": 0, "rows": 0, "found": 0}
    for seed in range(num_runs):
        confidence, harm, names = clustered(seed, num_groups, notes, dependence)
        for counted, groups in (("groups", names), ("rows", [])):
            rows = two_labels(confidence, harm, group_names=groups)
            value = select_threshold(rows, ordered=True, config=config).threshold
            counts[counted] += value is not None and (1 - value) / 2 > 0.1
            counts["found"] += counted == "groups" and value is not None
    return {name: count / num_runs for name, count in counts.items()}


def most(rate: float, num_runs: int) -> float:
    """The rate and three standard errors of its simulation."""
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / num_runs))


def test_a_threshold_holds_on_the_population_also_where_patients_have_twenty_notes() -> None:
    rates = violations(60, notes=20, dependence=1.0, num_groups=60)
    assert rates["groups"] <= most(0.05, 60)
    assert rates["rows"] > most(0.05, 60), "rows counted as if they were independent"


@pytest.mark.simulation
@pytest.mark.parametrize("dependence", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("notes", [1, 5, 20])
def test_thresholds_hold_as_often_as_they_say(notes: int, dependence: float) -> None:
    """`pytest -s` prints the row of the table in `docs/evaluation.md`."""
    rates = violations(300, notes, dependence)
    print(f"\n| {notes} | {dependence:g} | {rates['groups']:.1%} | {rates['found']:.1%} | {rates['rows']:.1%} |")
    assert rates["groups"] <= most(0.05, 300)
    assert rates["found"] > 0.2


@pytest.mark.simulation
def test_a_threshold_is_found_more_often_than_with_a_correction_for_all_coverages() -> None:
    """Rows of patients with one note each; the confidence is true. Bonferroni's correction for twenty coverages, as it
    was, is this test at a confidence of 1 - 0.05 / 20 for each candidate, and any that passes."""
    for num_rows, least in ((200, 0.2), (300, 0.35), (800, 0.7)):
        found = corrected = 0
        for seed in range(300):
            draw = np.random.default_rng(seed)
            confidence = draw.beta(8, 1, num_rows)
            harm = draw.random(num_rows) > confidence
            config = SelectiveConfig(risk="error", max_risk=0.05)
            found += select_threshold(two_labels(confidence, harm), ordered=True, config=config).threshold is not None
            order = np.argsort(-confidence)
            shown = np.ceil(np.arange(1, 21) / 20 * num_rows).astype(int)
            errors = np.cumsum(harm[order])[shown - 1]
            corrected += bool((stats.beta.ppf(1 - 0.05 / 20, errors + 1, shown - errors) <= 0.05).any())
        print(f"\n| {num_rows} | {found / 300:.0%} | {corrected / 300:.0%} |")
        assert found > corrected
        assert found / 300 > least


@pytest.mark.simulation
def test_thresholds_hold_where_the_temperature_is_fitted_on_the_same_rows() -> None:
    """Four labels drawn from true probabilities, which the model says too boldly, by a temperature of 1.7."""
    labels = ("a", "b", "c", "d")

    def drawn(seed: int, num_rows: int) -> tuple[Predictions, FloatArray]:
        """The rows, and the true probability that each prediction is wrong."""
        draw = np.random.default_rng(seed)
        true = draw.dirichlet(np.full(4, 0.3), num_rows)
        gold = (true.cumsum(axis=1) > draw.random((num_rows, 1))).argmax(axis=1)
        stated = np.maximum(true, 1e-12) ** 1.7
        predicted = stated.argmax(axis=1)
        rows = predictions_of(
            [labels[index] for index in gold],
            [labels[index] for index in predicted],
            labels=labels,
            probabilities=stated / stated.sum(axis=1, keepdims=True),
        )
        return rows, 1 - true[np.arange(num_rows), predicted]

    population, risk = drawn(0, 40_000)
    broken = found = 0
    for seed in range(1, 401):
        rows, _ = drawn(seed, 600)
        fitted = FittedCalibration.fit(rows, ordered=False, config=SelectiveConfig(risk="error", max_risk=0.1))
        if fitted.threshold.threshold is not None:
            shown = scale(population, fitted.temperature).confidence >= fitted.threshold.threshold
            found, broken = found + 1, broken + int(risk[shown].mean() > 0.1)
    print(f"\nfound {found / 400:.1%}, above the limit {broken / 400:.1%}")
    assert broken / 400 <= most(0.05, 400)
    assert found / 400 > 0.3


# --- thresholds of parts ---


def two_sites(seed: int, num_rows: int) -> Predictions:
    """Confidences that are true at the first site; at the second, the model says each error's odds too low."""
    draw = np.random.default_rng(seed)
    at_second, confidence = draw.random(num_rows) < 0.5, draw.uniform(0.6, 1.0, num_rows)
    harm = draw.random(num_rows) > np.where(at_second, confidence - 0.1, confidence)
    sites = [{"site": "second" if is_second else "first"} for is_second in at_second]
    return two_labels(confidence, harm, attributes=sites)


def test_one_part_of_all_rows_has_the_threshold_of_all_rows() -> None:
    rows = replace(two_sites(4, 2_000), attributes=[{"site": "only"}] * 2_000)
    config = SelectiveConfig(risk="error", max_risk=0.15)
    common = select_threshold(rows, ordered=True, config=config)
    choice = select_threshold(rows, ordered=True, config=config.model_copy(update={"per": "site"}))
    part = choice.parts["only"]
    assert (part.threshold, part.validation, part.is_common) == (common.threshold, common.validation, False)
    assert (choice.threshold, choice.otherwise, choice.per) == (None, None, "site"), "there is no one threshold"


def test_each_part_is_chosen_on_its_rows_alone_at_a_confidence_for_all_parts() -> None:
    rows = two_sites(5, 6_000)
    choice = select_threshold(rows, ordered=True, config=SelectiveConfig(risk="error", max_risk=0.2, per="site"))
    for name, part in choice.parts.items():
        assert part.threshold is not None
        where = np.array([row["site"] == name for row in rows.attributes]) & (rows.confidence >= part.threshold)
        shown, errors = int(where.sum()), int((where & ~rows.correct).sum())
        upper = stats.binomtest(errors, shown, alternative="less").proportion_ci(1 - 0.05 / 2, method="exact").high
        assert part.validation.upper_bound == pytest.approx(upper)
    assert choice.parts["second"].threshold > choice.parts["first"].threshold + 0.05


@pytest.mark.parametrize(("too_few", "is_shown"), [("hand_over", False), ("common", True)])
def test_a_part_with_too_few_rows_says_how_many_it_needs_and_goes_where_it_was_declared(
    too_few: str, is_shown: bool
) -> None:
    """Of a doubt of 5 % each of two parts has a half, for which a limit of 5 % needs 72 rows without an error."""
    sites = [{"site": "large"}] * 329 + [{"site": "small"}] * 71
    rows = two_labels(np.full(400, 0.9), np.zeros(400, bool), attributes=sites)
    config = SelectiveConfig(risk="error", max_risk=0.05, per="site", too_few=too_few)
    metrics = evaluate_threshold(rows, select_threshold(rows, ordered=True, config=config), QUICK)
    small = metrics.parts["small"]
    assert "too few rows or groups" in str(small.reason)
    assert "72 rows without an error, each of another group, are needed and 71 groups are there" in str(small.reason)
    assert (small.threshold is not None, small.is_common) == (is_shown, is_shown)
    assert metrics.otherwise == (0.9 if is_shown else None)
    assert metrics.test is not None
    assert metrics.test.coverage.value == (1 if is_shown else 329 / 400)
    assert ("small" in metrics.test_of_parts, metrics.test_of_parts["large"].coverage.value) == (is_shown, 1)


def test_each_label_has_a_threshold_and_an_attribute_that_no_row_has_is_refused() -> None:
    rows = two_sites(6, 3_000)
    config = SelectiveConfig(risk="error", max_risk=0.2, per="label")
    choice = select_threshold(rows, ordered=True, config=config)
    assert list(choice.parts) == ["urgent", "later"]
    later = choice.parts["later"]
    assert (later.threshold, later.is_common) == (None, False), "every `later` is wrong, and no want of rows helps that"
    assert "the strictest threshold that can be tested" in str(later.reason)
    with pytest.raises(ConfigError, match=r"per 'ward': none of the 3000 validation rows has a value"):
        select_threshold(rows, ordered=True, config=config.model_copy(update={"per": "ward"}))


@pytest.mark.simulation
def test_thresholds_of_parts_hold_for_all_of_them_at_once() -> None:
    """Four sites; the true risk above a threshold t is (1 - t) / 2, and 0.05 more at each further site."""
    sites, offsets = ("a", "b", "c", "d"), np.array([0.0, 0.05, 0.1, 0.15])
    config = SelectiveConfig(risk="error", max_risk=0.2, per="site")
    broken = broken_one = found = 0
    for seed in range(400):
        draw = np.random.default_rng(930_000 + seed)
        site, confidence = draw.integers(0, 4, 1_200), draw.uniform(0.6, 1.0, 1_200)
        harm = draw.random(1_200) > confidence - offsets[site]
        rows = two_labels(confidence, harm, attributes=[{"site": sites[index]} for index in site])

        def above(choice: ThresholdChoice) -> int:
            risks = [
                (1 - part.threshold) / 2 + offset
                for part, offset in zip(choice.parts.values(), offsets, strict=True)
                if part.threshold is not None
            ]
            return sum(risk > 0.2 for risk in risks)

        choice = select_threshold(rows, ordered=True, config=config)
        found += sum(part.threshold is not None for part in choice.parts.values())
        broken += above(choice) > 0
        alone = config.model_copy(update={"bound_confidence": 1 - 4 * 0.05})
        broken_one += above(select_threshold(rows, ordered=True, config=alone)) > 0
    print(f"\nfound {found / 1600:.0%}, any above {broken / 400:.1%}, without the correction {broken_one / 400:.1%}")
    assert broken / 400 <= most(0.05, 400)
    assert broken_one > broken
    assert found / 1600 > 0.3


# --- validation and test together ---


def selected(
    validation: Predictions, test: Predictions, config: SelectiveConfig = SelectiveConfig(), *, ordered: bool = True
) -> SelectiveMetrics:
    return evaluate_threshold(test, select_threshold(validation, ordered=ordered, config=config), QUICK)


def test_the_threshold_is_validations_and_the_metrics_are_the_tests() -> None:
    confidence = np.tile(np.linspace(1, 0.55, 20), 20)
    validation = two_labels(confidence, confidence < 0.7)
    harm = confidence < 0.7
    harm[0] = True  # one confident error that validation had not
    metrics = selected(validation, two_labels(confidence, harm), SelectiveConfig(max_risk=0.05))
    assert (metrics.risk, metrics.max_risk, metrics.reason) == ("under_triage", 0.05, None)
    assert metrics.threshold is not None
    shown = confidence >= metrics.threshold
    assert metrics.test is not None
    assert metrics.validation.coverage == metrics.test.coverage.value == shown.mean()
    risk = metrics.test.risk
    assert risk.value == pytest.approx((shown & harm).sum() / shown.sum())
    assert risk.low < risk.value < risk.high
    assert metrics.test.held is (None if risk.low <= 0.05 < risk.high else risk.high <= 0.05)
    assert metrics.curve.num_rows == 400


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.01, 0.05, True), (0.01, 0.051, None), (0.06, 0.1, False), (None, None, None)]
)
def test_a_limit_held_if_the_whole_interval_lies_within_it(
    low: float | None, high: float | None, expected: bool | None
) -> None:
    assert held(IntervalEstimate(0.04, low, high), 0.05) is expected


def test_without_a_threshold_or_a_test_row_that_it_shows_there_is_no_risk_but_a_curve() -> None:
    bad = two_labels(np.linspace(0.6, 1, 50), np.ones(50, bool))
    metrics = selected(bad, bad)
    assert (metrics.threshold, metrics.test, metrics.curve.risk) == (None, None, 1)
    validation = two_labels(np.full(400, 0.99), np.zeros(400, bool))
    test = selected(validation, two_labels(np.full(40, 0.7), np.zeros(40, bool))).test
    assert test is not None
    assert (test.coverage.value, test.risk.value, test.held) == (0, None, None)


def test_under_triage_needs_an_order_and_is_the_default_where_there_is_one() -> None:
    names = [str(row // 2) for row in range(30)]
    rows = two_labels(np.linspace(0.6, 1, 30), np.zeros(30, bool), group_names=names)
    with pytest.raises(ConfigError, match=r"data\.labels\.ordered"):
        selected(rows, rows, SelectiveConfig(risk="under_triage"), ordered=False)
    assert selected(rows, rows, ordered=False).risk == "error"
    ordered = selected(rows, rows)
    assert (ordered.risk, ordered.validation.rows_share_groups) == ("under_triage", True)
