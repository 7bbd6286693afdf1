"""The DAGs. Each reads like a paragraph; the work is in `steps/` and `r2d/`."""
