"""Why a call is deferred to a person: one source for what is answered, and for the test rows of the report."""

from __future__ import annotations

from collections.abc import Mapping

from r2d.modeling.model_folder import Calibration

DEFERRAL_REASONS = {
    "no_text": "the call has no text",
    "damaged_text": "the text holds half characters (\\ud800 to \\udfff alone)",
    "no_options": "the call brings fewer than two options that differ",
    "unusable_options": "the model cannot tell the options apart, or cannot write one of them",
    "no_declared_label": "what the model wrote is none of the labels",
    "out_of_scope": "the call is unlike those that the model was trained on",
    "below_threshold": "the label is less probable than the threshold of the model",
    "no_threshold": "the evaluation found no threshold that keeps the risk low enough",
    "no_attribute": "the call lacks an attribute, or has a value of it, for which the evaluation found no threshold",
    "never_evaluated": "the model has no threshold, because it was never evaluated",
}
"""Every value of the column `why`, and what it means. The model has not read calls with one of the first four."""


def why_deferred(
    calibration: Calibration | None,
    confidence: float,
    label: str,
    attributes: Mapping[str, str],
    *,
    valid: bool,
    is_outside: bool = False,
) -> str | None:
    """Why a decision goes to a person, a key of `DEFERRAL_REASONS`; None where its label is shown.

    Args:
        confidence: scaled probability of the label; attributes: of the call.
        valid: whether the model wrote one of the labels.
        is_outside: whether the call is unlike those of the training.
    """
    if not valid:
        return "no_declared_label"
    if is_outside:
        return "out_of_scope"
    if calibration is None:
        return "never_evaluated"
    if not calibration.defers(confidence, label, attributes):
        return None
    if calibration.threshold_for(label, attributes) is not None:
        return "below_threshold"
    is_unknown = calibration.attribute is not None and not calibration.has_part(label, attributes)
    return "no_attribute" if is_unknown else "no_threshold"
