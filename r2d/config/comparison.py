"""Section `comparison`: the grid of a comparison."""

from __future__ import annotations

import re
from typing import get_args

from pydantic import model_validator

from r2d.config.section import Name, Section
from r2d.config.training import MethodName


class ComparisonConfig(Section):
    """What is trained beside each other: methods x rationale sources x seeds. Read by `pipelines.comparison` alone."""

    methods: tuple[MethodName, ...] = get_args(MethodName)
    """Methods of `method.name`; by default all."""
    seeds: tuple[int, ...] = (42, 43, 44)
    """Each stands for `stage1.seed` and `stage2.seed`; the split and the data stay as they are."""
    sources: tuple[Name, ...] = ()
    """Each stands for `rationales.stage1_source`; by default that of the run. Where `rationales.stage2_source` is not
    set, Stage 2 and the references of the evaluation change with it; to measure all against the same references, set
    it."""
    zero_shot: Name | None = None
    """A source of `rationales.sources` that a language model answered with labels of its own: one more row, of which
    nothing is trained. Its labels are the decisions; its rationales are held against the references of the first
    variant. Its prompt must show neither the gold label nor solved examples."""
    few_shot: Name | None = None
    """The same of an `endpoint` whose prompt shows solved examples (`few_shot` of the source, training rows alone)."""

    @model_validator(mode="after")
    def _each_once(self) -> ComparisonConfig:
        for key in ("methods", "seeds"):
            if not getattr(self, key):
                raise ValueError(f"{key}: empty, nothing could be trained; name at least one, or leave the key out")
        for key in ("methods", "seeds", "sources"):
            values = getattr(self, key)
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"{key}: {', '.join(repeated)} is named more than once; name each once")
        names = [step_name(source) for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources: they differ in signs alone, found {list(self.sources)}; rename one of them")
        return self


def step_name(source: str) -> str:
    """A rationale source in the name of a ZenML step: letters, digits and underscores."""
    return re.sub(r"\W+", "_", source)
