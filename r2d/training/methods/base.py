"""What a method decides: the loss of a batch, and from which step on its weights may be selected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.config.training import MethodConfig, Stage2Config
from r2d.modeling.backends.backend import Encoded, Task, TokenIds
from r2d.training.data import Batch
from r2d.training.schedules import Stage2Schedule

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class Method(ABC):
    """The losses of one method. It may keep a state; what it keeps travels in the checkpoint."""

    target_columns: tuple[str, ...] = ("label", "rationale")
    """Columns that are learnt."""

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        self.config = config
        self.schedule = Stage2Schedule(stage2, config)

    @property
    def armed_from_step(self) -> float:
        """First step whose evaluation may be selected (departure 4)."""
        return self.schedule.armed_from_step

    @property
    def label_weight(self) -> float:
        """Weight of the label loss in the validation loss."""
        return self.schedule.alpha

    @abstractmethod
    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        """The loss of a micro-batch: scalar, with gradient.

        Args:
            num_tokens: (weighted) target tokens of the whole optimiser step by column, and its rows with a rationale
                as `num_rows`.
        """

    def state(self) -> dict[str, Any]:
        """What a resumed run needs besides weights and step, as JSON."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)


def label_task(
    trainer: Stage2Trainer,
    batch: Batch,
    num_tokens: dict[str, float],
    *,
    weight: float = 1.0,
    encoded: Encoded | None = None,
) -> Task[Any]:
    """`predict: x` -> `y*`; `encoded` where the encoder has run over the label prompts already."""
    prompts = batch["label_prompt"] if encoded is None else encoded
    return Task(prompts, batch["label"], num_tokens["label"], weight, trainer.row_weights("label", batch))


def joint_loss(
    trainer: Stage2Trainer,
    batch: Batch,
    num_tokens: dict[str, float],
    *,
    prompts: Sequence[TokenIds],
    alpha: float,
    encoded: Encoded | None = None,
    **noted: float,
) -> Tensor:
    """`alpha L_label + (1 - alpha) L_rationale`, the rationales being written for these prompts; notes both losses."""
    tasks = [
        label_task(trainer, batch, num_tokens, weight=alpha, encoded=encoded),
        Task(prompts, batch["rationale"], num_tokens["rationale"], 1 - alpha),
    ]
    losses = trainer.backend.losses(tasks)
    label_loss, rationale_loss = losses.of_tasks
    trainer.note_losses(label_loss=label_loss, rationale_loss=rationale_loss)
    trainer.note(alpha=alpha, **noted)
    return losses.total
