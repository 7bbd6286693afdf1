"""What the pages of a step or a command are made from: the run's data, the code, the day, and the model where there is
one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops.code import ROOT, code_state
from mlops.registry.looks import weights_hash
from mlops.registry.versions import WEIGHTS_TAG, Reference, find_version, registry_client
from r2d.reports.origin import PageOrigin

BEFORE_TRAINING = "none: this page is made before training"
NO_VERSION = "none, as there is no model yet"
REGISTERED_LATER = "numbered after this page was made; the page of the gate names it"
NEVER_REGISTERED = "none: this run compares models and registers none"


def origin_now(**facts: Any) -> PageOrigin:
    """A page made today by this code, with further facts of `PageOrigin`."""
    commit, is_dirty = code_state(ROOT)
    today = datetime.now(UTC).date().isoformat()
    return replace(PageOrigin(made_on=today, code_commit=commit, code_dirty=bool(is_dirty)), **facts)


def before_training() -> PageOrigin:
    """Of a page about data or rationales."""
    return origin_now(model=BEFORE_TRAINING, version=NO_VERSION, data_sha256=data_of_run())


def of_folder(folder: Path, model: str, version: str) -> PageOrigin:
    """Of a page about a model that is in no registry, or not yet.

    Args:
        version: its number, or why it has none.
    """
    return origin_now(model=model, version=version, weights_sha256=weights_hash(folder), data_sha256=data_of_run())


def of_reference(reference: str) -> PageOrigin:
    """Of a page about the model of a `name/version`, a `name@alias` or a folder."""
    if Path(reference).is_dir():
        return of_folder(Path(reference), "a folder", "not asked of a registry")
    with registry_client(f"looking for model {reference!r}") as client:
        return of_version(find_version(client, Reference.parse(reference), "Name a version, as in NAME/1"))


def of_version(version: Any) -> PageOrigin:
    """Of a page about a registered version: the data and the code that it was trained with."""
    commit = version.tags.get("r2d.code_commit", "null")  # JSON of what is no text
    return replace(
        origin_now(model=version.name, version=str(version.version)),
        weights_sha256=version.tags.get(WEIGHTS_TAG),
        data_sha256=version.tags.get("r2d.data_sha256"),
        code_commit=None if commit == "null" else commit,
        code_dirty=version.tags.get("r2d.code_dirty") == "true",
    )


def data_of_run() -> str | None:
    """The fingerprint of the data that the pipeline run around the caller has read; None outside of a step, and where
    the run reads none."""
    return _reading().get("data_fingerprint")


def reads_invented_calls() -> bool:
    """Whether that run reads invented texts, no real patients."""
    return _reading().get("data", {}).get("format") == "synthetic_triage"


def _reading() -> dict[str, Any]:
    """Parameters of the step that has read the data of the run around the caller; empty where there is none."""
    from zenml import get_step_context

    try:
        step = get_step_context().pipeline_run.steps.get("load_examples")
    except RuntimeError:
        return {}
    return {} if step is None else dict(step.config.parameters)
