"""Judging over HTTP, by a server in a process of its own: what is asked, what it costs, and what comes of it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from r2d.errors import ConfigError, DataError, GenerationError
from r2d.evaluation.judge.judge import Judgement
from tests.evaluation.judge.judged import SHIPPED, answer, criterion, judge, judge_config, judged_rows, write_rubric
from tests.llm.server import RunningServer

pytestmark = pytest.mark.usefixtures("short_pauses")
CRITERIA = ("correctness", "completeness", "faithfulness", "agreement", "safety")
ALL_FIVE = answer(**dict.fromkeys(CRITERIA, 5))


def by_criterion(judgement: Judgement) -> dict[str, dict[str, Any]]:
    """By criterion, after a round through strict JSON."""
    facts = json.loads(json.dumps(judgement.metrics, allow_nan=False))
    return {one["id"]: one for one in facts["criteria"]}


def test_a_judge_that_always_says_5(server: RunningServer, tmp_path: Path) -> None:
    server.start(contents={"*": [ALL_FIVE]})
    judgement = judge(judged_rows(6), judge_config(server, SHIPPED), tmp_path)
    facts = judgement.metrics
    assert (facts["status"], facts["num_rows"], facts["parse"]["rate"]) == ("judged", 6, 1.0)
    assert facts["requests"] == {
        "num": 18, "num_answered": 18, "num_refused": 0, "num_without_answer": 0, "num_read_whole": 18,
        "prompt_tokens": 1800, "output_tokens": 360, "cost": None,
    }  # fmt: skip
    for one in by_criterion(judgement).values():
        assert one["mean"]["value"] == 5
        assert one["mean"]["low"] is None, "no spread: the bootstrap knows no uncertainty"
        assert (one["passing"]["value"], one["passing"]["method"]) == (1, "exact")
        assert one["votes"] == {"1": 0, "2": 0, "3": 0, "4": 0, "5": 18}
        assert one["vote_agreement"] == {"num_rows": 6, "all_equal": 1, "within_one": 1, "mean_range": 0}
    assert server.asked() == Counter({f"e{number:03d}": 3 for number in range(6)})


def test_median_mean_and_vote_agreement_of_known_votes(server: RunningServer, tmp_path: Path) -> None:
    path = write_rubric(tmp_path, criterion("clear"), criterion("right"), criterion("kind"))
    contents = [answer(clear=score, right=3, kind=5) for score in (1, 2, 4)]
    server.start(contents={"e000": contents, "e001": [answer(clear=4, right=3, kind=5)]})
    judgement = judge(judged_rows(2), judge_config(server, path, max_concurrency=1), tmp_path)
    rows = {(row["id"], row["criterion"]): row for row in judgement.scores.to_pylist()}
    assert rows["e000", "clear"] == {
        "id": "e000", "criterion": "clear", "median": 2.0, "mean": pytest.approx(7 / 3), "num_votes": 3,
        "num_missing": 0, "votes": [1, 2, 4], "why_missing": [],
    }  # fmt: skip
    clear = by_criterion(judgement)["clear"]
    assert clear["mean"]["value"] == pytest.approx((7 / 3 + 4) / 2)
    assert clear["passing"]["value"] == 1 / 2
    assert clear["vote_agreement"] == {"num_rows": 2, "all_equal": 0.5, "within_one": 0.5, "mean_range": 1.5}


def test_what_cannot_be_read_is_missing_and_never_a_score(server: RunningServer, tmp_path: Path) -> None:
    path = write_rubric(tmp_path, criterion("clear"), criterion("right"))
    contents = {"e000": ["I like it."], "e001": [answer(clear=9, right=2)], "e002": [answer(clear=3)]}
    server.start({"e003": ["400", "400"]}, contents=contents)
    config = judge_config(server, path, votes=2, max_concurrency=1)
    judgement = judge(judged_rows(4), config, tmp_path)
    facts, metrics = judgement.metrics, by_criterion(judgement)
    assert facts["parse"] == {"num_answered": 12, "num_read": 4, "rate": pytest.approx(4 / 12)}
    assert (facts["requests"]["num_refused"], facts["requests"]["num_read_whole"]) == (2, 0)
    assert metrics["clear"]["missing"] == {"no_json": 2, "out_of_scale": 2, "refused": 2}
    assert metrics["clear"]["parse"] == {"num_answered": 6, "num_read": 2, "rate": pytest.approx(2 / 6)}
    assert (metrics["clear"]["mean"]["value"], metrics["right"]["mean"]["value"]) == (3, 2)
    assert (metrics["right"]["num_rows"], metrics["right"]["num_rows_without"]) == (1, 3)
    row = judgement.scores.to_pylist()[0]
    assert (row["median"], row["num_votes"], row["num_missing"], row["why_missing"]) == (None, 0, 2, ["no_json"])


def test_nothing_readable_gives_no_metric(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    metrics = by_criterion(judge(judged_rows(2), judge_config(server, SHIPPED, votes=1), tmp_path))["safety"]
    assert (metrics["num_rows"], metrics["mean"], metrics["passing"], metrics["parse"]["rate"]) == (0, None, None, 0)
    assert metrics["vote_agreement"] == {"num_rows": 0, "all_equal": None, "within_one": None, "mean_range": None}


def test_a_second_run_asks_nothing_and_an_edited_rationale_only_itself(server: RunningServer, tmp_path: Path) -> None:
    server.start(contents={"*": [ALL_FIVE]})
    config, rows = judge_config(server, SHIPPED, votes=2), judged_rows(5)
    first = judge(rows, config, tmp_path).metrics
    assert judge(rows, config, tmp_path).metrics == first
    assert sum(server.asked().values()) == 10
    edited = [type(rows[0])("e000", rows[0].note, "self care", "another reason", group="g0"), *rows[1:]]
    judge(edited, config, tmp_path)
    assert server.asked() - Counter({row.id: 2 for row in rows}) == Counter({"e000": 2})
    judge(rows, judge_config(server, SHIPPED, votes=3), tmp_path)
    assert sum(server.asked().values()) == 12 + 5, "a third vote is asked alone"


def test_a_spent_budget_stops_and_a_higher_one_goes_on(server: RunningServer, tmp_path: Path) -> None:
    server.start(contents={"*": [ALL_FIVE]})
    with pytest.raises(GenerationError, match=r"max_requests: the budget of 7 is spent .*8 are left"):
        judge(judged_rows(5), judge_config(server, SHIPPED, max_requests=7), tmp_path)
    assert sum(server.asked().values()) == 7
    facts = judge(judged_rows(5), judge_config(server, SHIPPED, max_requests=15), tmp_path).metrics
    assert (facts["requests"]["num_answered"], sum(server.asked().values())) == (15, 15)


def test_an_endpoint_that_refuses_everything_has_judged_nothing(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e000": ["400"], "e001": ["400"]}, contents={"*": [ALL_FIVE]})
    config = judge_config(server, SHIPPED, votes=1)
    with pytest.raises(GenerationError, match=r"none of 2 requests has an answer, 2 were refused .*response_format"):
        judge(judged_rows(2), config, tmp_path)
    without = config.model_copy(update={"response_format": None})
    assert judge(judged_rows(2), without, tmp_path).metrics["parse"]["rate"] == 1


def test_out_of_retries_is_missing_and_asked_again_by_the_next_run(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e000": ["500", "500"]}, contents={"*": [ALL_FIVE]})
    config = judge_config(server, SHIPPED, votes=1, max_retries=1)
    first = judge(judged_rows(2), config, tmp_path)
    assert by_criterion(first)["safety"]["missing"] == {"no_answer": 1}
    assert judge(judged_rows(2), config, tmp_path).metrics["requests"]["num_answered"] == 2


def test_what_is_not_sent_is_counted(server: RunningServer, tmp_path: Path) -> None:
    path = write_rubric(tmp_path, criterion("plain"), criterion("near", sees=["rationale", "reference", "note"]))
    server.start(contents={"*": [answer(plain=4, near=2)]})
    full, empty = judged_rows(2)
    rows = [full, type(empty)(empty.id, empty.note, "x", " "), type(full)("e7", "<<e7>>", "x", "y")]
    judgement = judge(rows, judge_config(server, path, votes=1), tmp_path)
    assert judgement.metrics["not_sent"] == {"empty_rationale": 1}
    assert by_criterion(judgement)["plain"]["not_asked"] == {"empty_rationale": 1}
    assert by_criterion(judgement)["near"]["not_asked"] == {"empty_rationale": 1, "no_reference": 1}
    assert server.asked() == Counter({"e000": 2, "e7": 1})
    with_reference = [request for request in server.requests() if "REFERENCE" in json.dumps(request["body"])]
    assert [request["id"] for request in with_reference] == ["e000"]
    assert "plain" not in with_reference[0]["body"]["messages"][1]["content"]


def test_people_are_compared_where_their_scores_are_given(server: RunningServer, tmp_path: Path) -> None:
    human = tmp_path / "human.csv"
    human.write_text("id,criterion,score,rater\n" + "".join(f"e{n:03d},safety,{n % 2 + 4},a\n" for n in range(3)))
    low = answer(**dict.fromkeys(CRITERIA, 4))
    server.start(contents={"e000": [low], "e001": [ALL_FIVE], "*": [low]})
    config = judge_config(server, SHIPPED, votes=1, human_scores=str(human))
    facts = judge(judged_rows(4), config, tmp_path).metrics["human_agreement"]
    safety = facts["criteria"][-1]
    assert (safety["num_pairs"], safety["num_only_judge"], safety["num_only_human"]) == (3, 1, 0)
    assert safety["quadratic_weighted_kappa"]["value"] == safety["spearman"]["value"] == pytest.approx(1)


def test_metrics_hold_no_text_and_the_log_none(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.start({"e000": ["500"], "e001": ["400"], "e002": ["echo"]}, contents={"*": [ALL_FIVE]})
    judgement = judge(judged_rows(4), judge_config(server, SHIPPED, votes=1), tmp_path)
    shown = caplog.text + json.dumps(judgement.metrics) + str(judgement.scores.to_pylist())
    assert "SECRET-NOTE" not in shown
    assert "because of" not in shown


def test_what_is_faulty_is_refused_before_anything_is_sent(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("R2D_TEST_KEY", raising=False)
    server.start()
    with pytest.raises(DataError, match="1 row id occurs more than once"):
        judge(judged_rows(1) * 2, judge_config(server, SHIPPED), tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        judge(judged_rows(1), judge_config(server, SHIPPED, human_scores=str(tmp_path / "none.csv")), tmp_path)
    with pytest.raises(ConfigError, match="R2D_TEST_KEY"):
        judge(judged_rows(1), judge_config(server, SHIPPED, api_key_env="R2D_TEST_KEY"), tmp_path)
    assert server.requests() == []


def test_a_second_judge_is_asked_the_same_and_held_against_the_first(server: RunningServer, tmp_path: Path) -> None:
    path = write_rubric(tmp_path, criterion("clear"), criterion("right"))
    server.start(contents={f"e{n:03d}": [answer(clear=1 + n % 5, right=4)] for n in range(20)})
    (tmp_path / "other").mkdir()
    other = RunningServer(tmp_path / "other")
    other.start(contents={f"e{n:03d}": [answer(clear=5 - n % 5, right=2)] for n in range(20)})
    try:
        second = {"base_url": other.base_url, "model": "other-judge", "max_concurrency": 2}
        config = judge_config(server, path, votes=2, second=second)
        judgement = judge(judged_rows(20), config, tmp_path / "work")
        asked = (server.asked(), other.asked())
        again = judge(judged_rows(20), config, tmp_path / "work")
        assert (server.asked(), other.asked()) == asked, "the answers of both are kept"
    finally:
        other.kill()
    assert asked[0] == asked[1] == Counter({f"e{number:03d}": 2 for number in range(20)})
    facts = json.loads(json.dumps(judgement.metrics, allow_nan=False))
    assert facts == json.loads(json.dumps(again.metrics))
    assert (facts["model"], facts["second_judge"]["model"]) == ("toy-judge", "other-judge")
    assert facts["second_judge"]["requests"]["num_answered"] == 40
    clear, right = facts["second_judge"]["agreement"]["criteria"]
    assert (clear["num_pairs"], clear["spearman"]["value"]) == (20, pytest.approx(-1))
    assert clear["mean_difference"]["value"] == 0
    assert clear["among_people"] == {"num_rows": 0, "quadratic_weighted_kappa": None}, "two votes are one judge"
    assert right["mean_difference"]["value"] == 2
    assert right["undefined"]["spearman"] == "the judge and the second judge gave one score to all"
    assert judgement.scores.num_rows == 40, "the scores are those of the first"
    assert [control["num_both"] for control in facts["controls"]] == [20, 20], "two orders of two criteria"
    assert judge(judged_rows(2), judge_config(server, path), tmp_path / "alone").metrics["second_judge"] is None
