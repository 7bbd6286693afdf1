"""How long the training steps took, and how long what stands between them: evaluations and checkpoints."""

from __future__ import annotations

import time
from collections import defaultdict


class StepClock:
    """Seconds of one session in the training loop. What is not an evaluation or a checkpoint counts as steps."""

    def __init__(self) -> None:
        self.started_at: float | None = None
        self.stopped_at: float | None = None
        self.left_at: float | None = None
        self.aside: dict[str, list[float]] = defaultdict(list)
        """Seconds of each evaluation and of each checkpoint."""

    def start(self) -> None:
        self.started_at = time.monotonic()

    def stop(self) -> None:
        self.stopped_at = time.monotonic()

    def leave_steps(self) -> None:
        """An evaluation or a checkpoint begins."""
        self.left_at = time.monotonic()

    def end_of(self, what: str) -> None:
        """It has ended, and the steps go on."""
        if self.left_at is not None:
            self.aside[what].append(time.monotonic() - self.left_at)
            self.left_at = None

    @property
    def total_seconds(self) -> float:
        return 0.0 if self.started_at is None else (self.stopped_at or time.monotonic()) - self.started_at

    @property
    def step_seconds(self) -> float:
        running = 0.0 if self.left_at is None else time.monotonic() - self.left_at
        return self.total_seconds - sum(map(sum, self.aside.values())) - running

    def mean_seconds(self, what: str) -> float | None:
        """Of one evaluation or checkpoint; None before the first."""
        return sum(self.aside[what]) / len(self.aside[what]) if self.aside[what] else None
