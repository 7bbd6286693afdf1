"""What both stages share: the Hugging Face Trainer with our batches, our losses and our own evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerControl,
    TrainingArguments,
)

from r2d.config import StageConfig
from r2d.modeling.decoding import evaluating
from r2d.training.checkpoints import CompleteCheckpoint
from r2d.training.data import Batch, StageRows, collate, seq2seq_inputs
from r2d.training.loss_guard import LossGuard
from r2d.training.progress import OnLog, Progress, said_when_long
from r2d.training.sampling import BatchOrder
from r2d.training.selection import SelectBest

LOGGED_EVERY_STEPS = 10


class StageTrainer(Trainer):
    """One stage. A subclass gives the loss of a batch, the columns whose tokens weigh it, and the validation figures.

    Losses are means over the target tokens of the whole optimiser step, however many micro-batches it is divided into.
    """

    control: TrainerControl
    stage_name: str
    target_columns: tuple[str, ...]

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: StageConfig,
        rows: StageRows,
        validation: StageRows,
        work_dir: Path,
        select: SelectBest,
        finish: Callable[[Path], None],
        on_log: OnLog | None,
        fingerprint: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.validation = validation
        self.select = select
        self.tokenizer = tokenizer
        self.pad_id: int = tokenizer.pad_token_id
        self.figures: dict[str, list[float]] = defaultdict(list)
        self.guard = LossGuard(self.stage_name, max_loss_growth=config.max_loss_growth)
        self.progress = Progress(self.stage_name, on_log)
        super().__init__(
            model=model,
            args=training_arguments(config, work_dir / "checkpoints"),
            train_dataset=rows,
            eval_dataset=validation,
            data_collator=collate,
            callbacks=[self.guard, select, CompleteCheckpoint(finish, fingerprint), self.progress],
        )
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)

    @abstractmethod
    def batch_loss(self, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        """The loss of a micro-batch, weighted by the tokens of the whole step: scalar, with gradient."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Validation figures of the current weights."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch: Batch = inputs["batch"]
        loss = self.batch_loss(model, batch, num_items_in_batch)
        self.guard.saw(loss, batch)
        self.progress.saw(batch, self.target_columns)
        return loss

    def target_loss(
        self, model: Any, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], num_tokens: int
    ) -> Tensor:
        """Teacher-forced cross-entropy of `targets`, summed over their tokens and divided by `num_tokens`.

        Rows with an empty target (no rationale) take no part.
        """
        rows = [row for row, target in enumerate(targets) if target]
        if not rows:
            return torch.zeros((), device=self.args.device)
        some_targets = [targets[row] for row in rows]
        inputs = seq2seq_inputs([prompts[row] for row in rows], some_targets, self.pad_id, self.args.device)
        return model(**inputs).loss * (sum(len(target) for target in some_targets) / num_tokens)

    def validation_loss(self, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> float:
        """Mean cross-entropy for each target token over all rows, in batches of similar length."""
        total = max(1, sum(len(target) for target in targets))
        loss = 0.0
        with evaluating(self.model), self.compute_loss_context_manager():
            for rows in length_sorted_batches(prompts, self.micro_batch_size * 2):
                some_prompts, some_targets = [prompts[i] for i in rows], [targets[i] for i in rows]
                loss += float(self.target_loss(self.model, some_prompts, some_targets, total))
        return loss

    @property
    def micro_batch_size(self) -> int:
        return int(self.args.per_device_train_batch_size)

    def note(self, **figures: float) -> None:
        """Keep figures of a step; their means appear in the next log record."""
        for name, value in figures.items():
            self.figures[name].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.figures.items() if values}
            self.figures.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = {f"eval_{name}": value for name, value in self.validate().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = {
            name: max(1, sum(sample["batch"].num_tokens(name) for sample in samples)) for name in self.target_columns
        }
        counts["num_rows"] = sum(bool(tokens) for sample in samples for tokens in sample["batch"]["rationale"])
        return samples, counts

    def _get_train_sampler(self, train_dataset: Any = None) -> BatchOrder:
        return BatchOrder(
            self.train_dataset.lengths,
            batch_size=self.config.batch_size,
            num_batches=self.config.max_steps,
            seed=self.config.seed,
        )

    def floating_point_ops(self, inputs: Any) -> int:
        return 0


def training_arguments(config: StageConfig, output_dir: Path) -> TrainingArguments:
    """Our few settings in the Trainer's words."""
    return TrainingArguments(
        output_dir=str(output_dir),
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size // config.gradient_accumulation_steps,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=config.precision == "bf16",
        activation_checkpointing=config.activation_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="steps",
        eval_steps=config.eval_every_steps,
        save_strategy="steps",
        save_steps=config.save_every_steps,
        save_total_limit=2,
        logging_steps=LOGGED_EVERY_STEPS,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def length_sorted_batches(sequences: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Row indices in batches of similar length, longest first, so that too large a batch fails at once."""
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
    for start in said_when_long(range(0, len(order), batch_size), "validation"):
        yield order[start : start + batch_size]
