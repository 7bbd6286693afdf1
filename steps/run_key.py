"""What a repeated run has in common with the first: its configuration, the files that it reads, its code."""

from __future__ import annotations

from r2d.config import RunConfig
from r2d.data.fingerprint import data_fingerprint, files_fingerprint
from r2d.rationales.sources import source_files
from r2d.registry.run_key import run_key
from steps.cache import sources_hash

MEASURED_STEPS = (
    "load_examples", "validate_examples", "ingest_rationales", "train_stage1", "train_stage2", "evaluate",
)  # fmt: skip
"""Every step of the main job that the weights and figures of a model depend on."""


def key_of(run: RunConfig) -> str:
    """The key of a run of the main job, from the sources of its steps: none of them is imported."""
    files = [run.validation.files(), source_files(run.rationales.sources)]
    return run_key(
        run,
        data_fingerprint(run.data),
        *(files_fingerprint(some) for some in files),
        *(sources_hash(f"steps.{name}") for name in MEASURED_STEPS),
    )
