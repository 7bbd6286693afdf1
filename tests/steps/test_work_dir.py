"""The folder of a stage's checkpoints is found again by the same work, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2d.config.training import Stage2Config
from steps.work_dir import stage_work_dir


def test_another_patience_finds_the_folder_again_and_another_learning_rate_or_data_does_not(
    stage2_config: Stage2Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path))
    folder = stage_work_dir("train_stage2", stage2_config, "data")
    helps = {"patience": 9, "gradient_accumulation_steps": 2, "save_every_steps": 50, "activation_checkpointing": True}
    assert stage_work_dir("train_stage2", stage2_config.model_copy(update=helps), "data") == folder
    other = stage2_config.model_copy(update={"learning_rate": 3e-3})
    assert stage_work_dir("train_stage2", other, "data") != folder
    assert stage_work_dir("train_stage2", stage2_config, "other data") != folder
