"""Rows with options of their own through the literal command: trained, measured by accuracy, registered, served."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace, run_named

pytestmark = pytest.mark.slow

PLACES = {
    "bread": "oven",
    "milk": "fridge",
    "books": "shelf",
    "boats": "harbour",
    "cars": "garage",
    "clothes": "drawer",
}
QUESTION = "where do you keep milk at 7"


def questions(num_rows: int = 120) -> str:
    """Questions with two to four options; in some rows an option stands twice, as it does in CommonsenseQA."""
    generator = random.Random(0)
    rows = []
    for number in range(num_rows):
        thing, place = generator.choice(list(PLACES.items()))
        wrong = generator.sample([other for other in PLACES.values() if other != place], generator.randint(1, 3))
        options = [place, *wrong, *([wrong[0]] if number % 9 == 0 else [])]
        generator.shuffle(options)
        rows.append(
            {
                "id": f"q{number}",
                "question": f"where do you keep {thing} at {number}",
                "choices": options,
                "answer": place,
                "why": f"{thing} belong in the {place}",
                "split": ("train", "train", "train", "validation", "test")[number % 5],
            }
        )
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def config(workplace: Workplace, tiny_config: dict[str, Any]) -> dict[str, Any]:
    (workplace.folder / "questions.jsonl").write_text(questions(), encoding="utf-8")
    columns = {"text": "question", "label": "answer", "options": "choices", "split": "split"}
    config = copy.deepcopy(tiny_config) | {
        "data": {
            "format": "jsonl",
            "path": "questions.jsonl",
            "labels": {"per_row": True},
            "columns": columns | {"rationales": {"llm": "why"}},
        }
    }
    config["registration"] = {"model_name": "toy-questions"}
    return config


@pytest.fixture(scope="module")
def options_run(workplace: Workplace, config: dict[str, Any]) -> Run:
    return workplace.named(workplace.run(config))


def test_the_run_is_registered_and_judged_by_accuracy_against_the_baselines_of_options(options_run: Run) -> None:
    assert options_run.executed[-4:] == ["train_stage1", "train_stage2", "evaluate", "register_model"]
    for text in (
        "toy-questions version 1 (registered",
        "an option at random",
        "the option most often right in training",
        "accuracy 0.",  # of the validation, which selects the weights
        "accuracy is shown: each row has options of its own",
        "gate: accuracy",
        "--option",
    ):
        assert text in options_run.output, text
    assert "macro-F1 0." not in options_run.output


def test_the_stored_metrics_have_no_macro_f1_and_both_decodings(options_run: Run, workplace: Workplace) -> None:
    metrics, metadata, report = workplace.python(
        f"{run_named(options_run)}outputs = run.steps['evaluate'].outputs\n"
        "answer = [outputs['r2d_metrics'][0].load(), list(run.steps['evaluate'].run_metadata),"
        " str(outputs['r2d_evaluation_report'][0].load())]"
    )
    label, free = metrics["label"], metrics["other_decoding"]["label"]
    assert (label["macro_f1"], label["confusion_matrix"], label["invalid_label_rate"]) == (None, [], 0.0)
    assert free["macro_f1"] is None
    assert metrics["other_decoding"]["decoding"] == "free"
    assert 0.25 < metrics["baselines"]["an option at random"]["accuracy"] < 0.5
    assert metrics["alignment"]["num_rows"] == 24
    assert "accuracy" in metadata
    assert "macro_f1" not in metadata
    assert "there are no classes for a macro-F1" in report


def test_predict_chooses_among_the_options_that_it_is_given(options_run: Run, workplace: Workplace) -> None:
    options = ("--option", "oven", "--option", "fridge", "--option", "garage")
    done = workplace.type("r2d", "predict", "--json", "--model", "toy-questions/1", *options, QUESTION)
    decision = json.loads(done.stdout)
    assert set(decision["label_probabilities"]) == {"oven", "fridge", "garage"}
    assert decision["label_probabilities"][decision["label"]] == max(decision["label_probabilities"].values())


def test_the_served_model_takes_a_column_of_options(options_run: Run, workplace: Workplace) -> None:
    rows = [{"text": QUESTION, "options": ["fridge", "oven"]}, {"text": QUESTION, "options": ["sea", "sky", "oven"]}]
    frame, records = workplace.python(
        "import mlflow, pandas as pd\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "model = mlflow.pyfunc.load_model('models:/toy-questions/1')\n"
        f"rows = {rows!r}\n"
        "answer = [model.predict(given).to_dict('records') for given in (pd.DataFrame(rows), rows)]"
    )
    assert frame == records
    assert [set(decision["label_probabilities"]) for decision in frame] == [set(row["options"]) for row in rows]
