"""Measure decisions and rationales on the test split."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString

from mlops.tracking import log_metrics
from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import content_hash
from r2d.modeling.manifest import model_hash
from steps.cache import by_code
from steps.materializers import JsonMaterializer, PredictionsMaterializer, TableMaterializer
from steps.private import private
from steps.work_dir import work_dir


@step(
    cache_policy=by_code(__name__),
    output_materializers={
        "r2d_metrics": JsonMaterializer,
        "r2d_predictions": PredictionsMaterializer,
        "r2d_judge_scores": TableMaterializer,
    },
)
@private
def evaluate(
    examples: pa.Table,
    model: Path,
    evaluation: EvaluationConfig,
    data: DataConfig,
    privacy: PrivacyConfig,
    champion: str | None = None,
    label_only: Path | None = None,
    evaluation_files: str | None = None,
    judge_remarks: list[str] | None = None,
) -> tuple[
    Annotated[dict[str, Any], "r2d_metrics"],
    Annotated[pa.Table, "r2d_predictions"],
    Annotated[HTMLString, "r2d_evaluation_report"],
    Annotated[Image, "r2d_confusion_matrix"],
    Annotated[pa.Table, "r2d_judge_scores"],
]:
    """Metrics, the predictions behind them, the report for people, the confusion matrix, and the scores of a judge.

    Where each row has options of its own there is no such matrix; its picture then shows accuracies. Without a judge
    its table is empty.

    Args:
        privacy: what may be sent to a judge.
        champion: `name/version` of the champion, measured on the same rows.
        label_only: a model of method `sft`, measured on the same rows.
        evaluation_files: hash of the files that an evaluation reads; not used here, but part of the cache key.
        judge_remarks: why the scores of a judge may flatter.
    """
    from mlops.page_origin import NEVER_REGISTERED, REGISTERED_LATER, of_folder
    from mlops.registry.looks import look_counter
    from mlops.registry.versions import download
    from r2d.evaluation.evaluate import Champion
    from r2d.evaluation.evaluate import evaluate as measure
    from r2d.evaluation.plots import decisions_picture
    from r2d.reports.origin import pages_of

    context = get_step_context()
    run_name = context.pipeline_run.name
    version = REGISTERED_LATER if context.pipeline.name == "reason2decide" else NEVER_REGISTERED
    with pages_of(of_folder(model, f"that of run {run_name}", version)):
        result = measure(
            examples,
            model,
            config=evaluation,
            data=data,
            champion=None if champion is None else Champion(champion, download(champion)),
            label_only=label_only,
            privacy=privacy,
            work_dir=work_dir("evaluate", content_hash(examples), model_hash(model)),
            count_look=look_counter(f"run {run_name}", model),
            judge_remarks=judge_remarks or (),
        )
    seconds = {"evaluation_seconds": result.seconds["total"], "generation_seconds": result.seconds["generation"]}
    metrics = result.metrics.to_json()
    log_metadata(result.overview() | seconds)
    log_metrics("evaluate", result.metrics.numbers(), metrics)
    picture = decisions_picture(result.metrics, data.labels.names)
    return metrics, result.predictions, HTMLString(result.report), picture, result.judgement.scores
