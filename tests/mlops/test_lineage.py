"""`r2d lineage` and `r2d diff`: from a version to its files, from a row to the versions, and between versions."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from mlops.cli.registry import app
from mlops.lineage.facts import lineage_facts
from mlops.registry.versions import download
from r2d.errors import DataError, R2DError, RegistryError
from r2d.lineage.difference import changed, difference_of, difference_tree
from r2d.lineage.facts import rationales_of
from r2d.lineage.rows import row_of, row_tree
from r2d.lineage.tree import WIDTH, Node, drawn
from r2d.lineage.version_tree import version_tree
from tests.gate.measured import NUM_ROWS, decisions, examples, metrics_of
from tests.mlops.conftest import Register, provenance, run_config

SECRET = "crushing chest pain"


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def model(packaged: Register) -> str:
    """Two versions: the second with another limit of the input, compared with the first."""
    packaged(run_config("traced"), metrics_of(decisions(0.8)))
    longer = run_config("traced", max_input_tokens=768)
    packaged(longer, metrics_of(decisions(0.9, seed=2), decisions(0.8), reference="traced/1"))
    return "traced"


@pytest.fixture(scope="module")
def facts(model: str) -> dict[str, Any]:
    return lineage_facts("traced/2")


def step(name: str, *outputs: dict[str, Any], cached_from: str | None = None, **logged: Any) -> dict[str, Any]:
    return {
        "id": f"id-of-{name}", "status": "completed" if cached_from is None else "cached", "cached_from": cached_from,
        "pipeline_run": "run-1", "logged": logged, "inputs": [], "outputs": list(outputs),
    }  # fmt: skip


@pytest.fixture
def with_run(facts: dict[str, Any]) -> dict[str, Any]:
    """The same, as where the pipeline run can be asked."""
    made = {"name": "r2d_stage2_model", "version": "4", "id": "artifact-1", "hash": "abcdef0123456789"}
    steps = {
        "train_stage2": step("train_stage2", made, selected_step=40, stopped_at_step=50, metric="eval_macro_f1",
                             best_value=0.7),
        "train_stage1": step("train_stage1", cached_from="step-of-old"),
        "validate_examples": step("validate_examples"),
    }  # fmt: skip
    run = {"id": "run-1", "name": "run of today", "pipeline": "reason2decide", "at": "2026-01-01T00:00:00"}
    result = {
        "num_rows": 1_300, "num_valid": 1_290, "num_quarantined": 10, "num_errors": 0, "num_warnings": 1,
        "splits": {"train": {"self care": 1_000}}, "quarantine_reasons": {"text too short": 10},
        "checks": [
            {"title": "labels are known", "severity": "error", "num_unexpected": 0, "not_measured": ""},
            {"title": "no text stands twice", "severity": "warn", "num_unexpected": 7, "not_measured": ""},
        ],
    }  # fmt: skip
    return copy.deepcopy(facts) | {"pipeline_run": run | {"steps": steps}, "data_result": result, "not_reachable": []}


def test_a_tree_has_its_branches_and_no_line_beyond_its_width() -> None:
    root = Node("root")
    child = root.add("word " * 40)
    child.add("x" * 150)
    root.add("last")
    lines = drawn(root, width=60).splitlines()
    assert (lines[0], lines[1][:7], lines[-1]) == ("root", "├─ word", "└─ last")
    assert all(len(line) <= 60 for line in lines)
    assert "".join(lines).count("word") == 40
    assert "".join(lines).count("x") == 150


def test_from_a_version_back_to_its_files_with_their_hashes(model: str, facts: dict[str, Any]) -> None:
    folder = download("traced/2").parent
    origin = json.loads((folder / "origin.json").read_text())
    assert facts["origin"] == origin
    for name, sha256 in facts["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name
    shown = "".join(line.lstrip("│├└─ ") for line in typed("lineage", "traced/2").output.splitlines())
    for key in ("data_sha256", "rationales_sha256", "model_sha256", "lock_sha256"):
        assert origin[key] in shown, key
    assert all(sha256 in shown for sha256 in facts["files"].values())
    assert "commit" in shown


def test_the_tree_names_gate_figures_rationales_seeds_and_settings(model: str, facts: dict[str, Any]) -> None:
    output = typed("lineage", model).output
    assert all(len(line) <= WIDTH for line in output.splitlines())
    value = facts["figures"]["macro_f1"]
    for expected in (
        f"traced version {facts['version'] if facts['aliases'] else 1} (champion), registered",
        "gate: passed, compared with",
        f"macro-F1 {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})",
        f"metrics, on {NUM_ROWS} test rows",
        "Stage 1, method r2d, seed 42",
        "trained on 1 rationales of llm",
        "llm: 1 taken from the data itself",
        "started from random weights",
        f"MLflow run {facts['mlflow_runs']['register_model'][0]} (register_model)",
    ):
        assert expected in output, expected


def test_a_version_without_a_pipeline_run_says_so_and_shows_the_rest(facts: dict[str, Any]) -> None:
    assert facts["pipeline_run"] is None
    (why,) = facts["not_reachable"]
    assert "registered outside of a pipeline" in why
    assert "not reachable: the pipeline run" in drawn(version_tree(facts))


def test_where_the_pipeline_run_can_be_asked_its_steps_artifacts_and_checks_are_named(with_run: dict[str, Any]) -> None:
    with_run["mlflow_runs"]["train_stage2"] = ["mlflow-1"]
    shown = drawn(version_tree(with_run))
    assert all(len(line) <= WIDTH for line in shown.splitlines())
    for expected in (
        "pipeline run run of today of reason2decide, ZenML run-1",
        "ZenML step train_stage2 id-of-train_stage2, ran",
        "r2d_stage2_model version 4, artifact-1, hash abcdef012345\n",
        "ZenML step train_stage1 id-of-train_stage1, cached from step step-of-old",
        "step 40 of 50 was selected: macro-F1 0.700",
        "MLflow run mlflow-1 (train_stage2)",
        "validation: 1,300 rows, 1,290 valid, 10 quarantined, 0 errors, 1 warnings",
        "quarantined: 10 text too short",
        "not met (warn): no text stands twice; 7 do not",
    ):
        assert expected in shown, expected
    assert "labels are known" not in shown


def test_files_that_were_read_and_made_stand_with_their_hashes(facts: dict[str, Any]) -> None:
    read, made = {"notes.csv": "1" * 64, "nurse.csv": "2" * 64}, {"model.safetensors": "3" * 64}
    known = {"files_read": read, "model_files": made, "files_sha256": "4" * 64, "num_rows": 1_200}
    shown = drawn(version_tree(facts | {"origin": facts["origin"] | known}))
    for expected in (
        *(f"read: {name}, sha256 {sha256}\n" for name, sha256 in read.items()),
        f"model.safetensors, sha256 {'3' * 64}\n",
        f"fingerprint of other files {'4' * 64}\n",
        "1,200 valid rows\n",
    ):
        assert expected in shown, expected
    other = facts | {"origin": facts["origin"] | known | {"files_read": read | {"nurse.csv": "5" * 64}}}
    before = facts | {"origin": facts["origin"] | known}
    assert difference_of(before, other)["changed"] == {
        "data": {"files_read.nurse.csv": {"before": "2" * 64, "after": "5" * 64}}
    }


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
    found = row_of("row-1", provenance=inline, config=config, examples=table)
    assert found is not None
    assert (found["row"], found["rationales"][0]["row"], found["rationales"][0]["record_id"]) == (2, 2, None)
    whole = {"name": "m", "version": "1", "aliases": [], "data_sha256": "d", "not_reachable": None, **found}
    shown = drawn(row_tree("row-1", [whole]))
    assert "row: csv data/notes.csv, row 2 (line 3)\n" in shown
    assert "from notes.csv, row 2\n" in shown
    from_file = config | {"rationales": {"sources": {"llm": {"format": "csv", "paths": ["nurse.csv"]}}}}
    found = row_of("row-1", provenance=inline, config=from_file, examples=table)
    assert found is not None
    assert "from notes.csv, line 2\n" in drawn(row_tree("row-1", [whole | found]))


def test_facts_of_an_origin_that_this_code_does_not_know_are_shown(facts: dict[str, Any]) -> None:
    origin = facts["origin"] | {"read": [{"file": "notes.csv", "sha256": "f" * 64}], "tools": {"compiler": "13"}}
    shown = drawn(version_tree(facts | {"origin": origin}))
    assert f"file=notes.csv, sha256={'f' * 64}" in shown
    assert "compiler: 13" in shown


def test_a_method_of_one_stage_has_no_rationales_of_stage_1() -> None:
    found = rationales_of(provenance(), {"method": {"name": "stage2_only"}})
    assert [one["stage"] for one in found["trained_on"]] == ["stage2"]
    assert rationales_of(provenance(), {"method": {"name": "sft"}})["trained_on"] == []


def test_json_holds_what_the_tree_is_drawn_from(model: str, facts: dict[str, Any]) -> None:
    assert json.loads(typed("lineage", "traced/2", "--json").output) == facts


def test_a_row_names_its_rationale_and_every_version_that_saw_it(model: str) -> None:
    output = typed("lineage", "traced", "--row", "row-1").output
    assert output.startswith("row row-1, seen by 2 versions\n")
    assert "traced version 1" in output
    assert "traced version 2" in output
    assert "rationale of llm: taken by Stage 1 and Stage 2" in output
    assert "fingerprint of the data " + "d" * 64 in output
    assert output.count("trained on it") == 2
    (one,) = json.loads(typed("lineage", "traced/1", "--row", "row-1", "--json").output)["seen_by"]
    assert (one["version"], one["split"]) == ("1", "train")
    assert one["rationales"][0]["rationale_sha256"] == "a" * 64
    everywhere = json.loads(typed("lineage", "--row", "row-1", "--json").output)["seen_by"]
    assert {"1", "2"} <= {one["version"] for one in everywhere if one["name"] == "traced"}


def test_a_row_without_a_rationale_is_found_in_the_examples_and_no_text_of_it_is_kept() -> None:
    table = examples().slice(0, 3)
    texts = {name: pa.array([SECRET] * 3) for name in ("text", "rationale")}
    for name, column in texts.items():
        table = table.set_column(table.column_names.index(name), name, column)
    config = {"method": {"name": "r2d"}, "data": {"format": "csv", "path": "notes.csv"}}
    asked = {"provenance": provenance(), "config": config, "examples": table}
    found = row_of("row-2", **asked)
    assert found is not None
    assert (found["split"], found["rationales"]) == ("test", [])
    assert row_of("row-2", **(asked | {"examples": None})) is None
    whole = {"name": "m", "version": "1", "aliases": [], "data_sha256": "d", "not_reachable": None, **found}
    shown = drawn(row_tree("row-2", [whole]))
    assert "measured on it (test)" in shown
    assert "its label alone" in shown
    assert SECRET not in shown + json.dumps(found)


def test_the_difference_of_two_versions_names_what_changed_and_how_far_figures_moved(model: str) -> None:
    found = json.loads(typed("diff", "traced/1", "traced/2", "--json").output)
    assert found["changed"] == {"config": {"model.max_input_tokens": {"before": 1024, "after": 768}}}
    assert found["same_data"] is True
    moved = found["figures"]["macro_f1"]
    assert moved["difference"] == pytest.approx(moved["after"]["value"] - moved["before"]["value"])
    assert moved["paired"]["value"] == pytest.approx(moved["difference"])
    output = typed("diff", "traced/1", "traced/2").output
    assert all(len(line) <= WIDTH for line in output.splitlines())
    assert "model.max_input_tokens: 1024 -> 768" in output
    assert f"{moved['difference']:+.3f}, better; on the same" in output


def test_figures_of_other_data_are_compared_with_a_caution_and_a_lost_figure_is_not_measured(
    facts: dict[str, Any],
) -> None:
    other = copy.deepcopy(facts)
    other["origin"] |= {"data_sha256": "e" * 64, "code_commit": "c0ffee", "lock_sha256": None}
    other["origin"]["seeds"]["stage2"] = 7
    other["config"]["model"] |= {"name": "google/flan-t5-small"}
    other["rationales"]["trained_on"][0]["num_rationales"] = 9
    other["figures"].pop("brier")
    other["figures"]["under_triage_rate"]["value"] += 0.1
    found = difference_of(facts, other)
    assert set(found["changed"]) == {"start model", "config", "rationales", "code", "lock", "data", "seeds"}
    assert found["changed"]["seeds"] == {"seeds.stage2": {"before": 42, "after": 7}}
    assert found["same_data"] is False
    shown = drawn(difference_tree(found))
    assert "other test rows" in shown
    assert "-> not measured" in shown
    assert "+0.100, worse" in shown
    assert "nothing changed" in drawn(difference_tree(difference_of(facts, facts)))


def test_nested_mappings_differ_by_dotted_keys() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    after = {"a": {"b": 1, "c": [1]}, "d": {"e": None, "f": 0}}
    assert changed(before, after) == {
        "a.c": {"before": [1, 2], "after": [1]}, "d": {"before": {}, "after": None},
        "d.f": {"before": None, "after": 0},
    }  # fmt: skip
    assert changed(before, before) == {}


@pytest.mark.parametrize(
    ("words", "kind", "said"),
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
    model: str, words: tuple[str, ...], kind: type[Exception], said: str
) -> None:
    error = typed(*words).exception
    assert isinstance(error, kind)
    assert said in str(error)


def test_a_zenml_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    store = tmp_path / "zenml.db"
    store.write_text("no database")
    program = (
        "from uuid import UUID\n"
        "from mlops.lineage.zenml_lineage import NotReachableError, pipeline_run_facts\n"
        "try:\n    pipeline_run_facts(UUID(int=7))\n"
        "except NotReachableError as error:\n    print('said', error)\n"
    )
    environment = os.environ | {"ZENML_CONFIG_PATH": str(tmp_path), "ZENML_STORE_URL": f"sqlite:///{store}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    said = "said ZenML's pipeline run 00000000-0000-0000-0000-000000000007 (DatabaseError: "
    assert said in done.stdout, done.stderr[-2_000:]
