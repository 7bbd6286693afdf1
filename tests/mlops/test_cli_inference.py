"""The commands: what they print, what they write, and the exit code that a trigger reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mlops.cli.models import ALARMED, DRIFTED, app
from r2d.errors import ConfigError, ModelError
from r2d.inference.output import InferenceModel
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import Calibration, read_model_facts, write_calibration
from r2d.modeling.reference import DriftReference, write_reference
from tests.inference.keyword_predictor import write_calls

REFERENCE = DriftReference(
    num_texts=900,
    vocabulary={"pt": 900, "days": 900},
    lengths=[20.0] * 900,
    unfamiliar=[0.0] * 900,
    labels={"emergency now": 450, "self care": 450},
    confidences=[0.5] * 900,
)


@pytest.fixture
def model(stage2_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(stage2_model, folder)
    write_reference(folder, REFERENCE)
    write_manifest(folder)
    return folder


def test_columns_of_the_training_are_named_where_a_file_has_them_and_a_note_is_not(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = tmp_path / "config.yaml"
    data = {"format": "csv", "path": "x.csv", "labels": {"names": ["a", "b"]}, "columns": {"id": "nr", "text": "note"}}
    registered.write_text(json.dumps({"parameters": {"config": {"data": data}}}))
    monkeypatch.setattr("mlops.cli.models.config_of_version", lambda reference: registered)
    monkeypatch.setattr("mlops.cli.models.model_folder", lambda reference: model)
    calls = write_calls(tmp_path / "calls.csv", [{"nr": "1", "note": "Canary reports fever"}])
    words = ["predict-file", str(calls), "--out", str(tmp_path / "out.parquet"), "--model", "triage@champion"]
    said = str(CliRunner().invoke(app, words).exception)
    assert said.endswith("trained on: add --set data.columns.id=nr --set data.columns.text=note")
    done = CliRunner().invoke(app, [*words, *said.partition(": add ")[2].split()])
    assert done.exit_code == 0, done.output
    calls.write_text("7,Canary coughs\n8,Canary rests\n")
    said = str(CliRunner().invoke(app, words).exception)
    assert "not shown (may be data)" in said
    assert "Canary" not in said
    assert "trained on" not in said


def test_a_file_is_decided_then_held_against_the_reference_of_its_model(model: Path, tmp_path: Path) -> None:
    rows = [{"nr": str(n), "note": f"pt reports fever for {n % 9} days" * (1 + n % 4)} for n in range(250)]
    calls, out = write_calls(tmp_path / "calls.csv", [*rows, {"nr": "x", "note": ""}]), tmp_path / "out.parquet"
    named = ["--id-column", "nr", "--text-column", "note", "--batch-size", "64"]
    done = CliRunner().invoke(app, ["predict-file", str(calls), "--out", str(out), "--model", str(model), *named])
    assert done.exit_code == 0, done.output
    assert "251 calls by sha256:" in done.output
    reasons = [f"  {count} {why}: {DEFERRAL_REASONS[why]}" for why, count in [("out_of_scope", 250), ("no_text", 1)]]
    assert "\n".join(["251 handed over to a person", *reasons]) in done.output

    held = ["drift", str(out), "--calls", str(calls), "--model", str(model), "--out", str(tmp_path / "drift")]
    assert CliRunner().invoke(app, held).exit_code == 0
    done = CliRunner().invoke(app, [*held, "--exit-code"])
    assert done.exit_code == DRIFTED
    assert "drifted       Length of the calls: Half of the calls have more than" in done.output
    assert "\ndrift among 251 calls; " in done.output
    facts = json.loads((tmp_path / "drift" / "drift.json").read_text(encoding="utf-8"))
    assert facts["drifted"]
    assert facts["checks"]["text_length"]["outcome"] == "drifted"


def test_too_few_calls_are_no_calls_without_drift(model: Path, tmp_path: Path) -> None:
    calls, out = (
        write_calls(tmp_path / "calls.csv", [{"id": n, "text": "pain"} for n in "123"]),
        tmp_path / "out.parquet",
    )
    common = ["--model", str(model), "--out"]
    assert CliRunner().invoke(app, ["predict-file", str(calls), *common, str(out)]).exit_code == 0
    done = CliRunner().invoke(app, ["drift", str(out), "--calls", str(calls), *common, str(tmp_path / "drift")])
    assert "not measured  How sure the model is: 3 calls against 900 rows" in done.output
    assert "no drift" not in done.output
    assert "\ndrift could not be measured among 3 calls; " in done.output


def test_what_is_wrong_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    calls = write_calls(tmp_path / "calls.csv", [{"id": "1", "text": "pain"}])
    arguments = ["predict-file", str(calls), "--out", str(tmp_path / "out.parquet"), "--model", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, "--batch-size", "0"])
    assert isinstance(done.exception, ConfigError)
    assert "batch_size: found 0" in str(done.exception)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ModelError)


def test_options_are_for_the_models_that_take_them(model: Path, tmp_path: Path) -> None:
    calls = write_calls(tmp_path / "calls.jsonl", [{"id": "1", "text": "pain", "options": ["yes", "no"]}])
    arguments = ["predict-file", str(calls), "--out", str(tmp_path / "out.parquet"), "--model", str(model)]
    done = CliRunner().invoke(app, [*arguments, "--options-column", "options"])
    assert isinstance(done.exception, ModelError)
    assert "add or remove that column" in str(done.exception)


def test_a_version_keeps_its_name_and_an_alias_brings_the_hash(model: Path) -> None:
    of_folder = InferenceModel.of(str(model), model)
    assert of_folder.name == f"sha256:{of_folder.hash[:16]}"
    assert InferenceModel.of("models:/toy/3", model).name == "toy/3"
    assert InferenceModel.of("toy@champion", model).name == f"toy@champion {of_folder.name}"


def test_decisions_are_held_against_later_labels_and_the_exit_code_tells_an_alarm(
    stage2_model: Path, store: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(stage2_model, model)
    write_calibration(model, Calibration.of({"value": 1.0}, {"threshold": 0.0}))
    write_manifest(model)
    labels = read_model_facts(model).labels.names
    calls = write_calls(
        tmp_path / "calls.csv", [{"id": str(n), "text": "pt reports cough for 3 days"} for n in range(60)]
    )
    out, named = tmp_path / "out.parquet", ["--model", str(model), "--out"]
    assert CliRunner().invoke(app, ["predict-file", str(calls), *named, str(out)]).exit_code == 0
    given = pq.read_table(out)["label"][0].as_py()
    limits = {"limits": {"error": {"acceptable": 0.05, "unacceptable": 0.2}}}
    (tmp_path / "monitor.yaml").write_text(json.dumps({"parameters": {"config": limits}}))
    for later, code in {given: 0, next(name for name in labels if name != given): ALARMED}.items():
        outcomes = write_calls(tmp_path / "outcomes.csv", [{"id": str(n), "label": later} for n in range(60)])
        held = ["monitor", str(out), "--outcomes", str(outcomes), *named, str(tmp_path / "monitored")]
        done = CliRunner().invoke(app, [*held, "--config", str(tmp_path / "monitor.yaml")])
        assert done.exit_code == code, done.output
        facts = json.loads((tmp_path / "monitored" / "monitor.json").read_text(encoding="utf-8"))
        assert facts["alarm"] is (code == ALARMED)
        assert "60 of 60 decisions have an outcome" in done.output
