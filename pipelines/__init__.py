"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`.

`zenml pipeline run pipelines.comparison` takes the attribute of that name from here: the pipeline, not its module.
"""

from pipelines.batch_inference import batch_inference
from pipelines.comparison import comparison
from pipelines.drift import drift

__all__ = ["batch_inference", "comparison", "drift"]
