"""The published training loop and inference script in plain words of transformers: what our engine is held against.

Written from the description of the published code (docs/method.md), defects included, because they are part of what it
costs: texts are tokenised inside the loop and padded to the longest of the batch in natural order, the label decode
takes all rows and runs in train mode, the encoder runs anew for it, and prompts with a sampled label are cut at 512
tokens. Nothing is made slower than described: attention, generation and AdamW are the library's own at their defaults.

One thing is not as published: the draws are given and not taken, so that both loops can train on the same prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from benchmarks.invented_rows import Row

MAX_INPUT_TOKENS = 1024
MAX_SAMPLED_INPUT_TOKENS = 512
MAX_RATIONALE_TOKENS = 256
MAX_LABEL_TOKENS = 50
MAX_GRAD_NORM = 1.0


class PublishedLoop:
    """One optimiser step after another on batches of rows, in the order given."""

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        *,
        learning_rate: float = 5e-5,
        max_steps: int = 30_000,
    ) -> None:
        """`max_steps` is T, over which the learning rate falls to 0."""
        self.model = model
        self.tokenizer = tokenizer
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: max(0.0, 1 - step / max_steps))

    def stage1_step(self, rows: Sequence[Row]) -> float:
        """`explain: x -> r*`; the loss."""
        self.model.train()
        return self._update(self.stage1_loss(rows))

    def stage2_step(self, rows: Sequence[Row], *, alpha: float, drawn: Sequence[bool] | None = None) -> float:
        """Both tasks; the loss. As `stage2_loss`."""
        self.model.train()
        return self._update(self.stage2_loss(rows, alpha=alpha, drawn=drawn))

    def stage1_loss(self, rows: Sequence[Row]) -> Tensor:
        """Mean cross-entropy for each token of the rationales."""
        inputs = self._tokenize([f"explain: {row.text}" for row in rows], MAX_INPUT_TOKENS)
        targets = self._tokenize([row.rationale for row in rows], MAX_RATIONALE_TOKENS)
        return self._loss(inputs, targets)

    def stage2_loss(self, rows: Sequence[Row], *, alpha: float, drawn: Sequence[bool] | None = None) -> Tensor:
        """`alpha L_label + (1 - alpha) L_rationale`.

        Args:
            drawn: for each row, whether its rationale prompt carries the model's own label; None before `T_w`, when
                nothing is decoded. From `T_w` on every row is decoded, drawn or not.
        """
        inputs = self._tokenize([f"predict: {row.text}" for row in rows], MAX_INPUT_TOKENS)
        labels = self._tokenize([row.label for row in rows], MAX_LABEL_TOKENS)
        rationales = self._tokenize([row.rationale for row in rows], MAX_RATIONALE_TOKENS)
        label_loss = self._loss(inputs, labels)
        in_prompt, limit = [row.label for row in rows], MAX_INPUT_TOKENS
        if drawn is not None:
            own = self.generate(inputs, MAX_LABEL_TOKENS)
            in_prompt = [mine if draw else gold for mine, gold, draw in zip(own, in_prompt, drawn, strict=True)]
            limit = MAX_SAMPLED_INPUT_TOKENS
        prompts = [f"given label: {label}, explain: {row.text}" for label, row in zip(in_prompt, rows, strict=True)]
        rationale_loss = self._loss(self._tokenize(prompts, limit), rationales)
        return alpha * label_loss + (1 - alpha) * rationale_loss

    def decode(self, rows: Sequence[Row]) -> list[str]:
        """The label decode of a training step by itself: all rows, greedy, in train mode."""
        self.model.train()
        inputs = self._tokenize([f"predict: {row.text}" for row in rows], MAX_INPUT_TOKENS)
        return self.generate(inputs, MAX_LABEL_TOKENS)

    def infer(self, rows: Sequence[Row], batch_size: int) -> list[tuple[str, str]]:
        """Label and rationale of each row, as the published inference script writes them: batches in natural order."""
        self.model.eval()
        answers: list[tuple[str, str]] = []
        for start in range(0, len(rows), batch_size):
            texts = [row.text for row in rows[start : start + batch_size]]
            inputs = self._tokenize([f"predict: {text}" for text in texts], MAX_INPUT_TOKENS)
            labels = self.generate(inputs, MAX_LABEL_TOKENS)
            prompts = [f"given label: {label}, explain: {text}" for label, text in zip(labels, texts, strict=True)]
            rationales = self.generate(self._tokenize(prompts, MAX_INPUT_TOKENS), MAX_RATIONALE_TOKENS)
            answers += zip(labels, rationales, strict=True)
        return answers

    def generate(self, inputs: Any, max_tokens: int) -> list[str]:
        """Greedy texts in whatever mode the model is; `generate` itself takes no gradient."""
        ids = self.model.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            max_length=max_tokens,  # the decoder's start token is one of them
            do_sample=False,
            num_beams=1,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _tokenize(self, texts: list[str], limit: int) -> Any:
        encoded = self.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return encoded.to(self.model.device)

    def _loss(self, inputs: Any, targets: Any) -> Tensor:
        labels = targets.input_ids.masked_fill(targets.attention_mask == 0, -100)
        return self.model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, labels=labels).loss

    def _update(self, loss: Tensor) -> float:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return loss.item()
