"""A real model, a real kill: a few thousand calls, killed twice, end with the bytes of a run never killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest

from r2d.modeling.manifest import MANIFEST_FILE, write_manifest
from r2d.modeling.model_folder import Calibration, write_calibration
from r2d.modeling.predictor import Predictor
from tests import warm
from tests.inference.keyword_predictor import write_calls

ROOT = Path(__file__).resolve().parents[2]
NUM_ROWS, ROWS_PER_PART = 2000, 400

pytestmark = pytest.mark.slow


def predict_file(calls: Path, out: Path, model: Path, *, killed_at: str = "-") -> CompletedProcess[str]:
    command = ["python", "-m", "tests.inference.killed_inference", killed_at, str(calls)]
    command += ["--out", str(out), "--model", str(model), "--rows-per-part", str(ROWS_PER_PART), "--batch-size", "64"]
    return warm.run(command, cwd=ROOT, environment=os.environ | {"PYTHONPATH": str(ROOT)})


def test_killed_while_deciding_and_while_joining_nothing_is_lost_and_no_bit_is_different(
    stage2_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in stage2_model.iterdir():
        (model / file.name).symlink_to(file)
    facts = {"format_version": 1, "temperature": {"value": 2.0}, "selective": {"threshold": 0.5}}
    write_calibration(model, Calibration(facts))
    (model / MANIFEST_FILE).unlink()
    write_manifest(model)
    findings = ("chest pain", "fever", "cough", "rash")
    rows = [
        {"id": f"c{n}", "text": f"pt {'denies' if n % 3 else 'reports'} {findings[n % 4]} for {n % 90} days"}
        for n in range(NUM_ROWS)
    ]
    calls = write_calls(tmp_path / "calls.jsonl", rows)
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    undisturbed = predict_file(calls, whole, model)
    assert undisturbed.returncode == 0, undisturbed.stderr[-2000:]
    assert f"{NUM_ROWS:,} calls by sha256:" in undisturbed.stdout

    parts = tmp_path / "out.parquet.parts"
    for there, num_parts in (("part-000003.parquet.partial", 3), ("out.parquet.partial", NUM_ROWS // ROWS_PER_PART)):
        killed = predict_file(calls, out, model, killed_at=there)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
        assert len(list(parts.glob("part-*.parquet"))) == num_parts
        assert not out.exists()

    resumed = predict_file(calls, out, model)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert resumed.stdout.rpartition(str(out))[2] == undisturbed.stdout.rpartition(str(whole))[2]
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()

    table = pq.read_table(out)
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    some = [0, 777, NUM_ROWS - 1]
    predictor = Predictor(model, device="cpu")
    for n, decision in zip(some, predictor.decide([rows[n]["text"] for n in some]), strict=True):
        (found,) = table.slice(n, 1).to_pylist()
        deferred = predictor.calibration.defers(decision.confidence, decision.label, {})
        assert (found["label"], found["handed_over"]) == (decision.label, deferred)
        assert found["label_probability"] == pytest.approx(decision.confidence, abs=1e-5)
        assert found["why"] == ("below_threshold" if deferred else None)
