"""MLflow tracking: where the server is, and one parent run for each pipeline run with the runs of its steps below it.

While a step trains, its curves are also in ZenML's dashboard (`LiveCurves`).
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlops.dead_runs import OWNER_KEY, Process, close_dead_mlflow_runs
from mlops.remembered import Remembered, database_state, stack_state
from r2d.errors import RegistryError
from r2d.files import zenml_home

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

logger = logging.getLogger(__name__)

EXPERIMENT = "reason2decide"
ZENML_RUN_TAG = "zenml.run_id"
"""Of an MLflow run."""
PIPELINE_RUN_TAG = "zenml.pipeline_run"
"""Of a version: the ZenML run that registered it."""
METRICS_PER_CALL = 1000
"""MLflow takes no more in one call."""
SECONDS_BETWEEN_PICTURES = 20.0
MAX_DRAWING_SHARE = 0.02
"""Of the training time, the first picture apart; on slow storage there are fewer pictures."""


def configure_mlflow() -> str:
    """Point MLflow at the tracking server of this run and return its address."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


def tracking_uri() -> str:
    """Address of the tracking server, asked for without MLflow.

    It is `MLFLOW_TRACKING_URI` where that is set, else the MLflow experiment tracker of the active ZenML stack, else a
    SQLite file beside ZenML's own database, which only a local stack can use.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    beside_zenml = Remembered(f"MLflow's file beside the ZenML of {zenml_home()}", stack_state)
    if (kept := beside_zenml.answer()) and database_state(kept):
        return str(kept)
    uri, is_of_tracker = _uri_of_stack()
    if not is_of_tracker:  # a tracker may have a login besides, which ZenML sets
        beside_zenml.keep(uri)
    return uri


def _uri_of_stack() -> tuple[str, bool]:
    """The address, and whether it is that of the stack's tracker."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.exceptions import ZenMLBaseException

    try:
        stack = Client().active_stack
    except (RuntimeError, KeyError, ZenMLBaseException) as error:  # no answer, a refused key, or no such stack
        message = " ".join(map(str, error.args))[:300].strip(" .")
        raise RegistryError(
            f"the active ZenML stack names the registry, and cannot be asked ({message}). See with `zenml status` "
            "that the server answers and takes the key, and with `zenml stack list` that the stack is there, then "
            "start the same command again"
        ) from error
    tracker = stack.experiment_tracker
    if tracker is not None and tracker.flavor == "mlflow":
        tracker.configure_mlflow()
        return str(tracker.get_tracking_uri()), True
    if stack.orchestrator.config.is_remote:
        raise RegistryError(
            "the active stack runs its steps in pods and has no MLflow tracker, so that runs and models would be "
            "lost with them; add one, as `r2d stack apply k8s/stack.yaml` does"
        )
    folder = Path(GlobalConfiguration().local_stores_path) / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", False


def in_a_step() -> bool:
    """Whether this code runs in a step of a pipeline, and not in a command."""
    if "zenml" not in sys.modules:  # then no step is running, and importing it takes seconds
        return False
    from zenml import get_step_context

    try:
        get_step_context()
    except RuntimeError:
        return False
    return True


def without_login(text: str, uri: str) -> str:
    """`text` without the name and password of the address `uri`, which it may quote."""
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(login + at, "") if at else text


@contextmanager
def tracked(step_name: str, parameters: Mapping[str, object]) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Open an MLflow run for this step; yield a function that takes an optimiser step and its metrics.

    They are in MLflow at once, and soon afterwards in the picture in ZenML's dashboard.
    """
    import mlflow

    configure_mlflow()
    curves = LiveCurves(step_name)

    def log(step: int, metrics: Mapping[str, float]) -> None:
        mlflow.log_metrics(dict(metrics), step=step)
        curves.add(step, metrics)

    with mlflow.start_run(run_id=start_run(mlflow.MlflowClient(), step_name)):
        mlflow.log_params(dict(parameters))
        try:
            yield log
        except BaseException:
            curves.draw()
            raise


def log_metrics(step_name: str, metrics: Mapping[str, float], content: Mapping[str, object]) -> None:
    """Log an MLflow run for this step with its metrics, and with `content` as its file `metrics.json`."""
    import mlflow

    configure_mlflow()
    # MLflow allows letters, digits and a few signs in a name; labels may hold others.
    values = [(re.sub(r"[^\w./ -]", "_", name), value) for name, value in metrics.items()]
    with mlflow.start_run(run_id=start_run(mlflow.MlflowClient(), step_name)):
        for start in range(0, len(values), METRICS_PER_CALL):
            mlflow.log_metrics(dict(values[start : start + METRICS_PER_CALL]))
        mlflow.log_dict(dict(content), "metrics.json")


def start_run(client: MlflowClient, step_name: str) -> str:
    """Create an MLflow run for a step of the current pipeline run, below the parent run of that, and return its id."""
    from zenml import get_step_context

    run = get_step_context().pipeline_run
    experiment = experiment_id(client)
    close_dead_mlflow_runs(client, experiment)
    parents = client.search_runs([experiment], f"tags.`{ZENML_RUN_TAG}` = '{run.id}'", max_results=1)
    if parents:
        parent = parents[0].info.run_id
    else:
        tags = {"mlflow.runName": run.name, ZENML_RUN_TAG: str(run.id)}
        parent = client.create_run(experiment, tags=tags).info.run_id
        client.set_terminated(parent, "FINISHED")
    tags = {"mlflow.runName": step_name, "mlflow.parentRunId": parent}
    if process := Process.this():
        tags[OWNER_KEY] = process.to_text()
    return str(client.create_run(experiment, tags=tags).info.run_id)


def experiment_id(client: MlflowClient, name: str = EXPERIMENT) -> str:
    """Id of an experiment, that of all runs by default; on the embedded default its files lie beside the database."""
    import mlflow

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    uri = mlflow.get_tracking_uri()
    embedded = uri.startswith("sqlite:///")
    location = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri() if embedded else None
    return str(client.create_experiment(name, artifact_location=location))


class LiveCurves:
    """The curves of a training step in ZenML's dashboard while it trains.

    A step's outputs appear when it ends; an artifact that the step saves itself appears at once. So the curves so far
    are saved as `r2d_stage1_curves_live` or `r2d_stage2_curves_live`, whose picture is then replaced in place.
    """

    def __init__(self, step_name: str) -> None:
        self.name = f"{step_name.replace('train_', 'r2d_')}_curves_live"
        self.title = f"{step_name.replace('train_stage', 'Stage ')}, while it trains"
        self.history: list[dict[str, float]] = []
        self.uri: str | None = None
        self.next_drawing_at = 0.0
        self.failed = False

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Collect the metrics of an optimiser step, and draw if a picture is due; the first one is due at once."""
        self.history.append({"step": step, **metrics})
        if time.monotonic() >= self.next_drawing_at:
            self.draw()

    def draw(self) -> None:
        """Store the picture. A failure is reported once, and training goes on without pictures."""
        if self.failed or not self.history:
            return
        from r2d.training.curves import training_curves

        is_first, started_at = self.uri is None, time.monotonic()
        try:
            self._store(training_curves(self.history, title=self.title))
        except Exception as error:
            self.failed = True
            logger.warning("%s cannot be stored while the step runs (%s)", self.name, error)
        seconds = 0.0 if is_first else time.monotonic() - started_at
        self.next_drawing_at = time.monotonic() + max(SECONDS_BETWEEN_PICTURES, seconds / MAX_DRAWING_SHARE)

    def _store(self, picture: Image) -> None:
        from zenml import save_artifact
        from zenml.io import fileio

        if self.uri is None:
            visualizations = save_artifact(picture, self.name).visualizations or []
            self.uri = visualizations[0].uri
            return
        content = io.BytesIO()
        picture.save(content, format="PNG")
        with fileio.open(self.uri, "wb") as file:
            file.write(content.getvalue())
