"""Where a model comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2d.errors import ModelError
from r2d.modeling.load import load_pretrained
from r2d.modeling.model_folder import read_model_facts
from r2d.modeling.tokenizer import train_tokenizer


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


def test_a_model_of_another_family_is_refused_with_the_reason(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is of type 'bert'.*allowed types are t5"):
        load_pretrained(str(tmp_path))


def test_a_folder_that_is_no_model_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no Reason2Decide model folder"):
        read_model_facts(tmp_path)


def test_a_tokenizer_from_scratch_knows_its_corpus_and_survives_text_it_never_saw() -> None:
    tokenizer = train_tokenizer(["pt denies chest pain, HR 132, temp 39.4 (home)"] * 50, vocab_size=120)
    text = "pt denies chest pain, HR 132, temp 39.4 (home)"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("無").input_ids[-1] == tokenizer.eos_token_id
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
