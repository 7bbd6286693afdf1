"""What a runner of GitHub does with the `run:` lines of a workflow, on this machine.

Stand-ins are only at the outermost edge: a `gh` that writes down what it was asked, since there is no GitHub here, and
values for the expressions. Actions (`uses:`) are left out; the lines themselves run as they stand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"
FROM_THE_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$GH_CALLS"
case "$1" in
api) printf '%s' "$OPEN_PULL_REQUEST" ;;
pr) while [ "$1" != --body-file ]; do shift; done; cat "$2" >> "$GH_CALLS" ;;
esac
"""


class Runner:
    """A checkout in which the lines of a workflow run one after the other, as for one event."""

    def __init__(self, checkout: Path, environment: Mapping[str, str], expressions: Mapping[str, str]) -> None:
        """
        Args:
            expressions: `${{ ... }}` -> what GitHub puts in its place; one that is not named fails the test.
        """
        self.checkout, self.expressions = checkout, expressions
        outside = checkout.parent / "runner"
        outside.mkdir()
        self.summary, self.gh_calls = outside / "summary.md", outside / "gh_calls.txt"
        (outside / "gh").write_text(GH, encoding="utf-8")
        (outside / "gh").chmod(0o755)
        self.environment = {
            **{name: value for name, value in environment.items() if not name.startswith(("MAKE", "PYTEST"))},
            "PATH": f"{outside}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_REPOSITORY": "ward/triage",
            "GITHUB_SHA": "a" * 40,
            "GH_CALLS": str(self.gh_calls),
            "OPEN_PULL_REQUEST": "7",
        }
        link_environment(checkout)

    def run(self, workflow: str, *, event: str, job: str = "", **values: str) -> list[subprocess.CompletedProcess[str]]:
        """Every `run:` of a workflow in its order, as its step says.

        Args:
            event: name of what starts it.
            job: which of its jobs; without it, its only one.
            values: variables that replace those of the workflow.
        """
        jobs = yaml.safe_load((WORKFLOWS / workflow).read_text(encoding="utf-8"))["jobs"]
        (chosen,) = [jobs[job]] if job else jobs.values()
        done: list[subprocess.CompletedProcess[str]] = []
        for step in chosen["steps"]:
            failed = any(one.returncode for one in done)
            if "run" in step and self._is_due(step.get("if", "success()"), event=event, failed=failed):
                done.append(self._run(step["run"], {**chosen.get("env", {}), **step.get("env", {})}, values))
        return done

    def _is_due(self, condition: str, *, event: str, failed: bool) -> bool:
        if condition == "github.event_name == 'push'":
            return event == "push" and not failed
        due = {"success()": not failed, "always()": True, FROM_THE_REPOSITORY: not failed}
        return due[condition]

    def _run(
        self, script: str, variables: Mapping[str, Any], values: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        given = {name: self.expressions.get(str(value), str(value)) for name, value in variables.items()} | values
        assert not [value for value in given.values() if "${{" in value], "an expression that this runner does not know"
        file = self.checkout.parent / "runner" / "step.sh"
        file.write_text(script, encoding="utf-8")
        return subprocess.run(
            ["bash", "-e", str(file)],  # what GitHub uses where a step names no shell
            cwd=self.checkout,
            # A secret or variable that a repository has not set is an empty string.
            env=self.environment | {name: value for name, value in given.items() if value or name == "FORCE"},
            capture_output=True,
            text=True,
            check=False,
        )


def link_environment(checkout: Path) -> None:
    """The environment of these tests as that of a checkout, up to date in the eyes of `make`."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (checkout / ".venv" / ".ready").touch()
