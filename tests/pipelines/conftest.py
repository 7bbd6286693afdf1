"""Copies of the project with a ZenML and an MLflow of their own, in which the literal commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import yaml

from tests import warm

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PARTS = ("r2d", "steps", "pipelines", "mlops", "configs", "reason2decide.py")


@dataclass(frozen=True)
class Run:
    """A pipeline run by its command: what it printed, and which steps ran."""

    output: str
    returncode: int = 0
    name: str = ""
    """Of the run in ZenML, where `Workplace.named` has asked for it."""

    @property
    def executed(self) -> list[str]:
        return re.findall(r"Step `?(\w+)`? has started", self.output)

    @property
    def cached(self) -> list[str]:
        return re.findall(r"Using cached version of step `?(\w+)`?\.", self.output)


def run_named(run: Run) -> str:
    """Program text that finds a run in ZenML."""
    return f"from zenml.client import Client\nrun = Client().get_pipeline_run('{run.name}')\n"


class Workplace:
    """A folder with the project's sources, where `zenml` and `r2d` run as a user would run them.

    Args:
        warm: run each command in a fork of a process that has imported the libraries already (`warm.py`).
        databases: a home of ZenML to copy, where nothing has run yet; without it the first command makes one.
    """

    def __init__(self, folder: Path, *, warm: bool = False, databases: Path | None = None) -> None:
        self.folder, self.warm = folder / "project", warm
        self.environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "ZENML_CONFIG_PATH": str(folder / "zenml"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "MPLCONFIGDIR": matplotlib.get_cachedir(),  # finding all fonts anew takes seconds
        }
        for left_by_other_tests in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            self.environment.pop(left_by_other_tests, None)
        self.folder.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, self.folder / part)  # its bytecode too, else each copy is compiled anew
            else:
                shutil.copy(source, self.folder / part)
        if databases is not None:
            shutil.copytree(databases, folder / "zenml")
            config = folder / "zenml" / "config.yaml"
            config.write_text(config.read_text(encoding="utf-8").replace(str(databases), str(folder / "zenml")))
        # ZenML takes the folder with `.zen` as the root of the sources; `make setup` does the same.
        (self.folder / ".zen").mkdir()

    def python(self, program: str, *, anew: bool = False) -> Any:
        """What a Python program of a few lines leaves in `answer`."""
        done = self.type("python", "-c", f"import json\n{program}\nprint(json.dumps(answer))", anew=anew)
        return json.loads(done.stdout.splitlines()[-1])

    def type(
        self, *command: str, check: bool = True, stdin: str = "", anew: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `.venv/bin`.

        Args:
            check: fail where the command does.
            anew: in a process of its own also where the workplace is warm.
        """
        words = [str(BIN / command[0]), *command[1:]]
        if anew or not self.warm:
            done = subprocess.run(
                words, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, text=True, check=False
            )
        else:
            done = warm.run(words, cwd=self.folder, environment=self.environment, stdin=stdin)
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def write_config(self, name: str, config: dict[str, Any], **zenml: Any) -> str:
        """Write a run configuration, with other settings of ZenML, and return its path."""
        path = self.folder / name
        path.write_text(yaml.safe_dump({**zenml, "parameters": {"config": config}}), encoding="utf-8")
        return str(path)

    def run(
        self, config: dict[str, Any], *, pipeline: str = "reason2decide", check: bool = True, anew: bool = False
    ) -> Run:
        """`zenml pipeline run PIPELINE --config ...`"""
        path = self.write_config("run.yaml", config)
        done = self.type("zenml", "pipeline", "run", pipeline, "--config", path, check=check, anew=anew)
        return Run(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr), done.returncode)

    def named(self, run: Run) -> Run:
        """The last run with its name in ZenML."""
        last = "Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]"
        return replace(run, name=self.python(f"from zenml.client import Client\nanswer = {last}.name"))

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """The file with other text, until the context ends."""
        path = self.folder / file
        content = path.read_text(encoding="utf-8")
        assert old in content, f"{file} no longer holds {old!r}"
        path.write_text(content.replace(old, new, 1), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(content, encoding="utf-8")

    def write_csv(self, name: str, num_rows: int = 120) -> Path:
        """The toy task as a user's CSV."""
        import pandas as pd

        from tests.conftest import toy_examples

        rows = toy_examples(num_rows).select(["id", "text", "label", "rationale", "split"]).to_pandas()
        path = self.folder / name
        rows.to_csv(path, index=False)
        assert len(pd.read_csv(path)) == num_rows
        return path


@pytest.fixture(scope="session")
def tiny_config() -> dict[str, Any]:
    """A complete run on a user's CSV that takes seconds."""
    return {
        "data": {
            "format": "csv",
            "path": "notes.csv",
            "labels": {"names": ["emergency now", "self care"], "ordered": True},
            "columns": {"split": "split", "rationales": {"llm": "rationale"}},
        },
        "rationales": {"stage1_source": "llm"},
        # Notes of six words repeat themselves, in all splits.
        "validation": {"severities": {"text_across_splits": "warn"}},
        "evaluation": {"seen_rows": "allow"},
        "model": {
            "name": "scratch",
            "scratch": {
                "vocab_size": 150,
                "min_groups_per_word": 1,
                "d_model": 32,
                "d_kv": 8,
                "d_ff": 64,
                "num_layers": 1,
                "num_heads": 2,
            },
            "max_input_tokens": 48,
            "max_rationale_tokens": 12,
            "max_label_tokens": 8,
        },
        "stage1": {"max_steps": 6, "eval_every_steps": 3, "learning_rate": 5e-3, "batch_size": 8},
        "stage2": {
            "max_steps": 10,
            "eval_every_steps": 5,
            "learning_rate": 5e-3,
            "batch_size": 8,
            "precision": "fp32",
            "validation_rationales": 4,
        },
        "registration": {
            "model_name": "toy-triage",
            "gate": {"rules": [{"rule": "better_than_baseline", "baseline": "simple", "by": "value"}]},
        },
    }


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of ZenML, with MLflow's file beside it, where nothing has run: making the tables takes seconds."""
    place = Workplace(tmp_path_factory.mktemp("databases"), warm=True)
    place.python(
        "from mlops.registry.versions import registry_client\n"
        "with registry_client('looking') as client:\n    answer = len(client.search_registered_models())"
    )
    return Path(place.environment["ZENML_CONFIG_PATH"])


@pytest.fixture(scope="package")
def workplace(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Workplace:
    """One for all modules that leave it as they found it: they register models under names of their own, and take back
    what they edit."""
    place = Workplace(tmp_path_factory.mktemp("workplace"), warm=True, databases=databases)
    place.write_csv("notes.csv")
    return place


@pytest.fixture(scope="package")
def first_run(workplace: Workplace, tiny_config: dict[str, Any]) -> Run:
    """The first run of the main job, which registers version 1 of `toy-triage`.

    Every test that runs on the same rows asks for it, so that nothing of it comes from the cache.
    """
    return workplace.named(workplace.run(tiny_config))
