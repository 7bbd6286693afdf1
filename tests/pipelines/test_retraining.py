"""`r2d retrain` as a user types it: the first call trains, the next has nothing to do and says why."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import Workplace


def retrain(place: Workplace, config: dict[str, Any], *more: str, check: bool = True, **triggers: Any) -> Any:
    values = config | ({"retraining": triggers} if triggers else {})
    (place.folder / "retrain.yaml").write_text(yaml.safe_dump({"parameters": {"config": values}}), encoding="utf-8")
    return place.type("r2d", "retrain", "--config", "retrain.yaml", "--out", "retrained", *more, check=check)


def decided(place: Workplace) -> dict[str, Any]:
    return json.loads((place.folder / "retrained" / "decision.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_trains_once_then_nothing_is_to_do_then_a_failed_run_is_a_failure(
    workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["registration"]["gate"] = {"rules": []}

    first = retrain(workplace, config)
    assert "training: there is no champion yet" in first.stdout
    assert "so: it passed the gate: it is the first champion" in first.stdout
    assert decided(workplace)["registration"]["version"] == "1"
    pages = {path.name for path in (workplace.folder / "retrained").iterdir()}
    assert pages == {"decision.json", "summary.md", "report.html", "gate.html"}

    again = retrain(workplace, config)
    assert "nothing to do: no trigger fired; toy-triage/1 stays champion" in again.stdout
    assert "Initiating a new run" not in again.stdout + again.stderr
    findings = {one["name"]: one["finding"] for one in decided(workplace)["compared"]}
    assert {findings[name] for name in ("data", "files with rationales", "code", "configuration", "start")} == {"same"}

    more = workplace.write_csv("notes.csv", num_rows=130)
    few = retrain(workplace, config, "--dry-run", min_new_rows=11)
    assert "valid rows: counted, because the data changed (then 120, now 130)" in few.stdout
    assert "nothing to do" in few.stdout
    assert "training: 10 new rows" in retrain(workplace, config, "--dry-run", min_new_rows=10).stdout

    # No row is left to train on: the run fails, and so does the command.
    more.write_text(more.read_text(encoding="utf-8").replace(",train", ",test"), encoding="utf-8")
    failed = retrain(workplace, config, check=False)
    assert failed.returncode != 0
    assert decided(workplace)["registration"] is None
    assert workplace.type("r2d", "history", "toy-triage").stdout.count("became champion") == 1
