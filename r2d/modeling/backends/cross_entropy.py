"""Cross-entropy of the vocabulary layer, a slice of the tokens at a time: the logits of all tokens are never in memory.

The gradient is computed together with the loss, while the slice is still in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TOKENS_AT_A_TIME = 256


def vocabulary_cross_entropy(
    states: Tensor, vocabulary: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the tokens' losses, and each token's loss in nats.

    Args:
        states: last decoder states, [tokens, d_model].
        vocabulary: weight of the output layer, [vocabulary, d_model].
        targets: token ids, [tokens].
        weights: of each token in the sum, [tokens].

    Returns:
        The sum (scalar, with gradient for `states` and `vocabulary`) and the losses ([tokens], without gradient).
    """
    total, losses = _VocabularyCrossEntropy.apply(states, vocabulary, targets, weights)
    return total, losses


class _VocabularyCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, vocabulary: Tensor, targets: Tensor, weights: Tensor) -> Any:
        wants_states, wants_vocabulary = ctx.needs_input_grad[:2]
        losses = torch.empty_like(weights)
        d_states = torch.empty_like(states) if wants_states else None
        d_vocabulary = torch.zeros_like(vocabulary) if wants_vocabulary else None
        for start in range(0, len(targets), TOKENS_AT_A_TIME):
            some = slice(start, start + TOKENS_AT_A_TIME)
            logits, wanted = states[some] @ vocabulary.t(), targets[some, None]
            log_sum = logits.logsumexp(dim=-1, keepdim=True)
            losses[some] = (log_sum - logits.gather(1, wanted)).squeeze(1)
            if d_states is None and d_vocabulary is None:
                continue
            d_logits = logits.sub_(log_sum).exp_()
            d_logits.scatter_add_(1, wanted, torch.full_like(log_sum, -1.0))
            d_logits.mul_(weights[some, None])
            if d_states is not None:
                torch.mm(d_logits, vocabulary, out=d_states[some])
            if d_vocabulary is not None:
                d_vocabulary.addmm_(d_logits.t(), states[some])
        ctx.save_for_backward(d_states, d_vocabulary)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return *(None if part is None else part.mul_(gradients[0]) for part in ctx.saved_tensors), None, None
