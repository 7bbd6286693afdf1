"""Lay the evaluated models of a comparison side by side."""

from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import get_step_context, log_metadata, step
from zenml.types import MarkdownString

from mlops.lineage import measured_seconds
from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from steps.cache import by_code
from steps.materializers import TableMaterializer
from steps.private import private


@step(cache_policy=by_code(__name__), output_materializers={"r2d_comparison_runs": TableMaterializer})
@private
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
    """Metrics of each variant with intervals and differences, those of each model, the tables, and the picture.

    Args:
        metrics: those of `evaluate` or of `measure_zero_shot`, a model each.
        predictions: of the same models, in order, and `models`: their `VariantFacts`.
    """
    from r2d.evaluation.comparison.compare import compare as compare_models
    from r2d.evaluation.comparison.models import MeasuredModel, VariantFacts, comparison_runs
    from r2d.evaluation.comparison.picture import comparison_picture
    from r2d.evaluation.comparison.tables import comparison_markdown
    from r2d.evaluation.metrics import Metrics

    evaluations = [artifact.producer_step_run_id for artifact in get_step_context().inputs["metrics"]]
    measured = [
        MeasuredModel(
            VariantFacts(**facts),
            Metrics.from_json(values),
            rows,
            values.get("zero_shot"),
            *measured_seconds(evaluation),
        )
        for facts, values, rows, evaluation in zip(models, metrics, predictions, evaluations, strict=True)
    ]
    comparison = compare_models(measured, labels, intervals)
    tables = comparison_markdown(comparison)
    log_metadata({"num_variants": len(comparison.variants), "num_models": len(measured)})
    print(f"\n{tables}")
    return comparison.to_json(), comparison_runs(measured), MarkdownString(tables), comparison_picture(comparison)
