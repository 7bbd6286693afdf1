"""Step that holds the examples against the data contract before anything is trained on them."""

from functools import partial
from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import log_metadata, save_artifact, step
from zenml.types import HTMLString

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.validation import ValidationConfig
from r2d.errors import DataError
from steps.cache import by_code
from steps.materializers import TableMaterializer
from steps.private import private


@step(
    cache_policy=by_code(__name__),
    output_materializers={
        "r2d_valid_examples": TableMaterializer,
        "r2d_quarantine": TableMaterializer,
    },
)
@private
def validate_examples(
    examples: pa.Table,
    findings: pa.Table,
    validation: ValidationConfig,
    labels: LabelsConfig,
    model: ModelConfig,
    reference_fingerprint: str,
    refuse_seen_rows: bool = True,
) -> tuple[
    Annotated[pa.Table, "r2d_valid_examples"],
    Annotated[pa.Table, "r2d_quarantine"],
    Annotated[dict[str, Any], "r2d_data_result"],
    Annotated[HTMLString, "r2d_data_report"],
    Annotated[Image, "r2d_data_picture"],
    Annotated[dict[str, Any], "r2d_expectation_suites"],
    Annotated[dict[str, Any], "r2d_expectation_results"],
]:
    """The rows that go on, those that do not with the reasons, the report, and the suites of Great Expectations with
    their results; a broken contract stops the run.

    Args:
        examples, findings: of `load_examples`.
        reference_fingerprint: hash of the file `validation.reference`; not read here, but part of the cache key.
        refuse_seen_rows: whether the run stops where the model that it starts from had seen test rows.
    """
    from mlops.page_origin import before_training, reads_invented_calls
    from mlops.registry.versions import start_folder
    from r2d.data.validation.plots import data_picture
    from r2d.data.validation.report import render_data_report
    from r2d.data.validation.validate import validate
    from r2d.modeling.load import count_tokens
    from r2d.modeling.seen_rows import require_unseen_test
    from r2d.reports.origin import pages_of

    start = start_folder(model)
    counter = partial(count_tokens, model=model, labels=labels, start_folder=start)
    outcome = validate(examples, validation, labels=labels, findings=findings, count_tokens=counter)
    with pages_of(before_training()):
        page = render_data_report(outcome, privacy=validation.privacy, synthetic=reads_invented_calls())
    result, report = outcome.result(), HTMLString(page)
    log_metadata({name: value for name, value in result.items() if name.startswith("num_")})
    try:
        outcome.raise_for_errors()
    except DataError:
        save_artifact(report, name="r2d_data_report_of_a_stopped_run")
        raise
    require_unseen_test(outcome.examples, start, name=model.name, refuse=refuse_seen_rows)
    return (
        outcome.examples,
        outcome.quarantined,
        result,
        report,
        data_picture(outcome),
        outcome.expectation_suites(),
        outcome.expectation_results(),
    )
