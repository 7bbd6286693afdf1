"""What a drift report may set; `configs/drift.yaml` is one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r2d.config.section import Name, Section


class DriftLimits(Section):
    """From when on a change is called drift: it must be large, and must not be chance."""

    max_psi: Annotated[float, Field(gt=0.0)] = 0.2
    """Highest population stability index of lengths, unfamiliar words, predicted labels and confidence. By custom in
    credit scoring (Siddiqi 2006), 0.1 is worth a look and 0.25 a shift."""
    max_word_divergence: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Highest Jensen-Shannon divergence of the words, in bits, beyond that of two random halves of the calls."""
    significance: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.01
    """Highest probability of calling any chance drift, over all measures of a report together."""
    min_rows: Annotated[int, Field(ge=30)] = 200
    """With fewer calls, or fewer rows in the reference, nothing is concluded."""


class DriftConfig(Section):
    """One batch of decided calls, held against what the model was trained and evaluated on."""

    predictions: Name
    """The output of a batch inference."""
    calls: Name | None = None
    """The file that the batch inference read; how it is read stands in its output. Without it no words are compared:
    the output repeats no text."""
    model: Name = "reason2decide@champion"
    """The model that decided: a registered one or a model folder; its `drift_reference.json` is the reference."""
    reference: Name | None = None
    """Another file of that kind, for a model that keeps none."""
    output: Name = "drift"
    """Folder for `drift.json` and `drift.html`."""
    limits: DriftLimits = DriftLimits()
    max_texts: Annotated[int, Field(ge=1)] = 20_000
    """Texts whose words are counted, drawn by the hash of their row; of more calls, most are passed over."""
