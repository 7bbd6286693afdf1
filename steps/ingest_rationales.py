"""Read the rationales of every source, judge them, and choose those that each stage is trained on."""

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from zenml import log_metadata, save_artifact, step
from zenml.types import HTMLString

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.errors import DataError
from r2d.files import work_root
from steps.cache import by_code
from steps.materializers import TableMaterializer
from steps.private import private


@step(
    cache_policy=by_code(__name__),
    output_materializers={
        "r2d_stage1_examples": TableMaterializer,
        "r2d_stage2_examples": TableMaterializer,
        "r2d_rationale_provenance": TableMaterializer,
        "r2d_rejected_rationales": TableMaterializer,
    },
)
@private
def ingest_rationales(
    examples: pa.Table,
    quarantined: pa.Table,
    rationales: RationalesConfig,
    data: DataConfig,
    privacy: PrivacyConfig,
    sources_fingerprint: str,
) -> tuple[
    Annotated[pa.Table, "r2d_stage1_examples"],
    Annotated[pa.Table, "r2d_stage2_examples"],
    Annotated[pa.Table, "r2d_rationale_provenance"],
    Annotated[pa.Table, "r2d_rejected_rationales"],
    Annotated[dict[str, Any], "r2d_ingestion_result"],
    Annotated[HTMLString, "r2d_ingestion_report"],
]:
    """Examples with the rationales of each stage, where every rationale comes from, what was rejected, and the report.

    Args:
        sources_fingerprint: hash of the files that the sources read; it is not read here, it is part of the cache key.
    """
    from mlops.page_origin import before_training
    from r2d.rationales.ingest import Coverage, ingest
    from r2d.rationales.report import render_ingestion_report
    from r2d.reports.origin import pages_of

    ingestion = ingest(examples, rationales, data=data, privacy=privacy, work_dir=work_root(), quarantined=quarantined)

    def page(stages: Mapping[str, Coverage]) -> HTMLString:
        synthetic = data.format == "synthetic_triage"
        with pages_of(before_training()):
            return HTMLString(render_ingestion_report(ingestion, stages=stages, privacy=privacy, synthetic=synthetic))

    try:
        chosen = ingestion.select(rationales)
    except DataError:
        save_artifact(page({}), name="r2d_ingestion_report_of_a_stopped_run")
        raise
    result = ingestion.result() | {"stages": chosen.coverage}
    log_metadata({name: counts["num_taken"] for name, counts in result["sources"].items()})
    return chosen.stage1, chosen.stage2, chosen.provenance, ingestion.rejected, result, page(chosen.coverage)
