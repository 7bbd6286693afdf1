"""Register the model, and say what was trained, how good it is and where to look."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString

from r2d.config import RegistrationConfig


@step(enable_cache=False)
def register_model(
    model: Path,
    metrics: dict[str, Any],
    report: HTMLString,
    provenance: pa.Table,
    registration: RegistrationConfig,
) -> Annotated[dict[str, Any], "r2d_registration"]:
    """The version of the model in the registry, new or found, and the decision of the gate.

    Never cached: it checks that the registry still holds what this run stands for.
    """
    from r2d.registry.gate import judge
    from r2d.registry.summary import summary
    from steps.model_registry import register

    decision = judge(metrics, registration.gate)
    version = register(model, metrics, decision, provenance, registration.model_name)
    facts = {
        "name": version.name,
        "version": version.version,
        "reference": version.reference,
        "aliases": list(version.aliases),
        "is_new": version.is_new,
        "gate_passed": decision.passed,
        "gate_reasons": decision.reasons(),
    }
    log_metadata(facts)
    print(summary(facts, metrics, report_uri=get_step_context().inputs["report"][0].uri))
    return facts
