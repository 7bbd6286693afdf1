"""The table of a comparison: means and deviations that can be worked by hand, and dashes where nothing was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from r2d.evaluation.comparison import COLUMNS, MeasuredModel, compare, comparison_markdown, comparison_runs
from r2d.evaluation.comparison_picture import PANELS, comparison_picture


def metrics(macro_f1: float, *, explains: bool = True) -> dict[str, Any]:
    alignment = dict.fromkeys(("consistency", "sufficiency", "gold_robustness"), 0.5 if explains else None)
    rationale = {"bertscore": {"model": "small-bert"}, "populations": {"all": {"bertscore_f1": 0.7, "bleu": 12.34}}}
    return {
        "num_rows": 1200,
        "decoding": "constrained",
        "label": {"macro_f1": macro_f1, "accuracy": macro_f1 + 0.1},
        "alignment": alignment,
        "rationale": rationale if explains else None,
        "baselines": {"majority class": {"macro_f1": 0.125}},
    }


MODELS = [
    MeasuredModel("r2d", 1, metrics(0.4), 100.0, 10.0),
    MeasuredModel("r2d", 2, metrics(0.6), None, 12.0),
    MeasuredModel("sft", 1, metrics(0.5, explains=False), 50.0, 5.0),
    MeasuredModel("sft", 2, metrics(0.5, explains=False), 54.0, 5.0),
]


def cells(markdown: str, variant: str) -> dict[str, str]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    (row,) = [line for line in lines if line[0] == variant]
    return dict(zip(lines[0], row, strict=True))


def test_mean_and_sample_deviation_over_the_seeds_worked_by_hand() -> None:
    comparison = compare(MODELS)
    r2d, sft = comparison["variants"]
    assert (r2d["variant"], r2d["n"], sft["variant"], sft["n"]) == ("r2d", 2, "sft", 2)
    assert r2d["figures"]["macro_f1"]["mean"] == pytest.approx(0.5)
    assert r2d["figures"]["macro_f1"]["std"] == pytest.approx(0.02**0.5)  # (0.1^2 + 0.1^2) / (2 - 1)
    assert sft["figures"]["training_seconds"] == {"mean": 52.0, "std": pytest.approx(8**0.5), "n": 2}


def test_every_column_stands_in_the_table_with_its_digits() -> None:
    row = cells(comparison_markdown(compare(MODELS)), "r2d")
    assert list(row) == ["variant", "n", *(column.name for column in COLUMNS)]
    assert row["macro-F1"] == "0.500 ± 0.141"
    assert row["sacreBLEU"] == "12.3 ± 0.0"
    assert row["evaluation, s"] == "11 ± 1"


def test_what_was_not_measured_is_a_dash_and_never_a_zero() -> None:
    comparison = compare(MODELS)
    row = cells(comparison_markdown(comparison), "sft")
    for name in ("consistency", "sufficiency", "gold robustness", "BERTScore F1", "sacreBLEU"):
        assert row[name] == "–"
    assert comparison["variants"][1]["figures"]["consistency"] == {"mean": None, "std": None, "n": 0}
    assert comparison_runs(MODELS)["consistency"].null_count == 2


def test_a_figure_that_some_models_lack_says_of_how_many_it_is() -> None:
    assert cells(comparison_markdown(compare(MODELS)), "r2d")["training, s"] == "100 (n = 1)"


def test_one_seed_has_no_deviation() -> None:
    assert cells(comparison_markdown(compare(MODELS[:1])), "r2d")["macro-F1"] == "0.400"


def test_the_notes_name_seeds_rows_decoding_baselines_and_scorer() -> None:
    shown = comparison_markdown(compare(MODELS))
    for text in ("seeds 1, 2", "1,200 test rows", "constrained label decoding", "majority class 0.125", "small-bert"):
        assert text in shown


def test_variants_over_rows_with_options_of_their_own_are_judged_by_accuracy() -> None:
    def options_only(accuracy: float) -> dict[str, Any]:
        without = {"macro_f1": None, "accuracy": accuracy}
        return metrics(0.0) | {"label": without, "baselines": {"an option at random": without | {"accuracy": 0.2}}}

    models = [MeasuredModel("r2d", seed, options_only(0.2 + seed / 10)) for seed in (1, 2)]
    comparison = compare(models)
    shown = comparison_markdown(comparison)
    assert (comparison["headline"], comparison["baselines"]) == ("accuracy", {"an option at random": 0.2})
    assert (cells(shown, "r2d")["macro-F1"], cells(shown, "r2d")["accuracy"]) == ("–", "0.350 ± 0.071")
    assert "accuracy of the baselines on the same rows: an option at random 0.200." in shown
    assert "judged by accuracy: each row has options of its own" in shown
    other = comparison_runs([MeasuredModel("r2d", seed, options_only(0.3)) for seed in (1, 2)])
    pictures = [np.asarray(comparison_picture(runs)) for runs in (comparison_runs(models), other)]
    assert not np.array_equal(*pictures), "the picture shows accuracy"


def test_a_comparison_without_any_rationale_names_no_scorer() -> None:
    assert "BERTScore by" not in comparison_markdown(compare(MODELS[2:]))


def test_the_picture_grows_with_the_variants_and_has_a_dot_for_each_seed() -> None:
    few = comparison_picture(comparison_runs(MODELS))
    more = comparison_picture(
        comparison_runs([MeasuredModel(f"variant {n}", 1, metrics(0.4 + n / 100)) for n in range(9)])
    )
    assert few.mode == "RGB"
    assert few.width == more.width
    assert few.height < more.height
    assert not np.array_equal(np.asarray(few), np.asarray(comparison_picture(comparison_runs(MODELS[:3]))))


def test_a_picture_of_variants_without_any_rationale_can_be_drawn() -> None:
    assert comparison_picture(comparison_runs(MODELS[2:])).height > 100
    assert set(PANELS) <= {column.key for column in COLUMNS}
