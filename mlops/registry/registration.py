"""Register a model once, let the gate decide, and move the alias that follows from its decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlops.code import ROOT, model_code_hash
from mlops.registry.aliases import (
    RUN_KEY_TAG,
    AliasTransition,
    approval_of,
    move_aliases,
    store_decision,
)
from mlops.registry.package import Package, make_package, without_champion
from mlops.registry.requirements import requirements
from mlops.registry.versions import aliases_of, ensure_model, registry_client, search_versions
from mlops.tracking import start_run
from r2d.config.run import RunConfig
from r2d.evaluation.metrics import Metrics
from r2d.gate.decision import GateDecision
from r2d.gate.rules import evaluate_rules
from r2d.modeling.model_folder import read_model_facts
from r2d.rationales.provenance import trained_on

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

CONTENT_TAG = "r2d.content_hash"
TOO_LONG_FOR_A_TAG = ("files_read", "model_files")
EXAMPLE_NOTE = "62 yo with chest pain since 1h, denies fever."
EXAMPLE_QUESTION = {"text": "Where do you bake bread?", "options": ["oven", "car"]}
ON_AGAIN = "then start the same run again: it goes on from what is registered, and puts the aliases right"
NewRun = Callable[["MlflowClient"], str]


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry, what the gate said of it, and what came of that."""

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

    def as_facts(self) -> dict[str, Any]:
        """What the registration step leaves."""
        return {
            "name": self.name,
            "version": self.version,
            "reference": self.reference,
            "aliases": list(self.aliases),
            "is_new": self.is_new,
            "gate_outcome": self.decision.outcome,
            "gate_reasons": self.decision.reasons(),
            "compared_with": self.decision.champion or "none",
            "what_follows": self.transition.reason,
        }


def register(
    model_folder: Path,
    run: RunConfig,
    metrics: Mapping[str, Any],
    *,
    examples: pa.Table,
    provenance: pa.Table,
    predictions: pa.Table | None = None,
    data_sha256: str,
    files_read: Mapping[str, str] | None = None,
    run_key: str,
    new_run: NewRun = partial(start_run, step_name="register_model"),
) -> RegisteredModel:
    """Register a model folder as a version, hold it against the gate, and give it the alias that follows.

    The same weights with the same figures, configuration of the model and provenance are registered once: a second
    call finds the version, and does what an earlier one has left undone. An alias moves only away from the champion
    that the model was compared with.

    Args:
        metrics: those of `r2d.evaluation.evaluate`, the champion's figures among them.
        examples, provenance: of Stage 2, and where every rationale comes from.
        predictions: of the evaluation, for what later calls are held against.
        files_read: path -> SHA-256 of each file that the run read, `r2d.data.fingerprint.file_hashes`.
        run_key: what a repeated run has in common with this one; see `champion_to_compare`.
        new_run: makes the MLflow run that a new version belongs to.

    Raises:
        RegistryError: the registry does not answer or refuses; a repeated call goes on from what is there.
    """
    name = run.registration.model_name
    with TemporaryDirectory() as folder, registry_client(f"registering {name!r}", then=ON_AGAIN) as client:
        package = make_package(
            Path(folder), model_folder=model_folder, run=run, metrics=metrics, examples=examples,
            provenance=provenance, predictions=predictions, data_sha256=data_sha256, files_read=files_read,
            code_root=ROOT, code_sha256=model_code_hash(),
        )  # fmt: skip
        content = _content_hash(package, metrics)
        found = _versions_of(client, name, content)
        is_new = not found
        version = found[0] if found else _new_version(client, name, content, package, metrics, provenance, new_run)
        client.set_model_version_tag(name, version.version, RUN_KEY_TAG, run_key)
        decision = evaluate_rules(Metrics.from_json(metrics), run.registration.gate, approval_of(version))
        transition = move_aliases(client, name, str(version.version), decision, run_key)
        page, picture = store_decision(client, version, decision, transition.reason)
        aliases = aliases_of(client, name, version.version)
        return RegisteredModel(
            name,
            str(version.version),
            version.run_id,
            aliases,
            is_new,
            decision,
            transition,
            package.card,
            page,
            picture,
        )


def _new_version(
    client: MlflowClient,
    name: str,
    content: str,
    package: Package,
    metrics: Mapping[str, Any],
    provenance: pa.Table,
    new_run: NewRun,
) -> Any:
    """A new version with everything that belongs to it; the one of another process that was quicker by a moment."""
    import mlflow

    files = package.files()
    options_per_row = read_model_facts(files["model"]).labels.per_row
    with mlflow.start_run(run_id=new_run(client)) as run, requirements() as needed:
        mlflow.log_metrics({f"test_{figure}": value for figure, value in headline(Metrics.from_json(metrics)).items()})
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ROOT / "mlops" / "pyfunc.py"),
            model_config={"options_per_row": options_per_row},
            artifacts={file: str(path) for file, path in files.items()},
            code_paths=[str(ROOT / "r2d")],
            pip_requirements=needed,
            input_example=[EXAMPLE_QUESTION if options_per_row else EXAMPLE_NOTE],
        )
    ensure_model(client, name, "Decides and explains; decision support for professionals, not a medical device.")
    origin = package.origin.as_facts()
    tags = {CONTENT_TAG: content, "r2d.rationales": json.dumps(trained_on(provenance))}
    tags |= {
        f"r2d.{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in origin.items()
        if key not in TOO_LONG_FOR_A_TAG
    }
    created = client.create_model_version(
        name,
        info.model_uri,
        run.info.run_id,
        tags=tags,
        model_id=info.model_id,  # a server refuses one without it
    )
    first = _versions_of(client, name, content)[0]
    if str(first.version) != str(created.version):
        client.delete_model_version(name, created.version)
    return first


def _versions_of(client: MlflowClient, name: str, content: str) -> list[Any]:
    """Versions with that content, oldest first."""
    found = search_versions(client, f"name = '{name}' and tags.`{CONTENT_TAG}` = '{content}'")
    return sorted(found, key=lambda one: int(one.version))


def _content_hash(package: Package, metrics: Mapping[str, Any]) -> str:
    facts = {
        "model": package.origin.model_sha256,
        "provenance": package.origin.rationales_sha256,
        "metrics": without_champion(metrics),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def headline(metrics: Metrics) -> dict[str, float]:
    """The few metrics that stand in every overview."""
    overlap = None if metrics.rationale is None else metrics.rationale.populations.all
    values = {name: getattr(metrics.label, name) for name in ("accuracy", "macro_f1", "invalid_label_rate")}
    values |= {name: getattr(overlap, name, None) for name in ("bleu", "paper_bleu", "bertscore_f1")}
    return {name: float(value) for name, value in values.items() if value is not None}
