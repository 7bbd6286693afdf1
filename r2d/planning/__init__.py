"""How many rows a study needs, before a model is trained."""
