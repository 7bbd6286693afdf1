"""Whether a champion is to be replaced, and why: facts of now held against what made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops.retraining.training_facts import TrainingFacts
from r2d.config.jobs import RetrainingConfig
from r2d.config.model import REGISTERED

SHOWN_CHARACTERS = 12
"""Of a hash."""
SHOWN_KEYS = 5
COUNTED = "counted, because the data changed"


@dataclass(frozen=True)
class ChampionFacts:
    """The champion of this moment."""

    reference: str
    """`name/version`."""
    made_at: datetime
    model_sha256: str
    facts: TrainingFacts


@dataclass(frozen=True)
class Compared:
    """One fact: what it was when the champion was made, and what it is now."""

    name: str
    then: str
    now: str
    finding: str
    """`same`, `changed` or `not known`; of an age and of drift, a few words."""


@dataclass(frozen=True)
class RetrainingDecision:
    """Whether to train, why, and what was compared."""

    train: bool
    reasons: tuple[str, ...]
    compared: tuple[Compared, ...]
    champion: str | None

    def as_facts(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {
            "train": self.train,
            "reasons": list(self.reasons),
            "champion": self.champion,
            "compared": [vars(one) for one in self.compared],
        }

    def lines(self) -> list[str]:
        """The decision for people."""
        head = "training: " if self.train else "nothing to do: "
        facts = [f"  {one.name}: {one.finding} (then {one.then}, now {one.now})" for one in self.compared]
        return [head + "; ".join(self.reasons), *facts]


def decide(
    config: RetrainingConfig,
    now: TrainingFacts,
    champion: ChampionFacts | None,
    *,
    time: datetime,
    drift: Mapping[str, Any] | None = None,
    force: str | None = None,
    made_already: Callable[[], str | None] = lambda: None,
) -> RetrainingDecision:
    """Hold the facts of now against those of the champion, and each trigger against what was found.

    Args:
        champion: None where there is none; then there is nothing to compare, and it trains.
        time: of now, with a time zone.
        drift: the facts of a `drift.json`.
        force: why to train whatever was found.
        made_already: finds the version that a run of just this configuration, data and code has made before, whatever
            the gate said of it: the run would make it again, so only a person starts it. It takes seconds, and is
            called only where a trigger fired.
    """
    forced = [] if force is None else [f"forced: {force}"]
    if champion is None:
        compared = [Compared("champion", "none", "none", "there is none yet")]
        started = [*forced, "there is no champion yet"]
    else:
        compared = list(_compared(now, champion, time=time, drift=drift))
        started = [*forced, *_started(config, now, champion, time=time, drift=drift)]
    reference = None if champion is None else champion.reference
    if started and not forced and (made := made_already()) is not None:
        why = f"{made} was made of just this configuration, data and code ({'; '.join(started)})"
        return RetrainingDecision(False, (why,), tuple(compared), reference)
    reasons = started or [f"no trigger fired; {reference} stays champion"]
    return RetrainingDecision(bool(started), tuple(reasons), tuple(compared), reference)


def data_changed(now: TrainingFacts, then: TrainingFacts) -> bool:
    """Whether the data or the files with rationales differ; of files that were not recorded nothing is said."""
    return _differ(now.data_sha256, then.data_sha256) or _differ(now.files_sha256, then.files_sha256)


def _started(
    config: RetrainingConfig,
    now: TrainingFacts,
    champion: ChampionFacts,
    *,
    time: datetime,
    drift: Mapping[str, Any] | None,
) -> Iterator[str]:
    then = champion.facts
    if config.min_new_rows is not None and data_changed(now, then):
        if config.min_new_rows == 0:
            yield "the data or the files with rationales changed"
        elif now.num_rows is None or then.num_rows is None:
            yield "the data changed, and how many rows the champion knew was not recorded"
        elif now.num_rows - then.num_rows >= config.min_new_rows:
            yield f"{now.num_rows - then.num_rows:,} new rows, at least {config.min_new_rows:,} are asked for"
    changed = _changed_keys(config, now, then)
    if config.on_config_change and changed:
        yield f"the configuration changed: {_listed(changed)}"
    if config.on_code_change and _differ(now.sources_sha256, then.sources_sha256):
        yield "the code that weights and figures depend on changed"
    if config.on_code_change and _differ(now.lock_sha256, then.lock_sha256):
        yield "a locked version of a library changed"
    age = _days(time, champion)
    if config.max_age_days is not None and age >= config.max_age_days:
        yield f"{champion.reference} is {age:.1f} days old, at most {config.max_age_days:g} are allowed"
    if config.drift is not None and drift is not None and drift["drifted"] and _is_of(drift, champion):
        yield "the calls drifted: " + " ".join(drift["reasons"])


def _compared(
    now: TrainingFacts, champion: ChampionFacts, *, time: datetime, drift: Mapping[str, Any] | None
) -> Iterator[Compared]:
    then = champion.facts
    hashes = {
        "data": (then.data_sha256, now.data_sha256),
        "files with rationales": (then.files_sha256, now.files_sha256),
        "code": (then.sources_sha256, now.sources_sha256),
        "locked libraries": (then.lock_sha256, now.lock_sha256),
    }
    for name, (before, found) in hashes.items():
        finding = "not known" if None in (before, found) else "same" if before == found else "changed"
        yield Compared(name, _short(before), _short(found), finding)
    if now.num_rows is not None:
        known = "not known" if then.num_rows is None else f"{then.num_rows:,}"
        fewer = then.num_rows is not None and now.num_rows < then.num_rows
        found = "fewer than the champion knew: see that the delivery is whole" if fewer else COUNTED
        yield Compared("valid rows", known, f"{now.num_rows:,}", found)
    keys = _differing_keys(now, then)
    finding = "same" if not keys else "changed"
    yield Compared(
        "configuration",
        "not readable" if then.config is None else f"{len(then.config)} keys",
        f"{len(now.config or {})} keys" + (f": {_listed(keys)}" if keys else ""),
        finding,
    )
    yield Compared("start", then.start or "not known", now.start or "not known", _start_finding(now, then, champion))
    made = champion.made_at.isoformat(timespec="seconds")
    yield Compared("champion", made, time.isoformat(timespec="seconds"), f"{_days(time, champion):.1f} days old")
    if drift is not None:
        of_it = "of the champion" if _is_of(drift, champion) else "of another model, so it does not count"
        said = "drift" if drift["drifted"] else "no drift"
        yield Compared("calls", champion.reference, drift["model"]["name"], f"{said}, {of_it}")


def _changed_keys(config: RetrainingConfig, now: TrainingFacts, then: TrainingFacts) -> list[str]:
    start = [] if config.warm_start or then.start is None or _same_start(now.start, then.start) else ["model.name"]
    return [*_differing_keys(now, then), *start]


def _differing_keys(now: TrainingFacts, then: TrainingFacts) -> list[str]:
    """Keys whose values differ; all at once where today's code cannot read the champion's configuration."""
    if then.config is None or now.config is None:
        return ["the code of today cannot read the champion's configuration"]
    keys = sorted({*now.config, *then.config})
    return [key for key in keys if now.config.get(key) != then.config.get(key)]


def _start_finding(now: TrainingFacts, then: TrainingFacts, champion: ChampionFacts) -> str:
    own = f"{REGISTERED}{champion.reference.split('/')[0]}"
    if (now.start or "").startswith(own):
        return "warm, from the champion"
    return "same" if _same_start(now.start, then.start) else "changed"


def _same_start(now: str | None, then: str | None) -> bool:
    """Versions and aliases of one registered model are one start: a run pins what its alias stood for."""
    return _family(now) == _family(then)


def _family(start: str | None) -> str | None:
    if start is None or not start.startswith(REGISTERED):
        return start
    return start.split("@")[0].removeprefix(REGISTERED).split("/")[0]


def _is_of(drift: Mapping[str, Any], champion: ChampionFacts) -> bool:
    """A report on an older champion says nothing of this one, or it would start a run for ever."""
    return bool(drift["model"]["hash"] == champion.model_sha256)


def _differ(now: str | None, then: str | None) -> bool:
    return now is not None and then is not None and now != then


def _days(time: datetime, champion: ChampionFacts) -> float:
    return (time - champion.made_at).total_seconds() / 86_400


def _short(value: str | None) -> str:
    return "not known" if value is None else value[:SHOWN_CHARACTERS]


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more
