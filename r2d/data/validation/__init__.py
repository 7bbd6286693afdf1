"""Holds the examples against the data contract: what a row must be, what a table should be, what becomes of the rest.

`validate` is the door. The expectations are one Great Expectations suite over measures of the rows (`measures`), never
over the notes themselves, so that no result can quote one.
"""

from r2d.data.validation.checks import Check
from r2d.data.validation.validate import QUARANTINE_SCHEMA, Validation, validate

__all__ = ["QUARANTINE_SCHEMA", "Check", "Validation", "validate"]
