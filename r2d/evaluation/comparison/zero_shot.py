"""A language model that was asked and not trained, measured on the test rows as a trained model is.

Its answers are the records of a rationale source: the label that a record states is the decision, whatever became of
its rationale. A record that was set aside because it disagrees with the gold label, or names it, still decided; to
leave it out would let the gold label choose among the answers. Where no record states an allowed label there is no
decision: it counts as wrong and is never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.rationales import EndpointSource
from r2d.config.run import RunConfig
from r2d.errors import ConfigError, DataError
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.predictions import Predictions, predictions_table
from r2d.evaluation.rationale_metrics import TABLE_SCORES, rationale_metrics, rationale_scores
from r2d.evaluation.run import evaluated_rows
from r2d.evaluation.safety import safety_metrics


def zero_shot_source(run: RunConfig) -> str | None:
    """The source of `comparison.zero_shot`, None where no such row is asked for.

    Raises:
        ConfigError: the source is not declared, is no language model's, is not asked about the test rows, or its
            prompt shows the gold label or solved examples.
    """
    name = run.require_comparison().zero_shot
    if name is None:
        return None
    where = f"comparison.zero_shot {name!r}"
    answering = [known for known, source in run.rationales.sources.items() if hasattr(source, "parse")]
    if name not in answering:
        raise ConfigError(
            f"{where} is no source of rationales.sources that a language model answered (formats text, openai_batch, "
            f"vllm_batch, synthetic_triage_batch, endpoint); allowed: {', '.join(answering) or 'none is declared'}"
        )
    source = run.rationales.sources[name]
    if isinstance(source, EndpointSource):
        _require_zero_shot_prompt(where, f"rationales.sources.{name}", source)
    return name


def _require_zero_shot_prompt(where: str, key: str, source: EndpointSource) -> None:
    from r2d.rationales.generation import load_prompt

    if "label" in load_prompt(Path(source.prompt)).variables:
        raise ConfigError(
            f"{where}: {key}.prompt {source.prompt} shows the model the gold label (it uses `label`), so its label is "
            "no decision of its own; declare a source whose prompt asks for the label, such as "
            "configs/prompts/triage_rationale.yaml"
        )
    if source.few_shot:
        raise ConfigError(
            f"{where}: {key}.few_shot is {source.few_shot}, so the prompt shows solved examples, which is not "
            "zero-shot; declare a source with few_shot: 0"
        )
    if "test" not in source.splits:
        raise ConfigError(
            f"{where}: {key}.splits is {list(source.splits)}, so the model is not asked about the test rows; add test"
        )


def measure_zero_shot(
    examples: pa.Table,
    provenance: pa.Table,
    rejected: pa.Table,
    source: str,
    *,
    config: EvaluationConfig,
    data: DataConfig,
) -> tuple[dict[str, Any], pa.Table]:
    """Measure the answers of a source on the test rows, against the rationales that the examples hold.

    A reference that is itself of this source is left out: a rationale is not measured against itself.

    Args:
        examples: as a stage is given them, `rationale` chosen and `rationales` of all sources.
        provenance, rejected: of the ingestion.

    Returns:
        The keys of `evaluate`'s metrics that a comparison reads (alignment is not measured, there is no model to ask
        again), and zero_shot: source, authors, num_without_label, without_label (reason -> rows),
        num_own_references. And a table of `PREDICTIONS_SCHEMA`.

    Raises:
        DataError: the test split is empty, or no record states a label for any of its rows.
    """
    test = evaluated_rows(examples, config.max_rows)
    answers = stated_answers(test, provenance, rejected, source)
    said = [answer.label for answer in answers]
    if not any(said):
        raise DataError(
            f"comparison.zero_shot {source!r}: no record states an allowed label for any of the {len(test):,} test "
            "rows; read the ingestion report, and name a source whose answers cover the test split and state a label"
        )
    own = pc.equal(test["rationale_source"], source).to_pylist()
    references = ["" if is_own else text for is_own, text in zip(own, test["rationale"].to_pylist(), strict=True)]
    predictions = Predictions(
        ids=test["id"].to_pylist(),
        gold_labels=test["label"].to_pylist(),
        predicted_labels=said,
        labels=data.labels.names,
        row_options=test["options"].to_pylist() if data.labels.per_row else (),
        group_names=test["group"].to_pylist(),
        gold_rationales=references,
        rationales=[answer.rationale for answer in answers],
    )
    scores = rationale_scores(references, predictions.rationales, config)
    without = [answer.reason for answer in answers if answer.label is None]
    authors = provenance.filter(pc.equal(provenance["source"], source))["author"].drop_null().unique().to_pylist()
    # No worst cases: there is no confidence to order them by.
    safety = safety_metrics(predictions, num_worst_cases=0) if data.labels.ordered else None
    metrics = Metrics(
        num_rows=len(test),
        decoding="as stated",
        method="zero_shot",
        label=label_metrics(predictions),
        safety=safety,
        rationale=rationale_metrics(scores, predictions.correct) if any(references) else None,
    ).to_json()
    measured = ("num_rows", "decoding", "method", "label", "safety", "baselines", "rationale", "alignment")
    facts = {
        "source": source,
        "authors": sorted(authors),
        "num_without_label": len(without),
        "without_label": dict(Counter(without).most_common()),
        "num_own_references": sum(own),
    }
    table = predictions_table(
        predictions, test, flags=[[]] * len(test), scores={name: scores.column(name) for name in TABLE_SCORES}
    )
    return {name: metrics[name] for name in measured} | {"zero_shot": facts}, table


@dataclass(frozen=True, slots=True)
class StatedAnswer:
    """What a source said of one row."""

    label: str | None = None
    rationale: str = ""
    reason: str = "no record"
    """Why there is no label; of no meaning where there is one."""


def stated_answers(test: pa.Table, provenance: pa.Table, rejected: pa.Table, source: str) -> list[StatedAnswer]:
    """The answer to each row: the first of its records, in the order of the files, that states an allowed label."""
    texts = {id_: dict(pairs).get(source, "") for id_, pairs in _pairs(test, "id", "rationales")}
    records: dict[str, list[tuple[Any, StatedAnswer]]] = {id_: [] for id_ in texts}
    for row in _of_source(rejected, source, "example_id", "file", "row", "label", "rationale", "reason"):
        if row["example_id"] in records:
            answer = StatedAnswer(row["label"], row["rationale"], row["reason"])
            records[row["example_id"]].append((_place(row), answer))
    for row in _of_source(provenance, source, "example_id", "file", "row", "label"):
        if row["example_id"] in records:
            answer = StatedAnswer(row["label"], texts[row["example_id"]], "no label stated")
            records[row["example_id"]].append((_place(row), answer))
    return [_first([answer for _, answer in sorted(records[id_], key=lambda one: one[0])]) for id_ in texts]


def _first(answers: Sequence[StatedAnswer]) -> StatedAnswer:
    labelled = (answer for answer in answers if answer.label is not None)
    return next(labelled, answers[0] if answers else StatedAnswer())


def _of_source(table: pa.Table, source: str, *columns: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.filter(pc.equal(table["source"], source)).select(list(columns)).to_pylist()
    return found


def _pairs(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


def _place(row: Mapping[str, Any]) -> tuple[list[tuple[int, str]], int]:
    """Files in natural order (`_2` before `_10`), then lines."""
    parts = re.split(r"(\d+)", row["file"] or "")
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], row["row"] or 0
