"""The tables of a comparison: figures, differences and spreads that can be worked by hand, and dashes for the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from r2d.config.data import LabelsConfig
from r2d.errors import DataError
from r2d.evaluation.comparison.compare import compare
from r2d.evaluation.comparison.models import COLUMNS, MeasuredModel, comparison_runs
from r2d.evaluation.comparison.picture import PANELS, comparison_picture
from r2d.evaluation.comparison.tables import comparison_markdown
from tests.evaluation.compared import LABELS, QUICK, cells, measured

GOLD = ["now", "now", "soon", "soon", "later", "later", "now", "soon"]
PERFECT = list(GOLD)
TWO_WRONG = ["now", "soon", "soon", "now", "later", "later", "now", "soon"]
"""One row too low, one too high."""
FOUR_WRONG = ["soon", "soon", "later", "now", "later", "later", "now", "soon"]
"""Three rows too low, one too high."""
HALF = [0.5] * 8

MODELS = [
    measured("r2d", 1, GOLD, PERFECT, scores=HALF, aligned=0.5, seconds=(100.0, 10.0)),
    measured("r2d", 2, GOLD, TWO_WRONG, scores=[0.7] * 8, aligned=0.5, seconds=(None, 12.0)),
    measured("sft", 1, GOLD, TWO_WRONG, seconds=(50.0, 5.0)),
    measured("sft", 2, GOLD, FOUR_WRONG, seconds=(54.0, 5.0)),
]


def compared(models: list[MeasuredModel], labels: LabelsConfig = LABELS) -> dict[str, Any]:
    return compare(models, labels, QUICK)


def row_of(comparison: dict[str, Any], variant: str) -> dict[str, Any]:
    (row,) = [row for row in comparison["variants"] if row["variant"] == variant]
    return dict(row)


def random_model(variant: str, seed: int, gold: list[str], accuracy: float, **values: Any) -> MeasuredModel:
    generator = np.random.default_rng(seed)
    said = [one if generator.random() < accuracy else str(generator.choice(LABELS.names)) for one in gold]
    return measured(variant, seed, gold, said, **values)


def many(num_rows: int = 120) -> list[str]:
    return [LABELS.names[place % 3] for place in range(num_rows)]


def test_mean_and_sample_deviation_over_the_seeds_worked_by_hand() -> None:
    r2d, sft = compared(MODELS)["variants"]
    assert (r2d["variant"], r2d["n"], sft["variant"], sft["n"]) == ("r2d", 2, "sft", 2)
    assert r2d["figures"]["accuracy"]["mean"] == pytest.approx((1.0 + 0.75) / 2)
    assert r2d["figures"]["accuracy"]["std"] == pytest.approx((2 * 0.125**2) ** 0.5)
    assert sft["figures"]["training_seconds"] == {"mean": 52.0, "std": pytest.approx(8**0.5), "n": 2}


def test_the_difference_of_two_variants_with_two_seeds_each_worked_by_hand() -> None:
    comparison = compared(MODELS)
    found = row_of(comparison, "sft")["differences"]
    assert found["accuracy"]["value"] == pytest.approx((0.75 + 0.5) / 2 - (1.0 + 0.75) / 2)
    assert found["under_triage_rate"]["value"] == pytest.approx((1 / 8 + 3 / 8) / 2 - (0 + 1 / 8) / 2)
    # F1 of now, soon, later. TWO_WRONG: 2/3, 2/3, 1; FOUR_WRONG: 2*1/(3+2), 2*1/(3+3), 2*2/(2+3)
    two, four = (2 / 3 + 2 / 3 + 1) / 3, (2 / 5 + 2 / 6 + 4 / 5) / 3
    assert found["macro_f1"]["value"] == pytest.approx((two + four) / 2 - (1 + two) / 2)
    assert found["bertscore_f1"]["value"] is None
    assert row_of(comparison, "r2d")["differences"] == {}


def test_a_figure_with_its_interval_is_the_mean_over_the_seeds() -> None:
    for row in compared(MODELS)["variants"]:
        for name, found in row["intervals"].items():
            mean = row["figures"][name]["mean"]
            assert found["value"] == (None if mean is None else pytest.approx(mean))
            if found["low"] is not None:
                assert found["low"] <= found["value"] <= found["high"]


def test_rows_without_a_score_do_not_count_in_its_mean() -> None:
    some = [0.2, None, 0.4, None, None, None, None, None]
    (row,) = compared([measured("r2d", 1, GOLD, PERFECT, scores=some)])["variants"]
    assert row["intervals"]["paper_bleu"]["value"] == pytest.approx(0.3)


def test_identical_variants_differ_by_nothing_and_have_no_mark() -> None:
    gold = many()
    pair = [random_model(name, 1, gold, 0.6, scores=[0.1, 0.5, 0.9] * 40) for name in ("r2d", "dss")]
    comparison = compared(pair)
    for found in row_of(comparison, "dss")["differences"].values():
        assert (found["value"], found["marked"]) == (0.0, False)
    assert comparison["num_marked"] == 0
    assert "\\*" not in cells(comparison_markdown(comparison), "Variants", "dss")["macro-F1"]


def test_a_perfect_variant_is_marked_against_a_random_one_in_each_label_figure() -> None:
    gold = many()
    comparison = compared([random_model("sft", 1, gold, 0.0), measured("r2d", 1, gold, gold)])
    found = row_of(comparison, "r2d")["differences"]
    assert {name: found[name]["marked"] for name in ("accuracy", "macro_f1", "under_triage_rate")} == {
        "accuracy": True, "macro_f1": True, "under_triage_rate": True,
    }  # fmt: skip
    assert found["accuracy"]["low"] > 0 > found["under_triage_rate"]["high"]
    shown = comparison_markdown(comparison)
    assert cells(shown, "Variants", "r2d")["macro-F1"] == "1.000 \\*"
    assert cells(shown, "Differences to sft", "r2d")["accuracy"].endswith(") \\*")
    assert "3 differences are looked at, 3 are marked; by chance alone 0.2 would be" in shown
    assert "says nothing about seeds" in shown


def test_a_difference_is_paired_on_the_same_rows() -> None:
    gold = many()
    first = random_model("r2d", 1, gold, 0.5)
    said = first.predictions["predicted_label"].to_pylist()
    wrong = next(place for place, (one, other) in enumerate(zip(said, gold, strict=True)) if one != other)
    said[wrong] = gold[wrong]
    row = row_of(compared([first, measured("dss", 1, gold, said)]), "dss")
    of_figure, of_difference = row["intervals"]["accuracy"], row["differences"]["accuracy"]
    assert of_difference["value"] == pytest.approx(1 / 120)
    assert of_difference["high"] - of_difference["low"] < 0.4 * (of_figure["high"] - of_figure["low"])


def test_shuffling_the_rows_of_a_model_changes_nothing() -> None:
    gold, groups = many(), [f"patient-{place // 4}" for place in range(120)]
    models = [
        random_model(name, seed, gold, accuracy, groups=groups, scores=[0.1, 0.4, None] * 40)
        for name, accuracy in (("r2d", 0.7), ("sft", 0.4))
        for seed in (1, 2)
    ]
    shuffled = [
        replace(one, predictions=one.predictions.take(np.random.default_rng(place).permutation(120)))
        for place, one in enumerate(models)
    ]
    assert compared(shuffled) == compared(models)


def test_patients_are_drawn_and_not_rows() -> None:
    gold = many()
    alone = random_model("r2d", 1, gold, 0.5)
    said = [one for one in alone.predictions["predicted_label"].to_pylist() for _ in range(4)]
    gold4 = [one for one in gold for _ in range(4)]
    grouped = measured("r2d", 1, gold4, said, groups=[f"patient-{place // 4:03d}" for place in range(480)])
    one, four = (compared([model])["variants"][0]["intervals"]["accuracy"] for model in (alone, grouped))
    assert four["high"] - four["low"] == pytest.approx(one["high"] - one["low"], abs=0.02)
    assert (compared([alone])["num_groups"], compared([grouped])["num_groups"]) == (120, 120)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (
            GOLD[:-1],
            r"'sft' \(seed 1\) and 'r2d' \(seed 1\) .*0 rows are its alone and 1 are missing, such as 'row-007'",
        ),
        ([*GOLD[:-1], "now"], r"the same ids, but other labels or groups"),
    ],
)
def test_variants_on_different_test_rows_are_refused(gold: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compared([MODELS[0], measured("sft", 1, gold, gold)])


def test_every_column_stands_in_the_table_with_its_digits() -> None:
    row = cells(comparison_markdown(compared(MODELS)), "Variants", "r2d")
    assert list(row) == ["variant", "n", *(column.name for column in COLUMNS)]
    assert row["accuracy"] == "0.875 ± 0.177"
    assert row["sacreBLEU"] == "12.3 ± 0.0"
    assert row["evaluation, s"] == "11 ± 1"


def test_what_was_not_measured_is_a_dash_and_never_a_zero() -> None:
    comparison = compared(MODELS)
    shown = comparison_markdown(comparison)
    for name in ("consistency", "sufficiency", "gold robustness", "BERTScore F1", "sacreBLEU", "paper BLEU"):
        assert cells(shown, "Variants", "sft")[name] == "–"
    for heading in ("Intervals", "Differences"):
        assert cells(shown, heading, "sft")["BERTScore F1"] == "–"
    assert row_of(comparison, "sft")["figures"]["consistency"] == {"mean": None, "std": None, "n": 0}
    assert comparison_runs(MODELS)["consistency"].null_count == 2


def test_a_figure_that_some_models_lack_says_of_how_many_it_is() -> None:
    assert cells(comparison_markdown(compared(MODELS)), "Variants", "r2d")["training, s"] == "100 (n = 1)"


def test_one_variant_of_one_seed_has_neither_deviation_nor_differences() -> None:
    shown = comparison_markdown(compared(MODELS[1:2]))
    assert cells(shown, "Variants", "r2d")["accuracy"] == "0.750"
    assert "One seed, 2, so that nothing is known of how much another start would change" in shown
    assert "## Differences" not in shown


def test_the_notes_name_seeds_rows_decoding_baselines_and_scorer() -> None:
    shown = comparison_markdown(compared(MODELS))
    for text in ("seeds 1, 2", "8 test rows", "constrained label decoding", "majority class 0.125", "small-bert"):
        assert text in shown
    assert "BERTScore by" not in comparison_markdown(compared(MODELS[2:]))


def test_labels_without_an_order_have_no_under_triage() -> None:
    models = [replace(one, metrics={**one.metrics, "safety": None}) for one in MODELS]
    comparison = compared(models, LabelsConfig(names=LABELS.names))
    assert "under_triage_rate" not in comparison["variants"][0]["intervals"]
    assert "under-triage" not in comparison_markdown(comparison)


def options_only(model: MeasuredModel) -> MeasuredModel:
    without = {"macro_f1": None, "accuracy": model.metrics["label"]["accuracy"]}
    baselines = {"an option at random": without | {"accuracy": 0.2}}
    return replace(model, metrics={**model.metrics, "label": without, "safety": None, "baselines": baselines})


def test_variants_over_rows_with_options_of_their_own_are_judged_by_accuracy() -> None:
    models = [options_only(one) for one in MODELS]
    comparison = compared(models, LabelsConfig(per_row=True))
    shown = comparison_markdown(comparison)
    assert (comparison["headline"], comparison["baselines"]) == ("accuracy", {"an option at random": 0.2})
    assert (cells(shown, "Variants", "r2d")["macro-F1"], cells(shown, "Variants", "r2d")["accuracy"]) == (
        "–", "0.875 ± 0.177",
    )  # fmt: skip
    assert row_of(comparison, "sft")["differences"]["accuracy"]["value"] == pytest.approx(-0.25)
    assert set(row_of(comparison, "r2d")["intervals"]) == {"accuracy", "bertscore_f1", "paper_bleu"}
    assert "accuracy of the baselines on the same rows: an option at random 0.200." in shown
    assert "judged by accuracy: each row has options of its own" in shown


GRID = [
    measured(f"{method}, {source}", 1, GOLD, said, scores=[score] * 8, aligned=score, references=source)
    for method, source, said, score in [
        ("r2d", "llm", PERFECT, 0.5),
        ("r2d", "nurse", TWO_WRONG, 0.4),
        ("r2d", "nurse_post_processed", PERFECT, 0.75),
        ("dss", "llm", FOUR_WRONG, 0.3),
        ("dss", "nurse", FOUR_WRONG, 0.3),
        ("dss", "nurse_post_processed", FOUR_WRONG, 0.3),
    ]
]


def test_the_spread_over_the_sources_is_the_largest_minus_the_smallest_mean_of_a_method() -> None:
    comparison = compared([*GRID, measured("sft", 1, GOLD, PERFECT)])
    r2d, dss = comparison["sources"]
    assert (r2d["method"], [place["source"] for place in r2d["rows"]]) == (
        "r2d",
        ["llm", "nurse", "nurse_post_processed"],
    )
    assert r2d["spread"]["accuracy"] == pytest.approx(0.25)
    assert r2d["spread"]["bertscore_f1"] == pytest.approx(0.35)
    assert (dss["spread"]["accuracy"], dss["spread"]["bertscore_f1"]) == (0.0, 0.0)
    shown = comparison_markdown(comparison)
    assert cells(shown, "Sources", "r2d", "nurse")["accuracy"] == "0.750"
    assert cells(shown, "Sources", "r2d", "**spread**")["accuracy"] == "0.250"
    assert "training_seconds" not in r2d["spread"]


def test_the_table_of_sources_says_against_which_references_rationales_are_measured() -> None:
    shown = comparison_markdown(compared(GRID))
    assert cells(shown, "Sources", "r2d", "nurse")["references"] == "nurse"
    assert "their spread is one of the references too" in shown
    same = [replace(model, references="nurse", predictions=GRID[1].predictions) for model in GRID[:3]]
    assert "measured against the same rationales in every row: those of nurse" in comparison_markdown(compared(same))


def test_figures_of_rationales_are_not_subtracted_where_the_references_differ() -> None:
    comparison = compared(GRID)
    assert "bertscore_f1" not in row_of(comparison, "r2d, nurse")["differences"]
    assert row_of(comparison, "dss, llm")["differences"]["bertscore_f1"]["value"] == pytest.approx(-0.2)
    shown = comparison_markdown(comparison)
    assert cells(shown, "Differences", "r2d, nurse")["BERTScore F1"] == "–"
    assert "not subtracted where two variants are measured against different references" in shown


def test_without_several_sources_there_is_no_table_of_them() -> None:
    assert compared(MODELS)["sources"] == []
    assert "## Sources" not in comparison_markdown(compared(MODELS))


def picture(models: list[MeasuredModel], labels: LabelsConfig = LABELS) -> Any:
    return comparison_picture(compared(models, labels), comparison_runs(models))


def test_the_picture_grows_with_the_variants_and_with_a_part_for_the_sources() -> None:
    few, more, sources = picture(MODELS), picture([*MODELS, measured("dss", 1, GOLD, PERFECT)]), picture(GRID)
    assert few.mode == "RGB"
    assert few.width == more.width == sources.width
    assert few.height < more.height
    assert sources.height > picture(GRID[:1]).height + 5 * (more.height - few.height) + 50


def test_the_picture_shows_each_seed_and_the_figure_that_variants_are_judged_by() -> None:
    assert not np.array_equal(np.asarray(picture(MODELS)), np.asarray(picture(MODELS[:3])))
    other = [options_only(one) for one in MODELS]
    swapped = [options_only(one) for one in (*MODELS[:2], MODELS[2], replace(MODELS[2], seed=2))]
    pictures = [np.asarray(picture(models, LabelsConfig(per_row=True))) for models in (other, swapped)]
    assert not np.array_equal(*pictures), "accuracy is drawn"
    assert set(PANELS) <= {column.key for column in COLUMNS}
