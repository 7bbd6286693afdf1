"""Inference: label first, then the rationale conditioned on that predicted label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from r2d.errors import ModelError
from r2d.modeling.backends.backend import Seq2SeqBackend
from r2d.modeling.backends.exported import ExportedBackend, is_exported, read_engine_facts
from r2d.modeling.backends.packed import make_backend
from r2d.modeling.decoding import Decoder, LabelDecoding, label_log_probabilities
from r2d.modeling.load import load_pretrained, load_tokenizer
from r2d.modeling.model_folder import read_calibration, read_model_facts
from r2d.modeling.prompts import LabelSet, LabelSets, PromptEncoder
from r2d.modeling.quick import load_quick
from r2d.modeling.threads import set_threads
from r2d.text import match_label

OnProgress = Callable[[int, int], None]
"""Receives (rows done, rows in all)."""


@dataclass(frozen=True)
class Decision:
    """The model's label and rationale for one note."""

    label: str
    """The decoded label; with free decoding it may be no declared label."""
    valid: bool
    """Whether `label` is in the declared set."""
    label_probabilities: dict[str, float]
    """The model's own probabilities, normalised over the declared set, and scaled by the temperature that an evaluation
    left in the model folder."""
    rationale: str
    """Empty for a method that writes none (`sft`), and where none was asked for."""
    other_label: str | None = None
    """The label under the other decoding, where it was asked for."""

    @property
    def confidence(self) -> float:
        """The probability of the label; 0 for one that is not declared."""
        return self.label_probabilities.get(self.label, 0.0)


class Predictor:
    """A model folder, ready to decide and explain."""

    def __init__(self, folder: Path, *, device: str | None = None, calibrated: bool = True) -> None:
        """`calibrated`: whether the temperature and the threshold of the folder are used, where it holds them."""
        facts = read_model_facts(folder)
        if not facts.stage.startswith("stage 2"):
            raise ModelError(
                f"{folder}: holds the weights of {facts.stage}, which cannot decide; give those of stage 2"
            )
        self.config, self.method = facts.model, facts.method
        self.calibration = read_calibration(folder) if calibrated else None
        self.backend: Seq2SeqBackend[Any]
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if is_exported(folder):
            self.tokenizer = load_tokenizer(str(folder))
            self.backend = ExportedBackend(folder, self.tokenizer)
            self.num_parameters = read_engine_facts(folder).num_parameters
        else:
            quick = load_quick(folder) if device == "cpu" else None
            model, self.tokenizer = quick or load_pretrained(str(folder))
            self.backend = make_backend(model.to(device).eval())
            self.num_parameters = model.num_parameters()
            set_threads(self.num_parameters)
        self.decoder = Decoder(self.backend, self.tokenizer, self.config)
        self.labels = LabelSets(facts.labels, self.tokenizer, max_label_tokens=self.config.max_label_tokens)
        self.prompts = PromptEncoder(self.tokenizer, self.config, label_in_prompt=self.method.explains_the_label)

    def decide(
        self,
        texts: Sequence[str],
        options: Sequence[Sequence[str]] | None = None,
        *,
        batch_size: int = 32,
        explain: bool = True,
        other_decoding: bool = False,
        on_progress: OnProgress | None = None,
    ) -> list[Decision]:
        """Labels, label probabilities and rationales for notes, in their order; computed in batches of similar length.

        Args:
            options: the labels of each row, for a model that was trained on rows with options of their own.
            explain: whether rationales are written.
            other_decoding: whether the label decoding that `model.label_decoding` does not name is tried too.

        Raises:
            ModelError: such a model was given no options.
        """
        sets = self._label_sets(texts, options)
        explain = explain and self.method.explains
        decisions: dict[int, Decision] = {}
        for rows in _length_sorted(texts, batch_size):
            batch_texts, batch_sets = [texts[row] for row in rows], [sets[row] for row in rows]
            batch = self._decide_batch(batch_texts, batch_sets, explain=explain, other_decoding=other_decoding)
            decisions |= dict(zip(rows, batch, strict=True))
            if on_progress is not None:
                on_progress(len(decisions), len(texts))
        return [decisions[row] for row in range(len(texts))]

    def decode_labels(
        self,
        texts: Sequence[str],
        options: Sequence[Sequence[str]] | None = None,
        *,
        decoding: LabelDecoding,
        batch_size: int = 32,
    ) -> list[str]:
        """Labels alone, in the order of the texts."""
        sets = self._label_sets(texts, options)
        labels: dict[int, str] = {}
        for rows in _length_sorted(texts, batch_size):
            prompts = self.prompts.label_prompts([texts[row] for row in rows])
            batch = self.decoder.labels(prompts, [sets[row] for row in rows], decoding)
            labels |= dict(zip(rows, batch, strict=True))
        return [labels[row] for row in range(len(texts))]

    def explain(self, texts: Sequence[str], labels: Sequence[str], *, batch_size: int = 32) -> list[str]:
        """Rationales alone, for given labels instead of the model's own, in the order of the texts."""
        rationales: dict[int, str] = {}
        for rows in _length_sorted(texts, batch_size):
            prompts = self.prompts.rationale_prompts([texts[row] for row in rows], [labels[row] for row in rows])
            rationales |= dict(zip(rows, self.decoder.rationales(prompts), strict=True))
        return [rationales[row] for row in range(len(texts))]

    def stream_rationale(self, text: str, label: str, on_text: Callable[[str], object]) -> str:
        """The rationale for a label, and its pieces to `on_text` as they are written; empty for a method without."""
        if not self.method.explains:
            return ""
        return self.decoder.stream_rationale(self.prompts.rationale_prompts([text], [label])[0], on_text)

    def _label_sets(self, texts: Sequence[str], options: Sequence[Sequence[str]] | None) -> list[LabelSet]:
        if self.labels.declared is None and options is None:
            raise ModelError(
                "this model chooses among the options that each row brings (data.labels.per_row); give the options"
            )
        return self.labels.of_all(options or [()] * len(texts))

    def _decide_batch(
        self, texts: Sequence[str], sets: Sequence[LabelSet], *, explain: bool, other_decoding: bool
    ) -> list[Decision]:
        with self.backend.evaluating():
            encoded = self.backend.encode(self.prompts.label_prompts(texts))
            scores = label_log_probabilities(self.backend, encoded, sets)
        constrained = [labels.names[int(row.argmax())] for labels, row in zip(sets, scores, strict=True)]
        is_free = self.config.label_decoding == "free"
        free = self.decoder.labels(encoded, sets, "free") if is_free or other_decoding else constrained
        decoded, others = (free, constrained) if is_free else (constrained, free)
        rationales = [""] * len(texts)
        if explain:
            rationales = self.decoder.rationales(self.prompts.rationale_prompts(texts, decoded))
        temperature = 1.0 if self.calibration is None else self.calibration.temperature
        decisions = []
        for label, other, labels, row, rationale in zip(decoded, others, sets, scores, rationales, strict=True):
            probabilities = dict(zip(labels.names, (row / temperature).softmax(dim=-1).tolist(), strict=True))
            declared = match_label(label, labels.names)
            decisions.append(
                Decision(
                    label=declared or label,
                    valid=declared is not None,
                    label_probabilities=probabilities,
                    rationale=rationale,
                    other_label=other if other_decoding else None,
                )
            )
        return decisions


def _length_sorted(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
