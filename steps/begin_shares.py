"""Divide the parts of a batch inference among the steps that decide them."""

from typing import Annotated

from zenml import log_metadata, step

from r2d.config.jobs import InferenceConfig
from steps.private import private


@step(enable_cache=False)
@private
def begin_shares(inference: InferenceConfig) -> Annotated[list[list[int]], "r2d_shares"]:
    """Number and count of each share, once the plan of the output is written; none where the output is finished."""
    from mlops.registry.versions import model_folder
    from r2d.inference.infer import begin_shares as begin

    shares = begin(inference, model_folder(inference.model))
    log_metadata({"num_shares": len(shares)})
    return [list(share) for share in shares]
