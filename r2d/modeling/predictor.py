"""Inference: label first, then the rationale conditioned on that predicted label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from r2d.data.labels import match_label
from r2d.errors import ModelError
from r2d.modeling.decoding import LabelDecoding, decode_labels, encoder_inputs, generate_rationales
from r2d.modeling.decoding import label_log_probabilities as log_probabilities
from r2d.modeling.labels import tokenize_labels
from r2d.modeling.load import load_pretrained
from r2d.modeling.model_folder import read_model_facts
from r2d.modeling.prompts import PromptEncoder

OnProgress = Callable[[int, int], None]
"""Receives (rows done, rows in all)."""


@dataclass(frozen=True)
class Decision:
    """What the model says about one note."""

    label: str
    """The decoded label; with free decoding it may be no declared label."""
    valid: bool
    """Whether `label` is in the declared set."""
    label_probabilities: dict[str, float]
    """The model's own probabilities, normalised over the declared set; not calibrated."""
    rationale: str
    """Empty for a method that writes none (`sft`)."""


class Predictor:
    """A model folder, ready to decide and explain."""

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        facts = read_model_facts(folder)
        if not facts.stage.startswith("stage 2"):
            raise ModelError(
                f"{folder}: holds the weights of {facts.stage}, which cannot decide; give those of stage 2"
            )
        self.config = facts.model
        self.method = facts.method
        self.model, self.tokenizer = load_pretrained(str(folder))
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self.labels = tokenize_labels(facts.labels.names, self.tokenizer, max_label_tokens=self.config.max_label_tokens)
        self.prompts = PromptEncoder(self.tokenizer, self.config, label_in_prompt=self.method.explains_the_label)

    def decide(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        decoding: LabelDecoding | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Decision]:
        """Labels, label probabilities and rationales for notes, in their order; computed in batches of similar length.

        Args:
            decoding: overrides the model's own `label_decoding`.
        """
        decisions: dict[int, Decision] = {}
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._decide_batch([texts[row] for row in rows], decoding or self.config.label_decoding)
            decisions |= dict(zip(rows, batch, strict=True))
            if on_progress is not None:
                on_progress(len(decisions), len(texts))
        return [decisions[row] for row in range(len(texts))]

    def decode_labels(self, texts: Sequence[str], *, decoding: LabelDecoding, batch_size: int = 32) -> list[str]:
        """Labels alone, in the order of the texts."""
        decoded: list[str] = []
        for start in range(0, len(texts), batch_size):
            decoded += self._decode(self.prompts.label_prompts(texts[start : start + batch_size]), decoding)
        return decoded

    def _decide_batch(self, texts: Sequence[str], decoding: LabelDecoding) -> list[Decision]:
        label_prompts = self.prompts.label_prompts(texts)
        inputs = encoder_inputs(label_prompts, self.tokenizer.pad_token_id, self.model.device)
        probabilities = log_probabilities(self.model, self.labels, inputs).softmax(dim=-1).tolist()
        if decoding == "constrained":
            decoded = [self.labels.names[row.index(max(row))] for row in probabilities]
        else:
            decoded = self._decode(label_prompts, decoding)
        rationales = self._explain(texts, decoded) if self.method.explains else [""] * len(decoded)
        return [
            Decision(
                label=match_label(label, self.labels.names) or label,
                valid=match_label(label, self.labels.names) is not None,
                label_probabilities=dict(zip(self.labels.names, row, strict=True)),
                rationale=rationale,
            )
            for label, row, rationale in zip(decoded, probabilities, rationales, strict=True)
        ]

    def _explain(self, texts: Sequence[str], labels: Sequence[str]) -> list[str]:
        return generate_rationales(
            self.model,
            self.tokenizer,
            self.prompts.rationale_prompts(texts, labels),
            max_rationale_tokens=self.config.max_rationale_tokens,
        )

    def _decode(self, label_prompts: Sequence[Sequence[int]], decoding: LabelDecoding) -> list[str]:
        return decode_labels(
            self.model,
            self.tokenizer,
            self.labels,
            label_prompts,
            decoding=decoding,
            max_label_tokens=self.config.max_label_tokens,
        )
