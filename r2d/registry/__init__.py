"""Whether a model may be used, and what a person is told about it."""
