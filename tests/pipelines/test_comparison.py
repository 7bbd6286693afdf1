"""The comparison through its literal command, on a real ZenML: what is shared, what is cached, what the table says.

The tests of this file are one story, told in order on one workplace.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import Run, Workplace

pytestmark = pytest.mark.slow

METHODS, SEEDS = ["r2d", "sft", "no_sampling"], [7, 8]
STORED = """
from zenml.client import Client
run = Client().list_pipeline_runs(size=1).items[0]
outputs = {name: artifact for name, (artifact, *_) in run.steps["compare"].outputs.items()}
answer = {
    "table": outputs["r2d_comparison"].load(),
    "rows": outputs["r2d_comparison_runs"].load().to_pylist(),
    "shown": {name: [str(v.type) for v in artifact.visualizations or []] for name, artifact in outputs.items()},
    "metrics": {
        name: step.outputs["r2d_metrics"][0].load() for name, step in run.steps.items() if name.startswith("evaluate")
    },
    "seconds": {
        name: step.run_metadata.get("training_seconds") for name, step in run.steps.items() if name.startswith("train")
    },
}
"""


def compare(workplace: Workplace, config: dict[str, Any], *, check: bool = True) -> Run:
    """`zenml pipeline run pipelines.comparison --config ...`"""
    path = workplace.folder / "comparison.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"config": config}}), encoding="utf-8")
    done = workplace.type("zenml", "pipeline", "run", "pipelines.comparison", "--config", str(path), check=check)
    return Run(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr))


@pytest.fixture(scope="module")
def grid(tiny_config: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(tiny_config) | {"comparison": {"methods": METHODS, "seeds": SEEDS}}


@pytest.fixture(scope="module")
def first_run(workplace: Workplace, grid: dict[str, Any]) -> Run:
    return compare(workplace, grid)


@pytest.fixture(scope="module")
def stored(first_run: Run, workplace: Workplace) -> dict[str, Any]:
    """What the first run left in ZenML."""
    found: dict[str, Any] = workplace.python(STORED)
    return found


def lines_of(run: Run, variant: str) -> list[str]:
    """The lines of the table that a run printed for a variant."""
    return re.findall(rf"^\| {variant} \|.*$", run.output, flags=re.MULTILINE)


def test_what_the_variants_share_runs_once_and_stage1_once_for_each_seed(first_run: Run) -> None:
    kinds = Counter(re.sub(r"_(r2d|sft|no_sampling)?_?seed\d+$", "", name) for name in first_run.executed)
    assert kinds == {
        "load_examples": 1,
        "validate_examples": 1,
        "ingest_rationales": 1,
        "train_stage1": len(SEEDS),
        "train_stage2": len(METHODS) * len(SEEDS),
        "evaluate": len(METHODS) * len(SEEDS),
        "compare": 1,
    }
    assert first_run.executed[-1] == "compare"
    assert {"train_stage1_seed7", "train_stage2_no_sampling_seed8", "evaluate_sft_seed7"} <= set(first_run.executed)


def test_the_table_has_a_row_for_each_variant_with_its_figures_over_the_seeds(stored: dict[str, Any]) -> None:
    table = stored["table"]
    assert [(row["variant"], row["n"]) for row in table["variants"]] == [(method, len(SEEDS)) for method in METHODS]
    assert table["seeds"] == SEEDS
    for row in table["variants"]:
        assert 0 <= row["figures"]["macro_f1"]["mean"] <= 1
        assert row["figures"]["macro_f1"]["n"] == len(SEEDS)
        assert row["figures"]["evaluation_seconds"]["mean"] > 0


def test_a_method_that_writes_no_rationale_has_no_alignment_rather_than_none_of_it(
    first_run: Run, stored: dict[str, Any]
) -> None:
    figures = {row["variant"]: row["figures"] for row in stored["table"]["variants"]}
    for name in ("consistency", "sufficiency", "gold_robustness", "bertscore_f1", "bleu"):
        assert figures["sft"][name] == {"mean": None, "std": None, "n": 0}
        assert figures["r2d"][name]["n"] == len(SEEDS)
    (line,) = lines_of(first_run, "sft")
    assert line.count("| – ") >= 5


def test_each_model_of_the_table_is_the_one_of_its_method_and_seed(stored: dict[str, Any]) -> None:
    rows = stored["rows"]
    assert [(row["variant"], row["seed"]) for row in rows] == [(m, s) for m in METHODS for s in SEEDS]
    for row in rows:
        metrics = stored["metrics"][f"evaluate_{row['variant']}_seed{row['seed']}"]
        assert metrics["method"] == row["variant"]
        assert metrics["label"]["macro_f1"] == row["macro_f1"]
        assert metrics["alignment"]["consistency"] == row["consistency"]


def test_training_seconds_are_the_sum_of_what_its_stages_logged(stored: dict[str, Any]) -> None:
    for row in stored["rows"]:
        stages = [f"train_stage2_{row['variant']}_seed{row['seed']}"]
        stages += [] if row["variant"] == "sft" else [f"train_stage1_seed{row['seed']}"]
        spent = [stored["seconds"][stage] for stage in stages]
        assert all(seconds > 0 for seconds in spent)
        assert row["training_seconds"] == pytest.approx(sum(spent))


def test_table_and_picture_can_be_seen_in_the_dashboard(stored: dict[str, Any]) -> None:
    assert stored["shown"]["r2d_comparison_table"] == ["markdown"]
    assert stored["shown"]["r2d_comparison_picture"] == ["image"]


def test_a_second_run_executes_nothing(first_run: Run, workplace: Workplace, grid: dict[str, Any]) -> None:
    again = compare(workplace, grid)
    assert again.executed == []
    assert set(again.cached) == set(first_run.executed)


def test_a_smaller_grid_takes_everything_from_the_cache_and_the_seconds_with_it(
    first_run: Run, workplace: Workplace, grid: dict[str, Any]
) -> None:
    smaller = compare(workplace, grid | {"comparison": {"methods": METHODS[:2], "seeds": SEEDS}})
    assert smaller.executed == ["compare"]
    for variant in METHODS[:2]:
        assert lines_of(smaller, variant) == lines_of(first_run, variant) != []
    assert lines_of(smaller, METHODS[2]) == []


def test_a_variant_that_fails_is_named_and_there_is_no_table_without_it(
    first_run: Run, workplace: Workplace, grid: dict[str, Any]
) -> None:
    source = workplace.folder / "r2d" / "training" / "methods" / "sft.py"
    source.write_text(source.read_text(encoding="utf-8") + "\nraise RuntimeError('broken')\n", encoding="utf-8")
    done = compare(workplace, grid | {"comparison": {"methods": ["sft"], "seeds": SEEDS[:1]}}, check=False)
    assert re.search(r"train_stage2_sft_seed7`? failed", done.output)
    assert "compare" not in done.executed + done.cached
