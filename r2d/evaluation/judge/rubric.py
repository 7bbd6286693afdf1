"""The rubric: a YAML file of criteria with anchored scales, known by the hash of what it says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field, ValidationInfo, field_validator

from r2d.config.section import Name, Section, parse_section
from r2d.files import read_yaml

Input = Literal["note", "decision", "rationale", "reference"]
Sees: TypeAlias = tuple[Input, ...]
INPUTS: Sees = get_args(Input)
ANSWER_KEYS = ("why", "score")
"""What the judge writes for each criterion."""


class Criterion(Section):
    """One question about a rationale, answered by a whole number."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Key of the judge's answer, and its name in every table."""
    question: Name
    sees: Sees = ("note", "decision", "rationale")
    """What the judge is shown. Criteria that see the same are asked in one request; another set is another request, so
    that what one criterion sees never reaches one that may not see it."""
    anchors: dict[int, Name]
    """Score -> what deserves it, a sentence each; consecutive whole numbers."""
    passes_from: int
    """The score from which a rationale is good enough; the share of those is reported."""

    @field_validator("id")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in ANSWER_KEYS:
            raise ValueError(
                f"found {name!r}; allowed: any other name, {' and '.join(ANSWER_KEYS)} stand in each answer"
            )
        return name

    @field_validator("sees")
    @classmethod
    def _shows_the_rationale(cls, sees: Sees) -> Sees:
        if "rationale" not in sees or len(set(sees)) < len(sees):
            raise ValueError(f"found {list(sees)}; allowed: each of {', '.join(INPUTS)} once, and rationale always")
        return tuple(name for name in INPUTS if name in sees)

    @field_validator("anchors")
    @classmethod
    def _without_gaps(cls, anchors: dict[int, str]) -> dict[int, str]:
        scores = sorted(anchors)
        if len(scores) < 2 or scores != list(range(scores[0], scores[-1] + 1)):
            raise ValueError(f"found scores {scores}; allowed: two or more consecutive whole numbers, such as 1 to 5")
        return {score: anchors[score] for score in scores}

    @field_validator("passes_from")
    @classmethod
    def _is_an_anchor(cls, score: int, info: ValidationInfo) -> int:
        scores = list(info.data.get("anchors", {}))
        if scores and score not in scores[1:]:
            raise ValueError(
                f"found {score}; allowed: {scores[1]} to {scores[-1]} (from the lowest on, all would pass)"
            )
        return score


class Rubric(Section):
    """What a judge is asked."""

    name: Name
    instructions: Name
    """The system message: who the judge is, and how to score."""
    criteria: tuple[Criterion, ...]

    @field_validator("criteria")
    @classmethod
    def _are_told_apart(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        if not criteria:
            raise ValueError("found none; name at least one criterion")
        ids = [criterion.id for criterion in criteria]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"id {', '.join(map(repr, twice))} occurs more than once; name each once")
        return criteria

    @property
    def hash(self) -> str:
        """SHA-256 of what it says, in hexadecimal; comments and line breaks of the YAML do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def by_sees(self) -> dict[Sees, list[Criterion]]:
        """The criteria that may be asked together, by what they see."""
        groups: dict[Sees, list[Criterion]] = {}
        for criterion in self.criteria:
            groups.setdefault(criterion.sees, []).append(criterion)
        return groups


def load_rubric(path: Path) -> Rubric:
    """Read and check a rubric.

    Raises:
        ConfigError: the file cannot be read; or names every fault with its key, what was found and what is allowed.
    """
    return parse_section(Rubric, read_yaml(path), where=str(path))
