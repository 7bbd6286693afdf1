"""The facts of invented calls, drawn at random, and the rule that turns them into a disposition with its reasons.

The number of findings that are mentioned never depends on how urgent the call is; only whether they are asserted does.
So a count of keywords predicts nothing. The rule is made for teaching, to be sensible and readable: it is NOT a triage
protocol and must not be used on people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal

from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, FINDINGS, VITALS, VOCABULARY, Condition, Family

DISPOSITIONS = ("emergency now", "emergency department", "same day", "within three days", "self care")
"""Every disposition, most urgent first."""
EMERGENCY_DEPARTMENT = 3  # its urgency, counted upwards from self care (0)
LONG_DAYS = 14  # from this duration on, an unchanged course lowers the urgency
CALLS_PER_BLOCK = 10
"""Calls are assigned to callers within blocks of consecutive calls, so that a call depends on no call outside."""
RED_FLAG_SHARES = (0.4, 0.45, 0.48, 0.5)
"""Share of calls, by base urgency of the family, in which a mentioned red flag is asserted; else all are denied."""
AGE_BANDS = (("infant", 1), ("child", 13), ("teenager", 18), ("adult", 65))
"""Name of the band, and the age in years at which it ends; older patients are `older adult`."""

Course = Literal["sudden", "gradual", "worse", "unchanged"]
ReasonKind = Literal["red_flag", "vital", "risk", "sudden", "stable", "denied_red_flag", "benign"]


@dataclass(frozen=True, slots=True)
class Patient:
    """The person a call is about; the same in all calls of one caller."""

    caller: str
    age_months: int
    sex: Literal["F", "M"]
    conditions: tuple[str, ...]
    denied_conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a call is about. The note mentions all of it."""

    age_months: int
    sex: Literal["F", "M"]
    family: int  # index into `FAMILIES`
    asserted: tuple[str, ...]  # findings that the caller has
    denied: tuple[str, ...]  # findings that the caller says are absent
    vitals: tuple[tuple[str, str], ...]  # (name, value)
    conditions: tuple[str, ...]
    denied_conditions: tuple[str, ...]
    duration_hours: int
    course: Course


@dataclass(frozen=True, slots=True)
class Reason:
    """One fact that counted, or that was considered and did not count."""

    kind: ReasonKind
    name: str = ""
    value: str = ""


def age_band(age_months: int) -> str:
    """The age as a slice for evaluation."""
    return next((name for name, limit in AGE_BANDS if age_months < 12 * limit), "older adult")


def patient_of(seed: int, index: int) -> Patient:
    """The patient of call `index`; some have two or three calls within a block."""
    block, position = divmod(index, CALLS_PER_BLOCK)
    random = Random(f"{seed} block {block}")
    callers: list[int] = []
    while len(callers) < CALLS_PER_BLOCK:
        num_calls = random.choices([1, 2, 3], weights=[70, 22, 8])[0]
        callers += [len(set(callers))] * num_calls
    callers = callers[:CALLS_PER_BLOCK]
    random.shuffle(callers)
    number = callers[position]

    random = Random(f"{seed} caller {block} {number}")
    span = random.choices([(2, 11), (12, 155), (156, 215), (216, 779), (780, 1128)], weights=[9, 14, 7, 46, 24])[0]
    age_months = random.randint(*span)
    sex: Literal["F", "M"] = "F" if random.random() < 0.56 else "M"
    possible = [name for name, condition in CONDITIONS.items() if _occurs(condition, age_months / 12, sex)]
    random.shuffle(possible)
    num_present = random.choices([0, 1, 2], weights=[68, 27, 5])[0]
    num_denied = random.choices([0, 1], weights=[55, 45])[0]
    present, denied = possible[:num_present], possible[num_present : num_present + num_denied]
    return Patient(f"caller-{block:05d}{number:02d}", age_months, sex, tuple(present), tuple(denied))


def _occurs(what: Family | Condition, years: float, sex: str) -> bool:
    return what.min_age_years <= years < what.max_age_years + 1 and (sex == "F" or not what.female_only)


def facts_of(seed: int, index: int) -> Facts:
    """The facts behind call `index`: what a perfect reader would take from its note."""
    patient, random = patient_of(seed, index), Random(f"{seed} facts {index}")
    years = patient.age_months / 12
    number = random.choice([n for n, family in enumerate(FAMILIES) if _occurs(family, years, patient.sex)])
    family = FAMILIES[number]
    asserted, denied = _draw_findings(family, years, random)

    course: Course
    if family.can_be_long and random.random() < 0.3:
        course = "unchanged" if random.random() < 0.6 else "worse"
        duration_hours = 24 * 7 * random.randint(2, 6)
    else:
        duration_hours = random.randint(1, 12) if random.random() < 0.5 else 24 * random.randint(1, 6)
        courses: tuple[Course, ...] = ("sudden", "gradual", "worse")
        course = random.choices(courses, weights=[14, 50, 36])[0]

    # None to three vitals, at most one of them abnormal, and none that contradicts a finding.
    names = random.sample(list(VITALS), random.choices([0, 1, 2, 3], weights=[15, 30, 35, 20])[0])
    contradicting = {"fever": ("temp",), "shortness of breath": ("SpO2", "RR"), "palpitations": ("HR",)}
    contradicted = {name for finding in denied for name in contradicting.get(finding, ())}
    candidates = [name for name in names if name in family.vitals and name not in contradicted]
    abnormal = random.choice(candidates) if candidates and random.random() < 0.22 else ""
    vitals: list[tuple[str, str]] = []
    for name in names:
        normal = VOCABULARY.fever_values if name == "temp" and "fever" in asserted else VITALS[name].normal
        vitals.append((name, random.choice(VITALS[name].abnormal if name == abnormal else normal)))

    # A pregnancy is neither denied where it is evident nor mentioned where it would be absurd.
    conditions, denied_conditions = set(patient.conditions), set(patient.denied_conditions)
    if "pregnancy" in conditions or family.names[0] == "morning sickness":
        denied_conditions.discard("pregnancy")
    if family.names[0] in ("morning sickness", "heavy period"):
        conditions.discard("pregnancy")
    return Facts(
        age_months=patient.age_months,
        sex=patient.sex,
        family=number,
        asserted=asserted,
        denied=denied,
        vitals=tuple(vitals),
        conditions=tuple(name for name in patient.conditions if name in conditions),
        denied_conditions=tuple(name for name in patient.denied_conditions if name in denied_conditions),
        duration_hours=duration_hours,
        course=course,
    )


def _draw_findings(family: Family, years: float, random: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Asserted and denied findings: red flags and benign ones of the family, and denied ones of other families."""

    def reportable(names: Iterable[str]) -> list[str]:
        return [name for name in names if FINDINGS[name].min_age_years <= years]

    flags = random.sample(reportable(family.red_flags), random.choices([1, 2], weights=[65, 35])[0])
    benign = random.sample(reportable(family.benign), random.choices([1, 2], weights=[50, 50])[0])
    num_asserted = 0
    if random.random() < RED_FLAG_SHARES[family.base]:
        num_asserted = 2 if len(flags) > 1 and random.random() < 0.6 else 1
    asserted, denied = flags[:num_asserted], flags[num_asserted:]
    for name in benign:
        (asserted if random.random() < 0.65 else denied).append(name)
    if random.random() < 0.25:
        known = family.red_flags + family.benign
        denied.append(random.choice(reportable(name for name in FINDINGS if name not in known)))
    random.shuffle(asserted)
    random.shuffle(denied)
    return tuple(asserted), tuple(denied)


def decide(facts: Facts) -> tuple[str, tuple[Reason, ...]]:
    """The disposition that the facts call for, and why.

    The family sets the base. A red flag of that family raises it by two levels, a grave one by three; an abnormal
    vital, a risk condition that matters in this family and, in certain families, a sudden onset raise it by one level
    each. A low oxygen or pressure, a fast heart or breathing mean the emergency department at least. Without any of
    these, weeks of an unchanged course lower it by one. A denied red flag is absent; it is a reason not to go higher.
    """
    family = FAMILIES[facts.family]
    flags = sorted((name for name in facts.asserted if name in family.red_flags), key=lambda n: not FINDINGS[n].grave)
    abnormal = [(name, value) for name, value in facts.vitals if VITALS[name].is_abnormal(value)]
    risks = [name for name in facts.conditions if name in family.risks]
    is_sudden = facts.course == "sudden" and family.sudden_matters
    reasons = [Reason("red_flag", name) for name in flags]
    reasons += [Reason("vital", name, value) for name, value in abnormal]
    reasons += [Reason("risk", name) for name in risks]
    reasons += [Reason("sudden")] if is_sudden else []

    urgency = family.base + bool(abnormal) + bool(risks) + is_sudden
    if flags:
        urgency += 3 if FINDINGS[flags[0]].grave else 2
    if any(VITALS[name].dangerous for name, _ in abnormal):
        urgency = max(urgency, EMERGENCY_DEPARTMENT)
    if not reasons and facts.course == "unchanged" and facts.duration_hours >= 24 * LONG_DAYS:
        urgency -= 1
        reasons.append(Reason("stable"))
    reasons += [Reason("denied_red_flag", name) for name in facts.denied if name in family.red_flags]
    reasons += [Reason("benign", name) for name in facts.asserted if name not in family.red_flags]
    return DISPOSITIONS[::-1][min(max(urgency, 0), len(DISPOSITIONS) - 1)], tuple(reasons)


def neighbour(disposition: str, random: Random) -> str:
    """A disposition one level above or below."""
    level = DISPOSITIONS.index(disposition)
    return random.choice([other for at, other in enumerate(DISPOSITIONS) if abs(at - level) == 1])
