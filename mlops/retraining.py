"""`r2d retrain`: trains again where a declared trigger says so, by the same DAG, gate and alias as the main job.

A decision compares what a run would be made of now with what the champion was made of, fact by fact (`TrainingFacts`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlops.code import ROOT, lock_hash, model_code_hash
from mlops.registry.aliases import RUN_KEY_TAG, existing_champion
from mlops.registry.forgotten import all_erasures, without_forgotten
from mlops.registry.versions import pin_models, registered_file, registry_client, tagged_versions
from mlops.run_record import RunRecord, auxiliary_files
from r2d.config.jobs import RetrainingConfig
from r2d.config.loading import extended, parse_config, read_parameters
from r2d.config.run import RunConfig
from r2d.config.section import parse_section
from r2d.data.fingerprint import data_fingerprint, files_fingerprint
from r2d.errors import ConfigError, DataError, TrainingError
from r2d.files import write_json, write_text
from r2d.registered import REGISTERED
from r2d.text import changed_values, flatten

if TYPE_CHECKING:
    from mlops.registry.registration import Registration

JUDGING_SECTIONS = {"registration", "comparison", "retraining", "search"}
"""Sections that neither weights nor metrics depend on."""
KEYS_COMPARED_APART = ("data.path", "data.forgotten", "model.name", "model.revision")
"""The data have a hash, wherever they lie; the start is a fact of its own, and so is whether the champion was trained
on somebody who was forgotten since."""
SECONDS_BETWEEN_POLLS = 10.0
MAX_KEYS_SHOWN = 5
HASH_DIGITS_SHOWN = 12
UNREADABLE_CONFIG = "the code of today cannot read the champion's configuration"


def retrain(
    file: Path, *, force: str | None = None, dry_run: bool = False, out: Path | None = None
) -> RetrainingResult:
    """Decide, and train where the decision says so; the decision is in `out` before the run begins.

    Args:
        file: a run configuration; its section `retraining` declares the triggers.
        force: why to train whatever the triggers say.
        out: folder for `decision.json`, `summary.md` and the pages of the run.

    Raises:
        ConfigError, DataError, RegistryError: nothing has started.
        TrainingError: the run did not succeed; it moved no alias.
    """
    values = dict(extended(read_parameters(file), str(file)))
    triggers = parse_section(RetrainingConfig, values.pop("retraining", None) or {}, where=f"{file}: retraining")
    run = without_forgotten(parse_config(values, where=str(file)))
    champion = champion_facts(run.registration.model_name)
    if triggers.warm_start and champion is not None:
        start = {"name": f"{REGISTERED}{champion.reference}", "revision": None}
        run = run.model_copy(update={"model": run.model.model_copy(update=start)})
    now = facts_of_run(run)
    if triggers.min_new_rows and champion is not None and data_changed(now, champion.facts):
        from r2d.workflows import require_usable, validated

        validation = validated(run)
        require_usable(validation, run)
        now = replace(now, num_rows=len(validation.examples))
    comparison = Comparison(
        now,
        champion,
        datetime.now(UTC),
        read_report(triggers.drift, "drift", DriftVerdict),
        read_report(triggers.monitor, "monitor", MonitorVerdict),
    )
    decision = decide(triggers, comparison, force=force, made_already=lambda: version_made_by(run))
    result = RetrainingResult(decision)
    write_result(result, out)
    if decision.train and not dry_run:
        model = {key: value for key, value in values.get("model", {}).items() if key != "revision"}
        values["model"] = model | run.model.model_dump(include={"name", "revision"}, exclude_none=True)
        result = train_and_register(decision, file, values)
        write_result(result, out)
    return result


# --- what a model is made of ---


@dataclass(frozen=True)
class TrainingFacts:
    """What a model is made of; None stands for what is not known."""

    config: Mapping[str, object] | None
    """Dotted key, as `stage2.max_steps` -> value; without what only judges a model, and without its start."""
    start: str | None
    """`model.name`: a hub name, a folder, `scratch` or a registered version."""
    data_sha256: str | None
    files_sha256: str | None
    """Of rationales, prompts and the reference of the data contract."""
    sources_sha256: str | None
    """Of the code that weights and metrics depend on."""
    lock_sha256: str | None
    num_rows: int | None = None
    """Valid rows of all splits."""


@dataclass(frozen=True)
class ChampionFacts:
    reference: str
    """`name/version`."""
    made_at: datetime
    model_sha256: str
    facts: TrainingFacts
    num_forgotten: int = 0
    """Erasures that left it in use although it was trained on the person."""


def facts_of_run(run: RunConfig) -> TrainingFacts:
    """What a run would be made of now. Its rows are not counted, because that takes reading the data."""
    return TrainingFacts(
        config=_comparable_config(run),
        start=run.model.name,
        data_sha256=data_fingerprint(run.data),
        files_sha256=files_fingerprint(auxiliary_files(run)),
        sources_sha256=model_code_hash(),
        lock_sha256=lock_hash(ROOT),
    )


def facts_of_version(config: Any, origin: Mapping[str, Any]) -> TrainingFacts:
    """What a registered version was made of.

    Args:
        config: the sections of its `config.yaml`. A config that today's code cannot read becomes None.
        origin: its `origin.json`; what an older version did not keep is None.
    """
    try:
        run = parse_section(RunConfig, config)  # no advice: nobody can change what a version keeps
    except ConfigError:
        run = None
    kept = ("data_sha256", "files_sha256", "sources_sha256", "lock_sha256", "num_rows")
    return TrainingFacts(
        config=None if run is None else _comparable_config(run),
        start=None if run is None else run.model.name,
        **{name: origin.get(name) for name in kept},
    )


def _comparable_config(run: RunConfig) -> dict[str, object]:
    """Dotted key -> value of everything that weights and metrics depend on."""
    values = flatten(run.model_dump(mode="json", exclude=JUDGING_SECTIONS))
    if run.stage2.alpha is None:
        values["stage2.alpha"] = run.method.default_alpha
    return {key: value for key, value in values.items() if key not in KEYS_COMPARED_APART}


def champion_facts(name: str) -> ChampionFacts | None:
    """What the champion of a model was made of; None where there is no champion."""
    with registry_client(f"looking for the champion of {name!r}") as client:
        number = existing_champion(client, name).champion
        if number is None:
            return None
        version = client.get_model_version(name, number)
        origin, config = (registered_file(version, file).read_text(encoding="utf-8") for file in ("origin", "config"))
    made_of, reference = json.loads(origin), f"{name}/{number}"
    return ChampionFacts(
        reference=reference,
        made_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        model_sha256=made_of["model_sha256"],
        facts=facts_of_version(yaml.safe_load(config)["parameters"]["config"], made_of),
        num_forgotten=sum(reference in erasure.versions_kept for erasure in all_erasures()),
    )


def version_made_by(run: RunConfig) -> str | None:
    """The newest version that an equal run has registered, as `name/version`; None where there is none."""
    name, key = run.registration.model_name, RunRecord.of(without_forgotten(pin_models(run))).key
    with registry_client(f"looking for versions of {name!r}") as client:
        versions = tagged_versions(client, name, RUN_KEY_TAG, key)
    return f"{name}/{versions[-1].version}" if versions else None


class DriftedModel(BaseModel, frozen=True):
    name: str
    hash: str


class DriftVerdict(BaseModel, frozen=True):
    """What a `drift.json` says to the trigger."""

    drifted: bool
    reasons: tuple[str, ...]
    model: DriftedModel


class VersionVerdict(BaseModel, frozen=True):
    model: str
    sha256: str | None = None
    alarm: bool


class MonitorVerdict(BaseModel, frozen=True):
    """What a `monitor.json` says to the trigger."""

    alarm: bool
    versions: tuple[VersionVerdict, ...]


Verdict = TypeVar("Verdict", DriftVerdict, MonitorVerdict)


def read_report(path: str | None, command: Literal["drift", "monitor"], kind: type[Verdict]) -> Verdict | None:
    """What a report says that a command wrote and `retraining.COMMAND` names; None where none is named."""
    if path is None:
        return None
    fix = f"give a {command}.json that `r2d {command}` wrote, or remove retraining.{command}"
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"retraining.{command}: {path} cannot be read ({error.strerror}); {fix}") from None
    except ValidationError as error:
        is_json = error.errors()[0]["type"] != "json_invalid"
        fault = f"has not the keys {', '.join(kind.model_fields)}" if is_json else "is no JSON"
        raise DataError(f"retraining.{command}: {path} {fault}; {fix}") from None


# --- the decision ---


@dataclass(frozen=True)
class ComparedFact:
    """One fact: what it was when the champion was made, and what it is now."""

    name: str
    then: str
    now: str
    finding: str
    """`same`, `changed` or `not known`; of an age and of drift, a few words."""


@dataclass(frozen=True)
class RetrainingDecision:
    train: bool
    reasons: tuple[str, ...]
    compared: tuple[ComparedFact, ...]
    champion: str | None

    def lines(self) -> list[str]:
        """The decision for people: the reasons, then a line for each fact."""
        head = "training: " if self.train else "nothing to do: "
        facts = [f"  {fact.name}: {fact.finding} (then {fact.then}, now {fact.now})" for fact in self.compared]
        return [head + "; ".join(self.reasons), *facts]


@dataclass(frozen=True)
class Comparison:
    """What a run would be made of now, beside what the champion was made of."""

    now: TrainingFacts
    champion: ChampionFacts | None
    """None where there is none; then there is nothing to compare."""
    time: datetime
    """The present, with a time zone."""
    drift: DriftVerdict | None = None
    monitor: MonitorVerdict | None = None


def decide(
    config: RetrainingConfig,
    comparison: Comparison,
    *,
    force: str | None = None,
    made_already: Callable[[], str | None] = lambda: None,
) -> RetrainingDecision:
    """See which triggers fire; without a champion it trains.

    Args:
        force: why to train whatever the triggers say.
        made_already: returns the version that an equal run has registered before, whatever the gate said of it: the
            run would make it again, so only a person starts it. It takes seconds, and is called only where a trigger
            fired.
    """
    champion = comparison.champion
    reasons = [] if force is None else [f"forced: {force}"]
    if champion is None:
        reference, compared = None, [ComparedFact("champion", "none", "none", "there is none yet")]
        reasons.append("there is no champion yet")
    else:
        reference, compared = champion.reference, list(_compared_facts(comparison, champion))
        reasons += _fired_triggers(config, comparison, champion)
    train = bool(reasons)
    if not train:
        reasons = [f"no trigger fired; {reference} stays champion"]
    elif force is None and (made := made_already()) is not None:
        train = False
        reasons = [f"{made} was made of just this configuration, data and code ({'; '.join(reasons)})"]
    return RetrainingDecision(train, tuple(reasons), tuple(compared), reference)


def data_changed(now: TrainingFacts, then: TrainingFacts) -> bool:
    """Whether the data or the files with rationales differ; files that were not recorded do not count as changed."""
    return _differ(now.data_sha256, then.data_sha256) or _differ(now.files_sha256, then.files_sha256)


def _differ(now: str | None, then: str | None) -> bool:
    return now is not None and then is not None and now != then


def _fired_triggers(config: RetrainingConfig, comparison: Comparison, champion: ChampionFacts) -> Iterator[str]:
    """A reason for each trigger that fires."""
    now, then, drift = comparison.now, champion.facts, comparison.drift
    if champion.num_forgotten:
        yield f"{champion.reference} was trained on people who are forgotten since ({champion.num_forgotten} erasures)"
    if config.min_new_rows is not None and data_changed(now, then):
        if config.min_new_rows == 0:
            yield "the data or the files with rationales changed"
        elif now.num_rows is None or then.num_rows is None:
            yield "the data changed, and how many rows the champion knew was not recorded"
        elif now.num_rows - then.num_rows >= config.min_new_rows:
            yield f"{now.num_rows - then.num_rows:,} new rows, at least {config.min_new_rows:,} are asked for"
    changed = _changed_keys(now, then)
    if not config.warm_start and then.start is not None and _model(now.start) != _model(then.start):
        changed.append("model.name")
    if config.on_config_change and changed:
        yield f"the configuration changed: {_first_keys(changed)}"
    if config.on_code_change and _differ(now.sources_sha256, then.sources_sha256):
        yield "the code that weights and metrics depend on changed"
    if config.on_code_change and _differ(now.lock_sha256, then.lock_sha256):
        yield "a locked version of a library changed"
    age = _age_days(comparison, champion)
    if config.max_age_days is not None and age >= config.max_age_days:
        yield f"{champion.reference} is {age:.1f} days old, at most {config.max_age_days:g} are allowed"
    # A report on an older champion says nothing about this one, and would start a run again and again.
    is_of_champion = drift is not None and drift.model.hash == champion.model_sha256
    if config.drift is not None and drift is not None and drift.drifted and is_of_champion:
        yield "the calls drifted: " + " ".join(drift.reasons)
    if config.monitor is not None and any(version.alarm for version in _monitored(comparison, champion)):
        yield f"{champion.reference} makes more errors than is acceptable, as labels that came later show"


def _monitored(comparison: Comparison, champion: ChampionFacts) -> list[VersionVerdict]:
    """What the monitor says of the champion: by the hash of its folder, else by its name and version."""
    versions = () if comparison.monitor is None else comparison.monitor.versions
    return [
        version
        for version in versions
        if version.sha256 == champion.model_sha256 or (not version.sha256 and version.model == champion.reference)
    ]


def _compared_facts(comparison: Comparison, champion: ChampionFacts) -> Iterator[ComparedFact]:
    now, then, drift = comparison.now, champion.facts, comparison.drift
    unknown = "not known"
    for name, key in {
        "data": "data_sha256",
        "files with rationales": "files_sha256",
        "code": "sources_sha256",
        "locked libraries": "lock_sha256",
    }.items():
        old, new = getattr(then, key), getattr(now, key)
        finding = unknown if None in (old, new) else "same" if old == new else "changed"
        yield ComparedFact(name, (old or unknown)[:HASH_DIGITS_SHOWN], (new or unknown)[:HASH_DIGITS_SHOWN], finding)
    if now.num_rows is not None:
        is_fewer = then.num_rows is not None and now.num_rows < then.num_rows
        fewer = "fewer than the champion knew: see that the delivery is whole"
        known = unknown if then.num_rows is None else f"{then.num_rows:,}"
        finding = fewer if is_fewer else "counted, because the data changed"
        yield ComparedFact("valid rows", known, f"{now.num_rows:,}", finding)
    keys = _changed_keys(now, then)
    old = "not readable" if then.config is None else f"{len(then.config)} keys"
    new = f"{len(now.config or {})} keys" + (f": {_first_keys(keys)}" if keys else "")
    yield ComparedFact("configuration", old, new, "changed" if keys else "same")
    is_warm = (now.start or "").startswith(f"{REGISTERED}{champion.reference.split('/')[0]}")
    finding = "same" if _model(now.start) == _model(then.start) else "changed"
    yield ComparedFact(
        "start", then.start or unknown, now.start or unknown, "warm, from the champion" if is_warm else finding
    )
    if champion.num_forgotten:
        yield ComparedFact("forgotten people", "trained on", "left out", f"{champion.num_forgotten} erasures")
    old, new = (moment.isoformat(timespec="seconds") for moment in (champion.made_at, comparison.time))
    yield ComparedFact("champion", old, new, f"{_age_days(comparison, champion):.1f} days old")
    if drift is not None:
        is_of_champion = drift.model.hash == champion.model_sha256
        whose = "of the champion" if is_of_champion else "of another model, so it does not count"
        finding = f"{'drift' if drift.drifted else 'no drift'}, {whose}"
        yield ComparedFact("calls", champion.reference, drift.model.name, finding)
    if comparison.monitor is not None:
        found = _monitored(comparison, champion)
        finding = "alarm" if any(version.alarm for version in found) else "no alarm"
        names = ", ".join(version.model for version in comparison.monitor.versions)
        finding = f"{finding}, of the champion" if found else "of other versions, so it does not count"
        yield ComparedFact("later labels", champion.reference, names, finding)


def _age_days(comparison: Comparison, champion: ChampionFacts) -> float:
    return (comparison.time - champion.made_at).total_seconds() / 86_400


def _changed_keys(now: TrainingFacts, then: TrainingFacts) -> list[str]:
    """Keys whose values differ; one line in their place where today's code cannot read the champion's configuration."""
    if then.config is None or now.config is None:
        return [UNREADABLE_CONFIG]
    return sorted(changed_values(then.config, now.config))


def _model(start: str | None) -> str | None:
    """A start without version and alias: those of one registered model count as one, because a run pins its alias."""
    is_registered = (start or "").startswith(REGISTERED)
    return re.split("[@/]", start.removeprefix(REGISTERED))[0] if start and is_registered else start


def _first_keys(keys: list[str]) -> str:
    more = f" and {len(keys) - MAX_KEYS_SHOWN} more" if len(keys) > MAX_KEYS_SHOWN else ""
    return ", ".join(keys[:MAX_KEYS_SHOWN]) + more


# --- the run and its result ---


@dataclass(frozen=True)
class RetrainingResult:
    """The decision, and what was registered where it trained."""

    decision: RetrainingDecision
    registration: Registration | None = None
    """None where nothing was trained."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """File name -> HTML."""
    is_shown: bool = False
    """Whether the last screen of the run was shown here, as where its steps run in this process."""

    def lines(self) -> list[str]:
        """The result for people; what the last screen of the run has said is not said again."""
        registered = self._registration_lines()
        return [*self.decision.lines(), *(registered[:1] if self.is_shown else registered)]

    def _registration_lines(self) -> list[str]:
        made = self.registration
        if made is None:
            return []
        return [
            f"{made['name']} version {made['version']} ({'new' if made['is_new'] else 'registered before'}), "
            f"compared with {made['compared_with']}",
            *(f"  gate: {reason}" for reason in made["gate_reasons"]),
            f"  so: {made['what_follows']}",
        ]

    def markdown(self) -> str:
        """The result for the summary of a CI job and for a comment."""
        title = _escape(self.decision.lines()[0])
        rows = [(fact.name, fact.then, fact.now, fact.finding) for fact in self.decision.compared]
        table = ["| " + " | ".join(map(_escape, row)) + " |" for row in rows]
        made = [f"- {_escape(line.strip())}" for line in self._registration_lines()]
        head = [f"### Retraining: {title}", "", "| fact | then | now | finding |", "|---|---|---|---|"]
        return "\n".join([*head, *table, "", *made]) + "\n"


def _escape(text: str) -> str:
    """Text in which Markdown and GitHub see no table cell, mention or tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("@", "@\u200b")


def write_result(result: RetrainingResult, out: Path | None) -> None:
    """Write `summary.md`, the pages and, last, `decision.json`; nothing where no folder is given."""
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in {**result.pages, "summary.md": result.markdown()}.items():
        write_text(out / name, text)
    write_json(out / "decision.json", asdict(result.decision) | {"registration": result.registration})


def finished_run(pipeline: Any, file: Path, values: Mapping[str, object], **options: Any) -> Any:
    """The run of a pipeline, of which all steps succeeded, with other values of its config but the ZenML settings of a
    file.

    Args:
        options: of ZenML's `with_options`.

    Raises:
        TrainingError: the run failed, or was stopped; names the steps.
    """
    from zenml.client import Client

    with TemporaryDirectory() as folder:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = Path(folder) / file.name
        text = yaml.safe_dump({**content, "parameters": {"config": values}}, sort_keys=False)  # as cache keys see it
        config.write_text(text, encoding="utf-8")
        try:
            started = pipeline.with_options(config_path=str(config), **options)()
        except RuntimeError as error:
            raise TrainingError(f"{error}. Mend what the log above says, then start the same command again") from error
    if started is None:
        raise TrainingError("ZenML started no run; look at the stack with `zenml stack describe`")
    # On a cluster the client gets no error of a failed run: the status counts.
    while not (run := Client().get_pipeline_run(started.id)).status.is_finished:
        time.sleep(SECONDS_BETWEEN_POLLS)
    if not run.status.is_successful:
        failed = [name for name, step in run.steps.items() if not step.status.is_successful]
        raise TrainingError(
            f"the run {run.name} ended as {run.status.value}; steps that did not succeed: "
            f"{', '.join(failed) or 'none began'}. Read their logs in the dashboard, then start the same command again"
        )
    return run


def train_and_register(decision: RetrainingDecision, file: Path, values: Mapping[str, object]) -> RetrainingResult:
    """Run the main job with other values of its config but the ZenML settings of that file, and wait for its end.

    Raises:
        TrainingError: the run failed, or was stopped; names the steps.
    """
    from zenml.client import Client

    from pipelines.training import reason2decide  # its steps import PyTorch, which no decision needs

    run = finished_run(reason2decide, file, values)

    def output(step: str, name: str) -> Any:
        return run.steps[step].outputs[name][0].load()

    pages = {
        "report.html": str(output("evaluate", "r2d_evaluation_report")),
        "gate.html": str(output("register_model", "r2d_gate_page")),
    }
    is_shown = Client().active_stack.orchestrator.flavor == "local"
    return RetrainingResult(decision, output("register_model", "r2d_registration"), pages, is_shown)
