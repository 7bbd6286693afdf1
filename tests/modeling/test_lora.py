"""Adapters: only they are trained, and what a stage leaves is a plain checkpoint that gives what they gave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from r2d.config.model import LoraConfig
from r2d.config.training import Stage1Config, Stage2Config
from r2d.errors import ModelError
from r2d.modeling.load import load_pretrained
from r2d.modeling.lora import add_adapters, save_weights
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from tests.conftest import changed
from tests.modeling.tiny_models import ARCHITECTURES, padded_inputs, save

LORA = LoraConfig(rank=4, alpha=8, dropout=0.1)


def logits_of(model: Any) -> torch.Tensor:
    inputs = padded_inputs([[5, 6, 7, 1], [8, 9, 1]])
    if model.config.is_encoder_decoder:
        inputs["labels"] = torch.tensor([[5, 6, 1]] * 2)
    with torch.no_grad():
        return model.eval()(**inputs).logits


def adapted(folder: Path, config: LoraConfig = LORA) -> Any:
    """Adapters as after some training: both of their halves hold numbers."""
    model = add_adapters(load_pretrained(str(folder))[0], config, seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fresh_adapters_change_nothing_and_merged_ones_give_what_they_gave(name: str, tmp_path: Path) -> None:
    start = save(ARCHITECTURES[name](), tmp_path / "start")
    before, tokenizer = load_pretrained(str(start))
    assert torch.equal(logits_of(add_adapters(load_pretrained(str(start))[0], LORA, seed=1)), logits_of(before))

    model = adapted(start)
    wanted = logits_of(model)
    assert not torch.allclose(wanted, logits_of(before), atol=1e-4)
    save_weights(model, tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits_of(model), wanted), "saving must not disturb the training"
    merged, _ = load_pretrained(str(tmp_path / "merged"))
    torch.testing.assert_close(logits_of(merged), wanted, atol=1e-5, rtol=0)
    assert set(merged.state_dict()) == set(before.state_dict())


def test_only_adapters_are_trained_where_they_were_asked_for_and_unknown_layers_are_refused(tmp_path: Path) -> None:
    start = save(ARCHITECTURES["t5"](), tmp_path)
    model = adapted(start, LoraConfig(target_modules=("q", "v")))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".lora_" in name and name.split(".")[-4] in ("q", "v") for name in trained)
    with pytest.raises(ModelError, match=r"found \['q_proj'\]; the linear layers of a t5 are \['k', .*'q', 'v'"):
        adapted(start, LoraConfig(target_modules=("q_proj", "v")))


def test_both_stages_leave_plain_checkpoints_in_which_only_adapted_layers_differ(
    stage1_work: StageWork[Stage1Config], work: StageWork[Stage2Config], stage1_model: Path
) -> None:
    model = stage1_work.model.model_copy(update={"name": str(stage1_model), "lora": LORA})
    first = train_stage1(replace(stage1_work, model=model))
    second = train_stage2(changed(replace(work, model=model, stage1_model=first.model_folder), max_steps=8))
    start, *stages = (
        load_pretrained(str(folder))[0].state_dict()
        for folder in (stage1_model, first.model_folder, second.model_folder)
    )
    for before, after in ((start, stages[0]), (stages[0], stages[1])):
        assert set(before) == set(after)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved
        assert all(name.split(".")[-2] in ("q", "k", "v", "o", "wi", "wo") for name in moved)
    assert json.loads((second.model_folder / "reason2decide.json").read_text())["model"]["lora"]["rank"] == 4
