"""Draws the facts of invented calls: who calls, with what complaint, and what is asserted, denied or measured.

How many findings are mentioned never depends on how urgent the call is; only whether they are asserted does. So a
count of keywords says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

from r2d.synthetic.families import FAMILIES, Family
from r2d.synthetic.findings import CONDITIONS, FINDINGS
from r2d.synthetic.rule import Course, Facts
from r2d.synthetic.vitals import FEVER_VALUES, VITALS

CALLS_PER_BLOCK = 10
"""Callers are dealt out within blocks of consecutive calls, so that a call knows its caller without the others."""

RED_FLAG_SHARES = (0.4, 0.45, 0.48, 0.5)
"""Calls, by base urgency of the family, in which a mentioned red flag is asserted; else all of them are denied."""

AGE_BANDS: tuple[tuple[str, int], ...] = (("infant", 1), ("child", 13), ("teenager", 18), ("adult", 65))
"""Name and first age, in years, beyond it; everybody else is an older adult."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The person a call is about; the same in all calls of one caller."""

    caller: str
    age_months: int
    sex: Literal["F", "M"]
    conditions: tuple[str, ...]
    denied_conditions: tuple[str, ...]


def age_band(age_months: int) -> str:
    """The age as a slice for evaluation."""
    return next((name for name, limit in AGE_BANDS if age_months < 12 * limit), "older adult")


def patient_of(seed: int, index: int) -> Patient:
    """The patient of call `index`: some have two or three calls within a block."""
    block, position = divmod(index, CALLS_PER_BLOCK)
    number = _callers(seed, block)[position]
    random = Random(f"{seed} caller {block} {number}")
    span = random.choices([(2, 11), (12, 155), (156, 215), (216, 779), (780, 1128)], weights=[9, 14, 7, 46, 24])[0]
    age_months = random.randint(*span)
    sex: Literal["F", "M"] = "F" if random.random() < 0.56 else "M"
    possible = [name for name in CONDITIONS if _may_have(name, age_months, sex)]
    random.shuffle(possible)
    num_present = random.choices([0, 1, 2], weights=[68, 27, 5])[0]
    num_denied = random.choices([0, 1], weights=[55, 45])[0]
    present, denied = possible[:num_present], possible[num_present : num_present + num_denied]
    return Patient(f"caller-{block:05d}{number:02d}", age_months, sex, tuple(present), tuple(denied))


def draw_facts(patient: Patient, random: Random) -> Facts:
    """The facts of one call of the patient."""
    years = patient.age_months / 12
    possible = [
        number
        for number, family in enumerate(FAMILIES)
        if family.min_age_years <= years < family.max_age_years + 1 and (patient.sex == "F" or not family.female_only)
    ]
    number = random.choice(possible)
    family = FAMILIES[number]
    asserted, denied = _draw_findings(family, years, random)
    duration_hours, course = _draw_course(family, random)
    expecting = "pregnancy" in patient.conditions or family.names[0] == "morning sickness"
    absurd = {"pregnancy"} if family.names[0] in ("morning sickness", "heavy period") else set()
    return Facts(
        age_months=patient.age_months,
        sex=patient.sex,
        family=number,
        asserted=asserted,
        denied=denied,
        vitals=_draw_vitals(family, asserted, denied, random),
        conditions=tuple(name for name in patient.conditions if name not in absurd),
        denied_conditions=tuple(name for name in patient.denied_conditions if not (expecting and name == "pregnancy")),
        duration_hours=duration_hours,
        course=course,
    )


@lru_cache(maxsize=4)
def _callers(seed: int, block: int) -> tuple[int, ...]:
    """The number of the caller at each position of a block."""
    random = Random(f"{seed} block {block}")
    callers: list[int] = []
    while len(callers) < CALLS_PER_BLOCK:
        num_calls = random.choices([1, 2, 3], weights=[70, 22, 8])[0]
        callers += [len(set(callers))] * num_calls
    callers = callers[:CALLS_PER_BLOCK]
    random.shuffle(callers)
    return tuple(callers)


def _may_have(condition: str, age_months: int, sex: str) -> bool:
    spec = CONDITIONS[condition]
    return spec.min_age_years <= age_months / 12 < spec.max_age_years + 1 and (sex == "F" or not spec.female_only)


def _draw_findings(family: Family, years: float, random: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Asserted and denied findings: red flags and harmless ones of the family, and denied ones of other families."""
    flags = random.sample(_tellable(family.red_flags, years), random.choices([1, 2], weights=[65, 35])[0])
    harmless = random.sample(_tellable(family.benign, years), random.choices([1, 2], weights=[50, 50])[0])
    asserted: list[str] = []
    denied: list[str] = []
    if random.random() < RED_FLAG_SHARES[family.base]:
        num_asserted = 2 if len(flags) > 1 and random.random() < 0.6 else 1
        asserted += flags[:num_asserted]
        denied += flags[num_asserted:]
    else:
        denied += flags
    for name in harmless:
        (asserted if random.random() < 0.65 else denied).append(name)
    if random.random() < 0.25:
        known = family.red_flags + family.benign
        denied.append(random.choice(_tellable([name for name in FINDINGS if name not in known], years)))
    random.shuffle(asserted)
    random.shuffle(denied)
    return tuple(asserted), tuple(denied)


def _tellable(names: Sequence[str], years: float) -> list[str]:
    return [name for name in names if FINDINGS[name].min_age_years <= years]


def _draw_course(family: Family, random: Random) -> tuple[int, Course]:
    if family.can_be_long and random.random() < 0.3:
        course: Course = "unchanged" if random.random() < 0.6 else "worse"
        return 24 * 7 * random.randint(2, 6), course
    duration_hours = random.randint(1, 12) if random.random() < 0.5 else 24 * random.randint(1, 6)
    courses: list[Course] = ["sudden", "gradual", "worse"]
    return duration_hours, random.choices(courses, weights=[14, 50, 36])[0]


def _draw_vitals(
    family: Family, asserted: Sequence[str], denied: Sequence[str], random: Random
) -> tuple[tuple[str, str], ...]:
    """None to three vitals, at most one of them abnormal, and none that contradicts a finding."""
    names = random.sample(list(VITALS), random.choices([0, 1, 2, 3], weights=[15, 30, 35, 20])[0])
    contradicted = {"temp"} if "fever" in denied else set()
    if "shortness of breath" in denied:
        contradicted |= {"SpO2", "RR"}
    if "palpitations" in denied:
        contradicted.add("HR")
    abnormal = ""
    candidates = [name for name in names if name in family.vitals and name not in contradicted]
    if candidates and random.random() < 0.22:
        abnormal = random.choice(candidates)
    values: list[tuple[str, str]] = []
    for name in names:
        normal = FEVER_VALUES if name == "temp" and "fever" in asserted else VITALS[name].normal
        values.append((name, random.choice(VITALS[name].abnormal if name == abnormal else normal)))
    return tuple(values)
