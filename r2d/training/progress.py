"""What a person sees while a stage trains: a line every few seconds, and every figure to a tracker."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from r2d.errors import TrainingError

logger = logging.getLogger(__name__)

OnLog = Callable[[int, Mapping[str, float]], None]
"""Receives (optimiser step, figures) as soon as they are known; for a tracker such as MLflow."""

SECONDS_BETWEEN_LINES = 5.0

SHOWN = {
    "loss": "loss {:.3f}",
    "alpha": "alpha {:.2f}",
    "predicted_label_fraction": "predicted labels {:.0%}",
    "eval_loss": "validation loss {:.3f}",
    "eval_macro_f1": "macro-F1 {:.3f}",
    "eval_rationale_loss": "rationale loss {:.3f}",
    "eval_rationale_bleu": "rationale BLEU {:.1f}",
}


class Progress(TrainerCallback):
    """Logs step, figures, speed and time left; hands each figure to `on_log`; stops on a loss that is no number."""

    def __init__(self, stage: str, on_log: OnLog | None) -> None:
        self.stage = stage
        self.forward = on_log
        self.started_at = 0.0
        self.last_line_at = 0.0
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started_at = self.last_line_at = time.monotonic()
        self.first_step = state.global_step
        resumed = f", resumed at step {self.first_step}" if self.first_step else ""
        logger.info("%s: at most %d steps%s", self.stage, state.max_steps, resumed)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        figures = {name: value for name, value in logs.items() if isinstance(value, int | float) and name != "epoch"}
        if self.forward is not None:
            self.forward(state.global_step, figures)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise TrainingError(
                f"{self.stage}: the loss is {logs['loss']} at step {state.global_step}. Lower learning_rate or "
                f"max_grad_norm, or use precision fp32; the last good checkpoint is in {args.output_dir}"
            )
        evaluated = any(name.startswith("eval_") for name in logs)
        if not evaluated and time.monotonic() - self.last_line_at < SECONDS_BETWEEN_LINES:
            return
        self.last_line_at = time.monotonic()
        shown = ", ".join(text.format(figures[name]) for name, text in SHOWN.items() if name in figures)
        if shown:
            logger.info(
                "%s: step %d/%d, %s%s", self.stage, state.global_step, state.max_steps, shown, self._left(state)
            )

    def _left(self, state: Any) -> str:
        done = state.global_step - self.first_step
        if not done:
            return ""
        seconds = (time.monotonic() - self.started_at) / done
        left = round(seconds * (state.max_steps - state.global_step))
        return f", {1 / seconds:.1f} steps/s, at most {left // 60}:{left % 60:02d} left"
