"""Which checkpoints count: whole ones, undamaged ones, and only those of the same run."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.errors import TrainingError
from r2d.files import write_json
from r2d.modeling.load import load_pretrained
from r2d.modeling.manifest import MANIFEST_FILE, write_manifest
from r2d.text import changed_values
from r2d.training.checkpointing import (
    RUN_FILE,
    CompleteCheckpoint,
    checkpoint_to_resume,
    latest_complete_checkpoint,
)
from r2d.training.work import StageWork, read_work, run_fingerprint, write_work
from tests.conftest import changed, toy_examples

FILES = {"model.safetensors": 4000, "optimizer.pt": 3000, "trainer_state.json": 200, "nested/rng_state.pth": 50}
FINGERPRINT = {"stage": "stage 2", "training": {"learning_rate": 0.001, "patience": 3, "save_every_steps": 5}}


def write_checkpoint(folder: Path, step: int, fingerprint: dict[str, Any] = FINGERPRINT) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    for name, size in FILES.items():
        path = checkpoint / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes((step + place) % 251 for place in range(size)))
    write_json(checkpoint / RUN_FILE, fingerprint)
    write_manifest(checkpoint)
    return checkpoint


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*FILES, RUN_FILE, MANIFEST_FILE]),
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
    if name == MANIFEST_FILE and chosen == newest:
        # A line break, say.
        assert json.loads(file.read_text()) == json.loads(content)
        return
    assert chosen == before
    assert f"checkpoint {newest} " in caplog.text
    assert "is skipped" in caplog.text


def test_a_byte_in_the_middle_of_a_large_file_is_seen(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 5)
    content = bytearray(3 << 20)
    (checkpoint / "model.safetensors").write_bytes(content)
    write_manifest(checkpoint)
    assert latest_complete_checkpoint(tmp_path) == checkpoint
    content[len(content) // 2] = 1
    (checkpoint / "model.safetensors").write_bytes(content)
    assert latest_complete_checkpoint(tmp_path) is None


def test_there_is_no_record_until_everything_else_is_written(tmp_path: Path) -> None:
    def cut_off(checkpoint: Path) -> None:
        raise KeyboardInterrupt

    checkpoint = write_checkpoint(tmp_path, 10)
    callback = CompleteCheckpoint(cut_off, FINGERPRINT)
    state = SimpleNamespace(global_step=10, is_world_process_zero=True)
    with pytest.raises(KeyboardInterrupt):
        callback.on_save(SimpleNamespace(output_dir=str(tmp_path)), state, None)
    assert not (checkpoint / MANIFEST_FILE).exists(), "the record of an older writing must not vouch for this one"
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


def test_the_fingerprint_sees_every_part_of_a_work(work: StageWork[Stage2Config], stage1_model: Path) -> None:
    model, tokenizer = load_pretrained(str(stage1_model))

    def fingerprint(work: StageWork[Any]) -> Any:
        validation = toy_examples(20)
        return run_fingerprint(work, train=work.examples, validation=validation, model=model, tokenizer=tokenizer)

    work = replace(work, method=MethodConfig())
    ours = fingerprint(work)
    assert fingerprint(work) == ours == json.loads(json.dumps(ours))
    assert set(ours["versions"]) >= {"torch", "transformers"}
    for other, key in (
        (changed(work, seed=1), "training.seed"),
        (replace(work, model=work.model.model_copy(update={"max_input_tokens": 40})), "model.max_input_tokens"),
        (replace(work, labels=work.labels.model_copy(update={"ordered": False})), "labels.ordered"),
        (replace(work, method=MethodConfig(name="r2d_c")), "method.name"),
        (replace(work, examples=toy_examples(seed=1)), "data.train"),
    ):
        assert list(changed_values(fingerprint(other), ours)) == [key]
    assert "stage" in list(changed_values(fingerprint(replace(work, config=Stage1Config())), ours))
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    assert list(changed_values(fingerprint(work), ours)) == ["start.weights"]


def test_a_work_comes_back_from_its_folder_as_it_was_written(
    work: StageWork[Stage2Config], stage1_config: Stage1Config
) -> None:
    for written in (
        replace(work, method=MethodConfig(name="dss")),
        replace(work, config=stage1_config, stage1_model=None, start_folder=Path("model")),
    ):
        write_work(written)
        assert read_work(work.work_dir) == written
