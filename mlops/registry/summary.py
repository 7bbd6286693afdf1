"""The last screen of a run: what was trained, how good it is beside the baselines, where to look, what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from r2d.evaluation.metrics import HEADLINES, WHY_NO_CLASSES, Metrics

BAR_WIDTH = 30
WIDTH = 116
NO_ALIAS = {
    "passed": "no alias",
    "waiting": "no alias: it waits for the approval of a person",
    "failed": "no alias: it did not pass the gate",
}
EXAMPLE_NOTE = "'62 yo man with chest pain for 1 hour, sudden onset. Denies fever.'"
EXAMPLE_QUESTION = "--option oven --option car 'Where do you bake bread?'"


def summary(registration: Mapping[str, Any], metrics: Metrics, *, report_uri: str) -> str:
    """The screen as plain text, at most 130 columns wide.

    Args:
        registration: name, version, reference, aliases, is_new, gate_outcome, gate_reasons and what_follows.
        report_uri: folder of the evaluation report.
    """
    label, has_classes = metrics.label, metrics.label.macro_f1 is not None
    state = "registered" if registration["is_new"] else "already registered, nothing new"
    alias = ", ".join(registration["aliases"]) or NO_ALIAS[registration["gate_outcome"]]
    lines = [
        "",
        f"  {registration['name']} version {registration['version']} ({state}; {alias})",
        f"  {metrics.num_parameters:,} parameters, measured on {metrics.num_rows:,} test rows, "
        f"{metrics.decoding} label decoding",
        "",
        f"  {HEADLINES[label.headline]}",
        *[_bar(name.caption, of_baseline.headline_value) for name, of_baseline in metrics.baselines.items()],
        _bar("this model", label.headline_value),
        "",
        *([] if has_classes else [f"  accuracy is shown: {WHY_NO_CLASSES}"]),
        f"  accuracy {label.accuracy:.3f}, invalid labels {label.invalid_label_rate:.1%}",
        _rationale_line(metrics),
        "",
        *[line for reason in registration["gate_reasons"] for line in _wrapped("gate: ", reason)],
        *_wrapped("so: ", registration["what_follows"]),
        "",
        f"  report     {report_uri}/output.html",
        "  dashboard  make dashboard",
        f"  next       .venv/bin/r2d predict --model {registration['reference']} "
        f"{EXAMPLE_NOTE if has_classes else EXAMPLE_QUESTION}",
        "",
    ]
    return "\n".join(lines)


def _rationale_line(metrics: Metrics) -> str:
    if metrics.rationale is None:
        return f"  rationales: none, method {metrics.method} decides only"
    overlap = metrics.rationale.populations.all
    return (
        f"  rationales: sacreBLEU {_figure(overlap.bleu, 1)}, paper BLEU {_figure(overlap.paper_bleu, 3)}, "
        f"BERTScore F1 {_figure(overlap.bertscore_f1, 3)}"
    )


def _wrapped(head: str, sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent=f"  {head}", subsequent_indent="    ", break_long_words=False)


def _bar(name: str, value: float) -> str:
    return f"    {name:<40} {value:.3f}  {'█' * round(value * BAR_WIDTH)}"


def _figure(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
