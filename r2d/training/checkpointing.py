"""Checkpoints from which a killed run resumes, and the weights that a stage selects.

A checkpoint is the Trainer's folder (weights, optimiser, scheduler, random states, step and the states of our
callbacks) with tokenizer, label set and config beside it, and `run.json`, the run's fingerprint. The manifest, with the
hash of every file, is written last. Only whole and undamaged checkpoints of the same run count.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import wait_for_everyone
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.errors import TrainingError
from r2d.files import PARTIAL, write_json
from r2d.modeling.lora import save_weights
from r2d.modeling.manifest import MANIFEST_FILE, damage_of
from r2d.text import changed_values
from r2d.training.work import Fingerprint, is_resumable

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"


class ResumableCallback(TrainerCallback, ExportableState):
    """A callback whose state travels in the Trainer's checkpoint: a resumed run goes on as one never killed."""

    kept: tuple[str, ...] = ()
    """Attributes that are the state; their values are JSON."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            for name, value in state.stateful_callbacks[type(self).__name__]["attributes"].items():
                setattr(self, name, value)

    def state(self) -> dict[str, dict[str, object]]:
        """For the Trainer's checkpoint: args (none), attributes."""
        return {"args": {}, "attributes": {name: getattr(self, name) for name in self.kept}}


class SelectBest(ResumableCallback):
    """Keeps the weights of the best evaluation in `folder`, the output of the stage, and stops after `patience`
    evaluations without a better one.

    Nothing is selected or counted before `armed_from_step`: in Stage 2 a model that has not yet met its own labels
    must not win (departure 4).
    """

    kept = ("best_value", "best_step", "evaluations_without_gain")

    def __init__(
        self, folder: Path, *, metric: str, greater_is_better: bool, patience: int, armed_from_step: float = 0
    ) -> None:
        self.folder, self.metric, self.greater_is_better = folder, metric, greater_is_better
        self.patience, self.armed_from_step = patience, armed_from_step
        self.best_value: float | None = None
        self.best_step: int | None = None
        self.evaluations_without_gain = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control)
        if self.evaluations_without_gain >= self.patience:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        if state.global_step < self.armed_from_step:
            return
        value, best = metrics[self.metric], self.best_value
        is_better = best is None or (value > best if self.greater_is_better else value < best)
        if is_better and not math.isnan(value):
            self.best_value, self.best_step, self.evaluations_without_gain = value, state.global_step, 0
            if state.is_world_process_zero:
                partial = self.folder.with_name(self.folder.name + PARTIAL)
                shutil.rmtree(partial, ignore_errors=True)
                save_weights(kwargs["model"], partial)
                shutil.rmtree(self.folder, ignore_errors=True)
                partial.rename(self.folder)
            return
        self.evaluations_without_gain += 1
        if self.evaluations_without_gain >= self.patience:
            control.should_training_stop = True


class CompleteCheckpoint(TrainerCallback):
    """Adds the run's fingerprint, tokenizer, label set and config to a checkpoint of the Trainer, then the manifest."""

    def __init__(self, finish: Callable[[Path], None], fingerprint: Fingerprint) -> None:
        """`finish` writes the manifest, after all that it adds."""
        self.finish, self.fingerprint = finish, fingerprint

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait_for_everyone()  # each writes its random state
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / MANIFEST_FILE).unlink(missing_ok=True)
        write_json(checkpoint / RUN_FILE, self.fingerprint)
        self.finish(checkpoint)


def latest_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole and undamaged; others are left out with a warning."""
    checkpoints = folder.glob("checkpoint-*")
    for checkpoint in sorted(checkpoints, key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True):
        is_whole = (checkpoint / MANIFEST_FILE).exists()
        if is_whole and (damage := damage_of(checkpoint)) is None:
            return checkpoint
        fault = f"is damaged ({damage})" if is_whole else "was not written to its end"
        logger.warning("checkpoint %s %s and is skipped", checkpoint, fault)
    return None


def checkpoint_to_resume(folder: Path, fingerprint: Fingerprint) -> Path | None:
    """The `latest_complete_checkpoint`; raises `TrainingError` where it was written by another run."""
    checkpoint = latest_complete_checkpoint(folder)
    if checkpoint is None:
        return None
    theirs = json.loads((checkpoint / RUN_FILE).read_text(encoding="utf-8"))
    changes = {
        key: f"{key}: {old!r} in the checkpoint, {new!r} now"
        for key, (old, new) in changed_values(theirs, fingerprint, absent="absent").items()
    }
    lines = "".join(f"\n  {change}" for key, change in changes.items() if not is_resumable(key))
    if lines:
        raise TrainingError(
            f"{checkpoint} was written by another run, so this one cannot go on from it:{lines}\n"
            f"Remove {folder} to train anew, or use another work_dir"
        )
    for change in changes.values():
        logger.info("checkpoint %s: %s; goes on all the same", checkpoint, change)
    return checkpoint
