"""Hold the examples against the data contract before anything is trained on them."""

from typing import Annotated

import pyarrow as pa
from zenml import log_metadata, step
from zenml.types import HTMLString

from r2d.config import LabelsConfig
from steps.cache import by_sources
from steps.materializers import TableMaterializer


@step(cache_policy=by_sources(__name__), output_materializers={"r2d_valid_examples": TableMaterializer})
def validate_examples(
    examples: pa.Table, labels: LabelsConfig
) -> tuple[Annotated[pa.Table, "r2d_valid_examples"], Annotated[HTMLString, "r2d_data_report"]]:
    """The same examples and a report; a broken contract stops the run."""
    from r2d.data.validation import validate

    report = validate(examples, labels)
    log_metadata({"num_expectations": len(report.checks), "num_warnings": report.num_warnings})
    return examples, HTMLString(report.html())
