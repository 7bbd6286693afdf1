"""The label set and the tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2d.config.data import LabelsConfig
from r2d.errors import ModelError
from r2d.modeling.labels import LabelSets
from r2d.modeling.load import load_pretrained
from r2d.text import match_label


def test_labels_end_with_end_of_sequence_and_come_back(stage1_model: Path, labels: LabelsConfig) -> None:
    _, tokenizer = load_pretrained(str(stage1_model))
    declared = LabelSets(labels, tokenizer, max_label_tokens=8).of(())
    assert all(ids[-1] == tokenizer.eos_token_id for ids in declared.token_ids)
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in declared.token_ids] == list(labels.names)


def test_a_label_that_the_tokenizer_garbles_or_that_is_too_long_is_refused_by_name(stage1_model: Path) -> None:
    _, tokenizer = load_pretrained(str(stage1_model))
    names = ("self care", "救急", "pt denies chest pain for 3 days and reports fever")
    with pytest.raises(ModelError) as caught:
        LabelSets(LabelsConfig(names=names), tokenizer, max_label_tokens=4)
    message = str(caught.value)
    assert "label '救急' comes back from the tokenizer as" in message
    assert "model.max_label_tokens is 4" in message
    assert "'self care'" not in message


def test_options_that_the_tokenizer_cannot_tell_apart_or_write_are_refused(stage1_model: Path) -> None:
    _, tokenizer = load_pretrained(str(stage1_model))
    sets = LabelSets(LabelsConfig(per_row=True), tokenizer, max_label_tokens=4)
    assert sets.of(["rash", "cough", "rash"]).names == ("rash", "cough"), "an option written twice is one"
    with pytest.raises(ModelError, match="3 options of a row become 2 for the tokenizer"):
        sets.of(["rash", "救", "急"])
    with pytest.raises(ModelError, match=r"an option of a row has \d+ tokens, model.max_label_tokens is 4"):
        sets.of(["rash", "pt denies chest pain for 3 days and reports fever"])


@pytest.mark.parametrize("text", ["self care", " Self  Care ", "SELF CARE"])
def test_case_and_spaces_do_not_make_another_label(text: str) -> None:
    assert match_label(text, ["emergency now", "self care"]) == "self care"


@pytest.mark.parametrize("text", ["selfcare", "self care now", "", None])
def test_anything_else_is_no_label(text: str | None) -> None:
    assert match_label(text, ["emergency now", "self care"]) is None
