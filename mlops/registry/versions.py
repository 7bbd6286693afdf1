"""Registered versions in MLflow: found by number or alias, and their files copied here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.remembered import Remembered, database_state
from mlops.tracking import configure_mlflow, in_a_step, tracking_uri, without_login
from r2d.errors import RegistryError
from r2d.files import combined_hash, file_sha256, folder_hash
from r2d.modeling.manifest import FACTS_FILE, SHOWN_DIGITS, differences, model_hash, model_hashes, vouch_for
from r2d.registered import REGISTERED, RESERVED_SUFFIXES
from r2d.signing import Keys, require_signed

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from r2d.config.model import ModelConfig
    from r2d.config.run import RunConfig

CHAMPION, CHALLENGER = "champion", "challenger"
METRICS, CONFIG, ORIGIN, CARD = "metrics.json", "config.yaml", "origin.json", "README.md"
PROVENANCE = "rationale_provenance.parquet"
REGISTRY_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""A silent server is given up after half a minute, a closed port after seconds; with MLflow's own settings it takes a
quarter of an hour. Only for commands: a step has hours of work behind it and waits longer."""
MODEL_TAG = "r2d.model_sha256"
"""Holds the `model_hash` of a version."""
WEIGHTS_TAG = "r2d.weights_sha256"
"""Holds the `weights_hash` of a version, which pages made before its registration show too."""
START_AGAIN = "then start the same command again"


def set_tag(client: MlflowClient, version: Any, key: str, value: str) -> None:
    """Set a tag of a version. Of two processes that set it at once for the first time MLflow's store refuses one, which
    then finds it there and sets it again."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_model_version_tag(version.name, str(version.version), key, value)
    except MlflowException:
        client.set_model_version_tag(version.name, str(version.version), key, value)


@contextmanager
def registry_client(what: str, *, then: str = START_AGAIN) -> Iterator[MlflowClient]:
    """Yield a client of the registry; its errors become one that says where and what.

    Args:
        what: what is being done, for the message.
        then: what to do once the registry answers again.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = configure_mlflow()
    # MLflow reads these variables at each request. One that the user has set stays.
    timeouts = {} if in_a_step() else {key: value for key, value in REGISTRY_TIMEOUTS.items() if key not in os.environ}
    os.environ.update(timeouts)
    try:
        yield MlflowClient()
    except (MlflowException, OSError) as error:
        message = without_login(str(error).strip(), uri)
        # The cause of a failed connection stands at the end of its first line, behind the address of the request.
        cause = message.splitlines()[0].rpartition("Caused by ")[2][:300] if message else ""
        raise RegistryError(
            f"{what}: the registry at {without_login(uri, uri)} did not do it ({type(error).__name__}: {cause}). "
            f"See that MLFLOW_TRACKING_URI, or the MLflow tracker of the stack, is right and that it answers, {then}"
        ) from error
    finally:
        for key in timeouts:
            os.environ.pop(key, None)


@dataclass(frozen=True)
class Reference:
    """A registered version by its number or an alias; written `name/version` or `name@alias`."""

    name: str
    version: str | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str, *, alias: str = CHAMPION) -> Reference:
        """Read `name/version`, `name@alias`, or `name` with the given alias; `models:/` may stand before each."""
        text = text.removeprefix(REGISTERED)
        if "@" in text:
            name, alias = text.split("@", 1)
            return cls(name, alias=alias)
        if "/" in text:
            name, version = text.split("/", 1)
            return cls(name, version=version)
        return cls(text, alias=alias)

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.version is None else f"{self.name}/{self.version}"


def find_version(client: MlflowClient, reference: Reference, advice: str) -> Any:
    """MLflow's model version of a reference.

    Args:
        advice: what to do where there is none, for the message.

    Raises:
        RegistryError: there is no such model, version or alias; names those that there are.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        if reference.version is None:
            return client.get_model_version_by_alias(reference.name, reference.alias)
        return client.get_model_version(reference.name, reference.version)
    except MlflowException as error:
        if not is_missing(error):
            raise
        require_model(client, reference.name)
        uri, versions = mlflow.get_tracking_uri(), version_numbers(client, reference.name)
        aliases = ", ".join(sorted(client.get_registered_model(reference.name).aliases)) or "none"
        raise RegistryError(
            f"model {str(reference)!r} is not in the registry at {without_login(uri, uri)}. {reference.name!r} has "
            f"versions {', '.join(versions)} and aliases {aliases}. {advice}"
        ) from error


def require_model(client: MlflowClient, name: str) -> None:
    """Raises a RegistryError where no version of that name is registered; it names the models that are."""
    import mlflow

    if version_numbers(client, name):
        return
    names = sorted({version.name for version in model_versions(client)})
    there = f"registered: {', '.join(names)}" if names else "none is: train one first"
    uri = mlflow.get_tracking_uri()
    raise RegistryError(f"no model named {name!r} is registered at {without_login(uri, uri)}; {there}")


def version_numbers(client: MlflowClient, name: str) -> list[str]:
    """Every registered version of a model, the oldest first; empty where there is no such model."""
    return [str(version.version) for version in find_versions(client, f"name = '{name}'")]


def tagged_versions(client: MlflowClient, name: str, tag: str, value: str) -> list[Any]:
    """The versions of a model whose tag has that value, the oldest first."""
    return find_versions(client, f"name = '{name}' and tags.`{tag}` = '{value}'")


def find_versions(client: MlflowClient, condition: str) -> list[Any]:
    """MLflow's model versions that meet a filter, over all pages, in order of name and number."""
    page = client.search_model_versions(condition, max_results=1_000)
    versions = list(page)
    while page.token:
        page = client.search_model_versions(condition, max_results=1_000, page_token=page.token)
        versions += page
    return sorted(versions, key=lambda version: (version.name, int(version.version)))


def model_versions(client: MlflowClient) -> list[Any]:
    """The versions of all models, the oldest first, without what else is kept in the registry."""
    return [version for version in find_versions(client, "") if not version.name.endswith(RESERVED_SUFFIXES)]


def aliases_of(client: MlflowClient, name: str, version: str) -> tuple[str, ...]:
    """Aliases of a version; `search_model_versions` leaves them empty, so they are read from the model."""
    aliases = client.get_registered_model(name).aliases
    return tuple(sorted(alias for alias, target in aliases.items() if str(target) == str(version)))


def ensure_model(client: MlflowClient, name: str, description: str) -> None:
    """Create a registered model if there is none; another process may do so at the same moment."""
    from mlflow.exceptions import MlflowException

    if client.search_registered_models(f"name = '{name}'"):
        return
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def is_missing(error: Exception) -> bool:
    """Whether the registry has answered that something does not exist; any other error is a failure."""
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


def download(reference: str, *, file: str = "") -> Path:
    """Path of the model folder of `name@alias`, `name/version` or `name` (its champion), copied here if it is remote.

    Args:
        reference: with or without `models:/` before it.
        file: only this file of the folder.

    Raises:
        RegistryError: there is no such version, or its files are not those that were registered.
        SignatureError: public keys are declared in the environment, and none of them has signed it.
    """
    uri = tracking_uri()
    kept = Remembered(f"the folder of {reference} in {uri}", lambda: database_state(uri))
    if not file and (answer := kept.answer()) and _has_hash(folder := Path(answer["folder"]), answer["sha256"]):
        require_signed(folder, answer["version"], Keys.declared())
        return folder
    with registry_client(f"looking for model {reference!r}") as client:
        wanted = Reference.parse(reference)
        advice = f"Name a version, as in {wanted.name}/1, train one, or give a model folder"
        version = find_version(client, wanted, advice)
    path, found = registered_file(version, "model", file), f"{version.name}/{version.version}"
    if not file:
        if sha256 := version.tags.get(MODEL_TAG):
            kept.keep({"version": found, "folder": str(path), "sha256": sha256})
        require_signed(path, found, Keys.declared())
    return path


def _has_hash(folder: Path, sha256: str) -> bool:
    """Whether a model folder has the hash that the registry keeps of it."""
    if not folder.is_dir() or model_hash(folder) != sha256:
        return False
    vouch_for(folder)
    return True


def registered_file(version: Any, artifact: str, file: str = "") -> Path:
    """Path of a file that is registered with a version, copied here if it is remote.

    Args:
        version: MLflow's model version.
        artifact: `model` (a folder), `config`, `metrics`, `origin`, `README` or `rationale_provenance`.
        file: only this file of the folder.

    Raises:
        RegistryError: it is missing, or files of the model are not those that were registered.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        artifacts = mlflow.models.get_model_info(version.source).flavors["python_function"]["artifacts"]
        place = "/".join(part for part in (artifacts[artifact]["path"], file) if part)
        path = Path(mlflow.artifacts.download_artifacts(f"{REGISTERED}{version.name}/{version.version}/{place}"))
        if path.exists():
            if artifact == "model":
                _require_as_registered(version, path.parent if file else path, file)
            return path
        cause = None
    except (MlflowException, OSError, KeyError, TypeError) as error:
        cause = error
    raise RegistryError(
        f"{version.name}/{version.version} is registered, but its files are missing or cannot be read "
        f"({version.source}); {_way_back(version)}"
    ) from cause


def config_of_version(reference: str) -> Path:
    """The run configuration that is registered with a version."""
    with registry_client(f"looking for model {reference!r}") as client:
        version = find_version(client, Reference.parse(reference), "Name a version, or give a model folder")
    return registered_file(version, "config")


def _require_as_registered(version: Any, folder: Path, file: str) -> None:
    """Hold the model folder of a version, or one file of it, against the hash that the registry keeps.

    That is a hash of all files together. `origin.json` lists each, and counts where its list has that hash.
    """
    recorded = version.tags.get(MODEL_TAG)
    found = {file: file_sha256(folder / file)} if file else model_hashes(folder)
    if recorded is None:
        return
    if combined_hash(found) == recorded:
        vouch_for(folder)
        return
    try:
        listed = json.loads(registered_file(version, "origin").read_text(encoding="utf-8"))["model_files"]
    except (RegistryError, ValueError, KeyError, TypeError):
        listed = None
    if not listed or combined_hash(listed) != recorded:
        together = (
            f"together they have SHA-256 {combined_hash(found)[:SHOWN_DIGITS]}, recorded is {recorded[:SHOWN_DIGITS]}"
        )
        damage = None if file else together
    else:
        damage = differences(found, {name: sha256 for name, sha256 in listed.items() if name == (file or name)})
    if damage is not None:
        raise RegistryError(
            f"{version.name}/{version.version} is registered, but its files are damaged: {damage}. In {folder}: "
            f"{_way_back(version)}"
        )


def _way_back(version: Any) -> str:
    """What to do about the files of a version: a rollback helps only where it is the champion."""
    from mlflow import MlflowClient

    name = version.name
    if str(MlflowClient().get_registered_model(name).aliases.get(CHAMPION)) != str(version.version):
        return f"restore them, or name another version; `r2d history {name}` names the champions"
    return (
        f"restore them, or go back with `r2d rollback {name} --reason ...`; `r2d history {name}` names the champions "
        "before, and without one --to-none leaves the model without a champion"
    )


def model_folder(reference: str) -> Path:
    """Path of a model folder: the folder itself, or that of a registered `name@alias` or `name/version`.

    Raises:
        RegistryError, SignatureError: as `download`.
    """
    folder = Path(reference)
    if not folder.is_dir():
        return download(reference)
    require_signed(folder, reference, Keys.declared())
    return folder


def require_trust(run: RunConfig, champion: str | None) -> None:
    """Before any step: the declared keys can be used, and where public keys are declared, one of them has signed the
    champion and the start model, if it is a registered one or a folder of ours.

    Raises:
        ConfigError: a key cannot be used.
        SignatureError: one of the two is not signed.
    """
    keys, start = Keys.declared(run.registration.signing), run.model.name
    keys.require()
    if not keys.public:
        return
    for reference in {champion, start if start.startswith(REGISTERED) else None} - {None}:
        require_signed(download(str(reference)), str(reference), keys)
    if (Path(start) / FACTS_FILE).exists():
        require_signed(Path(start), start, keys)


def start_folder(model: ModelConfig) -> Path | None:
    """Model folder of the registered version that `model.name` names; None for every other start."""
    return download(model.name) if model.name.startswith(REGISTERED) else None


def pin_models(run: RunConfig) -> RunConfig:
    """`run` with what `model.name` and `evaluation.encoder_baseline.name` stand for at this moment, so that cache keys
    change when an alias moves or a folder changes.

    `models:/name@alias` becomes `models:/name/version`, with MLflow's id of those weights as `revision`; a folder keeps
    its name and gets the hash of its contents. Hub names and what is shipped stay. Called on the client, before steps.

    Raises:
        ModelError: the model decides between other labels than this run.
        RegistryError: there is no such model, version or alias.
    """
    evaluation, encoder = run.evaluation, run.evaluation.encoder_baseline
    if encoder is not None and Path(encoder.name).is_dir():
        encoder = encoder.model_copy(update=_pinned_folder(Path(encoder.name)))
        evaluation = evaluation.model_copy(update={"encoder_baseline": encoder})
    model = run.model.model_copy(update=_pinned_start_model(run))
    return run.model_copy(update={"model": model, "evaluation": evaluation})


def _pinned_start_model(run: RunConfig) -> dict[str, str]:
    from r2d.modeling.model_folder import require_same_labels

    name, labels = run.model.name, run.data.labels
    if Path(name).is_dir():
        require_same_labels(Path(name), labels, name=name)
        return _pinned_folder(Path(name))
    if not name.startswith(REGISTERED):
        return {}
    require_same_labels(download(name, file=FACTS_FILE).parent, labels, name=name)
    with registry_client(f"looking for model {name!r}") as client:
        version = find_version(client, Reference.parse(name), "Name one of them in model.name")
    weights = version.source.removeprefix(REGISTERED)
    return {"name": f"{REGISTERED}{version.name}/{version.version}", "revision": weights}


def _pinned_folder(folder: Path) -> dict[str, str]:
    return {"revision": f"sha256:{folder_hash(folder)}"}
