"""The test rows that a model, and the champion beside it, are measured on: those that neither had seen in training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from r2d.config.evaluation import EvaluationConfig
from r2d.config.privacy import PrivacyConfig
from r2d.data.deidentify import deidentify_examples
from r2d.errors import DataError
from r2d.evaluation.run import evaluated_rows
from r2d.evaluation.sections.rows import SeenRows
from r2d.modeling.seen_rows import seen_by

logger = logging.getLogger(__name__)

LEAST_SHARE_LEFT = 0.5
"""Of the test rows that must be new to a champion, so that the comparison is made on those rows unasked."""


@dataclass(frozen=True)
class UnseenRows:
    """Which test rows are measured, and what is known of whether they were seen."""

    kept: NDArray[np.bool_]
    """Of each of `evaluated_rows`."""
    counts: SeenRows
    why_not_compared: str | None = None
    """With the champion."""


def unseen_rows(
    examples: pa.Table,
    model: Path,
    champion: tuple[str, Path] | None,
    config: EvaluationConfig,
    privacy: PrivacyConfig,
) -> UnseenRows:
    """Hold the test rows against the records of a model and of the champion; `evaluation.seen_rows` says what follows.

    Rows are looked up as they are and redacted: a model was trained on what the privacy policy left.

    Args:
        champion: `name/version` and folder.

    Raises:
        DataError: the model had seen test rows, and they are refused, or none is left.
        ModelError: a record is damaged.
    """
    policy, test = config.seen_rows, evaluated_rows(examples, config.max_rows)
    redacted = deidentify_examples(test, privacy.model_copy(update={"policy": "redact"})).examples
    kept = np.ones(len(test), np.bool_)
    own = seen_by(model, test, redacted)
    if own is not None and own.mask.any():
        if policy == "refuse":
            raise DataError(
                f"{own.overlap.sentence('the model')}, so figures on them would flatter it; {own.overlap.advice()}"
            )
        if policy == "drop":
            kept = ~own.mask
        if not kept.any():
            raise DataError(
                f"{own.overlap.sentence('the model')}: evaluation.seen_rows `drop` leaves none; give rows that are new "
                "to it"
            )
    theirs, why_not_compared = None, None
    if champion is not None:
        theirs = seen_by(champion[1], test, redacted)
        if theirs is not None and theirs.mask.any() and policy != "allow":
            left = kept & ~theirs.mask
            if left.sum() >= (1 if policy == "drop" else LEAST_SHARE_LEFT * kept.sum()):
                kept = left
            else:
                why_not_compared = (
                    f"{theirs.overlap.sentence('it')}, and {int(left.sum()):,} are new to both; give other test rows, "
                    "or set evaluation.seen_rows to `drop`, to compare on the few, or to `allow`, to compare on all"
                )
    counts = SeenRows(
        policy=policy,
        num_dropped=int((~kept).sum()),
        model=None if own is None else own.overlap,
        champion=None if theirs is None else theirs.overlap,
        champion_reference=None if champion is None else champion[0],
    )
    for sentence in counts.sentences():
        logger.info("evaluation: %s", sentence)
    return UnseenRows(kept, counts, why_not_compared)
