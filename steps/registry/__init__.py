"""The MLflow model registry. As a module it is the door that `r2d` looks for (`r2d.registry.door.ModelRegistry`)."""

from steps.registry.aliases import history
from steps.registry.lineage import lineage_facts, row_facts
from steps.registry.promotion import approve, champion_to_compare, rollback
from steps.registry.registration import register
from steps.registry.versions import download, with_pinned_start

__all__ = [
    "approve",
    "champion_to_compare",
    "download",
    "history",
    "lineage_facts",
    "register",
    "rollback",
    "row_facts",
    "with_pinned_start",
]
