"""Running out of memory says what to change, and `auto_batch` finds out before training how much fits.

The limit is simulated at the outermost edge, the call of the network, which raises there what torch raises.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.errors import TrainingError
from r2d.modeling.backends.backend import Losses, Task
from r2d.modeling.backends.packed import PackedT5
from r2d.modeling.load import load_pretrained
from r2d.training.memory import divisors, is_out_of_memory
from r2d.training.train import train_stage2

LIMIT = 3


@pytest.fixture
def arguments(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> dict[str, Any]:
    return {
        "examples": examples, "stage1_model": stage1_model, "config": stage2_config, "model": model_config,
        "labels": labels, "work_dir": tmp_path / "work",
    }  # fmt: skip


@pytest.fixture
def rows_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each training pass, in order; more than `LIMIT` do not fit."""
    seen: list[int] = []
    original = PackedT5.losses

    def losses(self: PackedT5, tasks: Sequence[Task[Any]]) -> Losses:
        if torch.is_grad_enabled():
            seen.append(len(tasks[0].targets))
            if seen[-1] > LIMIT:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, tasks)

    monkeypatch.setattr(PackedT5, "losses", losses)
    return seen


def test_out_of_memory_names_what_to_change_in_order_with_present_values(
    arguments: dict[str, Any], rows_seen: list[int]
) -> None:
    with pytest.raises(TrainingError) as raised:
        train_stage2(**arguments)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("stage 2: out of memory on ")
    assert "with 8 rows at once" in lines[0]
    assert [line.split()[1] for line in lines[1:-1]] == [
        "stage2.gradient_accumulation_steps",
        "stage2.activation_checkpointing:",
        "model.max_input_tokens",
        "model.max_rationale_tokens",
        "a",
    ]
    assert "from 1 to 2, or stage2.auto_batch: true" in lines[1]
    assert "batch_size stays 8" in lines[1]


@pytest.mark.parametrize("method", ["r2d", "r2d_c"])
def test_auto_batch_takes_the_largest_parts_that_fit_and_trains_as_if_they_had_been_configured(
    arguments: dict[str, Any], rows_seen: list[int], method: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config = arguments["config"]
    arguments["method"] = MethodConfig(name=method)
    configured = train_stage2(**arguments | {"config": config.model_copy(update={"gradient_accumulation_steps": 4})})
    rows_seen.clear()
    arguments |= {"config": config.model_copy(update={"auto_batch": True}), "work_dir": tmp_path / "auto"}
    with caplog.at_level(logging.INFO, logger="r2d"):
        found = train_stage2(**arguments)

    assert max(rows_seen[2:]) <= 2, "8 and 4 rows do not fit, 2 do"
    assert found.summary()["gradient_accumulation_steps"] == 4
    assert "auto_batch: 2 rows at once fit: gradient_accumulation_steps is 4" in caplog.text
    ours, theirs = (load_pretrained(str(result.model_folder))[0].state_dict() for result in (found, configured))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs), "trying must leave no trace"


def test_auto_batch_gives_up_where_not_even_one_row_fits(
    arguments: dict[str, Any], rows_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.LIMIT", 0)
    arguments["config"] = arguments["config"].model_copy(update={"auto_batch": True})
    with pytest.raises(TrainingError, match=r"\n  1\. stage2\.activation_checkpointing: true") as raised:
        train_stage2(**arguments)
    assert rows_seen == [8, 4, 2, 1]
    assert "with 1 row at once" in str(raised.value)


def test_what_torch_says_on_a_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


@given(number=st.integers(1, 300), at_least=st.integers(1, 300))
def test_divisors_are_all_and_only_those(number: int, at_least: int) -> None:
    found = divisors(number, at_least=at_least)
    assert found == [one for one in range(1, number + 1) if number % one == 0 and one >= at_least]
