"""Deciding and explaining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2d.modeling.backends import Encoded, Network, make_network
from r2d.modeling.decoding import decode_labels, label_log_probabilities
from r2d.modeling.labels import tokenize_labels
from r2d.modeling.load import load_pretrained
from r2d.modeling.predictor import Predictor

NOTES = ["pt denies fever for 2 days", "pt reports chest pain for 9 days", "pt reports rash", "cough"]
NAMES = ("emergency now", "self care", "rash", "see a doctor for chest pain")


def encode(network: Network[Any], prompts: list[list[int]]) -> Encoded:
    with network.evaluating():
        return network.encode(prompts)


def test_label_probabilities_equal_one_forward_pass_for_each_note_and_label(stage2_model: Path) -> None:
    model, tokenizer = load_pretrained(str(stage2_model))
    labels = tokenize_labels(NAMES, tokenizer, max_label_tokens=40)
    prompts = tokenizer([f"predict: {note}" for note in NOTES]).input_ids
    network = make_network(model.eval())
    ours = label_log_probabilities(network, encode(network, prompts), [labels] * len(prompts))
    for row, prompt in enumerate(prompts):
        for column, ids in enumerate(labels.token_ids):
            with torch.no_grad():
                loss = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([ids])).loss
            assert ours[row][column].item() == pytest.approx(-loss.item() * len(ids), rel=1e-4)


def test_constrained_decoding_gives_only_declared_labels_and_free_decoding_need_not(stage1_model: Path) -> None:
    model, tokenizer = load_pretrained(str(stage1_model))
    labels = tokenize_labels(NAMES[:2], tokenizer, max_label_tokens=8)
    prompts = tokenizer([f"predict: {note}" for note in NOTES]).input_ids
    arguments = (make_network(model), tokenizer, prompts, [labels] * len(prompts))
    constrained = decode_labels(*arguments, decoding="constrained", max_label_tokens=8)
    free = decode_labels(*arguments, decoding="free", max_label_tokens=8)
    assert set(constrained) <= set(NAMES[:2])
    # The weights of Stage 1 have never seen a label as target.
    assert not set(free) <= set(NAMES[:2])


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_after_decoding_and_after_an_error(stage2_model: Path, training: bool) -> None:
    model, _ = load_pretrained(str(stage2_model))
    model.train(training)
    network = make_network(model)
    with network.evaluating():
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training is training
    with pytest.raises(ValueError, match="exactly one of input_ids"), network.evaluating():
        model()
    assert model.training is training


def test_the_label_decode_has_no_dropout(stage2_model: Path) -> None:
    model, tokenizer = load_pretrained(str(stage2_model))
    assert model.config.dropout_rate > 0
    model.train()
    labels = tokenize_labels(NAMES, tokenizer, max_label_tokens=40)
    network = make_network(model)
    first, second = (
        label_log_probabilities(network, encode(network, tokenizer(NOTES).input_ids), [labels] * len(NOTES))
        for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_decision_does_not_depend_on_the_rows_beside_it_nor_on_their_order(stage2_model: Path) -> None:
    predictor = Predictor(stage2_model)
    together = predictor.decide(NOTES, batch_size=4)
    for note, decision in zip(NOTES, together, strict=True):
        (alone,) = predictor.decide([note])
        assert (alone.label, alone.rationale) == (decision.label, decision.rationale)
        assert alone.label_probabilities == pytest.approx(decision.label_probabilities, rel=1e-4)
        assert sum(decision.label_probabilities.values()) == pytest.approx(1.0)
        assert decision.valid


def test_stage1_weights_are_refused_for_decisions(stage1_model: Path) -> None:
    from r2d.errors import ModelError

    with pytest.raises(ModelError, match="holds the weights of stage 1, which cannot decide"):
        Predictor(stage1_model)
