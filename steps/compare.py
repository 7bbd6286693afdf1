"""Lay the evaluated models of a comparison side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pyarrow as pa
from PIL.Image import Image
from zenml import get_step_context, log_metadata, step
from zenml.client import Client
from zenml.types import MarkdownString

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from steps.cache import by_code
from steps.materializers import TableMaterializer

if TYPE_CHECKING:
    from zenml.models import StepRunResponse


@step(cache_policy=by_code(__name__), output_materializers={"r2d_comparison_runs": TableMaterializer})
def compare(
    metrics: list[dict[str, Any]],
    predictions: list[pa.Table],
    models: list[dict[str, Any]],
    labels: LabelsConfig,
    intervals: IntervalsConfig,
) -> tuple[
    Annotated[dict[str, Any], "r2d_comparison"],
    Annotated[pa.Table, "r2d_comparison_runs"],
    Annotated[MarkdownString, "r2d_comparison_table"],
    Annotated[Image, "r2d_comparison_picture"],
]:
    """Figures of each variant with intervals and differences, those of each model, the tables, and the picture.

    Args:
        metrics: those of `evaluate` or of `measure_zero_shot`, a model each; `predictions` and `models`, what each of
            them is called, in the same order.
    """
    from r2d.evaluation.comparison.compare import compare as lay_out
    from r2d.evaluation.comparison.models import MeasuredModel, comparison_runs
    from r2d.evaluation.comparison.picture import comparison_picture
    from r2d.evaluation.comparison.tables import comparison_markdown

    seconds = [_seconds(artifact.producer_step_run_id) for artifact in get_step_context().inputs["metrics"]]
    measured = [
        MeasuredModel(**model, metrics=own, predictions=rows, training_seconds=training, evaluation_seconds=evaluation)
        for model, own, rows, (training, evaluation) in zip(models, metrics, predictions, seconds, strict=True)
    ]
    comparison, runs = lay_out(measured, labels, intervals), comparison_runs(measured)
    tables = comparison_markdown(comparison)
    log_metadata({"num_variants": len(comparison["variants"]), "num_models": len(measured)})
    print(f"\n{tables}")
    return comparison, runs, MarkdownString(tables), comparison_picture(comparison, runs)


def _seconds(evaluation_id: UUID) -> tuple[float | None, float | None]:
    """Seconds of training and of evaluation, from the steps that did the work, however long ago that was."""
    evaluated = Client().get_run_step(evaluation_id)
    evaluation = evaluated.run_metadata.get("evaluation_seconds")
    return _training_seconds(evaluated), None if evaluation is None else float(evaluation)


def _training_seconds(evaluated: StepRunResponse) -> float | None:
    if "model" not in evaluated.inputs:
        return None
    stage2 = _producer(evaluated, "model")
    stages = [stage2] if "stage1_model" not in stage2.inputs else [_producer(stage2, "stage1_model"), stage2]
    parts = [stage.run_metadata.get("training_seconds") for stage in stages]
    known = [float(part) for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _producer(step_run: StepRunResponse, input_name: str) -> StepRunResponse:
    (artifact,) = step_run.inputs[input_name]
    return Client().get_run_step(artifact.producer_step_run_id)
