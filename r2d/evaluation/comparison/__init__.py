"""Comparison of methods and rationale sources, trained with several seeds and evaluated on the same test rows."""
