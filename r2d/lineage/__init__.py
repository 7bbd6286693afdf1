"""Lineage: from a registered version back to its files, from a row to the models that saw it, and between versions."""
