"""The trials of a hyper-parameter search: which values come next, what was measured with them, and which is the best.

Optuna draws the values (TPE, Bergstra et al. 2011; the bound on under-triage is a constraint of it) and keeps every
trial in a journal, a file to which lines are only added. Several processes may share one. A trial whose process was
killed is tried again with the same values.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from r2d.config.run import RunConfig
from r2d.config.search import SearchConfig, find_key
from r2d.errors import ConfigError, DataError
from r2d.reports.formatting import decimal, percent
from r2d.reports.templates import render

JOURNAL_FILE = "journal.log"
Outcome = Literal["measured", "failed", "killed", "running"]
"""`failed`: the values cannot be trained with, and `Trial.reason` says why. `killed`: it was tried again."""


@dataclass(frozen=True)
class Trial:
    """One set of values."""

    number: int
    """From 1."""
    values: Mapping[str, object]
    """Key of the run -> value."""
    outcome: Outcome
    reason: str | None = None
    score_name: str = ""
    """Macro-F1, or accuracy where rows have options of their own."""
    score: float | None = None
    """Of the validation rows."""
    under_triage: float | None = None
    """Share of the validation rows; None where labels are not ordered."""
    is_allowed: bool = False
    """Whether it was measured and keeps the bound."""

    @property
    def figures(self) -> str:
        """What was measured, for people."""
        under_triage = "" if self.under_triage is None else f", under-triage {percent(self.under_triage)}"
        return "" if self.score is None else f"{self.score_name} {decimal(self.score)}{under_triage}"

    def shown(self, key: str) -> str:
        """The value of a key, with four digits where it is no whole number."""
        value = self.values[key]
        return f"{value:.4g}" if isinstance(value, float) else str(value)


class Search:
    """A search that goes on from its journal."""

    def __init__(self, folder: Path, run: RunConfig, identity: str) -> None:
        """Open the journal in a folder, or begin one.

        Args:
            identity: a hash of all that a measurement depends on beside the values.

        Raises:
            ConfigError: the journal is of another search, or the run declares none.
            DataError: it is damaged.
        """
        self.config: SearchConfig = run.require_search()
        self.score_name = "accuracy" if run.data.labels.per_row else "macro-F1"
        self.distributions = {key: _distribution(run, key) for key in self.config.space}
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = folder / JOURNAL_FILE
        self._lock = FileLock(f"{self._journal}.ours")  # the kernel opens it when its process is killed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._lock:
            self._mend_journal()
            try:
                self._study = optuna.create_study(
                    storage=JournalStorage(JournalFileBackend(str(self._journal))),
                    study_name="search", direction="maximize", load_if_exists=True,
                )  # fmt: skip
            except (ValueError, KeyError) as error:
                raise DataError(
                    f"{self._journal}: cannot be read ({type(error).__name__}); give another --out"
                ) from None
            known = self._study.user_attrs.get("identity")
            if known not in (None, identity):
                raise ConfigError(
                    f"{folder}: its trials are of another search: data, code, configuration or space were others; give "
                    "another --out"
                )
            if known is None:
                self._study.set_user_attr("identity", identity)

    def _mend_journal(self) -> None:
        """Take away what a killed process has left: a line that is not whole, and Optuna's own lock. Whoever writes
        holds ours."""
        Path(f"{self._journal}.lock").unlink(missing_ok=True)
        if self._journal.exists():
            content = self._journal.read_bytes()
            os.truncate(self._journal, content.rfind(b"\n") + 1)

    def begin(self, process: str, is_gone: Callable[[str], bool]) -> Trial | None:
        """The next trial; None where all have ended or are under way.

        Args:
            process: names this process; is_gone: whether a named one surely runs no more.
        """
        with self._lock:
            for lost in self._study.get_trials(states=(TrialState.RUNNING,)):
                if is_gone(lost.user_attrs.get("process", "")):
                    self._study.enqueue_trial(lost.params)
                    self._study.tell(lost.number, state=TrialState.FAIL)
            if sum(trial.outcome != "killed" for trial in self.trials()) >= self.config.num_trials:
                return None
            # A seed of its own for each, or a search that goes on would draw again what it has drawn.
            seed = self.config.seed + len(self._study.get_trials(deepcopy=False))
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            self._trial = self._study.ask(self.distributions)
            self._trial.set_user_attr("process", process)
            return self.trials()[self._trial.number]

    def measured(self, scores: Mapping[str, float]) -> Trial:
        """End the trial that was begun here.

        Args:
            scores: of `r2d.evaluation.validation.validation_scores`.
        """
        with self._lock:
            self._trial.set_user_attr("scores", dict(scores))
            if self.config.max_under_triage is not None:
                self._trial.set_constraint("under_triage", scores["under_triage_rate"] - self.config.max_under_triage)
            self._study.tell(self._trial, scores["score"])
            return self.trials()[self._trial.number]

    def failed(self, reason: str) -> Trial:
        """End the trial that was begun here: its values cannot be trained with."""
        with self._lock:
            self._trial.set_user_attr("reason", reason)
            self._study.tell(self._trial, state=TrialState.FAIL)
            return self.trials()[self._trial.number]

    def trials(self) -> list[Trial]:
        """All that were begun, in order. Of those that wait to be tried again nothing is said."""
        trials = self._study.get_trials(deepcopy=False)
        return [self._as_trial(trial) for trial in trials if trial.state != TrialState.WAITING]

    def best(self) -> Trial | None:
        """Of the trials that keep the bound, the one with the highest score; of equal ones the first."""
        allowed = [trial for trial in self.trials() if trial.is_allowed]
        return max(allowed, key=lambda trial: trial.score or 0.0, default=None)

    def _as_trial(self, trial: FrozenTrial) -> Trial:
        facts, number = trial.user_attrs, trial.number + 1
        if trial.state == TrialState.RUNNING:
            return Trial(number, trial.params, "running")
        if trial.state != TrialState.COMPLETE:
            reason = facts.get("reason")
            return Trial(number, trial.params, "failed" if reason else "killed", reason or "it was tried again")
        under_triage, bound = facts["scores"].get("under_triage_rate"), self.config.max_under_triage
        is_allowed = bound is None or under_triage <= bound
        score = facts["scores"]["score"]
        return Trial(number, trial.params, "measured", None, self.score_name, score, under_triage, is_allowed)

    def page(self, title: str) -> str:
        """The table of trials as one HTML page."""
        trials = self.trials()
        ranked = sorted(trials, key=lambda trial: (not trial.is_allowed, -(trial.score or -1.0), trial.number))
        return render(
            "r2d", "search.html.j2", title=title, trials=ranked, best=self.best(), keys=list(self.config.space),
            score_name=self.score_name[:1].upper() + self.score_name[1:],
            bound=self.config.max_under_triage, num_wanted=self.config.num_trials,
        )  # fmt: skip


def _distribution(run: RunConfig, key: str) -> BaseDistribution:
    """What Optuna draws a key from."""
    parameter = run.require_search().space[key]
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None, "the schema has looked"
    assert parameter.high is not None, "the schema has looked"
    if find_key(run, key).is_whole:
        return IntDistribution(int(parameter.low), int(parameter.high), parameter.log, int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)


def with_values(config: Mapping[str, Any], values: Mapping[str, object]) -> dict[str, Any]:
    """The values of a run configuration with others for some dotted keys."""
    changed = copy.deepcopy(dict(config))
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = changed
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return changed
