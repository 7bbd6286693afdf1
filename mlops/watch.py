"""`r2d watch`: what nobody else would tell at night, as alerts, and the state of runs and models as Prometheus metrics.

A step that fails sends its own alert. Of a job that never started, a pod that was killed or an alias that was moved by
hand nobody hears, so a CronJob looks. When a job last succeeded stands in the registry, as a tag of `jobs.heartbeats`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.alerts import Event, send
from mlops.registry.aliases import recorded_aliases
from mlops.registry.forgotten import read_erasures
from mlops.registry.looks import read_looks
from mlops.registry.versions import aliases_of, ensure_model, find_versions, registry_client
from r2d.config.jobs import WatchConfig
from r2d.errors import RegistryError
from r2d.text import plural

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from prometheus_client import CollectorRegistry

HEARTBEATS = "jobs.heartbeats"
BEAT_TAG = "r2d.last_success."
WATCH = "watch"
"""The job that `r2d watch` itself is."""


@dataclass(frozen=True)
class RunState:
    """The runs of one pipeline in ZenML."""

    by_status: Mapping[str, int]
    last_success: datetime | None
    seconds: float | None
    """From start to end of the last success."""
    failed: Mapping[str, datetime]
    """Name -> end of each failed run."""


@dataclass(frozen=True)
class ModelState:
    """A registered model."""

    aliases: Mapping[str, str]
    """Alias -> version."""
    recorded: Mapping[str, str]
    """The same, as the history has it."""
    made_at: Mapping[str, datetime]
    """Version -> when it was registered, of those with an alias."""
    metrics: Mapping[str, float]
    """Test metrics of the champion."""


@dataclass(frozen=True)
class State:
    """What there is to see at one moment."""

    at: datetime
    beats: Mapping[str, datetime]
    """Job -> its last success."""
    runs: Mapping[str, RunState]
    models: Mapping[str, ModelState]
    gate: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(model, outcome) -> decisions."""
    num_open_erasures: int = 0
    """Versions in the registry that were trained on people who are forgotten since."""


def beat(job: str) -> None:
    """Write down that a job has succeeded now."""
    with registry_client(f"writing down that {job!r} succeeded") as client:
        ensure_model(client, HEARTBEATS, "When each job last succeeded, as tags. It holds no model.")
        client.set_registered_model_tag(HEARTBEATS, BEAT_TAG + job, datetime.now(UTC).isoformat(timespec="seconds"))


def watch(config: WatchConfig, *, metrics: str | None = None) -> list[str]:
    """Look once, send an alert for each finding, write the metrics, and return a line for each finding.

    Args:
        metrics: a file that ends in .prom, for the textfile collector of the node exporter, or the address of a
            Pushgateway.
    """
    state = state_now(config)
    found = list(findings(config, state))
    for event, summary, facts in found:
        send(event, summary, **facts)
    if metrics is not None:
        publish(metrics_of(config, state), metrics)
    beat(WATCH)
    return [summary for _, summary, _ in found]


def findings(config: WatchConfig, state: State) -> Iterator[tuple[Event, str, dict[str, str]]]:
    """Event, sentence and facts of everything that a person should look at."""
    for job, hours in config.jobs.items():
        last = state.beats.get(job)
        if last is None:
            yield "overdue", f"{job} has never succeeded", {"job": job}
        elif state.at - last > timedelta(hours=hours):
            facts = {"job": job, "last_success": last.isoformat(timespec="seconds"), "allowed_hours": f"{hours:g}"}
            yield "overdue", f"{job} last succeeded {(state.at - last).total_seconds() / 3600:.1f} hours ago", facts
    since = state.beats.get(WATCH, state.at - timedelta(days=1))
    for pipeline, runs in state.runs.items():
        new = sorted(name for name, ended in runs.failed.items() if ended > since)
        if new:
            facts = {"pipeline": pipeline, "runs": ", ".join(new[:10])}
            yield "run_failed", f"{plural(len(new), 'run')} of {pipeline} failed since the last look", facts
    for name, model in state.models.items():
        if model.aliases != model.recorded:
            facts = {"model": name} | {f"{alias}_now": version for alias, version in model.aliases.items()}
            facts |= {f"{alias}_recorded": version for alias, version in model.recorded.items()}
            yield "alias_moved", f"{name}: an alias was moved by hand; the next run sets it back", facts


def state_now(config: WatchConfig) -> State:
    """Ask the registry and ZenML."""
    with registry_client("looking at runs and models") as client:
        models = {name: _model_state(client, name) for name in config.models}
        gate = Counter(
            (look.model.split("/")[0], str(look.outcome)) for look in read_looks(client) if look.purpose == "gate"
        )
        versions = {f"{version.name}/{version.version}" for version in find_versions(client, "")}
        kept = {version for erasure in read_erasures(client) for version in erasure.versions_kept}
        beats = _beats(client)
    return State(datetime.now(UTC), beats, dict(_runs()), models, gate, len(kept & versions))


def _beats(client: MlflowClient) -> dict[str, datetime]:
    found = client.search_registered_models(f"name = '{HEARTBEATS}'")
    tags: Mapping[str, str] = found[0].tags if found else {}
    return {
        key.removeprefix(BEAT_TAG): datetime.fromisoformat(value)
        for key, value in tags.items()
        if key.startswith(BEAT_TAG)
    }


def _model_state(client: MlflowClient, name: str) -> ModelState:
    versions = {str(version.version): version for version in find_versions(client, f"name = '{name}'")}
    if not versions:
        return ModelState({}, {}, {}, {})
    aliases = {alias: number for number in versions for alias in aliases_of(client, name, number)}
    made_at = {
        number: datetime.fromtimestamp(versions[number].creation_timestamp / 1000, UTC) for number in aliases.values()
    }
    champion = aliases.get("champion")
    metrics = {} if champion is None else client.get_run(versions[champion].run_id).data.metrics
    measured = {key.removeprefix("test_"): value for key, value in metrics.items() if key.startswith("test_")}
    return ModelState(aliases, recorded_aliases(client, name), made_at, measured)


def _runs() -> Iterator[tuple[str, RunState]]:
    """Name of each pipeline, and its runs."""
    from zenml.client import Client
    from zenml.utils.pagination_utils import depaginate

    of: dict[str, list[Any]] = {}
    for run in depaginate(Client().list_pipeline_runs, size=200, sort_by="asc:created", hydrate=True):
        if run.pipeline is not None:
            of.setdefault(run.pipeline.name, []).append(run)
    for name, runs in of.items():
        ended = [run for run in runs if run.end_time is not None]
        good = [run for run in ended if run.status.is_successful]
        last = good[-1] if good else None
        yield (
            name,
            RunState(
                by_status=Counter(run.status.value for run in runs),
                last_success=None if last is None else last.end_time.replace(tzinfo=UTC),
                seconds=None if last is None else (last.end_time - (last.start_time or last.created)).total_seconds(),
                failed={run.name: run.end_time.replace(tzinfo=UTC) for run in ended if run.status.is_failed},
            ),
        )


# --- metrics ---


def metrics_of(config: WatchConfig, state: State) -> CollectorRegistry:
    """The state for Prometheus; k8s/monitoring holds a dashboard and alert rules over these names."""
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()

    def gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> None:
        metric = Gauge(f"r2d_{name}", text, labels, registry=registry)
        for of, value in values.items():
            (metric.labels(*of) if labels else metric).set(value)

    def seconds(moments: Mapping[tuple[str, ...], datetime | None]) -> dict[tuple[str, ...], float]:
        return {of: moment.timestamp() for of, moment in moments.items() if moment is not None}

    runs, models = state.runs, state.models
    gauge("runs", "Runs in ZenML.", {
        (pipeline, status): count for pipeline, of in runs.items()
        for status, count in ({"failed": 0} | dict(of.by_status)).items()  # from 0 on, so that the first is seen
    }, "pipeline", "status")  # fmt: skip
    gauge("run_last_success_timestamp_seconds", "End of the last successful run.", seconds(
        {(pipeline,): of.last_success for pipeline, of in runs.items()}
    ), "pipeline")  # fmt: skip
    gauge("run_last_success_seconds", "Duration of the last successful run.", {
        (pipeline,): of.seconds for pipeline, of in runs.items() if of.seconds is not None
    }, "pipeline")  # fmt: skip
    gauge("job_last_success_timestamp_seconds", "Last success of a job.", seconds(
        {(job,): moment for job, moment in state.beats.items()}
    ), "job")  # fmt: skip
    gauge("job_allowed_seconds", "Age from which on a job is overdue.", {
        (job,): hours * 3600 for job, hours in config.jobs.items()
    }, "job")  # fmt: skip
    gauge("model_version", "Version that has an alias.", {
        (name, alias): float(version) for name, model in models.items() for alias, version in model.aliases.items()
    }, "model", "alias")  # fmt: skip
    gauge("model_registered_timestamp_seconds", "When the version with an alias was registered.", seconds({
        (name, alias): model.made_at[version] for name, model in models.items()
        for alias, version in model.aliases.items()
    }), "model", "alias")  # fmt: skip
    gauge("model_alias_is_recorded", "1 where the aliases are as the history has them.", {
        (name,): float(model.aliases == model.recorded) for name, model in models.items()
    }, "model")  # fmt: skip
    gauge("champion_metric", "Metric of the champion on its test rows.", {
        (name, metric): value for name, model in models.items() for metric, value in model.metrics.items()
    }, "model", "metric")  # fmt: skip
    gauge("gate_decisions", "Decisions of the gate.", {of: float(count) for of, count in state.gate.items()},
          "model", "outcome")  # fmt: skip
    gauge("open_erasures", "Versions that were trained on people who are forgotten since.",
          {(): float(state.num_open_erasures)})  # fmt: skip
    gauge("watch_timestamp_seconds", "When r2d watch looked.", {(): state.at.timestamp()})
    return registry


def publish(registry: CollectorRegistry, target: str) -> None:
    """Write a .prom file, whole at once, or push to a Pushgateway."""
    from prometheus_client import push_to_gateway, write_to_textfile

    if target.startswith(("http://", "https://")):
        try:
            push_to_gateway(target, job="r2d", registry=registry, timeout=10)
        except OSError as error:
            raise RegistryError(f"--metrics: the Pushgateway did not take them ({type(error).__name__})") from None
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(target, registry)
