"""Checkpoints from which a killed run resumes: only whole ones count, and only those of the same run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

if TYPE_CHECKING:
    from r2d.training.methods import Method

logger = logging.getLogger(__name__)

COMPLETE_MARKER = "complete"


class CompleteCheckpoint(TrainerCallback):
    """Puts tokenizer, label set and resolved config beside the weights of a checkpoint, then a marker: it is whole."""

    def __init__(self, finish: Callable[[Path], None]) -> None:
        self.finish = finish

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.finish(checkpoint)
        (checkpoint / COMPLETE_MARKER).touch()


class MethodState(TrainerCallback, ExportableState):
    """Carries what a method keeps in the Trainer's checkpoint, so that a resumed run goes on with it."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            self.method.restore(state.stateful_callbacks[type(self).__name__]["attributes"])

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self.method.state()}


def latest_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a broken one is left out with a warning."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for checkpoint in found:
        if (checkpoint / COMPLETE_MARKER).exists():
            return checkpoint
        logger.warning("checkpoint %s was not written to its end and is skipped", checkpoint)
    return None
