"""The rule that turns the facts of a call into a disposition and the reasons for it.

It is a teaching rule, made to be sensible and readable: it is NOT a triage protocol and must not be used on people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2d.synthetic.families import FAMILIES
from r2d.synthetic.findings import FINDINGS
from r2d.synthetic.vitals import VITALS

DISPOSITIONS: tuple[str, ...] = (
    "emergency now",
    "emergency department",
    "same day",
    "within three days",
    "self care",
)
"""Every disposition, most urgent first."""

EMERGENCY_DEPARTMENT = 3
"""Its urgency, counted upwards from self care (0)."""

LONG_DAYS = 14

Course = Literal["sudden", "gradual", "worse", "unchanged"]
ReasonKind = Literal["red_flag", "vital", "risk", "sudden", "stable", "denied_red_flag", "benign"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a call is about. Everything in it stands in the note."""

    age_months: int
    sex: Literal["F", "M"]
    family: int
    """Index into `FAMILIES`."""
    asserted: tuple[str, ...]
    denied: tuple[str, ...]
    vitals: tuple[tuple[str, str], ...]
    conditions: tuple[str, ...]
    denied_conditions: tuple[str, ...]
    duration_hours: int
    course: Course


@dataclass(frozen=True, slots=True)
class Reason:
    """One fact that counted, or that was looked at and found not to count."""

    kind: ReasonKind
    name: str = ""
    value: str = ""


def decide(facts: Facts) -> tuple[str, tuple[Reason, ...]]:
    """The disposition that the facts call for, and why.

    The family sets the base. A red flag of that family raises it by two levels, a grave one by three; an abnormal
    vital, a risk condition that matters in this family and, in certain families, a sudden onset raise it by one level
    each. A low oxygen or pressure, a fast heart or breathing mean the emergency department at least. Without any of
    these, weeks of an unchanged course lower it by one. A denied red flag is absent; it is a reason not to go higher.
    """
    family = FAMILIES[facts.family]
    urgency = family.base
    reasons: list[Reason] = []

    flags = [name for name in facts.asserted if name in family.red_flags]
    if flags:
        urgency += 3 if any(FINDINGS[name].grave for name in flags) else 2
        reasons += [Reason("red_flag", name) for name in sorted(flags, key=lambda name: not FINDINGS[name].grave)]

    abnormal = [(name, value) for name, value in facts.vitals if VITALS[name].is_abnormal(value)]
    if abnormal:
        urgency += 1
        reasons += [Reason("vital", name, value) for name, value in abnormal]

    risks = [name for name in facts.conditions if name in family.risks]
    if risks:
        urgency += 1
        reasons += [Reason("risk", name) for name in risks]

    if facts.course == "sudden" and family.sudden_matters:
        urgency += 1
        reasons.append(Reason("sudden"))

    if any(VITALS[name].dangerous for name, _ in abnormal):
        urgency = max(urgency, EMERGENCY_DEPARTMENT)

    if not reasons and facts.course == "unchanged" and facts.duration_hours >= 24 * LONG_DAYS:
        urgency -= 1
        reasons.append(Reason("stable"))

    reasons += [Reason("denied_red_flag", name) for name in facts.denied if name in family.red_flags]
    reasons += [Reason("benign", name) for name in facts.asserted if name not in family.red_flags]
    urgency = min(max(urgency, 0), len(DISPOSITIONS) - 1)
    return DISPOSITIONS[len(DISPOSITIONS) - 1 - urgency], tuple(reasons)
