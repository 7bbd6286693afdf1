"""The rows and the time of an evaluation."""

from __future__ import annotations

import pyarrow as pa
import pytest

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.data.examples import split_of
from r2d.errors import DataError
from r2d.evaluation import run as module
from r2d.evaluation.run import PARTS, EvaluationRun, Timer, evaluated_rows


def test_a_limit_keeps_the_same_rows_whatever_their_order(examples: pa.Table, labels: LabelsConfig) -> None:
    few = EvaluationRun(examples, labels, EvaluationConfig(max_rows=5)).test["id"].to_pylist()
    assert len(few) == 5
    turned = evaluated_rows(examples.take(list(range(len(examples)))[::-1]), 5)["id"].to_pylist()
    assert turned == few[::-1]
    assert evaluated_rows(examples, 10_000).equals(split_of(examples, "test"))
    with pytest.raises(DataError, match="the test split is empty"):
        evaluated_rows(split_of(examples, "train"), None)


def test_an_inner_part_is_not_counted_for_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    timer = Timer()

    def pass_seconds(seconds: float) -> float:
        now[0] += seconds
        return seconds

    with timer("rationale_metrics"):
        pass_seconds(1)
        with timer("labels_of_rationales"):
            pass_seconds(10)
            with timer("bertscore"):
                pass_seconds(100)
        assert timer("labels_of_rationales")(pass_seconds)(20) == 20
        pass_seconds(2)

    def fail() -> None:
        pass_seconds(5)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        timer("report")(fail)()
    pass_seconds(1000)
    counted = {part: seconds for part, seconds in timer.seconds().items() if seconds}
    assert counted == {"rationale_metrics": 3, "labels_of_rationales": 30, "bertscore": 100, "report": 5, "total": 1138}
    assert set(timer.seconds()) == {*PARTS, "total"}
