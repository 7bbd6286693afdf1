"""Train again where a declared trigger says so: the same DAG, gate and alias as the main job.

r2d retrain --config configs/kubernetes.yaml
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mlops.code import ROOT, model_code_hash
from mlops.registry import with_pinned_start
from mlops.retraining.result import RetrainingResult, read_drift, write_result
from mlops.retraining.runs import champion_facts, outcome_of, run_to_the_end, version_made_by, warm
from mlops.retraining.training_facts import count_rows, facts_of_run
from mlops.retraining.triggers import RetrainingDecision, data_changed, decide
from mlops.run_key import key_of
from r2d.config.jobs import RetrainingConfig
from r2d.config.loading import extended, parse_config, read_parameters
from r2d.config.run import RunConfig
from r2d.config.section import parse_section


def retrain(
    file: Path, *, force: str | None = None, dry_run: bool = False, out: Path | None = None
) -> RetrainingResult:
    """Decide, and train where the decision says so; the decision is in `out` before the run begins.

    Args:
        file: a run configuration; its section `retraining` declares the triggers.
        force: why to train whatever is found.
        out: folder for `decision.json`, `summary.md` and the pages of the run.

    Raises:
        ConfigError, DataError, RegistryError: nothing has started.
        TrainingError: the run did not succeed; no alias was moved by it.
    """
    values = dict(extended(read_parameters(file), str(file)))
    triggers = parse_section(RetrainingConfig, values.pop("retraining", None) or {}, where=f"{file}: retraining")
    decision, run = decision_on(parse_config(values, where=str(file)), triggers, force)
    result = RetrainingResult(decision)
    write_result(result, out)
    if decision.train and not dry_run:
        values["model"] = {**values.get("model", {}), "name": run.model.name, "revision": run.model.revision}
        result = trained(decision, file, values)
        write_result(result, out)
    return result


def decision_on(run: RunConfig, triggers: RetrainingConfig, force: str | None) -> tuple[RetrainingDecision, RunConfig]:
    """Whether to train, and the run that it would be."""
    name = run.registration.model_name
    champion = champion_facts(name)
    if triggers.warm_start and champion is not None:
        run = warm(run, champion)
    now = facts_of_run(run, code_root=ROOT, code_sha256=model_code_hash())
    if triggers.min_new_rows and champion is not None and data_changed(now, champion.facts):
        now = replace(now, num_rows=count_rows(run))
    decision = decide(
        triggers,
        now,
        champion,
        time=datetime.now(UTC),
        drift=read_drift(triggers.drift),
        force=force,
        made_already=lambda: version_made_by(name, key_of(with_pinned_start(run))),
    )
    return decision, run


def trained(decision: RetrainingDecision, file: Path, values: dict[str, Any]) -> RetrainingResult:
    """Run the main job under the settings of that file, and wait for what comes of it."""
    from pipelines.training import reason2decide  # its steps bring PyTorch along, which no decision needs

    with TemporaryDirectory() as folder:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = Path(folder) / file.name
        config.write_text(yaml.safe_dump({**content, "parameters": {"config": values}}), encoding="utf-8")
        return RetrainingResult(decision, *outcome_of(run_to_the_end(reason2decide, config)))
