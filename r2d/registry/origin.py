"""What a registered model was made of: code, locked versions, data, rationales and seeds."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COMMIT_VARIABLE = "R2D_CODE_COMMIT"
"""Names the commit where the code lies without its repository, as in an image; ends in `+dirty` for changed files."""
CODE = ("r2d", "steps", "pipelines", "reason2decide.py", "pyproject.toml", "requirements.lock")


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
    """Of the code that weights and figures depend on, `steps.code.model_code_hash`."""
    num_rows: int | None = None
    """Valid rows of all splits."""
    files_read: dict[str, str] | None = None
    """SHA-256 of each file that the run read, when it began; `r2d.data.fingerprint.file_hashes`."""
    model_files: dict[str, str] | None = None
    """SHA-256 of each file of the model folder."""

    def as_facts(self) -> dict[str, Any]:
        """Its fields, for a JSON file."""
        return asdict(self)


def code_state(root: Path) -> tuple[str | None, bool | None]:
    """The commit of the code at `root`, and whether files of it were changed since."""
    named = os.environ.get(COMMIT_VARIABLE, "").strip()
    if named:
        return named.removesuffix("+dirty"), named.endswith("+dirty")
    top = _git(root, "rev-parse", "--show-toplevel")
    # A copy of the code inside another repository does not have that repository's commit.
    if top is None or Path(top).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", *CODE)
    return (None, None) if commit is None or changed is None else (commit, bool(changed))


def lock_hash(root: Path) -> str | None:
    """SHA-256 of `requirements.lock`."""
    lock = root / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git, no repository, or no commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
