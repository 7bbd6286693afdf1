"""Where a stage keeps its checkpoints while it trains, so that the next run of the same work resumes from them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlops.code import step_code_hash
from r2d.config.training import StageConfig
from r2d.files import work_root
from r2d.training.work import stage_identity

SECONDS_KEPT = 3600
"""Of the folder of a stage that has ended: its result has been stored as an artifact since."""


def stage_work_dir(step_name: str, config: StageConfig, *parts: BaseModel | str) -> Path:
    """A folder in `work_root` for the work of a stage, named by data, start weights, method, model and code.

    Keys that may change while a stage goes on from its checkpoint (`RESUMABLE_KEYS`) are not in the name, so that a run
    that ended out of memory finds its checkpoint again. The checkpoint's own fingerprint decides.

    Args:
        parts: hashes of data and start weights, and the sections that decide the weights.
    """
    for folder in work_root().glob("train_stage*-*"):
        is_finished = (folder / "best").is_dir() and not (folder / "checkpoints").exists()
        if is_finished and time.time() - folder.stat().st_mtime > SECONDS_KEPT:
            shutil.rmtree(folder, ignore_errors=True)
    values: list[Any] = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return work_dir(step_name, *values, stage_identity(config), step_code_hash(step_name))


def work_dir(step_name: str, *parts: Any) -> Path:
    """A folder in `work_root` named by the hash of JSON values; the next run with the same values finds it again."""
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    folder = work_root() / f"{step_name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
