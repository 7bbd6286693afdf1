"""What a person is told while a stage trains."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest

from r2d.config.training import Stage2Config
from r2d.training import progress
from r2d.training.progress import Progress
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageResult, StageWork
from tests.conftest import changed

LOADER = SimpleNamespace(dataset=range(72))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A wall clock that stands still until `now` is moved; the plan is not told."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(progress, "plan", lambda *_: "plan")
    return clock


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO, logger="r2d")
    return caplog


@pytest.fixture
def trained(work: StageWork[Stage2Config], logged: pytest.LogCaptureFixture) -> StageResult:
    return train_stage2(changed(work, gradient_accumulation_steps=2))


def test_the_first_line_says_what_is_going_to_happen_and_the_others_how_it_goes(
    trained: StageResult, logged: pytest.LogCaptureFixture
) -> None:
    messages = [record.getMessage() for record in logged.get_records("setup")]
    lines = [line for line in messages if line.startswith("stage 2: ")]
    assert re.fullmatch(
        r"stage 2: [\d,]+ parameters, 72 training rows, at most 20 steps of 8 rows in 2 parts \(2\.2 epochs\), "
        r"evaluation every 4 steps, fp32 on cpu",
        lines[0],
    )
    training = [line for line in lines if " loss " in line and "macro-F1" not in line]
    assert re.fullmatch(
        r"stage 2: step 10/20, loss [\d.]+, alpha 0\.\d\d, predicted labels \d+%, (of them right \d+%, )?"
        r"[\d,]+ rows/s, [\d,]+ target tokens/s, at most \d+:\d\d left",
        training[0],
    )
    assert not training[-1].endswith("left"), "the last step leaves nothing"


def test_speed_and_accuracy_of_the_decodes_stand_in_the_history(trained: StageResult) -> None:
    records = [record for record in trained.history if "loss" in record]
    assert all(record["num_examples_per_second"] > 0 for record in records)
    assert all(record["num_target_tokens_per_second"] > 0 for record in records)
    assert any(0 <= record["decoded_label_accuracy"] <= 1 for record in records)
    summary = trained.summary()
    assert summary["training_seconds"] > 0
    # 20 steps of 8 rows took less time than the whole loop, which evaluates too.
    assert 160 / summary["num_examples_per_second"] < summary["training_seconds"]


def test_time_left_counts_the_evaluations_to_come(clock: SimpleNamespace, logged: pytest.LogCaptureFixture) -> None:
    shown = Progress("stage 2", None)
    state = SimpleNamespace(global_step=0, max_steps=40, log_history=[], is_world_process_zero=True)
    arguments = SimpleNamespace(world_size=1, eval_steps=10, save_steps=1000)
    control = SimpleNamespace(should_evaluate=False, should_save=False)
    shown.on_train_begin(arguments, state, control, model=None, train_dataloader=LOADER)

    def train_to(step: int) -> str:
        """A second a step, half a minute an evaluation; the line of the last step."""
        for number in range(state.global_step + 1, step + 1):
            clock.now += 1
            shown.num_examples += 4
            state.global_step = number
            control.should_evaluate = number % 10 == 0
            shown.on_step_end(arguments, state, control)
            if number == step:
                state.log_history.append({"loss": 1.0})
                shown.on_log(arguments, state, control, {"loss": 1.0})
            if control.should_evaluate:
                clock.now += 30
                shown.on_evaluate(arguments, state, control)
        return logged.records[-1].getMessage()

    assert train_to(5).endswith("4 rows/s, 0 target tokens/s, at most 0:35 and 4 evaluations left")
    assert train_to(15).endswith("4 rows/s, 0 target tokens/s, at most 1:55 left"), "25 steps, 3 evaluations"
    assert train_to(39).endswith("at most 0:31 left")
    assert shown.num_examples_per_second == pytest.approx(4)
    assert shown.training_seconds == pytest.approx(39 + 3 * 30)


def test_times_are_summed_over_sessions(clock: SimpleNamespace) -> None:
    kept = {"training_seconds": 50.0, "step_seconds": 20.0, "num_examples": 80.0}
    resumed = Progress("stage 2", None)
    state = SimpleNamespace(global_step=20, max_steps=40, stateful_callbacks={"Progress": {"attributes": kept}})
    resumed.on_train_begin(None, state, None, model=None, train_dataloader=LOADER)
    clock.now += 5
    resumed.num_examples += 20
    assert resumed.training_seconds == 55
    assert resumed.state()["attributes"] == {"training_seconds": 55.0, "step_seconds": 25.0, "num_examples": 100.0}
