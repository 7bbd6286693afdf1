"""A model from scratch decides without transformers, and decides the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from r2d.modeling import predictor
from r2d.modeling.load import load_pretrained
from r2d.modeling.manifest import write_manifest
from r2d.modeling.predictor import Predictor
from r2d.modeling.quick import load_quick

NOTES = ["pt denies chest pain for 3 days", "pt reports rash", "Ünknown words, and 12 of them; " * 9]


def test_decisions_are_the_same_to_the_bit_as_by_the_library(
    stage2_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Predictor(stage2_model, device="cpu")
    monkeypatch.setattr(predictor, "load_quick", lambda folder: None)
    by_library = Predictor(stage2_model, device="cpu")
    assert type(quick.backend.model) is not type(by_library.backend.model)
    assert quick.decide(NOTES) == by_library.decide(NOTES)
    assert quick.num_parameters == by_library.num_parameters


@pytest.mark.parametrize("length", [1, 2, 40, 300])
def test_position_biases_are_those_of_the_library(stage2_model: Path, length: int) -> None:
    quick = load_quick(stage2_model)
    assert quick is not None
    library, _ = load_pretrained(str(stage2_model))
    for part in ("encoder", "decoder"):
        ours, theirs = (getattr(model, part).block[0].layer[0].SelfAttention for model in (quick.model, library))
        assert torch.equal(ours.compute_bias(length, length), theirs.compute_bias(length, length))


def test_texts_become_the_same_tokens_and_back(stage2_model: Path) -> None:
    quick = load_quick(stage2_model)
    assert quick is not None
    _, tokenizer = load_pretrained(str(stage2_model))
    for options in ({}, {"truncation": True, "max_length": 7}, {"add_special_tokens": False}):
        ids = tokenizer(NOTES, **options).input_ids
        assert quick.tokenizer(NOTES, **options).input_ids == ids
        decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
        assert quick.tokenizer.batch_decode(ids, skip_special_tokens=True) == decoded


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "model_type", "mt5"),
        ("config.json", "dense_act_fn", "gelu_new"),
        ("config.json", "num_layers", 7),
        ("tokenizer_config.json", "tokenizer_class", "T5Tokenizer"),
    ],
)
def test_any_other_model_is_left_to_the_library(
    stage2_model: Path, tmp_path: Path, file: str, key: str, value: object
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(stage2_model, folder)
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(content | {key: value}), encoding="utf-8")
    write_manifest(folder)
    assert load_quick(folder) is None


def test_a_decision_imports_neither_transformers_nor_what_torch_compiles_with(stage2_model: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom r2d.inference.calls import Call\n"
        "from r2d.inference.decide import Answerer\n"
        f"Answerer.of_model(Path({str(stage2_model)!r})).answer([Call(None, 'pt reports rash', None)])\n"
        "print([name for name in ('transformers', 'torch._dynamo', 'sympy', 'mlflow', 'zenml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
