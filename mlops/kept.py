"""What is kept of notes and their people: ZenML's artifacts, registered versions, cases in MLflow's review queues, and
the files of unfinished work.

Each piece can be removed by itself. `mlops.erasure` removes what holds a person, `mlops.retention` what is too old.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import UUID

from mlops.lineage import NotReachableError, pipeline_run
from mlops.registry.versions import aliases_of, model_versions
from mlops.review_queue import CASE_TAG
from r2d.files import work_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from zenml.models import ArtifactVersionResponse

Kind = Literal[
    "examples", "quarantine", "provenance", "predictions", "reports", "weights", "answers", "reviews", "unfinished",
    "versions",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
ARTIFACT_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("r2d_examples", "r2d_valid_examples", "r2d_stage1_examples", "r2d_stage2_examples"), "examples"),
    **dict.fromkeys(("r2d_quarantine", "r2d_rejected_rationales"), "quarantine"),
    **dict.fromkeys(("r2d_rationale_provenance", "r2d_privacy_findings"), "provenance"),
    **dict.fromkeys(("r2d_predictions", "r2d_judge_scores"), "predictions"),
    **dict.fromkeys(
        (
            "r2d_data_report", "r2d_data_report_of_a_stopped_run", "r2d_ingestion_report",
            "r2d_ingestion_report_of_a_stopped_run", "r2d_evaluation_report",
        ),
        "reports",
    ),
    **dict.fromkeys(("r2d_stage1_model", "r2d_stage2_model"), "weights"),
}  # fmt: skip
"""Every artifact that holds rows, quotes them, or was trained on them. The others hold counts, metrics and pictures."""
TABLES: tuple[Kind, ...] = ("examples", "quarantine", "provenance", "predictions")
"""The kinds whose artifacts are Arrow tables."""


@dataclass(frozen=True)
class Kept:
    """One piece."""

    kind: Kind
    place: str
    """For people: name and version of an artifact, `name/version` of a model, or a path."""
    made_at: datetime
    remove: Callable[[], None]
    in_use: str | None = None
    """Why it cannot be removed now; None where it can."""
    source: Any = None
    """ZenML's artifact version, MLflow's model version, the id of a case, or the path."""


def kept_artifacts(in_use: Mapping[UUID, str]) -> Iterator[Kept]:
    """The artifacts of ZenML whose files are still there, the oldest first.

    Args:
        in_use: id -> why it stays.
    """
    from zenml.client import Client
    from zenml.io import fileio
    from zenml.utils.pagination_utils import depaginate

    _ = Client().active_stack  # registers the file system of its artifact store
    artifacts = depaginate(Client().list_artifact_versions, size=500, sort_by="asc:created", hydrate=True)
    for artifact in artifacts:
        kind = ARTIFACT_KINDS.get(artifact.name)
        if kind is not None and fileio.exists(artifact.uri):
            made_at, remove = artifact.created.replace(tzinfo=UTC), partial(remove_artifact, artifact)
            place = f"{artifact.name}/{artifact.version}"
            yield Kept(kind, place, made_at, remove, in_use.get(artifact.id), artifact)


def remove_artifact(artifact: ArtifactVersionResponse) -> None:
    """Remove the files of an artifact. Its record stays, for the lineage, but no step is taken from the cache."""
    from zenml.client import Client
    from zenml.utils.pagination_utils import depaginate

    client = Client()
    if artifact.producer_step_run_id is not None:
        key = client.get_run_step(artifact.producer_step_run_id).cache_key
        for step in depaginate(client.list_run_steps, cache_key=key, size=500) if key else ():
            client.update_step_run(step.id, cache_expires_at=datetime.now(UTC).replace(tzinfo=None))
    client.delete_artifact_version(artifact.id, delete_metadata=False, delete_from_artifact_store=True)


def kept_versions(client: MlflowClient) -> Iterator[Kept]:
    """Every registered version of every model, the oldest first; champion and challenger are in use."""
    for version in model_versions(client):
        name, number = version.name, str(version.version)
        aliases = aliases_of(client, name, number)
        in_use = f"it is the {' and '.join(aliases)}" if aliases else None
        made_at = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        remove = partial(remove_version, client, version)
        yield Kept("versions", f"{name}/{number}", made_at, remove, in_use, version)


def remove_version(client: MlflowClient, version: Any) -> None:
    """Remove a registered version with its files. The files go first: a version whose files are gone is found again."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from mlops.registry.versions import is_missing

    model_id = version.source.removeprefix("models:/")
    try:
        get_artifact_repository(client.get_logged_model(model_id).artifact_location).delete_artifacts()
        client.delete_logged_model(model_id)
    except MlflowException as error:
        if not is_missing(error):
            raise
    client.delete_model_version(version.name, version.version)


def kept_cases(client: MlflowClient) -> Iterator[Kept]:
    """The notes that `r2d review push` has put into review queues of MLflow, each a trace."""
    for experiment in client.search_experiments():
        place, token = [experiment.experiment_id], ""
        while token is not None:
            traces = client.search_traces(
                place, filter_string=f"tag.`{CASE_TAG}` LIKE '%'", max_results=500, page_token=token or None,
                include_spans=False,
            )  # fmt: skip
            for trace in traces:
                info = trace.info
                made_at = datetime.fromtimestamp(info.timestamp_ms / 1000, UTC)
                remove = partial(remove_case, client, experiment.experiment_id, info)
                yield Kept("reviews", f"{experiment.name}/{info.trace_id}", made_at, remove, source=info.tags[CASE_TAG])
            token = traces.token


def remove_case(client: MlflowClient, experiment: str, info: Any) -> None:
    """Remove a trace with the file that MLflow may keep of it. The file goes first, as that of a version does."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if location := info.tags.get("mlflow.artifactLocation"):
        get_artifact_repository(location).delete_artifacts()
    client.delete_traces(experiment, trace_ids=[info.trace_id])


def weights_in_use(versions: list[Kept]) -> dict[UUID, str]:
    """Id of each artifact with the weights of a version that is in use -> why it stays."""
    in_use: dict[UUID, str] = {}
    for version in versions:
        if version.in_use is None:
            continue
        try:
            run = pipeline_run(version.source)
        except NotReachableError:
            continue
        artifacts = [artifact for step in run.steps.values() for artifact in step.outputs]
        reason = f"it is of {version.place}: {version.in_use}"
        in_use |= {UUID(each.id): reason for each in artifacts if ARTIFACT_KINDS.get(each.name) == "weights"}
    return in_use


def kept_work() -> Iterator[Kept]:
    """Answers of endpoints and judges, copies of opened pages, and the folders of stages and killed registrations, in
    `R2D_WORK_DIR`."""
    root = work_root()
    answers = [*root.glob("answers/*.jsonl"), *root.glob("evaluate-*/*.jsonl")]
    files: list[tuple[Kind, Path]] = [("answers", path) for path in sorted(answers)]
    files += [("reports", path) for path in sorted(root.glob("pages/*.html"))]
    for kind, path in files:
        yield Kept(kind, str(path), _changed_at(path), partial(path.unlink, missing_ok=True), source=path)
    for folder in sorted([*root.glob("train_stage*-*"), *root.glob("register_model-*")]):
        newest = max([_changed_at(folder), *map(_changed_at, folder.rglob("*"))])
        busy = datetime.now(UTC) - newest
        in_use = "a run may be working in it: it changed within the last hour" if busy.total_seconds() < 3600 else None
        yield Kept("unfinished", str(folder), newest, partial(shutil.rmtree, folder), in_use, folder)


def _changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
