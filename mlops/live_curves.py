"""The curves of a stage in ZenML's dashboard while it trains.

A step's outputs appear when it ends. An artifact that the step saves itself appears at once, so the curves so far are
saved as one, `r2d_stage1_curves_live` or `r2d_stage2_curves_live`, and its picture is then drawn anew in place: loading
the page again shows the newest. It is a view, not a result: nothing reads it, and what is kept for lineage are the
curves that the step returns.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_PICTURES = 20.0
LARGEST_SHARE_OF_TIME = 0.02
"""Of the training time that drawing may take, the first picture apart; slow storage means fewer pictures."""


class LiveCurves:
    """Collects the figures of a step and shows them; the first picture comes with the first figures."""

    def __init__(self, step_name: str) -> None:
        self.name = f"{step_name.replace('train_', 'r2d_')}_curves_live"
        self.title = f"{step_name.replace('train_stage', 'Stage ')}, while it trains"
        self.history: list[dict[str, float]] = []
        self.uri: str | None = None
        self.due_at = 0.0
        self.failed = False

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Take up the figures of an optimiser step, and draw if a picture is due."""
        self.history.append({"step": step, **figures})
        if time.monotonic() >= self.due_at:
            self.draw()

    def draw(self) -> None:
        """Show what there is. A picture that cannot be stored is reported once; training goes on without it."""
        if self.failed or not self.history:
            return
        from r2d.training.curves import training_curves

        is_first, started_at = self.uri is None, time.monotonic()
        try:
            self._show(training_curves(self.history, title=self.title))
        except Exception as error:
            self.failed = True
            logger.warning("%s cannot be stored while the step runs (%s)", self.name, error)
        took = 0.0 if is_first else time.monotonic() - started_at
        self.due_at = time.monotonic() + max(SECONDS_BETWEEN_PICTURES, took / LARGEST_SHARE_OF_TIME)

    def _show(self, picture: Image) -> None:
        from zenml import save_artifact
        from zenml.io import fileio

        if self.uri is None:
            visualizations = save_artifact(picture, self.name).visualizations or []
            self.uri = visualizations[0].uri
            return
        content = io.BytesIO()
        picture.save(content, format="PNG")
        with fileio.open(self.uri, "wb") as file:
            file.write(content.getvalue())
