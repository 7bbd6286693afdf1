"""How the model decides (a label) and explains (a rationale): always in eval mode, without gradient (departure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from r2d.modeling.labels import LabelSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LabelDecoding = Literal["constrained", "free"]


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode without gradient; the mode found is restored, also after an error."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def pad(sequences: Sequence[Sequence[int]], value: int, device: torch.device | str = "cpu") -> Tensor:
    """Token ids of unequal length as one [rows, longest] tensor, filled up on the right with `value`."""
    longest = max(len(sequence) for sequence in sequences)
    rows = [[*sequence, *[value] * (longest - len(sequence))] for sequence in sequences]
    return torch.tensor(rows, dtype=torch.long, device=device)


def encoder_inputs(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device | str) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, both [rows, longest]."""
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    input_ids = pad(sequences, pad_id, device)
    mask = torch.arange(input_ids.shape[1], device=device) < lengths[:, None]
    return {"input_ids": input_ids, "attention_mask": mask.long()}


def encoded_inputs(states: Tensor, attention_mask: Tensor) -> dict[str, Any]:
    """What stands in for `encoder_inputs` where the encoder has run already.

    Args:
        states: last hidden states of the encoder, [rows, longest, d_model].
        attention_mask: [rows, longest].
    """
    from transformers.modeling_outputs import BaseModelOutput

    return {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "attention_mask": attention_mask}


def label_log_probabilities(model: PreTrainedModel, labels: LabelSet, inputs: dict[str, Any]) -> Tensor:
    """Log-probability of each declared label, end-of-sequence included, given the label prompt: [rows, labels].

    These are the model's own sequence probabilities, not yet normalised over the set. The encoder runs once, and what
    the decoder attends to is computed once a row and shared by all labels.
    """
    with evaluating(model):
        num_rows, num_labels = inputs["attention_mask"].shape[0], len(labels.names)
        targets = pad(labels.token_ids, -100, model.device)
        start = torch.full((num_rows, 1), model.config.decoder_start_token_id, device=model.device)
        first = model(**inputs, decoder_input_ids=start, use_cache=True)
        log_probabilities = first.logits.float().log_softmax(dim=-1)[:, 0, targets[:, 0]]
        if targets.shape[1] == 1:
            return log_probabilities
        cache = first.past_key_values
        cache.batch_repeat_interleave(num_labels)
        later = targets[:, 1:].repeat(num_rows, 1)
        logits = model(
            encoder_outputs=(first.encoder_last_hidden_state.repeat_interleave(num_labels, dim=0),),
            attention_mask=inputs["attention_mask"].repeat_interleave(num_labels, dim=0),
            decoder_input_ids=targets[:, :-1].clamp(min=0).repeat(num_rows, 1),
            past_key_values=cache,
            use_cache=True,
        ).logits
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), later.flatten(), ignore_index=-100, reduction="none"
        )
        return log_probabilities - losses.view(num_rows, num_labels, -1).sum(dim=-1)


def decode_labels(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: LabelSet,
    prompts: Sequence[Sequence[int]],
    *,
    decoding: LabelDecoding,
    max_label_tokens: int,
    encoded: dict[str, Any] | None = None,
) -> list[str]:
    """`y_hat` for each label prompt.

    `constrained`: the declared label of the highest probability. `free`: the greedy text, which may be no label.

    Args:
        encoded: `encoded_inputs` of these prompts, where there are such; the encoder then does not run again.
    """
    if not prompts:
        return []
    inputs = encoder_inputs(prompts, tokenizer.pad_token_id, model.device) if encoded is None else encoded
    if decoding == "constrained":
        best = label_log_probabilities(model, labels, inputs).argmax(dim=-1).tolist()
        return [labels.names[index] for index in best]
    return _generate(model, tokenizer, inputs, max_label_tokens)


def generate_rationales(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_rationale_tokens: int,
) -> list[str]:
    """The greedy rationale for each prompt, special tokens removed."""
    if not prompts:
        return []
    inputs = encoder_inputs(prompts, tokenizer.pad_token_id, model.device)
    return _generate(model, tokenizer, inputs, max_rationale_tokens)


def _generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, inputs: dict[str, Any], max_new_tokens: int
) -> list[str]:
    with evaluating(model):
        # One more for end-of-sequence: a limit of n tokens is a limit of n tokens of text.
        output = model.generate(**inputs, max_new_tokens=max_new_tokens + 1, do_sample=False, num_beams=1)
    return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]
