"""A Kubernetes cluster in the test's own process; README.md says what it does and what it does not."""
