"""The approval of a challenger as a node of a DAG: the run shows the decision of the gate, then waits for a person.

zenml pipeline run pipelines.approval.approval
"""

from zenml import pipeline, wait

from steps.approve_challenger import approve_challenger
from steps.show_challenger import show_challenger

SECONDS_UNTIL_PAUSED = 600
"""From then on the run is paused, and takes no process until `zenml pipeline runs resume`."""


@pipeline(dynamic=True, name="reason2decide_approval", enable_cache=False)
def approval(model: str = "reason2decide") -> None:
    """A person answers in the dashboard, or by `zenml pipeline runs wait-conditions resolve`, with the reason; whoever
    aborts changes nothing.

    Args:
        model: `name/version`, or a name: its challenger.
    """
    challenger, _ = show_challenger(model)
    reason = wait(
        schema=str,
        question=f"Make {challenger.load()} the champion? Continue with the reason as a text, or abort.",
        timeout=SECONDS_UNTIL_PAUSED,
        name="approval",
    )
    approve_challenger(challenger, reason)
