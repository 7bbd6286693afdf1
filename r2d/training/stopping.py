"""A stage that is told to end saves a checkpoint first, so that the next run goes on from that very step."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from r2d.signals import leave, signals_caught
from r2d.training.ranks import true_on_any_rank

logger = logging.getLogger(__name__)


class SaveOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM: the step under way is finished, or the evaluation, and a checkpoint written; then it ends.

    A second signal ends the process at once. Kubernetes grants a pod `pod_stop_grace_period` seconds for it; what takes
    longer is killed and goes on from the last checkpoint of `save_every_steps`. With several ranks all save as soon as
    one was told. To be the first of the callbacks, since others look at what it asks for.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.received: int | None = None
        self.said = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While training; afterwards ends as the signal would have ended it, if one came.

        Raises:
            SystemExit: a signal came; or what the handler that stood before raises, such as ZenML's.
        """
        with signals_caught(self._receive, once=True):
            yield
        if self.received is not None:
            leave(self.received)

    def _receive(self, number: int) -> None:
        self.received = number

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save_if_told(args, state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save_if_told(args, state, control)

    def _save_if_told(self, args: Any, state: Any, control: Any) -> None:
        if not true_on_any_rank(self.received is not None, args.world_size, args.device):
            return
        self.received = self.received or signal.SIGTERM
        control.should_save = control.should_training_stop = True
        if state.is_world_process_zero and not self.said:
            self.said = True
            name = signal.Signals(self.received).name
            logger.warning("%s: %s; saves a checkpoint of step %d and ends", self.stage, name, state.global_step)
