"""A search: it goes on from its journal, tries what was killed again, and chooses under the bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r2d.config.run import RunConfig
from r2d.errors import ConfigError, DataError
from r2d.search import JOURNAL_FILE, Search, Trial, with_values

SPACE = {
    "stage2.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "stage2.batch_size": {"low": 16, "high": 64, "step": 16},
    "method.name": {"choices": ["r2d", "no_sampling"]},
}
BEGIN = """
import os, signal, sys
from pathlib import Path
from r2d.search import Search
from tests.test_search import a_run
trial = Search(Path(sys.argv[1]), a_run(), "same").begin("killed", lambda process: True)
print(dict(trial.values), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def a_run(**search: Any) -> RunConfig:
    values = {
        "data": {"format": "synthetic_triage", "labels": {"names": ["a", "b"], "ordered": True}},
        "rationales": {"stage1_source": "nurse"},
        "stage2": {"max_steps": 100, "eval_every_steps": 10},
        "search": {"space": SPACE, "num_trials": 6, "max_under_triage": 0.1} | search,
    }
    return RunConfig.model_validate(values)


def measure(search: Search, *results: tuple[float, float]) -> list[Trial]:
    """End one trial after the other with a score and an under-triage rate each."""
    ended = []
    for score, under_triage in results:
        assert search.begin("this", lambda process: False) is not None
        ended.append(search.measured({"score": score, "under_triage_rate": under_triage}))
    return ended


def test_the_highest_score_under_the_bound_is_chosen_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    search = Search(tmp_path, a_run(), "same")
    assert search.best() is None
    trials = measure(search, (0.9, 0.2), (0.6, 0.1), (0.7, 0.05), (0.7, 0.0), (0.95, 0.11), (0.5, 0.0))
    assert [trial.is_allowed for trial in trials] == [False, True, True, True, False, True]
    assert search.best() == trials[2]
    assert search.begin("this", lambda process: False) is None, "six are done"
    assert len({str(trial.values) for trial in trials}) == 6
    for trial in trials:
        assert 1e-4 <= trial.values["stage2.learning_rate"] <= 1e-2
        assert trial.values["stage2.batch_size"] in (16, 32, 48, 64)
        assert trial.values["method.name"] in ("r2d", "no_sampling")


def test_a_search_that_goes_on_draws_what_one_in_a_single_go_draws(tmp_path: Path) -> None:
    results = [(0.1 * number, 0.0) for number in range(6)]
    whole = measure(Search(tmp_path / "whole", a_run(), "same"), *results)
    for result in results:
        measure(Search(tmp_path / "stopped", a_run(), "same"), result)
    assert Search(tmp_path / "stopped", a_run(), "same").trials() == whole
    more = Search(tmp_path / "stopped", a_run(num_trials=7), "same")
    assert len(measure(more, (0.9, 0.0))) == 1


def test_a_killed_trial_is_tried_again_with_its_values_and_counts_once(tmp_path: Path) -> None:
    measure(Search(tmp_path, a_run(), "same"), (0.5, 0.0))
    done = subprocess.run([sys.executable, "-c", BEGIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    journal = tmp_path / JOURNAL_FILE
    os.symlink(journal, f"{journal}.lock")  # as a process leaves them that is killed while it writes
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"op_code":6,"work')
    search = Search(tmp_path, a_run(num_trials=3), "same")
    again = search.begin("this", lambda process: process == "killed")
    assert again is not None
    assert str(dict(again.values)) == done.stdout.strip()
    search.measured({"score": 0.6, "under_triage_rate": 0.0})
    assert [trial.outcome for trial in search.trials()] == ["measured", "killed", "measured"]
    measure(search, (0.7, 0.0))
    assert search.begin("this", lambda process: False) is None


def test_two_processes_share_a_journal_and_no_trial_is_begun_twice(tmp_path: Path) -> None:
    one, other = Search(tmp_path, a_run(), "same"), Search(tmp_path, a_run(), "same")
    begun = [search.begin(str(search), lambda process: False) for search in (one, other)]
    assert [trial.number for trial in begun if trial is not None] == [1, 2]
    one.measured({"score": 0.5, "under_triage_rate": 0.0})
    other.failed("stage2: the loss is nan")
    assert [(trial.outcome, trial.reason) for trial in one.trials()] == [
        ("measured", None),
        ("failed", "stage2: the loss is nan"),
    ]


def test_a_journal_of_another_search_or_of_something_else_is_refused(tmp_path: Path) -> None:
    Search(tmp_path, a_run(), "same")
    with pytest.raises(ConfigError, match=r"its trials are of another search: .*; give another --out"):
        Search(tmp_path, a_run(), "other")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / JOURNAL_FILE).write_text("hello\nworld\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        Search(tmp_path / "foreign", a_run(), "same")


def test_the_page_shows_every_trial_and_that_the_best_of_many_is_too_good(tmp_path: Path) -> None:
    search = Search(tmp_path, a_run(), "same")
    assert "No trial was measured" in search.page("Search")
    measure(search, (0.9, 0.2))
    assert "No trial keeps the bound" in search.page("Search")
    measure(search, (0.6, 0.1), (0.7, 0.05))
    search.begin("this", lambda process: False)
    search.failed("stage2: the loss is nan at step 3")
    page = search.page("Search")
    assert "Trial 3 is the best of 3:" in page
    assert "These figures are too good." in page
    assert "the loss is nan at step 3" in page
    assert page.count("<tr") == 5


def test_values_take_the_place_of_those_of_the_run_and_leave_the_others() -> None:
    config = {"stage2": {"max_steps": 9}, "method": {"name": "r2d"}}
    changed = with_values(config, {"stage2.batch_size": 8, "model.scratch.d_model": 64})
    assert changed == {
        "stage2": {"max_steps": 9, "batch_size": 8}, "method": {"name": "r2d"}, "model": {"scratch": {"d_model": 64}},
    }  # fmt: skip
    assert config == {"stage2": {"max_steps": 9}, "method": {"name": "r2d"}}
