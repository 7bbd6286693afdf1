"""A Kubernetes control plane of real processes; README.md says what it does and what it does not."""
