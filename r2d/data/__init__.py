"""From files to examples: readers, splits, the shipped synthetic triage calls, validation."""
