"""The facts of invented calls, drawn at random, and the rule that turns them into a disposition with its reasons.

The number of findings that are mentioned does not depend on how urgent the call is; which of them are asserted does,
and so does how many: complaint and number of asserted findings are a strong clue (docs/method.md has its measure). The
rule is made for teaching, to be sensible and readable: it is NOT a triage protocol and must not be used on people.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, VITALS, VOCABULARY, Family

DISPOSITIONS = ("emergency now", "emergency department", "same day", "within three days", "self care")
"""Every disposition, most urgent first."""
LONG_DAYS = 14  # from this duration on, an unchanged course lowers the urgency
CALLS_PER_BLOCK = 10
"""Calls are assigned to callers within blocks of consecutive calls, so that a call depends on no call outside."""
RED_FLAG_SHARE = 0.5
"""Share of calls in which a mentioned red flag is asserted; in the others all are denied."""
BENIGN_SHARE = 0.6
"""Share of the mentioned benign findings that are asserted."""
AGE_BANDS = (("child", 13), ("teenager", 18), ("adult", 65))
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


@functools.lru_cache(maxsize=1)  # the calls of a block are made one after the other
def _callers(seed: int | str, block: int) -> Sequence[int]:
    """The caller of each call of a block; some have two or three."""
    random = Random(f"{seed} block {block}")
    callers: list[int] = []
    while len(callers) < CALLS_PER_BLOCK:
        num_calls = random.choices([1, 2, 3], weights=[70, 22, 8])[0]
        callers += [len(set(callers))] * num_calls
    callers = callers[:CALLS_PER_BLOCK]
    random.shuffle(callers)
    return callers


@functools.lru_cache(maxsize=1)  # asked for the facts of a call, and for its group
def patient_of(seed: int | str, index: int) -> Patient:
    """The patient of call `index`."""
    block, position = divmod(index, CALLS_PER_BLOCK)
    number = _callers(seed, block)[position]

    random = Random(f"{seed} caller {block} {number}")
    span = random.choices([(72, 155), (156, 215), (216, 779), (780, 1128)], weights=[16, 8, 50, 26])[0]
    age_months = random.randint(*span)
    sex: Literal["F", "M"] = "F" if random.random() < 0.56 else "M"
    possible = [name for name, condition in CONDITIONS.items() if condition.min_age_years <= age_months / 12]
    random.shuffle(possible)
    num_present = random.choices([0, 1], weights=[70, 30])[0]
    num_denied = random.choices([0, 1], weights=[55, 45])[0]
    present, denied = possible[:num_present], possible[num_present : num_present + num_denied]
    return Patient(f"caller-{block:05d}{number:02d}", age_months, sex, tuple(present), tuple(denied))


def facts_of(seed: int | str, index: int) -> Facts:
    """The facts behind call `index`: what a perfect reader would take from its note."""
    patient, random = patient_of(seed, index), Random(f"{seed} facts {index}")
    possible = [n for n, family in enumerate(FAMILIES) if family.min_age_years <= patient.age_months / 12]
    number = random.choice(possible)
    family = FAMILIES[number]
    asserted, denied = _draw_findings(family, random)

    course: Course
    if family.can_be_long and random.random() < 0.3:
        course = "unchanged" if random.random() < 0.6 else "worse"
        duration_hours = 24 * 7 * random.randint(2, 6)
    else:
        duration_hours = random.randint(1, 12) if random.random() < 0.5 else 24 * random.randint(1, 6)
        courses: tuple[Course, ...] = ("sudden", "gradual", "worse")
        course = random.choices(courses, weights=[14, 50, 36])[0]

    # None to three vitals, at most one of them abnormal, and none that contradicts a finding.
    names = random.sample(list(VITALS), random.choices([0, 1, 2], weights=[25, 45, 30])[0])
    contradicting = {"fever": ("temp",), "shortness of breath": ("SpO2",)}
    contradicted = {name for finding in denied for name in contradicting.get(finding, ())}
    candidates = [name for name in names if name in family.vitals and name not in contradicted]
    abnormal = random.choice(candidates) if candidates and random.random() < 0.15 else ""
    vitals: list[tuple[str, str]] = []
    for name in names:
        normal = VOCABULARY.fever_values if name == "temp" and "fever" in asserted else VITALS[name].normal
        vitals.append((name, random.choice(VITALS[name].abnormal if name == abnormal else normal)))

    return Facts(
        age_months=patient.age_months,
        sex=patient.sex,
        family=number,
        asserted=asserted,
        denied=denied,
        vitals=tuple(vitals),
        conditions=patient.conditions,
        denied_conditions=patient.denied_conditions,
        duration_hours=duration_hours,
        course=course,
    )


def _draw_findings(family: Family, random: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Asserted and denied findings: two or three red flags of the family, and as many benign ones."""

    flags = random.sample(family.red_flags, random.choices([2, 3], weights=[60, 40])[0])
    benign = random.sample(family.benign, random.choices([2, 3], weights=[60, 40])[0])
    num_asserted = 0
    if random.random() < RED_FLAG_SHARE:
        num_asserted = random.randint(1, len(flags))
    asserted, denied = flags[:num_asserted], flags[num_asserted:]
    for name in benign:
        (asserted if random.random() < BENIGN_SHARE else denied).append(name)
    random.shuffle(asserted)
    random.shuffle(denied)
    return tuple(asserted), tuple(denied)


def decide(facts: Facts) -> tuple[str, tuple[Reason, ...]]:
    """The disposition that the facts call for, and why.

    The family sets the base. A danger sign, which is a red flag of that family or a dangerous vital, raises it by two
    levels. A reason for caution raises it by one: a high temperature, a condition that is a risk in this family or, in
    certain families, a sudden onset. Without any of these, weeks of an unchanged course lower it by one. A denied red
    flag is absent; it is a reason not to go higher. Red flags come in the order of the family: an order by chance
    could not be learned.
    """
    family = FAMILIES[facts.family]
    flags = [name for name in family.red_flags if name in facts.asserted]
    abnormal = [(name, value) for name, value in facts.vitals if VITALS[name].is_abnormal(value)]
    risks = [name for name in facts.conditions if name in family.risks]
    is_sudden = facts.course == "sudden" and family.sudden_matters
    reasons = [Reason("red_flag", name) for name in flags]
    reasons += [Reason("vital", name, value) for name, value in abnormal]
    reasons += [Reason("risk", name) for name in risks]
    reasons += [Reason("sudden")] if is_sudden else []

    dangers = len(flags) + sum(VITALS[name].dangerous for name, _ in abnormal)
    urgency = family.base + 2 * (dangers > 0) + (len(reasons) > dangers)
    if not reasons and facts.course == "unchanged" and facts.duration_hours >= 24 * LONG_DAYS:
        urgency -= 1
        reasons.append(Reason("stable"))
    reasons += [Reason("denied_red_flag", name) for name in family.red_flags if name in facts.denied]
    reasons += [Reason("benign", name) for name in facts.asserted if name not in family.red_flags]
    return DISPOSITIONS[::-1][min(max(urgency, 0), len(DISPOSITIONS) - 1)], tuple(reasons)


def neighbour(disposition: str, random: Random) -> str:
    """A disposition one level above or below."""
    level = DISPOSITIONS.index(disposition)
    return random.choice([other for at, other in enumerate(DISPOSITIONS) if abs(at - level) == 1])
