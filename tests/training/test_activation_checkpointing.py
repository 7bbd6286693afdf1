"""Activations that are computed again, and not kept, change no figure and no weight."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from r2d.config.data import LabelsConfig
from r2d.config.model import LoraConfig, ModelConfig
from r2d.config.training import Stage2Config
from r2d.modeling.load import load_pretrained


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=8)])
def test_losses_and_weights_are_the_same_with_and_without(
    lora: LoraConfig | None,
    examples: pa.Table,
    stage1_model: Path,
    labels: LabelsConfig,
    model_config: ModelConfig,
    stage2_config: Stage2Config,
    tmp_path: Path,
) -> None:
    from r2d.training.train import train_stage2

    results = [
        train_stage2(
            examples,
            stage1_model,
            config=stage2_config.model_copy(update={"activation_checkpointing": recomputed}),
            model=model_config.model_copy(update={"lora": lora}),
            labels=labels,
            work_dir=tmp_path / str(recomputed),
        )
        for recomputed in (False, True)
    ]
    kept, again = (
        [{key: value for key, value in record.items() if key.endswith("loss")} for record in result.history]
        for result in results
    )
    assert kept == again
    ours, theirs = (load_pretrained(str(result.model_folder))[0].state_dict() for result in results)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
