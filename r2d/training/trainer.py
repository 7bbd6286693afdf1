"""What both stages share: the Hugging Face Trainer with our batches, our losses and our own evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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

from r2d.config.training import StageConfig
from r2d.errors import TrainingError
from r2d.modeling.backends.packed import make_backend
from r2d.training.checkpoints import CompleteCheckpoint
from r2d.training.data import Batch, StageRows, collate
from r2d.training.loss_guard import LossGuard
from r2d.training.progress import OnLog, Progress, said_when_long
from r2d.training.ranks import add_over_ranks, joined_over_ranks, num_ranks, of_first_rank, summed_over_ranks
from r2d.training.sampling import BatchOrder
from r2d.training.selection import SelectBest
from r2d.training.stopping import SaveOnSignal

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
        self.figures: dict[str, list[float | Tensor]] = defaultdict(list)
        self.guard = LossGuard(self.stage_name, max_loss_growth=config.max_loss_growth)
        self.progress = Progress(self.stage_name, on_log)
        self.save_on_signal = SaveOnSignal(self.stage_name)
        super().__init__(
            model=model,
            args=training_arguments(config, work_dir / "checkpoints"),
            train_dataset=rows,
            eval_dataset=validation,
            data_collator=collate,
            callbacks=[
                self.save_on_signal,
                self.guard,
                select,
                CompleteCheckpoint(finish, fingerprint),
                self.progress,
            ],
        )
        self.backend = make_backend(self.model, precision=config.precision)
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)

    @abstractmethod
    def batch_loss(self, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        """The loss of a micro-batch, weighted by the tokens of the whole step: scalar, with gradient."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Validation figures of the current weights; called in eval mode, without gradient."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch: Batch = inputs["batch"]
        loss = self.batch_loss(batch, num_items_in_batch)
        self.guard.saw(loss, batch)
        self.progress.saw(batch, self.target_columns)
        return loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """As the Trainer's. Each rank's loss is its share of the step's loss, so gradients are added, not averaged.

        They are added here and not by DistributedDataParallel, whose forward pass ours does not go through: so ranks
        may decode and explain different numbers of rows without waiting for each other.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.args.world_size > 1 and self.accelerator.sync_gradients:
            add_over_ranks([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])
        return loss * self.args.world_size  # the Trainer shows the mean over the ranks

    def validation_batches(self, column: str) -> Iterator[Batch]:
        """All validation rows in batches of similar length, longest first, so that too large a batch fails at once."""
        batch_size, rows = self.micro_batch_size * 2, self.validation
        order = np.argsort(-rows.tokens[column].lengths, kind="stable").tolist()
        for start in said_when_long(range(0, len(order), batch_size), "validation"):
            yield Batch([rows[row] for row in order[start : start + batch_size]])

    @property
    def micro_batch_size(self) -> int:
        return int(self.args.per_device_train_batch_size)

    def note(self, **figures: float | Tensor) -> None:
        """Keep figures of a micro-batch; their means appear in the next log record. Tensors stay on the device."""
        for name, value in figures.items():
            self.figures[name].append(value)

    def note_losses(self, **losses: Tensor) -> None:
        """Keep losses of a micro-batch, which are shares of the step's, as those of the whole step."""
        parts = self.args.gradient_accumulation_steps * self.args.world_size
        self.note(**{name: loss * parts for name, loss in losses.items()})

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            noted = {name: [float(value) for value in values] for name, values in self.figures.items()}
            for name, values in joined_over_ranks(noted, self.args.world_size).items():
                logs[name] = sum(values) / len(values)
            self.figures.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with self.backend.evaluating(), self.compute_loss_context_manager():
            figures = of_first_rank(self.validate(), self.args.world_size)
        metrics = {f"eval_{name}": value for name, value in figures.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def row_weights(self, column: str, batch: Batch) -> Sequence[float] | None:
        """Weight of each row in the loss of a target column; None where all weigh the same."""
        return None

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = dict.fromkeys((*self.target_columns, "num_rows"), 0.0)
        for batch in (sample["batch"] for sample in samples):
            for name in self.target_columns:
                weights = self.row_weights(name, batch) or [1.0] * len(batch)
                counts[name] += sum(weight * len(target) for weight, target in zip(weights, batch[name], strict=True))
            counts["num_rows"] += sum(bool(tokens) for tokens in batch["rationale"])
        counts = summed_over_ranks(counts, self.args.world_size, device)
        return samples, {name: count or 1.0 for name, count in counts.items()}

    def _get_train_sampler(self, train_dataset: Any = None) -> BatchOrder:
        return BatchOrder(
            self.train_dataset.lengths,
            batch_size=self.config.batch_size,
            num_batches=self.config.max_steps,
            seed=self.config.seed,
            chances=self.row_chances(),
        )

    def row_chances(self) -> Sequence[float] | None:
        """How often each training row is drawn, relative to the others; None where all are drawn once an epoch."""
        return None

    def floating_point_ops(self, inputs: Any) -> int:
        return 0


def micro_batch_size(config: StageConfig) -> int:
    """Rows that a rank computes at once, so that all ranks together make `batch_size` rows of a step.

    Raises:
        TrainingError: `batch_size` cannot be divided so.
    """
    parts = config.gradient_accumulation_steps * num_ranks()
    if config.batch_size % parts:
        raise TrainingError(
            f"batch_size {config.batch_size} cannot be divided into {config.gradient_accumulation_steps} "
            f"gradient_accumulation_steps on {num_ranks()} processes; choose a multiple of {parts}"
        )
    return config.batch_size // parts


def training_arguments(config: StageConfig, output_dir: Path) -> TrainingArguments:
    """Our few settings in the Trainer's words."""
    return TrainingArguments(
        output_dir=str(output_dir),
        max_steps=config.max_steps,
        per_device_train_batch_size=micro_batch_size(config),
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
