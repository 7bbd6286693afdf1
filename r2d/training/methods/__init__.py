"""The papers' methods, each a small strategy of losses over the one engine (`r2d.training.stage2`)."""

from __future__ import annotations

from r2d.config.training import MethodConfig, Stage2Config
from r2d.training.methods.base import Method
from r2d.training.methods.dss import DSS
from r2d.training.methods.r2d import R2D
from r2d.training.methods.r2d_c import R2DC
from r2d.training.methods.sft import SFT

METHODS: dict[str, type[Method]] = {
    "r2d": R2D,
    "r2d_c": R2DC,
    "sft": SFT,
    "dss": DSS,
    "stage2_only": R2D,
    "no_sampling": R2D,
}


def make_method(config: MethodConfig, stage2: Stage2Config) -> Method:
    """The strategy that `method.name` names."""
    return METHODS[config.name](config, stage2)


__all__ = ["METHODS", "Method", "make_method"]
