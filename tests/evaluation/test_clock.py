"""Time is counted once: an inner part stops the outer one."""

from __future__ import annotations

import pytest

from r2d.evaluation import clock as module
from r2d.evaluation.clock import PARTS, Clock


def test_an_inner_part_is_not_counted_for_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    clock = Clock()

    def pass_seconds(seconds: float) -> float:
        now[0] += seconds
        return seconds

    with clock("rationale_figures"):
        pass_seconds(1)
        with clock("labels_of_rationales"):
            pass_seconds(10)
            with clock("bertscore"):
                pass_seconds(100)
        assert clock.timed("labels_of_rationales", pass_seconds)(20) == 20
        pass_seconds(2)

    def fail() -> None:
        pass_seconds(5)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        clock.timed("report", fail)()
    pass_seconds(1000)
    counted = {part: seconds for part, seconds in clock.seconds().items() if seconds}
    assert counted == {"rationale_figures": 3, "labels_of_rationales": 30, "bertscore": 100, "report": 5, "total": 1138}
    assert set(clock.seconds()) == {*PARTS, "total"}
