"""The main job through its literal commands, on a real ZenML and a real MLflow: what runs, what is cached, what stays.

The tests of this file are one story, told in order on one workplace.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace

pytestmark = pytest.mark.slow

STEPS = [
    "load_examples",
    "validate_examples",
    "ingest_rationales",
    "train_stage1",
    "train_stage2",
    "evaluate",
    "register_model",
]


@pytest.fixture(scope="module")
def first_run(workplace: Workplace, tiny_config: dict[str, Any]) -> Run:
    return workplace.run(tiny_config, anew=True)


LAST_RUN = "from zenml.client import Client\nrun = Client().list_pipeline_runs(size=1).items[0]\n"
OUTPUTS = "for step in run.steps.values() for name, (artifact, *_) in step.outputs.items()"


def test_the_first_run_executes_every_step_in_order(first_run: Run) -> None:
    assert first_run.executed == STEPS
    assert first_run.cached == []


def test_the_last_screen_says_what_was_trained_how_good_it_is_where_to_look_and_what_to_type(first_run: Run) -> None:
    for text in (
        "toy-triage version 1 (registered",
        "majority class",
        "TF-IDF + logistic regression",
        "this model",
        "gate: macro-F1",
        "/output.html",
        "make dashboard",
        "r2d predict --model toy-triage",
    ):
        assert text in first_run.output, text


def test_what_libraries_say_of_their_own_making_does_not_bury_the_run(first_run: Run) -> None:
    for library in ("registering function", "declarations of metric"):
        assert library not in first_run.output


def test_no_clinical_text_stands_in_the_log(first_run: Run) -> None:
    assert "pt denies" not in first_run.output
    assert "pt reports" not in first_run.output


def test_every_artifact_has_a_content_hash_or_is_a_picture(first_run: Run, workplace: Workplace) -> None:
    hashes = workplace.python(f"{LAST_RUN}answer = {{name: artifact.content_hash {OUTPUTS}}}")
    assert set(hashes) == {
        "r2d_examples", "r2d_valid_examples", "r2d_quarantine", "r2d_privacy_findings", "r2d_data_result",
        "r2d_data_report", "r2d_data_picture", "r2d_expectation_suites", "r2d_expectation_results",
        "r2d_stage1_examples", "r2d_stage2_examples",
        "r2d_rationale_provenance", "r2d_rejected_rationales", "r2d_ingestion_result", "r2d_ingestion_report",
        "r2d_stage1_model", "r2d_stage1_curves", "r2d_stage1_curves_live",
        "r2d_stage2_model", "r2d_stage2_curves", "r2d_stage2_curves_live",
        "r2d_metrics", "r2d_predictions", "r2d_evaluation_report", "r2d_confusion_matrix",
        "r2d_judge_scores", "r2d_registration", "r2d_gate_decision", "r2d_gate_page", "r2d_gate_picture",
        "r2d_model_card",
    }  # fmt: skip
    curves = {f"r2d_stage{stage}_curves{live}" for stage in (1, 2) for live in ("", "_live")}
    pictures = {"r2d_data_picture", "r2d_confusion_matrix", "r2d_gate_picture", *curves}
    assert {name for name, value in hashes.items() if value is None} <= pictures


def test_the_report_and_the_curves_can_be_seen_in_the_dashboard(first_run: Run, workplace: Workplace) -> None:
    types = "[str(v.type) for v in (artifact.visualizations or [])]"
    shown = workplace.python(f"{LAST_RUN}answer = {{name: {types} {OUTPUTS}}}")
    for name in ("r2d_examples", "r2d_data_report", "r2d_ingestion_report", "r2d_evaluation_report", "r2d_gate_page"):
        assert shown[name] == ["html"], name
    pictures = ("data_picture", "stage1_curves", "stage2_curves", "confusion_matrix", "gate_picture")
    for name in (f"r2d_{picture}" for picture in pictures):
        assert shown[name] == ["image"], name


def test_a_second_run_executes_nothing_but_the_check_of_the_registration(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    again = workplace.run(tiny_config)
    assert again.executed == ["register_model"]
    assert again.cached == STEPS[:-1]
    assert "toy-triage version 1 (already registered" in again.output


def edit(workplace: Workplace, file: str, old: str, new: str) -> None:
    source = workplace.folder / file
    content = source.read_text(encoding="utf-8")
    assert old in content, f"{file} no longer holds {old!r}"
    source.write_text(content.replace(old, new, 1), encoding="utf-8")


def test_docstrings_colours_progress_and_other_sections_leave_both_stages_cached(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    edit(workplace, "r2d/training/stage2.py", '"""', '"""Reworded. ')
    edit(workplace, "r2d/training/curves.py", '"--", "o"', '":", "o"')
    edit(workplace, "r2d/reports/plots.py", "#0072b2", "#0000ff")
    edit(workplace, "r2d/training/progress.py", "evaluation every", "evaluated every")
    edit(workplace, "r2d/config/gate.py", '"macro-F1"', '"Macro-F1"')
    edit(
        workplace,
        "r2d/config/evaluation.py",
        "num_worst_cases: Annotated[int, Field(ge=0)] = 20",
        "num_worst_cases: int = 20",
    )
    edit(workplace, "r2d/reports/style.css.j2", "{", " {")
    config = copy.deepcopy(tiny_config)
    config["registration"]["gate"]["rules"].append({"rule": "within_limit", "figure": "accuracy", "at_least": 0.0})
    edited = workplace.run(config)
    assert {"load_examples", "train_stage1", "train_stage2"} <= set(edited.cached)
    # The metrics are the same, so the same version is found.
    assert "toy-triage version 1 (already registered" in edited.output


def test_a_changed_parser_loss_or_schedule_runs_its_step_again(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    edit(workplace, "r2d/rationales/parsing.py", "def ", "UNUSED = 1\n\n\ndef ")
    edit(workplace, "r2d/training/schedules.py", "return 0.0", "return 0.001")
    edited = workplace.run(tiny_config)
    assert {"ingest_rationales", "train_stage2"} <= set(edited.executed)
    assert {"load_examples", "train_stage1"} <= set(edited.cached)
    edit(workplace, "r2d/training/schedules.py", "return 0.001", "return 0.0")
    edit(workplace, "r2d/training/stage1.py", 'num_tokens["rationale"])', '2 * num_tokens["rationale"])')
    assert "train_stage1" in workplace.run(tiny_config).executed
    edit(workplace, "r2d/training/stage1.py", '2 * num_tokens["rationale"])', 'num_tokens["rationale"])')


def test_another_alpha_reruns_from_stage2_on(first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]) -> None:
    config = copy.deepcopy(tiny_config)
    config["stage2"]["alpha"] = 0.5
    changed = workplace.run(config)
    assert changed.executed == ["train_stage2", "evaluate", "register_model"]
    assert re.search(r"toy-triage version \d+ \(registered", changed.output)


def test_one_changed_byte_of_the_data_reruns_everything(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    data = workplace.folder / "notes.csv"
    content = data.read_text(encoding="utf-8")
    data.write_text(content.replace("for 3 days", "for 4 days", 1), encoding="utf-8")
    try:
        assert workplace.run(tiny_config).executed == STEPS
    finally:
        data.write_text(content, encoding="utf-8")


def test_the_registered_model_decides_and_explains_from_the_command_line(first_run: Run, workplace: Workplace) -> None:
    done = workplace.type(
        "r2d",
        "predict",
        "--json",
        "--model",
        "toy-triage/1",
        "-",
        stdin="pt denies fever for 2 days\npt reports rash\n",
    )
    decisions = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(decisions) == 2
    for decision in decisions:
        assert decision["label"] in ("emergency now", "self care")
        assert sum(decision["label_probabilities"].values()) == pytest.approx(1.0)
        assert decision["label_probabilities"][decision["label"]] == max(decision["label_probabilities"].values())
        assert isinstance(decision["rationale"], str)


def test_the_pyfunc_takes_texts_and_gives_what_the_command_line_gives(first_run: Run, workplace: Workplace) -> None:
    (decision,) = workplace.python(
        "import mlflow\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "model = mlflow.pyfunc.load_model('models:/toy-triage/1')\n"
        "answer = model.predict(['pt denies fever for 2 days']).to_dict('records')"
    )
    typed = workplace.type("r2d", "predict", "--json", "--model", "toy-triage/1", "pt denies fever for 2 days")
    assert decision == json.loads(typed.stdout)


def test_the_registered_model_knows_which_rationales_of_which_source_trained_it(
    first_run: Run, workplace: Workplace
) -> None:
    version, rows = workplace.python(
        "import mlflow, pyarrow.parquet as pq\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "version = mlflow.MlflowClient().get_model_version('toy-triage', '1')\n"
        "folder = mlflow.artifacts.download_artifacts('models:/toy-triage/1')\n"
        "table = pq.read_table(folder + '/artifacts/rationale_provenance.parquet')\n"
        "answer = [version.tags, table.to_pylist()]"
    )
    trained = [row for row in rows if row["split"] == "train" and "stage1" in row["stages"]]
    counts = {(row["stage"], row["source"]): row["num_rationales"] for row in json.loads(version["r2d.rationales"])}
    assert counts == {("stage1", "llm"): len(trained), ("stage2", "llm"): len(trained)}
    assert {row["file"] for row in trained} == {"notes.csv"}
    assert all(len(row["rationale_sha256"]) == 64 for row in trained)
    assert not any(word in json.dumps(rows) for word in ("present", "absent"))


def test_a_broken_contract_stops_the_run_and_keeps_the_report(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["validation"] = {}
    (workplace.folder / "broken.yaml").write_text(json.dumps({"parameters": {"config": config}}), encoding="utf-8")
    done = workplace.type("zenml", "pipeline", "run", "reason2decide", "--config", "broken.yaml", check=False)
    assert done.returncode != 0
    assert "text_across_splits (no text stands in two splits)" in done.stdout + done.stderr
    assert "pt denies" not in done.stdout + done.stderr
    kept = workplace.python(
        "from zenml.client import Client\n"
        "report = Client().get_artifact_version('r2d_data_report_of_a_stopped_run').load()\n"
        "answer = str(report)"
    )
    assert "text_across_splits" in kept
    assert "pt denies" not in kept


def test_the_lineage_of_a_version_reaches_the_runs_that_made_it(first_run: Run, workplace: Workplace) -> None:
    facts = json.loads(workplace.type("r2d", "lineage", "toy-triage/1", "--json").stdout)
    assert facts["not_reachable"] == []
    assert {"train_stage1", "train_stage2", "evaluate"} <= facts["mlflow_runs"].keys()
    assert facts["data_result"]["num_rows"] == 120
    row = json.loads(workplace.type("r2d", "lineage", "--row", "toy-000", "--json").stdout)
    assert row["seen_by"][0]["place"].startswith("notes.csv: row 1")


def test_an_unknown_model_says_what_is_registered(first_run: Run, workplace: Workplace) -> None:
    done = workplace.type("r2d", "predict", "--model", "toy-triage@nobody", "a note", check=False)
    assert done.returncode == 2
    assert "error: model 'toy-triage@nobody' is not in the registry" in done.stderr
    assert "'toy-triage' has versions 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_that_was_stored_is_a_pickle(first_run: Run, workplace: Workplace) -> None:
    stored = [path for path in (workplace.folder.parent / "zenml").rglob("*") if path.is_file()]
    assert any(path.name == "model.safetensors" for path in stored)
    assert [path for path in stored if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")] == []


def test_a_wrong_config_is_refused_with_all_faults_before_any_step(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["stage2"]["alfa"] = 0.5
    config["data"]["format"] = "cvs"
    (workplace.folder / "wrong.yaml").write_text(json.dumps({"parameters": {"config": config}}), encoding="utf-8")
    done = workplace.type("zenml", "pipeline", "run", "reason2decide", "--config", "wrong.yaml", check=False)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "did you mean 'alpha'?" in output
    assert "did you mean 'csv'?" in output
    assert "has started" not in output
