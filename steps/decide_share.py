"""Decide a share of the parts of a batch inference; `infer_batch` joins them."""

from typing import Annotated

from zenml import log_metadata, step

from r2d.config.jobs import InferenceConfig
from steps.private import private


@step(enable_cache=False)
@private
def decide_share(share: list[int], inference: InferenceConfig) -> Annotated[int, "r2d_decided_rows"]:
    """The rows that this step decided; parts that an earlier run has finished are not decided again.

    Args:
        share: its number and how many there are (`r2d.inference.infer.Share`).
    """
    from mlops.registry.versions import model_folder
    from r2d.inference.infer import Share, infer_share

    num_rows = infer_share(inference, model_folder(inference.model), Share(*share))
    log_metadata({"num_rows": num_rows})
    return num_rows
