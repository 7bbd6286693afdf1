"""What an export costs: measured on the rows of both models, written into its folder, and held by a gate if asked."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from r2d.config.data import SyntheticTriageConfig
from r2d.data.examples import Example, split_of, to_table
from r2d.errors import DataError
from r2d.evaluation.evaluate import evaluate
from r2d.evaluation.export_cost import measure_cost
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.modeling.backends.exported import export_model
from r2d.modeling.predictor import Predictor
from r2d.synthetic.calls import generate_calls
from r2d.workflows import export_to_folder
from tests.conftest import TOY_LABELS
from tests.evaluation.test_evaluate import DATA, QUICK, checked
from tests.inference.keyword_predictor import write_calls


def test_fp32_gives_the_labels_of_torch_on_nearly_every_row(stage2_model: Path, tmp_path: Path) -> None:
    export_model(stage2_model, tmp_path / "fp32")
    calls = generate_calls(SyntheticTriageConfig(num_calls=400, seed=3))
    rows = to_table(
        Example(id=call.id, text=call.text, label=TOY_LABELS.names[number % 2], split="test")
        for number, call in enumerate(calls)
    )
    cost = measure_cost(stage2_model, tmp_path / "fp32", EvaluationRun(rows, TOY_LABELS, QUICK))
    assert cost.num_rows == 400
    assert cost.equal_labels >= 0.995
    assert cost.equal_rationales is not None
    assert abs(cost.metrics["macro_f1"].difference.value or 0.0) < 0.005
    assert "bertscore_f1" not in cost.metrics, "no row has a reference rationale"


def test_int8_states_what_it_costs_beside_the_original_and_its_bytes(stage2_model: Path, tmp_path: Path) -> None:
    calls = generate_calls(SyntheticTriageConfig(num_calls=60, seed=4))
    rows = [
        {"id": call.id, "text": call.text, "label": TOY_LABELS.names[number % 2]} for number, call in enumerate(calls)
    ]
    data, out = write_calls(tmp_path / "rows.jsonl", rows), tmp_path / "int8"
    facts, cost = export_to_folder(stage2_model, out, name="toy/1", quantization="int8", data=data)
    assert cost is not None
    test = to_table(Example(**row, split="test") for row in rows)
    by_hand = {}
    for name, folder in {"original": stage2_model, "exported": out}.items():
        decisions = Predictor(folder).decide([row["text"] for row in rows])
        by_hand[name] = Predictions.of_decisions(test, decisions, TOY_LABELS)
    for name, predictions in by_hand.items():
        assert getattr(cost.metrics["macro_f1"], name) == pytest.approx(label_metrics(predictions).macro_f1)
        assert getattr(cost.metrics["under_triage_rate"], name) == pytest.approx((predictions.levels > 0).mean())
    same = (by_hand["original"].predicted == by_hand["exported"].predicted).mean()
    assert cost.equal_labels == pytest.approx(same)
    stored = json.loads((out / "cost.json").read_text(encoding="utf-8"))
    assert stored["metrics"]["accuracy"]["exported"] == cost.metrics["accuracy"].exported
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{facts.num_bytes:,}" in card
    assert f"| macro-F1 | {cost.metrics['macro_f1'].original:.3f} | {cost.metrics['macro_f1'].exported:.3f} |" in card
    assert rows[0]["text"] not in card + json.dumps(stored)


def test_an_export_that_cannot_be_measured_is_not_left(stage2_model: Path, tmp_path: Path) -> None:
    data = write_calls(tmp_path / "rows.jsonl", [{"id": "1", "text": "pt reports cough", "label": "nonsense"}])
    with pytest.raises(DataError, match="no label of the model"):
        export_to_folder(stage2_model, tmp_path / "out", name="toy/1", data=data)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    _, cost = export_to_folder(stage2_model, tmp_path / "out", name="toy/1")
    assert cost is None
    assert "Not measured" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_an_evaluation_can_be_of_the_export_so_that_the_gate_is(
    stage2_model: Path, examples: pa.Table, tmp_path: Path
) -> None:
    export_model(stage2_model, tmp_path / "int8", quantization="int8")
    test = split_of(examples, "test")
    config = QUICK.model_copy(update={"engine": "ctranslate2_int8"})
    evaluation = evaluate(test, stage2_model, config=config, data=DATA)
    metrics = checked(evaluation.metrics)
    decisions = Predictor(tmp_path / "int8", calibrated=False).decide(test["text"].to_pylist())
    shown = [decision.label_probabilities for decision in decisions]
    for measured, expected in zip(evaluation.predictions["label_probabilities"].to_pylist(), shown, strict=True):
        assert dict(measured) == pytest.approx(dict(expected), abs=1e-6)
    assert metrics.engine == "ctranslate2_int8"
    assert "measured as exported" in evaluation.report
