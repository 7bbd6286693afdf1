"""The vocabulary of the invented calls, from `vocabulary.yaml`: complaint families, findings, medical conditions, vital
signs and phrases."""

from __future__ import annotations

from pathlib import Path

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml


class Finding(Section):
    """Something the caller has or does not have."""

    surfaces: tuple[str, ...]  # how notes write it; the first is also its plain name in rationales
    short: str  # how a hurried nurse writes it in a rationale


class Condition(Section):
    """A lasting condition of the patient that raises the risk in certain complaints only."""

    present: tuple[str, ...]  # whole phrases of a note that assert it
    absent: tuple[str, ...]  # whole phrases of a note that deny it
    name: str  # noun phrase for rationales
    short: str
    min_age_years: int


class Vital(Section):
    """One vital sign. Values are texts as in the note;"""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    phrase: str  # its wording in rationales; `{value}` is filled in
    limit: float
    high_is_abnormal: bool
    dangerous: bool = True  # whether an abnormal value weighs as much as a red flag

    def is_abnormal(self, value: str) -> bool:
        """Whether the value lies beyond the threshold."""
        return float(value) >= self.limit if self.high_is_abnormal else float(value) < self.limit


class Family(Section):
    """One kind of complaint. `red_flags` and `benign` are disjoint names of `FINDINGS`."""

    names: tuple[str, ...]  # how notes write it; the first is also its name in rationales
    base: int  # urgency by itself, from 0 (self care) to 3; 4 is emergency now
    red_flags: tuple[str, ...]
    benign: tuple[str, ...]  # findings that are usual in the complaint and no sign of danger
    risks: tuple[str, ...]  # the conditions that raise the urgency in this family
    vitals: tuple[str, ...]  # vitals that can be abnormal here
    sudden_matters: bool = False  # whether a sudden onset raises the urgency
    can_be_long: bool = True  # whether a caller may have had it for weeks
    min_age_years: int = 6


class Vocabulary(Section):
    """The whole file."""

    findings: dict[str, Finding]
    conditions: dict[str, Condition]
    vitals: dict[str, Vital]
    fever_values: tuple[str, ...]
    families: tuple[Family, ...]
    irrelevant: tuple[str, ...]
    irrelevant_of_adults: tuple[str, ...]
    # Templates of notes; all of a kind are equally frequent.
    vitals_heads: tuple[str, ...]
    durations: tuple[str, ...]
    courses: dict[str, tuple[str, ...]]
    openings_of_children: tuple[str, ...]
    openings_of_adults: tuple[str, ...]
    asserting_heads: tuple[str, ...]
    denying_heads: tuple[str, ...]
    contrasts: tuple[str, ...]
    question_heads: tuple[str, ...]
    questions: tuple[str, ...]
    # Templates of rationales.
    consequences: dict[str, tuple[str, ...]]
    named_consequences: tuple[str, ...]
    short_dispositions: dict[str, tuple[str, ...]]


VOCABULARY = parse_section(Vocabulary, read_yaml(Path(__file__).with_name("vocabulary.yaml")))
FINDINGS, CONDITIONS, VITALS, FAMILIES = (
    VOCABULARY.findings, VOCABULARY.conditions, VOCABULARY.vitals, VOCABULARY.families
)  # fmt: skip
