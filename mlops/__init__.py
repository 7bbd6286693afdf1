"""What touches ZenML's client, MLflow or Kubernetes outside of a step, and the command line."""
