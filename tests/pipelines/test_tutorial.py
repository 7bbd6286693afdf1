"""docs/tutorial.md, command by command, and the project that `r2d new` makes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from tests.pipelines.conftest import ROOT, Run, Workplace

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix(".venv/bin/")
    for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("tutorial"), warm=True, databases=databases)
    shutil.copytree(ROOT / "docs" / "delivery", place.folder / "docs" / "delivery")
    place.environment |= {"R2D_WORK_DIR": str(place.folder.parent / "work")}
    return place


@pytest.fixture(scope="module")
def typed(place: Workplace) -> dict[str, CompletedProcess[str]]:
    """Every command of the page, in order -> what became of it."""
    return {command: place.type(*shlex.split(command)) for command in COMMANDS}


def said(typed: dict[str, CompletedProcess[str]], beginning: str) -> str:
    (done,) = [done for command, done in typed.items() if command.startswith(beginning)]
    return done.stdout


def test_the_tutorial_leads_to_a_champion_a_retraining_and_a_rollback(typed: dict[str, CompletedProcess[str]]) -> None:
    assert "tutorial version 1 is the champion" in said(typed, "r2d approve tutorial/1")
    assert "nothing to do" in said(typed, "r2d retrain --config docs/delivery/tutorial.yaml")
    longer = typed["r2d retrain --config docs/delivery/tutorial_longer.yaml --out retrained"]
    assert Run(longer.stdout + longer.stderr).executed == ["train_stage2", "evaluate", "register_model"]
    assert "tutorial version 1 is the champion again, in place of version 2" in said(typed, "r2d rollback")
    assert len(said(typed, "r2d history").splitlines()) >= 3


def test_the_pages_that_the_tutorial_opens_are_those_of_the_run(typed: dict[str, CompletedProcess[str]]) -> None:
    for kind, title in {"report": "<title>Evaluation report</title>", "gate": "Gate: tutorial version 1"}.items():
        assert title in Path(said(typed, f"r2d open {kind}").strip()).read_text(encoding="utf-8")


def test_every_line_of_a_retraining_is_written_once(typed: dict[str, CompletedProcess[str]]) -> None:
    done = typed["r2d retrain --config docs/delivery/tutorial_longer.yaml --out retrained"]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    of_two_models = ("BERTScore: ",)  # once for this model and once for the champion
    repeated = {line for line in lines if lines.count(line) > 1 and not line.startswith(of_two_models)}
    assert sorted(repeated) == []


def test_what_was_made_by_a_retraining_is_cached_for_the_pipeline_and_the_other_way_round(
    place: Workplace, typed: dict[str, CompletedProcess[str]]
) -> None:
    by_zenml = place.type("zenml", "pipeline", "run", "reason2decide", "--config", "docs/delivery/tutorial_longer.yaml")
    # The champion differs by now, and the model is measured beside it: training is what may not be done again.
    assert set(Run(by_zenml.stdout + by_zenml.stderr).executed) <= {"evaluate", "register_model"}


def test_a_page_that_no_run_has_is_refused_with_what_there_is(
    place: Workplace, typed: dict[str, CompletedProcess[str]]
) -> None:
    refused = place.type("r2d", "open", "report", "--version", "tutorial/9", check=False)
    assert refused.returncode == 2
    assert "'tutorial' has versions" in refused.stderr


def test_a_new_project_is_checked_trained_and_ignored_by_git_as_its_readme_says(
    place: Workplace, typed: dict[str, CompletedProcess[str]]
) -> None:
    project = place.folder / "first-project"
    with (project / "data" / "calls.csv").open(encoding="utf-8") as file:
        assert len(file.readlines()) == 601
    workflow = yaml.safe_load((project / ".github" / "workflows" / "reason2decide.yml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]) == {"check", "retrain"}
    own = Workplace.__new__(Workplace)
    own.folder, own.warm, own.environment = project, True, place.environment
    own.type("r2d", "check", "run.yaml")
    # As drafted it takes minutes; with few steps it shows that each step gets what it needs.
    draft = (project / "run.yaml").read_text(encoding="utf-8")
    (project / "run.yaml").write_text(
        re.sub(r"max_steps: \d+, eval_every_steps: \d+", "max_steps: 2, eval_every_steps: 2", draft), encoding="utf-8"
    )
    (command,) = re.findall(r"^(zenml pipeline run .*?)  #", (project / "README.md").read_text(encoding="utf-8"), re.M)
    done = own.type(*shlex.split(command))
    assert "first-project version 1 (registered" in done.stdout + done.stderr


def test_a_project_of_ones_own_files_keeps_a_copy_and_a_folder_in_use_is_refused(
    place: Workplace, typed: dict[str, CompletedProcess[str]]
) -> None:
    copied = place.folder / "triage" / "data" / "notes.csv"
    assert copied.read_bytes() == (place.folder / "docs" / "delivery" / "notes.csv").read_bytes()
    refused = place.type("r2d", "new", "triage", check=False)
    assert refused.returncode == 2
    assert "triage: is there already and not empty" in refused.stderr
    unknown = place.type("r2d", "new", "other", "--data", "docs/delivery/nowhere.csv", check=False)
    assert (unknown.returncode, (place.folder / "other").exists()) == (2, False)
    assert [path.name for path in place.folder.glob(".r2d-new-*")] == []
