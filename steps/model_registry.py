"""The MLflow model registry: register a model folder once, and find it again by name and alias."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from r2d.config import RunConfig
from r2d.data.examples import content_hash, write_table
from r2d.errors import RegistryError
from r2d.modeling.model_folder import FACTS_FILE, folder_hash, read_model_facts, require_same_labels
from r2d.rationales.provenance import trained_on
from r2d.registry.fetch import REGISTERED
from r2d.registry.gate import GateDecision
from steps.tracking import configure_mlflow, start_run

ROOT = Path(__file__).resolve().parent.parent
CHAMPION = "champion"
CONTENT_TAG = "r2d.content_hash"
PROVENANCE_FILE = "rationale_provenance.parquet"
REQUIREMENTS = (
    "torch", "transformers", "tokenizers", "sentencepiece", "safetensors", "pydantic", "pyyaml", "pyarrow", "pandas",
    "mlflow",
)  # fmt: skip
"""What a registered model needs to load and predict."""


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry."""

    name: str
    version: str
    aliases: tuple[str, ...]
    is_new: bool

    @property
    def reference(self) -> str:
        """What `r2d predict --model` takes."""
        return f"{self.name}@{self.aliases[0]}" if self.aliases else f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Served:
    """How MLflow serves a model: the source that it runs, and what it is sent."""

    source: str
    example: list[Any]

    @classmethod
    def of(cls, model_folder: Path) -> Served:
        if read_model_facts(model_folder).labels.per_row:
            return cls("pyfunc_options_model.py", [{"text": "Where do you bake bread?", "options": ["oven", "car"]}])
        return cls("pyfunc_model.py", ["62 yo with chest pain since 1h, denies fever."])


def register(
    model_folder: Path, metrics: Mapping[str, Any], decision: GateDecision, provenance: pa.Table, model_name: str
) -> RegisteredModel:
    """Register a model folder as a new version, with the alias `champion` when the gate let it pass.

    With it is kept where every rationale comes from that it was trained on (`rationale_provenance.parquet`). The same
    weights with the same metrics and provenance are registered once: a second call finds the version.
    """
    import mlflow
    from mlflow import MlflowClient

    configure_mlflow()
    client = MlflowClient()
    content = _content_hash(model_folder, metrics, provenance)
    served = Served.of(model_folder)
    for found in client.search_model_versions(f"name = '{model_name}' and tags.`{CONTENT_TAG}` = '{content}'"):
        return RegisteredModel(model_name, str(found.version), _aliases(client, model_name, found.version), False)

    with mlflow.start_run(run_id=start_run(client, "register_model")) as run, TemporaryDirectory() as folder:
        write_table(provenance, Path(folder) / PROVENANCE_FILE)
        mlflow.log_metrics({f"test_{name}": value for name, value in headline(metrics).items()})
        mlflow.log_dict(dict(metrics), "metrics.json")
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ROOT / "steps" / served.source),
            artifacts={"model": str(model_folder), "rationale_provenance": str(Path(folder) / PROVENANCE_FILE)},
            code_paths=[str(ROOT / "r2d")],
            pip_requirements=[f"{name}=={installed_version(name).split('+')[0]}" for name in REQUIREMENTS],
            input_example=served.example,
        )
    if not client.search_registered_models(f"name = '{model_name}'"):
        client.create_registered_model(model_name, description="Decides and explains; decision support, no device.")
    tags = {
        CONTENT_TAG: content,
        "r2d.gate": "; ".join(decision.reasons()),
        "r2d.rationales": json.dumps(trained_on(provenance)),
    }
    created = client.create_model_version(model_name, info.model_uri, run.info.run_id, tags=tags)
    version = str(created.version)
    if decision.passed:
        client.set_registered_model_alias(model_name, CHAMPION, version)
    return RegisteredModel(model_name, version, _aliases(client, model_name, version), True)


def download_model(reference: str, *, file: str = "") -> Path:
    """The model folder of `name@alias`, `name/version` or `name` (its champion), copied here if it lies elsewhere.

    Args:
        reference: with or without `models:/` before it.
        file: of the folder, where no other is wanted.

    Raises:
        RegistryError: there is no such model, version or alias.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = configure_mlflow()
    place = _place(reference)
    try:
        stored = mlflow.models.get_model_info(f"models:/{place}").flavors["python_function"]["artifacts"]["model"]
        path = "/".join(part for part in (stored["path"], file) if part)
        return Path(mlflow.artifacts.download_artifacts(f"models:/{place}/{path}"))
    except (MlflowException, OSError, KeyError) as error:
        raise RegistryError(
            f"model {reference!r} is not in the registry at {uri} ({type(error).__name__}). "
            f"{_what_is_there(reference)} Train one with `make run`, or give a model folder"
        ) from error


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
        require_same_labels(download_model(name, file=FACTS_FILE).parent, labels, name=name)
        found = _version(_place(name))
        weights = found.source.removeprefix(REGISTERED)
        pinned = {"name": f"{REGISTERED}{found.name}/{found.version}", "revision": weights}
    else:
        return run
    return run.model_copy(update={"model": run.model.model_copy(update=pinned)})


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The few figures that stand in every overview."""
    rationale = metrics["rationale"]["populations"]["all"] if metrics["rationale"] else {}
    figures = {name: metrics["label"][name] for name in ("accuracy", "macro_f1", "invalid_label_rate")}
    figures |= {name: rationale.get(name) for name in ("bleu", "paper_bleu", "bertscore_f1")}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _place(reference: str) -> str:
    """`name@alias` or `name/version`."""
    place = reference.removeprefix(REGISTERED)
    return place if "@" in place or "/" in place else f"{place}@{CHAMPION}"


def _version(place: str) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient()
    if "@" in place:
        return client.get_model_version_by_alias(*place.split("@", 1))
    return client.get_model_version(*place.split("/", 1))


def _what_is_there(reference: str) -> str:
    from mlflow import MlflowClient

    name = _place(reference).split("@")[0].split("/")[0]
    found = MlflowClient().search_model_versions(f"name = '{name}'")
    if not found:
        return f"No model named {name!r} is registered."
    aliases = {alias for one in found for alias in _aliases(MlflowClient(), name, one.version)}
    versions = ", ".join(str(number) for number in sorted(int(one.version) for one in found))
    return f"{name!r} has versions {versions} and aliases {sorted(aliases) or 'none'}."


def _aliases(client: Any, name: str, version: str) -> tuple[str, ...]:
    """Aliases of a version; `search_model_versions` leaves them empty, so they are read from the model."""
    aliases = client.get_registered_model(name).aliases
    return tuple(sorted(alias for alias, target in aliases.items() if str(target) == str(version)))


def _content_hash(model_folder: Path, metrics: Mapping[str, Any], provenance: pa.Table) -> str:
    facts = {"model": folder_hash(model_folder), "metrics": metrics, "provenance": content_hash(provenance)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
