"""`r2d lineage` and `r2d diff`: from a version to its files, from a row to the versions, and between versions."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mlflow import MlflowClient
from rich.tree import Tree
from typer.testing import CliRunner, Result

from mlops.cli.registry import app
from mlops.lineage import version_lineage
from mlops.registry.decisions import DECISION_FILE, decision_file
from mlops.registry.versions import download
from r2d.errors import DataError, R2DError, RegistryError
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.lineage.difference import Change, MetricChange, VersionDifference, changed, difference_of
from r2d.lineage.records import (
    ArtifactRecord,
    PipelineRunRecord,
    RowLineage,
    SeenRow,
    StepRecord,
    VersionLineage,
    champion_comparison,
    find_row,
    stages_with_rationales,
)
from r2d.lineage.rendering import (
    SHORT_LINES,
    WIDTH,
    difference_tree,
    render,
    row_tree,
    short_tree,
    version_tree,
)
from tests import warm
from tests.gate.measured import NUM_ROWS, decisions, examples
from tests.mlops.conftest import Register, metrics, provenance, run_config

ROOT = Path(__file__).resolve().parents[2]
SECRET = "crushing chest pain"


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def model(packaged: Register) -> str:
    """Two versions: the second with another limit of the input, compared with the first."""
    first = decisions(0.8)
    packaged(run_config("traced"), metrics(first))
    longer = run_config("traced", max_input_tokens=768)
    packaged(longer, metrics(decisions(0.9, seed=2), first, reference="traced/1"))
    return "traced"


@pytest.fixture(scope="module")
def version(model: str) -> VersionLineage:
    return version_lineage("traced/2")


def step(name: str, *outputs: ArtifactRecord, cached_from: str | None = None, **logged: Any) -> StepRecord:
    status = "completed" if cached_from is None else "cached"
    return StepRecord(f"id-of-{name}", status, cached_from, "run-1", logged, [], outputs)


def with_origin(version: VersionLineage, **values: Any) -> VersionLineage:
    return replace(version, origin={**version.origin, **values})


def test_a_tree_has_its_branches_and_no_line_beyond_its_width() -> None:
    root = Tree("root")
    root.add("word " * 60).add("x" * 150)
    root.add("last")
    lines = render(root).splitlines()
    assert (lines[0], lines[1][:8], lines[-1]) == ("root", "├── word", "└── last")
    assert all(len(line) <= WIDTH for line in lines)
    assert ("".join(lines).count("word"), "".join(lines).count("x")) == (60, 150)


def test_from_a_version_back_to_its_files_with_their_hashes(model: str, version: VersionLineage) -> None:
    folder = download("traced/2").parent
    origin = json.loads((folder / "origin.json").read_text())
    assert version.origin == origin
    for name, sha256 in version.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name
    output = "".join(line.lstrip("│├└─ ") for line in typed("lineage", "traced/2", "--all").output.splitlines())
    for key in ("data_sha256", "rationales_sha256", "model_sha256", "lock_sha256"):
        assert origin[key] in output, key
    assert all(sha256 in output for sha256 in version.files.values())
    assert "commit" in output


def test_the_tree_names_gate_metrics_rationales_seeds_and_settings(model: str, version: VersionLineage) -> None:
    output = typed("lineage", model, "--all").output
    assert all(len(line) <= WIDTH for line in output.splitlines())
    value = version.metrics["macro_f1"]
    for expected in (
        f"traced version {version.version if version.aliases else 1} (champion), registered",
        "gate: passed, compared with",
        f"macro-F1 {value.value:.3f} ({value.low:.3f} to {value.high:.3f})",
        f"metrics, on {NUM_ROWS} test rows",
        "Stage 1, method r2d, seed 42",
        "trained on 1 rationales of llm",
        "llm: 1 taken from the data itself",
        "started from random weights",
        f"MLflow run {version.mlflow_runs['register_model'][0]} (register_model)",
    ):
        assert expected in output, expected


def test_a_version_without_a_pipeline_run_says_so_and_shows_the_rest(version: VersionLineage) -> None:
    assert version.pipeline_run is None
    (reason,) = version.not_reachable
    assert "registered outside of a pipeline" in reason
    assert "not reachable: the pipeline run" in render(version_tree(version))


def test_what_is_remembered_of_a_version_is_where_its_files_are_and_not_what_they_hold(
    packaged: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(run_config("remembered"), metrics(decisions(0.8)))
    record = PipelineRunRecord("run-1", "run of today", "reason2decide", "2026-01-01T00:00:00", {})
    monkeypatch.setattr("mlops.lineage.pipeline_run", lambda version: record)
    monkeypatch.setattr("mlops.lineage.stack_state", lambda: "unchanged")
    first = version_lineage("remembered/1")
    assert first.gate is not None
    client = MlflowClient()
    file = decision_file(client.get_model_version("remembered", "1"))
    place = client.get_run(first.mlflow_runs["register_model"][0]).info.artifact_uri
    assert file == Path(place.removeprefix("file://")) / DECISION_FILE
    monkeypatch.setattr("mlops.lineage._version", None)  # the registry is not asked again
    decision = json.loads(file.read_text())
    file.write_text(json.dumps(decision | {"what_follows": "changed"}))
    assert version_lineage("remembered/1").gate == first.gate | {"what_follows": "changed"}
    for damaged in ("", "[1", "{}", "[]", "null", '{"outcome": "passed"}'):
        file.write_text(damaged)
        again = version_lineage("remembered/1")
        assert again.gate is None
        assert any("no record of the gate's decision on remembered/1" in reason for reason in again.not_reachable)


def test_where_the_pipeline_run_can_be_asked_its_steps_artifacts_and_checks_are_named(version: VersionLineage) -> None:
    made = ArtifactRecord("r2d_stage2_model", "4", "artifact-1", "abcdef0123456789", "/store/r2d_stage2_model/1")
    selected = {"selected_step": 40, "stopped_at_step": 50, "metric": "eval_macro_f1", "best_value": 0.7}
    steps = {
        "train_stage2": step("train_stage2", made, **selected),
        "train_stage1": step("train_stage1", cached_from="step-of-old"),
        "validate_examples": step("validate_examples"),
    }
    result = {
        "num_rows": 1_300, "num_valid": 1_290, "num_quarantined": 10, "num_errors": 0, "num_warnings": 1,
        "splits": {"train": {"self care": 1_000}}, "quarantine_reasons": {"text too short": 10},
        "checks": [
            {"title": "labels are known", "severity": "error", "num_unexpected": 0, "not_measured": ""},
            {"title": "no text stands twice", "severity": "warn", "num_unexpected": 7, "not_measured": ""},
        ],
    }  # fmt: skip
    whole = replace(
        version,
        pipeline_run=PipelineRunRecord("run-1", "run of today", "reason2decide", "2026-01-01T00:00:00", steps),
        data_result=result,
        not_reachable=[],
        mlflow_runs={**version.mlflow_runs, "train_stage2": ["mlflow-1"]},
    )
    output = render(version_tree(whole))
    assert all(len(line) <= WIDTH for line in output.splitlines())
    for expected in (
        "pipeline run run of today of reason2decide, ZenML run-1",
        "ZenML step train_stage2 id-of-train_stage2, ran",
        "r2d_stage2_model version 4, artifact-1, hash abcdef012345\n",
        "ZenML step train_stage1 id-of-train_stage1, cached from step step-of-old",
        "step 40 of 50 was selected: macro-F1 0.700",
        "MLflow run mlflow-1 (train_stage2)",
        "validation: 1,300 rows, 1,290 valid, 10 quarantined, 0 errors, 1 warning",
        "quarantined: 10 text too short",
        "not met (warn): no text stands twice; 7 do not",
    ):
        assert expected in output, expected
    assert "labels are known" not in output


def test_files_that_were_read_and_made_stand_with_their_hashes(version: VersionLineage) -> None:
    read, made = {"notes.csv": "1" * 64, "nurse.csv": "2" * 64}, {"model.safetensors": "3" * 64}
    before = with_origin(version, files_read=read, model_files=made, files_sha256="4" * 64, num_rows=1_200)
    output = render(version_tree(before))
    for expected in (
        *(f"read: {name}, sha256 {sha256}\n" for name, sha256 in read.items()),
        f"model.safetensors, sha256 {'3' * 64}\n",
        f"fingerprint of other files {'4' * 64}\n",
        "1,200 valid rows\n",
    ):
        assert expected in output, expected
    after = with_origin(before, files_read=read | {"nurse.csv": "5" * 64})
    assert difference_of(before, after).changed == {"data": {"files_read.nurse.csv": Change("2" * 64, "5" * 64)}}


def rendered_row(row: SeenRow | None) -> str:
    assert row is not None
    version = {"name": "m", "version": "1", "aliases": [], "data_sha256": "d", "not_reachable": None}
    return render(row_tree("row-1", [RowLineage(**vars(row), **version)]))


def test_rows_are_counted_from_1_and_a_rationale_in_its_row_has_no_id_of_its_own() -> None:
    table = examples().slice(0, 3)
    places = [f"notes.csv: row {number} (line {number + 1})" for number in (1, 2, 3)]
    for name, column in (("row", pa.array(range(3), pa.int64())), ("place", pa.array(places))):
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    inline = provenance()
    for name, value in (("file", "notes.csv"), ("row", 2), ("record_id", "")):
        field = inline.schema.field(name)
        inline = inline.set_column(inline.column_names.index(name), field, pa.array([value], field.type))
    config = {"method": {"name": "r2d"}, "data": {"format": "csv", "path": "data/notes.csv"}}
    row = find_row("row-1", provenance=inline, config=config, examples=table)
    assert row is not None
    assert (row.row, row.rationales[0]["row"], row.rationales[0]["record_id"]) == (2, 2, None)
    assert "row: csv data/notes.csv, row 2 (line 3)\n" in rendered_row(row)
    assert "from notes.csv, row 2\n" in rendered_row(row)
    from_file = config | {"rationales": {"sources": {"llm": {"format": "csv", "paths": ["nurse.csv"]}}}}
    row = find_row("row-1", provenance=inline, config=from_file, examples=table)
    assert "from notes.csv, line 2\n" in rendered_row(row)


def test_a_list_that_is_cut_says_how_many_are_left_out(version: VersionLineage) -> None:
    files = [{"source": f"ward{n}", "num_rationales": 1, "file": f"ward{n}.csv", "sha256": ""} for n in range(40)]
    short = render(short_tree(replace(version, rationales={**version.rationales, "files": files}))).splitlines()
    shown = [line for line in short if "from ward" in line]
    assert len(short) <= SHORT_LINES
    assert 0 < len(shown) < 40
    assert f"; and {40 - len(shown)} more" in shown[-1]


def test_without_all_the_tree_has_thirty_lines_and_something_of_every_part(version: VersionLineage) -> None:
    short = render(short_tree(version)).splitlines()
    parts = [str(part.label).split(",")[0].split(":")[0] for part in version_tree(version).children]
    assert len(short) <= SHORT_LINES
    assert all(any(part in line for line in short) for part in parts)
    assert typed("lineage", "traced/2").output.splitlines() == short
    assert len(render(version_tree(version)).splitlines()) > SHORT_LINES


def test_values_of_an_origin_that_this_code_does_not_know_are_shown(version: VersionLineage) -> None:
    unknown = {"read": [{"file": "notes.csv", "sha256": "f" * 64}], "tools": {"compiler": "13"}}
    output = render(version_tree(with_origin(version, **unknown)))
    assert f"file=notes.csv, sha256={'f' * 64}" in output
    assert "compiler: 13" in output


def test_a_method_of_one_stage_has_no_rationales_of_stage_1() -> None:
    assert stages_with_rationales({"method": {"name": "stage2_only"}}) == ["stage2"]
    assert stages_with_rationales({"method": {"name": "sft"}}) == []


def test_json_holds_what_the_tree_is_drawn_from(version: VersionLineage) -> None:
    values = json.loads(typed("lineage", "traced/2", "--json").output)
    assert values == version.to_json()
    assert set(values) == {
        "name", "version", "aliases", "registered_at", "files", "config", "origin", "num_test_rows", "figures",
        "compared", "rationales", "gate", "mlflow_runs", "pipeline_run", "data_result", "not_reachable",
    }  # fmt: skip
    assert set(values["figures"]["macro_f1"]) == {"value", "low", "high"}
    assert values["compared"]["reference"] == "traced/1"


def test_a_row_names_its_rationale_and_every_version_that_saw_it(model: str) -> None:
    output = typed("lineage", "traced", "--row", "row-1").output
    assert output.startswith("row row-1, seen by 2 versions\n")
    assert "traced version 1" in output
    assert "traced version 2" in output
    assert "rationale of llm: taken by Stage 1 and Stage 2" in output
    assert "fingerprint of the data " + "d" * 64 in output
    assert output.count("trained on it") == 2
    (seen,) = json.loads(typed("lineage", "traced/1", "--row", "row-1", "--json").output)["seen_by"]
    assert (seen["version"], seen["split"]) == ("1", "train")
    assert seen["rationales"][0]["rationale_sha256"] == "a" * 64
    everywhere = json.loads(typed("lineage", "--row", "row-1", "--json").output)["seen_by"]
    assert {"1", "2"} <= {seen["version"] for seen in everywhere if seen["name"] == "traced"}


def test_a_row_without_a_rationale_is_found_in_the_examples_and_no_text_of_it_is_kept() -> None:
    table = examples().slice(0, 3)
    texts = {name: pa.array([SECRET] * 3) for name in ("text", "rationale")}
    for name, column in texts.items():
        table = table.set_column(table.column_names.index(name), name, column)
    config = {"method": {"name": "r2d"}, "data": {"format": "csv", "path": "notes.csv"}}
    row = find_row("row-2", provenance=provenance(), config=config, examples=table)
    assert row is not None
    assert (row.split, row.rationales) == ("test", [])
    assert find_row("row-2", provenance=provenance(), config=config, examples=None) is None
    output = rendered_row(row)
    assert "measured on it (test)" in output
    assert "its label alone" in output
    assert SECRET not in output + repr(row)


def test_the_difference_of_two_versions_names_what_changed_and_how_far_figures_moved(model: str) -> None:
    difference = json.loads(typed("diff", "traced/1", "traced/2", "--json").output)
    assert difference["changed"] == {"config": {"model.max_input_tokens": {"before": 1024, "after": 768}}}
    assert difference["same_data"] is True
    moved = difference["figures"]["macro_f1"]
    assert moved["difference"] == pytest.approx(moved["after"]["value"] - moved["before"]["value"])
    assert moved["paired"]["value"] == pytest.approx(moved["difference"])
    output = typed("diff", "traced/1", "traced/2").output
    assert all(len(line) <= WIDTH for line in output.splitlines())
    assert "model.max_input_tokens: 1024 -> 768" in output
    assert f"{moved['difference']:+.3f}, better: on the same" in " ".join(output.replace("│", " ").split())
    back = json.loads(typed("diff", "traced/2", "traced/1", "--json").output)["figures"]["macro_f1"]
    ends = [moved["paired"][key] for key in ("value", "high", "low")]
    assert [back["paired"][key] for key in ("value", "low", "high")] == pytest.approx([-end for end in ends])


def test_a_difference_is_better_or_worse_only_where_its_interval_does_not_hold_0() -> None:
    compared = metrics(decisions(0.9, seed=2), decisions(0.8), reference="traced/1")
    assert compared.champion is not None
    contradicted = {"contradicted_rationale_rate": IntervalEstimate(0.1, -0.1, 0.3)}
    compared = replace(compared, champion=replace(compared.champion, claims_difference=contradicted))
    comparison = champion_comparison(compared)
    assert comparison is not None
    change = MetricChange(IntervalEstimate(0.2), IntervalEstimate(0.3), 0.1, None)

    def verdict(paired: IntervalEstimate | None, name: str = "under_triage_rate") -> str:
        difference = VersionDifference("traced/1", "traced/2", {}, True, {name: replace(change, paired=paired)})
        return " ".join(render(difference_tree(difference)).split()).partition("+0.100, ")[2]

    assert verdict(IntervalEstimate(0.1, -0.019, 0.2)) == "not told apart: on the same rows +0.100 (-0.019 to +0.200)"
    assert verdict(IntervalEstimate(0.1, 0.019, 0.2)).startswith("worse: on the same rows")
    assert verdict(IntervalEstimate(0.1, 0.019, 0.2), "macro_f1").startswith("better: on the same rows")
    assert verdict(None) == "no interval"
    of_claims = comparison.differences["contradicted_rationale_rate"]
    assert verdict(of_claims, "contradicted_rationale_rate").startswith("not told apart")


def test_metrics_of_other_data_are_compared_with_a_caution_and_a_lost_metric_is_not_measured(
    version: VersionLineage,
) -> None:
    other = with_origin(
        version, data_sha256="e" * 64, code_commit="c0ffee", lock_sha256=None,
        seeds={**version.origin["seeds"], "stage2": 7},
    )  # fmt: skip
    first, *rest = version.rationales["trained_on"]
    rate = version.metrics["under_triage_rate"].value
    assert rate is not None
    other = replace(
        other,
        config={**version.config, "model": {**version.config["model"], "name": "google/flan-t5-small"}},
        rationales={**version.rationales, "trained_on": [{**first, "num_rationales": 9}, *rest]},
        metrics={name: value for name, value in version.metrics.items() if name != "brier"}
        | {"under_triage_rate": IntervalEstimate(rate + 0.1)},
    )
    difference = difference_of(version, other)
    assert set(difference.changed) == {"start model", "config", "rationales", "code", "lock", "data", "seeds"}
    assert difference.changed["seeds"] == {"seeds.stage2": Change(42, 7)}
    assert difference.same_data is False
    output = render(difference_tree(difference))
    for expected in ("other test rows", "-> not measured", "less is better: ", "+0.100, no interval"):
        assert expected in output
    assert "nothing changed" in render(difference_tree(difference_of(version, version)))


def test_nested_mappings_differ_by_dotted_keys() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    after = {"a": {"b": 1, "c": [1]}, "d": {"e": None, "f": 0}}
    assert changed(before, after) == {"a.c": Change([1, 2], [1]), "d": Change({}, None), "d.f": Change(None, 0)}
    assert changed(before, before) == {}


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (("lineage", "nobody"), RegistryError, "no model named 'nobody' is registered"),
        (("lineage", "traced/9"), RegistryError, "'traced' has versions 1, 2 and aliases champion"),
        (("lineage", "traced/x"), RegistryError, "model 'traced/x' is not in the registry"),
        (("diff", "traced/1", "traced@winner"), RegistryError, "model 'traced@winner' is not in the registry"),
        (("lineage", "traced", "--row", "row-x"), DataError, "row 'row-x' is in none of the 2 versions of traced; 2"),
        (("lineage", "nobody", "--row", "row-1"), RegistryError, "no model named 'nobody'"),
        (("lineage",), R2DError, "no model is named"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(
    model: str, words: tuple[str, ...], kind: type[Exception], message: str
) -> None:
    error = typed(*words).exception
    assert isinstance(error, kind)
    assert message in str(error)


def test_a_zenml_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    store = tmp_path / "zenml.db"
    store.write_text("no database")
    program = (
        "from uuid import UUID\n"
        "from types import SimpleNamespace\n"
        "from mlops.lineage import NotReachableError, pipeline_run\n"
        "version = SimpleNamespace(tags={'zenml.pipeline_run': str(UUID(int=7))})\n"
        "try:\n    pipeline_run(version)\n"
        "except NotReachableError as error:\n    print('error', error)\n"
    )
    variables = {
        "PYTHONPATH": str(ROOT), "ZENML_CONFIG_PATH": str(tmp_path), "ZENML_STORE_URL": f"sqlite:///{store}",
    }  # fmt: skip
    done = warm.run(["python", "-c", program], cwd=tmp_path, environment=os.environ | variables)
    message = "error ZenML's pipeline run 00000000-0000-0000-0000-000000000007 (DatabaseError: "
    assert message in done.stdout, done.stderr[-2_000:]
