"""A toy task and a tiny model, shared by the tests of modeling and training."""

from __future__ import annotations

import gc
import logging
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from hypothesis import settings

import tests.unsynced  # noqa: F401
from mlops.door import OneConsole
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.training import Stage1Config, Stage2Config, StageConfig
from r2d.data.examples import Example, to_table
from r2d.training.work import StageWork

# Quiet, offline and the same on every machine: sums differ in their last bits with the number of threads.
for name, value in {
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_AUTO_OPEN_DASHBOARD": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_COLOR": "1",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "COLUMNS": "200",
}.items():
    os.environ[name] = value

settings.register_profile("any machine", deadline=None)  # that one is slow is no fault of the code
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes of the suite read ZenML's `.zen/config.yaml` one after the other: reading writes it anew, and
    another finds it empty meanwhile. And look for no garbage while the tests are imported."""
    gc.disable()
    if hasattr(config, "workerinput"):
        from zenml.client import Client

        with FileLock(Path(tempfile.gettempdir()) / f"r2d-tests-{os.getuid()}.lock"):
            Client()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole pipelines first, then trainings: left for the end, one of two processes would work on them alone."""
    items.sort(key=lambda item: {"pipelines": 0, "training": 1}.get(item.path.parent.name, 2))


def pytest_collection_finish() -> None:
    """Keep all that was imported out of the sight of the garbage collector: accelerate looks through everything before
    each training."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def console_ends_with_the_test() -> Iterator[None]:
    """Take away the console of a command that ran in this process: it would write in later tests too."""
    yield
    for handler in logging.root.handlers[:]:
        if isinstance(handler, OneConsole):
            logging.root.removeHandler(handler)


SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not here: no folder {SHARED}")

TOY_LABELS = LabelsConfig(names=("emergency now", "self care"), ordered=True)
TOY_MODEL = ModelConfig(
    name="scratch",
    scratch=ScratchConfig(
        vocab_size=150, min_groups_per_word=1, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.1
    ),
    max_input_tokens=48,
    max_rationale_tokens=12,
    max_label_tokens=8,
)
"""A T5 of a few thousand parameters, with dropout, so that resuming has random numbers to get right."""


def toy_examples(num_rows: int = 120, seed: int = 0) -> pa.Table:
    """Notes whose label hangs on one negation; one row in ten has no rationale."""
    generator = random.Random(seed)
    rows = []
    for number in range(num_rows):
        finding = generator.choice(["chest pain", "fever", "cough", "rash"])
        absent = generator.random() < 0.5
        text = f"pt {'denies' if absent else 'reports'} {finding} for {generator.randint(1, 9)} days"
        rows.append(
            Example(
                id=f"toy-{number:03d}",
                text=text,
                label="self care" if absent else "emergency now",
                rationale="" if number % 10 == 9 else f"{finding} is {'absent' if absent else 'present'}",
                rationale_source="" if number % 10 == 9 else "llm",
                split=("train", "train", "train", "validation", "test")[number % 5],
            )
        )
    return to_table(rows)


def toy_work(work_dir: Path, config: StageConfig, **rest: Any) -> StageWork[Any]:
    """The work of a stage on the toy task."""
    toy = {"examples": toy_examples(), "model": TOY_MODEL, "labels": TOY_LABELS}
    return StageWork(**toy | {"config": config, "work_dir": work_dir} | rest)


def changed(work: StageWork[Any], **values: Any) -> StageWork[Any]:
    """The work with other values in its config."""
    return replace(work, config=work.config.model_copy(update=values))


@pytest.fixture(scope="session")
def examples() -> pa.Table:
    return toy_examples()


@pytest.fixture(scope="session")
def labels() -> LabelsConfig:
    return TOY_LABELS


@pytest.fixture(scope="session")
def model_config() -> ModelConfig:
    return TOY_MODEL


@pytest.fixture(scope="session")
def stage1_config() -> Stage1Config:
    return Stage1Config(max_steps=12, eval_every_steps=4, save_every_steps=4, learning_rate=5e-3, batch_size=8)


@pytest.fixture(scope="session")
def stage2_config() -> Stage2Config:
    return Stage2Config(
        max_steps=20, eval_every_steps=4, save_every_steps=5, learning_rate=5e-3, batch_size=8, precision="fp32",
        validation_rationales=4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def stage1_model(stage1_config: Stage1Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a short Stage 1."""
    from r2d.training.stage1 import train_stage1

    return train_stage1(toy_work(tmp_path_factory.mktemp("stage1"), stage1_config)).model_folder


@pytest.fixture(scope="session")
def stage2_model(stage1_model: Path, stage2_config: Stage2Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a short Stage 2."""
    from r2d.training.stage2 import train_stage2

    work = toy_work(tmp_path_factory.mktemp("stage2"), stage2_config, stage1_model=stage1_model)
    return train_stage2(work).model_folder


@pytest.fixture
def stage1_work(stage1_config: Stage1Config, tmp_path: Path) -> StageWork[Stage1Config]:
    """A short Stage 1."""
    return toy_work(tmp_path / "stage1", stage1_config)


@pytest.fixture
def work(stage1_model: Path, stage2_config: Stage2Config, tmp_path: Path) -> StageWork[Stage2Config]:
    """A short Stage 2."""
    return toy_work(tmp_path / "work", stage2_config, stage1_model=stage1_model)
