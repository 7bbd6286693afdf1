"""Drift without labels: a batch of decided calls against what the model was trained and evaluated on."""
