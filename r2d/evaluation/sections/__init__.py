"""The sections of `metrics.json` as frozen dataclasses, one module for each; fields are named as the keys of the JSON.

`None` and 0 rows mean that something was not measured, never that it is 0. Rates and shares are fractions of 1.
"""
