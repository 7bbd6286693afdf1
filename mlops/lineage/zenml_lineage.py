"""The ZenML run that a registered version comes from: its steps, and what they made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse, StepRunResponse

Found = TypeVar("Found")


class NotReachableError(Exception):
    """Something of a lineage cannot be asked; the message says what and why. The rest is shown without it."""


def pipeline_run_facts(run_id: UUID) -> dict[str, Any]:
    """A pipeline run.

    Returns:
        id, name, pipeline, at, and steps: name -> id, status, cached_from (the step run whose result was taken, or
        None), pipeline_run (in which it was computed), logged (its metadata), inputs and outputs (name, version, id,
        hash).

    Raises:
        NotReachableError: this ZenML does not answer, or does not have the run.
    """
    return _asked(f"ZenML's pipeline run {run_id}", lambda: _run_facts(run_id))


def artifact_of(run: Mapping[str, Any], name: str) -> Any:
    """The content of an artifact of a run.

    Raises:
        NotReachableError: the run has none of that name, or it cannot be loaded.
    """
    ids = [one["id"] for step in run["steps"].values() for one in step["outputs"] if one["name"] == name]
    if not ids:
        raise NotReachableError(f"artifact {name}: run {run['name']} has none")
    return _asked(f"artifact {name} of run {run['name']}", lambda: _loaded(ids[0]))


def _asked(what: str, ask: Callable[[], Found]) -> Found:
    from sqlalchemy.exc import SQLAlchemyError
    from zenml.exceptions import ZenMLBaseException

    try:
        return ask()
    except (KeyError, OSError, RuntimeError, ImportError, SQLAlchemyError, ZenMLBaseException) as error:
        said = str(error).strip().strip("'\"").splitlines()
        first_line = f": {said[0][:200]}" if said else ""
        raise NotReachableError(f"{what} ({type(error).__name__}{first_line})") from error


def _run_facts(run_id: UUID) -> dict[str, Any]:
    from zenml.client import Client

    run = Client().get_pipeline_run(run_id)
    return {
        "id": str(run.id),
        "name": run.name,
        "pipeline": "a removed pipeline" if run.pipeline is None else run.pipeline.name,
        "at": run.created.isoformat(timespec="seconds"),
        "steps": {name: _step_facts(step) for name, step in run.steps.items()},
    }


def _step_facts(step: StepRunResponse) -> dict[str, Any]:
    from zenml.client import Client

    original = step.original_step_run_id
    ran = step if original is None else Client().get_run_step(original)
    return {
        "id": str(step.id),
        "status": step.status.value,
        "cached_from": None if original is None else str(original),
        "pipeline_run": str(ran.pipeline_run_id),
        "logged": dict(ran.run_metadata),
        "inputs": [_artifact_facts(one) for several in step.inputs.values() for one in several],
        "outputs": [_artifact_facts(one) for several in step.outputs.values() for one in several],
    }


def _artifact_facts(artifact: ArtifactVersionResponse) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "version": str(artifact.version),
        "id": str(artifact.id),
        "hash": artifact.content_hash,
    }


def _loaded(artifact_id: str) -> Any:
    from zenml.client import Client

    return Client().get_artifact_version(UUID(artifact_id)).load()


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
