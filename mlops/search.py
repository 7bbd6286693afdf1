"""`r2d search`: trains a model for each trial of a search, measures it on the validation rows, and writes the winner.

A trial is a pipeline run: what it shares with others comes from the cache, and a killed training goes on from its
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import yaml

from mlops.dead_runs import Process
from mlops.page_origin import origin_now
from mlops.registry.forgotten import without_forgotten
from mlops.registry.versions import pin_models
from mlops.retraining import finished_run
from mlops.run_record import RunRecord
from r2d.config.loading import extended, parse_config, read_parameters
from r2d.errors import ConfigError, DivergedError, R2DError
from r2d.files import write_text
from r2d.reports.origin import pages_of
from r2d.search import Search, Trial, with_values

BEST_FILE, PAGE_FILE = "best.yaml", "trials.html"


def search(file: Path, out: Path, on_end: Callable[[Trial], None]) -> Search:
    """Run the trials that are still to do, and return the search.

    `out` then holds the journal, the table of trials as a page and, where a trial keeps the bound, the winner's run
    configuration.

    Args:
        file: a run configuration with a section `search`.
        on_end: receives each trial when it has ended.

    Raises:
        ConfigError, DataError, RegistryError: nothing has started.
        R2DError: a run failed for another reason than its values; the same command goes on with them.
    """
    from pipelines.search import search_trial

    values = dict(extended(read_parameters(file), str(file)))
    run = parse_config(values, where=str(file))
    config = run.require_search()
    pinned = without_forgotten(pin_models(run))
    record = RunRecord.of(pinned)
    facts = [record.key, config.model_dump(mode="json", exclude={"num_trials"})]
    trials = Search(out, run, hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest())
    del values["search"]
    if "model.name" not in config.space:
        start = pinned.model.model_dump(include={"name", "revision"}, exclude_none=True)
        values = with_values(values, {f"model.{name}": value for name, value in start.items()})
    this = Process.this()
    while (trial := trials.begin(this.to_text() if this else "", _is_gone)) is not None:
        changed, name = with_values(values, trial.values), f"search-trial-{trial.number}-{uuid4().hex[:8]}"
        try:
            parse_config(changed, where=f"trial {trial.number}")
            ended = finished_run(search_trial, file, changed, run_name=name)
        except ConfigError as error:
            trial = trials.failed(" ".join(str(error).split()))
        except R2DError:
            if (diverged := _divergence(name)) is None:
                raise
            trial = trials.failed(diverged)
        else:
            trial = trials.measured(ended.steps["measure_validation"].outputs["r2d_validation_scores"][0].load())
        on_end(trial)
        _write_page(trials, out, record)
    _write_page(trials, out, record)
    if (best := trials.best()) is not None:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content["parameters"] = {"config": with_values(values, best.values)}
        num_measured = sum(one.outcome == "measured" for one in trials.trials())
        heading = (
            f"# Trial {best.number} of r2d search, the best of {num_measured} ({best.figures}).\n"
            "# These figures chose it, so they are too good: what it is worth, a run says on the test rows.\n"
        )
        write_text(out / BEST_FILE, heading + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return trials


def _write_page(trials: Search, out: Path, record: RunRecord) -> None:
    with pages_of(origin_now(model="one for each trial", version="none is registered", data_sha256=record.data_sha256)):
        write_text(out / PAGE_FILE, trials.page("Search of hyper-parameters"))


def _is_gone(process: str) -> bool:
    """A trial that names none was begun by a process that was killed in the same moment."""
    named = Process.of(process)
    return named is None or named.is_gone()


def _divergence(run_name: str) -> str | None:
    """What a run said whose loss was no number or exploded, without the rows; None where it failed otherwise."""
    from zenml.client import Client

    try:
        steps = Client().get_pipeline_run(run_name).steps.values()
    except KeyError:
        return None
    infos = [step.exception_info for step in steps if step.exception_info is not None]
    messages = [str(info.message) for info in infos if DivergedError.__name__ in info.traceback]
    return re.split(r"[,;] (?:on )?rows ", messages[0])[0] if messages else None
