"""One trial of a search: the steps of the main job up to the weights, measured on the validation rows.

`r2d search` runs it, once a trial, over the cache and the checkpoints of the main job.
"""

from typing import Any

from mlops.registry.forgotten import without_forgotten
from mlops.registry.versions import pin_models
from pipelines.outcome import pipeline
from pipelines.training import trained_model
from r2d.config.loading import parse_config
from steps.measure_validation import measure_validation


@pipeline("reason2decide_search_trial", alerts=False)
def search_trial(config: dict[str, Any]) -> None:
    """Nothing is registered, and no step reads a test row's label.

    Args:
        config: the sections of `r2d.config.RunConfig`.
    """
    run = without_forgotten(pin_models(parse_config(config)))
    stage2_model, stage2_examples, _ = trained_model(run)
    measure_validation(stage2_examples, stage2_model, run.data.labels)
