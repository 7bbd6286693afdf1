"""Where a model comes from, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import Stage1Config
from r2d.errors import ModelError
from r2d.modeling.load import load_pretrained, start_model, start_tokenizer, train_tokenizer
from r2d.modeling.model_folder import read_model_facts
from r2d.training.stage1 import train_stage1
from r2d.training.work import StageWork


def test_a_name_that_cannot_be_fetched_says_how_to_use_a_folder() -> None:
    with pytest.raises(ModelError) as caught:
        load_pretrained("google-t5/t5-small", "df1b051c49625cf57a3d0d8d3863ed4d13564fe4")
    message = str(caught.value)
    assert "could not be fetched from the Hugging Face hub" in message
    assert "hf download google-t5/t5-small --revision df1b051c49625cf57a3d0d8d3863ed4d13564fe4" in message
    assert "set model.name to its path" in message


def test_pickled_weights_are_not_read(stage1_model: Path, tmp_path: Path) -> None:
    for path in stage1_model.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match=r"Weights in pickle files \(\*\.bin\) are not read"):
        load_pretrained(str(tmp_path))


def test_training_goes_on_from_a_folder_that_an_earlier_run_left(
    stage1_work: StageWork[Stage1Config], labels: LabelsConfig, stage2_model: Path
) -> None:
    again = stage1_work.model.model_copy(update={"name": str(stage2_model)})
    model, tokenizer = start_model(again, [], seed=1, labels=labels)
    trained, known = load_pretrained(str(stage2_model))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), trained.parameters(), strict=True))
    assert tokenizer.get_vocab() == known.get_vocab()
    result = train_stage1(replace(stage1_work, model=again))
    assert read_model_facts(result.model_folder).model.name == str(stage2_model)


def test_a_start_model_with_other_labels_is_refused_by_the_names_that_differ(
    model_config: ModelConfig, stage2_model: Path
) -> None:
    again = model_config.model_copy(update={"name": str(stage2_model)})
    with pytest.raises(ModelError) as caught:
        start_model(again, [], seed=1, labels=LabelsConfig(names=("self care", "see a doctor")))
    message = str(caught.value)
    assert "only the model has ['emergency now'], only data.labels.names has ['see a doctor']" in message
    assert "self care" not in message
    start_model(again, [], seed=1, labels=LabelsConfig(names=("self care", "emergency now")))


def test_a_registered_version_is_read_from_the_folder_that_it_was_fetched_to(
    model_config: ModelConfig, stage2_model: Path
) -> None:
    named = model_config.model_copy(update={"name": "models:/toy@champion", "revision": "m-1"})
    model, tokenizer = start_model(named, [], seed=1, folder=stage2_model)
    assert start_tokenizer(named, [], folder=stage2_model).get_vocab() == tokenizer.get_vocab()
    assert model.config.vocab_size == load_pretrained(str(stage2_model))[0].config.vocab_size
    with pytest.raises(ModelError, match="is a registered version; fetch it and give its folder"):
        start_model(named, [], seed=1)


def test_a_folder_that_is_no_model_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no Reason2Decide model folder"):
        read_model_facts(tmp_path)


def test_a_tokenizer_from_scratch_knows_its_corpus_and_survives_text_it_never_saw() -> None:
    tokenizer = train_tokenizer(["pt denies chest pain, HR 132, temp 39.4 (home)"] * 50, vocab_size=120)
    text = "pt denies chest pain, HR 132, temp 39.4 (home)"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("無").input_ids[-1] == tokenizer.eos_token_id
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
