"""A pipeline of the registration alone, over files that lie beside it; its story is written to `story.json`."""

import json
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from zenml import pipeline, step
from zenml.client import Client
from zenml.types import HTMLString

from r2d.config.loading import parse_config
from r2d.data.examples import split_of
from r2d.evaluation.predictions import predictions_table
from r2d.evaluation.rationale_sections import SCORES_OF_ROWS
from r2d.modeling.predictor import Decision
from steps.materializers import ModelFolderMaterializer, TableMaterializer
from steps.register_model import register_model

HERE = Path(__file__).resolve().parent


@step(
    output_materializers={
        "model": ModelFolderMaterializer, "predictions": TableMaterializer, "examples": TableMaterializer,
        "provenance": TableMaterializer,
    }
)  # fmt: skip
def made(
    consistency: float,
) -> tuple[
    Annotated[Path, "model"],
    Annotated[dict[str, Any], "metrics"],
    Annotated[HTMLString, "report"],
    Annotated[pa.Table, "predictions"],
    Annotated[pa.Table, "examples"],
    Annotated[pa.Table, "provenance"],
]:
    """What training and evaluation would have left."""
    metrics = json.loads((HERE / "metrics.json").read_text(encoding="utf-8"))
    metrics["alignment"]["consistency"] = consistency
    tables = [pq.read_table(HERE / f"{name}.parquet") for name in ("examples", "provenance")]
    test = split_of(tables[0], "test")
    predictions = predictions_table(
        test,
        [Decision(label, True, {label: 1.0}, "so it is") for label in test["label"].to_pylist()],
        None,
        [[]] * len(test),
        {name: [None] * len(test) for name in SCORES_OF_ROWS},
    )
    return HERE / "model", metrics, HTMLString("<p>report</p>"), predictions, *tables


@pipeline(name="registering", enable_cache=False)
def registering(consistency: float) -> None:
    run = parse_config(json.loads((HERE / "config.json").read_text(encoding="utf-8")))
    model, metrics, report, predictions, examples, provenance = made(consistency)
    register_model(model, metrics, report, predictions, examples, provenance, run, "d" * 64, {}, "key")


def told() -> dict[str, Any]:
    """What ZenML and MLflow say of each other's versions."""
    registered = {str(one.version): one for one in MlflowClient().search_model_versions("name = 'triage'")}
    found = {}
    for listed in Client().list_model_versions("triage"):
        one, other = Client().get_model_version("triage", int(listed.number)), registered[listed.name]
        found[listed.name] = {
            "number": one.number,
            "uri": one.run_metadata.get("mlflow_uri"),
            "names_its_run": one.run_metadata.get("mlflow_run_id") == other.run_id,
            "is_named_back": other.tags.get("zenml.id") == str(one.id),
            "artifacts": len(one.data_artifact_ids) + len(one.model_artifact_ids),
            "runs": len(one.pipeline_run_ids),
        }
    return found


if __name__ == "__main__":
    registering(0.8)
    outputs = Client().list_pipeline_runs(size=1).items[0].steps["register_model"].outputs
    story = {"shown": {name: [str(v.type) for v in one.visualizations or []] for name, (one, *_) in outputs.items()}}
    story["first"] = told()
    registering(0.8)
    story["repeated"] = told()
    MlflowClient().create_model_version("triage", "elsewhere:/model")
    registering(0.7)
    story["third"] = told()
    (HERE / "story.json").write_text(json.dumps(story), encoding="utf-8")
