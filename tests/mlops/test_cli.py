"""The command line: `check`, and `predict` for people and for machines."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from mlops.cli.main import app
from mlops.cli.models import _answer_text
from mlops.run_record import RunRecord
from r2d.config.loading import load_config
from r2d.errors import DataError, R2DError
from r2d.inference.decide import REMARKED, Answer
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import Calibration, write_calibration
from r2d.modeling.predictor import Decision
from r2d.modeling.prompts import LabelSet
from tests.mlops.conftest import Typed
from tests.tables import as_csv
from tests.test_draft import rows, write_as

ROOT = Path(__file__).resolve().parents[2]
NOTE = "pt denies fever for 2 days"


def predict(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["predict", *arguments], input=stdin)


def test_check_says_ok_for_each_right_config(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, output, _ = typed("check", "--no-data", "configs/demo.yaml", "configs/paper.yaml", "configs/cqa.yaml")
    demo, needs_of_demo, paper, needs_of_paper, cqa = output.splitlines()
    assert code == 0
    assert [line.split(":")[1].split()[0] for line in (demo, paper, cqa)] == ["ok", "ok", "ok"]
    assert "5 labels" in demo
    assert "labels in each row" in cqa
    assert "calibration rows are expected" in needs_of_demo
    assert "needs 59 shown rows without an error, 93 with one or 124 with two" in needs_of_paper
    assert "data.split.calibration_fraction" in needs_of_paper


def test_check_names_the_faults_of_wrong_ones_that_of_a_rubric_among_them_and_fails(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "wrong.yaml").write_text("parameters: {config: {data: {format: csv}}}")
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    shipped, scores = "configs/rubrics/rationale.yaml", tmp_path / "scores.csv"
    scores.write_text("id,criterion,score,rater\na,safety,9,A\n", encoding="utf-8")
    for name, rubric in {"judged": shipped, "misjudged": shipped, "unjudged": "nowhere.yaml"}.items():
        judge = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "rubric": rubric}
        judge |= {"human_scores": str(scores)} if name == "misjudged" else {}
        values["parameters"]["config"]["evaluation"]["judge"] = judge
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    del values["parameters"]["config"]["evaluation"]["judge"]
    for name, file in {"stressed": "configs/stress/triage.yaml", "unstressed": "no_edits.yaml"}.items():
        values["parameters"]["config"]["evaluation"]["stress"] = {"file": file}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    names = ("judged", "wrong", "misjudged", "unjudged", "missing", "stressed", "unstressed")
    code, output, errors = typed("check", *(str(tmp_path / f"{name}.yaml") for name in names))
    assert code == 2
    assert output.startswith(f"{tmp_path / 'judged.yaml'}: ok")
    assert f"{tmp_path / 'stressed.yaml'}: ok" in output
    files = ("nowhere.yaml", "missing.yaml", "no_edits.yaml")
    for text in (
        "data.labels: missing",
        "scores.csv: 1 faulty human scores",
        *(f"{file}: cannot be read" for file in files),
    ):
        assert text in errors
    assert "Traceback" not in errors


def test_init_writes_a_file_once_and_check_opens_the_files(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_as("csv", Path("calls.csv"))
    assert typed("init", "calls.csv")[0] == 0
    code, _, errors = typed("init", "calls.csv")
    assert (code, "my.yaml: is there already" in errors) == (2, True)
    code, output, _ = typed("check", "my.yaml")
    assert code == 0
    assert "60 rows" in output
    assert "rationales why: 60 of 60 records gave a rationale" in output
    assert logging.getLogger("r2d.rationales").level == logging.NOTSET  # a process that goes on says its remarks
    config = yaml.safe_load(Path("my.yaml").read_text())
    names = config["parameters"]["config"]["data"]["labels"]["names"]
    config["parameters"]["config"]["data"]["labels"]["names"] = [*names, "never"]
    Path("my.yaml").write_text(yaml.safe_dump(config))
    assert "  warning: labels_in_every_split (every label occurs in every split)" in typed("check", "my.yaml")[1]
    config["parameters"]["config"]["data"]["labels"]["names"] = ["urgent", "soon"]
    Path("my.yaml").write_text(yaml.safe_dump(config))
    code, _, errors = typed("check", "my.yaml")
    assert code == 2
    assert "label_declared (every label is allowed): 20 rows" in errors
    assert "or set validation.severities.label_declared to quarantine" in errors
    assert "text_across_splits" not in errors
    copied = [row | {"note": f"Copied note {number % 30}"} for number, row in enumerate(rows())]
    Path("calls.csv").write_text(as_csv(copied), encoding="utf-8")
    assert "text_across_splits (no text stands in two splits)" in typed("check", "my.yaml")[2]
    Path("calls.csv").unlink()
    assert typed("check", "my.yaml")[0] == 2
    assert typed("check", "--no-data", "my.yaml")[0] == 0


def test_a_mistyped_command_is_told_the_right_one(typed: Typed) -> None:
    code, _, errors = typed("chek", "my.yaml")
    assert (code, "Did you mean 'check'?" in errors) == (2, True)


def test_predict_decides_from_a_folder_for_people_and_for_machines(stage2_model: Path) -> None:
    for_people = predict("--model", str(stage2_model), NOTE)
    for_machines = predict("--model", str(stage2_model), "--json", "-", stdin=f"{NOTE}\n\npt reports cough\n")
    decisions = [json.loads(line) for line in for_machines.stdout.splitlines() if line.startswith("{")]
    fields = {"label", "valid", "label_probabilities", "rationale", "handed_over"}
    fields |= {"why", "remarks", *REMARKED}
    assert [set(decision) for decision in decisions] == [fields] * 2
    assert decisions[0]["handed_over"] is True
    assert decisions[0]["why"] == "never_evaluated"
    assert DEFERRAL_REASONS["never_evaluated"] in for_people.stdout
    assert f"{decisions[0]['label']} (" in for_people.stdout


def test_predict_says_where_there_is_no_rationale() -> None:
    decision = Decision("same day", True, {"same day": 1.0}, "")
    assert _answer_text(Answer(decision, None, None)).splitlines()[1:] == ["  (no rationale)"]


def test_predict_says_where_the_rationale_goes_beyond_the_note_or_contradicts_note_or_label(
    stage2_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README's own sentence: `emergency department` is shown, and the rationale states `same day`."""

    class SayingPredictor:
        labels = type("Labels", (), {"declared": LabelSet(("emergency department", "same day"), ())})
        calibration = None

        def __init__(self, _: Path) -> None: ...

        def decide(self, notes: list[str], *_: object, **__: object) -> list[Decision]:
            shares = {"emergency department": 0.97, "same day": 0.03}
            rationale = "Dizzy spells together with fainting and fever: the right level is same day."
            return [Decision("emergency department", True, shares, rationale)] * len(notes)

    monkeypatch.setattr("r2d.modeling.predictor.Predictor", SayingPredictor)
    note = "Dizzy spells since noon. No fainting."
    remarks = [
        'the rationale says "fainting", the note denies it',
        'the rationale says "fever", the note does not mention it',
        'the rationale states "same day", the label shown is "emergency department"',
    ]
    for_people = predict("--model", str(stage2_model), note).stdout
    assert for_people.endswith("".join(f"\n  -> read with care: {remark}" for remark in remarks) + "\n")
    assert json.loads(predict("--model", str(stage2_model), "--json", note).stdout)["remarks"] == remarks


@pytest.mark.parametrize(
    ("threshold", "reason"),
    [(None, DEFERRAL_REASONS["no_threshold"]), (1.0, DEFERRAL_REASONS["below_threshold"])],
)
def test_predict_says_why_a_person_should_decide(
    threshold: float | None, reason: str, stage2_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(stage2_model, tmp_path / "model")
    write_calibration(model, Calibration.of({"value": 1.0}, {"threshold": threshold}))
    write_manifest(model)
    assert f"for a person to decide: {reason}\n" in predict("--model", str(model), NOTE).stdout


def test_predict_takes_the_attribute_that_the_thresholds_are_for(stage2_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(stage2_model, tmp_path / "model")
    selective = {"threshold": None, "per": "sex", "parts": {"female": {"threshold": 0.0}}, "otherwise": None}
    write_calibration(model, Calibration.of({"value": 1.0}, selective))
    write_manifest(model)
    assert DEFERRAL_REASONS["no_attribute"] in predict("--model", str(model), NOTE).stdout
    assert "for a person" not in predict("--model", str(model), "--attribute", "sex=female", NOTE).stdout
    assert "--attribute: found no '='" in str(predict("--attribute", "female", NOTE).exception)


def test_check_asks_for_a_limit_on_under_triage_with_a_line_to_paste(typed: Typed, tmp_path: Path) -> None:
    """A warning: the run may start. With the line pasted, nothing is left to say."""
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "run.yaml"
    registration = {"model_name": "triage"}
    for expected in ("no limit on under-triage is declared", ""):
        values["parameters"]["config"]["registration"] = registration
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        code, output, errors = typed("check", str(path))
        assert (code, output.startswith(f"{path}: ok")) == (0, True)
        assert expected in errors
        registration = {"model_name": "triage", "gate": yaml.safe_load(errors.partition("registration.gate: ")[2])}
    assert errors == ""


def test_check_says_what_falls_away_with_labels_without_an_order_and_how_many_groups_choose_the_threshold(
    typed: Typed, tmp_path: Path
) -> None:
    rows = ["id,text,label,patient,split"]
    rows += [
        f"r{n},a note of {n} words,{'urgent' if n % 4 == 0 else 'routine'},p{n // 2},"
        f"{'validation' if n < 100 else 'train' if n < 300 else 'test'}"
        for n in range(400)
    ]
    (tmp_path / "notes.csv").write_text("\n".join(rows), encoding="utf-8")
    data: dict[str, Any] = {"format": "csv", "path": str(tmp_path / "notes.csv")}
    data["columns"] = {"group": "patient", "split": "split"}
    config = tmp_path / "my.yaml"
    for max_risk, ordered in ((0.1, None), (0.1, False), (0.05, True)):
        data["labels"] = {"names": ["urgent", "routine"]} | ({} if ordered is None else {"ordered": ordered})
        values = {"data": data, "method": {"name": "sft"}, "evaluation": {"selective": {"max_risk": max_risk}}}
        config.write_text(json.dumps({"parameters": {"config": values}}))
        code, output, errors = typed("check", str(config))
        assert code == 0, errors
        assert "the threshold is chosen by 100 validation rows of 50 groups" in output
        assert ("warning: the threshold" in output and "59 groups are needed" in output) is bool(ordered)
        assert ("under-triage is not measured" in errors and "data.labels.ordered: true" in errors) is (ordered is None)
        assert ("hence no answer is too low or too high" in output) is (ordered is False)
    data["columns"]["attributes"] = {"sex": "sex"}  # 25 groups each
    selective = {"max_risk": 0.1, "per": "sex"}
    rows = [f"{row},{'sex' if not n else 'mf'[n % 4 > 2]}" for n, row in enumerate(rows)]
    (tmp_path / "notes.csv").write_text("\n".join(rows), encoding="utf-8")
    for too_few, what in (("hand_over", "no label would be shown there"), ("common", "that of all rows holds there")):
        values |= {"evaluation": {"selective": selective | {"too_few": too_few}}}
        config.write_text(json.dumps({"parameters": {"config": values}}))
        output = typed("check", str(config))[1]
        assert "the threshold of each sex needs 36 groups even without an error, for all at once; fewer" in output
        assert f"have 'f', so {what}" in output


def test_a_check_and_a_run_name_all_files_that_are_missing(typed: Typed, tmp_path: Path) -> None:
    data = {"format": "csv", "path": str(tmp_path / "notes.csv"), "labels": {"names": ["urgent", "routine"]}}
    source = {"format": "text", "paths": [str(tmp_path / "llm.jsonl")]}
    values = {"data": data, "rationales": {"stage1_source": "llm", "sources": {"llm": source}}}
    config = tmp_path / "my.yaml"
    config.write_text(json.dumps({"parameters": {"config": values}}))
    code, _, errors = typed("check", str(config))
    with pytest.raises(DataError) as caught:
        RunRecord.of(load_config(config))
    assert code == 2
    for said in (errors, str(caught.value)):
        assert "(data.path is" in said
        assert "(rationales.sources.llm.paths is" in said


def test_predict_refuses_options_where_the_labels_are_declared(stage2_model: Path) -> None:
    error = predict("--model", str(stage2_model), "--option", "yes", "--option", "no", NOTE).exception
    assert isinstance(error, R2DError)
    assert str(error) == "--option: this model decides between emergency now, self care; leave --option out"


@pytest.mark.parametrize("options", [(), ("--option", "oven", "--option", "Oven")])
def test_predict_without_options_to_choose_from_says_what_to_type(
    options: tuple[str, ...], stage2_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predictor_of_options(_: Any) -> Any:
        return SimpleNamespace(labels=SimpleNamespace(declared=None))

    monkeypatch.setattr("r2d.modeling.predictor.Predictor", predictor_of_options)
    error = predict("--model", str(stage2_model), *options, NOTE).exception
    assert isinstance(error, R2DError)
    assert "this model chooses among options that come with each note" in str(error)
    assert "--option yes --option no" in str(error)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [(["-"], "\n", "standard input held no note"), ([" "], "", "a note is empty")],
)
def test_predict_refuses_emptiness(arguments: list[str], stdin: str, message: str) -> None:
    assert message in str(predict(*arguments, stdin=stdin).exception)


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "configs/demo.yaml", "--out", "taken/checked"),
        ("ingest", "configs/demo.yaml", "--out", "taken"),
        ("evaluate", "--data", "rows.csv", "--out", "taken"),
        ("drift", "decided.parquet", "--out", "taken"),
        ("retrain", "--config", "configs/demo.yaml", "--out", "taken"),
        ("search", "--config", "configs/search.yaml", "--out", "taken"),
        ("init", "calls.csv", "--out", "taken/my.yaml"),
        ("batch-input", "configs/demo.yaml", "--out", "taken/batch.jsonl"),
        ("new", "taken/project"),
    ],
    ids=lambda words: words[0],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the other arguments name what is not there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, R2DError)
    assert "no output can be written there" in str(done.exception)


def test_shares_and_patients_are_read_from_the_data_of_a_run(typed: Typed, tmp_path: Path) -> None:
    rows = ["id,text,label,patient"]
    rows += [f"r{n},a note of {n} words,{'urgent' if n % 4 == 0 else 'routine'},p{n // 2}" for n in range(400)]
    (tmp_path / "notes.csv").write_text("\n".join(rows), encoding="utf-8")
    data: dict[str, Any] = {"format": "csv", "path": str(tmp_path / "notes.csv"), "columns": {"group": "patient"}}
    data["labels"] = {"names": ["urgent", "routine"], "ordered": True}
    config = tmp_path / "my.yaml"
    config.write_text(json.dumps({"parameters": {"config": {"data": data, "method": {"name": "sft"}}}}))
    code, output, _ = typed("plan", str(config), "--json")
    result = json.loads(output)
    assert code == 0
    assert result["labels"] == {"urgent": 0.25, "routine": 0.75}
    assert (result["rows_per_group"], result["test_rows"]) == (2, result["num_known"]["test"])
    assert sum(result["num_known"].values()) == 400
    assert "gate: not_worse_than_champion, recall of urgent minus champion's" in [n["aim"] for n in result["needs"]]
    data["labels"] = {"names": ["urgent", "routine", "never"], "ordered": True}
    config.write_text(json.dumps({"parameters": {"config": {"data": data, "method": {"name": "sft"}}}}))
    code, _, error = typed("plan", str(config))
    assert (code, "no row of label 'never'; declare label_shares" in error) == (2, True)


def test_the_shipped_file_is_planned_as_a_table(typed: Typed) -> None:
    code, output, _ = typed("plan", "--config", str(ROOT / "configs" / "plan.yaml"))
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "shares of the labels: emergency 5 %, same day 35 %, self care 60 %"
    title = next(line for line in lines if line.startswith("Test rows"))
    first = lines[lines.index(title) + 1]
    assert title.index("rows", 9) + 4 == first.index("  in 80%") - 11, "numbers stand below their heads"


def test_check_stops_where_raters_never_meet_and_where_an_edit_applies_to_no_note(typed: Typed, tmp_path: Path) -> None:
    labels = ["urgent" if n % 3 else "routine" for n in range(60)]
    words = ("cough", "fever", "rash", "cut", "fall", "burn")
    notes = [f"r{n},{words[n % 6]} for {n} days and {words[n % 5]},{label}" for n, label in enumerate(labels)]
    (tmp_path / "notes.csv").write_text("\n".join(["id,text,label", *notes]), encoding="utf-8")
    config, raters = tmp_path / "my.yaml", tmp_path / "raters.csv"
    data = {"format": "csv", "path": str(tmp_path / "notes.csv"), "labels": {"names": ["urgent", "routine"]}}
    values = {"data": data, "method": {"name": "sft"}, "model": {"name": "scratch"}}
    values["evaluation"] = {"raters": {"file": str(raters)}}
    config.write_text(json.dumps({"parameters": {"config": values}}))
    both = [f"r{n},{who},{label}" for n, label in enumerate(labels) for who in ("ann", "bob")]
    raters.write_text("\n".join(["id,rater,label", *both]))
    code, output, _ = typed("check", str(config))
    assert code == 0
    assert "2 raters: 6 test rows labelled by two or more" in output
    raters.write_text("\n".join(["id,rater,label", *both[::2]]))
    code, _, error = typed("check", str(config))
    assert (code, "raters who never label the same row cannot be compared" in error) == (2, True)

    edit = {"group": "words", "expects": "same label", "replace": [{"find": "days", "by": "nights"}]}
    edits = tmp_path / "edits.yaml"
    values["evaluation"] = {"stress": {"file": str(edits)}}
    config.write_text(json.dumps({"parameters": {"config": values}}))
    edits.write_text(json.dumps({"edits": {"nights": edit}}))
    code, output, _ = typed("check", str(config))
    assert (code, "1 edit of notes, each of which applies to a test row: at most 24 decisions" in output) == (0, True)
    idle = edit | {"replace": [{"find": "zebra", "by": "horse"}]}
    edits.write_text(json.dumps({"edits": {"nights": edit, "zebras": idle}}))
    code, _, error = typed("check", str(config))
    assert (code, "edits.'zebras': found no note among 6 test rows that it applies to" in error) == (2, True)
