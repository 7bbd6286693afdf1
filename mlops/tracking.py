"""MLflow: where it is, and one parent run for each pipeline run with its steps nested in it."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from r2d.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from r2d.training.progress import OnLog

EXPERIMENT = "reason2decide"
ZENML_RUN_TAG = "zenml.run_id"
METRICS_AT_ONCE = 1000
"""What MLflow takes in one call."""


def configure_mlflow() -> str:
    """Point MLflow at the tracking server of this run and return its address.

    `MLFLOW_TRACKING_URI` where it is set; else the MLflow experiment tracker of the active ZenML stack; else, on a
    stack without one, a SQLite file beside ZenML's own database.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    uri = os.environ.get("MLFLOW_TRACKING_URI") or _uri_of_stack()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


def _uri_of_stack() -> str:
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.exceptions import ZenMLBaseException

    try:
        stack = Client().active_stack
    except (RuntimeError, ZenMLBaseException) as error:  # a server that does not answer, or refuses the key
        said = " ".join(str(error).split())[:300]
        raise RegistryError(
            f"the active ZenML stack names the registry, and cannot be asked ({said}). See with `zenml status` "
            "that the server answers and takes the key, then start the same command again"
        ) from error
    tracker = stack.experiment_tracker
    if tracker is not None and tracker.flavor == "mlflow":
        tracker.configure_mlflow()
        return str(tracker.get_tracking_uri())
    if stack.orchestrator.config.is_remote:
        raise RegistryError(
            "the active stack runs its steps in pods and has no MLflow tracker, so that runs and models would be "
            "lost with them; add one, as `r2d stack apply k8s/stack.yaml` does"
        )
    folder = Path(GlobalConfiguration().local_stores_path) / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"


def in_a_step() -> bool:
    """Whether this is a step of a pipeline run, and not a command that somebody waits for."""
    if "zenml" not in sys.modules:  # then no step is running, and importing it takes seconds
        return False
    from zenml import get_step_context

    try:
        get_step_context()
    except RuntimeError:
        return False
    return True


def without_login(text: str, uri: str) -> str:
    """`text`, without the name and password of that address, which it may quote."""
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(login + at, "") if at else text


def experiment_id(client: MlflowClient) -> str:
    """The experiment of all runs; on the embedded default its files lie beside the database."""
    import mlflow

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    uri = mlflow.get_tracking_uri()
    embedded = uri.startswith("sqlite:///")
    location = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri() if embedded else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


@contextmanager
def tracked(step_name: str, parameters: Mapping[str, Any]) -> Iterator[OnLog]:
    """An MLflow run for this step, nested in that of the pipeline run; yields the sink for its figures.

    What arrives is in MLflow at once, and soon afterwards in the picture that the step shows in ZenML's dashboard.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    from mlops.live_curves import LiveCurves

    configure_mlflow()
    client = MlflowClient()
    run_id = start_run(client, step_name)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in parameters.items()])

    curves = LiveCurves(step_name)

    def log(step: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        client.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value in figures.items()])
        curves.add(step, figures)

    try:
        yield log
    except BaseException:
        curves.draw()
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def log_figures(step_name: str, figures: Mapping[str, float], facts: Mapping[str, Any]) -> None:
    """An MLflow run for this step with its figures, and with all of its facts as `metrics.json`."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    configure_mlflow()
    client = MlflowClient()
    run_id, now = start_run(client, step_name), int(time.time() * 1000)
    # MLflow knows a figure by letters, digits and a few signs; labels may hold others.
    metrics = [Metric(re.sub(r"[^\w./ -]", "_", name), value, now, 0) for name, value in figures.items()]
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_AT_ONCE])
    client.log_dict(run_id, dict(facts), "metrics.json")
    client.set_terminated(run_id, "FINISHED")


def start_run(client: MlflowClient, step_name: str) -> str:
    """The id of a new MLflow run for a step of the current pipeline run."""
    from zenml import get_step_context

    run = get_step_context().pipeline_run
    experiment = experiment_id(client)
    parents = client.search_runs([experiment], f"tags.`{ZENML_RUN_TAG}` = '{run.id}'", max_results=1)
    if parents:
        parent = parents[0].info.run_id
    else:
        tags = {"mlflow.runName": run.name, ZENML_RUN_TAG: str(run.id)}
        parent = client.create_run(experiment, tags=tags).info.run_id
        client.set_terminated(parent, "FINISHED")
    tags = {"mlflow.runName": step_name, "mlflow.parentRunId": parent}
    return str(client.create_run(experiment, tags=tags).info.run_id)
