"""Reason2Decide: a small language model that decides and explains (arXiv 2512.20074).

A plain library. It knows nothing of ZenML, MLflow or Kubernetes: it takes and returns plain values,
Arrow tables, dataclasses and paths. `steps/` and `pipelines/` wire it into a ZenML pipeline.
"""

__version__ = "0.1.0"
