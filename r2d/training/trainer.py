"""What both stages share: from a work to trainers of it, and the Hugging Face Trainer with our batches, losses and
evaluation.

A stage called again with the same `work_dir` after it was killed resumes from its last whole checkpoint and gives the
weights it would have given. Told to end (SIGTERM, Ctrl-C), it saves a checkpoint first.
"""

from __future__ import annotations

import json
import logging
import shutil
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate.utils import broadcast_object_list, gather_object, wait_for_everyone
from torch import Tensor, nn
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerControl, TrainingArguments

from r2d.config.training import MethodConfig, StageConfig
from r2d.data.examples import split_of
from r2d.errors import TrainingError
from r2d.files import held_alone
from r2d.modeling.backends.packed import make_backend
from r2d.modeling.load import load_pretrained, start_model
from r2d.modeling.lora import add_adapters
from r2d.modeling.model_folder import ModelFacts, finish_model_folder
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.modeling.threads import set_threads
from r2d.modeling.trained_rows import TrainedRows, write_trained_rows
from r2d.reports.progress import track
from r2d.training import distributed
from r2d.training.callbacks import LossGuard, SaveOnSignal, fit_micro_batches, memory_explained
from r2d.training.checkpointing import CompleteCheckpoint, SelectBest, checkpoint_to_resume
from r2d.training.data import Batch, LengthGroupedSampler, StageRows, collate
from r2d.training.progress import Progress
from r2d.training.work import (
    Fingerprint,
    OnLog,
    StageResult,
    StageWork,
    read_result,
    remove_examples,
    run_fingerprint,
    write_work,
)

logger = logging.getLogger(__name__)

LOGGED_EVERY_STEPS = 10
SAME_NAMES = (
    "max_steps", "gradient_accumulation_steps", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm",
    "activation_checkpointing", "seed",
)  # fmt: skip
"""Keys of a stage that `TrainingArguments` calls the same."""

ConfigT = TypeVar("ConfigT", bound=StageConfig)


@dataclass(frozen=True)
class StageInputs(Generic[ConfigT]):
    """A work made ready for training, once; `auto_batch` makes several trainers of it."""

    work: StageWork[ConfigT]
    model: PreTrainedModel
    prompts: PromptEncoder
    labels: LabelSets
    train: StageRows
    validation: StageRows
    fingerprint: Fingerprint
    trained_rows: TrainedRows | None = None
    """What this stage, and the models before it, learn from."""


class StageTrainer(Trainer):
    """One stage: a subclass gives the loss of a batch, the columns whose tokens weigh it, and the validation metrics.

    Losses are means over the target tokens of the whole optimiser step, however many micro-batches it is divided into.
    """

    control: TrainerControl
    target_columns: tuple[str, ...]

    def __init__(
        self, inputs: StageInputs[Any], config: StageConfig, select: SelectBest, on_log: OnLog | None = None
    ) -> None:
        """`config` is that of the work, or one that differs in `gradient_accumulation_steps`."""
        self.inputs, self.config, self.select = inputs, config, select
        self.prompts, self.validation = inputs.prompts, inputs.validation
        self.logged: dict[str, list[float | Tensor]] = defaultdict(list)
        stage = inputs.work.stage
        self.guard = LossGuard(stage, max_loss_growth=config.max_loss_growth)
        self.progress = Progress(stage, on_log)
        self.save_on_signal = SaveOnSignal(stage)
        complete = CompleteCheckpoint(self.finish, inputs.fingerprint)
        super().__init__(
            model=inputs.model,
            args=training_arguments(config, inputs.work.work_dir / "checkpoints"),
            train_dataset=inputs.train,
            eval_dataset=inputs.validation,
            data_collator=collate,
            callbacks=[self.save_on_signal, self.guard, select, complete, self.progress],
        )
        set_threads(inputs.model.num_parameters())
        self.backend = make_backend(self.model, precision=config.precision, layout=config.layout)
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)

    @abstractmethod
    def batch_loss(self, batch: Batch, num_tokens: Mapping[str, float]) -> Tensor:
        """The loss of a micro-batch: scalar, with gradient.

        `num_tokens` are the (weighted) target tokens of the whole optimiser step by column, as `get_batch_samples`
        counts them.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Validation metrics of the current weights; called in eval mode, without gradient."""

    def row_weights(self, column: str, batch: Batch) -> Sequence[float] | None:
        """Weight of each row in the loss of a target column; None where all weigh the same."""
        return None

    def sampling_weights(self) -> Sequence[float] | None:
        """How often each training row is drawn, relative to the others; None where all are drawn once an epoch."""
        return None

    def finish(self, folder: Path) -> None:
        """Add the record of rows, tokenizer, label set and config to a folder with weights of this stage."""
        work = self.inputs.work
        if self.inputs.trained_rows is not None:
            write_trained_rows(folder, self.inputs.trained_rows)
        facts = ModelFacts(work.labels, work.model, work.stage, work.method or MethodConfig())
        finish_model_folder(folder, self.prompts.tokenizer, facts, work.config)

    def compute_loss(
        self, model: Any, inputs: dict[str, Batch], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        with self.accelerator.autocast():  # backends call parts of the model, not the forward pass that it has patched
            batch_loss = self.batch_loss if model is self.model else model
            loss = batch_loss(inputs["batch"], num_items_in_batch)
        self.guard.add(loss, inputs["batch"])
        self.progress.add(inputs["batch"], self.target_columns)
        return loss * self.args.world_size  # a rank's loss is its share of the step's, and gradients are averaged

    def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
        """The model, or on several ranks the loss of this rank's rows as a module whose gradients become those of all.

        Labels are decoded by the model itself, so that ranks may decode different numbers of rows without waiting for
        each other.
        """
        return model if self.args.world_size == 1 else distributed.shared(RankLoss(self))

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: TrainingArguments, model: Any = None) -> tuple[Any, Any]:
        optimizer_class, settings = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if args.world_size == 1:
            return optimizer_class, settings
        from r2d.training.sharded_optimizer import ShardedOptimizer

        return ShardedOptimizer, {**settings, "optimizer_class": optimizer_class}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        # accelerate would ask an optimiser for its whole state, to put it on the device; each rank's share is there.
        self.accelerator.device_placement = self.args.world_size == 1
        return super().create_optimizer(model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.world_size > 1:
            self.optimizer.optimizer.consolidate_state_dict()  # to the first rank, which writes it
        super()._save_optimizer_and_scheduler(output_dir)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = dict.fromkeys(self.target_columns, 0.0)
        for batch in (sample["batch"] for sample in samples):
            for name in self.target_columns:
                weights = self.row_weights(name, batch) or [1.0] * len(batch)
                counts[name] += sum(weight * len(target) for weight, target in zip(weights, batch[name], strict=True))
        counts = distributed.sum_over_ranks(counts, device)
        return samples, {name: count or 1.0 for name, count in counts.items()}

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        config, lengths = self.config, self.inputs.train.lengths()
        size = {"batch_size": config.batch_size, "num_batches": config.max_steps}
        return LengthGroupedSampler(lengths, **size, seed=config.seed, weights=self.sampling_weights())

    def validation_batches(self, column: str) -> Iterator[Batch]:
        """All validation rows in batches of similar length, longest first, so that too large a batch fails at once."""
        batch_size, rows = self.micro_batch_size * 2, self.validation
        order = np.argsort(-rows.lengths(column), kind="stable").tolist()
        for start in track(range(0, len(order), batch_size), "validation", unit="batches"):
            yield Batch([rows[row] for row in order[start : start + batch_size]])

    @property
    def micro_batch_size(self) -> int:
        return int(self.args.per_device_train_batch_size)

    def log_metrics_of_batch(self, metrics: Mapping[str, float], losses: Mapping[str, Tensor]) -> None:
        """Keep metrics of a micro-batch, and its shares of the step's losses; their means are in the next record.

        Losses are logged as those of the whole step; they stay on the device until then.
        """
        parts = self.args.gradient_accumulation_steps * self.args.world_size
        for name, value in {**metrics, **{name: loss * parts for name, loss in losses.items()}}.items():
            self.logged[name].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            metrics = {name: [float(value) for value in values] for name, values in self.logged.items()}
            ranks = gather_object([metrics])  # each may have logged other metrics
            for name in dict.fromkeys(name for rank in ranks for name in rank):
                values = [value for rank in ranks for value in rank.get(name, [])]
                logs[name] = sum(values) / len(values)
            self.logged.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with self.backend.evaluating(), self.accelerator.autocast():
            (first,) = broadcast_object_list([self.validate()])  # the first rank's, so that all select and stop alike
        metrics = {f"eval_{name}": value for name, value in first.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Warn of what a checkpoint lacks, but not of the further names of tied weights, which lie in it once."""
        tied = self.model.all_tied_weights_keys
        load_result.missing_keys[:] = [key for key in load_result.missing_keys if key not in tied]
        super()._issue_warnings_after_load(load_result)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0


class RankLoss(nn.Module):
    """The loss of a trainer's micro-batch as the forward pass of a module that holds the trainer's model."""

    def __init__(self, trainer: StageTrainer) -> None:
        super().__init__()
        self.model, self.batch_loss = trainer.model, trainer.batch_loss

    def forward(self, batch: Batch, num_tokens: Mapping[str, float]) -> Tensor:
        return self.batch_loss(batch, num_tokens)


def training_arguments(config: StageConfig, output_dir: Path) -> TrainingArguments:
    """Our few settings in the Trainer's words.

    Raises:
        TrainingError: `batch_size` cannot be divided among micro-batches and ranks.
    """
    parts = config.gradient_accumulation_steps * distributed.num_ranks()
    if config.batch_size % parts:
        raise TrainingError(
            f"batch_size {config.batch_size} cannot be divided into {config.gradient_accumulation_steps} "
            f"gradient_accumulation_steps on {distributed.num_ranks()} processes; choose a multiple of {parts}"
        )
    return TrainingArguments(
        **{name: getattr(config, name) for name in SAME_NAMES},
        output_dir=str(output_dir),
        per_device_train_batch_size=config.batch_size // parts,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused" if distributed.num_ranks() == 1 else "adamw_torch",  # see `ShardedOptimizer`
        bf16=config.precision == "bf16",
        activation_checkpointing_kwargs={"use_reentrant": False},
        use_cpu=not torch.cuda.is_available(),
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


def prepare_stage(
    work: StageWork[ConfigT],
    make_rows: Callable[[pa.Table, PromptEncoder, LabelSets], StageRows],
    *,
    rows_with_rationale: bool = False,
    label_in_prompt: bool = True,
) -> StageInputs[ConfigT]:
    """Load or make the start model, and tokenize the rows of each split by `make_rows`.

    Args:
        rows_with_rationale: whether rows without a rationale take no part.
        label_in_prompt: as in `PromptEncoder`.

    Raises:
        ModelError: the start model cannot be had or does not fit the label set.
        TrainingError: there is nothing to train or validate on.
    """
    seed, model_config = work.config.seed, work.model
    all_train, train, validation = (split_of(work.examples, split) for split in ("train", "train", "validation"))
    which = ""
    if rows_with_rationale:
        train, validation = (table.filter(pc.not_equal(table["rationale"], "")) for table in (train, validation))
        which = " (rows with a rationale)"
    for split, table in (("train", train), ("validation", validation)):
        if not len(table):
            raise TrainingError(
                f"{work.stage}{which}: the {split} split is empty; check data.split and, for rationales, "
                "rationales.stage1_source"
            )

    if work.stage1_model is not None:
        model, tokenizer = load_pretrained(str(work.stage1_model))
    else:
        model, tokenizer = start_model(model_config, all_train, work.labels, seed=seed, folder=work.start_folder)
    labels = LabelSets(work.labels, tokenizer, max_label_tokens=model_config.max_label_tokens)
    prompts = PromptEncoder(tokenizer, model_config, label_in_prompt=label_in_prompt)
    fingerprint = run_fingerprint(work, train=train, validation=validation, model=model, tokenizer=tokenizer)
    model = add_adapters(model, model_config.lora, seed=seed)
    train_rows, validation_rows = (make_rows(table, prompts, labels) for table in (train, validation))
    if work.method is None or work.method.explains:
        warn_of_cut_rationales(work.stage, train["rationale"].to_pylist(), train_rows, prompts)
    trained_rows = TrainedRows.of(work.examples, work.start, seed=json.dumps(fingerprint["data"]))
    return StageInputs(work, model, prompts, labels, train_rows, validation_rows, fingerprint, trained_rows)


def warn_of_cut_rationales(stage: str, rationales: Sequence[str], rows: StageRows, prompts: PromptEncoder) -> None:
    """Say how many rationales of `rows` are cut, for a model that has read them learns to stop in mid-sentence.

    The check `token_limit` reads rows before they have the rationales of sources.
    """
    limit = prompts.config.max_rationale_tokens
    full = [text for text, length in zip(rationales, rows.lengths("rationale"), strict=True) if length == limit]
    unlimited = PromptEncoder(prompts.tokenizer, prompts.config.without_limits())
    lengths = [len(ids) for ids in unlimited.rationale_targets(full)]
    cut = [length for length in lengths if length > limit]
    if cut:
        logger.warning(
            "%s: %d of %d rationales are cut at model.max_rationale_tokens (%d), and the model learns to stop there; "
            "the longest has %d tokens: raise the limit, or leave long rationales out",
            stage, len(cut), sum(map(bool, rationales)), limit, max(cut),
        )  # fmt: skip


def train_stage(
    work: StageWork[ConfigT],
    prepare: Callable[[StageWork[ConfigT]], StageInputs[ConfigT]],
    make_trainer: Callable[[StageInputs[ConfigT], ConfigT, OnLog | None], StageTrainer],
    on_log: OnLog | None,
) -> StageResult:
    """Train a stage on all GPUs of this machine: in this process, or on ranks that are started for it.

    Raises:
        TrainingError: another run trains in this folder.
    """
    if distributed.is_rank():
        return _train_here(work, prepare, make_trainer, on_log)
    with held_alone(work.work_dir, TrainingError):
        if distributed.num_processes() == 1:
            return _train_here(work, prepare, make_trainer, on_log)
        write_work(work)
        try:
            distributed.start_ranks(work.work_dir, on_log)
        finally:
            remove_examples(work.work_dir)
        return read_result(work.work_dir)


def _train_here(
    work: StageWork[ConfigT],
    prepare: Callable[[StageWork[ConfigT]], StageInputs[ConfigT]],
    make_trainer: Callable[[StageInputs[ConfigT], ConfigT, OnLog | None], StageTrainer],
    on_log: OnLog | None,
) -> StageResult:
    inputs = prepare(work)
    config, stage = inputs.work.config, work.stage
    trainer = make_trainer(inputs, config, on_log)
    checkpoints = Path(trainer.args.output_dir)
    checkpoint = checkpoint_to_resume(checkpoints, inputs.fingerprint)
    if config.auto_batch:
        config = fit_micro_batches(lambda tried: make_trainer(inputs, tried, on_log), stage, config, work.model)
        trainer = make_trainer(inputs, config, on_log)
    with memory_explained(stage, config, work.model), trainer.save_on_signal.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    select = trainer.select
    if select.best_step is None or select.best_value is None:
        raise TrainingError(
            f"{stage}: no evaluation gave a usable {select.metric}; the checkpoints are kept in {checkpoints}"
        )
    if trainer.is_world_process_zero():
        trainer.finish(select.folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    wait_for_everyone()
    return StageResult(
        model_folder=select.folder,
        history=list(trainer.state.log_history),
        selected_step=select.best_step,
        stopped_at_step=trainer.state.global_step,
        metric=select.metric,
        best_value=select.best_value,
        armed_from_step=select.armed_from_step,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        training_seconds=trainer.progress.training_seconds,
        num_examples_per_second=trainer.progress.num_examples_per_second,
    )
