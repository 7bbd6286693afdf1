"""Agreement with people: counted by hand, held against the libraries, and never of rows without both scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from r2d.config.evaluation import EvaluationConfig
from r2d.errors import DataError
from r2d.evaluation.judge.agreement import agreement_metrics, human_agreement, read_human_scores, score_controls
from r2d.evaluation.judge.rubric import Rubric, load_rubric
from r2d.evaluation.judge.scores import RowScores
from r2d.evaluation.sections.estimates import IntervalEstimate
from tests.evaluation.judge.judged import QUICK, SHIPPED, criterion, judge_config, judged_rows, write_rubric


@pytest.fixture
def rubric(tmp_path: Path) -> Rubric:
    return load_rubric(write_rubric(tmp_path, criterion("clear"), criterion("right")))


def written(folder: Path, *lines: str, head: str = "id,criterion,score,rater") -> Path:
    path = folder / "human.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def scored(rubric: Rubric, scores: list[tuple[int, ...]]) -> list[RowScores]:
    """The votes of each row by the first criterion."""
    rows = judged_rows(len(scores))
    return [RowScores(row, rubric.criteria[0], votes) for row, votes in zip(rows, scores, strict=True)]


def test_kappa_of_four_pairs_by_hand() -> None:
    # Judge 1 2 3 3, people 1 2 3 1. Observed: (3 - 1)^2 / 4 = 1. Expected, the mean of (a - b)^2 over all 16 pairs:
    # a = 1 against 1 2 3 1 gives 0+1+4+0 = 5, a = 2 gives 1+0+1+1 = 3, and a = 3, twice, 4+1+0+4 = 9: 26 / 16.
    metrics = agreement_metrics([1, 2, 3, 3], [1, 2, 3, 1], [0, 1, 2, 3], QUICK)
    assert metrics["quadratic_weighted_kappa"].value == pytest.approx(1 - 16 / 26)
    assert metrics["mean_difference"].value == pytest.approx(2 / 4)
    # Ranks 1 2 3.5 3.5 and 1.5 3 4 1.5, less their mean 2.5: 1.5 - 0.25 + 1.5 - 1, over the root of 4.5 x 4.5.
    assert metrics["spearman"].value == pytest.approx(1.75 / 4.5)
    assert metrics["spearman"].method is None, "four groups make no interval"


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_the_libraries_half_steps_included(seed: int) -> None:
    draw = np.random.default_rng(seed)
    judge = draw.integers(2, 11, 60) / 2
    people = np.clip(judge + draw.integers(-2, 3, 60), 1, 5)
    metrics = agreement_metrics(judge, people, np.arange(60) // 2, QUICK)
    twice = [(2 * values).astype(int) for values in (judge, people)]
    kappa = cohen_kappa_score(*twice, labels=list(range(2, 11)), weights="quadratic")
    assert metrics["quadratic_weighted_kappa"].value == pytest.approx(kappa)
    assert metrics["spearman"].value == pytest.approx(spearmanr(judge, people).statistic)
    for estimate in metrics.values():
        assert estimate.low < estimate.value < estimate.high


def test_perfect_reversed_and_constant_judges(rubric: Rubric) -> None:
    people = list(np.tile([1, 2, 3, 4, 5], 6))
    groups = np.arange(30)
    same, reverse = (agreement_metrics(judge, people, groups, QUICK) for judge in (people, [6 - one for one in people]))
    assert same["quadratic_weighted_kappa"].value == same["spearman"].value == pytest.approx(1)
    assert reverse["spearman"].value == pytest.approx(-1)
    constant = agreement_metrics([5] * 30, people, groups, QUICK)
    assert constant["quadratic_weighted_kappa"].value == pytest.approx(0)
    assert constant["spearman"] == IntervalEstimate(None)


def test_rows_without_both_are_left_out_and_counted(tmp_path: Path, rubric: Rubric) -> None:
    lines = ["e000,clear,1,a", "e000,clear,2,b", "e001,clear,5,a", "e003,clear,4,a", "e999,clear,3,a", "e000,right,3,a"]
    human = read_human_scores(written(tmp_path, *lines), rubric)
    facts = human_agreement(human, scored(rubric, [(1, 2), (5, 5), (3, 3), ()]), rubric, QUICK)
    clear, right = facts.pop("criteria")
    assert facts == {"num_scores": 6, "num_raters": 2, "num_unknown_ids": 1, "num_other_rationale": None}
    assert (clear["num_pairs"], clear["num_only_judge"], clear["num_only_human"]) == (2, 1, 1)
    assert clear["mean_difference"]["value"] == 0, "the medians: 1.5 and 5 on both sides"
    assert clear["quadratic_weighted_kappa"]["value"] == pytest.approx(1)
    assert (right["num_pairs"], right["num_only_human"], right["spearman"]) == (0, 1, None)
    assert right["undefined"]["spearman"] == "no rationale has both scores"


def test_a_judge_that_always_says_the_same_has_no_correlation_and_says_why(tmp_path: Path, rubric: Rubric) -> None:
    human = read_human_scores(written(tmp_path, *(f"e{n:03d},clear,{n % 5 + 1},a" for n in range(12))), rubric)
    clear = human_agreement(human, scored(rubric, [(5,)] * 12), rubric, QUICK)["criteria"][0]
    assert clear["spearman"] is None
    assert clear["undefined"] == {"spearman": "the judge gave one score to all"}


def test_scores_of_a_rationale_that_is_no_more_are_left_out(tmp_path: Path, rubric: Rubric) -> None:
    lines = ["e000,clear,1,a,because of 0", "e001,clear,2,a,an older one"]
    human = read_human_scores(written(tmp_path, *lines, head="id,criterion,score,rater,rationale"), rubric)
    facts = human_agreement(human, scored(rubric, [(1,), (5,)]), rubric, QUICK)
    assert facts["num_other_rationale"] == 1
    assert facts["criteria"][0]["num_pairs"] == 1


def test_every_faulty_line_is_named_at_once_without_its_texts(tmp_path: Path, rubric: Rubric) -> None:
    lines = [
        "e0,clear,6,a",
        "e0,clean,3,a",
        ",clear,3,a",
        "e1,clear,3,a",
        "e1,clear,4,a",
        "e2,SECRET rationale text,3,a",
    ]
    with pytest.raises(DataError, match=r"human.csv: 5 faulty human scores") as caught:
        read_human_scores(written(tmp_path, *lines), rubric)
    for part in (
        "line 2: a score of 1 characters is no anchor of clear; allowed: 1, 2, 3, 4, 5",
        "line 3: a criterion of 5 characters is not in the rubric; allowed: clear, right",
        "line 4: id is empty",
        "line 5: this rater scored clear of this row more than once",
        "line 7: a criterion of 21 characters is not in the rubric",
    ):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="column rater is missing among its 3; found are id, criterion, score"):
        read_human_scores(written(tmp_path, head="id,criterion,score"), rubric)
    with pytest.raises(DataError, match="cannot be read"):
        read_human_scores(tmp_path / "none.csv", rubric)


def test_people_are_held_against_one_another_by_every_pair_of_a_row(tmp_path: Path, rubric: Rubric) -> None:
    draw = np.random.default_rng(5)
    scores = [[int(score) for score in draw.integers(1, 6, 3 if row % 2 else 2)] for row in range(30)]
    lines = [
        f"e{row:03d},clear,{score},{name}"
        for row, of in enumerate(scores)
        for score, name in zip(of, "abc", strict=False)
    ]
    human = read_human_scores(written(tmp_path, *lines, "e030,clear,5,a"), rubric)
    clear, right = human_agreement(human, scored(rubric, [(3,)] * 31), rubric, QUICK)["criteria"]
    pairs = [(a, b) for of in scores for i, a in enumerate(of) for j, b in enumerate(of) if i != j]
    first, second = zip(*pairs, strict=True)
    among = clear["among_people"]
    assert among["num_rows"] == 30, "one rationale has one rater"
    assert among["quadratic_weighted_kappa"]["value"] == pytest.approx(
        cohen_kappa_score(first, second, labels=[1, 2, 3, 4, 5], weights="quadratic")
    )
    assert among["quadratic_weighted_kappa"]["low"] < among["quadratic_weighted_kappa"]["high"]
    assert right["among_people"] == {"num_rows": 0, "quadratic_weighted_kappa": None}


def test_scores_that_follow_length_or_the_first_place_are_shown_to(rubric: Rubric) -> None:
    rows = [replace(row, rationale="word " * (1 + place)) for place, row in enumerate(judged_rows(30))]
    clear = rubric.criteria[0]
    long_wins = [RowScores(row, clear, (1 + place // 6,), places=(0,)) for place, row in enumerate(rows)]
    controls, nothing = score_controls(long_wins, rubric, QUICK)
    lengths = [len(row.rationale.split()) for row in rows]
    expected = spearmanr([item.mean for item in long_wins], lengths).statistic
    assert controls["length"]["value"] == pytest.approx(expected)
    assert controls["length"]["low"] > 0.9
    assert (controls["asked_first"], controls["num_both"]) == (None, 0), "it was always asked first"
    assert nothing == {"id": "right", "length": None, "num_both": 0, "asked_first": None}
    # By hand: first 4 and later 3 and "no_number", then first 2 and later 4 and 3: 1 and -1.5 on half of the rows each.
    moved = [((4, 3, "no_number"), (0, 1, 1)), ((2, 4, 3), (0, 1, 1))] * 15
    by_place = [RowScores(row, clear, *votes[:1], places=votes[1]) for row, votes in zip(rows, moved, strict=True)]
    (controls, _) = score_controls(by_place, rubric, QUICK)
    assert controls["num_both"] == 30
    assert controls["asked_first"]["value"] == pytest.approx((1 - 1.5) / 2)


def test_its_files_are_among_those_that_an_evaluation_reads() -> None:
    """So that their content is part of the cache key: people score rationales after the first run."""
    config = EvaluationConfig(judge=judge_config("http://127.0.0.1:1/v1", SHIPPED, human_scores="scores.csv"))
    assert config.files() == [
        ("evaluation.judge.rubric", str(SHIPPED)), ("evaluation.judge.human_scores", "scores.csv"),
    ]  # fmt: skip
