"""The MLflow model registry: registered versions, their aliases and the history of these."""

from mlops.registry.aliases import history
from mlops.registry.promotion import approve, champion_to_compare, rollback
from mlops.registry.registration import register
from mlops.registry.versions import download, model_folder, start_folder, with_pinned_start

__all__ = [
    "approve",
    "champion_to_compare",
    "download",
    "history",
    "model_folder",
    "register",
    "rollback",
    "start_folder",
    "with_pinned_start",
]
