"""The validation metrics that select a checkpoint are those of an evaluation of the same rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from r2d.config.data import ColumnsConfig, DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.model import ModelConfig
from r2d.config.training import Stage2Config
from r2d.data.examples import EXAMPLES_SCHEMA, split_of
from r2d.evaluation.evaluate import evaluate
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork


@pytest.mark.parametrize("per_row", [False, True], ids=["declared labels", "options per row"])
def test_validation_counts_labels_as_the_evaluation_does_however_they_are_written(
    per_row: bool, examples: pa.Table, stage1_model: Path, model_config: ModelConfig, stage2_config: Stage2Config,
    labels: LabelsConfig, tmp_path: Path,
) -> None:  # fmt: skip
    validation = split_of(examples, "validation")
    changed = {
        "label": pc.utf8_upper(validation["label"]),
        "options": pa.array([list(labels.names) if per_row else []] * len(validation), pa.list_(pa.string())),
    }
    for name, values in changed.items():
        place = EXAMPLES_SCHEMA.get_field_index(name)
        validation = validation.set_column(place, EXAMPLES_SCHEMA.field(name), values)
    train = split_of(examples, "train")
    options = pa.array([list(labels.names) if per_row else []] * len(train), pa.list_(pa.string()))
    place = EXAMPLES_SCHEMA.get_field_index("options")
    train = train.set_column(place, EXAMPLES_SCHEMA.field("options"), options)
    chosen = LabelsConfig(per_row=True) if per_row else labels

    work = StageWork(
        examples=pa.concat_tables([train, validation]), config=stage2_config, model=model_config, labels=chosen,
        work_dir=tmp_path, stage1_model=stage1_model,
    )  # fmt: skip
    result = train_stage2(work)

    test = validation.set_column(
        EXAMPLES_SCHEMA.get_field_index("split"), EXAMPLES_SCHEMA.field("split"), pa.array(["test"] * len(validation))
    )
    columns = ColumnsConfig(options="options" if per_row else None)
    data = DataConfig(format="jsonl", path="notes.jsonl", labels=chosen, columns=columns)
    label = evaluate(test, result.model_folder, config=EvaluationConfig(), data=data).metrics.label
    (selected,) = [row for row in result.history if row["step"] == result.selected_step and "eval_accuracy" in row]
    assert selected["eval_accuracy"] == label.accuracy > 0
    assert selected["eval_invalid_label_rate"] == label.invalid_label_rate
    assert selected.get("eval_macro_f1") == label.macro_f1
