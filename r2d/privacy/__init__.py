"""Find and redact text that identifies a person. A net with holes: it replaces no de-identification.

`find` reads an Arrow column of notes and says where identifiers stand, without repeating them; `redact_together` puts
typed placeholders such as `[PHONE_1]` in their place, the same one for the same value in all texts of one example.
"""

from r2d.privacy.finding import FINDINGS_SCHEMA, Finding, findings_by_row
from r2d.privacy.redaction import Placeholders, redact, redact_together
from r2d.privacy.scan import find

__all__ = [
    "FINDINGS_SCHEMA",
    "Finding",
    "Placeholders",
    "find",
    "findings_by_row",
    "redact",
    "redact_together",
]
