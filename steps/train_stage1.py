"""Stage 1: rationale foundation."""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
from PIL.Image import Image
from zenml import log_metadata, step

from mlops.registry.versions import start_folder
from mlops.tracking import tracked
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import Stage1Config
from r2d.data.examples import content_hash
from r2d.training.work import StageWork
from steps.cache import by_code
from steps.materializers import ModelFolderMaterializer
from steps.private import private
from steps.work_dir import stage_work_dir


@step(cache_policy=by_code(__name__), output_materializers={"r2d_stage1_model": ModelFolderMaterializer})
@private
def train_stage1(
    examples: pa.Table, stage1: Stage1Config, model: ModelConfig, labels: LabelsConfig
) -> tuple[Annotated[Path, "r2d_stage1_model"], Annotated[Image, "r2d_stage1_curves"]]:
    """The weights of the lowest validation loss, and the curves of the run."""
    # Not at the top: torch and transformers would double the time that the client takes to import the pipeline.
    from r2d.training.curves import training_curves
    from r2d.training.stage1 import train_stage1 as train

    folder = stage_work_dir("train_stage1", stage1, content_hash(examples), model, labels)
    with tracked("train_stage1", stage1.model_dump() | {"model": model.name}) as on_log:
        work = StageWork(
            examples=examples,
            config=stage1,
            model=model,
            labels=labels,
            work_dir=folder,
            start_folder=start_folder(model),
        )
        result = train(work, on_log)
    log_metadata(result.summary() | {"start_model": model.name, "start_revision": model.revision or ""})
    return result.model_folder, training_curves(result.history, title="Stage 1", selected_step=result.selected_step)
