"""Batch inference and drift through their literal commands, on a real ZenML."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import Calibration, write_calibration
from r2d.modeling.predictor import Predictor
from r2d.modeling.reference import reference_of, write_reference
from tests.conftest import toy_examples
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.slow

STORED = """
from zenml.client import Client
answer = {}
for run in Client().list_pipeline_runs(size=2).items:
    for name, step in run.steps.items():
        outputs = {output: artifact for output, (artifact, *_) in step.outputs.items()}
        answer[name] = {
            "facts": {output: artifact.load() for output, artifact in outputs.items() if "report" not in output},
            "shown": [str(shown.type) for artifact in outputs.values() for shown in artifact.visualizations or []],
            "metadata": sorted(step.run_metadata),
        }
"""


@pytest.fixture(scope="module")
def model(stage2_model: Path, workplace: Workplace) -> Path:
    """A model folder as an evaluation leaves it: with threshold and reference."""
    folder = workplace.folder / "model"
    shutil.copytree(stage2_model, folder)
    facts = {"format_version": 1, "temperature": {"value": 1.0}, "selective": {"threshold": 0.55}}
    write_calibration(folder, Calibration(facts))
    write_manifest(folder)
    examples = toy_examples(1000)
    test = examples.filter(pa.compute.equal(examples["split"], "test"))
    decisions = Predictor(folder, device="cpu").decide(test["text"].to_pylist(), batch_size=64)
    columns = {
        "predicted_label": [decision.label for decision in decisions],
        "valid": [decision.valid for decision in decisions],
        "label_probabilities": pa.array(
            [list(decision.label_probabilities.items()) for decision in decisions], pa.map_(pa.string(), pa.float64())
        ),
    }
    write_reference(folder, reference_of(examples, pa.table(columns)))
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def calls(workplace: Workplace) -> Path:
    path = workplace.folder / "calls.parquet"
    pq.write_table(toy_examples(400, seed=1).select(["id", "text"]), path)
    return path


@pytest.fixture(scope="module")
def stored(workplace: Workplace, model: Path, calls: Path) -> dict[str, Any]:
    """What both runs, one after the other, left in ZenML."""
    inference = {
        "data": {"path": calls.name}, "model": model.name, "output": "decided.parquet", "rows_per_part": 128,
        "batch_size": 64,
    }  # fmt: skip
    assert workplace.run(inference, pipeline="pipelines.batch_inference").executed == ["infer_batch"]
    compared = {
        "predictions": "decided.parquet", "calls": calls.name, "model": model.name, "output": "drift",
        "limits": {"min_rows": 100},
    }  # fmt: skip
    assert workplace.run(compared, pipeline="pipelines.drift").executed == ["report_drift"]
    return workplace.python(STORED)


def test_calls_are_decided_by_the_model_and_the_run_says_what_became_of_them(
    stored: dict[str, Any], workplace: Workplace, calls: Path
) -> None:
    table = pq.read_table(workplace.folder / "decided.parquet")
    facts = stored["infer_batch"]["facts"]["r2d_batch_inference"]
    assert table["id"].to_pylist() == pq.read_table(calls)["id"].to_pylist()
    assert facts["num_rows"] == len(table) == 400
    assert facts["num_handed_over"] == sum(table["handed_over"].to_pylist()) == sum(facts["why_handed_over"].values())
    assert facts["model"].startswith("sha256:")
    assert {"num_rows", "num_handed_over", "model"} <= set(stored["infer_batch"]["metadata"])


def test_the_decided_calls_are_held_against_what_the_model_keeps(stored: dict[str, Any], workplace: Workplace) -> None:
    facts = stored["report_drift"]["facts"]["r2d_drift"]
    assert facts == json.loads((workplace.folder / "drift" / "drift.json").read_text(encoding="utf-8"))
    assert not facts["drifted"], facts["reasons"]
    assert {check["outcome"] for check in facts["checks"].values()} == {"steady"}
    assert "html" in stored["report_drift"]["shown"]
    assert {"drifted", "reasons"} <= set(stored["report_drift"]["metadata"])


def test_parts_that_are_decided_in_steps_of_their_own_give_the_same_bytes(
    stored: dict[str, Any], workplace: Workplace, model: Path, calls: Path
) -> None:
    inference = {
        "data": {"path": calls.name}, "model": model.name, "output": "mapped.parquet", "rows_per_part": 128,
        "batch_size": 64, "shares": 3,
    }  # fmt: skip
    run = workplace.run(inference, pipeline="pipelines.inference.mapped_batch_inference")
    steps = workplace.python(
        "from zenml.client import Client\n"
        "run = Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]\n"
        "answer = {name: step.run_metadata.get('num_rows') for name, step in run.steps.items()}"
    )
    rows = sorted(count for name, count in steps.items() if "decide_share" in name)
    assert rows == [128, 128, 144], run.output[-2000:]
    whole, mapped = (workplace.folder / name for name in ("decided.parquet", "mapped.parquet"))
    assert mapped.read_bytes() == whole.read_bytes()
