"""Cache keys follow the imports of a step, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.cache import ROOT, by_sources, source_files, sources_hash

# r2d.config is read by every step and so is in every key.


def names(step: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in source_files(f"steps.{step}")}


def test_a_step_depends_on_what_it_imports_directly_inside_functions_and_through_others() -> None:
    found = names("train_stage2")
    assert {"steps/train_stage2.py", "r2d/training/train.py", "r2d/training/stage2.py"} <= found
    assert {
        "r2d/training/sampling.py",
        "r2d/modeling/decoding.py",
        "r2d/config/training.py",
        "r2d/__init__.py",
    } <= found


def test_training_does_not_depend_on_evaluation_nor_loading_on_training() -> None:
    assert not any(name.startswith("r2d/evaluation") for name in names("train_stage1") | names("train_stage2"))
    assert not any(name.startswith(("r2d/training", "r2d/modeling/pred")) for name in names("ingest_rationales"))


def test_a_template_beside_a_module_counts_as_its_source() -> None:
    assert "r2d/evaluation/report.html.j2" in names("evaluate")


def test_the_key_changes_with_a_source_and_comes_back_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    import steps.cache

    for package in ("r2d", "steps"):
        shutil.copytree(ROOT / package, tmp_path / package)
    monkeypatch.setattr(steps.cache, "ROOT", tmp_path)
    before = {step: sources_hash(f"steps.{step}") for step in ("evaluate", "train_stage2")}
    edited = tmp_path / "r2d" / "evaluation" / "report.html.j2"
    content = edited.read_text(encoding="utf-8")
    edited.write_text(content + " ", encoding="utf-8")
    assert sources_hash("steps.evaluate") != before["evaluate"]
    assert sources_hash("steps.train_stage2") == before["train_stage2"]
    edited.write_text(content, encoding="utf-8")
    assert sources_hash("steps.evaluate") == before["evaluate"]


def test_zenml_finds_the_function_of_each_step_by_its_name() -> None:
    from zenml.utils import source_utils

    policy = by_sources("steps.evaluate")
    assert source_utils.load(policy.cache_func)() == sources_hash("steps.evaluate")


def test_an_unknown_step_has_no_key() -> None:
    import steps.cache

    with pytest.raises(AttributeError, match="no_such_step"):
        steps.cache.no_such_step  # noqa: B018
