"""What a registered model was made of: code, locked versions, data, rationales and seeds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """All of it as hashes: equal origins make equal models on the same machine."""

    code_commit: str | None
    """None where the code lies in no repository and the environment names none."""
    code_dirty: bool | None
    """Whether files differ from that commit; None where no commit is known."""
    lock_sha256: str | None
    """Of `requirements.lock`; None where it does not lie beside the code."""
    data_sha256: str
    """Of what the run read, `r2d.data.fingerprint.data_fingerprint`."""
    rationales_sha256: str
    """Of the provenance of every rationale that was taken."""
    model_sha256: str
    """Of all files of the model folder."""
    seeds: dict[str, int]
    files_sha256: str | None = None
    """Of the files beside the data: rationales, prompts, the reference of the contract. This and what follows is None
    in versions that were registered before it was kept."""
    sources_sha256: str | None = None
    """Of the code that weights and figures depend on, `mlops.code.model_code_hash`."""
    num_rows: int | None = None
    """Valid rows of all splits."""
    files_read: dict[str, str] | None = None
    """SHA-256 of each file that the run read, when it began; `r2d.data.fingerprint.file_hashes`."""
    model_files: dict[str, str] | None = None
    """SHA-256 of each file of the model folder."""

    def as_facts(self) -> dict[str, Any]:
        """Its fields, for a JSON file."""
        return asdict(self)
