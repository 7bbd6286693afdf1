"""The papers' methods beside each other: each is trained and evaluated over the steps of the main job, none registered.

zenml pipeline run pipelines.comparison                                    # configs/comparison.yaml
zenml pipeline run pipelines.comparison --config configs/comparison.yaml   # or any run with a section `comparison`
"""

from pathlib import Path
from typing import Any

from zenml import pipeline

from pipelines.training import rationalised_examples, validated_examples
from r2d.config import load_config, parse_config
from r2d.config.comparison import variants
from steps.compare import compare
from steps.evaluate import evaluate
from steps.model_registry import with_pinned_start
from steps.train_stage1 import train_stage1
from steps.train_stage2 import train_stage2

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "comparison.yaml"


@pipeline(name="reason2decide_comparison")
def comparison(config: dict[str, Any] | None = None) -> None:
    """Methods x rationale sources x seeds as a DAG. What variants share is one step; the rest has the variant's name.

    Args:
        config: the sections of `r2d.config.RunConfig`, `comparison` among them; by default `configs/comparison.yaml`.
    """
    base = load_config(DEFAULT) if config is None else parse_config(config)
    base = with_pinned_start(base)
    labels, models = base.data.labels, list(variants(base))

    valid_examples, quarantined = validated_examples(base)
    rationalised: dict[str, Any] = {}
    stage1_models: dict[str, Any] = {}
    metrics = []
    for model in models:
        run = model.run
        if model.data_id not in rationalised:
            rationalised[model.data_id] = rationalised_examples(
                run, valid_examples, quarantined, id=f"ingest_rationales{model.data_id}"
            )
        stage1_examples, stage2_examples, _ = rationalised[model.data_id]
        if run.method.has_stage1 and model.stage1_id not in stage1_models:
            stage1_models[model.stage1_id], _ = train_stage1(
                stage1_examples, run.stage1, run.model, labels, id=f"train_stage1{model.stage1_id}"
            )
        stage1_model = stage1_models[model.stage1_id] if run.method.has_stage1 else None
        stage2_model, _ = train_stage2(
            stage2_examples, stage1_model, run.stage2, run.method, run.model, labels, id=f"train_stage2{model.id}"
        )
        measured, *_ = evaluate(stage2_examples, stage2_model, run.evaluation, run.data, id=f"evaluate{model.id}")
        metrics.append(measured)
    compare(metrics, [model.name for model in models], [model.seed for model in models])
