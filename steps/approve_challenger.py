"""Make the version that a person approved the champion, as `r2d approve` does."""

from dataclasses import asdict
from typing import Annotated, Any

from zenml import get_step_context, log_metadata, step
from zenml.client import Client

from steps.private import private


@step(enable_cache=False)
@private
def approve_challenger(challenger: str, reason: str) -> Annotated[dict[str, Any], "r2d_approval"]:
    """The change of the aliases, in the name of the ZenML user who answered.

    Args:
        challenger: `name/version`; where another champion came meanwhile, nothing is changed and the step fails.
        reason: what that person answered.
    """
    from mlops.registry.decisions import approve

    client, run = Client(), get_step_context().pipeline_run
    (condition,) = client.list_run_wait_conditions(pipeline_run=run.id, name="approval", hydrate=True).items
    by = condition.resolved_by_user_id
    person = "unknown" if by is None else client.get_user(by).name
    change = asdict(approve(challenger, by=person, reason=" ".join(reason.split()) or "no reason was given").change)
    log_metadata({"approved": challenger, "by": person})
    return change
