"""Several raters: agreement as other programs measure it, disputed notes, and the ceiling worked out row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, RatersConfig
from r2d.config.section import parse_section
from r2d.errors import ConfigError, DataError
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.raters import (
    NO_LABEL,
    RaterLabels,
    coincidences,
    fleiss_kappa,
    krippendorff_alpha,
    raters_metrics,
)
from r2d.evaluation.sections.raters import RatersResult
from r2d.label_scores import IntArray, cohen_kappa
from tests.evaluation.predicted import LABELS, QUICK, predictions_of

DECLARED = LabelsConfig(names=LABELS, ordered=True, codes={"1": "emergency"})
IDS = [f"r{row}" for row in range(40)]


def invented(seed: int = 1, num_rows: int = 240) -> tuple[Predictions, IntArray]:
    """A model, and three raters who give about three labels of four as the first of them; some give none."""
    draw = np.random.default_rng(seed)
    gold = draw.choice(4, num_rows, p=(0.1, 0.3, 0.4, 0.2))
    columns = [np.clip(gold + draw.choice((-1, 0, 0, 0, 0, 1), num_rows), 0, 3) for _ in range(4)]
    labels = np.stack(columns[:3], axis=1)
    labels[draw.random(labels.shape) < 0.2] = NO_LABEL
    predictions = predictions_of(
        [LABELS[place] for place in gold], [LABELS[place] for place in columns[3]],
        group_names=[f"p{row // 2:04}" for row in range(num_rows)],
    )  # fmt: skip
    return predictions, labels


def measured(predictions: Predictions, labels: IntArray, *, ordered: bool = True) -> RatersResult:
    rated = RaterLabels("raters.csv", ["ann", "bob", "eve"][: labels.shape[1]], labels, 0)
    return raters_metrics(rated, predictions, LabelStatistics(4, ordered), QUICK)


def test_alpha_is_that_of_krippendorffs_example() -> None:
    # Krippendorff (2011), four observers of twelve units; the package krippendorff 0.9.0 gives these digits.
    x = NO_LABEL
    ratings = np.array([
        [0, 1, 2, 2, 1, 0, 3, 0, 1, x, x, x], [0, 1, 2, 2, 1, 1, 3, 0, 1, 4, x, 2],
        [x, 2, 2, 2, 1, 2, 3, 1, 1, 4, 0, x], [0, 1, 2, 2, 1, 3, 3, 0, 1, 4, 0, x],
    ]).T  # fmt: skip
    table = coincidences(ratings, 5).sum(axis=0)
    assert krippendorff_alpha(table) == pytest.approx(0.743421052631579)
    assert krippendorff_alpha(table, ordinal=True) == pytest.approx(0.8153875037548814)
    assert table.sum() == 40, "the one value of a unit with one observer counts for nothing"


def test_fleiss_kappa_is_that_of_the_published_example() -> None:
    # Fleiss (1971), 14 raters of ten subjects; statsmodels 0.15.0 gives 0.20993070442195522.
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1), (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    ratings = np.array([np.repeat(np.arange(5), row) for row in counts])
    assert fleiss_kappa(coincidences(ratings, 5).sum(axis=0)) == pytest.approx(0.20993070442195522)


def test_the_one_kappa_is_that_of_statsmodels_with_and_without_weights() -> None:
    table = np.array([[20.0, 5, 0], [3, 30, 7], [1, 4, 30]])
    distance = np.subtract.outer(np.arange(3.0), np.arange(3.0)) ** 2
    assert cohen_kappa(table) == pytest.approx(0.6944232238349886)  # statsmodels 0.15.0, cohens_kappa
    assert cohen_kappa(table, distance) == pytest.approx(0.8057432432432432)
    assert np.isnan(cohen_kappa(np.diag([5.0, 0, 0]))), "one label throughout: chance agrees always"
    assert np.isnan(krippendorff_alpha(np.diag([5.0, 0, 0])))
    assert np.isnan(fleiss_kappa(np.diag([5.0, 0, 0])))


def test_pairs_are_compared_on_the_rows_that_both_labelled() -> None:
    predictions, labels = invented()
    result = measured(predictions, labels)
    assert [(pair.first, pair.second) for pair in result.pairs] == [("ann", "bob"), ("ann", "eve"), ("bob", "eve")]
    pair, both = result.pairs[1], (labels[:, [0, 2]] != NO_LABEL).all(axis=1)
    one, other = labels[both, 0], labels[both, 2]
    assert pair.num_rows == both.sum()
    assert pair.figures["kappa"].value == pytest.approx(cohen_kappa_score(one, other))
    assert pair.figures["weighted_kappa"].value == pytest.approx(cohen_kappa_score(one, other, weights="quadratic"))
    assert pair.figures["same"].value == pytest.approx((one == other).mean())
    for estimate in [*pair.figures.values(), *result.together.figures.values()]:
        assert estimate.low < estimate.value < estimate.high  # type: ignore[operator]
    assert set(result.together.figures) == {"alpha_nominal", "alpha_ordinal"}, "two or three raters a row: no Fleiss"
    assert (result.together.fewest, result.together.most) == (2, 3)
    two = labels[:, :2].copy()
    assert "fleiss_kappa" in measured(predictions, two).together.figures
    assert set(measured(predictions, two, ordered=False).pairs[0].figures) == {"same", "kappa"}


def test_intervals_draw_patients_and_need_ten_of_them() -> None:
    predictions, labels = invented(2, 120)
    alone = measured(predictions, labels).together.figures["alpha_nominal"]
    four = predictions_of(
        predictions.gold_labels, predictions.predicted_labels, group_names=[f"p{row % 4}" for row in range(120)]
    )
    together = measured(four, labels).together.figures["alpha_nominal"]
    assert (together.value, together.low) == (alone.value, None)
    assert alone.low is not None


def test_agreed_and_disputed_notes_are_told_apart() -> None:
    predictions, labels = invented()
    notes = measured(predictions, labels).notes
    given = [[label for label in row if label != NO_LABEL] for row in labels]
    agreed = np.array([len(row) > 1 and len(set(row)) == 1 for row in given])
    disputed = np.array([len(set(row)) > 1 for row in given])
    for name, where in (("agreed", agreed), ("disputed", disputed)):
        assert notes[name].num_rows == where.sum()
        assert notes[name].figures["accuracy"].value == pytest.approx(predictions.correct[where].mean())
        assert notes[name].figures["under_triage_rate"].value == pytest.approx((predictions.levels[where] > 0).mean())
    alike = np.repeat(labels[:, :1], 2, axis=1)
    assert set(measured(predictions, alike).notes) == {"agreed"}


def test_the_ceiling_is_each_rater_against_the_others_row_by_row() -> None:
    predictions, labels = invented()
    ceiling = measured(predictions, labels).ceiling
    assert [row.rater for row in ceiling] == ["ann", "bob", "eve", None]
    rater_right, model_right, rater_under = [], [], []
    for row, model in zip(labels.tolist(), predictions.predicted.tolist(), strict=True):
        for place, own in enumerate(row):
            others = [label for at, label in enumerate(row) if at != place and label != NO_LABEL]
            clear = {label for label in others if others.count(label) == max(map(others.count, others))}
            if own != NO_LABEL and len(clear) == 1:
                (reference,) = clear
                rater_right.append(own == reference)
                model_right.append(model == reference)
                rater_under.append(own > reference)
    everyone = ceiling[-1]
    assert everyone.num_labels == len(rater_right) == sum(row.num_labels for row in ceiling[:-1])
    assert everyone.by_rater["accuracy"].value == pytest.approx(np.mean(rater_right))
    assert everyone.by_rater["under_triage_rate"].value == pytest.approx(np.mean(rater_under))
    assert everyone.by_model["accuracy"].value == pytest.approx(np.mean(model_right))
    assert everyone.difference["accuracy"].value == pytest.approx(np.mean(model_right) - np.mean(rater_right))


LONG = "\n".join(["id,rater,label", *(f"r{n},{who},{'1' if n % 3 else 'home'}" for n in range(20) for who in "ab")])


def read(path: Path, content: str, **keys: Any) -> RaterLabels:
    path.write_text(content, encoding="utf-8")
    return RaterLabels.read(parse_section(RatersConfig, {"file": str(path)} | keys), IDS, DECLARED)


def test_a_long_and_a_wide_file_say_the_same(tmp_path: Path) -> None:
    long = read(tmp_path / "long.csv", LONG + "\nother,a,home\n")
    wide = "\n".join(
        [
            "key;x;y",
            *(f"r{n};{'EMERGENCY' if n % 3 else 'home'};{'1' if n % 3 else ' home'}" for n in range(20)),
            "r30;;1",
        ]
    )
    wider = read(tmp_path / "wide.csv", wide, id="key", columns={"a": "x", "b": "y"}, delimiter=";")
    assert (long.raters, long.num_other_rows, wider.num_other_rows) == (["a", "b"], 1, 0)
    assert (long.labels[:20] == wider.labels[:20]).all()
    assert long.labels[:4].tolist() == [[3, 3], [0, 0], [0, 0], [3, 3]]
    assert wider.labels[30].tolist() == [NO_LABEL, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,rater,label\nr1,a,home\nr2,b,home", "no row that is measured .* of two raters .2 labels by 2"),
        ("id,rater,label\nz1,a,home\nz1,b,home", "0 of 40 rows measured have one"),
        ("id,rater,label\nr1,a,home\nr1,b,Mrs Jones feels worse", "1 of 2 rows have no declared label"),
        ("id,rater,label\nr1,a,home\nr1,a,home\nr1,b,home", "2 labels are of a rater who .* line 2; line 3"),
        ("id,who,label\nr1,a,home", "evaluation.raters.rater: no column 'rater'"),
    ],
)  # fmt: skip
def test_raters_who_cannot_be_compared_are_an_error_and_show_no_cell(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / "raters.csv", content)
    assert "Jones" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"file": "r.csv", "columns": {"a": "x"}}, "fewer than two raters"),
        ({"file": "r.csv", "columns": {"a": "x", "b": "y"}, "rater": "who"}, "columns and rater both say"),
        ({"file": "r.txt"}, "ends with none of"),
    ],
)
def test_keys_that_name_no_raters_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_section(RatersConfig, values)


def test_its_file_is_one_that_an_evaluation_reads() -> None:
    config = EvaluationConfig(intervals=IntervalsConfig(), raters=RatersConfig(file="raters.csv"))
    assert config.files() == [("evaluation.raters.file", "raters.csv")]
