"""Checkpoints from which a killed run resumes: only whole and undamaged ones count, and only those of the same run.

A checkpoint is the Trainer's folder (weights as safetensors, optimiser, scheduler, random states, step and the states
of our callbacks) with tokenizer, label set and resolved config beside it. `complete.json` is written last: the run's
fingerprint, and size and hash of every file. The order of the rows and all draws are functions of seed and step.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.errors import TrainingError
from r2d.training.fingerprint import differences, is_resumable
from r2d.training.ranks import wait_for_all_ranks

if TYPE_CHECKING:
    from r2d.training.methods import Method

logger = logging.getLogger(__name__)

COMPLETE_MARKER = "complete.json"
FORMAT_VERSION = 1
HASHED_BYTES = 1 << 20
"""At each end of a file: what a cut-off or overwritten file cannot keep, read in no time even of gigabytes."""


class CompleteCheckpoint(TrainerCallback):
    """Puts what the Trainer leaves out beside the weights of a checkpoint, then the record that it is whole."""

    def __init__(self, finish: Callable[[Path], None], fingerprint: Mapping[str, Any] | None = None) -> None:
        self.finish = finish
        self.fingerprint = fingerprint or {}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait_for_all_ranks()  # each writes its random state
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / COMPLETE_MARKER).unlink(missing_ok=True)
        self.finish(checkpoint)
        mark_complete(checkpoint, self.fingerprint)


class MethodState(TrainerCallback, ExportableState):
    """Carries what a method keeps in the Trainer's checkpoint, so that a resumed run goes on with it."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            self.method.restore(state.stateful_callbacks[type(self).__name__]["attributes"])

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self.method.state()}


def mark_complete(checkpoint: Path, fingerprint: Mapping[str, Any]) -> None:
    """Record size and hash of every file and the run they belong to: the last thing written to a checkpoint."""
    record = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, "files": _files(checkpoint)}
    aside = checkpoint / (COMPLETE_MARKER + ".partial")
    aside.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(checkpoint / COMPLETE_MARKER)


def latest_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole and undamaged; others are left out with a warning."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint
        logger.warning("checkpoint %s %s and is skipped", checkpoint, fault)
    return None


def checkpoint_to_resume(folder: Path, fingerprint: Mapping[str, Any]) -> Path | None:
    """As `latest_complete_checkpoint`, if it belongs to this very run.

    Raises:
        TrainingError: it was written by another run; says what differs.
    """
    checkpoint = latest_complete_checkpoint(folder)
    if checkpoint is None:
        return None
    theirs = json.loads((checkpoint / COMPLETE_MARKER).read_text(encoding="utf-8"))["fingerprint"]
    differing = differences(theirs, fingerprint)
    harmless = [one for one in differing if is_resumable(one.key)]
    if len(harmless) < len(differing):
        lines = "".join(f"\n  {one}" for one in differing if one not in harmless)
        raise TrainingError(
            f"{checkpoint} was written by another run, so this one cannot go on from it:{lines}\n"
            f"Remove {folder} to train anew, or use another work_dir"
        )
    for one in harmless:
        logger.info("checkpoint %s: %s; goes on all the same", checkpoint, one)
    return checkpoint


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None if nothing is."""
    try:
        record = json.loads((checkpoint / COMPLETE_MARKER).read_text(encoding="utf-8"))
        files, version = record["files"], record["format_version"]
    except FileNotFoundError:
        return "was not written to its end"
    except (OSError, ValueError, KeyError, TypeError):
        return f"has a damaged {COMPLETE_MARKER}"
    if version != FORMAT_VERSION:
        return f"is of format {version}, this version reads {FORMAT_VERSION},"
    found = _files(checkpoint)
    damaged = [name for name, facts in files.items() if found.get(name) != facts]
    return f"is damaged ({', '.join(damaged)})" if damaged else None


def _files(checkpoint: Path) -> dict[str, list[int | str]]:
    """Name -> size and hash of the first and last mebibyte, of all files but the record itself."""
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    own = (COMPLETE_MARKER, COMPLETE_MARKER + ".partial")
    return {
        str(path.relative_to(checkpoint)): [path.stat().st_size, _hash(path)] for path in paths if path.name not in own
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(HASHED_BYTES))
        file.seek(max(file.tell(), path.stat().st_size - HASHED_BYTES))
        digest.update(file.read(HASHED_BYTES))
    return digest.hexdigest()
