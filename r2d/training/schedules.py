"""The schedules of Stage 2: how the loss weight alpha and the share pi of predicted labels change with the step."""

from __future__ import annotations

from dataclasses import dataclass

from r2d.config import Stage2Config


@dataclass(frozen=True)
class Stage2Schedule:
    """alpha(t) and pi(t) of the paper over `max_steps` = T optimiser steps, t counted from 0."""

    max_steps: int
    alpha: float
    warmup_fraction: float
    sampling_fraction: float
    max_predicted_label_fraction: float

    @classmethod
    def from_config(cls, config: Stage2Config) -> Stage2Schedule:
        return cls(
            config.max_steps,
            config.alpha,
            config.warmup_fraction,
            config.sampling_fraction,
            config.max_predicted_label_fraction,
        )

    @property
    def warmup_steps(self) -> float:
        """T_w = warmup_fraction * T."""
        return self.warmup_fraction * self.max_steps

    @property
    def armed_from_step(self) -> float:
        """Selection and early stopping begin at T_w + sampling_fraction * T (departure 4)."""
        return self.warmup_steps + self.sampling_fraction * self.max_steps

    def alpha_at(self, step: int) -> float:
        """Weight of the label loss: linear from 0 to `alpha` over T_w, then constant."""
        if step >= self.warmup_steps:
            return self.alpha
        return self.alpha * step / self.warmup_steps

    def pi_at(self, step: int) -> float:
        """Probability that a rationale prompt carries the model's own label: 0 before T_w, then
        min(cap, (t - T_w) / (sampling_fraction * T))."""
        if step < self.warmup_steps:
            return 0.0
        progress = (step - self.warmup_steps) / (self.sampling_fraction * self.max_steps)
        return min(self.max_predicted_label_fraction, progress)
