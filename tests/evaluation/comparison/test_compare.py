"""A comparison: metrics, differences and spreads that can be worked by hand, and dashes for what there is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r2d.config.data import LabelsConfig
from r2d.errors import DataError
from r2d.evaluation.bootstrap import bootstrap_differences
from r2d.evaluation.comparison.compare import (
    Comparison,
    VariantResult,
    VariantStatistics,
    compare,
    is_marked,
    source_spread,
)
from r2d.evaluation.comparison.models import COLUMNS, MeasuredModel, VariantFacts, comparison_runs
from r2d.evaluation.comparison.picture import PANELS, comparison_picture
from r2d.evaluation.comparison.tables import comparison_markdown
from r2d.evaluation.sections.labels import Comparator
from tests.evaluation.comparison.measured import LABELS, QUICK, measured
from tests.reports.pages import assert_expected

EXPECTED = Path(__file__).parent
GOLD = ["now", "now", "soon", "soon", "later", "later", "now", "soon"]
TWO_WRONG = ["now", "soon", "soon", "now", "later", "later", "now", "soon"]
"""One row too low, one too high."""
FOUR_WRONG = ["soon", "soon", "later", "now", "later", "later", "now", "soon"]
"""Three rows too low, one too high."""
MANY = [LABELS.names[place % 3] for place in range(120)]

MODELS = [
    measured("r2d", 1, GOLD, GOLD, scores=[0.5] * 8, aligned=0.5, seconds=(100.0, 10.0)),
    measured("r2d", 2, GOLD, TWO_WRONG, scores=[0.7] * 8, aligned=0.5, seconds=(None, 12.0)),
    measured("sft", 1, GOLD, TWO_WRONG, seconds=(50.0, 5.0)),
    measured("sft", 2, GOLD, FOUR_WRONG, seconds=(54.0, 5.0)),
]


def grid(references: str | None = None) -> list[MeasuredModel]:
    """Two methods on three sources, measured against the rationales of their source, or all against the same."""
    return [
        measured(f"{name}, {source}", 1, GOLD, labels, scores=[score] * 8, aligned=score,
                 references=references or source)
        for name, source, labels, score in [
            ("r2d", "llm", GOLD, 0.5),
            ("r2d", "nurse", TWO_WRONG, 0.4),
            ("r2d", "nurse_post_processed", GOLD, 0.75),
            ("dss", "llm", FOUR_WRONG, 0.3),
            ("dss", "nurse", FOUR_WRONG, 0.3),
            ("dss", "nurse_post_processed", FOUR_WRONG, 0.3),
        ]
    ]  # fmt: skip


GRID = grid()


def with_options(model: MeasuredModel) -> MeasuredModel:
    """The same where each row has options of its own."""
    label = replace(model.metrics.label, macro_f1=None, weighted_f1=None, per_class={}, confusion_matrix=())
    baselines = {Comparator.RANDOM_OPTION: replace(label, accuracy=0.2)}
    return replace(model, metrics=replace(model.metrics, label=label, safety=None, baselines=baselines))


OPTIONS = [with_options(model) for model in MODELS]
ZERO_SHOT = MeasuredModel(
    VariantFacts("zero-shot llm", "zero-shot", None, None, "llm"),
    measured("sft", 1, GOLD, [*GOLD[:6], None, None]).metrics,
    measured("sft", 1, GOLD, [*GOLD[:6], None, None]).predictions,
    {
        "source": "llm", "num_examples": 0, "authors": ["some-llm"], "num_without_label": 2,
        "without_label": {"no record": 1, "not_a_label": 1}, "num_own_references": 3,
    },
)  # fmt: skip
FEW_SHOT = replace(
    ZERO_SHOT,
    facts=replace(ZERO_SHOT.facts, variant="few-shot solved", method="few-shot"),
    zero_shot=ZERO_SHOT.zero_shot | {"source": "solved", "num_examples": 3},
)


def compared(models: Sequence[MeasuredModel], labels: LabelsConfig = LABELS) -> Comparison:
    return compare(models, labels, QUICK)


def variant(comparison: Comparison, name: str) -> VariantResult:
    (row,) = [row for row in comparison.variants if row.facts.variant == name]
    return row


def random_model(name: str, seed: int, accuracy: float, **values: Any) -> MeasuredModel:
    generator = np.random.default_rng(seed)
    labels = [label if generator.random() < accuracy else str(generator.choice(LABELS.names)) for label in MANY]
    return measured(name, seed, MANY, labels, **values)


@pytest.mark.parametrize(
    ("case", "models", "labels"),
    [
        ("seeds", MODELS, LABELS),
        ("one_seed", MODELS[1:2], LABELS),
        ("sources", [*GRID, measured("sft", 1, GOLD, GOLD)], LABELS),
        ("same_references", grid("nurse"), LABELS),
        ("options", OPTIONS, LabelsConfig(per_row=True)),
        ("zero_shot", [MODELS[0], ZERO_SHOT, FEW_SHOT], LABELS),
    ],
)
def test_the_tables_are_the_expected_ones(case: str, models: list[MeasuredModel], labels: LabelsConfig) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/evaluation/comparison` writes the expected tables anew."""
    assert_expected(comparison_markdown(compared(models, labels)), EXPECTED / f"expected_{case}.md")


def test_mean_and_sample_deviation_over_the_seeds_worked_by_hand_and_no_value_is_never_a_zero() -> None:
    r2d, sft = compared(MODELS).variants
    assert (r2d.facts.variant, r2d.num_models, sft.facts.variant, sft.num_models) == ("r2d", 2, "sft", 2)
    consistency = sft.metrics["consistency"]
    assert (consistency.mean, consistency.std, consistency.values) == (None, None, [])
    runs = comparison_runs(MODELS)
    assert runs.column_names == ["variant", "method", "source", "references", "seed", *(c.key for c in COLUMNS)]
    assert runs["consistency"].null_count == 2
    assert r2d.metrics["accuracy"].mean == pytest.approx((1.0 + 0.75) / 2)
    assert r2d.metrics["accuracy"].std == pytest.approx((2 * 0.125**2) ** 0.5)
    assert (sft.metrics["training_seconds"].mean, sft.metrics["training_seconds"].std) == (52.0, pytest.approx(8**0.5))


def test_the_difference_of_two_variants_with_two_seeds_each_worked_by_hand() -> None:
    comparison = compared(MODELS)
    differences = variant(comparison, "sft").differences
    assert differences["accuracy"].value == pytest.approx((0.75 + 0.5) / 2 - (1.0 + 0.75) / 2)
    assert differences["under_triage_rate"].value == pytest.approx((1 / 8 + 3 / 8) / 2 - (0 + 1 / 8) / 2)
    # F1 of now, soon, later. TWO_WRONG: 2/3, 2/3, 1; FOUR_WRONG: 2*1/(3+2), 2*1/(3+3), 2*2/(2+3)
    two, four = (2 / 3 + 2 / 3 + 1) / 3, (2 / 5 + 2 / 6 + 4 / 5) / 3
    assert differences["macro_f1"].value == pytest.approx((two + four) / 2 - (1 + two) / 2)
    assert differences["bertscore_f1"].value is None
    assert variant(comparison, "r2d").differences == {}


def test_a_metric_with_its_interval_is_the_mean_over_the_seeds() -> None:
    for row in compared(MODELS).variants:
        for name, estimate in row.intervals.items():
            mean = row.metrics[name].mean
            assert estimate.value == (None if mean is None else pytest.approx(mean))
            if estimate.low is not None:
                assert estimate.low <= estimate.value <= estimate.high


def test_rows_without_a_score_do_not_count_in_its_mean() -> None:
    scores = [0.2, None, 0.4, None, None, None, None, None]
    (row,) = compared([measured("r2d", 1, GOLD, GOLD, scores=scores)]).variants
    assert row.intervals["paper_bleu"].value == pytest.approx(0.3)


def test_identical_variants_differ_by_nothing_and_have_no_mark() -> None:
    comparison = compared([random_model(name, 1, 0.6, scores=[0.1, 0.5, 0.9] * 40) for name in ("r2d", "dss")])
    differences = variant(comparison, "dss").differences.values()
    assert {(difference.value, difference.excludes_zero) for difference in differences} == {(0.0, False)}
    assert comparison.num_marked == 0
    assert "\\*" not in comparison_markdown(comparison).split("## Differences")[0]


def test_a_perfect_variant_is_marked_against_a_random_one_in_each_label_metric() -> None:
    runs = [random_model("sft", seed, 0.0) for seed in (1, 2, 3)]
    comparison = compared([*runs, *(measured("r2d", seed, MANY, MANY) for seed in (1, 2, 3))])
    differences = variant(comparison, "r2d").differences
    for name in ("accuracy", "macro_f1", "under_triage_rate"):
        assert differences[name].excludes_zero
    assert differences["accuracy"].low > 0 > differences["under_triage_rate"].high
    tables = comparison_markdown(comparison)
    assert "| r2d | 3 | 1.000 ± 0.000 \\* |" in tables
    assert "3 differences are looked at, 3 are marked; by chance alone at most about 0.2 would be" in tables


def test_with_fewer_than_three_seeds_nothing_is_marked_and_the_tables_say_why() -> None:
    runs = [model for seed in (1, 2) for model in (random_model("sft", seed, 0.0), measured("r2d", seed, MANY, MANY))]
    comparison = compared(runs)
    assert variant(comparison, "r2d").differences["accuracy"].excludes_zero
    assert (comparison.num_marked, comparison.can_mark) == (0, False)
    tables = comparison_markdown(comparison)
    assert "No difference is marked: that needs 3 seeds of each variant" in tables
    assert "1.000 ± 0.000 \\*" not in tables


def runs_of_equal_recipes(draw: np.random.Generator, num_seeds: int, spread: float) -> list[MeasuredModel]:
    """Two variants whose seeds differ by luck alone: each model's accuracy is drawn about the same 0.7."""
    gold = draw.choice(LABELS.names, 120).tolist()
    difficulty = draw.normal(0, 1, 120)  # of the rows, shared by all models
    models = []
    for name in ("r2d", "sft"):
        for seed in range(num_seeds):
            skill = 1.0 + spread * draw.normal()
            right = draw.random(120) < 1 / (1 + np.exp(difficulty - skill))
            models.append(measured(name, seed, gold, np.where(right, gold, draw.choice(LABELS.names, 120)).tolist()))
    return models


def false_marks(num_runs: int, num_seeds: int, spread: float) -> tuple[float, float]:
    """Share of runs in which equal recipes are marked in macro-F1; and in which an interval of rows alone excludes 0,
    as the marks were before."""
    draw, marks, rows_alone = np.random.default_rng(7), 0, 0
    for _ in range(num_runs):
        models = runs_of_equal_recipes(draw, num_seeds, spread)
        marks += is_marked(variant(compared(models), "sft").differences["macro_f1"])
        sums = [np.hstack([VariantStatistics(LABELS).sums(model.predictions) for model in part])
                for part in (models[num_seeds:], models[:num_seeds])]  # fmt: skip
        of_rows = bootstrap_differences(*sums, VariantStatistics(LABELS), QUICK)
        rows_alone += of_rows["macro_f1"].excludes_zero
    return marks / num_runs, rows_alone / num_runs


def test_equal_recipes_are_seldom_marked() -> None:
    marked, by_rows = false_marks(20, 3, spread=1.0)
    assert marked <= 0.05 + 3 * (0.05 * 0.95 / 20) ** 0.5
    assert by_rows > 0.25


@pytest.mark.simulation
@pytest.mark.parametrize(("num_seeds", "spread"), [(3, 0.0), (3, 0.25), (3, 0.5), (3, 1.0), (5, 0.5)])
def test_equal_recipes_are_marked_in_at_most_one_of_twenty_comparisons(num_seeds: int, spread: float) -> None:
    """`pytest -s` prints the row of the table in `docs/evaluation.md`."""
    marked, by_rows = false_marks(150, num_seeds, spread)
    print(f"\n| {num_seeds} | {spread:g} | {marked:.1%} | {by_rows:.1%} |")
    assert marked <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert by_rows > marked


def test_a_difference_is_paired_on_the_same_rows() -> None:
    first = random_model("r2d", 1, 0.5)
    labels = first.predictions["predicted_label"].to_pylist()
    wrong = next(place for place, (label, gold) in enumerate(zip(labels, MANY, strict=True)) if label != gold)
    labels[wrong] = MANY[wrong]
    row = variant(compared([first, measured("dss", 1, MANY, labels)]), "dss")
    metric, difference = row.intervals["accuracy"], row.differences["accuracy"]
    assert difference.value == pytest.approx(1 / 120)
    assert difference.high - difference.low < 0.4 * (metric.high - metric.low)


def test_shuffling_the_rows_of_a_model_changes_nothing() -> None:
    groups = [f"patient-{place // 4}" for place in range(120)]
    models = [
        random_model(name, seed, accuracy, groups=groups, scores=[0.1, 0.4, None] * 40)
        for name, accuracy in (("r2d", 0.7), ("sft", 0.4))
        for seed in (1, 2)
    ]
    draw = np.random.default_rng(0)
    shuffled = [replace(model, predictions=model.predictions.take(draw.permutation(120))) for model in models]
    assert compared(shuffled) == compared(models)


def test_patients_are_drawn_and_not_rows() -> None:
    alone = random_model("r2d", 1, 0.5)
    labels = [label for label in alone.predictions["predicted_label"].to_pylist() for _ in range(4)]
    gold = [label for label in MANY for _ in range(4)]
    grouped = measured("r2d", 1, gold, labels, groups=[f"patient-{place // 4:03d}" for place in range(480)])
    one, four = compared([alone]), compared([grouped])
    intervals = (comparison.variants[0].intervals["accuracy"] for comparison in (one, four))
    widths = [accuracy.high - accuracy.low for accuracy in intervals]
    assert widths[1] == pytest.approx(widths[0], abs=0.02)
    assert (one.num_groups, four.num_groups) == (120, 120)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (GOLD[:-1], r"'sft' \(seed 1\) and 'r2d' \(seed 1\) .*0 rows are its alone and 1 are missing, .* 'row-007'"),
        ([*GOLD[:-1], "now"], r"the same ids, but other labels or groups"),
    ],
)
def test_variants_on_different_test_rows_are_refused(gold: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compared([MODELS[0], measured("sft", 1, gold, gold)])


def test_labels_without_an_order_have_no_under_triage() -> None:
    models = [replace(model, metrics=replace(model.metrics, safety=None)) for model in MODELS]
    comparison = compared(models, LabelsConfig(names=LABELS.names))
    assert "under_triage_rate" not in comparison.variants[0].intervals
    assert "under-triage" not in comparison_markdown(comparison)


def test_variants_over_rows_with_options_of_their_own_are_judged_by_accuracy() -> None:
    comparison = compared(OPTIONS, LabelsConfig(per_row=True))
    assert (comparison.headline, comparison.baselines) == ("accuracy", {"an option at random": 0.2})
    assert variant(comparison, "sft").differences["accuracy"].value == pytest.approx(-0.25)
    assert set(variant(comparison, "r2d").intervals) == {"accuracy", "bertscore_f1", "paper_bleu"}


def test_the_spread_over_the_sources_is_the_largest_minus_the_smallest_mean_of_a_method() -> None:
    by_method = compared([*GRID, measured("sft", 1, GOLD, GOLD)]).sources
    assert list(by_method) == ["r2d", "dss"]
    assert [row.facts.source for row in by_method["r2d"]] == ["llm", "nurse", "nurse_post_processed"]
    r2d, dss = map(source_spread, by_method.values())
    assert r2d["accuracy"] == pytest.approx(0.25)
    assert r2d["bertscore_f1"] == pytest.approx(0.35)
    assert (dss["accuracy"], dss["bertscore_f1"]) == (0.0, 0.0)
    assert "training_seconds" not in r2d
    assert compared(MODELS).sources == {}


def test_metrics_of_rationales_are_not_subtracted_where_the_references_differ() -> None:
    comparison = compared(GRID)
    assert "bertscore_f1" not in variant(comparison, "r2d, nurse").differences
    assert variant(comparison, "dss, llm").differences["bertscore_f1"].value == pytest.approx(-0.2)


def test_a_comparison_is_stored_as_json_with_every_key() -> None:
    stored = json.loads(json.dumps(compared([*GRID, ZERO_SHOT]).to_json()))
    assert set(stored) == {
        "seeds", "num_rows", "num_groups", "decoding", "bertscore_model", "confidence", "reference", "headline",
        "baselines", "num_differences", "num_marked", "variants", "sources", "zero_shot", "few_shot",
    }  # fmt: skip
    row = stored["variants"][3]
    assert list(row) == ["variant", "method", "source", "references", "n", "figures", "intervals", "differences"]
    assert row["figures"]["accuracy"] == {"mean": 0.5, "std": None, "n": 1}
    assert list(row["differences"]["accuracy"]) == ["value", "low", "high", "method", "marked"]
    assert list(stored["sources"][0]) == ["method", "rows", "spread"]
    assert stored["sources"][0]["rows"][1] == {"variant": "r2d, nurse", "source": "nurse", "references": "nurse"}
    assert stored["zero_shot"]["num_without_label"] == 2
    assert stored["baselines"] == {"majority class": 0.125}


def test_the_picture_grows_with_the_variants_and_with_a_part_for_the_sources() -> None:
    several = (MODELS, [*MODELS, measured("dss", 1, GOLD, GOLD)], GRID, GRID[:1])
    few, more, sources, one = (comparison_picture(compared(models)) for models in several)
    assert few.mode == "RGB"
    assert few.width == more.width == sources.width
    assert few.height < more.height
    assert sources.height > one.height + 5 * (more.height - few.height) + 50


def test_the_picture_shows_each_seed_and_the_metric_that_variants_are_judged_by() -> None:
    def pixels(models: list[MeasuredModel], labels: LabelsConfig = LABELS) -> bytes:
        return comparison_picture(compared(models, labels)).tobytes()

    assert pixels(MODELS) != pixels(MODELS[:3])
    other = [*OPTIONS[:3], replace(OPTIONS[2], facts=OPTIONS[3].facts)]
    assert pixels(OPTIONS, LabelsConfig(per_row=True)) != pixels(other, LabelsConfig(per_row=True))
    assert set(PANELS) <= {column.key for column in COLUMNS}
