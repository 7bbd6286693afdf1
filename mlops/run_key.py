"""What a repeated run has in common with the first: its configuration, the files that it reads, its code."""

from __future__ import annotations

import hashlib
import json

from mlops.code import model_code_hash
from r2d.config.run import RunConfig
from r2d.data.fingerprint import data_fingerprint, files_fingerprint
from r2d.rationales.sources import source_files


def key_of(run: RunConfig) -> str:
    """SHA-256 over everything that the weights and metrics of a run depend on.

    The sections `registration` and `retraining` are left out: how a model is judged, and when, changes neither.
    """
    files = [run.validation.files(), source_files(run.rationales.sources)]
    fingerprints = [data_fingerprint(run.data), *map(files_fingerprint, files), model_code_hash()]
    facts = [run.model_dump(mode="json", exclude={"registration", "retraining"}), fingerprints]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
