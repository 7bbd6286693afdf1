"""The papers' methods beside each other: each is trained and evaluated over the steps of the main job, none registered.

zenml pipeline run pipelines.comparison                                    # configs/comparison.yaml
zenml pipeline run pipelines.comparison --config configs/comparison.yaml   # or any run with a section `comparison`
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from zenml.steps.entrypoint_function_utils import StepArtifact

from mlops.registry.forgotten import without_forgotten
from mlops.registry.versions import pin_models
from pipelines.outcome import pipeline
from pipelines.training import validated_examples
from r2d.config.loading import load_config, parse_config
from r2d.data.fingerprint import files_fingerprint
from r2d.evaluation.comparison.variants import asked_facts, variants
from r2d.evaluation.comparison.zero_shot import asked_sources
from r2d.rationales.sources import source_files
from steps.compare import compare
from steps.evaluate import evaluate
from steps.ingest_rationales import ingest_rationales
from steps.measure_zero_shot import measure_zero_shot
from steps.train_stage1 import train_stage1
from steps.train_stage2 import train_stage2

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "comparison.yaml"


@pipeline("reason2decide_comparison")
def comparison(config: dict[str, Any] | None = None) -> None:
    """Methods x rationale sources x seeds as a DAG. What variants share is one step; the rest has the variant's name.

    Args:
        config: the sections of `r2d.config.RunConfig`, `comparison` among them; by default `configs/comparison.yaml`.
    """
    base = load_config(DEFAULT) if config is None else parse_config(config)
    base = without_forgotten(pin_models(base))
    labels, models, asked = base.data.labels, list(variants(base)), asked_sources(base)

    valid_examples, quarantined = validated_examples(base)
    fingerprint = files_fingerprint(source_files(base.rationales.sources))
    rationalised: dict[str, tuple[StepArtifact, ...]] = {}
    stage1_models: dict[str, StepArtifact] = {}
    metrics, predictions, facts = [], [], []
    for model in models:
        run = model.run
        if model.data_id not in rationalised:
            rationalised[model.data_id] = ingest_rationales(
                valid_examples,
                quarantined,
                run.rationales,
                run.data,
                run.validation.privacy,
                fingerprint,
                id=f"ingest_rationales{model.data_id}",
            )
        stage1_examples, stage2_examples, *_ = rationalised[model.data_id]
        if run.method.has_stage1 and model.stage1_id not in stage1_models:
            stage1_models[model.stage1_id], _ = train_stage1(
                stage1_examples, run.stage1, run.model, labels, id=f"train_stage1{model.stage1_id}"
            )
        stage1_model = stage1_models[model.stage1_id] if run.method.has_stage1 else None
        stage2_model, _ = train_stage2(
            stage2_examples, stage1_model, run.stage2, run.method, run.model, labels, id=f"train_stage2{model.id}"
        )
        measured, rows, *_ = evaluate(
            stage2_examples, stage2_model, run.evaluation, run.data, run.validation.privacy,
            evaluation_files=files_fingerprint(run.evaluation.files()), judge_remarks=run.judge_remarks(),
            id=f"evaluate{model.id}",
        )  # fmt: skip
        metrics.append(measured)
        predictions.append(rows)
        facts.append(asdict(model.facts))
    for source, num_examples in asked.items():
        _, stage2_examples, provenance, rejected, *_ = rationalised[models[0].data_id]
        measured, rows = measure_zero_shot(
            stage2_examples, provenance, rejected, source, num_examples, base.evaluation, base.data,
            id="measure_few_shot" if num_examples else "measure_zero_shot",
        )  # fmt: skip
        metrics.append(measured)
        predictions.append(rows)
        facts.append(asdict(asked_facts(source, num_examples, models[0])))
    compare(metrics, predictions, facts, labels, base.evaluation.intervals)
