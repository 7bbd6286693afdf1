"""Fills the card from the configuration, the metrics and the origin of a model. It quotes no note and no rationale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2d.config.model import REGISTERED
from r2d.config.run import RunConfig
from r2d.evaluation.metrics import (
    HEADLINES,
    Comparator,
    IntervalEstimate,
    LabelMetrics,
    Metrics,
    SliceMetrics,
)
from r2d.lineage.origin import Origin
from r2d.model_card.metadata import hub_metadata

MAX_SLICES = 10
"""Slices in the table: those that are furthest below the whole."""


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of."""

    run: RunConfig
    metrics: Metrics
    origin: Origin
    split_rows: Mapping[str, int]
    """Split -> rows that the model was trained, selected or measured on."""
    trained_on: Sequence[Mapping[str, Any]]
    """`r2d.rationales.provenance.trained_on`: stage, source, author, prompt_hash, num_rationales."""


def model_card(facts: CardFacts) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads at its top."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("r2d.model_card", package_path="."),
        autoescape=False,  # Markdown: `plain` keeps what is not ours from being read as such
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "share": share, "number": number, "with_interval": with_interval}
    run, metrics = facts.run, facts.metrics
    key = metrics.label.headline
    text = environment.get_template("card.md.j2").render(
        facts=facts,
        run=run,
        metrics=metrics,
        metadata=hub_metadata(run, metrics),
        name=run.registration.model_name,
        headline_key=key,
        headline=HEADLINES[key],
        per_row=run.data.labels.per_row,
        synthetic=run.data.format == "synthetic_triage",
        source=_source(run),
        start=_start(run),
        systems=_systems(metrics),
        slices=_slices(metrics),
        max_slices=MAX_SLICES,
    )
    return text.rstrip() + "\n"


def plain(value: object) -> str:
    """A text of others inside our Markdown: one line, no table cell, tag or emphasis of its own."""
    text = " ".join(str(value).split())
    for sign in "\\`*_[]|<>#":
        text = text.replace(sign, f"\\{sign}")
    return text


def share(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"


def with_interval(found: IntervalEstimate | None) -> str:
    """`0.590 (0.555 to 0.624)`; without an interval where there is none."""
    if found is None or found.value is None:
        return "not measured"
    if found.low is None:
        return f"{found.value:.3f} (no interval)"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _source(run: RunConfig) -> str:
    """Where the examples come from, without the folders of the machine that read them."""
    if run.data.format == "synthetic_triage":
        calls = run.data.synthetic
        return f"invented nurse-line calls ({calls.num_calls:,}, seed {calls.seed}, label noise {calls.label_noise:g})"
    if run.data.format == "huggingface" and not Path(run.data.path or "").exists():
        return f"Hugging Face data set {run.data.path}, revision {run.data.revision or 'not pinned'}"
    return f"{run.data.format}: {Path(run.data.path or '').name}"


def _start(run: RunConfig) -> str:
    name, revision = run.model.name, run.model.revision
    if name == "scratch":
        sizes = run.model.scratch
        return f"random weights: a T5 of {sizes.num_layers} + {sizes.num_layers} layers, width {sizes.d_model}"
    if name.startswith(REGISTERED):
        return f"the registered model {name.removeprefix(REGISTERED)}"
    if Path(name).is_dir():
        return f"a local checkpoint, {Path(name).name}"
    return f"{name}, revision {revision or 'not pinned'}"


def _systems(metrics: Metrics) -> list[tuple[str, LabelMetrics, IntervalEstimate | None]]:
    """(name, label metrics, what this model is better by) of each system on the same rows."""
    key, champion = metrics.label.headline, metrics.champion
    systems = [
        (name.caption, label, getattr(metrics.differences.get(name), key, None))
        for name, label in metrics.baselines.items()
    ]
    if champion is not None and champion.label is not None:
        difference = getattr(metrics.differences.get(Comparator.CHAMPION), key, None)
        systems.append((f"champion of that time, {champion.reference}", champion.label, difference))
    return systems


def _slices(metrics: Metrics) -> list[SliceMetrics]:
    """Slices that are not of a label, those with the lowest accuracy beside the whole first."""
    if metrics.slices is None:
        return []
    slices = [one for one in metrics.slices.slices if one.by != "label" and not one.small]
    return sorted(slices, key=lambda one: (one.gaps["accuracy"].value, one.by, one.value))[:MAX_SLICES]
