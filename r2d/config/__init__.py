"""The one schema of a run: what a YAML under `configs/` may say, its defaults and its limits.

Defaults are the published hyper-parameters (arXiv 2512.20074). Everything is checked on the client, before anything
heavy is imported; `r2d check` does just that. Each section has a module of its own and is imported from there, so that
a step depends on the sections that it is given and on no other.
"""
