"""Champion and challenger in a real MLflow: who moves an alias, who does not, and what a death in between leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from mlops.registry.aliases import (
    AliasChange,
    AliasesMovedError,
    append_change,
    approve,
    champion_to_compare,
    history,
    reconcile_aliases,
    rollback,
)
from mlops.registry.versions import registry_client
from r2d.config.gate import HISTORY_SUFFIX
from r2d.errors import RegistryError
from tests.gate.measured import decisions, metrics_of
from tests.mlops.conftest import Register, run_config

ROOT = Path(__file__).resolve().parents[2]
GOOD, BETTER, BAD = decisions(0.8), decisions(0.9, seed=2), decisions(0.3, seed=3)
APPROVAL: list[dict[str, Any]] = [{"rule": "human_approval"}]


def alias(name: str, which: str) -> str | None:
    version = MlflowClient().get_registered_model(name).aliases.get(which)
    return None if version is None else str(version)


def actions(name: str) -> list[tuple[str, str | None]]:
    return [(change.action, change.version) for change in history(name)]


def compared(said: Sequence[str], champion: Sequence[str] | None, reference: str, consistency: float = 0.85) -> Any:
    return metrics_of(said, champion, reference=reference, consistency=consistency)


def test_the_first_model_that_passes_is_champion_and_one_that_fails_gets_no_alias(register: Register) -> None:
    failed = register(run_config("first"), metrics_of(BAD))
    assert (failed.aliases, failed.decision.outcome, failed.reference) == ((), "failed", "first/1")
    passed = register(run_config("first"), metrics_of(GOOD))
    assert (passed.aliases, passed.reference, alias("first", "champion")) == (("champion",), "first@champion", "2")
    assert actions("first") == [("promoted", "2")]


def test_a_better_model_takes_the_alias_from_the_champion_it_was_compared_with(register: Register) -> None:
    rules = [{"rule": "not_worse_than_champion", "figure": "macro_f1"}]
    register(run_config("better", rules), metrics_of(GOOD))
    worse = register(run_config("better", rules), compared(BAD, GOOD, "better/1"))
    assert worse.transition.reason == "it did not pass the gate; better/1 stays champion"
    assert alias("better", "champion") == "1"
    register(run_config("better", rules), compared(BETTER, GOOD, "better/1"))
    assert alias("better", "champion") == "3"
    last = history("better")[-1]
    assert (last.action, last.version, last.before, last.by) == ("promoted", "3", "1", "gate")


def test_a_model_that_was_compared_with_an_older_champion_becomes_challenger(register: Register) -> None:
    register(run_config("older"), metrics_of(GOOD))
    late = register(run_config("older"), metrics_of(BETTER))
    assert (late.aliases, late.transition.action) == (("challenger",), "challenge")
    assert "compared with no champion, and the champion is now older/1" in late.transition.reason
    assert (alias("older", "champion"), alias("older", "challenger")) == ("1", "2")
    register(run_config("older"), compared(BETTER, GOOD, "older/1"))
    assert (alias("older", "champion"), alias("older", "challenger")) == ("2", None)


def test_of_registrations_at_once_one_moves_the_alias_and_the_others_see_that_it_has_moved(register: Register) -> None:
    first = register(run_config("race"), metrics_of(GOOD))
    assert first.aliases == ("champion",)
    ready = threading.Barrier(3)
    found: list[Any] = []

    def start(consistency: float) -> None:
        metrics = compared(BETTER, GOOD, "race/1", consistency)
        ready.wait()
        found.append(register(run_config("race"), metrics))

    threads = [threading.Thread(target=start, args=(0.7 + number / 10,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.version for one in found) == ["2", "3", "4"]
    (winner,) = [one for one in found if one.transition.action == "promote"]
    assert alias("race", "champion") == winner.version
    promoted = [change for change in history("race") if change.action == "promoted"]
    assert [change.version for change in promoted] == ["1", winner.version]
    for loser in found:
        if loser is not winner:
            assert f"the champion is now race/{winner.version}" in loser.transition.reason


def test_an_alias_that_several_draw_at_once_is_refused_to_none_of_them(register: Register) -> None:
    register(run_config("drawn"), metrics_of(GOOD))
    ready = threading.Barrier(4, timeout=60)

    def draw() -> None:
        with registry_client("drawing") as client:
            for _ in range(25):
                if ready.wait() == 0:
                    client.delete_registered_model_alias("drawn", "champion")
                ready.wait()
                reconcile_aliases(client, "drawn")

    with ThreadPoolExecutor(ready.parties) as pool:
        for drawn in [pool.submit(draw) for _ in range(ready.parties)]:
            drawn.result()
    assert alias("drawn", "champion") == "1"


RACE = """
import sys, time
from pathlib import Path
from mlops.registry.aliases import AliasesMovedError, append_change, reconcile_aliases
from mlops.registry.versions import registry_client

version, folder = sys.argv[1], Path(sys.argv[2])
with registry_client("racing") as client:
    seen = reconcile_aliases(client, "processes")
    (folder / version).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.001)
    try:
        append_change(client, "processes", seen.change("promoted", version, by="gate", reason="better"))
    except AliasesMovedError as error:
        print("moved by another process" in str(error))
"""


def test_of_two_processes_that_saw_the_same_champion_one_moves_the_alias(register: Register, tmp_path: Path) -> None:
    register(run_config("processes"), metrics_of(GOOD))
    for seed in (2, 6):
        assert register(run_config("processes"), metrics_of(decisions(0.9, seed=seed))).aliases == ("challenger",)
    command = [sys.executable, "-c", RACE]
    running = {
        version: subprocess.Popen([*command, version, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for version in ("2", "3")
    }
    said = {version: process.communicate(timeout=900)[0].strip() for version, process in running.items()}
    assert sorted(said.values()) == ["", "True"], said
    (winner,) = [version for version, words in said.items() if not words]
    assert alias("processes", "champion") == winner
    assert [one for one in actions("processes") if one[0] == "promoted"] == [("promoted", "1"), ("promoted", winner)]


def test_two_registrations_of_the_same_model_at_once_leave_one_version(register: Register) -> None:
    register(run_config("twice"), metrics_of(BAD))
    ready = threading.Barrier(2)
    found: list[Any] = []

    def start() -> None:
        ready.wait()
        found.append(register(run_config("twice"), metrics_of(GOOD)))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.version for one in found}) == 1
    assert len(MlflowClient().search_model_versions("name = 'twice'")) == 2
    assert alias("twice", "champion") == found[0].version


def killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["create_model_version", "set_registered_model_alias", "log_dict"])
def test_the_next_run_completes_what_a_killed_one_has_begun(call: str, register: Register) -> None:
    """Killed before the change is written, before the alias is set, and before the decision is stored."""
    name = f"killed-{call}"
    register(run_config(name), metrics_of(BAD))
    with pytest.MonkeyPatch.context() as patch:
        client_call = getattr(MlflowClient, call)
        counted = name if call != "create_model_version" else name + HISTORY_SUFFIX

        def once_registered(client: MlflowClient, first: str, *args: Any, **named: Any) -> Any:
            is_killed = call == "log_dict" or first == counted
            return killed() if is_killed else client_call(client, first, *args, **named)

        patch.setattr(MlflowClient, call, once_registered)
        with pytest.raises(KeyboardInterrupt):
            register(run_config(name), metrics_of(GOOD))
    assert alias(name, "champion") == ("2" if call == "log_dict" else None)
    again = register(run_config(name), metrics_of(GOOD))
    assert (again.version, again.is_new, again.aliases) == ("2", False, ("champion",))
    assert mlflow.artifacts.load_dict(f"runs:/{again.run_id}/gate/decision.json")["outcome"] == "passed"
    assert actions(name) == [("promoted", "2")]


def test_looking_for_the_champion_repairs_the_alias_too(register: Register) -> None:
    register(run_config("looked"), metrics_of(GOOD))
    MlflowClient().delete_registered_model_alias("looked", "champion")
    assert champion_to_compare("looked", "another key") == "looked/1"
    assert alias("looked", "champion") == "1"


def test_an_old_state_that_a_slow_process_sets_late_does_not_stay(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(run_config("late"), metrics_of(GOOD))
    register(run_config("late"), compared(BETTER, GOOD, "late/1"))
    MlflowClient().delete_registered_model_alias("late", "champion")
    set_alias = MlflowClient.set_registered_model_alias

    def slow(client: MlflowClient, name: str, which: str, version: str) -> None:
        monkeypatch.undo()
        rollback("late", by="me", reason="meanwhile")
        assert alias("late", "champion") == "1"
        set_alias(client, name, which, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", slow)
    assert champion_to_compare("late", "another key") == "late/1"
    assert alias("late", "champion") == "1"


def test_a_change_that_builds_on_an_older_state_is_refused_and_moves_nothing(register: Register) -> None:
    register(run_config("stale"), metrics_of(GOOD))
    with registry_client("changing") as client:
        seen = reconcile_aliases(client, "stale")
        append_change(client, "stale", seen.change("rolled_back", None, by="me", reason="first"))
        with pytest.raises(AliasesMovedError, match=r"moved by another process .*so this change was not made"):
            append_change(client, "stale", seen.change("promoted", "1", by="gate", reason="second"))
    assert alias("stale", "champion") is None
    assert actions("stale") == [("promoted", "1"), ("rolled_back", None)]


def test_a_history_written_by_version_0_1_0_is_read_and_continued(register: Register) -> None:
    """Its tags, letter by letter; the last change was written on top of an older state and does not count."""
    register(run_config("old"), metrics_of(BAD))
    register(run_config("old"), metrics_of(decisions(0.2, seed=8)))
    client = MlflowClient()
    client.create_registered_model("old.alias-history")
    at = "2025-11-28T20:15:00+00:00"
    first = {"after": "0", "action": "promoted", "version": "1", "by": "gate", "reason": "it passed", "run_key": "k1"}
    second = {"after": "1", "action": "promoted", "version": "2", "before": "1", "by": "gate", "reason": "better"}
    late = {"after": "1", "action": "rolled_back", "before": "1", "by": "me", "reason": "late"}
    for change in (first, second, late):
        tags = {f"r2d.change.{key}": value for key, value in (change | {"at": at}).items()}
        client.create_model_version("old.alias-history", "alias-history:/old", tags=tags)
    assert history("old") == [
        AliasChange(1, 0, "promoted", "1", None, "gate", "it passed", at, "k1"),
        AliasChange(2, 1, "promoted", "2", "1", "gate", "better", at),
    ]
    assert alias("old", "champion") == "2"
    assert rollback("old", by="me", reason="why").version == "1"
    assert actions("old")[-1] == ("rolled_back", "1")


def test_an_alias_that_is_older_than_the_history_is_taken_into_it(register: Register) -> None:
    register(run_config("legacy"), metrics_of(BAD))
    MlflowClient().set_registered_model_alias("legacy", "champion", "1")
    register(run_config("legacy"), compared(GOOD, BAD, "legacy/1"))
    assert actions("legacy") == [("found", "1"), ("promoted", "2")]
    assert rollback("legacy", by="me", reason="worse on the ward").version == "1"


def test_rollback_goes_back_step_by_step_with_a_reason_and_to_no_champion_at_the_end(register: Register) -> None:
    register(run_config("back"), metrics_of(GOOD))
    register(run_config("back"), compared(BETTER, GOOD, "back/1"))
    register(run_config("back"), compared(decisions(0.95, seed=6), BETTER, "back/2"))
    for expected, before in (("2", "3"), ("1", "2"), (None, "1")):
        done = rollback("back", by="Dr. Who", reason="complaints from the ward")
        assert (done.version, done.before, alias("back", "champion")) == (expected, before, expected)
    with pytest.raises(RegistryError, match="back has no champion to go back from"):
        rollback("back", by="me", reason="why")
    assert [change.action for change in history("back")] == ["promoted"] * 3 + ["rolled_back"] * 3
    assert {(change.by, change.reason) for change in history("back")[3:]} == {("Dr. Who", "complaints from the ward")}


def test_rollback_passes_over_a_version_that_was_removed(register: Register) -> None:
    register(run_config("gap"), metrics_of(GOOD))
    register(run_config("gap"), compared(BETTER, GOOD, "gap/1"))
    register(run_config("gap"), compared(decisions(0.95, seed=6), BETTER, "gap/2"))
    MlflowClient().delete_model_version("gap", "2")
    assert rollback("gap", by="me", reason="why").version == "1"


def test_a_champion_that_was_removed_is_named_and_a_rollback_mends_it(register: Register) -> None:
    register(run_config("removed"), metrics_of(GOOD))
    register(run_config("removed"), compared(BETTER, GOOD, "removed/1"))
    MlflowClient().delete_model_version("removed", "2")
    with pytest.raises(RegistryError, match=r"version 2, was removed from the registry; go back .* `r2d rollback"):
        champion_to_compare("removed", "key")
    assert rollback("removed", by="me", reason="it was removed").version == "1"
    assert champion_to_compare("removed", "key of nobody") == "removed/1"


def test_what_was_rolled_back_does_not_come_back_by_itself_but_by_a_person(register: Register) -> None:
    register(run_config("withdrawn"), metrics_of(GOOD))
    better = compared(BETTER, GOOD, "withdrawn/1")
    register(run_config("withdrawn"), better)
    rollback("withdrawn", by="Dr. Who", reason="under-triage at night")
    again = register(run_config("withdrawn"), better)
    assert (again.transition.action, alias("withdrawn", "champion")) == ("none", "1")
    assert "Dr. Who rolled it back (under-triage at night)" in again.transition.reason
    assert approve("withdrawn/2", by="Dr. Who", reason="the night rows were wrong").version == "2"
    assert alias("withdrawn", "champion") == "2"


def test_a_model_that_needs_a_person_is_challenger_until_one_says_yes(register: Register) -> None:
    waiting = register(run_config("asked", APPROVAL), metrics_of(GOOD))
    assert (waiting.aliases, waiting.decision.outcome) == (("challenger",), "waiting")
    assert register(run_config("asked", APPROVAL), metrics_of(GOOD)).aliases == ("challenger",)
    assert actions("asked") == [("challenged", "1")]
    approve("asked", by="Dr. Who", reason="read fifty rationales")
    assert (alias("asked", "champion"), alias("asked", "challenger")) == ("1", None)
    again = register(run_config("asked", APPROVAL), metrics_of(GOOD))
    assert (again.decision.outcome, again.transition.action) == ("passed", "none")
    assert again.decision.reasons()[0] == "approved by Dr. Who: read fifty rationales"


def test_the_decision_is_kept_with_the_version_and_follows_the_approval(register: Register) -> None:
    def kept(name: str) -> Any:
        return mlflow.artifacts.load_dict(f"runs:/{registered.run_id}/gate/{name}")

    registered = register(run_config("kept", APPROVAL), metrics_of(GOOD, consistency=0.5))
    assert kept("decision.json")["outcome"] == "waiting"
    approve("kept/1", by="Dr. Who", reason="read fifty rationales")
    assert kept("decision.json")["outcome"] == "passed"
    page = mlflow.artifacts.load_text(f"runs:/{registered.run_id}/gate/page.html")
    assert "approved by Dr. Who: read fifty rationales" in page
    assert mlflow.artifacts.load_image(f"runs:/{registered.run_id}/gate/picture.png").size[0] > 500


def test_an_approval_replaces_no_rule_and_holds_for_one_comparison_only(register: Register) -> None:
    rules = [{"rule": "better_than_baseline", "baseline": "learnt"}, *APPROVAL]
    register(run_config("limits", rules), metrics_of(BAD))
    with pytest.raises(RegistryError, match=r"an approval does not replace a rule: macro-F1 .* is NOT above"):
        approve("limits/1", by="me", reason="please")
    register(run_config("limits", rules), metrics_of(GOOD))
    register(run_config("limits", rules), metrics_of(BETTER))
    approve("limits/2", by="me", reason="good")
    with pytest.raises(RegistryError, match="compared with no champion, and the champion is now limits/2: run again"):
        approve("limits/3", by="me", reason="better")
    with pytest.raises(RegistryError, match="limits/2 is the champion already"):
        approve("limits/2", by="me", reason="again")
    later = register(run_config("limits", rules), compared(BETTER, GOOD, "limits/2"))
    assert later.decision.outcome == "waiting"
    assert alias("limits", "champion") == "2"


@pytest.mark.parametrize("reference", ["asked-for", "asked-for/7", "asked-for@nobody"])
def test_approving_what_is_not_there_says_what_is(reference: str, register: Register) -> None:
    register(run_config("asked-for"), metrics_of(BAD))
    with pytest.raises(RegistryError, match=r"has versions 1 and aliases none\. Name one .* `r2d approve asked-for/1`"):
        approve(reference, by="me", reason="why")


def test_a_model_that_nobody_registered_has_no_history_and_cannot_be_rolled_back(store: str) -> None:
    for ask in (lambda: history("nobody"), lambda: rollback("nobody", by="me", reason="why")):
        with pytest.raises(RegistryError, match="no model named 'nobody' is registered"):
            ask()


def test_a_repeated_run_is_compared_with_what_it_was_compared_with_the_first_time(register: Register) -> None:
    name = "repeated"
    assert champion_to_compare(name, "one") is None
    register(run_config(name), metrics_of(GOOD), run_key="one")
    assert champion_to_compare(name, "one") is None, "it is the champion itself now, and was compared with none"
    assert champion_to_compare(name, "two") == f"{name}/1"
    register(run_config(name), compared(BETTER, GOOD, f"{name}/1"), run_key="two")
    assert champion_to_compare(name, "two") == f"{name}/1"
    assert champion_to_compare(name, "one") == f"{name}/2"
    rollback(name, by="me", reason="why")
    assert champion_to_compare(name, "one") is None
    assert champion_to_compare(name, "two") == f"{name}/1"


def test_a_repeated_run_that_made_another_model_is_compared_with_the_champion_the_next_time(register: Register) -> None:
    name = "drifted"
    register(run_config(name), metrics_of(GOOD), run_key="one")
    other = register(run_config(name), metrics_of(BETTER), run_key="one")
    assert other.aliases == ("challenger",)
    assert champion_to_compare(name, "one") == f"{name}/1"
    register(run_config(name), compared(BETTER, GOOD, f"{name}/1"), run_key="one")
    assert alias(name, "champion") == "2"
    assert champion_to_compare(name, "one") == f"{name}/1"


def test_an_approved_model_counts_as_made_by_its_run(register: Register) -> None:
    register(run_config("approved", APPROVAL), metrics_of(GOOD), run_key="one")
    approve("approved", by="me", reason="good")
    assert champion_to_compare("approved", "one") is None
