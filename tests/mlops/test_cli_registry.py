"""`r2d approve`, `r2d rollback`, `r2d history`, `r2d papers`: what is typed, and what a person reads."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlops.cli.main import app
from mlops.lineage import version_lineage
from mlops.watch import beat
from r2d.errors import R2DError, RegistryError
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, metrics, run_config

GOOD, BETTER = decisions(0.8), decisions(0.9, seed=2)


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_approval_and_rollback_stand_in_the_history(register: Register) -> None:
    register(run_config("typed", [{"rule": "human_approval"}]), metrics(GOOD))
    done = typed("approve", "typed", "--by", "Dr. Who", "--reason", "read fifty\nrationales")
    assert done.output == "typed version 1 is the champion\nthe gate's decision on version 1: not signed\n"
    refused = typed("rollback", "typed", "--reason", "complaints")
    assert "typed/1 has no champion before it to go back to, so nothing was changed" in str(refused.exception)
    assert "was rolled back" not in typed("history", "typed").output
    done = typed("rollback", "typed", "--reason", "complaints", "--to-none")
    assert done.output == "typed has no champion any more: there was none before version 1\n"
    lines = typed("history", "typed").output.splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        "version 1 became challenger; by gate: it is the challenger until a person approves it; there is no champion",
        "version 1 was approved and became champion; by Dr. Who: read fifty rationales",
        f"version 1 was rolled back, and no version is champion; by {getpass.getuser()}: complaints",
    ]
    facts = [json.loads(line) for line in typed("history", "typed", "--json").output.splitlines()]
    assert [one["action"] for one in facts] == ["challenged", "approved", "rolled_back"]
    assert all(one["at"].endswith("+00:00") for one in facts)


def test_a_rollback_says_which_version_it_went_back_to(register: Register) -> None:
    register(run_config("stepped"), metrics(GOOD))
    register(run_config("stepped"), metrics(BETTER, GOOD, reference="stepped/1"))
    done = typed("rollback", "stepped", "--reason", "complaints")
    assert done.output == (
        "stepped version 1 is the champion again, in place of version 2\nthe gate's decision on version 1: not signed\n"
    )


def test_papers_are_drafted_from_what_is_registered_and_say_what_cannot_be_reached(
    register: Register, tmp_path: Path
) -> None:
    register(run_config("papered"), metrics(GOOD))
    done = typed("papers", "papered", "--out", str(tmp_path / "papers"))
    lines = done.output.splitlines()
    assert lines[0] == f"{tmp_path / 'papers' / 'tripod_ai'}.html: 52 items, you must answer 44"
    assert lines[-1] == f"write your answers into {tmp_path / 'papers' / 'answers.yaml'}, then type this again"
    facts = json.loads((tmp_path / "papers" / "facts.json").read_text(encoding="utf-8"))
    files = version_lineage("papered/1").files
    assert facts["accuracy"]["id"] == f"sha256 {files['metrics.json']}"
    assert facts["method"]["id"] == f"sha256 {files['config.yaml']}"
    assert facts["gate_outcome"]["text"] == "passed"
    assert facts["delivered_rows"]["text"] is None
    assert facts["delivered_rows"]["id"].startswith("not reachable: the pipeline run: the version names none")
    page = (tmp_path / "papers" / "annex_iv.html").read_text(encoding="utf-8")
    assert "<dt>Model</dt><dd>papered, weights" in page
    assert "Not known of this run: rows delivered;" in page
    missing = typed("papers", "papered/9", "--out", str(tmp_path / "none"))
    assert "'papered' has versions 1" in str(missing.exception)
    assert not (tmp_path / "none").exists()


def test_a_decision_without_a_reason_or_a_name_is_not_taken(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed("rollback", "typed").exit_code == 2
    assert isinstance(typed("rollback", "typed", "--reason", " ").exception, R2DError)

    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "--by: nobody is named" in str(typed("rollback", "typed", "--reason", "why").exception)


def test_a_model_that_is_not_there_is_an_error_that_names_those_that_are(register: Register) -> None:
    register(run_config("known"), metrics(GOOD))
    beat("retraining")
    found = typed("history", "nobody").exception
    assert isinstance(found, RegistryError)
    assert "no model named 'nobody' is registered" in str(found)
    named = str(found).rpartition("; registered: ")[2]
    assert "known" in named
    assert "heartbeats" not in named, "it keeps when jobs last succeeded"
