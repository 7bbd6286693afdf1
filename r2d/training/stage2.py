"""Stage 2, joint training by a method of `r2d.training.methods`: its rows, its loss, and its validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa
from torch import Tensor

from r2d.config.training import MethodConfig, Stage2Config
from r2d.label_scores import label_counts, label_indices, label_scores
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.training.checkpointing import SelectBest
from r2d.training.data import Batch, StageRows
from r2d.training.methods import METHODS, Stage2Schedule, Step, TwoTaskModel
from r2d.training.trainer import StageInputs, StageTrainer, prepare_stage, train_stage
from r2d.training.work import OnLog, StageResult, StageWork


def train_stage2(work: StageWork[Stage2Config], on_log: OnLog | None = None) -> StageResult:
    """Train label and rationale jointly, selected by validation macro-F1, or accuracy where rows have options.

    Raises:
        ModelError, TrainingError: as `train_stage1`.
    """
    return train_stage(work, prepare_stage2, Stage2Trainer, on_log)


def prepare_stage2(work: StageWork[Stage2Config]) -> StageInputs[Stage2Config]:
    """Load or make the start model, and tokenize the rows; method and alpha are filled in where they are None."""
    method = work.method or MethodConfig()
    config = work.config.model_copy(update={"alpha": Stage2Schedule(work.config, method).alpha})
    work = replace(work, method=method, config=config)
    return prepare_stage(work, stage2_rows, label_in_prompt=method.explains_the_label)


def stage2_rows(examples: pa.Table, prompts: PromptEncoder, labels: LabelSets) -> StageRows:
    """Columns id, place, text, gold_label, gold_rationale and options; tokens of label_prompt, label, rationale, and of
    rationale_prompt with the gold label."""
    columns = {name: examples[name].to_pylist() for name in ("id", "place", "text")}
    texts, gold, rationales = columns["text"], *(examples[name].to_pylist() for name in ("label", "rationale"))
    options = [row_options or () for row_options in examples["options"].to_pylist()]
    labels.of_all(options)  # refuses options that the tokenizer cannot tell apart
    columns |= {"gold_label": gold, "gold_rationale": rationales, "options": options}
    label_ids = {label: prompts.label_target(label) for label in set(gold)}
    tokens = {
        "label_prompt": prompts.label_prompts(texts),
        "label": [label_ids[label] for label in gold],
        "rationale": prompts.rationale_targets(rationales),
    }
    return StageRows(columns, tokens, {"rationale_prompt": prompts.rationale_prompts(texts, gold)})


class Stage2Trainer(StageTrainer):
    """Learns to decide, and to explain as its method says; selected by its labels on the validation split."""

    config: Stage2Config

    def __init__(self, inputs: StageInputs[Stage2Config], config: Stage2Config, on_log: OnLog | None = None) -> None:
        work = inputs.work
        method = work.method or MethodConfig()
        self.method = METHODS[method.name](method, config)
        self.target_columns = self.method.target_columns
        select = SelectBest(
            work.work_dir / "best",
            metric="eval_accuracy" if work.labels.per_row else "eval_macro_f1",
            greater_is_better=True,
            patience=config.patience,
            armed_from_step=self.method.schedule.armed_from_step,
        )
        super().__init__(inputs, config, select, on_log)
        self.tasks = TwoTaskModel(self.backend, inputs.prompts, inputs.labels, work.model)
        self.add_callback(self.method)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        samples, num_tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        batches = [sample["batch"] for sample in samples]
        with self.compute_loss_context_manager():
            return samples, num_tokens | self.method.prepare(self.tasks, batches, self.state.global_step)

    def batch_loss(self, batch: Batch, num_tokens: Mapping[str, float]) -> Tensor:
        step = Step(self.state.global_step, num_tokens, self.row_weights("label", batch))
        loss = self.method.loss(self.tasks, batch, step)
        self.log_metrics_of_batch(loss.metrics, loss.losses)
        return loss.total

    def row_weights(self, column: str, batch: Batch) -> Sequence[float] | None:
        if column != "label" or self.config.class_balance != "weighted_loss":
            return None
        return [self.class_weights[label] for label in batch["gold_label"]]

    def sampling_weights(self) -> Sequence[float] | None:
        if self.config.class_balance != "balanced_sampling":
            return None
        return [self.class_weights[label] for label in self.train_dataset.texts["gold_label"]]

    @cached_property
    def class_weights(self) -> dict[str, float]:
        """Inverse to how often a label occurs in training; 1 for a label that occurs as often as the mean."""
        counts = Counter(self.train_dataset.texts["gold_label"])
        mean = sum(counts.values()) / len(counts)
        return {label: mean / count for label, count in counts.items()}

    def validate(self) -> dict[str, float]:
        """Both tasks (departure 5): labels by decoding, rationales conditioned on the PREDICTED label.

        Returns:
            loss, label_loss, accuracy, invalid_label_rate, macro_f1 (where labels are declared), rationale_loss and
            rationale_bleu (where the method explains and a row has a gold rationale).
        """
        label_sum = rationale_sum = 0.0
        num_rationale_tokens = 0
        predicted: dict[str, str] = {}
        for batch in self.validation_batches("label_prompt"):
            encoded = self.backend.encode(batch["label_prompt"])
            labels = self.tasks.decode_labels(batch, encoded)
            predicted |= dict(zip(batch["id"], labels, strict=True))
            label_sum += float(self.backend.token_losses(encoded, batch["label"]).sum())
            rows = [row for row, target in enumerate(batch["rationale"]) if target]
            if self.method.config.explains and rows:
                batch = batch.take(rows)
                encoded = self.backend.encode(self.tasks.rationale_prompts(batch, [labels[row] for row in rows]))
                rationale_sum += float(self.backend.token_losses(encoded, batch["rationale"]).sum())
                num_rationale_tokens += batch.num_tokens("rationale")
        label_loss = label_sum / int(self.validation.lengths("label").sum())
        metrics = {"loss": label_loss, "label_loss": label_loss}

        texts = self.validation.texts
        options = [labels.names for labels in self.inputs.labels.of_all(texts["options"])]
        gold = label_indices(list(texts["gold_label"]), options)
        indices = label_indices([predicted[row_id] for row_id in texts["id"]], options)
        scores = label_scores(label_counts(gold, indices, max(map(len, options)))[0])
        names = ["accuracy", "invalid_label_rate", *([] if self.inputs.labels.declared is None else ["macro_f1"])]
        metrics |= {name: float(getattr(scores, name)) for name in names}

        if num_rationale_tokens:
            rationale_loss, weight = rationale_sum / num_rationale_tokens, self.method.schedule.alpha
            metrics |= {"loss": weight * label_loss + (1 - weight) * rationale_loss, "rationale_loss": rationale_loss}
            metrics |= self._rationale_bleu(predicted)
        return metrics

    def _rationale_bleu(self, predicted: Mapping[str, str]) -> dict[str, float]:
        """sacreBLEU of generated rationales over the first `validation_rationales` rows that have a gold one."""
        import sacrebleu

        gold, batch_size = self.validation.texts["gold_rationale"], self.micro_batch_size * 2
        rows = [row for row, rationale in enumerate(gold) if rationale][: self.config.validation_rationales]
        if not rows:
            return {}
        rationales: list[str] = []
        for start in range(0, len(rows), batch_size):
            batch = Batch([self.validation[row] for row in rows[start : start + batch_size]])
            prompts = self.tasks.rationale_prompts(batch, [predicted[row_id] for row_id in batch["id"]])
            rationales += self.tasks.decoder.rationales(prompts)
        return {"rationale_bleu": float(sacrebleu.corpus_bleu(rationales, [[gold[row] for row in rows]]).score)}
