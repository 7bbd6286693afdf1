"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`.

`zenml pipeline run pipelines.comparison` looks for the name in this package: here it is the pipeline, not its module.
"""

from pipelines.comparison import comparison
from pipelines.inference import batch_inference, drift

__all__ = ["batch_inference", "comparison", "drift"]
