"""Register the model, let the gate decide, and say what was trained, how good it is and where to look."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString, MarkdownString

from r2d.config.run import RunConfig
from r2d.evaluation.metrics import Metrics


@step(enable_cache=False)
def register_model(
    model: Path,
    metrics: dict[str, Any],
    report: HTMLString,
    predictions: pa.Table,
    examples: pa.Table,
    provenance: pa.Table,
    run: RunConfig,
    data_sha256: str,
    files_read: dict[str, str],
    run_key: str,
) -> tuple[
    Annotated[dict[str, Any], "r2d_registration"],
    Annotated[dict[str, Any], "r2d_gate_decision"],
    Annotated[HTMLString, "r2d_gate_page"],
    Annotated[Image, "r2d_gate_picture"],
    Annotated[MarkdownString, "r2d_model_card"],
]:
    """The version of the model in the registry, new or found, and the decision of the gate as data, page and picture.

    Never cached: it checks that the registry still holds what this run stands for, and repairs what is missing.

    Args:
        run: the whole configuration; it is stored with the model.
        data_sha256: of what the run read.
        files_read: of each file that it read.
        run_key: what a repeated run has in common with this one.
    """
    from mlops.registry.registration import register
    from mlops.registry.summary import summary
    from mlops.registry.zenml_versions import link_zenml_version

    registered = register(
        model,
        run,
        metrics,
        examples=examples,
        provenance=provenance,
        predictions=predictions,
        data_sha256=data_sha256,
        files_read=files_read,
        run_key=run_key,
    )
    context = get_step_context()
    link_zenml_version(
        registered,
        pipeline_run=context.pipeline_run.id,
        artifacts=[artifact.id for several in context.inputs.values() for artifact in several],
    )
    facts = registered.as_facts()
    log_metadata(facts)
    log_metadata(
        metadata={
            "model": f"{registered.name}/{registered.version}",
            "gate": registered.decision.outcome,
            "alias": registered.transition.reason,
        },
        run_id_name_or_prefix=context.pipeline_run.id,
    )
    print(summary(facts, Metrics.from_json(metrics), report_uri=context.inputs["report"][0].uri))
    return (
        facts,
        registered.decision.to_json(),
        HTMLString(registered.page),
        registered.picture,
        MarkdownString(registered.card.split("---\n", 2)[2]),  # without the head, which Markdown would show as text
    )
