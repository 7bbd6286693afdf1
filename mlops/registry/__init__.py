"""The MLflow model registry: registered versions, their aliases, and how a model gets there."""
