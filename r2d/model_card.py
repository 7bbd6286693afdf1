"""The model card: what a person must know of a registered model before using it, filled from its configuration, metrics
and origin. It quotes no note and no rationale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from r2d.config.run import RunConfig
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.labels import HEADLINES, Comparator
from r2d.lineage.records import Origin
from r2d.rationales.provenance import RationaleUse
from r2d.registered import REGISTERED
from r2d.reports.formatting import Unit
from r2d.reports.templates import render

if TYPE_CHECKING:
    from r2d.evaluation.export_cost import ExportCost
    from r2d.modeling.backends.exported import EngineFacts

HEADLINE_UNITS: Mapping[str, tuple[Unit, Unit]] = {"macro_f1": ("decimal", "signed"), "accuracy": ("share", "points")}
"""Headline metric -> its unit, and that of a difference."""
CLAIM_CAPTIONS: Mapping[str, str] = {
    "contradicted_rationale_rate": "that their note contradicts",
    "other_label_rate": "that state another label than the one shown",
}
MAX_SLICES = 10
"""Slices in the table: those that are furthest below the whole."""


@dataclass(frozen=True)
class CardFacts:
    run: RunConfig
    metrics: Metrics
    origin: Origin
    split_rows: Mapping[str, int]
    """Split -> rows that the model was trained, selected or measured on."""
    trained_on: Sequence[RationaleUse]
    test_set: TestSetUse | None = None
    """How often the test set was looked at before the card was written; None where nobody counts."""


def model_card(facts: CardFacts) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads at its top."""
    run, metrics = facts.run, facts.metrics
    headline, champion, slices = metrics.label.headline, metrics.champion, metrics.slices

    compared = {comparator.value: (comparator, label) for comparator, label in metrics.baselines.items()}
    if champion is not None and champion.label is not None:
        compared[f"champion of that time, {champion.reference}"] = (Comparator.CHAMPION, champion.label)
    differences = {comparator: getattr(found, headline) for comparator, found in metrics.differences.items()}
    shown_slices = [] if slices is None else [each for each in slices.slices if each.by != "label" and not each.small]
    text = render(
        "r2d",
        "model_card.md.j2",
        facts=facts,
        run=run,
        metrics=metrics,
        metadata=hub_metadata(run, metrics),
        name=run.registration.model_name,
        headline_key=headline,
        headline=HEADLINES[headline],
        headline_units=HEADLINE_UNITS[headline],
        claim_captions=CLAIM_CAPTIONS,
        per_row=run.data.labels.per_row,
        synthetic=run.data.format == "synthetic_triage",
        source=_source(run),
        start=_start(run),
        systems=[(caption, label, differences.get(comparator)) for caption, (comparator, label) in compared.items()],
        slices=sorted(shown_slices, key=lambda each: (each.gaps["accuracy"].value, each.by, each.value))[:MAX_SLICES],
    )
    return text.rstrip() + "\n"


COST_TITLES: Mapping[str, tuple[str, Unit, Unit]] = {
    "accuracy": ("accuracy", "share", "points"),
    "macro_f1": ("macro-F1", "decimal", "signed"),
    "under_triage_rate": ("under-triage", "share", "points"),
    "bertscore_f1": ("BERTScore F1", "decimal", "signed"),
}
"""Metric of an export's cost -> its name, its unit, and that of a difference."""


def export_card(name: str, facts: EngineFacts, cost: ExportCost | None) -> str:
    """The card of an exported model as Markdown: what it was made of, and what that costs.

    Args:
        name: of the model that was exported; cost: None where nothing was measured.
    """
    values = {"name": name, "facts": facts, "cost": cost, "titles": COST_TITLES}
    return render("r2d", "export_card.md.j2", **values).rstrip() + "\n"


def _source(run: RunConfig) -> str:
    """Where the examples come from, without the folders of the machine that read them."""
    if run.data.format == "synthetic_triage":
        calls = run.data.synthetic
        fresh = f" and {calls.num_test_calls:,} test calls drawn apart" if calls.num_test_calls else ""
        return (
            f"invented nurse-line calls ({calls.num_calls:,}{fresh}, seed {calls.seed}, label noise "
            f"{calls.label_noise:g})"
        )
    if run.data.format == "huggingface" and not Path(run.data.path or "").exists():
        return f"Hugging Face data set {run.data.path}, revision {run.data.revision or 'not pinned'}"
    return f"{run.data.format}: {Path(run.data.path or '').name}"


def _start(run: RunConfig) -> str:
    """What training started from."""
    name, revision = run.model.name, run.model.revision
    if name == "scratch":
        sizes = run.model.scratch
        layers = f"{sizes.num_layers} + {sizes.num_layers} layers, width {sizes.d_model}"
        return f"random weights: a T5 of {layers}; vocabulary: {sizes.vocabulary}"
    if name.startswith(REGISTERED):
        return f"the registered model {name.removeprefix(REGISTERED)}"
    if Path(name).is_dir():
        return f"a local checkpoint, {Path(name).name}"
    return f"{name}, revision {revision or 'not pinned'}"


def hub_metadata(run: RunConfig, metrics: Metrics) -> str:
    """The block at the top of the card that the Hugging Face hub reads, as YAML without its lines of dashes.

    The licence of the weights is for their owner to choose: `unknown` is the hub's word until then.
    """
    facts: dict[str, object] = {
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "text-classification",
        "tags": ["reason2decide", "rationales", "clinical-decision-support", f"method:{run.method.name}"],
    }
    is_hub_name = run.model.name != "scratch" and not run.model.name.startswith(REGISTERED)
    if is_hub_name and not Path(run.model.name).is_dir():
        facts["base_model"] = run.model.name
    if run.data.format == "huggingface" and not Path(run.data.path or "").exists():
        facts["datasets"] = [run.data.path]
    facts["metrics"] = ["accuracy"] if run.data.labels.per_row else ["accuracy", "f1"]
    label = metrics.label
    values = [
        ("accuracy", "accuracy", label.accuracy),
        ("f1", "macro-F1", label.macro_f1),
        ("invalid_label_rate", "invalid-label rate", label.invalid_label_rate),
    ]
    if metrics.rationale is not None:
        overlap = metrics.rationale.populations.all
        values.append(("sacrebleu", "sacreBLEU of the rationales", overlap.bleu))
        values.append(("bertscore", "BERTScore F1 of the rationales", overlap.bertscore_f1))
    data = run.data.format if run.data.path is None else Path(run.data.path).name
    result = {
        "task": {"type": "text-classification", "name": "decide and explain"},
        "dataset": {"type": run.data.format, "name": data, "split": "test"},
        "metrics": [
            {"type": kind, "name": name, "value": round(float(value), 4)}
            for kind, name, value in values
            if value is not None
        ],
    }
    facts["model-index"] = [{"name": run.registration.model_name, "results": [result]}]
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=1_000).rstrip()
