"""The models that a comparison trains: methods x rationale sources x seeds, each a complete run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from r2d.config.comparison import step_name
from r2d.config.rationales import names_of
from r2d.config.run import RunConfig
from r2d.evaluation.comparison.models import VariantFacts


@dataclass(frozen=True)
class Variant:
    """One model of a comparison."""

    run: RunConfig
    """The complete run that trains it."""
    source: str | None
    """Of the grid; None where the variant is trained with the sources of the base run."""
    seed: int

    @property
    def references(self) -> str:
        """The sources of the rationales that its own are measured against."""
        rationales = self.run.rationales
        return ", ".join(names_of(rationales.stage2_source or rationales.stage1_source))

    @property
    def facts(self) -> VariantFacts:
        """How the tables call it."""
        method = self.run.method.name
        variant = method if self.source is None else f"{method}, {self.source}"
        return VariantFacts(variant, method, self.source, self.seed, self.references)

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
    """Every model of the grid, seeds innermost. A method that a source cannot change is not trained for each source,
    and the encoder baseline, which is the same for all, is trained beside the first alone.

    Raises:
        ConfigError: the run declares no grid.
    """
    grid = run.require_comparison()
    evaluation = run.evaluation
    for name in grid.methods:
        method = run.method.model_copy(update={"name": name})
        learns_from_source = method.explains and (method.has_stage1 or run.rationales.stage2_source is None)
        for source in grid.sources if learns_from_source and grid.sources else (None,):
            stage1_source = run.rationales.stage1_source if source is None else source
            for seed in grid.seeds:
                changes = {
                    "method": method,
                    "rationales": run.rationales.model_copy(update={"stage1_source": stage1_source}),
                    "stage1": run.stage1.model_copy(update={"seed": seed}),
                    "stage2": run.stage2.model_copy(update={"seed": seed}),
                    "evaluation": evaluation,
                }
                yield Variant(run.model_copy(update=changes), source, seed)
                evaluation = run.evaluation.model_copy(update={"encoder_baseline": None})


def asked_facts(source: str, num_examples: int, first: Variant) -> VariantFacts:
    """The facts of a model that is not trained; it is measured against the references of the first variant."""
    method = "few-shot" if num_examples else "zero-shot"
    return VariantFacts(f"{method} {source}", method, None, None, first.references)
