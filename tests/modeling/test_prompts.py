"""Prompts and labels as token ids: cut at one limit; labels that do not fit the tokenizer are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.errors import ModelError
from r2d.modeling.load import load_pretrained, load_tokenizer
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.text import match_label
from tests.modeling.tiny_models import ARCHITECTURES, save

SENTENCE = "pt denies chest pain for 3 days and reports fever"


@pytest.fixture
def tokenizer(stage1_model: Path) -> Any:
    return load_pretrained(str(stage1_model))[1]


@pytest.mark.parametrize("limit", [12, 200])
def test_each_prompt_is_its_template_and_the_limit_cuts_the_note(tokenizer: Any, limit: int) -> None:
    prompts = PromptEncoder(tokenizer, ModelConfig(max_input_tokens=limit, max_rationale_tokens=4))
    notes, names = [SENTENCE, f"{SENTENCE} " * 30], ["self care", "emergency now"]
    whole = {
        "explain: {}": prompts.stage1_prompts(notes),
        "predict: {}": prompts.label_prompts(notes),
        "given label: {label}, explain: {}": prompts.rationale_prompts(notes, names),
    }
    for template, rows in whole.items():
        for note, name, ids in zip(notes, names, rows, strict=True):
            expected = tokenizer(template.format(note, label=name)).input_ids
            assert ids == expected[:limit] if len(expected) <= limit else ids == [*expected[: limit - 1], expected[-1]]
    assert [len(ids) for ids in prompts.rationale_targets(["", SENTENCE])] == [0, 4]
    prefix = prompts.label_prefix_ids()
    assert all(ids[: len(prefix)] == prefix for ids in prompts.label_prompts(notes))


def test_a_prompt_of_a_causal_model_stands_in_its_chat_and_the_limit_cuts_the_note_alone(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(save(ARCHITECTURES["qwen3"](), tmp_path)), causal=True)
    prompts = PromptEncoder(tokenizer, ModelConfig(max_input_tokens=24))
    head, tail = prompts.frame or ([], [])
    assert head
    assert len(tail) > 1
    chat = [{"role": "user", "content": f"predict: {SENTENCE}"}]
    asked = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole, cut = prompts.label_prompts([SENTENCE, f"{SENTENCE} " * 30])
    assert [*whole, tail[-1]] == tokenizer(asked, add_special_tokens=False).input_ids
    assert len(cut) == 23, "the start token of the target counts too"
    assert cut[: len(head)] == head
    assert cut[1 - len(tail) :] == tail[:-1]
    assert (
        whole[: len(prompts.label_prefix_ids())] == cut[: len(prompts.label_prefix_ids())] == prompts.label_prefix_ids()
    )
    assert prompts.rationale_targets([SENTENCE])[0][0] != tokenizer.bos_token_id
    (quoting,) = prompts.label_prompts([f"pt {tokenizer.eos_token} rash {tokenizer.bos_token}"])
    assert not {tokenizer.eos_token_id, tokenizer.bos_token_id} & set(quoting[len(head) :]), "a note ends no turn"
    with pytest.raises(ModelError, match=r"max_input_tokens is 10, of which the chat template .* takes \d; at least"):
        PromptEncoder(tokenizer, ModelConfig(max_input_tokens=10))


def test_a_method_that_gives_no_label_has_the_prompt_of_stage1(tokenizer: Any) -> None:
    prompts = PromptEncoder(tokenizer, ModelConfig(), label_in_prompt=False)
    assert prompts.rationale_prompts([SENTENCE], ["self care"]) == prompts.stage1_prompts([SENTENCE])
    assert prompts.rationale_prompts([], []) == []


def test_labels_end_with_end_of_sequence_and_come_back(tokenizer: Any, labels: LabelsConfig) -> None:
    declared = LabelSets(labels, tokenizer, max_label_tokens=8).of(())
    assert all(ids[-1] == tokenizer.eos_token_id for ids in declared.token_ids)
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in declared.token_ids] == list(labels.names)


def test_a_label_that_the_tokenizer_garbles_or_that_is_too_long_is_refused_by_name(tokenizer: Any) -> None:
    with pytest.raises(ModelError) as caught:
        LabelSets(LabelsConfig(names=("self care", "救急", SENTENCE)), tokenizer, max_label_tokens=4)
    message = str(caught.value)
    assert "label '救急' comes back from the tokenizer as" in message
    assert "model.max_label_tokens is 4" in message
    assert "'self care'" not in message


def test_options_that_the_tokenizer_cannot_tell_apart_or_write_are_refused(tokenizer: Any) -> None:
    sets = LabelSets(LabelsConfig(per_row=True), tokenizer, max_label_tokens=4)
    assert sets.of(["rash", "cough", "rash"]).names == ("rash", "cough"), "an option written twice is one"
    with pytest.raises(ModelError, match="3 options of a row become 2 for the tokenizer"):
        sets.of(["rash", "救", "急"])
    with pytest.raises(ModelError, match=r"an option of a row has \d+ tokens, model.max_label_tokens is 4"):
        sets.of(["rash", SENTENCE])


def test_case_and_spaces_do_not_make_another_label_and_anything_else_does() -> None:
    texts = ["self care", " Self  Care ", "SELF CARE", "selfcare", "self care now", "", None]
    assert [match_label(text, ["emergency now", "self care"]) for text in texts] == ["self care"] * 3 + [None] * 4
