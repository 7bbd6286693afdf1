"""The ZenML model version of a registered version: the same number, each naming the other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops.registry.versions import registry_client

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse

    from mlops.registry.registration import RegisteredModel

logger = logging.getLogger(__name__)

RUN_ID, URI = "mlflow_run_id", "mlflow_uri"


def link_zenml_version(registered: RegisteredModel, *, pipeline_run: UUID, artifacts: list[UUID]) -> str:
    """Make, or find, the ZenML version, link it to the pipeline run and its artifacts, and let each name the other.

    A second call with the same version finds it; what a run that died has left out is done by the next.

    Returns:
        Its name: the number of the registered version, unless another MLflow has taken that number before.
    """
    from zenml import log_metadata
    from zenml.client import Client
    from zenml.models import ModelVersionArtifactRequest, ModelVersionPipelineRunRequest

    found = _version_of(registered)
    store = Client().zen_store
    store.create_model_version_pipeline_run_link(
        ModelVersionPipelineRunRequest(pipeline_run=pipeline_run, model_version=found.id)
    )
    for artifact in artifacts:
        store.create_model_version_artifact_link(
            ModelVersionArtifactRequest(artifact_version=artifact, model_version=found.id)
        )
    if found.run_metadata.get(RUN_ID) != registered.run_id:
        uri = f"models:/{registered.name}/{registered.version}"
        log_metadata({RUN_ID: registered.run_id, URI: uri}, model_version_id=found.id)
    with registry_client(f"linking {registered.name}/{registered.version}") as client:
        for key, value in {"id": str(found.id), "number": str(found.number), "pipeline_run": str(pipeline_run)}.items():
            client.set_model_version_tag(registered.name, registered.version, f"zenml.{key}", value)
    return str(found.name)


def _version_of(registered: RegisteredModel) -> ModelVersionResponse:
    """The ZenML version of that number. ZenML numbers by itself, so versions are made until there is one; those of
    registered versions that have none are left for them."""
    from zenml.client import Client

    client, name, number = Client(), registered.name, int(registered.version)
    _ensure_model(client, name)
    while (found := _get(client, name, number)) is None:
        client.create_model_version(name)
    owner = found.run_metadata.get(RUN_ID)
    if owner in (None, registered.run_id):
        return found
    # Two registries under one ZenML: the number belongs to a version of the other one.
    own_name = f"{number}-{registered.run_id[:8]}"
    logger.warning("ZenML's %s version %d belongs to another MLflow; this one is named %s", name, number, own_name)
    return _get(client, name, own_name) or client.create_model_version(name, name=own_name)


def _ensure_model(client: Any, name: str) -> None:
    from zenml.exceptions import EntityExistsError

    try:
        client.get_model(name, bypass_lazy_loader=True)
    except KeyError:
        try:
            client.create_model(name, description="Decides and explains; versions carry MLflow's numbers.")
        except EntityExistsError:
            return


def _get(client: Any, name: str, version: int | str) -> ModelVersionResponse | None:
    try:
        found: ModelVersionResponse = client.get_model_version(name, version)
    except KeyError:
        return None
    return found
