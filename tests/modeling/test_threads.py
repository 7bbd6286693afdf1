"""A small model is computed by one thread, whatever it is computed for; another by all, and any as the user says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from r2d.modeling.predictor import Predictor
from r2d.modeling.threads import SMALL, THREADS_VARIABLE, set_threads


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


def test_what_the_user_has_said_stays(stage2_model: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    Predictor(stage2_model, device="cpu")
    assert torch.get_num_threads() == 2
