"""Measure what a language model answered of the test rows, without any training."""

from typing import Annotated, Any

import pyarrow as pa
from zenml import log_metadata, step

from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from steps.cache import by_code
from steps.materializers import JsonMaterializer, TableMaterializer
from steps.private import private


@step(
    cache_policy=by_code(__name__),
    output_materializers={"r2d_metrics": JsonMaterializer, "r2d_predictions": TableMaterializer},
)
@private
def measure_zero_shot(
    examples: pa.Table,
    provenance: pa.Table,
    rejected: pa.Table,
    source: str,
    num_examples: int,
    evaluation: EvaluationConfig,
    data: DataConfig,
) -> tuple[Annotated[dict[str, Any], "r2d_metrics"], Annotated[pa.Table, "r2d_predictions"]]:
    """The metrics of the answers of a rationale source, and the table behind them.

    Args:
        provenance, rejected: of `ingest_rationales`: what became of every record.
        num_examples: solved training rows in each prompt.
    """
    from r2d.evaluation.comparison.zero_shot import measure_zero_shot as measure

    metrics, predictions = measure(
        examples, provenance, rejected, source, num_examples=num_examples, config=evaluation, data=data
    )
    figures = {name: metrics["label"][name] for name in ("accuracy", "macro_f1", "invalid_label_rate")}
    log_metadata({name: figure for name, figure in figures.items() if figure is not None})
    return metrics, predictions
