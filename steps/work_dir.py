"""Where a stage keeps its checkpoints while it trains, so that the next run of the same work resumes from them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from steps.cache import sources_hash


def work_dir(module_name: str, *parts: BaseModel | str) -> Path:
    """A folder in `work_root` named after everything the work depends on: data, config, start weights and sources."""
    described: list[Any] = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    described.append(sources_hash(module_name))
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    root = work_root()
    _remove_finished(root)
    folder = root / f"{module_name.rsplit('.', 1)[-1]}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def work_root() -> Path:
    """`R2D_WORK_DIR` (on a cluster: a mounted volume), by default a folder in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("R2D_WORK_DIR") or Path(cache) / "reason2decide")


def _remove_finished(root: Path) -> None:
    """Remove folders whose stage ended more than an hour ago: their result has been stored as an artifact since."""
    for folder in root.glob("train_stage*-*"):
        ended = (folder / "best").is_dir() and not (folder / "checkpoints").exists()
        if ended and time.time() - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)
