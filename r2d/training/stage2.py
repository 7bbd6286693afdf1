"""Stage 2, joint training: the engine that every method of `r2d.training.methods` runs on, and its validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from r2d.config.model import ModelConfig
from r2d.config.training import Stage2Config
from r2d.modeling.architectures import is_random_in_training
from r2d.modeling.backends.backend import Encoded
from r2d.modeling.decoding import ScoredLabel, decode_labels, generate_rationales, most_probable_labels
from r2d.modeling.labels import LabelSets
from r2d.modeling.prompts import PromptEncoder
from r2d.text import match_label
from r2d.training.checkpoints import MethodState
from r2d.training.data import Batch, rationale_prompts
from r2d.training.methods import Method
from r2d.training.trainer import StageTrainer


class Stage2Trainer(StageTrainer):
    """Learns to decide, and to explain as its method says; selected by how it decides on the validation split."""

    stage_name = "stage 2"

    def __init__(
        self,
        *,
        config: Stage2Config,
        method: Method,
        model_config: ModelConfig,
        prompts: PromptEncoder,
        labels: LabelSets,
        **rest: Any,
    ) -> None:
        self.target_columns = method.target_columns
        self.stage2 = config
        self.method = method
        self.model_config = model_config
        self.prompts = prompts
        self.labels = labels
        super().__init__(config=config, tokenizer=prompts.tokenizer, **rest)
        self.add_callback(MethodState(method))

    def batch_loss(self, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        return self.method.loss(self, batch, num_tokens)

    def reusable_states(self, batch: Batch) -> Encoded | None:
        """The encoder's pass over the label prompts, if a label may be decoded from it as well.

        Where training drops something, its states would carry that into the label (departures 2 and 10), and the
        encoder runs again in eval mode.
        """
        return None if self._is_random else self.backend.encode(batch["label_prompt"])

    @cached_property
    def _is_random(self) -> bool:
        return is_random_in_training(self.model)

    def decode(self, batch: Batch, encoded: Encoded | None = None) -> list[str]:
        """`y_hat` by the current weights, as `model.label_decoding` says; from `encoded` label prompts if there are."""
        return decode_labels(
            self.backend,
            self.prompts.tokenizer,
            batch["label_prompt"] if encoded is None else encoded,
            self.labels.of_all(batch["options"]),
            decoding=self.model_config.label_decoding,
            max_label_tokens=self.model_config.max_label_tokens,
        )

    def most_probable_labels(self, batch: Batch, encoded: Encoded | None = None) -> list[ScoredLabel]:
        """The most probable label of each row's set, with its probability."""
        with self.backend.evaluating():
            encoded = self.backend.encode(batch["label_prompt"]) if encoded is None else encoded
            return most_probable_labels(self.backend, encoded, self.labels.of_all(batch["options"]))

    def rationale_prompts(self, batch: Batch, labels: Sequence[str]) -> list[list[int]]:
        """The encoder input of the second task, for these labels."""
        return rationale_prompts(batch, labels, self.prompts)

    def row_weights(self, column: str, batch: Batch) -> Sequence[float] | None:
        if column != "label" or self.stage2.class_balance != "weighted_loss":
            return None
        return [self._class_weights[label] for label in batch["gold_label"]]

    def row_chances(self) -> Sequence[float] | None:
        if self.stage2.class_balance != "balanced_sampling":
            return None
        return [self._class_weights[label] for label in self.train_dataset.texts["gold_label"]]

    @cached_property
    def _class_weights(self) -> dict[str, float]:
        """Inverse to how often a label occurs in training; 1 for a label that occurs as often as the mean."""
        counts = Counter(self.train_dataset.texts["gold_label"])
        mean = sum(counts.values()) / len(counts)
        return {label: mean / count for label, count in counts.items()}

    def validate(self) -> dict[str, float]:
        """Both tasks (departure 5): labels by decoding, rationales conditioned on the PREDICTED label."""
        sums = {"label": 0.0, "rationale": 0.0}
        num_tokens = {"label": 0, "rationale": 0}
        decoded: dict[str, str] = {}
        for batch in self.validation_batches("label_prompt"):
            encoded = self.backend.encode(batch["label_prompt"])
            labels = self.decode(batch, encoded)
            decoded |= dict(zip(batch["id"], labels, strict=True))
            sums["label"] += float(self.backend.token_losses(encoded, batch["label"]).sum())
            num_tokens["label"] += batch.num_tokens("label")
            explained = [row for row, target in enumerate(batch["rationale"]) if target]
            if not self.method.config.explains or not explained:
                continue
            some = batch.take(explained)
            prompts = self.rationale_prompts(some, [labels[row] for row in explained])
            sums["rationale"] += float(self.backend.token_losses(self.backend.encode(prompts), some["rationale"]).sum())
            num_tokens["rationale"] += some.num_tokens("rationale")
        label_loss = sums["label"] / num_tokens["label"]
        figures = {"loss": label_loss, "label_loss": label_loss} | self._label_figures(decoded)
        if not num_tokens["rationale"]:
            return figures
        rationale_loss, weight = sums["rationale"] / num_tokens["rationale"], self.method.label_weight
        figures |= {"loss": weight * label_loss + (1 - weight) * rationale_loss, "rationale_loss": rationale_loss}
        return figures | self._rationale_bleu(decoded)

    def _label_figures(self, decoded: dict[str, str]) -> dict[str, float]:
        """Accuracy, share of decoded texts that are no label of the row, and macro-F1 where labels are declared."""
        from sklearn.metrics import accuracy_score, f1_score

        texts = self.validation.texts
        names = [labels.names for labels in self.labels.of_all(texts["options"])]
        matched = [match_label(decoded[id_], some) for id_, some in zip(texts["id"], names, strict=True)]
        gold, known = list(texts["gold_label"]), ["" if label is None else label for label in matched]
        figures = {
            "accuracy": float(accuracy_score(gold, known)),
            "invalid_label_rate": matched.count(None) / len(matched),
        }
        if self.labels.declared is None:
            return figures
        f1 = f1_score(gold, known, labels=sorted(set(gold)), average="macro", zero_division=0.0)
        return figures | {"macro_f1": float(f1)}

    def _rationale_bleu(self, decoded: dict[str, str]) -> dict[str, float]:
        """sacreBLEU of generated rationales over the first `validation_rationales` rows that have a gold one."""
        import sacrebleu

        targets = self.validation.texts["gold_rationale"]
        chosen = [row for row, text in enumerate(targets) if text][: self.stage2.validation_rationales]
        if not chosen:
            return {}
        written: dict[int, str] = {}
        batch_size = self.micro_batch_size * 2
        for start in range(0, len(chosen), batch_size):
            rows = chosen[start : start + batch_size]
            batch = Batch([self.validation[row] for row in rows])
            texts = generate_rationales(
                self.backend,
                self.prompts.tokenizer,
                self.rationale_prompts(batch, [decoded[id_] for id_ in batch["id"]]),
                max_rationale_tokens=self.model_config.max_rationale_tokens,
            )
            written |= dict(zip(rows, texts, strict=True))
        score = sacrebleu.corpus_bleu([written[row] for row in chosen], [[targets[row] for row in chosen]])
        return {"rationale_bleu": float(score.score)}
