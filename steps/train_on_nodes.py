"""The command of each pod of a ZenML command step that trains on several nodes: docs/kubernetes.md, "Several nodes".

python -m steps.train_on_nodes WORK_DIR     # WORK_DIR: on a volume that all pods share, as `write_work` has left it
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from r2d.errors import R2DError, TrainingError
from r2d.training.distributed import Node, start_ranks

VARIABLES = (
    "JOB_COMPLETION_INDEX",
    "ZENML_KUBERNETES_POD_COUNT",
    "ZENML_KUBERNETES_MAIN_ADDRESS",
    "ZENML_KUBERNETES_MAIN_PORT",
)
"""Set by Kubernetes, and by the step operator where its `pod_count` is above 1."""


def node_of_pod() -> Node:
    """Which of the nodes this pod is.

    Raises:
        TrainingError: it is none of several.
    """
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise TrainingError(f"not set: {', '.join(missing)}; run this as a command step with pod_count above 1")
    rank, count, address, port = (os.environ[name] for name in VARIABLES)
    return Node(int(rank), int(count), address, int(port))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        start_ranks(Path(sys.argv[1]), node=node_of_pod())
    except R2DError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
