"""ZenML steps: thin adapters that unpack, call one `r2d` function, log metadata and return typed artifacts."""
