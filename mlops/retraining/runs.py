"""What `mlops.retraining.retrain` asks of the registry and of ZenML."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlops.registry.aliases import settled_history
from mlops.registry.registration import RUN_KEY_TAG
from mlops.registry.versions import all_versions, connected, stored, version_numbers
from mlops.retraining.training_facts import facts_of_version
from mlops.retraining.triggers import ChampionFacts
from r2d.config.model import REGISTERED
from r2d.config.run import RunConfig
from r2d.errors import RegistryError, TrainingError

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 10.0


def champion_facts(name: str) -> ChampionFacts | None:
    """What the champion of a model was made of; None where there is no champion.

    Raises:
        RegistryError: the registry does not answer, or the champion or its files were removed from it.
    """
    with connected(f"looking for the champion of {name!r}") as client:
        versions = version_numbers(client, name)
        number = settled_history(client, name).champion if versions else None
        if number is None:
            return None
        if number not in versions:
            raise RegistryError(
                f"{name}: its champion, version {number}, was removed from the registry; go back to the one before "
                f"it with `r2d rollback {name} --reason ...`"
            )
        found = client.get_model_version(name, number)
        origin, config = (stored(found, file).read_text(encoding="utf-8") for file in ("origin", "config"))
    made_of = json.loads(origin)
    return ChampionFacts(
        reference=f"{name}/{number}",
        made_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        model_sha256=made_of["model_sha256"],
        facts=facts_of_version(yaml.safe_load(config)["parameters"]["config"], made_of),
    )


def version_made_by(name: str, run_key: str) -> str | None:
    """The newest version that a run of this key has made, as `name/version`; None where there is none."""
    with connected(f"looking for versions of {name!r}") as client:
        same = all_versions(client, f"name = '{name}' and tags.`{RUN_KEY_TAG}` = '{run_key}'")
    number = max((int(one.version) for one in same), default=None)
    return None if number is None else f"{name}/{number}"


def warm(run: RunConfig, champion: ChampionFacts) -> RunConfig:
    """`run`, starting from the champion of its model."""
    start = {"name": f"{REGISTERED}{champion.reference}", "revision": None}
    return run.model_copy(update={"model": run.model.model_copy(update=start)})


def run_to_the_end(pipeline: Any, config_path: Path) -> PipelineRunResponse:
    """Start a pipeline, wait for its end, and return the run.

    On a cluster the client gets no error of a run that failed, so its status is what counts; on the local stack ZenML
    has written the error of each step to the log, and raises one that names the steps.

    Raises:
        TrainingError: the run failed, or was stopped; names the steps.
    """
    from zenml.client import Client

    try:
        started = pipeline.with_options(config_path=str(config_path))()
    except RuntimeError as error:
        raise TrainingError(f"{error}. Mend what the log above says, then start the same command again") from error
    if started is None:
        raise TrainingError("ZenML started no run; look at the stack with `zenml stack describe`")
    while not (run := Client().get_pipeline_run(started.id)).status.is_finished:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if not run.status.is_successful:
        bad = [name for name, step in run.steps.items() if not step.status.is_successful]
        raise TrainingError(
            f"the run {run.name} ended as {run.status.value}; steps that did not succeed: "
            f"{', '.join(bad) or 'none began'}. Read their logs in the dashboard, then start the same command again"
        )
    return run


def outcome_of(run: PipelineRunResponse) -> tuple[dict[str, Any], dict[str, str]]:
    """What was registered, and the pages of the run: file name -> HTML."""

    def output(step: str, name: str) -> Any:
        return run.steps[step].outputs[name][0].load()

    pages = {
        "report.html": str(output("evaluate", "r2d_evaluation_report")),
        "gate.html": str(output("register_model", "r2d_gate_page")),
    }
    return output("register_model", "r2d_registration"), pages
