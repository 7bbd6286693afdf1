"""Choose the rationales that each stage is trained on."""

from typing import Annotated, Any

import pyarrow as pa
from zenml import log_metadata, step

from r2d.config import RationalesConfig
from steps.cache import by_sources
from steps.materializers import TableMaterializer


@step(
    cache_policy=by_sources(__name__),
    output_materializers={"r2d_stage1_examples": TableMaterializer, "r2d_stage2_examples": TableMaterializer},
)
def ingest_rationales(
    examples: pa.Table, rationales: RationalesConfig
) -> tuple[
    Annotated[pa.Table, "r2d_stage1_examples"],
    Annotated[pa.Table, "r2d_stage2_examples"],
    Annotated[dict[str, Any], "r2d_ingestion_report"],
]:
    """Examples with the rationales of Stage 1, the same with those of Stage 2, and how many rows have one."""
    from r2d.rationales.choose import choose_rationales, coverage

    stage1_source, stage2_source = rationales.stage1_source, rationales.stage2_source or rationales.stage1_source
    stage1 = choose_rationales(examples, stage1_source)
    stage2 = choose_rationales(examples, stage2_source)
    report = {"stage1": coverage(stage1), "stage2": coverage(stage2)}
    log_metadata({"stage1_source": stage1_source, "stage2_source": stage2_source})
    return stage1, stage2, report
