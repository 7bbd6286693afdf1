"""What a run depends on, recorded on the client before any step: its configuration, files and code."""

from __future__ import annotations

import hashlib
import json

from mlops.code import model_code_hash
from r2d.config.run import RunConfig
from r2d.config.section import Section
from r2d.data.fingerprint import data_fingerprint, file_hashes, files_fingerprint, require_data_files
from r2d.rationales.sources import source_files


class RunRecord(Section):
    """A run and the hashes of what it reads; stored with the model that it registers."""

    run: RunConfig
    data_sha256: str
    """Of the data (`r2d.data.fingerprint.data_fingerprint`)."""
    files_sha256: str
    """Of the auxiliary files."""
    files_read: dict[str, str]
    """Path -> SHA-256 of each file that the run reads (`r2d.data.fingerprint.file_hashes`)."""
    key: str
    """Equal for a repeated run: SHA-256 over everything that the weights and metrics depend on. The sections
    `registration`, `retraining` and `search` do not count: how a model is judged, when, and how its values were found
    changes neither."""

    @classmethod
    def of(cls, run: RunConfig) -> RunRecord:
        """Hash what the run would read now.

        Raises:
            DataError: a file is missing.
        """
        files = auxiliary_files(run)
        require_data_files(run.data, files)
        data_sha256, files_sha256 = data_fingerprint(run.data), files_fingerprint(files)
        config = run.model_dump(mode="json", exclude={"registration", "retraining", "search"})
        facts = json.dumps([config, data_sha256, files_sha256, model_code_hash()], sort_keys=True)
        return cls(
            run=run,
            data_sha256=data_sha256,
            files_sha256=files_sha256,
            files_read=file_hashes(run.data, files),
            key=hashlib.sha256(facts.encode()).hexdigest(),
        )


def auxiliary_files(run: RunConfig) -> list[tuple[str, str]]:
    """Config key and path of every file that a run reads beside its data: rationales, prompts, the reference of the
    data contract, findings, phrases of denial, stress tests, labels of raters, rubric and human scores."""
    return [*run.validation.files(), *source_files(run.rationales.sources), *run.evaluation.files()]
