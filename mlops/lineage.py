"""Reads where registered versions come from: MLflow's registry and runs, and the ZenML run that made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import pyarrow.parquet as pq
import yaml
from pydantic import TypeAdapter

from mlops.registry.decisions import DECISION_FILE, decision_file, read_decision
from mlops.registry.versions import (
    CARD,
    CONFIG,
    METRICS,
    ORIGIN,
    PROVENANCE,
    Reference,
    aliases_of,
    find_version,
    find_versions,
    model_versions,
    registered_file,
    registry_client,
    require_model,
)
from mlops.remembered import Remembered, database_state, stack_state
from mlops.tracking import PIPELINE_RUN_TAG, ZENML_RUN_TAG, tracking_uri
from r2d.errors import DataError, RegistryError
from r2d.evaluation.metrics import Metrics
from r2d.files import file_sha256
from r2d.lineage.records import (
    ArtifactRecord,
    PipelineRunRecord,
    RowLineage,
    StepRecord,
    VersionLineage,
    champion_comparison,
    find_row,
    measured_metrics,
    rationale_files,
    stages_with_rationales,
)
from r2d.papers.facts import Record
from r2d.rationales.provenance import trained_on
from r2d.registered import REGISTERED
from r2d.signing import SIGNATURE, Keys

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from zenml.models import ArtifactVersionResponse, StepRunResponse

FILES = (CONFIG, METRICS, ORIGIN, CARD, PROVENANCE)
DATA_RESULT = "r2d_data_result"
DATA_FILENAME = "data.json"
"""Under which ZenML's materializer of built-in types writes a dict."""
T = TypeVar("T")


class NotReachableError(Exception):
    """A part of a lineage cannot be read; the message says which and why. The rest is shown without it."""


def version_lineage(reference: str) -> VersionLineage:
    """Where a version comes from, given as `name/version`, `name@alias`, or `name`: its champion."""
    known = _known_version(reference)
    files = {name: Path(path) for name, path in known.files.items()}
    config, provenance = _config(files[CONFIG]), pq.read_table(files[PROVENANCE])
    metrics, stages = Metrics.from_json(_json(files[METRICS])), stages_with_rationales(config)
    missing = list(known.not_reachable)
    run = known.run
    return VersionLineage(
        name=known.name,
        version=known.version,
        aliases=known.aliases,
        registered_at=known.registered_at,
        files={name: file_sha256(path) for name, path in files.items()},
        config=config,
        origin=_json(files[ORIGIN]),
        num_test_rows=metrics.num_rows,
        metrics=measured_metrics(metrics),
        compared=champion_comparison(metrics),
        rationales={
            "trained_on": [use for use in trained_on(provenance) if use["stage"] in stages],
            "files": rationale_files(provenance),
        },
        gate=None if known.decision is None else _or_missing(missing, _gate_decision, Path(known.decision), known),
        mlflow_runs=known.mlflow_runs,
        pipeline_run=run,
        data_result=None if run is None else _or_missing(missing, _data_result, run),
        not_reachable=missing,
    )


@dataclass(frozen=True)
class _KnownVersion:
    """What MLflow and ZenML say of a version: names, places and ids, and no text that a person has written."""

    name: str
    version: str
    aliases: Sequence[str]
    registered_at: str
    files: Mapping[str, str]
    """Name -> path here of each file that is registered beside the model folder."""
    decision: str | None
    """Path here of the gate's decision; None where it cannot be reached."""
    mlflow_runs: Mapping[str, list[str]]
    """Step -> ids of its MLflow runs, in the pipeline run in which it was not cached; the newest first."""
    run: PipelineRunRecord | None
    not_reachable: Sequence[str]
    """Why each part that is None cannot be reached."""


def _known_version(reference: str) -> _KnownVersion:
    """Remembered while neither database changes, and only where nothing is missing and no file is a copy of a remote
    one."""
    uri = tracking_uri()
    kept = Remembered(f"what is known of {reference} in {uri}", lambda: _state_of_both(uri))
    if answer := kept.answer():
        known = TypeAdapter(_KnownVersion).validate_python(answer)
        if all(Path(path).is_file() for path in (*known.files.values(), answer["decision"])):
            return known
    with registry_client(f"reading the lineage of {reference!r}") as client:
        version = _version(client, Reference.parse(reference))
        own = client.get_run(version.run_id)
        missing: list[str] = []
        run = _or_missing(missing, pipeline_run, version)
        decision = _or_missing(missing, _decision_file, version)
        known = _KnownVersion(
            name=version.name,
            version=str(version.version),
            aliases=list(aliases_of(client, version.name, version.version)),
            registered_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            files={name: str(registered_file(version, Path(name).stem)) for name in FILES},
            decision=None if decision is None else str(decision),
            mlflow_runs=_mlflow_runs(client, own, run),
            run=run,
            not_reachable=missing,
        )
        is_here = urlsplit(own.info.artifact_uri).scheme in ("", "file")
    if is_here and not missing:
        kept.keep(asdict(known))
    return known


def _state_of_both(registry: str) -> str | None:
    """What changes with MLflow's database at that address or with ZenML's; None where that cannot be known."""
    states = (database_state(registry), stack_state())
    return None if None in states else "\n".join(map(str, states))


def version_records(reference: str) -> dict[str, Record]:
    """What a version left behind, by the names that `r2d.papers` gives them; given as for `version_lineage`.

    A record that cannot be reached has no values, and its id says why.
    """
    lineage = version_lineage(reference)
    with registry_client(f"reading the metrics of {reference!r}") as client:
        metrics = _json(registered_file(_version(client, Reference.parse(lineage.reference)), Path(METRICS).stem))
    steps = () if lineage.pipeline_run is None else lineage.pipeline_run.steps.values()
    artifacts = {artifact.name: artifact for step in steps for artifact in step.outputs}
    missing = f"not reachable: {'; '.join(lineage.not_reachable)}"
    data = artifacts.get(DATA_RESULT)
    ids = {name: f"sha256 {sha256}" for name, sha256 in lineage.files.items()}
    records = [
        Record("registry", f"{lineage.reference} of the MLflow registry", lineage.to_json()),
        Record(CONFIG, ids[CONFIG], lineage.config),
        Record(METRICS, ids[METRICS], metrics),
        Record(ORIGIN, ids[ORIGIN], lineage.origin),
        Record(
            DECISION_FILE,
            missing if lineage.gate is None else f"of MLflow run {lineage.mlflow_runs['register_model'][0]}",
            lineage.gate,
        ),
        Record(
            DATA_RESULT,
            missing if data is None else f"artifact version {data.id}, hash {data.hash}",
            lineage.data_result,
        ),
    ]
    return {record.name: record for record in records}


def row_lineage(row_id: str, reference: str | None) -> list[RowLineage]:
    """The versions that saw a row, the oldest first.

    Args:
        reference: one version, or a bare name: all versions of a model; None: those of all models.

    Raises:
        DataError: no version saw it.
    """
    seen, num_not_reachable = [], 0
    with registry_client(f"looking for row {row_id!r}") as client:
        versions = _versions(client, reference)
        for version in versions:
            missing: list[str] = []
            run = _or_missing(missing, pipeline_run, version)
            examples = None if run is None else _or_missing(missing, artifact_of, run, "r2d_stage2_examples")
            num_not_reachable += bool(missing)
            provenance = pq.read_table(registered_file(version, Path(PROVENANCE).stem))
            config = _config(registered_file(version, Path(CONFIG).stem))
            row = find_row(row_id, provenance=provenance, config=config, examples=examples)
            if row is not None:
                aliases = list(aliases_of(client, version.name, version.version))
                data_sha256 = _json(registered_file(version, Path(ORIGIN).stem))["data_sha256"]
                seen.append(
                    RowLineage(
                        **vars(row), name=version.name, version=str(version.version), aliases=aliases,
                        data_sha256=data_sha256, not_reachable="; ".join(missing) or None,
                    )
                )  # fmt: skip
    if not seen:
        among = f"{len(versions)} versions of {reference or 'all models'}"
        blind = f"; {num_not_reachable} of them know only rows with a rationale, as their pipeline run cannot be asked"
        raise DataError(
            f"row {row_id!r} is in none of the {among}{blind if num_not_reachable else ''}. Give an id as it stands in "
            "the id column of the data, or in the examples.parquet that `r2d validate` writes"
        )
    return seen


def _version(client: MlflowClient, reference: Reference) -> Any:
    require_model(client, reference.name)
    return find_version(client, reference, f"Name one of them, as in {reference.name}/1")


def _versions(client: MlflowClient, reference: str | None) -> list[Any]:
    """MLflow's model versions: one, those of a model, or those of all models; the oldest first."""
    if reference is not None and any(sign in reference.removeprefix(REGISTERED) for sign in "@/"):
        return [_version(client, Reference.parse(reference))]
    if reference is None:
        versions = model_versions(client)
        if not versions:
            raise RegistryError("no model is registered; train one with `make run`")
        return versions
    name = reference.removeprefix(REGISTERED)
    require_model(client, name)
    return find_versions(client, f"name = '{name}'")


def _or_missing(missing: list[str], read: Callable[..., T], *arguments: Any) -> T | None:
    """What `read` returns; None where it cannot be reached, and the reason is added to `missing`."""
    try:
        return read(*arguments)
    except NotReachableError as error:
        missing.append(str(error))
        return None


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _config(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["parameters"]["config"]


# --- MLflow ---


def _decision_file(version: Any) -> Path:
    with _reaching(f"the decision of the gate, {DECISION_FILE} of MLflow run {version.run_id}"):
        return decision_file(version)


def _gate_decision(file: Path, known: _KnownVersion) -> dict[str, Any]:
    with _reaching("the decision of the gate"):
        record, signature = read_decision(file, f"{known.name}/{known.version}", Keys.declared())
        return {name: value for name, value in record.items() if name != SIGNATURE} | {"signed": str(signature)}


def _mlflow_runs(client: MlflowClient, own: Run, run: PipelineRunRecord | None) -> dict[str, list[str]]:
    experiments = [own.info.experiment_id]

    def children(parent: str | None) -> dict[str, list[str]]:
        runs: dict[str, list[str]] = {}
        for child in client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{parent}'") if parent else ():
            runs.setdefault(child.data.tags["mlflow.runName"], []).append(child.info.run_id)
        return runs

    if run is None:
        runs = children(own.data.tags.get("mlflow.parentRunId"))
    else:
        runs_of: dict[str, Mapping[str, list[str]]] = {}
        for step in run.steps.values():
            if step.pipeline_run not in runs_of:
                condition = f"tags.`{ZENML_RUN_TAG}` = '{step.pipeline_run}'"
                parents = client.search_runs(experiments, condition, max_results=1)
                runs_of[step.pipeline_run] = children(parents[0].info.run_id if parents else None)
        runs = {name: runs_of[step.pipeline_run].get(name, []) for name, step in run.steps.items()}
    return {name: ids for name, ids in runs.items() if ids} | {"register_model": [own.info.run_id]}


# --- ZenML ---


def pipeline_run(version: Any) -> PipelineRunRecord:
    """The pipeline run that registered a version.

    Raises:
        NotReachableError: the version names none, or this ZenML does not answer or does not have it.
    """
    run_id = version.tags.get(PIPELINE_RUN_TAG)
    if run_id is None:
        raise NotReachableError("the pipeline run: the version names none, it was registered outside of a pipeline")
    kept = Remembered(f"ZenML's pipeline run {run_id}", stack_state)
    if answer := kept.answer():
        return TypeAdapter(PipelineRunRecord).validate_python(answer)
    with _reaching(f"ZenML's pipeline run {run_id}"):
        record = _pipeline_run_record(UUID(run_id))
    kept.keep(asdict(record))
    return record


def _pipeline_run_record(run_id: UUID) -> PipelineRunRecord:
    from zenml.client import Client

    def artifacts(by_name: Mapping[str, list[ArtifactVersionResponse]]) -> list[ArtifactRecord]:
        versions = [artifact for several in by_name.values() for artifact in several]
        return [
            ArtifactRecord(each.name, str(each.version), str(each.id), each.content_hash, each.uri) for each in versions
        ]

    def step_record(step: StepRunResponse) -> StepRecord:
        original = step.original_step_run_id
        computed = step if original is None else Client().get_run_step(original)
        return StepRecord(
            id=str(step.id),
            status=step.status.value,
            cached_from=None if original is None else str(original),
            pipeline_run=str(computed.pipeline_run_id),
            logged=dict(computed.run_metadata),
            inputs=artifacts(step.inputs),
            outputs=artifacts(step.outputs),
        )

    run = Client().get_pipeline_run(run_id)
    return PipelineRunRecord(
        id=str(run.id),
        name=run.name,
        pipeline="a removed pipeline" if run.pipeline is None else run.pipeline.name,
        at=run.created.isoformat(timespec="seconds"),
        steps={name: step_record(step) for name, step in run.steps.items()},
    )


def measured_seconds(evaluation_id: UUID) -> tuple[float | None, float | None]:
    """Seconds of training, both stages together, and of evaluation, as logged by the steps that computed them; None
    where they were not logged, or nothing was trained.

    Args:
        evaluation_id: step run of an evaluation, or of another measurement of a model.
    """
    from zenml.client import Client

    def producer(step: StepRunResponse, input_name: str) -> StepRunResponse:
        (artifact,) = step.inputs[input_name]
        return Client().get_run_step(artifact.producer_step_run_id)

    evaluation = Client().get_run_step(evaluation_id)
    stages = []
    if "model" in evaluation.inputs:
        stages.append(producer(evaluation, "model"))
        if "stage1_model" in stages[0].inputs:
            stages.insert(0, producer(stages[0], "stage1_model"))
    logged = [stage.run_metadata.get("training_seconds") for stage in stages]
    known = [float(seconds) for seconds in logged if seconds is not None]
    evaluated = evaluation.run_metadata.get("evaluation_seconds")
    return sum(known) if known and len(known) == len(logged) else None, None if evaluated is None else float(evaluated)


def artifact_of(run: PipelineRunRecord, name: str) -> Any:
    """The content of an artifact of a run.

    Raises:
        NotReachableError: the run has none of that name, or it cannot be loaded.
    """
    from zenml.client import Client

    ids = [artifact.id for step in run.steps.values() for artifact in step.outputs if artifact.name == name]
    if not ids:
        raise NotReachableError(f"artifact {name}: run {run.name} has none")
    with _reaching(f"artifact {name} of run {run.name}"):
        return Client().get_artifact_version(UUID(ids[0])).load()


def _data_result(run: PipelineRunRecord) -> Any:
    """The artifact `r2d_data_result` of a run, read without ZenML where the artifact store is a folder of this machine.

    Raises:
        NotReachableError: as `artifact_of`.
    """
    name = DATA_RESULT
    for artifact in (artifact for step in run.steps.values() for artifact in step.outputs if artifact.name == name):
        if (file := Path(artifact.uri) / DATA_FILENAME).is_file():
            return _json(file)
    return artifact_of(run, name)


@contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Turn an error of MLflow or ZenML into a `NotReachableError` that begins with `what`."""
    try:
        yield
    except Exception as error:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
        from zenml.exceptions import ZenMLBaseException

        known = (KeyError, OSError, RuntimeError, ImportError, RegistryError)
        if not isinstance(error, (*known, SQLAlchemyError, ZenMLBaseException, MlflowException)):
            raise
        lines = str(error).strip().strip("'\"").splitlines()
        first_line = f": {lines[0][:200]}" if lines else ""
        raise NotReachableError(f"{what} ({type(error).__name__}{first_line})") from error
