"""What is a correct prediction, which rows are refused, and what is published of a row."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2d.config.data import LabelsConfig
from r2d.data.examples import Example, split_of, to_table
from r2d.errors import DataError
from r2d.evaluation.evaluate import Champion
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA, Predictions, predictions_table
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import Calibration
from r2d.modeling.predictor import Predictor
from r2d.text import normalise_label
from r2d.workflows import evaluate_to_folder
from tests.evaluation.predicted import predictions_of, predictions_with_options


def test_case_and_spaces_do_not_count_and_no_label_is_never_correct() -> None:
    predictions = predictions_of(["Home", "home", "home", "home"], [" HOME ", None, "", "nonsense"])
    assert predictions.correct.tolist() == [True, False, False, False]
    assert predictions.valid.tolist() == [True, False, False, False]
    assert predictions.levels.tolist() == [0, 1, 1, 1], "one level below the least urgent"
    assert predictions.confidence.tolist() == [1 / 4, 0, 0, 0]


def test_an_option_of_another_row_is_invalid_and_a_gold_label_may_be_written_otherwise() -> None:
    options = [["oven", "car"], ["sea", "desk", "roof"]]
    predictions = predictions_with_options(["OVEN", "roof"], ["oven", "car"], options)
    assert (predictions.correct.tolist(), predictions.valid.tolist()) == ([True, False], [True, False])


def test_another_system_is_compared_without_probabilities() -> None:
    other = predictions_of(["home", "clinic"], ["home", "home"]).with_labels(["clinic", "clinic"])
    assert other.correct.tolist() == [False, True]
    assert np.isnan(other.confidence).all()
    with pytest.raises(ValueError, match="one entry for each row"):
        other.with_labels(["clinic"])


def test_a_row_without_a_group_is_a_group_of_its_own() -> None:
    predictions = predictions_of(["home"] * 4, ["home"] * 4, group_names=["r1", None, None, "r1"])
    assert predictions.num_groups == 3
    assert predictions.groups[0] == predictions.groups[3]


def test_rows_that_do_not_fit_are_refused() -> None:
    for gold, shares, error, message in (
        ([], [], DataError, "no rows"),
        (
            ["ambulance"],
            [0.1, 0.2, 0.3, 0.4],
            DataError,
            "row 0 is not declared, found .a text of 9 char",
        ),
        (["home", "home"], [0.1, 0.2, 0.3, 0.4], ValueError, "one entry for each row"),
        (["home"], [0.2, 0.2, 0.2, 0.2], ValueError, "sum to 1"),
        (["home"], [np.nan, 0.5, 0.5, 0.0], ValueError, "finite"),
    ):
        with pytest.raises(error, match=message):
            predictions_of(gold, ["home"] * len(shares[:1]), probabilities=np.array(shares).reshape(-1, 4))
    with pytest.raises(DataError, match="gold label of row 1 is not among its 3 options") as refused:
        predictions_with_options(["oven", "secret"], [None, None], [["oven"], ["sea", "desk", "roof"]])
    assert "secret" not in str(refused.value)


ROWS = to_table(
    Example(id=f"r{row}", text="note", label=label, rationale="because", group=group, split="test")
    for row, (label, group) in enumerate([("home", "p1"), ("clinic", None), ("home", "p1")])
)
LABELS = LabelsConfig(names=("clinic", "home"), ordered=True)


def test_the_published_table_is_scaled_deferred_below_the_threshold_and_read_back() -> None:
    predictions = replace(
        predictions_of(
            ["home", "clinic", "home"], ["HOME", "clinic", "nobody knows"], labels=LABELS.names,
            probabilities=np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]),
        ),
        label_probabilities=[{"clinic": 0.2, "home": 0.8}, {"clinic": 0.6, "home": 0.4}, {"clinic": 0.5, "home": 0.5}],
        group_names=ROWS["group"].to_pylist(), gold_rationales=["because"] * 3, rationales=["so", "", "x"],
    )  # fmt: skip
    kept = Calibration.of({"value": 2.0}, {"threshold": 0.6})
    scores = {name: [0.5, None, 0.0] for name in ("paper_bleu", "rouge_l", "bertscore_f1")}
    flags = [[], ["empty"], []]
    plain = predictions_table(predictions, ROWS, flags=flags, scores=scores)
    table = predictions_table(
        replace(predictions, predicted_labels=["home", "clinic", "nobody knows"]),
        ROWS, calibration=kept, flags=flags, scores=scores,
    )  # fmt: skip
    assert plain.schema == table.schema == PREDICTIONS_SCHEMA
    assert set(plain["handed_over"].to_pylist()) == {None}
    assert dict(plain["label_probabilities"][0].as_py()) == pytest.approx({"clinic": 0.2, "home": 0.8})
    assert dict(table["label_probabilities"][0].as_py())["home"] == pytest.approx(2 / 3)  # sqrt 4 : sqrt 1
    assert table["handed_over"].to_pylist() == [False, True, True]
    assert table["valid"].to_pylist() == [True, True, False]
    again = Predictions.from_table(table, LABELS)
    assert again.correct.tolist() == predictions.correct.tolist()
    assert again.groups.tolist() == predictions.groups.tolist()
    of_options = Predictions.from_table(table, LabelsConfig(per_row=True))
    assert of_options.correct.tolist() == [True, True, False]
    assert of_options.valid.tolist() == [True, True, False]


@pytest.mark.parametrize("per_row", [False, True], ids=["declared labels", "options per row"])
def test_a_gold_label_written_otherwise_than_the_option_is_correct_in_every_section(
    per_row: bool, examples: pa.Table, stage2_model: Path, tmp_path: Path
) -> None:
    """By the command `r2d evaluate --data FILE`, which skips validation."""
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(stage2_model, model)
    if per_row:
        facts = json.loads((model / "reason2decide.json").read_text(encoding="utf-8"))
        facts["labels"] = {"names": [], "per_row": True, "ordered": False}
        (model / "reason2decide.json").write_text(json.dumps(facts), encoding="utf-8")
        write_manifest(model)
    options = ["emergency now", "self care"]
    test = split_of(examples, "test").select(["id", "text", "label", "rationale"]).to_pylist()
    decisions = Predictor(model).decide([row["text"] for row in test], [options] * len(test))
    correct = [decision.label == row["label"] for decision, row in zip(decisions, test, strict=True)]
    with_reference = [is_correct for is_correct, row in zip(correct, test, strict=True) if row["rationale"]]
    path = tmp_path / "notes.jsonl"
    rows = [row | {"label": f" {row['label'].upper()} ", "options": options} for row in test]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    metrics = evaluate_to_folder(model, path, out, champion=Champion("same/1", model), seen_rows="allow").metrics

    assert 0 < sum(correct) < len(correct)
    assert metrics.champion is not None
    assert metrics.champion.label == metrics.label
    assert metrics.intervals is not None
    assert metrics.intervals.accuracy.value == metrics.label.accuracy == sum(correct) / len(correct)
    assert metrics.rationale is not None
    assert metrics.rationale.populations.correct_only.num_rows == sum(with_reference)
    published = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [normalise_label(row["predicted_label"]) == normalise_label(row["label"]) for row in published] == correct
    examples = (out / "report.html").read_text(encoding="utf-8").partition('id="samples"')[2]
    shown = re.findall(r'<article class="(right|wrong)">', examples)
    assert shown.count("wrong") == min(10, correct.count(False))
