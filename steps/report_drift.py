"""Compare decided calls with the reference of their model."""

from typing import Annotated, Any

from zenml import log_metadata, step
from zenml.types import HTMLString

from r2d.config.jobs import DriftConfig
from steps.private import private


@step(enable_cache=False)
@private
def report_drift(
    drift: DriftConfig,
) -> tuple[Annotated[dict[str, Any], "r2d_drift"], Annotated[HTMLString, "r2d_drift_report"]]:
    """The facts for a trigger, `drifted` and its reasons among them, and the page for people.

    Never cached: its inputs lie outside of ZenML and may have changed under the same name.
    """
    from mlops.alerts import calls_drifted
    from mlops.page_origin import of_reference, origin_now
    from mlops.registry.versions import model_folder
    from r2d.drift.report import report_drift as report
    from r2d.reports.origin import pages_of

    with pages_of(origin_now() if drift.reference else of_reference(drift.model)):
        result, page = report(drift, None if drift.reference else model_folder(drift.model))
    calls_drifted(result)
    facts = result.to_json()
    log_metadata({name: facts[name] for name in ("drifted", "reasons", "num_rows", "num_decided", "num_handed_over")})
    return facts, HTMLString(page)
