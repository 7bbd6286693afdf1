"""The models that a comparison trains: methods x rationale sources x seeds, each a complete run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from r2d.config.comparison import step_name
from r2d.config.rationales import names_of
from r2d.config.run import RunConfig
from r2d.config.training import MethodConfig


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
        return "" if self.source is None else f"_{step_name(self.source)}"

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
