"""A small model is computed by one thread, whatever it is computed for; another by all, and any as the user says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from r2d.config.training import Stage1Config
from r2d.modeling.predictor import Predictor
from r2d.modeling.threads import SMALL, THREADS_VARIABLE, set_threads
from r2d.training.stage1 import train_stage1
from r2d.training.work import StageWork
from tests.conftest import changed


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_small_model_takes_one_thread_and_a_larger_one_after_it_those_that_were_there(
    stage2_model: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(THREADS_VARIABLE)
    set_threads(SMALL)
    assert torch.get_num_threads() == 2
    for _ in range(2):
        Predictor(stage2_model, device="cpu")
        assert torch.get_num_threads() == 1
    set_threads(SMALL)
    assert torch.get_num_threads() == 2


def test_a_training_of_a_small_model_takes_one_thread(
    stage1_work: StageWork[Stage1Config], two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(THREADS_VARIABLE)
    train_stage1(changed(stage1_work, max_steps=2, eval_every_steps=2))
    assert torch.get_num_threads() == 1


def test_what_the_user_has_said_stays(stage2_model: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    Predictor(stage2_model, device="cpu")
    assert torch.get_num_threads() == 2
