"""The model card: what a person must know of a registered model before using it, filled from its configuration, metrics
and origin. It quotes no note and no rationale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from r2d.config.model import REGISTERED
from r2d.config.run import RunConfig
from r2d.evaluation.metrics import HEADLINES, Comparator, IntervalEstimate, Metrics
from r2d.lineage.records import Origin
from r2d.rationales.provenance import RationaleUse
from r2d.reports.formatting import sentence

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


def model_card(facts: CardFacts) -> str:
    """The card as Markdown, with the metadata that the Hugging Face hub reads at its top."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("r2d", package_path="."),
        autoescape=False,  # Markdown: `plain` escapes the texts of others
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": plain, "share": share, "number": number, "with_interval": with_interval, "sentence": sentence,
    }  # fmt: skip
    run, metrics = facts.run, facts.metrics
    headline, champion, slices = metrics.label.headline, metrics.champion, metrics.slices

    compared = {comparator.value: (comparator, label) for comparator, label in metrics.baselines.items()}
    if champion is not None and champion.label is not None:
        compared[f"champion of that time, {champion.reference}"] = (Comparator.CHAMPION, champion.label)
    differences = {comparator: getattr(found, headline) for comparator, found in metrics.differences.items()}
    shown_slices = [] if slices is None else [each for each in slices.slices if each.by != "label" and not each.small]
    text = environment.get_template("model_card.md.j2").render(
        facts=facts,
        run=run,
        metrics=metrics,
        metadata=hub_metadata(run, metrics),
        name=run.registration.model_name,
        headline_key=headline,
        headline=HEADLINES[headline],
        per_row=run.data.labels.per_row,
        synthetic=run.data.format == "synthetic_triage",
        source=_source(run),
        start=_start(run),
        systems=[(caption, label, differences.get(comparator)) for caption, (comparator, label) in compared.items()],
        slices=sorted(shown_slices, key=lambda each: (each.gaps["accuracy"].value, each.by, each.value))[:MAX_SLICES],
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


def with_interval(estimate: IntervalEstimate | None) -> str:
    """`0.590 (0.555 to 0.624)`, or the value alone where there is no interval."""
    if estimate is None or estimate.value is None:
        return "not measured"
    if estimate.low is None:
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


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
    facts: dict[str, Any] = {
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
