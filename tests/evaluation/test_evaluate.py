"""An evaluation as a whole: its parts agree with each other, with the model folder they end in, and with the schema."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.data import DataConfig, SyntheticTriageConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, RatersConfig, SafetyConfig, StressConfig
from r2d.data.examples import Example, split_of, to_table, with_columns
from r2d.errors import ConfigError, DataError
from r2d.evaluation import evaluate as module
from r2d.evaluation.calibration import calibration_of
from r2d.evaluation.evaluate import Champion, Evaluation, evaluate
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.sections.labels import Comparator
from r2d.files import order_by_hash
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import read_calibration, write_calibration
from r2d.modeling.predictor import Predictor
from r2d.synthetic.calls import generate_calls
from r2d.synthetic.facts import DISPOSITIONS
from tests.conftest import TOY_LABELS
from tests.evaluation.judge.judged import SHIPPED, answer, judge_config
from tests.llm.server import RunningServer

SCHEMA = json.loads((Path(module.__file__).parent / "metrics.schema.json").read_text(encoding="utf-8"))
DATA = DataConfig(format="csv", path="toy.csv", labels=TOY_LABELS)
QUICK = EvaluationConfig(
    intervals=IntervalsConfig(num_resamples=1_000),
    safety=SafetyConfig(costs={"emergency now": {"self care": 10.0}, "self care": {"emergency now": 1.0}}),
    flip_test_rows=5,
    seen_rows="allow",  # the toy task has few texts, and most come back in the test
)


def checked(metrics: Metrics) -> Metrics:
    """After a round through strict JSON that keeps to the schema, and back."""
    values = json.loads(json.dumps(metrics.to_json(), allow_nan=False))
    jsonschema.validate(values, SCHEMA)
    assert Metrics.from_json(values).to_json() == values
    return metrics


@pytest.fixture(scope="module")
def described(examples: pa.Table) -> pa.Table:
    """Two rows of a caller, and a site for each row."""
    rows = range(len(examples))
    return with_columns(
        examples,
        group=[f"caller {row // 10}" for row in rows],
        attributes=[[("site", "north" if row % 3 else "south")] for row in rows],
    )


@pytest.fixture(scope="module")
def evaluation(described: pa.Table, stage2_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    champion, file = Champion("toy/1", stage2_model), tmp_path_factory.mktemp("stress") / "edits.yaml"
    file.write_text("edits:\n  a word more: {group: words, expects: same label, add: [All is well.]}\n", "utf-8")
    test, raters = split_of(described, "test"), file.parent / "raters.csv"
    given = [f"{row_id},{who},{test['label'][0]}" for row_id in test["id"].to_pylist()[:12] for who in ("ann", "bob")]
    raters.write_text("\n".join(["id,rater,label", *given]), "utf-8")
    update = {"stress": StressConfig(file=str(file), max_rows=5), "raters": RatersConfig(file=str(raters))}
    config = QUICK.model_copy(update=update)
    return evaluate(described, stage2_model, config=config, data=DATA, champion=champion)


def test_stress_tests_are_measured_beside_the_rest_and_one_that_fits_no_note_stops_before_any_decision(
    evaluation: Evaluation, described: pa.Table, stage2_model: Path, tmp_path: Path
) -> None:
    stress, test = evaluation.metrics.stress, split_of(described, "test")
    assert stress is not None
    (edit,) = stress.edits
    assert (stress.num_rows, edit.num_rows) == (5, 5)
    assert stress.sentences is not None
    assert stress.num_decisions == 5 + 3 * stress.sentences.num_rows
    rows = sorted(order_by_hash(test["id"].to_pylist())[:5])
    texts = [test["text"][row].as_py() for row in rows]
    decide = Predictor(stage2_model).decide
    pairs = zip(decide(texts), decide([f"{text} All is well." for text in texts]), strict=True)
    assert edit.num_broken == sum(one.label != other.label for one, other in pairs)
    assert "A word more" in evaluation.report
    assert evaluation.seconds["stress"] > 0
    file = tmp_path / "edits.yaml"
    config = QUICK.model_copy(update={"stress": StressConfig(file=str(file), max_rows=5)})
    file.write_text("edits:\n  no such word: {group: words, expects: same label, where: zz, typos: 1}\n", "utf-8")
    with pytest.raises(DataError, match="'no such word': found no note among 5 test rows"):
        evaluate(test, tmp_path / "no model", config=config, data=DATA)


def test_a_model_of_the_labels_alone_and_the_rule_of_invented_calls_are_measured_on_the_same_rows(
    stage2_model: Path,
) -> None:
    calls = SyntheticTriageConfig(num_calls=60, num_test_calls=40, seed=5, label_noise=0.2)
    data = DataConfig(format="synthetic_triage", labels=TOY_LABELS, synthetic=calls)
    rows = [call for call in generate_calls(calls) if call.is_test]
    names = dict(zip(DISPOSITIONS, (*TOY_LABELS.names, *[TOY_LABELS.names[-1]] * len(DISPOSITIONS)), strict=False))
    table = to_table(Example(id=call.id, text=call.text, label=names[call.label], split="test") for call in rows)
    config = QUICK.model_copy(update={"safety": SafetyConfig()})
    metrics = evaluate(table, stage2_model, config=config, data=data, label_only=stage2_model).metrics
    assert metrics.baselines[Comparator.LABEL_ONLY] == metrics.label
    assert metrics.differences[Comparator.LABEL_ONLY].macro_f1.value == 0.0
    right = sum(call.disposition == names[call.label] for call in rows)
    assert metrics.baselines[Comparator.CEILING].accuracy == right / len(rows)


def test_metrics_keep_to_the_schema_and_agree_with_each_other(evaluation: Evaluation) -> None:
    metrics = checked(evaluation.metrics)
    named = [
        row_id for row_id in evaluation.predictions["id"].to_pylist() if f'"{row_id}"' in json.dumps(metrics.to_json())
    ]
    assert (named, len(metrics.safety.worst_cases) > 0) == ([], True), "ids are for the report alone"
    label, intervals = metrics.label, metrics.intervals
    for name in ("accuracy", "macro_f1", "weighted_f1", "invalid_label_rate"):
        assert getattr(intervals, name).value == getattr(label, name), name
    assert intervals.under_triage_rate.value == metrics.safety.under_triage.rate
    assert intervals.mean_cost.value == pytest.approx(metrics.safety.mean_cost)
    assert metrics.slices.whole["accuracy"].value == label.accuracy
    assert {part.by for part in metrics.slices.slices} >= {"label", "length", "attributes.site"}
    assert intervals.num_groups < metrics.num_rows, "callers are drawn, not rows"
    assert (metrics.raters.num_rated, metrics.raters.pairs[0].figures["same"].value) == (12, 1.0)
    assert metrics.raters.ceiling[-1].num_labels == 24
    assert set(metrics.differences) == {"majority class", "TF-IDF + logistic regression", "champion"}
    assert metrics.judge == {"status": "not judged", "reason": "no judge is configured"}
    assert len(evaluation.judgement.scores) == 0
    assert metrics.numbers()["label/per_class/self care/recall"] == label.per_class["self care"].recall
    assert evaluation.overview()["under_triage_rate"] == metrics.safety.under_triage.rate


def test_calibration_rows_choose_the_threshold_and_without_them_the_page_says_that_validation_rows_did(
    evaluation: Evaluation, described: pa.Table, stage2_model: Path
) -> None:
    splits = described["split"].to_pylist()
    seen, num_apart = 0, splits.count("validation") // 2
    for row, split in enumerate(splits):
        if split == "validation" and seen < num_apart:
            splits[row], seen = "calibration", seen + 1
    apart = evaluate(with_columns(described, split=splits), stage2_model, config=QUICK, data=DATA)
    metrics = checked(apart.metrics)
    assert (metrics.selective.validation.split, metrics.selective.validation.num_rows) == ("calibration", num_apart)
    assert metrics.calibration.temperature.num_rows == num_apart
    assert metrics.label == evaluation.metrics.label
    warning = "There are no calibration notes"
    assert (warning in evaluation.report, warning in apart.report) == (True, False)
    assert evaluation.metrics.selective.validation.split == "validation"


def test_a_model_differs_from_itself_as_champion_in_nothing(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics
    assert metrics.champion == ChampionMetrics(
        reference="toy/1",
        label=metrics.label,
        under_triage_rate=metrics.safety.under_triage.rate,
        over_triage_rate=metrics.safety.over_triage.rate,
        rationale=metrics.rationale.populations.all,
        alignment=metrics.alignment,
        claims=metrics.claims["model"],
        claims_difference=metrics.champion.claims_difference,
        outside_reader=metrics.outside_reader,
        outside_reader_difference=metrics.champion.outside_reader_difference,
    )
    assert {gap.value for gap in metrics.champion.outside_reader_difference.values()} <= {0.0, None}
    assert metrics.champion.outside_reader_difference["consistency"].value == 0.0
    gaps = metrics.champion.claims_difference
    assert {name: gap.value for name, gap in gaps.items()} == {
        "contradicted_rationale_rate": 0.0, "other_label_rate": 0.0
    }  # fmt: skip
    assert all(gap.low < 0.0 < gap.high for gap in gaps.values()), "what did not occur is no certainty"
    assert metrics.differences[Comparator.CHAMPION].macro_f1.value == 0
    assert {part.difference["accuracy"].value for part in metrics.champion_slices} == {0}


def test_the_model_with_its_calibration_shows_what_the_predictions_say_and_is_measured_by_it_again(
    evaluation: Evaluation, described: pa.Table, stage2_model: Path, tmp_path: Path
) -> None:
    folder, test = tmp_path / "model", split_of(described, "test")
    shutil.copytree(stage2_model, folder)
    bare = evaluate(test, folder, config=QUICK, data=DATA)
    assert checked(bare.metrics).calibration is bare.metrics.selective is calibration_of(bare.metrics) is None
    assert bare.metrics.baselines == {}, "nothing to learn from"
    assert set(bare.predictions["handed_over"].to_pylist()) == {None}

    calibration = calibration_of(evaluation.metrics)
    assert calibration is not None
    write_calibration(folder, calibration)
    write_manifest(folder)
    assert read_calibration(folder) == calibration
    decisions = Predictor(folder).decide(test["text"].to_pylist())
    for decision, row in zip(decisions, evaluation.predictions.to_pylist(), strict=True):
        assert (decision.label, decision.rationale) == (row["predicted_label"], row["predicted_rationale"])
        assert decision.label_probabilities == pytest.approx(dict(row["label_probabilities"]), abs=1e-6)
        assert calibration.defers(decision.confidence, decision.label, {}) is row["handed_over"]

    again = evaluate(test, folder, config=QUICK, data=DATA)  # without validation rows
    assert checked(again.metrics).calibration == evaluation.metrics.calibration
    assert again.metrics.selective == evaluation.metrics.selective
    for row, other in zip(again.predictions.to_pylist(), evaluation.predictions.to_pylist(), strict=True):
        assert dict(row["label_probabilities"]) == pytest.approx(dict(other["label_probabilities"]))


def test_a_configured_judge_is_asked_once_and_its_scores_stand_in_the_metrics(
    server: RunningServer, described: pa.Table, stage2_model: Path, tmp_path: Path
) -> None:
    fives = answer(**dict.fromkeys(("correctness", "completeness", "faithfulness", "agreement", "safety"), 5))
    server.start(contents={"*": [fives]})
    config = QUICK.model_copy(update={"judge": judge_config(server, SHIPPED, votes=1, max_rows=4)})
    texts, ids = described["text"].to_pylist(), described["id"].to_pylist()  # the server knows a row by its mark
    described = with_columns(described, text=[f"{text} <<{id_}>>" for text, id_ in zip(texts, ids, strict=True)])
    with pytest.raises(ConfigError, match="work_dir"):
        evaluate(described, stage2_model, config=config, data=DATA)
    for _ in range(2):
        remarks = ["it is of the family of <b>"]
        evaluation = evaluate(
            described, stage2_model, config=config, data=DATA, work_dir=tmp_path, judge_remarks=remarks
        )
        judged = checked(evaluation.metrics).judge
        assert judged["remarks"] == remarks
        assert "It is of the family of &lt;b&gt;." in evaluation.report
        assert (judged["status"], judged["num_chosen"]) == ("judged", 4)
        assert {row["mean"]["value"] for row in judged["criteria"] if row["num_rows"]} == {5}
        assert set(evaluation.judgement.scores["id"].to_pylist()) <= set(evaluation.predictions["id"].to_pylist())
    assert sum(server.asked().values()) == judged["requests"]["num"], "the second evaluation asked nothing"


def test_the_command_measures_a_file_of_labelled_rows(
    stage2_model: Path, examples: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And writes down that the test rows were looked at; as an external validation, by site and period."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    path, out = tmp_path / "notes.csv", tmp_path / "out"
    frame = split_of(examples, "test").select(["id", "text", "label", "rationale"]).to_pandas()
    frame["hospital"] = ["north" if row % 2 else "south" for row in range(len(frame) - 1)] + ["tiny"]
    frame["written"] = [f"2025-0{1 + row % 6}-15" for row in range(len(frame))]
    frame.to_csv(path, index=False)
    command = ["evaluate", "--model", str(stage2_model), "--data", str(path), "--out", str(out)]
    command += ["--seen-rows", "allow", "--external", "North Hospital <2025>", "--set", "data.columns.time=written"]
    command += ["--set", "data.columns.attributes.site=hospital"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    metrics = checked(Metrics.from_json(json.loads((out / "metrics.json").read_text(encoding="utf-8"))))
    assert f"{metrics.num_rows} rows: accuracy {metrics.label.accuracy:.3f}" in done.output
    assert metrics.num_rows == len(frame)
    assert metrics.rationale.num_without_reference == int((frame["rationale"] == "").sum())
    assert sorted(file.name for file in out.iterdir()) == ["metrics.json", "predictions.parquet", "report.html"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "no other model was measured on it" in page
    assert "<h1>External validation</h1>" in page
    assert "The notes come from North Hospital &lt;2025&gt;, as those say who evaluated the model" in page
    site, period = metrics.slices.heterogeneity
    assert (site.by, site.parts, site.not_pooled) == ("site", ("north", "south"), {"tiny": "1 row"})
    assert (period.by, period.parts) == ("period", ("2025 Q1", "2025 Q2"))
    assert (metrics.cohort.flow.num_read, metrics.cohort.flow.num_measured) == (len(frame), len(frame))
    listed = CliRunner().invoke(app, ["looks", "--json"], catch_exceptions=False)
    (look,) = map(json.loads, listed.output.splitlines())
    assert (look["purpose"], look["model"], look["champion"]) == ("evaluation", str(stage2_model), None)
    assert f"Test set {look['test_set'][:12]}" in page


@pytest.mark.parametrize("command", ["evaluate", "predict-file"])
def test_the_key_that_a_message_advises_is_an_option_of_the_command_that_was_typed(
    command: str, stage2_model: Path, examples: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    path = tmp_path / "notes.csv"
    frame = split_of(examples, "test").select(["id", "text", "label"]).to_pandas()
    frame.rename(columns={"text": "note"}).to_csv(path, index=False, sep=";")
    typed = {
        "evaluate": ["evaluate", "--data", str(path), "--out", str(tmp_path / "out"), "--seen-rows", "allow"],
        "predict-file": ["predict-file", str(path), "--out", str(tmp_path / "out.parquet")],
    }[command] + ["--model", str(stage2_model)]
    for key, value in (("data.delimiter", ";"), ("data.columns.text", "note")):
        with pytest.raises(DataError, match=rf"(?s){key}.*--set KEY=VALUE") as raised:
            CliRunner().invoke(app, typed, catch_exceptions=False)
        assert str(path) in str(raised.value)
        typed += ["--set", f"{key}={value}"]
    assert CliRunner().invoke(app, typed, catch_exceptions=False).exit_code == 0
