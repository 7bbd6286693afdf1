"""The main job through its literal commands, on a real ZenML and MLflow: what runs, what is cached, what stays."""

from __future__ import annotations

import copy
import json
import re
from contextlib import ExitStack
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace, run_named

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


def test_the_first_run_executes_every_step_in_order(first_run: Run) -> None:
    assert first_run.executed == STEPS
    assert first_run.cached == []


def test_the_output_tells_what_was_trained_and_what_to_type_and_holds_no_clinical_text(first_run: Run) -> None:
    for text in (
        "toy-triage version 1 (registered",
        "majority class",
        "TF-IDF + logistic regression",
        "this model",
        "gate: macro-F1",
        "/output.html",
        "r2d open report",
        "r2d predict --model toy-triage",
    ):
        assert text in first_run.output, text
    for text in ("pt denies", "pt reports"):
        assert text not in first_run.output, text


def test_every_artifact_has_a_content_hash_and_pages_and_pictures_can_be_seen_in_the_dashboard(
    first_run: Run, workplace: Workplace
) -> None:
    artifacts = "for step in run.steps.values() for name, (artifact, *_) in step.outputs.items()"
    hashes, types = workplace.python(
        f"{run_named(first_run)}"
        f"answer = [{{name: artifact.content_hash {artifacts}}},"
        f" {{name: [str(v.type) for v in (artifact.visualizations or [])] {artifacts}}}]"
    )
    pages = {"examples", "data_report", "ingestion_report", "evaluation_report", "gate_page"}
    pictures = {"data_picture", "stage1_curves", "stage2_curves", "confusion_matrix", "gate_picture"}
    live = {"stage1_curves_live", "stage2_curves_live"}
    assert {name.removeprefix("r2d_") for name in hashes} == pages | pictures | live | {
        "valid_examples", "quarantine", "privacy_findings", "data_result", "expectation_suites", "expectation_results",
        "stage1_examples", "stage2_examples", "rationale_provenance", "rejected_rationales", "ingestion_result",
        "stage1_model", "stage2_model", "metrics", "predictions", "judge_scores", "registration", "gate_decision",
        "model_card", "alias_history",
    }  # fmt: skip
    assert {name for name, value in hashes.items() if value is None} <= {f"r2d_{name}" for name in pictures | live}
    assert all(types[f"r2d_{name}"] == ["html"] for name in pages), types
    assert all(types[f"r2d_{name}"] == ["image"] for name in pictures), types


def test_the_papers_of_a_version_rest_on_records_that_are_there(first_run: Run, workplace: Workplace) -> None:
    workplace.type("r2d", "papers", "toy-triage/1", "--out", "papers")
    facts = json.loads((workplace.folder / "papers" / "facts.json").read_text(encoding="utf-8"))
    assert [name for name, fact in facts.items() if "not reachable" in fact["id"]] == []
    assert facts["pipeline_run"]["text"] == first_run.name
    assert facts["delivered_rows"]["text"] == "120"
    id_and_hash, flow = workplace.python(
        f"{run_named(first_run)}artifact = run.steps['validate_examples'].outputs['r2d_data_result'][0]\n"
        "flow = run.steps['evaluate'].outputs['r2d_metrics'][0].load()['cohort']['flow']\n"
        "answer = f'artifact version {artifact.id}, hash {artifact.content_hash}', flow"
    )
    assert facts["delivered_rows"]["id"] == id_and_hash
    assert (flow["num_read"], flow["num_used"] + flow["num_quarantined"]) == (120, 120), "counts travel with the table"
    for name in (
        "stage1_seconds",
        "stage2_seconds",
        "accuracy",
        "under_triage",
        "gate_outcome",
        "model_sha256",
        "card",
    ):
        assert facts[name]["text"], name


def zenml_version(workplace: Workplace, number: int) -> dict[str, Any]:
    """What ZenML knows of a version of `toy-triage`, and whether it and MLflow's version of that number match."""
    return workplace.python(
        "from mlflow import MlflowClient\nfrom zenml.client import Client\n"
        "from mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        f"ours, other = Client().get_model_version('toy-triage', {number}), "
        f"MlflowClient().get_model_version('toy-triage', '{number}')\n"
        "answer = {'uri': ours.run_metadata.get('mlflow_uri'),"
        " 'names_its_run': ours.run_metadata.get('mlflow_run_id') == other.run_id,"
        " 'is_named_back': other.tags.get('zenml.id') == str(ours.id), 'runs': len(ours.pipeline_run_ids),"
        " 'artifacts': len(ours.data_artifact_ids) + len(ours.model_artifact_ids)}"
    )


AS_IF_KILLED = """
from zenml.pipelines.run_utils import create_placeholder_run
from mlflow import MlflowClient
from mlops.dead_runs import OWNER_KEY
from mlops.tracking import configure_mlflow, experiment_id
configure_mlflow()
client = MlflowClient()
logged = client.create_run(experiment_id(client), tags={OWNER_KEY: run.config.extra[OWNER_KEY]})
answer = [create_placeholder_run(run.snapshot).name, logged.info.run_id]
"""
"""A run of a process that has ended, that of the first run, is left open in ZenML and in MLflow."""
STATUSES_OF_KILLED = """
from mlflow import MlflowClient
from zenml.client import Client
from mlops.tracking import configure_mlflow
configure_mlflow()
answer = [Client().get_pipeline_run(killed[0]).status.value, MlflowClient().get_run(killed[1]).info.status]
"""


def test_a_second_run_executes_nothing_and_closes_what_a_killed_one_has_left_in_zenml_and_mlflow(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    killed = workplace.python(f"{run_named(first_run)}{AS_IF_KILLED}")
    again = workplace.run(tiny_config)
    assert again.executed == ["register_model"]
    assert again.cached == STEPS[:-1]
    assert "toy-triage version 1 (already registered" in again.output
    assert workplace.python(f"killed = {killed}{STATUSES_OF_KILLED}") == ["failed", "KILLED"]
    lineage = json.loads(workplace.type("r2d", "lineage", "toy-triage/1", "--json").stdout)
    assert lineage["pipeline_run"]["name"] == first_run.name, "the run that registered it"
    assert zenml_version(workplace, 1) == {
        "uri": "models:/toy-triage/1", "names_its_run": True, "is_named_back": True, "runs": 2, "artifacts": 6,
    }  # fmt: skip


WITHOUT_EFFECT_ON_WEIGHTS = (
    ("r2d/training/stage2.py", '"""', '"""Reworded. '),
    ("r2d/reports/plots.py", "#0072b2", "#0000ff"),
    ("r2d/training/progress.py", "evaluation every", "evaluated every"),
    ("r2d/config/gate.py", '"macro-F1"', '"Macro-F1"'),
    ("r2d/config/evaluation.py", "num_worst_cases: Annotated[int, Field(ge=0)] = 20", "num_worst_cases: int = 20"),
    ("r2d/reports/style.css.j2", "{", " {"),
)
"""File, text and other text: a docstring, a plot, progress, the gate, another section, a style."""


def test_docstrings_plots_progress_and_other_sections_leave_both_stages_cached(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["registration"]["gate"]["rules"].append({"rule": "within_limit", "figure": "accuracy", "at_least": 0.0})
    with ExitStack() as edits:
        for file, old, new in WITHOUT_EFFECT_ON_WEIGHTS:
            edits.enter_context(workplace.edited(file, old, new))
        edited = workplace.run(config)
    assert {"load_examples", "train_stage1", "train_stage2"} <= set(edited.cached)
    # The metrics are the same, so the same version is found.
    assert "toy-triage version 1 (already registered" in edited.output


def test_a_changed_parser_schedule_and_alpha_run_what_follows_again_and_make_another_version(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    """The parser gives the same rationales, so Stage 1, which learns from them, stays cached. The numbers of MLflow and
    ZenML stay equal after a version that ZenML has never seen."""
    workplace.python(
        "from mlflow import MlflowClient\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "answer = MlflowClient().create_model_version('toy-triage', 'elsewhere:/model').version"
    )
    config = copy.deepcopy(tiny_config)
    config["stage2"]["alpha"] = 0.5
    with (
        workplace.edited("r2d/rationales/parsing.py", "\n\n\n", "\n\n\nUNUSED = 1\n\n\n"),
        workplace.edited("r2d/training/methods.py", "progress = (step", "progress = (1 + step"),
    ):
        changed = workplace.run(config)
    assert changed.executed == ["ingest_rationales", "train_stage2", "evaluate", "register_model"]
    assert changed.cached == ["load_examples", "validate_examples", "train_stage1"]
    (number,) = re.findall(r"toy-triage version (\d+) \(registered", changed.output)
    version = zenml_version(workplace, int(number))
    assert (version["uri"], version["names_its_run"]) == (f"models:/toy-triage/{number}", True)
    assert zenml_version(workplace, int(number) - 1)["uri"] is None


def test_a_changed_loss_of_stage1_trains_both_stages_again(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    with workplace.edited("r2d/training/stage1.py", 'num_tokens["rationale"]', '2 * num_tokens["rationale"]'):
        changed = workplace.run(tiny_config)
    assert changed.executed == ["train_stage1", "train_stage2", "evaluate", "register_model"]


def test_the_registered_model_decides_and_explains_from_the_command_line_as_by_mlflow(
    first_run: Run, workplace: Workplace
) -> None:
    notes = ["pt denies fever for 2 days", "pt reports rash"]
    done = workplace.type("r2d", "predict", "--json", "--model", "toy-triage/1", "-", stdin="\n".join(notes))
    decisions = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(decisions) == 2
    for decision in decisions:
        assert decision["label"] in ("emergency now", "self care")
        assert sum(decision["label_probabilities"].values()) == pytest.approx(1.0)
        assert decision["label_probabilities"][decision["label"]] == max(decision["label_probabilities"].values())
        assert isinstance(decision["rationale"], str)
    by_mlflow = workplace.python(
        "import mlflow\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "model = mlflow.pyfunc.load_model('models:/toy-triage/1')\n"
        f"answer = model.predict({notes!r}).to_dict('records')"
    )
    for one, other in zip(by_mlflow, decisions, strict=True):
        assert one | {"label_probabilities": None} == other | {"label_probabilities": None}
        assert one["label_probabilities"] == pytest.approx(other["label_probabilities"])


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


def test_a_broken_contract_stops_the_run_which_shows_neither_notes_nor_what_libraries_say_at_their_import(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    """In a process of its own, which imports everything itself."""
    stopped = workplace.run(tiny_config | {"validation": {}}, check=False, anew=True)
    assert stopped.returncode != 0
    assert "text_across_splits (no text stands in two splits)" in stopped.output
    for text in ("pt denies", "registering function", "declarations of metric"):
        assert text not in stopped.output, text


def test_a_wrong_config_is_refused_with_all_faults_before_any_step(
    workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["stage2"]["alfa"] = 0.5
    config["data"]["format"] = "cvs"
    refused = workplace.run(config, check=False)
    assert refused.returncode != 0
    assert "did you mean 'alpha'?" in refused.output
    assert "did you mean 'csv'?" in refused.output
    assert refused.executed == []
