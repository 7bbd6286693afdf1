"""Cache keys follow the code that a step's result depends on, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from zenml.utils import source_utils

import mlops.code
from mlops.code import (
    MODEL_STEPS,
    PRESENTATION,
    ROOT,
    WITHOUT_EFFECT,
    model_code_hash,
    module_file,
    source_files,
    step_code_hash,
)
from steps.cache import by_code


def names(step: str, *, with_pages: bool = False) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in source_files(f"steps.{step}", with_pages=with_pages)}


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code that may be edited."""
    for package in ("r2d", "steps"):
        shutil.copytree(ROOT / package, tmp_path / package)
    monkeypatch.setattr(mlops.code, "ROOT", tmp_path)
    return tmp_path


def hashes() -> dict[str, str]:
    return {step: step_code_hash(step) for step in MODEL_STEPS}


def test_a_step_depends_on_what_it_imports_directly_inside_functions_and_through_others() -> None:
    files = names("train_stage2")
    assert {"steps/train_stage2.py", "r2d/training/trainer.py", "r2d/training/stage2.py"} <= files
    assert {"r2d/training/methods.py", "r2d/modeling/decoding.py", "r2d/config/training.py"} <= files


def test_training_depends_on_its_own_sections_of_the_config_and_on_nothing_that_shows_stores_or_measures() -> None:
    sections = {name for name in names("train_stage1") if name.startswith("r2d/config/")}
    assert sections <= {
        f"r2d/config/{name}.py" for name in ("__init__", "data", "files", "model", "privacy", "training", "section")
    }
    files = names("train_stage1") | names("train_stage2")
    unwanted = ("r2d/evaluation", "r2d/reports", "r2d/gate", "r2d/llm", "mlops")
    assert not [name for name in files if name.startswith(unwanted)]
    assert not {"r2d/training/progress.py", "r2d/training/curves.py"} & files
    assert not any(name.startswith(("r2d/training", "r2d/modeling/pred")) for name in names("ingest_rationales"))


@pytest.mark.parametrize("name", [*WITHOUT_EFFECT, *PRESENTATION])
def test_every_module_that_is_left_out_of_the_keys_exists(name: str) -> None:
    assert module_file(name) is not None, "merged or renamed: its code would count again, under its new name"


def test_a_template_counts_where_pages_are_a_result() -> None:
    assert "r2d/evaluation/report.html.j2" in names("evaluate", with_pages=True)
    assert not any(name.endswith(".j2") for name in names("evaluate"))


def test_comments_docstrings_and_layout_do_not_count(copied: Path) -> None:
    before = hashes()
    for path in copied.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").replace('"""', '"""Reworded. ', 1)
        path.write_text(f"# a comment\n\n{lines}\n\n# and another\n", encoding="utf-8")
    assert hashes() == before


def test_code_and_data_count_for_the_steps_that_use_them_and_come_back_with_their_keys(copied: Path) -> None:
    before, of_model = hashes(), model_code_hash()
    for file, old, new, expected in (
        ("r2d/training/methods.py", "return 0.0", "return 0.1", {"train_stage2"}),
        ("r2d/training/stage1.py", 'num_tokens["rationale"]', '2 * num_tokens["rationale"]', {"train_stage1"}),
        ("r2d/rationales/findings.yaml", "- [", "- [another finding, ", {"ingest_rationales", "evaluate"}),
        ("r2d/config/gate.py", '"macro-F1"', '"Macro-F1"', set()),
        ("r2d/evaluation/report.html.j2", "<", " <", set()),
        ("r2d/evaluation/report.py", '"nothing written"', '"not a word"', set()),
    ):
        path = copied / file
        content = path.read_text(encoding="utf-8")
        assert old in content, f"{file} no longer holds {old!r}"
        path.write_text(content.replace(old, new, 1), encoding="utf-8")
        after = hashes()
        assert {step for step in MODEL_STEPS if after[step] != before[step]} == expected, file
        assert (model_code_hash() == of_model) == (not expected), file
        path.write_text(content, encoding="utf-8")
        assert hashes() == before, file


def test_another_process_parses_no_file_anew(tmp_path: Path) -> None:
    def printed(before: str = "pass") -> str:
        command = [sys.executable, "-c", f"import ast, mlops.code; {before}; print(mlops.code.model_code_hash())"]
        environment = os.environ | {"R2D_WORK_DIR": str(tmp_path)}
        return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert printed() == printed("ast.parse = None")


@pytest.mark.parametrize("step", [*MODEL_STEPS, "measure_zero_shot", "compare"])
def test_zenml_finds_the_key_of_each_cached_step_by_its_name(step: str) -> None:
    policy = by_code(f"steps.{step}")
    with_pages = step in ("validate_examples", "ingest_rationales", "evaluate", "compare")
    assert source_utils.load(policy.cache_func)() == step_code_hash(step, with_pages=with_pages)


def test_every_cached_step_of_the_main_job_counts_for_its_model() -> None:
    cached = {
        path.stem for path in (ROOT / "steps").glob("*.py") if "cache_policy=by_code(__name__)" in path.read_text()
    }
    imported = (ROOT / "pipelines" / "training.py").read_text()
    assert {step for step in cached if f"from steps.{step} import" in imported} == set(MODEL_STEPS)
