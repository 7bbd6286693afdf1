"""Decide and explain a file of calls."""

from dataclasses import asdict
from typing import Annotated, Any

from zenml import log_metadata, step

from r2d.config.jobs import InferenceConfig
from steps.private import private


@step(enable_cache=False)
@private
def infer_batch(inference: InferenceConfig) -> Annotated[dict[str, Any], "r2d_batch_inference"]:
    """What the output holds: its place, the model, the rows, how many were handed over and why.

    Never cached: the output lies outside of ZenML, and one that is finished already costs only a look at it.
    """
    from mlops.registry.versions import model_folder
    from r2d.inference.infer import infer_file

    result = infer_file(inference, model_folder(inference.model))
    facts = asdict(result)
    log_metadata({name: value for name, value in facts.items() if value is not None})
    return facts
