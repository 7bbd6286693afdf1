"""A model that answers calls: label and rationale, why a person should decide, and what a reader is to be told.

Every door answers through it: `r2d predict`, files of calls and MLflow's model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from r2d.errors import ModelError
from r2d.inference.calls import Call
from r2d.modeling.model_folder import Calibration
from r2d.modeling.prompts import LabelSets
from r2d.modeling.scope import Scope
from r2d.rationales.claims import ClaimChecker, RationaleCheck
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.modeling.predictor import Decision, Predictor

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

REMARKED = ("contradicted_findings", "unmentioned_findings", "other_labels_stated")
"""What is remarked of a rationale, lists in `Answer.as_row`."""


@dataclass(frozen=True)
class Answer:
    """What is shown of one call."""

    decision: Decision | None
    """None for a call that the model cannot read."""
    check: RationaleCheck | None
    why: str | None
    """Why a person decides, a key of `DEFERRAL_REASONS`; None where the label is shown."""
    scope_remark: str | None = None
    """How the call is unlike those of the training."""

    def remarks(self) -> list[str]:
        """What a reader is to be told, one sentence each."""
        return [*([self.scope_remark] if self.scope_remark else []), *(self.check.remarks() if self.check else [])]

    def as_row(self) -> dict[str, object]:
        """As JSON for a user: label, valid, label_probabilities, rationale, handed_over, why, contradicted_findings,
        unmentioned_findings, other_labels_stated, remarks."""
        unread: dict[str, object] = {"label": None, "valid": False, "label_probabilities": {}, "rationale": None}
        row = self.decision.as_row() if self.decision else unread
        row |= self.check.as_row() if self.check else {name: [] for name in REMARKED}
        return row | {"handed_over": self.why is not None, "why": self.why, "remarks": self.remarks()}


class Answerer:
    """A predictor with all that an answer needs beside it."""

    def __init__(self, predictor: Predictor, checker: ClaimChecker, scope: Scope | None = None) -> None:
        self.predictor, self.checker, self.scope = predictor, checker, scope

    @classmethod
    def of_model(cls, folder: Path) -> Answerer:
        """The model of a folder."""
        from r2d.modeling.predictor import Predictor  # torch: only where something is decided

        return cls(Predictor(folder), ClaimChecker.of_model(folder), Scope.of_model(folder))

    def answer(
        self,
        calls: Sequence[Call],
        *,
        batch_size: int = 32,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """One answer a call, in order; a call that the model cannot read does not fail the others."""
        reasons = [_reason_unreadable(call, self.predictor.labels) for call in calls]
        readable = [call for call, reason in zip(calls, reasons, strict=True) if reason is None]
        texts = [call.text or "" for call in readable]
        options = self._options(readable)
        decisions = (
            self.predictor.decide(texts, options, batch_size=batch_size, on_progress=on_progress) if readable else []
        )
        answers = iter([self._answer(call, decision) for call, decision in zip(readable, decisions, strict=True)])
        return [next(answers) if reason is None else Answer(None, None, reason) for reason in reasons]

    def stream(self, call: Call, *, on_label: Callable[[Answer], object], on_text: Callable[[str], object]) -> Answer:
        """The answer to one call, as `answer`; on the way its label, and the rationale in pieces.

        Args:
            on_label: receives the answer without its rationale, and so without what is remarked of that.
            on_text: receives the pieces of the rationale; nothing for a call that the model cannot read.
        """
        if (reason := _reason_unreadable(call, self.predictor.labels)) is not None:
            return Answer(None, None, reason)
        text = call.text or ""
        [decision] = self.predictor.decide([text], self._options([call]), explain=False)
        on_label(self._answer(call, decision))
        rationale = self.predictor.stream_rationale(text, decision.label, on_text)
        return self._answer(call, replace(decision, rationale=rationale))

    def _options(self, calls: Sequence[Call]) -> list[Sequence[str]] | None:
        """The options of each call, for a model that chooses among them."""
        return None if self.predictor.labels.declared is not None else [call.options or () for call in calls]

    def _answer(self, call: Call, decision: Decision) -> Answer:
        text = call.text or ""
        check = self.checker.check(decision.rationale, text, decision.label, list(decision.label_probabilities))
        remark = None if self.scope is None else self.scope.remark(text)
        is_outside = remark is not None and self.scope is not None and self.scope.hands_over
        why = _reason_deferred(decision, self.predictor.calibration, call.attributes or {}, is_outside)
        return Answer(decision, check, why, remark)


def _reason_unreadable(call: Call, labels: LabelSets) -> str | None:
    """Why the model cannot read this call; None where it can."""
    if call.text is None or not call.text.strip():
        return "no_text"
    try:
        call.text.encode()
    except UnicodeEncodeError:
        return "damaged_text"
    if labels.declared is not None:
        return None
    options = call.options or ()
    if len({normalise_label(option) for option in options if option} - {""}) < 2:
        return "no_options"
    try:
        labels.of(options)
    except ModelError:
        return "unusable_options"
    return None


def _reason_deferred(
    decision: Decision, calibration: Calibration | None, attributes: Mapping[str, str], is_outside: bool
) -> str | None:
    """Why a decision goes to a person; None where its label is shown."""
    if not decision.valid:
        return "no_declared_label"
    if is_outside:
        return "out_of_scope"
    if calibration is None:
        return "never_evaluated"
    if not calibration.defers(decision.confidence, decision.label, attributes):
        return None
    if calibration.threshold_for(decision.label, attributes) is not None:
        return "below_threshold"
    is_unknown = calibration.attribute is not None and not calibration.has_part(decision.label, attributes)
    return "no_attribute" if is_unknown else "no_threshold"
