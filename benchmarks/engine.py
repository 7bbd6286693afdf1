"""Our training engine and predictor as the benchmarks drive them: the one place that knows their insides."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from benchmarks.invented_rows import Row, label_names
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.data.examples import Example, to_table
from r2d.modeling.backends.backend import Encoded
from r2d.modeling.decoding import LabelDecoding
from r2d.modeling.model_folder import ModelFacts, finish_model_folder
from r2d.modeling.predictor import Predictor
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.training.data import Batch, LengthGroupedSampler, collate
from r2d.training.methods import Stage2Schedule, uniform_draw
from r2d.training.stage1 import Stage1Trainer, stage1_rows
from r2d.training.stage2 import Stage2Trainer, stage2_rows
from r2d.training.trainer import StageInputs
from r2d.training.work import StageWork

MAX_STEPS = 1000
GOLD_STEP = 49
"""The last step of the warm-up: pi = 0, alpha nearly at its full weight."""
SAMPLING_STEP = 640
"""pi has reached its cap of 0.9."""
BATCHES_IN_WINDOW = 50
"""Of `LengthGroupedSampler`."""


def alpha_at(step: int) -> float:
    """Weight of the label loss at a step of the benchmark's run."""
    return _schedule().alpha_at(step)


def draws(rows: Sequence[Row], step: int) -> list[bool]:
    """What our engine draws for these rows at this step."""
    config, pi = _stage2_config(1, 5e-5), _schedule().pi_at(step)
    return [uniform_draw(config.seed, step, row.id) < pi for row in rows]


def bucketed_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """One epoch of our batches as row numbers, in the order in which they are trained on."""
    num_batches = len(lengths) // batch_size
    order = list(LengthGroupedSampler(lengths, batch_size=batch_size, num_batches=num_batches, seed=42))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


class Engine:
    """Steps of both stages, the label decode and inference, on the weights of one model."""

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        *,
        batch_size: int,
        labels: Sequence[str] = (),
        decoding: LabelDecoding = "constrained",
        learning_rate: float = 5e-5,
    ) -> None:
        """Tokenises the rows, as a run does before its first step.

        Args:
            rows: all rows that will ever be asked for.
            labels: the declared label set, by default that of the rows.
        """
        self.model, self.tokenizer, self.decoding = model, tokenizer, decoding
        self.declared = LabelsConfig(names=tuple(labels or label_names()))
        self.config = ModelConfig(name="scratch", label_decoding=decoding)
        self.prompts = PromptEncoder(tokenizer, self.config)
        self.labels = LabelSets(self.declared, tokenizer, max_label_tokens=self.config.max_label_tokens)
        self.number = {row.id: number for number, row in enumerate(rows)}
        self.folder = tempfile.TemporaryDirectory()
        self.states: dict[tuple[str, ...], Encoded] = {}
        table, work_dir = _table(rows), Path(self.folder.name)
        first, second = (make_rows(table, self.prompts, self.labels) for make_rows in (stage1_rows, stage2_rows))
        stage1 = Stage1Config(
            max_steps=MAX_STEPS, eval_every_steps=100, batch_size=batch_size, learning_rate=learning_rate
        )
        stage2 = _stage2_config(batch_size, learning_rate)
        shared: dict[str, Any] = {"examples": table, "model": self.config, "labels": self.declared}
        work1 = StageWork(config=stage1, work_dir=work_dir / "stage1", **shared)
        work2 = StageWork(config=stage2, work_dir=work_dir / "stage2", **shared)
        prepared = model, self.prompts, self.labels
        self.stage1 = Stage1Trainer(StageInputs(work1, *prepared, first, first, {}), stage1)
        self.stage2 = Stage2Trainer(StageInputs(work2, *prepared, second, second, {}), stage2)

    def stage1_step(self, rows: Sequence[Row]) -> float:
        """`explain: x -> r*`; the loss."""
        return self._step(self.stage1, rows)

    def stage2_step(self, rows: Sequence[Row], step: int) -> float:
        """Both tasks at step `step`, whose alpha, pi and draws it takes (`draws`); the loss."""
        self.stage2.state.global_step = step
        return self._step(self.stage2, rows)

    def decode(self, rows: Sequence[Row]) -> list[str]:
        """The label decode of a training step by itself, of these rows."""
        return self.stage2.tasks.decode_labels(Batch([self.stage2.train_dataset[self.number[row.id]] for row in rows]))

    def decode_from_states(self, rows: Sequence[Row]) -> list[str]:
        """The same where the encoder has run over the label prompts already, as without dropout it has for the loss.

        The states of a batch are made at its first call, which is the warm-up.
        """
        batch = Batch([self.stage2.train_dataset[self.number[row.id]] for row in rows])
        key = tuple(batch["id"])
        if key not in self.states:
            with self.stage2.backend.evaluating():
                self.states[key] = self.stage2.backend.encode(batch["label_prompt"])
        return self.stage2.tasks.decode_labels(batch, self.states[key])

    def infer(self, rows: Sequence[Row], batch_size: int) -> list[tuple[str, str]]:
        """Label and rationale of each row."""
        decisions = self._predictor().decide([row.text for row in rows], batch_size=batch_size)
        return [(decision.label, decision.rationale) for decision in decisions]

    def _predictor(self) -> Predictor:
        """A predictor of the present weights, made once: a service loads its model once."""
        if not hasattr(self, "_ready"):
            folder = Path(self.folder.name) / "model"
            self.model.save_pretrained(folder)
            facts = ModelFacts(self.declared, self.config, "stage 2", MethodConfig())
            finish_model_folder(folder, self.tokenizer, facts, self.stage2.config)
            self._ready = Predictor(folder, device="cpu")
        return self._ready

    def _step(self, trainer: Stage1Trainer | Stage2Trainer, rows: Sequence[Row]) -> float:
        """What the Trainer's loop does for one batch, without its logging."""
        optimizer = trainer.optimizer or trainer.create_optimizer()
        inputs = collate([trainer.train_dataset[self.number[row.id]] for row in rows])
        [inputs], num_tokens = trainer.get_batch_samples(iter([inputs]), 1, trainer.args.device)
        loss = trainer.training_step(trainer.model, inputs, num_tokens)
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        optimizer.step()
        trainer.model.zero_grad()
        return loss.item()


def _stage2_config(batch_size: int, learning_rate: float) -> Stage2Config:
    return Stage2Config(
        max_steps=MAX_STEPS,
        eval_every_steps=100,
        batch_size=batch_size,
        precision="fp32",
        learning_rate=learning_rate,
    )


def _schedule() -> Stage2Schedule:
    return Stage2Schedule(_stage2_config(1, 5e-5), MethodConfig())


def _table(rows: Sequence[Row]) -> pa.Table:
    return to_table(
        [
            Example(
                id=row.id, text=row.text, label=row.label, rationale=row.rationale, rationale_source="", split="train"
            )
            for row in rows
        ]
    )
