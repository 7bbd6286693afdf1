"""Stage 2: joint training, by the configured method."""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
from PIL.Image import Image
from zenml import log_metadata, step

from mlops.registry.versions import start_folder
from mlops.tracking import tracked
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import content_hash
from r2d.modeling.manifest import model_hash
from r2d.training.work import StageWork
from steps.cache import by_code
from steps.materializers import ModelFolderMaterializer
from steps.private import private
from steps.work_dir import stage_work_dir


@step(cache_policy=by_code(__name__), output_materializers={"r2d_stage2_model": ModelFolderMaterializer})
@private
def train_stage2(
    examples: pa.Table,
    stage1_model: Path | None,
    stage2: Stage2Config,
    method: MethodConfig,
    model: ModelConfig,
    labels: LabelsConfig,
) -> tuple[Annotated[Path, "r2d_stage2_model"], Annotated[Image, "r2d_stage2_curves"]]:
    """The weights of the best armed validation macro-F1, and the curves and schedule actually used."""
    # Not at the top: torch and transformers would double the time that the client takes to import the pipeline.
    from r2d.training.curves import training_curves
    from r2d.training.stage2 import train_stage2 as train

    start = "" if stage1_model is None else model_hash(stage1_model)
    folder = stage_work_dir("train_stage2", stage2, content_hash(examples), start, method, model, labels)
    with tracked("train_stage2", stage2.model_dump() | {"model": model.name, "method": method.name}) as on_log:
        work = StageWork(
            examples=examples,
            config=stage2,
            model=model,
            labels=labels,
            work_dir=folder,
            method=method,
            stage1_model=stage1_model,
            start_folder=None if stage1_model else start_folder(model),
        )
        result = train(work, on_log)
    started = ("r2d_stage1_model", start) if stage1_model else (model.name, model.revision or "")
    log_metadata(result.summary() | dict(zip(("start_model", "start_revision"), started, strict=True)))
    curves = training_curves(
        result.history,
        title="Stage 2",
        selected_step=result.selected_step,
        armed_from_step=round(result.armed_from_step),
    )
    return result.model_folder, curves
