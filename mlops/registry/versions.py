"""Registered versions: found by name, alias or number, and copied here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.tracking import configure_mlflow, in_a_step, without_login
from r2d.config.model import REGISTERED, ModelConfig
from r2d.config.run import RunConfig
from r2d.errors import RegistryError
from r2d.files import folder_hash
from r2d.modeling.model_folder import FACTS_FILE, require_same_labels

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"


QUICK_QUESTIONS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""A silent server is given up after half a minute, a closed port after seconds; by MLflow's own settings it takes a
quarter of an hour. Questions to the registry alone: a step has hours behind it, and weights may be long in coming."""
AGAIN = "then start the same command again"


@contextmanager
def connected(what: str, *, then: str = AGAIN) -> Iterator[MlflowClient]:
    """A client of the registry; what it cannot do becomes an error that says where and what.

    Args:
        what: what is being done, for the message.
        then: what to do once the registry answers again.

    Raises:
        RegistryError: the registry does not answer, or refuses.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = configure_mlflow()
    try:
        with _quick_questions():
            yield MlflowClient()
    except (MlflowException, OSError) as error:
        said = without_login(str(error).strip(), uri)
        # What counts of a failed connection stands last, behind the address of the question.
        first_line = said.splitlines()[0].rpartition("Caused by ")[2][:300] if said else ""
        raise RegistryError(
            f"{what}: the registry at {without_login(uri, uri)} did not do it ({type(error).__name__}: {first_line}). "
            f"See that MLFLOW_TRACKING_URI, or the MLflow tracker of the stack, is right and that it answers, {then}"
        ) from error


@contextmanager
def _quick_questions() -> Iterator[None]:
    """MLflow reads these variables anew at each request; one that the user has set stays."""
    ours = {} if in_a_step() else {key: value for key, value in QUICK_QUESTIONS.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)


def download(reference: str, *, file: str = "") -> Path:
    """The model folder of `name@alias`, `name/version` or `name` (its champion), copied here if it lies elsewhere.

    Args:
        reference: with or without `models:/` before it.
        file: of the folder, where no other is wanted.

    Raises:
        RegistryError: there is no such model, version or alias, its files are missing, or the registry does not answer.
    """
    with connected(f"looking for model {reference!r}") as client:
        found = _found(client, reference, place_of(reference))
    return stored(found, "model", file)


def model_folder(reference: str) -> Path:
    """The model folder of a reference: a folder as it is, `name@alias` or `name/version` from the registry.

    Raises:
        RegistryError: it is no folder, and the registry has no such model.
    """
    return Path(reference) if Path(reference).is_dir() else download(reference)


def start_folder(model: ModelConfig) -> Path | None:
    """Where the registered version that `model.name` names lies; None for every other start.

    Raises:
        RegistryError: the registry has no such version.
    """
    return download(model.name) if model.name.startswith(REGISTERED) else None


def stored(version: Any, artifact: str, file: str = "") -> Path:
    """What is registered with a version, copied here if it lies elsewhere.

    Args:
        artifact: `model` (a folder), `config`, `metrics`, `origin`, `README` or `rationale_provenance`.
        file: of the folder, where no other is wanted.

    Raises:
        RegistryError: it is missing or cannot be read.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        artifacts = mlflow.models.get_model_info(version.source).flavors["python_function"]["artifacts"]
        path = "/".join(part for part in (artifacts[artifact]["path"], file) if part)
        found = Path(mlflow.artifacts.download_artifacts(f"{REGISTERED}{version.name}/{version.version}/{path}"))
    except (MlflowException, OSError, KeyError, TypeError) as error:
        raise _missing(version) from error
    if not found.exists():
        raise _missing(version)
    return found


def with_pinned_start(run: RunConfig) -> RunConfig:
    """`run` with what `model.name` stands for at this moment, so that its cache keys see a moved alias.

    `models:/name@alias` becomes `models:/name/version`, with MLflow's id of those weights as `revision`; a folder keeps
    its name and gets the hash of its contents. Called on the client, before any step. Hub names and `scratch` stay.

    Raises:
        ModelError: the model decides between other labels than this run.
        RegistryError: there is no such model, version or alias.
    """
    name, labels = run.model.name, run.data.labels
    if Path(name).is_dir():
        require_same_labels(Path(name), labels, name=name)
        pinned = {"revision": f"sha256:{folder_hash(Path(name))}"}
    elif name.startswith(REGISTERED):
        require_same_labels(download(name, file=FACTS_FILE).parent, labels, name=name)
        with connected(f"looking for model {name!r}") as client:
            found = version_of(client, place_of(name))
        weights = found.source.removeprefix(REGISTERED)
        pinned = {"name": f"{REGISTERED}{found.name}/{found.version}", "revision": weights}
    else:
        return run
    return run.model_copy(update={"model": run.model.model_copy(update=pinned)})


def place_of(reference: str, *, alias: str = CHAMPION) -> str:
    """`name@alias` or `name/version`; a bare name with the given alias."""
    place = reference.removeprefix(REGISTERED)
    return place if "@" in place or "/" in place else f"{place}@{alias}"


def version_of(client: MlflowClient, place: str) -> Any:
    """The registered version at `name@alias` or `name/version`."""
    if "@" in place:
        return client.get_model_version_by_alias(*place.split("@", 1))
    return client.get_model_version(*place.split("/", 1))


def version_numbers(client: MlflowClient, name: str) -> list[str]:
    """Every registered version of a model, the oldest first; empty where there is no such model."""
    return [str(number) for number in sorted(int(one.version) for one in all_versions(client, f"name = '{name}'"))]


def all_versions(client: MlflowClient, condition: str) -> list[Any]:
    """Every version that a filter finds, over all pages."""
    found, token = [], None
    while True:
        page = client.search_model_versions(condition, max_results=1_000, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def aliases_of(client: MlflowClient, name: str, version: str) -> tuple[str, ...]:
    """Aliases of a version; `search_model_versions` leaves them empty, so they are read from the model."""
    aliases = client.get_registered_model(name).aliases
    return tuple(sorted(alias for alias, target in aliases.items() if str(target) == str(version)))


def is_missing(error: Exception) -> bool:
    """Whether the registry has answered that something is not there; anything else is a failure."""
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


def _found(client: MlflowClient, reference: str, place: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return version_of(client, place)
    except MlflowException as error:
        if not is_missing(error):
            raise
        import mlflow

        uri = mlflow.get_tracking_uri()
        raise RegistryError(
            f"model {reference!r} is not in the registry at {without_login(uri, uri)}. "
            f"{_what_is_there(client, place)} Train one with `make run`, or give a model folder"
        ) from error


def _missing(version: Any) -> RegistryError:
    return RegistryError(
        f"{version.name}/{version.version} is registered, but its files are missing or cannot be read "
        f"({version.source}); restore them, or go back with `r2d rollback {version.name} --reason ...`"
    )


def _what_is_there(client: MlflowClient, place: str) -> str:
    name = place.split("@")[0].split("/")[0]
    versions = version_numbers(client, name)
    if not versions:
        return f"No model named {name!r} is registered."
    aliases = sorted(client.get_registered_model(name).aliases)
    return f"{name!r} has versions {', '.join(versions)} and aliases {aliases or 'none'}."
