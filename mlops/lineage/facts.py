"""Where registered versions come from: what lies with them, their MLflow runs, and the ZenML run that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import pyarrow.parquet as pq

from mlops.lineage.zenml_lineage import NotReachableError, artifact_of, pipeline_run_facts
from mlops.registry.aliases import DECISION_FILE
from mlops.registry.package import CARD, CONFIG, METRICS, ORIGIN, PROVENANCE
from mlops.registry.versions import (
    Reference,
    aliases_of,
    find_version,
    registered_file,
    registry_client,
    require_model,
    search_versions,
    version_numbers,
)
from mlops.tracking import ZENML_RUN_TAG
from r2d.config.gate import HISTORY_SUFFIX
from r2d.config.model import REGISTERED
from r2d.errors import DataError, RegistryError
from r2d.evaluation.metrics import Metrics
from r2d.lineage.facts import compared_of, figures_of, rationales_of
from r2d.lineage.rows import row_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = (CONFIG, METRICS, ORIGIN, CARD, PROVENANCE)
Found = TypeVar("Found")


def lineage_facts(reference: str) -> dict[str, Any]:
    """Where a version comes from; see the keys below.

    Raises:
        RegistryError: there is no such version, its files are missing, or the registry does not answer.
    """
    with registry_client(f"reading the lineage of {reference!r}") as client:
        version = _version(client, reference)
        paths = {name: registered_file(version, Path(name).stem) for name in FILES}
        config, origin = _config(paths[CONFIG]), _json(paths[ORIGIN])
        metrics = Metrics.from_json(_json(paths[METRICS]))
        missing: list[str] = []
        run = _or_why_not(lambda: pipeline_run_facts(_pipeline_run_of(version)), missing)
        result = None if run is None else _or_why_not(lambda: artifact_of(run, "r2d_data_result"), missing)
        return {
            "name": version.name,
            "version": str(version.version),
            "aliases": list(aliases_of(client, version.name, version.version)),
            "registered_at": _time(version.creation_timestamp),
            "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()},
            "config": config,
            "origin": origin,
            "num_test_rows": metrics.num_rows,
            "figures": figures_of(metrics),
            "compared": compared_of(metrics),
            "rationales": rationales_of(pq.read_table(paths[PROVENANCE]), config),
            "gate": _or_why_not(lambda: _gate(version), missing),
            "mlflow_runs": _mlflow_runs(client, version, run),
            "pipeline_run": run,
            "data_result": result,
            "not_reachable": missing,
        }


def row_facts(row_id: str, reference: str | None) -> list[dict[str, Any]]:
    """The versions that saw a row; see the keys below.

    Raises:
        DataError: no version saw it.
        RegistryError: there is no such model or version, files are missing, or the registry does not answer.
    """
    seen, unasked = [], 0
    with registry_client(f"looking for row {row_id!r}") as client:
        versions = _versions(client, reference)
        for version in versions:
            found = _row(client, version, row_id)
            unasked += found["not_reachable"] is not None
            if "split" in found:
                seen.append(found)
    if not seen:
        among = f"{len(versions)} versions of {reference or 'all models'}"
        blind = f"; {unasked} of them know only rows with a rationale, as their pipeline run cannot be asked"
        raise DataError(
            f"row {row_id!r} is in none of the {among}{blind if unasked else ''}. Give an id as it stands in the id "
            "column of the data, or in the examples.parquet that `r2d validate` writes"
        )
    return seen


def _row(client: MlflowClient, version: Any, row_id: str) -> dict[str, Any]:
    """What a version knows of a row; without `split` where it did not see it."""
    missing: list[str] = []
    examples = _or_why_not(
        lambda: artifact_of(pipeline_run_facts(_pipeline_run_of(version)), "r2d_stage2_examples"), missing
    )
    found = row_of(
        row_id,
        provenance=pq.read_table(registered_file(version, Path(PROVENANCE).stem)),
        config=_config(registered_file(version, Path(CONFIG).stem)),
        examples=examples,
    )
    return {
        "name": version.name,
        "version": str(version.version),
        "aliases": list(aliases_of(client, version.name, version.version)),
        "data_sha256": _json(registered_file(version, Path(ORIGIN).stem))["data_sha256"],
        "not_reachable": "; ".join(missing) or None,
        **(found or {}),
    }


def _versions(client: MlflowClient, reference: str | None) -> list[Any]:
    """One version, those of a model, or those of all models; the oldest first."""
    if reference is not None and any(sign in reference.removeprefix(REGISTERED) for sign in "@/"):
        return [_version(client, reference)]
    if reference is None:
        models = sorted({one.name for one in search_versions(client, "") if not one.name.endswith(HISTORY_SUFFIX)})
        if not models:
            raise RegistryError("no model is registered; train one with `make run`")
    else:
        models = [reference.removeprefix(REGISTERED)]
        require_model(client, models[0])
    return [client.get_model_version(name, number) for name in models for number in version_numbers(client, name)]


def _version(client: MlflowClient, text: str) -> Any:
    reference = Reference.parse(text)
    require_model(client, reference.name)
    return find_version(client, reference, f"Name one of them, as in {reference.name}/1")


def _gate(version: Any) -> dict[str, Any]:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        decision: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/{DECISION_FILE}")
    except (MlflowException, OSError) as error:
        raise NotReachableError(
            f"the decision of the gate, {DECISION_FILE} of MLflow run {version.run_id} ({type(error).__name__})"
        ) from error
    return decision


def _pipeline_run_of(version: Any) -> UUID:
    given = version.tags.get("zenml.pipeline_run")
    if given is None:
        raise NotReachableError("the pipeline run: the version names none, it was registered outside of a pipeline")
    return UUID(given)


def _or_why_not(ask: Callable[[], Found], missing: list[str]) -> Found | None:
    """What cannot be reached is None, and `missing` says so."""
    try:
        return ask()
    except NotReachableError as error:
        missing.append(str(error))
        return None


def _mlflow_runs(client: MlflowClient, version: Any, run: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Step -> ids of its MLflow runs, in the pipeline run in which it was not cached; the newest first."""
    own = client.get_run(version.run_id)
    experiment = own.info.experiment_id
    if run is None:
        parent = own.data.tags.get("mlflow.parentRunId")
        found = {} if parent is None else _children(client, experiment, parent)
    else:
        found, children = {}, {}
        for name, step in run["steps"].items():
            if step["pipeline_run"] not in children:
                condition = f"tags.`{ZENML_RUN_TAG}` = '{step['pipeline_run']}'"
                parents = client.search_runs([experiment], condition, max_results=1)
                children[step["pipeline_run"]] = (
                    _children(client, experiment, parents[0].info.run_id) if parents else {}
                )
            found[name] = children[step["pipeline_run"]].get(name, [])
    return {name: runs for name, runs in found.items() if runs} | {"register_model": [version.run_id]}


def _children(client: MlflowClient, experiment: str, parent: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"):
        found.setdefault(one.data.tags["mlflow.runName"], []).append(one.info.run_id)
    return found


def _config(path: Path) -> dict[str, Any]:
    import yaml

    sections: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["parameters"]["config"]
    return sections


def _json(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
