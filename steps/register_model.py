"""Register the model, let the gate decide, and say what was trained, how good it is and where to look."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from PIL.Image import Image
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString, MarkdownString

from mlops.run_record import RunRecord
from r2d.evaluation.metrics import Metrics
from steps.private import private


@step(enable_cache=False)
@private
def register_model(
    model: Path,
    metrics: dict[str, Any],
    report: HTMLString,
    predictions: pa.Table,
    examples: pa.Table,
    provenance: pa.Table,
    record: RunRecord,
) -> tuple[
    Annotated[dict[str, Any], "r2d_registration"],
    Annotated[dict[str, Any], "r2d_gate_decision"],
    Annotated[HTMLString, "r2d_gate_page"],
    Annotated[Image, "r2d_gate_picture"],
    Annotated[MarkdownString, "r2d_model_card"],
    Annotated[MarkdownString, "r2d_alias_history"],
]:
    """The version of the model in the registry, new or found, the decision of the gate as data, page and picture, the
    model card, and every change of champion and challenger.

    Never cached: it checks that the registry still holds what this run stands for, and repairs what is missing.
    """
    from mlops.page_origin import of_folder
    from mlops.registry.aliases import history
    from mlops.registry.package import TrainedModel
    from mlops.registry.registration import link_zenml_version, register
    from mlops.registry.summary import summary

    measured, context = Metrics.from_json(metrics), get_step_context()
    registered = register(TrainedModel(model, record, measured, examples, provenance, predictions))
    link_zenml_version(
        registered,
        record,
        pipeline_run=context.pipeline_run.id,
        artifacts=[artifact.id for several in context.inputs.values() for artifact in several],
    )
    registration = registered.to_json()
    log_metadata(registration)
    log_metadata(
        metadata={
            "model": f"{registered.name}/{registered.version}",
            "gate": registered.decision.outcome,
            "alias": registered.transition.reason,
        },
        run_id_name_or_prefix=context.pipeline_run.id,
    )
    report_uri, data_format = context.inputs["report"][0].uri, record.run.data.format
    print(summary(registered, measured, report_uri=report_uri, data_format=data_format))
    origin = of_folder(model, registered.name, registered.version).line()
    changes = [f"- {change.at}: {change.sentence()}" for change in reversed(history(registered.name))]
    card_body = registered.card.split("---\n", 2)[2]  # without its metadata, which Markdown would show as text
    return (
        dict(registration),
        registered.decision.to_json(),
        HTMLString(registered.page),
        registered.picture,
        MarkdownString(f"{origin}\n\n{card_body}"),
        MarkdownString(f"# {registered.name}: champion and challenger\n\n{origin}\n\n" + "\n".join(changes)),
    )
