"""Sections `method`, `stage1` and `stage2`: which of the papers' methods is trained, and how; the published
hyper-parameters are the defaults."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from r2d.config.section import Fraction, Section

MethodName = Literal["r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling"]


class CycleConfig(Section):
    """What `r2d_c` adds (Reason2Decide-C): confidence-adaptive sampling and cycle consistency."""

    weight: Annotated[float, Field(ge=0.0)] = 0.1
    """lambda, of the cycle loss."""
    confidence_slope: Annotated[float, Field(gt=0.0, le=500.0)] = 10.0
    """The own label is used with probability pi(t) * sigmoid(slope * (confidence - tau)); its exponential
    overflows above 700."""
    tau_every_steps: Annotated[int, Field(ge=1)] = 1_000
    """Steps after which tau is renewed from the confidences met since."""
    start_temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Of the Gumbel-softmax; it falls as exp(-t ln2 / T)."""
    end_temperature: Annotated[float, Field(gt=0.0)] = 0.5
    """At the last step."""


class MethodConfig(Section):
    """A method of the papers, or an ablation of it."""

    name: MethodName = "r2d"
    """`r2d`: both stages with task-level scheduled sampling. `r2d_c`: with confidence and cycle consistency besides.
    `sft`: the label alone. `dss`: Distilling Step-by-Step, one stage, the rationale prompt carries no label.
    `stage2_only`: `r2d` without Stage 1. `no_sampling`: `r2d` with gold labels in all rationale prompts."""
    cycle: CycleConfig = CycleConfig()
    """Read only when `name` is `r2d_c`."""

    @model_validator(mode="before")
    @classmethod
    def _one_alpha(cls, values: Any) -> Any:
        """`dss_alpha` was a key beside `stage2.alpha`; its default is read from registered models still."""
        if not isinstance(values, dict) or "dss_alpha" not in values:
            return values
        if values["dss_alpha"] != 0.5:
            raise ValueError(f"dss_alpha is stage2.alpha now; write stage2: {{alpha: {values['dss_alpha']}}}")
        return {name: value for name, value in values.items() if name != "dss_alpha"}

    @property
    def default_alpha(self) -> float:
        """`stage2.alpha` as published: 0.7, and the fixed 0.5 of Distilling Step-by-Step."""
        return 0.5 if self.name == "dss" else 0.7

    @property
    def has_schedule(self) -> bool:
        """Whether alpha and pi change with the step, so that selection waits for the end of the schedule."""
        return self.name not in ("sft", "dss")

    @property
    def samples_labels(self) -> bool:
        """Whether rationale prompts may carry the model's own label."""
        return self.name in ("r2d", "r2d_c", "stage2_only")

    @property
    def has_stage1(self) -> bool:
        """Whether Stage 1 comes first; else Stage 2 starts from `model.name` itself."""
        return self.name in ("r2d", "r2d_c", "no_sampling")

    @property
    def explains(self) -> bool:
        """Whether the model writes rationales."""
        return self.name != "sft"

    @property
    def explains_the_label(self) -> bool:
        """Whether the rationale is written for a label that stands in its prompt."""
        return self.name not in ("sft", "dss")


class StageConfig(Section):
    """What both stages share."""

    max_steps: Annotated[int, Field(ge=1)]
    """T: optimiser steps."""
    eval_every_steps: Annotated[int, Field(ge=1)]
    """Steps between two evaluations on the validation rows."""
    patience: Annotated[int, Field(ge=1)]
    """Evaluations without a better figure before training stops."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 5e-5
    """Peak of AdamW's rate, which then falls linearly to 0 at `max_steps`."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Examples for each optimiser step."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Micro-batches that `batch_size` is divided into."""
    auto_batch: bool = False
    """Raise `gradient_accumulation_steps` before training to the smallest value that fits into memory."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Of the learning rate (the published code has none). Not the warm-up of alpha and pi."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Of AdamW; 0: weights are not drawn towards 0."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Longer gradients are shortened to this norm."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """T5 gives NaN in fp16, so fp16 is not offered; weights and optimiser are kept in fp32 either way."""
    layout: Literal["auto", "packed", "compiled"] = "auto"
    """`packed`: rows without padding also on a GPU and in bf16, for a T5; `compiled`: its layers compiled by torch
    besides. Neither was measured on a GPU. `auto`: the library's padded batches there, and packed rows for a T5 in fp32
    on a CPU and for every causal model."""
    activation_checkpointing: bool = False
    """Compute activations again on the way back in place of keeping them: less memory, more time, the same losses."""
    save_every_steps: Annotated[int, Field(ge=1)] = 500
    """Checkpoints from which a killed run resumes."""
    max_loss_growth: Annotated[float, Field(gt=1.0)] = 10.0
    """The loss explodes, and training stops, when five steps in a row are above this many times the median of the last
    100 steps and above the mean of the first ten, which are not judged. A loss that is no number stops training at
    once."""
    seed: int = 42
    """Of the order of the rows, of dropout, and of the random weights of a model from scratch."""

    @field_validator("precision", mode="before")
    @classmethod
    def _no_fp16(cls, value: Any) -> Any:
        if value in ("fp16", "float16", "half"):
            raise ValueError(
                f"found {value!r}; T5 gives NaN in fp16, whose numbers end at 65,504; allowed: 'fp32', 'bf16' (a "
                "checkpoint stored in fp16 can be given: it is read as fp32)"
            )
        return value

    @model_validator(mode="after")
    def _whole_batches(self) -> StageConfig:
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps}"
            )
        if self.eval_every_steps > self.max_steps:
            raise ValueError(
                f"eval_every_steps {self.eval_every_steps} is above max_steps {self.max_steps}: "
                "nothing could be selected"
            )
        return self


class Stage1Config(StageConfig):
    """Stage 1, rationale foundation: selected and stopped by validation loss."""

    max_steps: Annotated[int, Field(ge=1)] = 50_000
    eval_every_steps: Annotated[int, Field(ge=1)] = 1_000
    patience: Annotated[int, Field(ge=1)] = 3


class Stage2Config(StageConfig):
    """Stage 2, joint training with task-level scheduled sampling: selected by validation macro-F1."""

    max_steps: Annotated[int, Field(ge=1)] = 30_000
    eval_every_steps: Annotated[int, Field(ge=1)] = 500
    patience: Annotated[int, Field(ge=1)] = 5
    precision: Literal["fp32", "bf16"] = "bf16"
    alpha: Fraction | None = None
    """Weight of the label loss, after the warm-up where the method has one. By default the published one of the method:
    0.7, and 0.5 for `dss`."""
    warmup_fraction: Fraction = 0.05
    """T_w / T: alpha rises from 0, and the gold label alone is used, until then."""
    sampling_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """pi(t) would reach 1 after this share of T behind the warm-up."""
    max_predicted_label_fraction: Fraction = 0.9
    """Cap of pi(t)."""
    class_balance: Literal["none", "weighted_loss", "balanced_sampling"] = "none"
    """Against rare labels being neglected; off as in the paper. `weighted_loss`: a row's label loss weighs the more,
    the rarer its label. `balanced_sampling`: every label is drawn equally often. Either makes label probabilities
    overstate rare labels."""
    validation_rationales: Annotated[int, Field(ge=0)] = 200
    """Validation rows whose rationale is also generated and scored; the loss is taken over all of them."""

    @property
    def armed_from_step(self) -> int:
        """First step whose evaluation may be selected under a schedule: T_w + sampling_fraction * T, rounded up to a
        whole step; the last bits of a product of fractions do not push it past the step that it is."""
        return math.ceil(round((self.warmup_fraction + self.sampling_fraction) * self.max_steps, 6))
