"""What the rules promise, on simulated models whose truth is known (`benchmarks.gate_year`, `gate_power`)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from benchmarks.gate_power import joint_power
from benchmarks.gate_year import LABELS, POLICIES, World, measure, year
from r2d.config.gate import GateConfig
from r2d.evaluation.bootstrap import PairedGroups, paired_interval
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.looks import TestSetUse, expected_maximum
from r2d.evaluation.sections.labels import Comparator
from r2d.gate.rules import evaluate_rules


def test_a_truly_worse_challenger_is_refused_that_passed_before() -> None:
    world = World(800, seed=1)
    champion, challenger = world.model(0.838), world.model(0.710, under_triage=0.75)
    baselines = {
        Comparator.MAJORITY_CLASS: world.predictions(np.full(800, 2)),
        Comparator.LINEAR_MODEL: world.model(0.6),
    }
    metrics = measure(challenger, baselines, champion, resampled=True)
    outcomes = {name: evaluate_rules(metrics, rules) for name, rules in POLICIES.items()}
    assert outcomes["old defaults: above both baselines, by value"].outcome == "passed"
    refused = outcomes["new defaults"]
    assert [verdict.status for verdict in refused.verdicts] == ["passed", "failed", "failed", "failed"]


def test_of_two_models_that_rarely_differ_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Rates of 0 to 1 % among 400 rows: the bootstrap alone gives a point where no row differs."""
    generator, num_rows = np.random.default_rng(0), 400
    for more, fewer in ((0.0, 0.0), (0.002, 0.0), (0.005, 0.002), (0.01, 0.01)):
        draws = generator.multinomial(num_rows, (more, fewer, 1 - more - fewer), size=2_000)
        values, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
        ends = np.array([paired_interval(PairedGroups(*map(int, row), num_rows), 0.95) for row in values])
        holds = (ends[:, 0] <= more - fewer) & (more - fewer <= ends[:, 1])
        assert counts[holds].sum() / 2_000 >= 0.95 - 3 * (0.05 * 0.95 / 2_000) ** 0.5


def test_the_score_interval_ends_where_the_score_test_rejects() -> None:
    """The statistic at each end, its share of discordant rows found by maximising the likelihood anew."""
    more, fewer, total = 12, 2, 50
    for end, z in zip(paired_interval(PairedGroups(more, fewer, total), 0.95), (1.96, -1.96), strict=True):

        def unlikely(share: float, end: float = end) -> float:
            cells = (share + end, share, 1 - 2 * share - end)
            return -sum(
                count * np.log(cell) for count, cell in zip((more, fewer, total - more - fewer), cells, strict=True)
            )

        share = minimize_scalar(unlikely, bounds=(max(0.0, -end) + 1e-9, (1 - end) / 2 - 1e-9), method="bounded").x
        score = (more - fewer - total * end) / np.sqrt(total * (2 * share + end * (1 - end)))
        assert score == pytest.approx(z, abs=1e-3)


@pytest.mark.simulation
def test_a_rule_passes_equal_models_and_finds_a_gain_as_often_as_it_says() -> None:
    """200 pairs of each; three standard errors, and five points for the normal approximation."""
    (_, rule, *_), num_pairs = GateConfig().for_labels(LABELS).rules, 200
    only = GateConfig(rules=(rule,)).for_labels(LABELS)
    passed: dict[str, list[bool]] = {"equal": [], "better": []}
    said, gains = [], []
    for seed in range(num_pairs):
        world = World(400, seed)
        champion = world.model(0.8)
        for name, accuracy in {"equal": 0.8, "better": 0.833}.items():
            decision = evaluate_rules(measure(world.model(accuracy), {}, champion, resampled=True), only)
            passed[name].append(decision.outcome == "passed")
            if name == "equal":
                said.append(decision.verdicts[0].power.equal_passes)
                gains.append(decision.verdicts[0].power.passes_from)
    assert np.mean(passed["equal"]) == pytest.approx(np.mean(said), abs=0.05 + 3 * (0.2 * 0.8 / num_pairs) ** 0.5)
    assert np.mean(gains) == pytest.approx(0.033, abs=0.006)
    assert np.mean(passed["better"]) == pytest.approx(0.8, abs=0.05 + 3 * (0.16 / num_pairs) ** 0.5)


@pytest.mark.parametrize("num_runs", [20, pytest.param(150, marks=pytest.mark.simulation)])
def test_all_rules_together_pass_an_equal_model_as_often_as_the_gate_says(num_runs: int) -> None:
    """Within three standard errors of the simulation; and a model that is 2 points worse hardly ever passes."""
    found = joint_power(400, 0.0, num_runs)
    error = (found.largest * (1 - found.largest) / num_runs) ** 0.5
    assert found.least - 3 * error <= found.passed <= found.largest + 3 * error
    assert joint_power(400, -0.02, num_runs).passed <= 0.05


@pytest.mark.parametrize("num_years", [1, pytest.param(8, marks=pytest.mark.simulation)])
def test_under_pure_noise_half_a_year_promotes_few_models_and_hardly_a_harmful_one(num_years: int) -> None:
    num_weeks, before = 26 * num_years, POLICIES["old defaults: above both baselines, by value"]
    years = [year(POLICIES["new defaults"], 800, seed, weeks=26) for seed in range(num_years)]
    promoted, harmful = (sum(getattr(result, name) for result in years) for name in ("num_promoted", "num_harmful"))
    assert sum(year(before, 800, seed, weeks=26).num_promoted for seed in range(num_years)) > 0.9 * num_weeks
    assert promoted < 0.3 * num_weeks
    assert harmful <= max(1, 0.01 * num_weeks)


@pytest.mark.parametrize("num_models", [2, 10, 52])
def test_the_best_of_equal_models_is_too_good_by_the_optimism_that_is_stated(num_models: int) -> None:
    """The accuracy of the best of k equal models, less the mean of all, over 300 test sets."""
    optimism, stated = [], []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        ease = generator.standard_normal(800)
        own = generator.standard_normal((num_models, 800))
        correct = 0.85 + np.sqrt(0.8) * ease + np.sqrt(0.2) * own > 0
        accuracies = correct.mean(axis=1)
        optimism.append(accuracies.max() - 0.8023)
        paired = (correct[0] * 1.0 - correct[1]).std() / 800**0.5
        use = TestSetUse("0" * 64, num_models, num_models, "accuracy", paired / 2**0.5)
        stated.append(use.optimism)
    error = np.std(optimism) / 300**0.5
    assert np.mean(optimism) == pytest.approx(np.mean(stated), abs=3 * error)


@pytest.mark.parametrize(("num_draws", "mean"), [(1, 0.0), (2, 0.5642), (10, 1.5388), (50, 2.2491)])
def test_the_expected_maximum_is_that_of_the_tables(num_draws: int, mean: float) -> None:
    """Harter 1961, Expected values of normal order statistics."""
    assert expected_maximum(num_draws) == pytest.approx(mean, abs=2e-3)


@pytest.mark.simulation
def test_a_champion_kept_by_value_for_a_year_is_too_good_by_about_the_stated_optimism() -> None:
    """52 retrainings of equally good models; the champion is whichever had the best figure until then."""
    policy, years = POLICIES["not worse than the champion, by value"], 40
    optimism = [year(policy, 800, seed, spread=0.0).optimism for seed in range(years)]
    world = World(800, seed=0)
    first, second = (world.model(0.82) for _ in range(2))
    error = (first.correct * 1.0 - second.correct).std() / 800**0.5 / 2**0.5
    stated = TestSetUse("0" * 64, 53, 53, "accuracy", error).optimism
    assert label_metrics(first).accuracy == pytest.approx(0.82, abs=0.05)
    assert np.mean(optimism) == pytest.approx(stated, abs=3 * np.std(optimism) / years**0.5 + 0.003)
