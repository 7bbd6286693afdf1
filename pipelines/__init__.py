"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`.

The names here are pipelines, not the modules of the same name: `zenml pipeline run pipelines.comparison` looks here.
"""

from pipelines.batch_inference import batch_inference
from pipelines.comparison import comparison
from pipelines.drift import drift

__all__ = ["batch_inference", "comparison", "drift"]
