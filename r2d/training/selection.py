"""Selection of the best weights, and early stopping, from one evaluation to the next."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.modeling.lora import save_weights


class SelectBest(TrainerCallback, ExportableState):
    """Keeps the weights of the best evaluation in `folder` and stops after `patience` evaluations without a better one.

    Nothing is selected or counted before `armed_from_step`: in Stage 2 a model that has not yet met its own labels
    must not win (departure 4). The kept weights, not the last ones, are the output of the stage.
    Its state travels in the Trainer's checkpoint, so that a resumed run selects as one never killed.
    """

    def __init__(
        self, folder: Path, *, metric: str, greater_is_better: bool, patience: int, armed_from_step: float = 0
    ) -> None:
        self.folder = folder
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.patience = patience
        self.armed_from_step = armed_from_step
        self.best_value: float | None = None
        self.best_step: int | None = None
        self.evaluations_without_gain = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            return
        for name, value in state.stateful_callbacks[type(self).__name__]["attributes"].items():
            setattr(self, name, value)
        if self.evaluations_without_gain >= self.patience:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        if state.global_step < self.armed_from_step:
            return
        value = metrics[self.metric]
        if not math.isnan(value) and self._better(value):
            self.best_value, self.best_step, self.evaluations_without_gain = value, state.global_step, 0
            if state.is_world_process_zero:
                self._save(kwargs["model"])
            return
        self.evaluations_without_gain += 1
        if self.evaluations_without_gain >= self.patience:
            control.should_training_stop = True

    def _better(self, value: float) -> bool:
        if self.best_value is None:
            return True
        return value > self.best_value if self.greater_is_better else value < self.best_value

    def _save(self, model: Any) -> None:
        aside = self.folder.with_name(self.folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        save_weights(model, aside)
        shutil.rmtree(self.folder, ignore_errors=True)
        aside.rename(self.folder)

    def state(self) -> dict[str, Any]:
        names = ("best_value", "best_step", "evaluations_without_gain")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}
