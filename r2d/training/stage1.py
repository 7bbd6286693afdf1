"""Stage 1, rationale foundation: `L1 = -log p(r* | explain: x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from torch import Tensor

from r2d.config.training import Stage1Config
from r2d.modeling.backends.backend import Task
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.training.checkpointing import SelectBest
from r2d.training.data import Batch, StageRows
from r2d.training.trainer import StageInputs, StageTrainer, prepare_stage, train_stage
from r2d.training.work import OnLog, StageResult, StageWork


def train_stage1(work: StageWork[Stage1Config], on_log: OnLog | None = None) -> StageResult:
    """Train `explain: x -> r*`, selected by validation loss. Rows without a rationale take no part.

    Raises:
        ModelError: the start model cannot be had or does not fit the label set.
        TrainingError: there is nothing to train or validate on, the loss is no number, or memory runs out.
    """
    return train_stage(work, prepare_stage1, Stage1Trainer, on_log)


def prepare_stage1(work: StageWork[Stage1Config]) -> StageInputs[Stage1Config]:
    """Load or make the start model, and tokenize the rows that have a rationale."""
    return prepare_stage(work, stage1_rows, rows_with_rationale=True)


def stage1_rows(examples: pa.Table, prompts: PromptEncoder, labels: LabelSets) -> StageRows:
    """Columns id and place; tokens of prompt and rationale."""
    columns = {name: examples[name].to_pylist() for name in ("id", "place")}
    texts, rationales = (examples[name].to_pylist() for name in ("text", "rationale"))
    tokens = {"prompt": prompts.stage1_prompts(texts), "rationale": prompts.rationale_targets(rationales)}
    return StageRows(columns, tokens)


class Stage1Trainer(StageTrainer):
    """Learns to explain; selected and stopped by validation loss."""

    target_columns = ("rationale",)

    def __init__(self, inputs: StageInputs[Stage1Config], config: Stage1Config, on_log: OnLog | None = None) -> None:
        best = inputs.work.work_dir / "best"
        select = SelectBest(best, metric="eval_loss", greater_is_better=False, patience=config.patience)
        super().__init__(inputs, config, select, on_log)

    def batch_loss(self, batch: Batch, num_tokens: Mapping[str, float]) -> Tensor:
        task: Task[Any] = Task(batch["prompt"], batch["rationale"], num_tokens["rationale"])
        return self.backend.losses([task]).total

    def validate(self) -> dict[str, float]:
        loss = 0.0
        for batch in self.validation_batches("prompt"):
            encoded = self.backend.encode(batch["prompt"])
            loss += float(self.backend.token_losses(encoded, batch["rationale"]).sum())
        return {"loss": loss / int(self.validation.lengths("rationale").sum())}
