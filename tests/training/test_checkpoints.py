"""Which checkpoints count: whole ones, undamaged ones, and only those of the same run."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r2d.config.training import MethodConfig
from r2d.errors import TrainingError
from r2d.training import checkpoints
from r2d.training.checkpoints import (
    COMPLETE_MARKER,
    HASHED_BYTES,
    checkpoint_to_resume,
    latest_complete_checkpoint,
    mark_complete,
)
from r2d.training.fingerprint import run_fingerprint
from tests.conftest import TOY_LABELS, toy_examples
from tests.training.killed_run import MODEL, STAGE2

FILES = {"model.safetensors": 4000, "optimizer.pt": 3000, "trainer_state.json": 200, "nested/rng_state.pth": 50}
FINGERPRINT = {"stage": "stage 2", "training": {"learning_rate": 0.001, "patience": 3, "save_every_steps": 5}}


def write_checkpoint(folder: Path, step: int, fingerprint: dict[str, Any] = FINGERPRINT) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    for name, size in FILES.items():
        path = checkpoint / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes((step + place) % 251 for place in range(size)))
    mark_complete(checkpoint, fingerprint)
    return checkpoint


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*FILES, COMPLETE_MARKER]),
    damage=st.sampled_from(["cut off", "emptied", "removed", "one byte changed", "longer"]),
    place=st.floats(0, 1, exclude_max=True),
)
def test_a_checkpoint_with_any_damaged_file_is_skipped_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str, place: float
) -> None:
    shutil.rmtree(tmp_path)
    caplog.clear()
    before, newest = write_checkpoint(tmp_path, 5), write_checkpoint(tmp_path, 10)
    assert latest_complete_checkpoint(tmp_path) == newest
    file = newest / name
    content = file.read_bytes()
    at = int(place * len(content))
    if damage == "removed":
        file.unlink()
    else:
        changed = {
            "cut off": content[:at],
            "emptied": b"",
            "one byte changed": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
            "longer": content + b"more",
        }
        file.write_bytes(changed[damage])
    with caplog.at_level(logging.WARNING):
        chosen = latest_complete_checkpoint(tmp_path)
    if name == COMPLETE_MARKER and chosen == newest:
        # A byte of the fingerprint: the files are sound, and it is compared where the run resumes.
        assert json.loads(file.read_text())["files"] == json.loads(content)["files"]
        return
    assert chosen == before
    assert f"checkpoint {newest} " in caplog.text
    assert "is skipped" in caplog.text


def test_the_ends_of_a_large_file_are_read_and_not_all_of_it(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 5)
    size = 3 * HASHED_BYTES + 7
    for place in (0, HASHED_BYTES - 1, size - HASHED_BYTES, size - 1):
        content = bytearray(size)
        (checkpoint / "model.safetensors").write_bytes(content)
        mark_complete(checkpoint, FINGERPRINT)
        assert latest_complete_checkpoint(tmp_path) == checkpoint
        content[place] = 1
        (checkpoint / "model.safetensors").write_bytes(content)
        assert latest_complete_checkpoint(tmp_path) is None


def test_there_is_no_record_until_everything_else_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(checkpoint: Path) -> None:
        raise KeyboardInterrupt

    checkpoint = write_checkpoint(tmp_path, 10)
    callback = checkpoints.CompleteCheckpoint(cut_off, FINGERPRINT)
    state = type("State", (), {"global_step": 10, "is_world_process_zero": True})()
    with pytest.raises(KeyboardInterrupt):
        callback.on_save(type("Arguments", (), {"output_dir": str(tmp_path)})(), state, None)
    assert not (checkpoint / COMPLETE_MARKER).exists(), "the record of an older writing must not vouch for this one"
    assert latest_complete_checkpoint(tmp_path) is None


def test_a_checkpoint_of_another_run_is_refused_with_key_and_both_values(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 5)
    now = {"stage": "stage 2", "training": FINGERPRINT["training"] | {"learning_rate": 0.005, "patience": 9}, "new": 1}
    with pytest.raises(TrainingError) as raised:
        checkpoint_to_resume(tmp_path, now)
    assert str(raised.value) == (
        f"{checkpoint} was written by another run, so this one cannot go on from it:\n"
        "  training.learning_rate: 0.001 in the checkpoint, 0.005 now\n"
        "  new: 'absent' in the checkpoint, 1 now\n"
        f"Remove {tmp_path} to train anew, or use another work_dir"
    )


def test_what_cannot_have_changed_the_run_so_far_may_differ_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = write_checkpoint(tmp_path, 5)
    now = FINGERPRINT | {"training": {"learning_rate": 0.001, "patience": 9, "save_every_steps": 7}}
    with caplog.at_level(logging.INFO):
        assert checkpoint_to_resume(tmp_path, now) == checkpoint
    assert "training.patience: 3 in the checkpoint, 9 now; goes on all the same" in caplog.text
    assert "training.save_every_steps: 5 in the checkpoint, 7 now" in caplog.text


def other_notes(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"train": toy_examples(seed=1)}


def other_weights(arguments: dict[str, Any]) -> dict[str, Any]:
    import torch

    network = torch.nn.Linear(3, 2)
    with torch.no_grad():
        network.weight[0, 0] = 7.0
    return {"network": network}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda _: {"training": STAGE2.model_copy(update={"seed": 1})}, "training.seed"),
        (lambda _: {"model": MODEL.model_copy(update={"max_input_tokens": 40})}, "model.max_input_tokens"),
        (lambda _: {"labels": TOY_LABELS.model_copy(update={"ordered": False})}, "labels.ordered"),
        (lambda _: {"method": MethodConfig(name="r2d_c")}, "method.name"),
        (lambda _: {"stage": "stage 1"}, "stage"),
        (other_notes, "data.train"),
        (other_weights, "start.weights"),
    ],
)
def test_the_fingerprint_sees_everything_that_a_run_depends_on(
    change: Callable[[dict[str, Any]], dict[str, Any]], key: str, stage1_model: Path
) -> None:
    import torch

    from r2d.modeling.load import load_pretrained
    from r2d.training.fingerprint import differences

    _, tokenizer = load_pretrained(str(stage1_model))
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "stage": "stage 2", "training": STAGE2, "model": MODEL, "labels": TOY_LABELS, "method": MethodConfig(),
        "train": toy_examples(), "validation": toy_examples(20), "network": torch.nn.Linear(3, 2),
        "tokenizer": tokenizer,
    }  # fmt: skip
    ours = run_fingerprint(**arguments)
    assert run_fingerprint(**arguments) == ours == json.loads(json.dumps(ours))
    theirs = run_fingerprint(**arguments | change(arguments))
    assert [one.key for one in differences(theirs, ours)] == [key]
    assert set(ours["versions"]) >= {"torch", "transformers"}
