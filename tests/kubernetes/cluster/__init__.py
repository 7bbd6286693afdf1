"""A Kubernetes cluster in the test's own process; README.md says what it does and what it does not."""

from tests.kubernetes.cluster.cluster import CONTEXT, Cluster, node
from tests.kubernetes.cluster.launches import Image

__all__ = ["CONTEXT", "Cluster", "Image", "node"]
