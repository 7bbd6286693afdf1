"""What a repeated run has in common with the first one."""

from __future__ import annotations

import hashlib
import json

from r2d.config import RunConfig


def run_key(run: RunConfig, *fingerprints: str) -> str:
    """SHA-256 over everything that the weights and figures of a run depend on.

    The sections `registration` and `retraining` are left out: how a model is judged, and when, changes neither.

    Args:
        fingerprints: of the files that it reads and of the code that it runs.
    """
    facts = [run.model_dump(mode="json", exclude={"registration", "retraining"}), fingerprints]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
