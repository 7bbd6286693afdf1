"""Champion and challenger in a real MLflow: who moves an alias, who does not, and what a killed run leaves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from mlops.registry.aliases import (
    AliasChange,
    AliasesMovedError,
    append_change,
    champion_to_compare,
    history,
    reconcile_aliases,
)
from mlops.registry.decisions import approve, rollback
from mlops.registry.versions import registry_client
from r2d.errors import RegistryError
from r2d.registered import HISTORY_SUFFIX
from tests import warm
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, metrics, run_config

ROOT = Path(__file__).resolve().parents[2]
BAD, GOOD, BETTER, BEST = (decisions(share, seed=seed) for share, seed in ((0.3, 3), (0.8, 0), (0.9, 2), (0.95, 6)))
APPROVAL: list[dict[str, Any]] = [{"rule": "human_approval"}]


@dataclass
class Model:
    """A registered model of one test."""

    name: str
    _register: Register

    def register(
        self,
        predicted: Sequence[str],
        champion: Sequence[str] | None = None,
        version: int = 0,
        *,
        rules: list[dict[str, Any]] | None = None,
        key: str = "key",
        consistency: float = 0.85,
    ) -> Any:
        """Register a model of these labels, compared with those of that version where one is given."""
        measured = metrics(predicted, champion, reference=f"{self.name}/{version}", consistency=consistency)
        return self._register(run_config(self.name, rules), measured, key=key)

    def alias(self, which: str = "champion") -> str | None:
        version = MlflowClient().get_registered_model(self.name).aliases.get(which)
        return None if version is None else str(version)

    def actions(self) -> list[tuple[str, str | None]]:
        return [(change.action, change.version) for change in history(self.name)]


@pytest.fixture
def model(register: Register, request: pytest.FixtureRequest) -> Model:
    """A model under a name of its own."""
    return Model(request.node.name[5:].replace("[", "-").rstrip("]")[:60], register)


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions in threads that start together."""
    ready = threading.Barrier(len(functions), timeout=60)
    with ThreadPoolExecutor(len(functions)) as pool:
        started = [pool.submit(lambda function=function: (ready.wait(), function())[1]) for function in functions]
        return [call.result() for call in started]


def test_the_first_model_that_passes_is_champion_and_one_that_fails_gets_no_alias(model: Model) -> None:
    failed = model.register(BAD)
    assert (failed.aliases, failed.decision.outcome, failed.reference) == ((), "failed", f"{model.name}/1")
    passed = model.register(GOOD)
    assert (passed.aliases, passed.reference, model.alias()) == (("champion",), f"{model.name}@champion", "2")
    assert model.actions() == [("promoted", "2")]


def test_a_champion_that_breaks_a_rule_declared_later_stays_and_the_screen_says_who_takes_it_back(model: Model) -> None:
    model.register(GOOD, rules=[])
    again = model.register(GOOD, rules=[{"rule": "within_limit", "figure": "accuracy", "at_least": 1.0}])
    assert (again.decision.outcome, again.aliases, model.alias()) == ("failed", ("champion",), "1")
    assert "does not pass the gate as it is declared now" in again.transition.reason
    command = f"r2d rollback {model.name} --to-none --reason WHY"
    assert command in again.transition.reason
    assert command in again.page


def test_a_better_model_takes_the_alias_from_the_champion_it_was_compared_with(model: Model) -> None:
    rules = [{"rule": "not_worse_than_champion", "figure": "macro_f1"}]
    model.register(GOOD, rules=rules)
    worse = model.register(BAD, GOOD, 1, rules=rules)
    assert worse.transition.reason == f"it did not pass the gate; {model.name}/1 stays champion"
    assert model.alias() == "1"
    assert "r2d rollback" not in worse.page, "that would take the champion back, which it is not"
    better = model.register(BETTER, GOOD, 1, rules=rules)
    assert model.alias() == "3"
    assert f"r2d rollback {model.name} --reason WHY" in better.page
    last = history(model.name)[-1]
    assert (last.action, last.version, last.before, last.by) == ("promoted", "3", "1", "gate")


def test_a_model_that_was_compared_with_an_older_champion_becomes_challenger(model: Model) -> None:
    model.register(GOOD)
    late = model.register(BETTER)
    assert (late.aliases, late.transition.action) == (("challenger",), "challenged")
    assert f"compared with no champion, and the champion is now {model.name}/1" in late.transition.reason
    assert (model.alias(), model.alias("challenger")) == ("1", "2")
    model.register(BETTER, GOOD, 1)
    assert (model.alias(), model.alias("challenger")) == ("2", None)


# --- several at once ---


def test_of_registrations_at_once_one_moves_the_alias_and_the_others_see_that_it_has_moved(model: Model) -> None:
    model.register(GOOD)
    metrics(BETTER, GOOD, reference=f"{model.name}/1")  # computed once, before they start
    registered = at_once([lambda c=c: model.register(BETTER, GOOD, 1, consistency=c) for c in (0.7, 0.8, 0.9)])
    assert sorted(each.version for each in registered) == ["2", "3", "4"]
    (winner,) = [each for each in registered if each.transition.action == "promoted"]
    assert model.alias() == winner.version
    assert [version for action, version in model.actions() if action == "promoted"] == ["1", winner.version]
    losers = [each for each in registered if each is not winner]
    assert all(f"is now {model.name}/{winner.version}" in each.transition.reason for each in losers)


def test_two_registrations_of_the_same_model_at_once_leave_one_version(model: Model) -> None:
    model.register(BAD)
    first, second = at_once([lambda: model.register(GOOD)] * 2)
    assert first.version == second.version == model.alias()
    assert len(MlflowClient().search_model_versions(f"name = '{model.name}'")) == 2


def test_an_alias_that_several_set_at_once_is_refused_to_none_of_them(model: Model) -> None:
    model.register(GOOD)
    ready = threading.Barrier(4, timeout=60)

    def reconcile() -> None:
        with registry_client("setting") as client:
            for _ in range(25):
                if ready.wait() == 0:
                    client.delete_registered_model_alias(model.name, "champion")
                ready.wait()
                reconcile_aliases(client, model.name)

    at_once([reconcile] * ready.parties)
    assert model.alias() == "1"


RACE = """
import sys, time
from pathlib import Path
from mlops.registry.aliases import AliasesMovedError, append_change, reconcile_aliases
from mlops.registry.versions import registry_client

name, version, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
with registry_client("racing") as client:
    seen = reconcile_aliases(client, name)
    (folder / version).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.001)
    try:
        append_change(client, name, seen.change("promoted", version, by="gate", reason="better"))
        print("done")
    except AliasesMovedError as error:
        print("refused" if "moved by another process" in str(error) else error)
"""


def test_of_two_processes_that_saw_the_same_champion_one_moves_the_alias(model: Model, tmp_path: Path) -> None:
    for predicted in (GOOD, BETTER, BEST):
        model.register(predicted)
    (tmp_path / "ready").mkdir()

    def race(version: str) -> str:
        command = ["python", "-c", RACE, model.name, version, str(tmp_path / "ready")]
        done = warm.run(command, cwd=tmp_path, environment=os.environ | {"PYTHONPATH": str(ROOT)})
        return done.stdout.splitlines()[-1]

    output = dict(zip("23", at_once([lambda: race("2"), lambda: race("3")]), strict=True))
    assert sorted(output.values()) == ["done", "refused"]
    (winner,) = [version for version, text in output.items() if text == "done"]
    assert model.alias() == winner
    assert [version for action, version in model.actions() if action == "promoted"] == ["1", winner]


def test_an_old_state_that_a_slow_process_sets_late_does_not_stay(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.register(GOOD)
    model.register(BETTER, GOOD, 1)
    MlflowClient().delete_registered_model_alias(model.name, "champion")
    set_alias = MlflowClient.set_registered_model_alias

    def slow(client: MlflowClient, *arguments: str) -> None:
        monkeypatch.undo()
        rollback(model.name, by="me", reason="meanwhile")
        assert model.alias() == "1"
        set_alias(client, *arguments)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", slow)
    assert champion_to_compare(model.name, "another key") == f"{model.name}/1"
    assert model.alias() == "1"


def test_a_change_that_builds_on_an_older_state_is_refused_and_moves_nothing(model: Model) -> None:
    model.register(GOOD)
    with registry_client("changing") as client:
        seen = reconcile_aliases(client, model.name)
        append_change(client, model.name, seen.change("rolled_back", None, by="me", reason="first"))
        with pytest.raises(AliasesMovedError, match=r"moved by another process .*so this change was not made"):
            append_change(client, model.name, seen.change("promoted", "1", by="gate", reason="second"))
    assert model.alias() is None
    assert model.actions() == [("promoted", "1"), ("rolled_back", None)]


# --- killed, and found in an older state ---


@pytest.mark.parametrize("call", ["create_model_version", "set_registered_model_alias", "log_dict"])
def test_the_next_run_completes_what_a_killed_one_has_begun(call: str, model: Model) -> None:
    """Killed before the change is written, before the alias is set, and before the decision is stored."""
    model.register(BAD)
    client_call = getattr(MlflowClient, call)
    killing = {"create_model_version": model.name + HISTORY_SUFFIX, "set_registered_model_alias": model.name}

    def killed(client: MlflowClient, first: str, *arguments: Any, **named: Any) -> Any:
        if first == killing.get(call, first):
            raise KeyboardInterrupt
        return client_call(client, first, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, call, killed)
        with pytest.raises(KeyboardInterrupt):
            model.register(GOOD)
    assert model.alias() == ("2" if call == "log_dict" else None)
    again = model.register(GOOD)
    assert (again.version, again.is_new, again.aliases) == ("2", False, ("champion",))
    assert mlflow.artifacts.load_dict(f"runs:/{again.run_id}/gate/decision.json")["outcome"] == "passed"
    assert model.actions() == [("promoted", "2")]


def test_a_history_written_by_version_0_1_0_is_read_and_continued(model: Model) -> None:
    """Its tags, letter by letter; the last change was written on top of an older state and does not count."""
    model.register(BAD)
    model.register(decisions(0.2, seed=8))
    client, name, at = MlflowClient(), f"{model.name}.alias-history", "2025-11-28T20:15:00+00:00"
    client.create_registered_model(name)
    first = {"after": "0", "action": "promoted", "version": "1", "by": "gate", "reason": "it passed", "run_key": "k1"}
    second = {"after": "1", "action": "promoted", "version": "2", "before": "1", "by": "gate", "reason": "better"}
    late = {"after": "1", "action": "rolled_back", "before": "1", "by": "me", "reason": "late"}
    for change in (first, second, late):
        tags = {f"r2d.change.{key}": value for key, value in (change | {"at": at}).items()}
        client.create_model_version(name, f"alias-history:/{model.name}", tags=tags)
    assert history(model.name) == [
        AliasChange(1, 0, "promoted", "1", None, "gate", "it passed", at, "k1"),
        AliasChange(2, 1, "promoted", "2", "1", "gate", "better", at),
    ]
    assert model.alias() == "2"
    assert rollback(model.name, by="me", reason="why").change.version == "1"
    assert model.actions()[-1] == ("rolled_back", "1")


def test_an_alias_that_is_older_than_the_history_is_taken_into_it(model: Model) -> None:
    model.register(BAD)
    MlflowClient().set_registered_model_alias(model.name, "champion", "1")
    model.register(GOOD, BAD, 1)
    assert model.actions() == [("found", "1"), ("promoted", "2")]
    assert rollback(model.name, by="me", reason="worse on the ward").change.version == "1"


# --- rollback ---


def test_rollback_goes_back_step_by_step_with_a_reason_and_to_no_champion_at_the_end(model: Model) -> None:
    name = model.name
    model.register(GOOD)
    model.register(BETTER, GOOD, 1)
    for expected, before in (("1", "2"), (None, "1")):
        done = rollback(name, by="Dr. Who", reason="complaints from the ward", to_none=expected is None).change
        assert (done.version, done.before, model.alias()) == (expected, before, expected)
    with pytest.raises(RegistryError, match=f"{name} has no champion to go back from"):
        rollback(name, by="me", reason="why")
    assert [change.action for change in history(name)] == ["promoted"] * 2 + ["rolled_back"] * 2
    assert {(change.by, change.reason) for change in history(name)[2:]} == {("Dr. Who", "complaints from the ward")}


def test_a_champion_that_was_removed_is_named_and_a_rollback_passes_over_others_that_were(model: Model) -> None:
    name = model.name
    model.register(GOOD)
    model.register(BETTER, GOOD, 1)
    model.register(BEST, BETTER, 2)
    for removed in ("2", "3"):
        MlflowClient().delete_model_version(name, removed)
    with pytest.raises(RegistryError, match=r"version 3, was removed from the registry; take it back with `r2d r"):
        champion_to_compare(name, "key")
    assert rollback(name, by="me", reason="it was removed").change.version == "1"
    assert champion_to_compare(name, "key of nobody") == f"{name}/1"


def test_what_was_rolled_back_does_not_come_back_by_itself_but_by_a_person(model: Model) -> None:
    model.register(GOOD)
    model.register(BETTER, GOOD, 1)
    rollback(model.name, by="Dr. Who", reason="under-triage at night")
    again = model.register(BETTER, GOOD, 1)
    assert (again.transition.action, model.alias()) == (None, "1")
    assert "Dr. Who rolled it back (under-triage at night)" in again.transition.reason
    assert approve(f"{model.name}/2", by="Dr. Who", reason="the night rows were wrong").change.version == "2"
    assert model.alias() == "2"


# --- approval ---


def test_a_model_that_needs_a_person_is_challenger_until_one_says_yes_and_its_decision_follows(model: Model) -> None:
    waiting = model.register(GOOD, rules=APPROVAL)
    assert (waiting.aliases, waiting.decision.outcome) == (("challenger",), "waiting")
    assert model.register(GOOD, rules=APPROVAL).aliases == ("challenger",)
    assert model.actions() == [("challenged", "1")]
    folder = f"runs:/{waiting.run_id}/gate"
    assert mlflow.artifacts.load_dict(f"{folder}/decision.json")["outcome"] == "waiting"
    approve(model.name, by="Dr. Who", reason="read fifty rationales")
    assert (model.alias(), model.alias("challenger")) == ("1", None)
    assert mlflow.artifacts.load_dict(f"{folder}/decision.json")["outcome"] == "passed"
    assert "approved by Dr. Who: read fifty rationales" in mlflow.artifacts.load_text(f"{folder}/page.html")
    assert mlflow.artifacts.load_image(f"{folder}/picture.png").size[0] > 500
    again = model.register(GOOD, rules=APPROVAL)
    assert (again.decision.outcome, again.transition.action) == ("passed", None)
    assert again.decision.reasons()[0] == "approved by Dr. Who: read fifty rationales"


def test_an_approval_replaces_no_rule_and_holds_for_one_comparison_only(model: Model) -> None:
    rules, name = [{"rule": "better_than_baseline", "baseline": "learnt"}, *APPROVAL], model.name
    model.register(BAD, rules=rules)
    with pytest.raises(RegistryError, match=r"an approval does not replace a rule: macro-F1 .* is NOT above"):
        approve(f"{name}/1", by="me", reason="please")
    model.register(GOOD, rules=rules)
    model.register(BETTER, rules=rules)
    approve(f"{name}/2", by="me", reason="good")
    with pytest.raises(RegistryError, match=f"compared with no champion, and the champion is now {name}/2: run again"):
        approve(f"{name}/3", by="me", reason="better")
    with pytest.raises(RegistryError, match=f"{name}/2 is the champion already"):
        approve(f"{name}/2", by="me", reason="again")
    assert model.register(BETTER, GOOD, 2, rules=rules).decision.outcome == "waiting"
    assert model.alias() == "2"


@pytest.mark.parametrize("which", ["", "/7", "@nobody"])
def test_approving_what_is_not_there_says_what_is(which: str, model: Model) -> None:
    model.name = "with-one-version"
    model.register(BAD)
    known = r"has versions 1 and aliases none\. Name one of them, as in `r2d approve with-one-version/1`"
    with pytest.raises(RegistryError, match=known):
        approve(f"{model.name}{which}", by="me", reason="why")


def test_a_model_that_nobody_registered_has_no_history_and_cannot_be_rolled_back(store: str) -> None:
    for ask in (lambda: history("nobody"), lambda: rollback("nobody", by="me", reason="why")):
        with pytest.raises(RegistryError, match="no model named 'nobody' is registered"):
            ask()


# --- the champion that a run is compared with ---


def test_a_repeated_run_is_compared_with_what_it_was_compared_with_the_first_time(model: Model) -> None:
    name = model.name
    assert champion_to_compare(name, "one") is None
    model.register(GOOD, key="one")
    assert champion_to_compare(name, "one") is None, "it is the champion itself now, and was compared with none"
    assert champion_to_compare(name, "two") == f"{name}/1"
    model.register(BETTER, GOOD, 1, key="two")
    assert champion_to_compare(name, "two") == f"{name}/1"
    assert champion_to_compare(name, "one") == f"{name}/2"
    rollback(name, by="me", reason="why")
    assert champion_to_compare(name, "one") is None
    assert champion_to_compare(name, "two") == f"{name}/1"


def test_a_repeated_run_that_made_another_model_is_compared_with_the_champion_the_next_time(model: Model) -> None:
    model.register(GOOD, key="one")
    assert model.register(BETTER, key="one").aliases == ("challenger",)
    assert champion_to_compare(model.name, "one") == f"{model.name}/1"
    model.register(BETTER, GOOD, 1, key="one")
    assert model.alias() == "2"
    assert champion_to_compare(model.name, "one") == f"{model.name}/1"


def test_an_approved_model_counts_as_made_by_its_run(model: Model) -> None:
    model.register(GOOD, rules=APPROVAL, key="one")
    approve(model.name, by="me", reason="good")
    assert champion_to_compare(model.name, "one") is None
