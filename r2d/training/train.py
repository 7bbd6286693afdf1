"""The doors to training: Stage 1 and Stage 2 from examples to a folder with the selected weights.

A stage works in `work_dir`, which holds its checkpoints while it runs. Called again with the same `work_dir` after it
was killed, it resumes from its last whole checkpoint and gives the weights it would have given. Told to end (SIGTERM,
Ctrl-C), it saves a checkpoint first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config, StageConfig
from r2d.data.examples import split_of
from r2d.errors import TrainingError
from r2d.modeling.labels import LabelSets
from r2d.modeling.load import load_pretrained, start_model
from r2d.modeling.lora import add_adapters
from r2d.modeling.model_folder import finish_model_folder
from r2d.modeling.prompts import PromptEncoder
from r2d.training.checkpoints import checkpoint_to_resume
from r2d.training.fingerprint import run_fingerprint
from r2d.training.memory import memory_explained, with_fitting_parts
from r2d.training.progress import OnLog
from r2d.training.ranks import wait_for_all_ranks
from r2d.training.schedules import Stage2Schedule

if TYPE_CHECKING:
    from r2d.training.trainer import StageTrainer

StageT = TypeVar("StageT", bound=StageConfig)


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves behind."""

    model_folder: Path
    """The selected weights (safetensors), tokenizer, label set and resolved config: see `r2d.modeling.model_folder`."""
    history: list[dict[str, float]]
    """Every log record, training and validation, by step."""
    selected_step: int
    stopped_at_step: int
    metric: str
    best_value: float
    armed_from_step: float
    """First step whose evaluation could be selected."""
    gradient_accumulation_steps: int
    """As configured, or as `auto_batch` found it."""
    training_seconds: float
    """Wall seconds in the training loop with its evaluations and checkpoints, summed over resumed sessions."""
    num_examples_per_second: float
    """Training rows in a second of training steps alone."""

    def summary(self) -> dict[str, Any]:
        """The facts of the selection and of the time it took, for a log or a card."""
        left_out = ("model_folder", "history")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}


def train_stage1(
    examples: pa.Table,
    *,
    config: Stage1Config,
    model: ModelConfig,
    labels: LabelsConfig,
    work_dir: Path,
    start_folder: Path | None = None,
    on_log: OnLog | None = None,
) -> StageResult:
    """Rationale foundation: `explain: x -> r*`, selected by validation loss. Rows without a rationale take no part.

    Args:
        examples: table of `EXAMPLES_SCHEMA` with the splits `train` and `validation`.
        start_folder: where `model.name` lies, if it is a registered version.
        on_log: receives every figure as it comes, for a tracker.

    Raises:
        ModelError: the start model cannot be had or does not fit the label set.
        TrainingError: there is nothing to train or validate on, or the loss is no number.
    """
    from r2d.training.data import stage1_rows
    from r2d.training.selection import SelectBest
    from r2d.training.stage1 import Stage1Trainer

    with_rationale = examples.filter(pc.not_equal(examples["rationale"], ""))
    train, validation = _training_splits(with_rationale, "stage 1 (rows with a rationale)")
    texts = _tokenizer_texts(split_of(examples, "train"), model, labels)
    network, tokenizer = start_model(model, texts, seed=config.seed, labels=labels, folder=start_folder)
    LabelSets(labels, tokenizer, max_label_tokens=model.max_label_tokens)
    prompts = PromptEncoder(tokenizer, model)
    finish = partial(
        finish_model_folder, tokenizer=tokenizer, model=model, labels=labels, stage="stage 1", training=config
    )
    fingerprint = run_fingerprint(
        stage="stage 1", training=config, model=model, labels=labels, method=None, train=train, validation=validation,
        network=network, tokenizer=tokenizer,
    )  # fmt: skip
    network = add_adapters(network, model.lora, seed=config.seed)
    rows, validation_rows = stage1_rows(train, prompts), stage1_rows(validation, prompts)

    def make_trainer(config: Stage1Config) -> Stage1Trainer:
        return Stage1Trainer(
            model=network,
            tokenizer=tokenizer,
            config=config,
            rows=rows,
            validation=validation_rows,
            work_dir=work_dir,
            select=SelectBest(work_dir / "best", metric="eval_loss", greater_is_better=False, patience=config.patience),
            finish=finish,
            on_log=on_log,
            fingerprint=fingerprint,
        )

    return _run(make_trainer, config, model, fingerprint, finish)


def train_stage2(
    examples: pa.Table,
    stage1_model: Path | None,
    *,
    config: Stage2Config,
    model: ModelConfig,
    labels: LabelsConfig,
    work_dir: Path,
    method: MethodConfig | None = None,
    start_folder: Path | None = None,
    on_log: OnLog | None = None,
) -> StageResult:
    """Joint training by a method of the papers, selected by validation macro-F1, or accuracy where rows have options.

    Args:
        stage1_model: model folder that `train_stage1` left; None for a method without Stage 1, which starts from
            `model.name` itself.
        method: by default `r2d`.

    Raises:
        ModelError: the folder is no model, or the label set does not fit it.
        TrainingError: as `train_stage1`.
    """
    from r2d.training.data import stage2_rows
    from r2d.training.methods import make_method
    from r2d.training.selection import SelectBest
    from r2d.training.stage2 import Stage2Trainer

    method = method or MethodConfig()
    config = config.model_copy(update={"alpha": Stage2Schedule(config, method).alpha})
    train, validation = _training_splits(examples, "stage 2")
    if stage1_model is not None:
        network, tokenizer = load_pretrained(str(stage1_model))
    else:
        texts = _tokenizer_texts(train, model, labels)
        network, tokenizer = start_model(model, texts, seed=config.seed, labels=labels, folder=start_folder)
    label_sets = LabelSets(labels, tokenizer, max_label_tokens=model.max_label_tokens)
    prompts = PromptEncoder(tokenizer, model, label_in_prompt=method.explains_the_label)
    fingerprint = run_fingerprint(
        stage="stage 2", training=config, model=model, labels=labels, method=method, train=train, validation=validation,
        network=network, tokenizer=tokenizer,
    )  # fmt: skip
    network = add_adapters(network, model.lora, seed=config.seed)
    rows, validation_rows = stage2_rows(train, prompts, label_sets), stage2_rows(validation, prompts, label_sets)
    finish = partial(
        finish_model_folder,
        tokenizer=tokenizer,
        model=model,
        labels=labels,
        stage="stage 2",
        training=config,
        method=method,
    )

    def make_trainer(config: Stage2Config) -> Stage2Trainer:
        strategy = make_method(method, config)
        return Stage2Trainer(
            config=config,
            method=strategy,
            model_config=model,
            prompts=prompts,
            labels=label_sets,
            model=network,
            rows=rows,
            validation=validation_rows,
            work_dir=work_dir,
            select=SelectBest(
                work_dir / "best",
                metric="eval_accuracy" if labels.per_row else "eval_macro_f1",
                greater_is_better=True,
                patience=config.patience,
                armed_from_step=strategy.armed_from_step,
            ),
            finish=finish,
            on_log=on_log,
            fingerprint=fingerprint,
        )

    return _run(make_trainer, config, model, fingerprint, finish)


def _training_splits(examples: pa.Table, stage: str) -> Sequence[pa.Table]:
    tables = [split_of(examples, split) for split in ("train", "validation")]
    for split, table in zip(("train", "validation"), tables, strict=True):
        if not len(table):
            raise TrainingError(
                f"{stage}: the {split} split is empty; check data.split and, for rationales, rationales.stage1_source"
            )
    return tables


def _tokenizer_texts(train: pa.Table, model: ModelConfig, labels: LabelsConfig) -> Iterator[str]:
    """What a tokenizer from scratch learns from: the training split as both tasks will present it."""
    prompts = model.prompts
    yield from train["text"].to_pylist()
    yield from train["rationale"].to_pylist()
    for label in [*labels.names, *train["label"].to_pylist()]:
        yield prompts.rationale.format(label=label, text="")
        yield prompts.label.format(text="")


def _run(
    make_trainer: Callable[[StageT], StageTrainer],
    config: StageT,
    model: ModelConfig,
    fingerprint: Mapping[str, Any],
    finish: Callable[[Path], None],
) -> StageResult:
    trainer = make_trainer(config)
    stage, checkpoints = trainer.stage_name, Path(trainer.args.output_dir)
    checkpoint = checkpoint_to_resume(checkpoints, fingerprint)
    if config.auto_batch:
        config = with_fitting_parts(make_trainer, config, model)
        trainer = make_trainer(config)
    with memory_explained(stage, config, model), trainer.save_on_signal.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    select = trainer.select
    if select.best_step is None or select.best_value is None:
        raise TrainingError(
            f"{stage}: no evaluation gave a usable {select.metric}; the checkpoints are kept in {checkpoints}"
        )
    if trainer.is_world_process_zero():
        finish(select.folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    wait_for_all_ranks()
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
