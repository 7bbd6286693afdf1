"""Adapters: only they are trained, and what a stage leaves is a plain checkpoint that gives what they gave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from r2d.config.model import LoraConfig
from r2d.config.training import Stage1Config, Stage2Config
from r2d.errors import ModelError
from r2d.modeling.backends.backend import Task
from r2d.modeling.backends.packed import make_backend
from r2d.modeling.load import load_pretrained
from r2d.modeling.lora import add_adapters, save_weights
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from tests.conftest import changed
from tests.modeling.tiny_models import ARCHITECTURES, padded_inputs, save

LORA = LoraConfig(rank=4, alpha=8, dropout=0.1)
BF16 = LORA.model_copy(update={"base": "bf16"})


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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_in_bf16_take_half_the_memory_and_learn_as_those_in_fp32(name: str, tmp_path: Path) -> None:
    """Adapters, their gradients and what is kept are in fp32."""
    made, tokenizer = ARCHITECTURES[name]()
    start = save((made, tokenizer), tmp_path / "start")
    whole, half = adapted(start), adapted(start, BF16)
    adapters = [
        dict.fromkeys(name for name, weight in model.named_parameters() if ".lora_" in name) for model in (whole, half)
    ]
    assert adapters[0] == adapters[1]
    assert not any("vision" in name for name in adapters[0])
    sizes = [sum(p.nbytes for p in model.parameters() if not p.requires_grad) for model in (whole, half)]
    assert sizes[0] == 2 * sizes[1] > 0

    tasks, gradients, losses = [Task([[5, 6, 7, 1], [8, 9, 1]], [[5, 6, 1], [7, 1]], num_tokens=5)], [], []
    for model, precision in ((whole, "fp32"), (half, "bf16")):
        backend = make_backend(model.eval(), precision=precision)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = backend.losses(tasks).total
        loss.backward()
        losses.append(loss.item())
        assert {p.grad.dtype for p in model.parameters() if p.requires_grad and p.grad is not None} == {torch.float32}
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95

    frozen = {name: value.clone() for name, value in half.state_dict().items()}
    save_weights(half, tmp_path / "merged")
    stored, before = (load_file(folder / "model.safetensors") for folder in (tmp_path / "merged", start))
    assert {name: value.dtype for name, value in stored.items()} == dict.fromkeys(before, torch.float32)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "float32"
    tokenizer.save_pretrained(tmp_path / "merged")
    for name, value in load_pretrained(str(tmp_path / "merged"))[0].state_dict().items():
        layer, _, parameter = name.rpartition(".")
        wanted = frozen.get(name)
        if wanted is None:
            wanted = frozen[f"{layer}.base_layer.{parameter}"]
        wanted = wanted.float()
        if f"{layer}.lora_A.default.weight" in frozen and parameter == "weight":
            wanted = wanted + 2 * frozen[f"{layer}.lora_B.default.weight"] @ frozen[f"{layer}.lora_A.default.weight"]
        torch.testing.assert_close(value, wanted, atol=1e-6, rtol=0)


def test_eight_billion_parameters_under_adapters_leave_room_on_a_card_of_80_gigabytes() -> None:
    """Llama 3.1 8B, as the table in docs/kubernetes.md has it: 4 + 4 + 8 bytes of each adapter's number are trained."""
    config = LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=128256,
    )  # fmt: skip
    with torch.device("meta"):
        model = add_adapters(LlamaForCausalLM(config), LoraConfig(base="bf16"), seed=1)
    frozen = sum(parameter.nbytes for parameter in model.parameters() if not parameter.requires_grad)
    adapters = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    assert (frozen, adapters) == (2 * 8_030_261_248, 4 * 41_943_040)
    assert round((frozen + 4 * adapters) / 2**30, 1) == 15.6


@pytest.mark.parametrize(
    ("family", "lora"), [("t5", LORA), ("t5", BF16), ("llama", BF16)], ids=["t5", "t5 in bf16", "llama in bf16"]
)
def test_both_stages_leave_plain_checkpoints_in_which_only_adapted_layers_differ(
    family: str,
    lora: LoraConfig,
    stage1_work: StageWork[Stage1Config],
    work: StageWork[Stage2Config],
    stage1_model: Path,
    tmp_path: Path,
) -> None:
    folder = stage1_model if family == "t5" else save(ARCHITECTURES[family](), tmp_path / "start")
    model = stage1_work.model.model_copy(update={"name": str(folder), "lora": lora})
    first = train_stage1(changed(replace(stage1_work, model=model), precision=lora.base))
    work = replace(work, model=model, stage1_model=first.model_folder)
    second = train_stage2(changed(work, max_steps=8, precision=lora.base))
    start, *stages = (
        load_pretrained(str(folder))[0].state_dict() for folder in (folder, first.model_folder, second.model_folder)
    )
    for before, after in ((start, stages[0]), (stages[0], stages[1])):
        assert set(before) == set(after)
        if lora.base == "bf16":
            before = {name: value.bfloat16().float() for name, value in before.items()}
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved
        adapted_layers = (
            "q",
            "k",
            "v",
            "o",
            "wi",
            "wo",
            *(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")),
        )
        assert all(name.split(".")[-2] in adapted_layers for name in moved)
    assert json.loads((second.model_folder / "reason2decide.json").read_text())["model"]["lora"]["rank"] == 4
