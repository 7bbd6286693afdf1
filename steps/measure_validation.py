"""Measure a trial of a search on the validation rows."""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
from zenml import log_metadata, step

from r2d.config.data import LabelsConfig
from steps.cache import by_code
from steps.materializers import JsonMaterializer
from steps.private import private


@step(cache_policy=by_code(__name__), output_materializers={"r2d_validation_scores": JsonMaterializer})
@private
def measure_validation(
    examples: pa.Table, model: Path, labels: LabelsConfig
) -> Annotated[dict[str, float], "r2d_validation_scores"]:
    """The scores of `r2d.evaluation.validation.validation_scores`."""
    from r2d.evaluation.validation import validation_scores

    scores = validation_scores(examples, model, labels)
    log_metadata(dict(scores))
    return scores
