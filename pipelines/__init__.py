"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`.

`zenml pipeline run pipelines.comparison` takes the attribute of that name from here: the pipeline, not its module. Each
is imported when it is asked for: `r2d retrain` decides without any of their steps, which bring PyTorch along.
"""

from importlib import import_module
from typing import Any

NAMES = ("batch_inference", "comparison", "drift")


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Importing a module sets the attribute of its name to itself; the pipeline is what it stands for here.
    globals()[name] = getattr(import_module(f"{__name__}.{name}"), name)
    return globals()[name]
