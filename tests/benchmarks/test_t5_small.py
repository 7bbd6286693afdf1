"""A model in the shape of T5-small is the model that it was made of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import torch

from benchmarks.t5_small import VOCABULARY, widen
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.modeling.load import load_pretrained, start_model


def test_a_widened_model_gives_the_logits_of_the_narrow_one(
    tmp_path: Path, examples: pa.Table, model_config: ModelConfig, labels: LabelsConfig
) -> None:
    model, tokenizer = start_model(model_config, examples, labels, seed=1)
    model.save_pretrained(tmp_path / "narrow")
    tokenizer.save_pretrained(tmp_path / "narrow")
    widen(tmp_path / "narrow", tmp_path / "wide")
    narrow, wide = (load_pretrained(str(tmp_path / name))[0].eval() for name in ("narrow", "wide"))
    assert wide.config.vocab_size == VOCABULARY
    inputs = tokenizer(["pt denies fever for 3 days", "pt reports rash"], padding=True, return_tensors="pt")
    target = torch.tensor([[0, 5, 9, 7], [0, 8, 6, 4]])
    with torch.no_grad():
        expected, found = (model(**inputs, decoder_input_ids=target).logits for model in (narrow, wide))
    torch.testing.assert_close(found[..., : expected.shape[-1]], expected, atol=1e-5, rtol=1e-4)
