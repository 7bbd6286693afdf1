"""Section `method`: which of the papers' methods is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from r2d.config.section import Fraction, Section

MethodName = Literal["r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling"]


class CycleConfig(Section):
    """What `r2d_c` adds (Reason2Decide-C): confidence-adaptive sampling and cycle consistency."""

    weight: Annotated[float, Field(ge=0.0)] = 0.1
    """lambda, of the cycle loss."""
    confidence_slope: Annotated[float, Field(gt=0.0)] = 10.0
    """The own label is used with probability pi(t) * sigmoid(slope * (confidence - tau))."""
    tau_every_steps: Annotated[int, Field(ge=1)] = 1_000
    """Steps after which tau is renewed from the confidences met since."""
    start_temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Of the Gumbel-softmax; it falls as exp(-t ln2 / T)."""
    end_temperature: Annotated[float, Field(gt=0.0)] = 0.5


class MethodConfig(Section):
    """A method of the papers, or an ablation of it."""

    name: MethodName = "r2d"
    """`r2d`: both stages with task-level scheduled sampling. `r2d_c`: with confidence and cycle consistency besides.
    `sft`: the label alone. `dss`: Distilling Step-by-Step, one stage, the rationale prompt carries no label.
    `stage2_only`: `r2d` without Stage 1. `no_sampling`: `r2d` with gold labels in all rationale prompts."""
    cycle: CycleConfig = CycleConfig()
    """Read only when `name` is `r2d_c`."""
    dss_alpha: Fraction = 0.5
    """Fixed weight of the label loss in `dss`."""

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
