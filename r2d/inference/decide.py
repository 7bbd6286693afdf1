"""A model that answers calls: label and rationale, why a person should decide, and what a reader is to be told.

Every door answers through it: `r2d predict`, files of calls and MLflow's model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from r2d.errors import ModelError
from r2d.inference.calls import Call
from r2d.modeling.deferral import why_deferred
from r2d.modeling.prompts import LabelSets
from r2d.modeling.scope import Scope
from r2d.rationales.claims import ClaimChecker, RationaleCheck
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.modeling.predictor import Decision, Predictor

REMARKED = ("contradicted_findings", "unmentioned_findings", "other_labels_stated")
"""What is remarked of a rationale, lists in `AnswerRow`."""


class AnswerRow(TypedDict):
    """An answer as JSON for a user."""

    label: str | None
    """None for a call that the model cannot read."""
    valid: bool
    label_probabilities: Mapping[str, float]
    rationale: str | None
    contradicted_findings: Sequence[str]
    unmentioned_findings: Sequence[str]
    other_labels_stated: Sequence[str]
    remarks: Sequence[str]
    handed_over: bool
    why: str | None


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

    def as_row(self) -> AnswerRow:
        decision = self.decision
        remarked = self.check.as_row() if self.check else {name: [] for name in REMARKED}
        return {
            "label": decision.label if decision else None,
            "valid": decision is not None and decision.valid,
            "label_probabilities": dict(decision.label_probabilities) if decision else {},
            "rationale": decision.rationale if decision else None,
            "contradicted_findings": remarked["contradicted_findings"],
            "unmentioned_findings": remarked["unmentioned_findings"],
            "other_labels_stated": remarked["other_labels_stated"],
            "remarks": self.remarks(),
            "handed_over": self.why is not None,
            "why": self.why,
        }


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
        why = why_deferred(
            self.predictor.calibration, decision.confidence, decision.label, call.attributes or {},
            valid=decision.valid, is_outside=is_outside,
        )  # fmt: skip
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
