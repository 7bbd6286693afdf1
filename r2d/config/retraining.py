"""Section `retraining`: what makes `r2d retrain` train, and what it then starts from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r2d.config.section import Name, Section


class RetrainingConfig(Section):
    """When a champion is replaced; without a champion, the first call trains."""

    min_new_rows: Annotated[int, Field(ge=0)] | None = 0
    """Valid rows more than the champion knew. 0: any change of the data, or of the files with rationales, is enough,
    corrected labels too; null: the data start nothing."""
    on_config_change: bool = True
    """A key of the configuration differs from the champion's; `registration`, `comparison` and this section aside."""
    on_code_change: bool = True
    """The code that weights and figures depend on, or a locked version of a library, differs from the champion's."""
    max_age_days: Annotated[float, Field(gt=0.0)] | None = None
    """Age from which on the champion is trained anew; null: it may become as old as it will."""
    drift: Name | None = None
    """A `drift.json` of `r2d drift`; its own limits say what drift is. Null: drift starts nothing."""
    warm_start: bool = False
    """Start from the champion in place of `model.name`, which then is where the first model starts."""
