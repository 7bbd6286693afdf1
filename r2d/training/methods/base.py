"""What a method decides: the loss of a batch, and from which step on its weights may be selected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.config import MethodConfig, Stage2Config
from r2d.modeling.decoding import encoded_inputs
from r2d.training.data import Batch, seq2seq_inputs
from r2d.training.schedules import Stage2Schedule

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


@dataclass(frozen=True, slots=True)
class LabelPass:
    """The teacher-forced pass over the labels of a batch."""

    loss: Tensor
    """Weighted by the tokens of the whole optimiser step."""
    attention_mask: Tensor
    """Of the label prompts, [rows, longest]."""
    states: Tensor | None
    """Encoder states, [rows, longest, d_model], without gradient; None where training drops something."""

    def encoded(self, rows: list[int]) -> dict[str, Any] | None:
        """What a label decode of these rows can start from instead of their prompts; None where it must encode anew."""
        return None if self.states is None else encoded_inputs(self.states[rows], self.attention_mask[rows])


class Method(ABC):
    """The losses of one method. It may keep a state; what it keeps travels in the checkpoint."""

    target_columns: tuple[str, ...] = ("label", "rationale")
    """Columns whose tokens weigh the losses."""

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        self.config = config
        self.schedule = Stage2Schedule.from_config(stage2)

    @property
    def armed_from_step(self) -> float:
        """First step whose evaluation may be selected (departure 4)."""
        return self.schedule.armed_from_step

    @property
    def label_weight(self) -> float:
        """Weight of the label loss in the validation loss."""
        return self.schedule.alpha

    @abstractmethod
    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        """The loss of a micro-batch: scalar, with gradient."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs besides weights and step, as JSON."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)


def label_pass(trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> LabelPass:
    """`predict: x` -> `y*`."""
    inputs = seq2seq_inputs(batch["label_prompt"], batch["label"], trainer.pad_id, trainer.args.device)
    outputs = model(**inputs)
    states = outputs.encoder_last_hidden_state.detach() if trainer.states_can_be_reused else None
    loss = outputs.loss * (batch.num_tokens("label") / num_tokens["label"])
    return LabelPass(loss, inputs["attention_mask"], states)


def joint_loss(
    trainer: Stage2Trainer,
    model: Any,
    batch: Batch,
    num_tokens: dict[str, int],
    *,
    labels: LabelPass,
    prompts: Sequence[Sequence[int]],
    alpha: float,
    **noted: float,
) -> Tensor:
    """`alpha L_label + (1 - alpha) L_rationale`, the rationales being written for these prompts; notes both losses."""
    rationale_loss = trainer.target_loss(model, prompts, batch["rationale"], num_tokens["rationale"])
    trainer.note_losses(alpha=alpha, label_loss=labels.loss, rationale_loss=rationale_loss, **noted)
    return alpha * labels.loss + (1 - alpha) * rationale_loss
