"""When a champion is replaced: every trigger alone, none, several, and the first model."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops.retraining import (
    ChampionFacts,
    Comparison,
    DriftVerdict,
    MonitorVerdict,
    RetrainingResult,
    TrainingFacts,
    decide,
    facts_of_run,
    facts_of_version,
    read_report,
    write_result,
)
from r2d.config.jobs import RetrainingConfig
from r2d.errors import DataError
from tests.mlops.conftest import run_config

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
FACTS = TrainingFacts(
    config={"stage2.max_steps": 100, "stage2.seed": 42}, start="scratch", data_sha256="d" * 64, files_sha256="f" * 64,
    sources_sha256="5" * 64, lock_sha256="1" * 64, num_rows=1_000,
)  # fmt: skip
CHAMPION = ChampionFacts("triage/3", NOW - timedelta(days=10), "e" * 64, FACTS)
SAME = replace(FACTS, num_rows=None)
DRIFT = {"drifted": True, "reasons": ["The calls use other words."], "model": {"name": "triage/3", "hash": "e" * 64}}
ALARM = "triage/3 makes more errors than is acceptable, as labels that came later show"
MONITOR: dict[str, Any] = {"alarm": True, "versions": [{"model": "triage/3", "sha256": None, "alarm": True}]}


def monitored(**changes: Any) -> dict[str, Any]:
    """That report with another version in it."""
    return MONITOR | {"versions": [MONITOR["versions"][0] | changes]}


def fired(now: TrainingFacts = SAME, champion: ChampionFacts = CHAMPION, **given: Any) -> tuple[str, ...]:
    """The reasons to train; empty where it does not."""
    outside = {key: given.pop(key) for key in ("drift_facts", "monitor_facts", "force", "made_already") if key in given}
    drift, monitor = outside.pop("drift_facts", None), outside.pop("monitor_facts", None)
    comparison = Comparison(
        now,
        champion,
        NOW,
        drift and DriftVerdict.model_validate(drift),
        monitor and MonitorVerdict.model_validate(monitor),
    )
    done = decide(RetrainingConfig(**given), comparison, **outside)
    return done.reasons if done.train else ()


def test_nothing_changed_and_nothing_is_done_and_the_facts_are_named() -> None:
    done = decide(RetrainingConfig(), Comparison(SAME, CHAMPION, NOW))
    assert (done.train, done.reasons) == (False, ("no trigger fired; triage/3 stays champion",))
    assert {fact.name: fact.finding for fact in done.compared} == {
        "data": "same", "files with rationales": "same", "code": "same", "locked libraries": "same",
        "configuration": "same", "start": "same", "champion": "10.0 days old",
    }  # fmt: skip
    assert done.lines()[0] == "nothing to do: no trigger fired; triage/3 stays champion"


def test_without_a_champion_it_trains() -> None:
    done = decide(RetrainingConfig(), Comparison(SAME, None, NOW))
    assert (done.train, done.reasons, done.champion) == (True, ("there is no champion yet",), None)


@pytest.mark.parametrize(
    ("changed", "triggers", "reason"),
    [
        ({"data_sha256": "x"}, {}, "the data or the files with rationales changed"),
        ({"files_sha256": "x"}, {}, "the data or the files with rationales changed"),
        ({"data_sha256": "x", "num_rows": 1_100}, {"min_new_rows": 100},
         "100 new rows, at least 100 are asked for"),
        ({"config": {"stage2.max_steps": 200, "stage2.seed": 42}}, {}, "the configuration changed: stage2.max_steps"),
        ({"config": {"stage2.seed": 42}}, {}, "the configuration changed: stage2.max_steps"),
        ({"start": "google-t5/t5-base"}, {}, "the configuration changed: model.name"),
        ({"sources_sha256": "x"}, {}, "the code that weights and metrics depend on changed"),
        ({"lock_sha256": "x"}, {}, "a locked version of a library changed"),
        ({}, {"max_age_days": 10.0}, "triage/3 is 10.0 days old, at most 10 are allowed"),
        ({}, {"drift": "drift.json", "drift_facts": DRIFT}, "the calls drifted: The calls use other words."),
        ({}, {"monitor": "m", "monitor_facts": MONITOR}, ALARM),
        ({}, {"monitor": "m", "monitor_facts": monitored(sha256="e" * 64, model="x")}, ALARM),
        ({}, {"force": "a new clinic"}, "forced: a new clinic"),
    ],
)  # fmt: skip
def test_each_trigger_alone(changed: dict[str, Any], triggers: dict[str, Any], reason: str) -> None:
    assert fired(replace(SAME, **changed), **triggers) == (reason,)


@pytest.mark.parametrize(
    ("changed", "triggers"),
    [
        ({"data_sha256": "x", "num_rows": 1_099}, {"min_new_rows": 100}),
        ({"data_sha256": "x"}, {"min_new_rows": None}),
        ({"config": {}, "start": "google-t5/t5-base"}, {"on_config_change": False}),
        ({"sources_sha256": "x", "lock_sha256": "x"}, {"on_code_change": False}),
        ({}, {"max_age_days": 10.1}),
        ({}, {"drift_facts": DRIFT}),
        ({}, {"monitor_facts": MONITOR}),
        ({}, {"monitor": "m", "monitor_facts": monitored(alarm=False)}),
        ({}, {"monitor": "m", "monitor_facts": monitored(model="triage/2")}),
        ({}, {"monitor": "m", "monitor_facts": monitored(sha256="0" * 64)}),
        ({}, {"drift": "drift.json", "drift_facts": DRIFT | {"drifted": False}}),
        ({}, {"drift": "drift.json", "drift_facts": DRIFT | {"model": {"name": "triage/2", "hash": "0" * 64}}}),
        ({"start": "models:/triage/3"}, {"warm_start": True}),
    ],
)
def test_a_trigger_that_is_off_or_below_its_limit_does_not_fire(
    changed: dict[str, Any], triggers: dict[str, Any]
) -> None:
    assert fired(replace(SAME, **changed), **triggers) == ()


def test_several_triggers_are_all_named() -> None:
    now = replace(SAME, data_sha256="x", sources_sha256="x", config={"stage2.max_steps": 200, "stage2.seed": 42})
    reasons = fired(now, max_age_days=7.0, force="a new clinic")
    assert [reason.split(":")[0].split(",")[0] for reason in reasons] == [
        "forced", "the data or the files with rationales changed", "the configuration changed",
        "the code that weights and metrics depend on changed", "triage/3 is 10.0 days old",
    ]  # fmt: skip


def test_what_a_run_has_made_before_is_not_made_again_unless_forced() -> None:
    now = replace(SAME, data_sha256="x")
    done = decide(RetrainingConfig(), Comparison(now, CHAMPION, NOW), made_already=lambda: "triage/4")
    assert not done.train
    assert done.reasons[0].startswith("triage/4 was made of just this configuration, data and code")
    assert fired(now, made_already=lambda: "triage/4", force="once more")


def test_a_version_that_kept_no_such_facts_is_not_called_changed_and_says_so() -> None:
    old = replace(CHAMPION, facts=replace(FACTS, files_sha256=None, sources_sha256=None, num_rows=None))
    assert fired(champion=old) == ()
    findings = {fact.name: fact.finding for fact in decide(RetrainingConfig(), Comparison(SAME, old, NOW)).compared}
    assert (findings["code"], findings["files with rationales"]) == ("not known", "not known")
    new_data = replace(SAME, data_sha256="x", num_rows=1_001)
    assert fired(new_data, old, min_new_rows=500) == (
        "the data changed, and how many rows the champion knew was not recorded",
    )


def test_versions_of_one_registered_model_are_one_start() -> None:
    then = replace(CHAMPION, facts=replace(FACTS, start="models:/base/1"))
    assert fired(replace(SAME, start="models:/base@champion"), then) == ()
    assert fired(replace(SAME, start="models:/other/1"), then) == ("the configuration changed: model.name",)


def test_facts_of_a_run_and_of_the_version_that_it_made_are_the_same_wherever_its_data_lie(tmp_path: Path) -> None:
    def run(folder: str) -> Any:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "notes.csv").write_text("text,label\na,b\n", encoding="utf-8")
        config = run_config("triage")
        return config.model_copy(
            update={"data": config.data.model_copy(update={"path": str(tmp_path / folder / "notes.csv")})}
        )

    first, moved = (facts_of_run(run(folder)) for folder in ("here", "there"))
    stored = run_config("triage", revision="abc").model_dump(mode="json", exclude_none=True)
    hashes = ("data_sha256", "files_sha256", "sources_sha256", "lock_sha256")
    then = facts_of_version(stored, {name: getattr(first, name) for name in hashes})
    assert first == moved == then
    assert facts_of_version({"data": "of another time"}, {}).config is None


def test_the_result_is_written_for_people_and_for_machines(tmp_path: Path) -> None:
    done = decide(RetrainingConfig(), Comparison(replace(SAME, data_sha256="x"), CHAMPION, NOW), force="@all | <b>")
    registration = {
        "name": "triage", "version": "4", "is_new": True, "compared_with": "triage/3", "gate_reasons": ["better"],
        "what_follows": "it is the champion",
    }  # fmt: skip
    write_result(RetrainingResult(done, registration, {"report.html": "<p>page</p>"}), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"decision.json", "summary.md", "report.html"}
    assert json.loads((tmp_path / "decision.json").read_text())["registration"]["version"] == "4"
    text = (tmp_path / "summary.md").read_text()
    assert "| data | dddddddddddd | x | changed |" in text
    assert "- triage version 4 (new), compared with triage/3\n- gate: better\n- so: it is the champion\n" in text
    assert "@all" not in text
    assert "<b>" not in text


def test_a_drift_report_that_is_named_must_be_one(tmp_path: Path) -> None:
    assert read_report(None, "drift", DriftVerdict) is None
    path = tmp_path / "drift.json"
    with pytest.raises(DataError, match=r"retraining\.drift: .*cannot be read"):
        read_report(str(path), "drift", DriftVerdict)
    for content, message in {"no": "is no JSON", "{}": "has not the keys drifted, reasons, model"}.items():
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_report(str(path), "drift", DriftVerdict)
    path.write_text(json.dumps(DRIFT))
    assert read_report(str(path), "drift", DriftVerdict) == DriftVerdict.model_validate(DRIFT)
    with pytest.raises(DataError, match=r"retraining\.monitor: .* has not the keys alarm, versions; give a monitor"):
        read_report(str(path), "monitor", MonitorVerdict)
    path.write_text(json.dumps(MONITOR))
    assert read_report(str(path), "monitor", MonitorVerdict) == MonitorVerdict.model_validate(MONITOR)
