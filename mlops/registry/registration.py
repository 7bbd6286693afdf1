"""Registers a model once, lets the gate decide, moves the aliases that follow, and links ZenML's version of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from mlops.alerts import send
from mlops.code import ROOT
from mlops.registry.aliases import RUN_KEY_TAG, AliasTransition, move_aliases
from mlops.registry.decisions import approval_of, store_decision
from mlops.registry.looks import Look, read_looks, use_of, weights_hash, write_look
from mlops.registry.package import Package, TrainedModel, pinned_requirements, write_package
from mlops.registry.versions import (
    WEIGHTS_TAG,
    aliases_of,
    ensure_model,
    registry_client,
    set_tag,
    tagged_versions,
)
from mlops.run_record import RunRecord
from mlops.sbom import bill_of_materials
from mlops.tracking import PIPELINE_RUN_TAG, start_run
from r2d.evaluation.looks import hash_of_test_set
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.run import evaluated_rows
from r2d.evaluation.sections.labels import Comparator
from r2d.files import work_root, write_json
from r2d.gate.decision import GateDecision
from r2d.gate.rules import evaluate_rules
from r2d.modeling.model_folder import read_model_facts
from r2d.rationales.provenance import trained_on
from r2d.signing import Keys

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image
    from zenml.models import ModelVersionResponse

logger = logging.getLogger(__name__)

CONTENT_TAG = "r2d.content_hash"
SBOM = "sbom.json"
TOO_LONG_FOR_A_TAG = ("files_read", "model_files")
ZENML_RUN_ID, ZENML_URI = "mlflow_run_id", "mlflow_uri"
"""Metadata of the ZenML version, which names MLflow's."""
EXAMPLE_NOTE = "62 yo with chest pain since 1h, denies fever."
EXAMPLE_QUESTION = {"text": "Where do you bake bread?", "options": ["oven", "car"]}
START_AGAIN = "then start the same run again: it goes on from what is registered, and puts the aliases right"


class Registration(TypedDict):
    """The artifact `r2d_registration`."""

    name: str
    version: str
    reference: str
    """What `r2d predict --model` takes."""
    aliases: list[str]
    is_new: bool
    gate_outcome: str
    gate_reasons: list[str]
    compared_with: str
    """The champion, or `none`."""
    what_follows: str


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry, the decision of the gate with its HTML page and picture, and what followed from it."""

    name: str
    version: str
    run_id: str
    """Of MLflow."""
    aliases: tuple[str, ...]
    is_new: bool
    decision: GateDecision
    transition: AliasTransition
    card: str
    page: str
    picture: Image

    @property
    def reference(self) -> str:
        """What `r2d predict --model` takes."""
        return f"{self.name}@{self.aliases[0]}" if self.aliases else f"{self.name}/{self.version}"

    def to_json(self) -> Registration:
        return {
            "name": self.name,
            "version": self.version,
            "reference": self.reference,
            "aliases": list(self.aliases),
            "is_new": self.is_new,
            "gate_outcome": self.decision.outcome,
            "gate_reasons": self.decision.lines(),
            "compared_with": "none" if self.decision.not_compared else self.decision.champion or "none",
            "what_follows": self.transition.reason,
        }


def register(
    trained: TrainedModel, *, new_run: Callable[[MlflowClient], str] = partial(start_run, step_name="register_model")
) -> RegisteredModel:
    """Register a model as a version, evaluate the rules of its gate, and give it the alias that follows.

    The same weights with the same metrics and provenance are registered once: a second call finds the version, and
    completes what an earlier one has left undone.

    Args:
        new_run: creates the MLflow run that a new version belongs to, and returns its id.
    """
    registration, key = trained.record.run.registration, trained.record.key
    keys = Keys.declared(registration.signing)
    keys.require()
    name = registration.model_name
    work = work_root()  # where what a killed process leaves is found: mlops.kept
    work.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=work, prefix="register_model-") as folder,
        registry_client(f"registering {name!r}", then=START_AGAIN) as client,
    ):
        test_set = hash_of_test_set(evaluated_rows(trained.examples, trained.record.run.evaluation.max_rows))
        use = use_of(test_set, read_looks(client, test_set)).measured(trained.metrics)
        package = write_package(Path(folder), trained, use)
        content = content_hash_of(package, trained.metrics)
        versions = tagged_versions(client, name, CONTENT_TAG, content)
        version = versions[0] if versions else _new_version(client, content, package, trained, new_run(client))
        number = str(version.version)
        set_tag(client, version, RUN_KEY_TAG, key)
        rules = registration.gate.for_labels(trained.record.run.data.labels)
        decision = evaluate_rules(trained.metrics, rules, approval_of(version, keys))
        model_sha256 = weights_hash(trained.folder)
        compared_with = None if decision.not_compared else decision.champion
        look = Look(test_set, "gate", f"{name}/{number}", model_sha256, "gate", compared_with, decision.outcome)
        use = use_of(test_set, write_look(client, look)).measured(trained.metrics)
        decision = replace(decision, test_set=use)
        transition = move_aliases(client, name, number, decision, key)
        page, picture = store_decision(client, version, decision, transition.reason, keys)
        if decision.outcome == "failed":
            failed = [str(verdict.rule.get("rule")) for verdict in decision.verdicts if verdict.status == "failed"]
            send(
                "gate_refused", f"the gate refused {name}/{number}", model=f"{name}/{number}",
                rules=", ".join(dict.fromkeys(failed)), champion=decision.champion or "none",
            )  # fmt: skip
        return RegisteredModel(
            name=name,
            version=number,
            run_id=version.run_id,
            aliases=aliases_of(client, name, number),
            is_new=not versions,
            decision=decision,
            transition=transition,
            card=package.card,
            page=page,
            picture=picture,
        )


def content_hash_of(package: Package, metrics: Metrics) -> str:
    """SHA-256 over weights, provenance and the metrics of the model itself, whatever champion it was compared with; and
    the key that signed it, so that a new key makes a new version."""
    own = {name: value for name, value in metrics.to_json().items() if name not in ("champion", "champion_slices")}
    own["differences"].pop(Comparator.CHAMPION.value, None)
    own["seen_rows"] = {
        name: value for name, value in (own["seen_rows"] or {}).items() if not name.startswith("champion")
    }
    origin = package.origin
    values = {"model": origin.model_sha256, "provenance": origin.rationales_sha256, "metrics": own}
    values |= {"signed_by": origin.signed_by} if origin.signed_by else {}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _new_version(client: MlflowClient, content: str, package: Package, trained: TrainedModel, run_id: str) -> Any:
    """Create a version with everything that belongs to it; where another process was quicker, return its version."""
    import mlflow

    write_json(package.folder / SBOM, bill_of_materials())
    name, files = trained.record.run.registration.model_name, package.files()
    options_per_row = read_model_facts(files["model"]).labels.per_row
    with (
        mlflow.start_run(run_id=run_id) as run,
        pinned_requirements(is_signed=bool(package.origin.signed_by)) as requirements,
    ):
        mlflow.log_metrics({f"test_{name}": value for name, value in headline_metrics(trained.metrics).items()})
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ROOT / "mlops" / "pyfunc.py"),
            model_config={"options_per_row": options_per_row},
            artifacts={file: str(path) for file, path in files.items()},
            code_paths=[str(ROOT / "r2d")],
            pip_requirements=requirements,
            input_example=[EXAMPLE_QUESTION if options_per_row else EXAMPLE_NOTE],
        )
    ensure_model(client, name, "Decides and explains; decision support for professionals, not a medical device.")
    tags = {CONTENT_TAG: content, WEIGHTS_TAG: weights_hash(trained.folder)}
    tags["r2d.rationales"] = json.dumps(trained_on(trained.provenance))
    for key, value in asdict(package.origin).items():
        if key not in TOO_LONG_FOR_A_TAG:
            tags[f"r2d.{key}"] = value if isinstance(value, str) else json.dumps(value)
    created = client.create_model_version(
        name,
        info.model_uri,
        run.info.run_id,
        tags=tags,
        model_id=info.model_id,  # a server refuses one without it
    )
    first = tagged_versions(client, name, CONTENT_TAG, content)[0]
    if str(first.version) != str(created.version):
        client.delete_model_version(name, created.version)
    return first


def headline_metrics(metrics: Metrics) -> dict[str, float]:
    """The few metrics that stand in every overview."""
    overlap = None if metrics.rationale is None else metrics.rationale.populations.all
    values = {name: getattr(metrics.label, name) for name in ("accuracy", "macro_f1", "invalid_label_rate")}
    values |= {name: getattr(overlap, name, None) for name in ("bleu", "paper_bleu", "bertscore_f1")}
    return {name: float(value) for name, value in values.items() if value is not None}


def link_zenml_version(
    registered: RegisteredModel, record: RunRecord, *, pipeline_run: UUID, artifacts: list[UUID]
) -> None:
    """Link the ZenML version of the same number to the pipeline run and its artifacts, let both versions name each
    other, and tag run and artifacts with data, method and version, the run with the verdict too, so that the dashboard
    can filter by them. A second call completes what an earlier one has left undone."""
    from zenml import add_tags, log_metadata
    from zenml.client import Client
    from zenml.models import ModelVersionArtifactRequest, ModelVersionPipelineRunRequest

    version, store = _zenml_version(registered), Client().zen_store
    store.create_model_version_pipeline_run_link(
        ModelVersionPipelineRunRequest(pipeline_run=pipeline_run, model_version=version.id)
    )
    for artifact in artifacts:
        store.create_model_version_artifact_link(
            ModelVersionArtifactRequest(artifact_version=artifact, model_version=version.id)
        )
    name, number = registered.name, registered.version
    made_of = [f"data:{record.data_sha256[:12]}", f"method:{record.run.method.name}", f"model:{name}/{number}"]
    add_tags(tags=[*made_of, f"gate:{registered.decision.outcome}"], run=pipeline_run)
    for artifact in artifacts:
        add_tags(tags=made_of, artifact_version_id=artifact)
    if version.run_metadata.get(ZENML_RUN_ID) != registered.run_id:
        metadata = {ZENML_RUN_ID: registered.run_id, ZENML_URI: f"models:/{name}/{number}"}
        log_metadata(metadata, model_version_id=version.id)
    with registry_client(f"linking {name}/{number}") as client:
        recorded = client.get_model_version(name, number).tags.get(PIPELINE_RUN_TAG)
        run = recorded if recorded is not None and _is_known(recorded) else str(pipeline_run)
        for tag, value in {"zenml.id": version.id, "zenml.number": version.number, PIPELINE_RUN_TAG: run}.items():
            client.set_model_version_tag(name, number, tag, str(value))


def _is_known(pipeline_run: str) -> bool:
    """Whether this ZenML has a run: then a later one, which finds the version there, does not take its place."""
    from zenml.client import Client

    try:
        Client().get_pipeline_run(UUID(pipeline_run), hydrate=False)
    except KeyError:
        return False
    return True


def _zenml_version(registered: RegisteredModel) -> ModelVersionResponse:
    """The ZenML version of that number. ZenML numbers by itself, so versions are made until there is one of it; where
    another MLflow has taken the number before, it has a name of its own."""
    from zenml.client import Client
    from zenml.exceptions import EntityExistsError

    client, name, number = Client(), registered.name, int(registered.version)

    def find(version: int | str) -> ModelVersionResponse | None:
        try:
            return client.get_model_version(name, version)
        except KeyError:
            return None

    with suppress(EntityExistsError):
        client.create_model(name, description="Decides and explains; versions carry MLflow's numbers.")
    while (version := find(number)) is None:
        client.create_model_version(name)
    if version.run_metadata.get(ZENML_RUN_ID) in (None, registered.run_id):
        return version
    own_name = f"{number}-{registered.run_id[:8]}"
    logger.warning("ZenML's %s version %d belongs to another MLflow; this one is named %s", name, number, own_name)
    return find(own_name) or client.create_model_version(name, name=own_name)
