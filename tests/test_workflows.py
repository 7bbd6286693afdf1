"""The workflows of CI: what starts them, what they may do, and that their lines do what they say.

Those of `retrain.yml` run in `tests/pipelines/test_retraining.py`, on a real ZenML and MLflow.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from r2d.config.loading import load_config
from tests.workflow_runner import Runner

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PLAIN_TOOLS = {"test", "cat", "gh", "number", "buildah", "echo"}
"""What else stands at the beginning of a command: of the shell and of GitHub's runners."""


def read(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def steps_of(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path.name)["jobs"].values() for step in job["steps"]]


def commands_of(path: Path) -> list[str]:
    scripts = [step["run"] for step in steps_of(path) if "run" in step]
    return [part.strip() for script in scripts for part in re.split(r"\n|\|\|", script) if part.strip()]


def faults(values: dict[Any, Any], schema: str) -> list[str]:
    """What the published schema of that name finds wrong."""
    from check_jsonschema.builtin_schemas import get_builtin_schema
    from jsonschema import Draft7Validator

    return [fault.message for fault in Draft7Validator(get_builtin_schema(f"vendor.{schema}")).iter_errors(values)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_workflow_follows_the_schema_of_github(path: Path) -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "pull_request.yml", "retrain.yml"]
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    workflow = {"on" if key is True else key: value for key, value in read(path.name).items()}
    assert faults(workflow, "github-workflows") == []


def test_the_workflow_of_a_new_project_follows_the_schema_has_least_rights_and_pins_what_it_uses() -> None:
    loaded = yaml.safe_load((ROOT / "mlops" / "cli" / "project" / "workflow.yml").read_text(encoding="utf-8"))
    workflow = {"on" if key is True else key: value for key, value in loaded.items()}
    assert faults(workflow, "github-workflows") == []
    assert workflow["permissions"] == {"contents": "read"}
    used = {step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step}
    assert used <= {step["uses"] for path in WORKFLOWS for step in steps_of(path) if "uses" in step}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_workflow_has_least_rights_a_guard_and_a_limit_and_pins_what_it_uses(path: Path) -> None:
    workflow = read(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)] == []
    checkouts = [step for step in steps_of(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_exists_and_none_holds_an_expression(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    commands = commands_of(path)
    assert commands
    for command in commands:
        assert "${{" not in command, "what a caller sends would be run as a command; pass it by `env`"
        word, *rest = re.split(r"[\s=]+", command)
        if word == "make":
            assert rest[2 if rest[0] == "-C" else 0] in targets, command
        elif word.endswith(".venv/bin/r2d"):
            assert rest[0] in _commands(), command
        elif word == ".venv/bin/zenml":
            assert rest[:2] == ["stack", "set"], command
        else:
            assert word in PLAIN_TOOLS, command


def test_retraining_starts_by_the_clock_by_hand_by_a_message_and_by_new_data_and_one_at_a_time() -> None:
    workflow = read("retrain.yml")
    on = workflow[True]
    assert set(on) == {"schedule", "workflow_dispatch", "repository_dispatch", "push"}
    assert "configs/kubernetes.yaml" in on["push"]["paths"]
    assert workflow["concurrency"]["cancel-in-progress"] is False
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert all(value.startswith("${{ secrets.") for key, value in job["env"].items() if key.startswith("ZENML_"))


def test_the_report_which_quotes_notes_is_kept_only_where_the_repository_says_so() -> None:
    (upload,) = [step for step in steps_of(ROOT / "retrain.yml") if "upload-artifact" in step.get("uses", "")]
    assert upload["with"]["path"].split("\n")[:2] == [
        "retrained/", "${{ vars.R2D_UPLOAD_REPORT != 'yes' && '!retrained/report.html' || '' }}",
    ]  # fmt: skip
    assert upload["with"]["retention-days"] <= 30


def test_retraining_names_a_config_that_is_shipped_and_options_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_IMAGE", "reason2decide:test")
    (command,) = [line for line in commands_of(ROOT / "retrain.yml") if "r2d retrain" in line]
    load_config(ROOT / command.split("--config ")[1].split()[0])
    assert set(re.findall(r"--[a-z-]+", command)) <= options_of("retrain")


def test_the_job_for_gitlab_in_the_docs_follows_its_schema_and_runs_the_same_lines() -> None:
    page = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## GitLab\n```yaml\n(.*?)```", page, flags=re.DOTALL)
    job = yaml.safe_load(block)
    assert faults(job, "gitlab-ci") == []
    assert job["retrain"]["script"] == [
        line.replace('"${R2D_STACK:-reason2decide}"', "reason2decide")
        for line in commands_of(ROOT / "retrain.yml")
        if line.startswith(("make ", ".venv/bin/"))
    ]
    assert job["retrain"]["artifacts"]["exclude"] == ["retrained/report.html"], "it quotes notes"


@pytest.mark.slow
def test_the_line_of_ci_runs_as_it_stands_and_fails_for_a_fault_of_style_of_types_and_of_a_test(tmp_path: Path) -> None:
    """In a repository of a few lines with our Makefile and settings: in this one, the line runs this very test."""
    checkout = tmp_path / "checkout"
    for name in ("r2d", "steps", "pipelines", "mlops", "tests"):
        (checkout / name).mkdir(parents=True)
        (checkout / name / "__init__.py").touch()
    code, test = checkout / "r2d" / "double.py", checkout / "tests" / "test_double.py"
    right = "def double(number: int) -> int:\n    return 2 * number\n"
    test.write_text(
        "from r2d.double import double\n\n\ndef test_double() -> None:\n    assert double(2) == 4\n", encoding="utf-8"
    )
    runner = Runner(checkout, dict(os.environ) | {"PYTHONPATH": str(checkout)}, {})
    for content, faulty in {
        right: None,
        right.replace("2 *", "2  *"): "1 file would be reformatted",
        right.replace("2 * number", "str(2 * number)"): "Incompatible return value type",
        right.replace("2 *", "3 *"): "FAILED tests/test_double.py::test_double",
    }.items():
        code.write_text(content, encoding="utf-8")
        (done,) = runner.run("ci.yml", event="pull_request", job="test")
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == (faulty is None), output
        assert (faulty or "1 passed") in output


def options_of(name: str) -> set[str]:
    return {option for parameter in _commands()[name].params for option in parameter.opts}


def _commands() -> dict[str, Any]:
    import typer

    from mlops.cli.main import app

    group: Any = typer.main.get_command(app)
    return group.commands


def test_known_holes_and_licences_fail_a_pull_request_and_the_image_says_where_it_was_built() -> None:
    jobs = read("ci.yml")["jobs"]
    assert [step["run"] for step in jobs["audit"]["steps"] if "run" in step] == ["make audit"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    audit = makefile.split("\naudit:")[1].split("\n\n")[0]
    for tool in ("CHECKOV", "BANDIT", "PIP_LICENSES", "PIP_AUDIT"):
        assert f"$({tool})" in audit
        assert re.search(rf"(?m)^{tool} := [\w-]+@[\d.]+$", makefile), f"{tool} moves"
    assert "--strict" in audit, "else pip-audit passes over what it could not look up"
    assert not re.search(r"\|\||^\t-", audit, flags=re.MULTILINE), "what a tool finds must fail the command"
    assert "continue-on-error" not in str(jobs["audit"])
    attested = next(step for step in jobs["image"]["steps"] if "attest-build-provenance" in step.get("uses", ""))
    assert f"oci-archive:{attested['with']['subject-path']}" in jobs["image"]["steps"][3]["run"]


def test_every_package_of_the_locks_has_a_hash_and_no_index_is_named() -> None:
    pinned = {}
    for name in ("requirements.lock", "k8s/cuda.lock", "pretrained.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        for entry in re.split(r"\n(?=[a-z0-9])", text):
            package, version = re.match(r"([a-z0-9-]+)==(\S+) \\\n", entry).groups()  # type: ignore[union-attr]
            assert "--hash=sha256:" in entry, package
            pinned[package] = version
    declared = re.findall(r'(?m)^    "([a-z0-9-]+)(?:\[\S+\])?==([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert {name: pinned.get(name) for name, _ in declared} == dict(declared)
