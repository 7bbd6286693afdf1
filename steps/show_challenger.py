"""Show the decision of the gate about the version that waits for a person."""

from typing import Annotated

from zenml import log_metadata, step
from zenml.types import HTMLString

from steps.private import private


@step(enable_cache=False)
@private
def show_challenger(model: str) -> tuple[Annotated[str, "r2d_challenger"], Annotated[HTMLString, "r2d_gate_page"]]:
    """The version that is asked about, `name/version`, and the page of its gate.

    Args:
        model: `name/version`, `name@alias`, or `name`: its challenger.
    """
    from mlops.registry.decisions import challenger_page

    reference, page = challenger_page(model)
    log_metadata({"model": reference})
    return reference, HTMLString(page)
