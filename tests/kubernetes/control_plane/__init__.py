"""A Kubernetes control plane of real processes; README.md says what it does and what it does not."""

from tests.kubernetes.control_plane.control_plane import RealControlPlane
from tests.kubernetes.control_plane.processes import obstacle

__all__ = ["RealControlPlane", "obstacle"]
