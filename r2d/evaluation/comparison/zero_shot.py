"""A language model that was asked and not trained, measured on the test rows as a trained model is.

Its answers are the records of a rationale source: the label that a record states is the decision, also where the
record was rejected; else the gold label would choose among the answers.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.rationales import EndpointSource
from r2d.config.run import RunConfig
from r2d.errors import ConfigError, DataError
from r2d.evaluation.comparison.models import AskedModel
from r2d.evaluation.label_metrics import label_metrics, safety_metrics
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.predictions import Predictions, predictions_table
from r2d.evaluation.rationale_metrics import TABLE_SCORES, rationale_metrics, rationale_scores
from r2d.evaluation.run import evaluated_rows
from r2d.rationales.generation import load_prompt

MEASURED = ("num_rows", "decoding", "method", "label", "safety", "baselines", "rationale", "alignment")
"""Keys of `metrics.json` that a comparison reads. Alignment is not measured: no model can be asked again."""


def asked_sources(run: RunConfig) -> dict[str, int]:
    """Source of `comparison.zero_shot` or `comparison.few_shot` -> the solved examples that its prompt shows.

    Raises:
        ConfigError: a source is not declared, is no language model's, is not asked about the test rows, its prompt
            shows the gold label, or shows solved examples where it must not, or none where it must.
    """
    grid = run.require_comparison()
    asked = {"zero_shot": grid.zero_shot, "few_shot": grid.few_shot}
    return {name: _num_examples(run, key, name) for key, name in asked.items() if name is not None}


def _num_examples(run: RunConfig, key: str, name: str) -> int:
    where, sources = f"comparison.{key} {name!r}", run.rationales.sources
    answered = [known for known, source in sources.items() if getattr(source, "parse", None) is not None]
    if name not in answered:
        raise ConfigError(
            f"{where} is no source of rationales.sources that a language model answered (formats text, openai_batch, "
            f"vllm_batch, synthetic_triage_batch, endpoint); allowed: {', '.join(answered) or 'none is declared'}"
        )
    source = sources[name]
    if not isinstance(source, EndpointSource):
        if key == "few_shot":
            raise ConfigError(
                f"{where} is of format {source.format}, whose prompt is not known; name a source of format endpoint"
            )
        return 0
    fault = ""
    if "label" in load_prompt(Path(source.prompt)).variables:
        fault = (
            f"prompt {source.prompt} shows the model the gold label (it uses `label`), so its label is no decision of "
            "its own; declare a source whose prompt asks for the label, such as configs/prompts/triage_rationale.yaml"
        )
    elif key == "few_shot" and not source.few_shot:
        fault = "few_shot is 0, so the prompt shows no solved examples; set few_shot and few_shot_source"
    elif key == "zero_shot" and source.few_shot:
        fault = (
            f"few_shot is {source.few_shot}, so the prompt shows solved examples, which is not zero-shot; name it in "
            "comparison.few_shot, or declare a source with few_shot: 0"
        )
    elif "test" not in source.splits:
        fault = f"splits is {list(source.splits)}, so the model is not asked about the test rows; add test"
    if fault:
        raise ConfigError(f"{where}: rationales.sources.{name}.{fault}")
    return source.few_shot


def measure_zero_shot(
    examples: pa.Table,
    provenance: pa.Table,
    rejected: pa.Table,
    source: str,
    *,
    num_examples: int = 0,
    config: EvaluationConfig,
    data: DataConfig,
) -> tuple[dict[str, Any], pa.Table]:
    """Measure the answers of a source on the test rows, against the rationales that the examples hold.

    A reference that is itself of this source is left out: a rationale is not measured against itself.

    Args:
        examples: as a stage is given them, `rationale` chosen and `rationales` of all sources.
        provenance: records that were taken, and `rejected`: those that were not, by the ingestion.
        num_examples: solved training rows in each prompt.

    Returns:
        the keys `MEASURED` of `metrics.json` and zero_shot, an `AskedModel`; and a table of `PREDICTIONS_SCHEMA`.

    Raises:
        DataError: the test split is empty, or no record states a label for any of its rows.
    """
    method = "few_shot" if num_examples else "zero_shot"
    test = evaluated_rows(examples, config.max_rows)
    answers = stated_answers(test, provenance, rejected, source)
    if all(answer.label is None for answer in answers):
        raise DataError(
            f"comparison.{method} {source!r}: no record states an allowed label for any of the {len(test):,} test "
            "rows; read the ingestion report, and name a source whose answers cover the test split and state a label"
        )
    is_own = pc.equal(test["rationale_source"], source).to_pylist()
    references = ["" if own else text for own, text in zip(is_own, test["rationale"].to_pylist(), strict=True)]
    predictions = Predictions(
        ids=test["id"].to_pylist(),
        gold_labels=test["label"].to_pylist(),
        predicted_labels=[answer.label for answer in answers],
        labels=data.labels.names,
        row_options=test["options"].to_pylist() if data.labels.per_row else (),
        group_names=test["group"].to_pylist(),
        gold_rationales=references,
        rationales=[answer.rationale for answer in answers],
    )
    scores = rationale_scores(references, predictions.rationales, config)
    metrics = Metrics(
        num_rows=len(test),
        decoding="as stated",
        method=method,
        label=label_metrics(predictions),
        # No worst cases: there is no confidence to order them by.
        safety=safety_metrics(predictions, num_worst_cases=0) if data.labels.ordered else None,
        rationale=rationale_metrics(scores, predictions.correct) if any(references) else None,
    ).to_json()
    authors = provenance.filter(pc.equal(provenance["source"], source))["author"].drop_null().unique().to_pylist()
    without_label = Counter(answer.reason for answer in answers if answer.label is None)
    asked: AskedModel = {
        "source": source,
        "num_examples": num_examples,
        "authors": sorted(authors),
        "num_without_label": without_label.total(),
        "without_label": dict(without_label.most_common()),
        "num_own_references": sum(is_own),
    }
    table = predictions_table(
        predictions, test, flags=[[]] * len(test), scores={name: scores.column(name) for name in TABLE_SCORES}
    )
    return {name: metrics[name] for name in MEASURED} | {"zero_shot": asked}, table


@dataclass(frozen=True, slots=True)
class StatedAnswer:
    """The answer of a source to one row."""

    label: str | None = None
    rationale: str = ""
    reason: str = "no record"
    """Why there is no label; of no meaning where there is one."""


def stated_answers(test: pa.Table, provenance: pa.Table, rejected: pa.Table, source: str) -> list[StatedAnswer]:
    """The answer to each row: the first of its records, in the natural order of the files (`_2` before `_10`), that
    states an allowed label; the first record where none does."""
    rationales = dict(zip(test["id"].to_pylist(), map(dict, test["rationales"].to_pylist()), strict=True))
    records = defaultdict(list)
    for table in (rejected, provenance):
        for row in table.filter(pc.equal(table["source"], source)).to_pylist():
            if (id_ := row["example_id"]) not in rationales:
                continue
            if table is rejected:
                answer = StatedAnswer(row["label"], row["rationale"], row["reason"])
            else:
                answer = StatedAnswer(row["label"], rationales[id_].get(source, ""), "no label stated")
            parts = re.split(r"(\d+)", row["file"] or "")
            file = [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
            records[id_].append(((file, row["row"] or 0), answer))
    answers = []
    for id_ in rationales:
        in_order = [answer for _, answer in sorted(records[id_], key=itemgetter(0))] or [StatedAnswer()]
        answers.append(next((answer for answer in in_order if answer.label is not None), in_order[0]))
    return answers
