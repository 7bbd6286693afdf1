"""How Stage 2 changes with the step: the loss weight alpha, the share pi of predicted labels, and who draws one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from r2d.config.training import MethodConfig, Stage2Config


@dataclass(frozen=True)
class Stage2Schedule:
    """alpha(t) and pi(t) of a method over `max_steps` = T optimiser steps, t counted from 0."""

    config: Stage2Config
    method: MethodConfig

    @property
    def alpha(self) -> float:
        """Weight of the label loss after the warm-up, as configured or as published for the method."""
        return self.method.default_alpha if self.config.alpha is None else self.config.alpha

    @property
    def warmup_steps(self) -> float:
        """T_w = warmup_fraction * T; 0 for a method without a schedule."""
        return self.config.warmup_fraction * self.config.max_steps if self.method.has_schedule else 0.0

    @property
    def armed_from_step(self) -> float:
        """First step whose evaluation may be selected: T_w + sampling_fraction * T (departure 4); 0 for a method
        without a schedule, which has nothing to wait for."""
        if not self.method.has_schedule:
            return 0.0
        return self.warmup_steps + self.config.sampling_fraction * self.config.max_steps

    def alpha_at(self, step: int) -> float:
        """Weight of the label loss: linear from 0 to `alpha` over T_w, then constant."""
        if step >= self.warmup_steps:
            return self.alpha
        return self.alpha * step / self.warmup_steps

    def pi_at(self, step: int) -> float:
        """Probability that a rationale prompt carries the model's own label: 0 before T_w, then
        min(cap, (t - T_w) / (sampling_fraction * T)); 0 throughout for a method that samples none."""
        if step < self.warmup_steps or not self.method.samples_labels:
            return 0.0
        progress = (step - self.warmup_steps) / (self.config.sampling_fraction * self.config.max_steps)
        return min(self.config.max_predicted_label_fraction, progress)


def uniform_draw(seed: int, step: int, example_id: str) -> float:
    """A uniform number in [0, 1) for one example at one optimiser step (departures 6 and 14).

    It depends on (seed, step, example id) alone: not on batch size, accumulation, rank, or any global generator. So a
    resumed run repeats it.
    """
    digest = hashlib.blake2b(f"{seed}:{step}:{example_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)
