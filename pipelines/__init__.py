"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`.

`zenml pipeline run pipelines.comparison` takes the attribute of that name from here: the pipeline, not its module.
"""

from pipelines.comparison import comparison

__all__ = ["comparison"]
