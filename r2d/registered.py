"""Names in the registry of models."""

from __future__ import annotations

REGISTERED = "models:/"
"""What a registered version is called by: `models:/name@alias`, `models:/name/version`."""
HISTORY_SUFFIX = ".alias-history"
"""Under this name the registry keeps which version was the champion, and why."""
LOOKS_SUFFIX = ".looks"
"""Under this name it keeps who looked at a test set."""
FORGOTTEN_SUFFIX = ".forgotten"
"""Under this name it keeps whose data must not be used any more."""
RESERVED_SUFFIXES = (HISTORY_SUFFIX, LOOKS_SUFFIX, FORGOTTEN_SUFFIX)
"""Names of what the registry keeps beside models."""
