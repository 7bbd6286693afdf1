"""`r2d search` by its command on a real ZenML: killed in a trial, it goes on; what is the same comes from the cache."""

from __future__ import annotations

import copy
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.pipelines.conftest import BIN, Run, Workplace

pytestmark = pytest.mark.slow

GOOD, DIVERGES = 5e-3, 1e30


@pytest.fixture(scope="module")
def path(workplace: Workplace, first_run: Run, tiny_config: dict[str, Any]) -> str:
    """Two values: the seed draws the good one, then the other, then the good one again. The rows and Stage 1 are
    those of the first run."""
    config = copy.deepcopy(tiny_config)
    config["search"] = {
        "space": {"stage2.learning_rate": {"choices": [GOOD, DIVERGES]}},
        "num_trials": 3,
        "max_under_triage": 1.0,
        "seed": 10,
    }
    return workplace.write_config("search.yaml", config)


def test_a_killed_search_goes_on_and_writes_every_trial_and_a_configuration_of_the_best(
    workplace: Workplace, path: str, tmp_path: Path
) -> None:
    command = ["r2d", "search", "--config", path, "--out", "searched"]
    killed = warm.start(
        [str(BIN / command[0]), *command[1:]],
        cwd=workplace.folder,
        environment=workplace.environment,
        folder=tmp_path,
    )
    journal = workplace.folder / "searched" / "journal.log"
    while not (journal.exists() and '"process"' in journal.read_text(encoding="utf-8")):
        assert killed.is_alive(), (tmp_path / "err").read_text(encoding="utf-8")
        time.sleep(0.01)
    killed.kill()
    killed.join()

    done = workplace.type(*command)
    ended = re.findall(r"^trial (\d): (.*)$", done.stdout, flags=re.MULTILINE)
    assert [number for number, _ in ended] == ["2", "3", "4"]
    assert re.match(r"macro-F1 0\.\d+, under-triage \d+\.\d %; stage2\.learning_rate 0\.005$", ended[0][1])
    assert re.match(r"stage 2: the loss is nan at step \d+; stage2\.learning_rate 1e\+30$", ended[1][1])
    assert ended[2][1] == ended[0][1]
    assert "has no effect" not in done.stdout + done.stderr
    ran = Counter(Run(done.stdout + done.stderr).executed)
    assert ran == {"train_stage2": 1, "measure_validation": 1}, "the good value is that of the first run"
    page = (workplace.folder / "searched" / "trials.html").read_text(encoding="utf-8")
    for text in ("Trial 2 is the best of 2", "it was tried again", "the loss", "These figures are too good"):
        assert text in page
    best = workplace.folder / "searched" / "best.yaml"
    assert "# Trial 2 of r2d search, the best of 2" in best.read_text(encoding="utf-8")
    config = yaml.safe_load(best.read_text(encoding="utf-8"))["parameters"]["config"]
    assert config["stage2"]["learning_rate"] == GOOD
    assert "search" not in config
    workplace.type("r2d", "check", "searched/best.yaml")


def test_more_trials_go_on_and_another_search_in_the_same_folder_is_refused(workplace: Workplace, path: str) -> None:
    with workplace.edited(path, "num_trials: 3", "num_trials: 4"):
        more = workplace.type("r2d", "search", "--config", path, "--out", "searched")
    assert re.findall(r"^trial (\d): ", more.stdout, flags=re.MULTILINE) == ["5"]
    with workplace.edited(path, "max_under_triage: 1.0", "max_under_triage: 0.5"):
        refused = workplace.type("r2d", "search", "--config", path, "--out", "searched", check=False)
    assert refused.returncode == 2
    assert "its trials are of another search" in refused.stderr
