"""Measure decisions and rationales on the test split."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import log_metadata, step
from zenml.types import HTMLString

from r2d.config import DataConfig, EvaluationConfig
from steps.cache import by_sources
from steps.materializers import TableMaterializer


@step(cache_policy=by_sources(__name__), output_materializers={"r2d_predictions": TableMaterializer})
def evaluate(
    examples: pa.Table, model: Path, evaluation: EvaluationConfig, data: DataConfig
) -> tuple[
    Annotated[dict[str, Any], "r2d_metrics"],
    Annotated[pa.Table, "r2d_predictions"],
    Annotated[HTMLString, "r2d_evaluation_report"],
    Annotated[Image, "r2d_confusion_matrix"],
]:
    """Metrics, the predictions behind them, the report for people, and the confusion matrix.

    Where each row has options of its own there is no such matrix; its picture then shows accuracies.
    """
    from r2d.evaluation.evaluate import evaluate as measure
    from r2d.evaluation.pictures import accuracy_picture, confusion_matrix_picture

    result = measure(examples, model, config=evaluation, data=data)
    label, alignment = result.metrics["label"], result.metrics["alignment"]
    figures = {name: label[name] for name in ("accuracy", "macro_f1", "invalid_label_rate")}
    figures |= {name: alignment[name] for name in ("consistency", "sufficiency", "gold_robustness")}
    measured = {name: figure for name, figure in figures.items() if figure is not None}
    log_metadata(measured | {"evaluation_seconds": result.seconds})
    picture = (
        accuracy_picture({**result.metrics["baselines"], "this model": label})
        if data.labels.per_row
        else confusion_matrix_picture(label, data.labels.names)
    )
    return result.metrics, result.predictions, HTMLString(result.report), picture
