"""Section `comparison`: the grid of a comparison, and the runs that it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import model_validator

from r2d.config.method import MethodConfig, MethodName
from r2d.config.rationales import names_of
from r2d.config.section import Name, Section

if TYPE_CHECKING:
    from r2d.config.run import RunConfig


class ComparisonConfig(Section):
    """What is trained beside each other: methods x rationale sources x seeds. Read by `pipelines.comparison` alone."""

    methods: tuple[MethodName, ...] = get_args(MethodName)
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
        names = [_step_name(source) for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources: they differ in signs alone, found {list(self.sources)}; rename one of them")
        return self


@dataclass(frozen=True)
class Variant:
    """One model of a comparison."""

    run: RunConfig
    """The complete run that it stands for."""
    source: str | None
    """Of the grid; None where the variant is trained with the sources of the base run."""
    seed: int

    @property
    def name(self) -> str:
        """How the variants of all seeds are called together."""
        return self.run.method.name if self.source is None else f"{self.run.method.name}, {self.source}"

    @property
    def references(self) -> str:
        """The sources of the rationales that its own are measured against."""
        rationales = self.run.rationales
        return ", ".join(names_of(rationales.stage2_source or rationales.stage1_source))

    def facts(self) -> dict[str, Any]:
        """variant, method, source, seed, references: what it is called in the tables."""
        method = self.run.method.name
        return {
            "variant": self.name,
            "method": method,
            "source": self.source,
            "seed": self.seed,
            "references": self.references,
        }

    @property
    def data_id(self) -> str:
        """Ends the name of the steps that all variants on the same rationales share."""
        return "" if self.source is None else f"_{_step_name(self.source)}"

    @property
    def stage1_id(self) -> str:
        """Ends the name of the Stage 1 that methods share."""
        return f"{self.data_id}_seed{self.seed}"

    @property
    def id(self) -> str:
        """Ends the name of its own steps, so that one that fails is named."""
        return f"_{self.run.method.name}{self.stage1_id}"


def variants(run: RunConfig) -> Iterator[Variant]:
    """Every model of the grid, seeds innermost. A method that a source cannot change is not trained for each source.

    Raises:
        ConfigError: the run declares no grid.
    """
    grid = run.require_comparison()
    for method in grid.methods:
        config = run.method.model_copy(update={"name": method})
        for source in grid.sources if _depends_on_source(config, run) and grid.sources else (None,):
            for seed in grid.seeds:
                yield Variant(_variant_run(run, config, source, seed), source, seed)


def zero_shot_facts(source: str, first: Variant) -> dict[str, Any]:
    """The facts of the row of which nothing is trained; it is measured against the references of the first variant."""
    return {
        "variant": f"zero-shot {source}",
        "method": "zero-shot",
        "source": None,
        "seed": None,
        "references": first.references,
    }


def _depends_on_source(method: MethodConfig, run: RunConfig) -> bool:
    """Whether anything that the method is trained on is a rationale of `rationales.stage1_source`."""
    return method.explains and (method.has_stage1 or run.rationales.stage2_source is None)


def _variant_run(run: RunConfig, method: MethodConfig, source: str | None, seed: int) -> RunConfig:
    rationales = run.rationales if source is None else run.rationales.model_copy(update={"stage1_source": source})
    stages = {key: getattr(run, key).model_copy(update={"seed": seed}) for key in ("stage1", "stage2")}
    return run.model_copy(update={"method": method, "rationales": rationales, **stages})


def _step_name(source: str) -> str:
    return re.sub(r"\W+", "_", source)
