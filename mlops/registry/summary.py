"""The last screen of a run: what was trained, how good it is beside the baselines, where to look, what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from mlops.registry.registration import RegisteredModel
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.labels import HEADLINES, WHY_NO_CLASSES
from r2d.evaluation.summary import champion_sentence, safety_facts

BAR_WIDTH = 30
WIDTH = 116
WITHOUT_ALIAS = {
    "passed": "no alias",
    "waiting": "no alias: it waits for the approval of a person",
    "failed": "no alias: it did not pass the gate",
}
"""Outcome of the gate -> why a version has no alias."""
INVENTED_CALL = "'62 yo man with tight chest for 1 hour, sudden onset. No fainting.'"
INVENTED_CALLS = "docs/delivery/calls.csv"
NOTE, QUESTION = "'TEXT OF A NOTE'", "--option ONE --option OTHER 'TEXT OF A QUESTION'"


def _bar(caption: str, value: float) -> str:
    return f"    {caption:<40} {value:.3f}  {'█' * round(value * BAR_WIDTH):<{BAR_WIDTH}}"


def summary(registered: RegisteredModel, metrics: Metrics, *, report_uri: str, data_format: str) -> str:
    """The screen as plain text, at most 130 columns wide.

    Args:
        report_uri: folder of the evaluation report.
        data_format: `data.format`; only for invented calls is a note named to try the model with.
    """
    label, has_classes = metrics.label, metrics.label.headline == "macro_f1"
    bars = []
    for comparator, baseline in metrics.baselines.items():
        of_both = metrics.differences.get(comparator)
        gain = None if of_both is None else getattr(of_both, label.headline)
        text = "" if gain is None or gain.low is None else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        bars.append(f"{_bar(comparator.value, baseline.headline_value)}  {text}".rstrip())
    bars.append(_bar("this model", label.headline_value).rstrip())
    if metrics.differences:
        bars.append("    behind a bar: this model minus that one, with the interval of the difference")
    beside = champion_sentence(metrics)
    rationales = f"none, method {metrics.method} decides only"
    if metrics.rationale is not None:
        overlap = metrics.rationale.populations.all
        scores = {"sacreBLEU": overlap.bleu, "paper BLEU": overlap.paper_bleu, "BERTScore F1": overlap.bertscore_f1}
        rationales = ", ".join(
            f"{name} {'none' if value is None else format(value, '.1f' if name == 'sacreBLEU' else '.3f')}"
            for name, value in scores.items()
        )
    sentences = [
        *wrapped("  gate: ", registered.decision.lines()),
        *wrapped("  so: ", [registered.transition.reason]),
        *wrapped("  to do: ", registered.decision.to_do),
    ]
    example = (INVENTED_CALL if data_format == "synthetic_triage" else NOTE) if has_classes else QUESTION
    here = ".venv/bin/r2d" if Path(".venv/bin/r2d").exists() else "r2d"
    calls = INVENTED_CALLS if data_format == "synthetic_triage" else "CALLS.csv"
    state = "registered" if registered.is_new else "already registered, nothing new"
    alias = ", ".join(registered.aliases) or WITHOUT_ALIAS[registered.decision.outcome]
    lines = [
        "",
        f"  {registered.name} version {registered.version} ({state}; {alias})",
        f"  {metrics.num_parameters:,} parameters, measured on {metrics.num_rows:,} test rows, "
        f"{metrics.decoding} label decoding",
        *wrapped("  test rows: ", metrics.seen_sentences()),
        "",
        f"  {HEADLINES[label.headline]}",
        *bars,
        "",
        *([] if has_classes else [f"  accuracy is shown: {WHY_NO_CLASSES}"]),
        f"  accuracy {label.accuracy:.3f}, invalid labels {label.invalid_label_rate:.1%}",
        f"  rationales: {rationales}",
        *(f"  {name}: {text}" for name, text in safety_facts(metrics).items()),
        *wrapped("  ", [f"{beside}."] if beside else []),
        "",
        *sentences,
        "",
        f"  report     {report_uri}/output.html",
        f"  pages      {here} open report, {here} open gate; in the dashboard: {here} open dashboard",
        f"  next       {here} predict --model {registered.reference} {example}",
        f"  serve      {here} serve --model {registered.reference}",
        *([f"  review     the same with --review reviews.db --cases {calls}"] if has_classes else []),
        "",
    ]
    return "\n".join(lines)


def wrapped(head: str, sentences: Iterable[str]) -> list[str]:
    """The lines of some sentences, each behind the same head."""
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(
            sentence, WIDTH, initial_indent=head, subsequent_indent="    ", break_long_words=False
        )
    ]
