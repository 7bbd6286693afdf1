"""The comparison through its literal command, on a real ZenML: what is shared, what is cached, what the table says."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from typing import Any

import pytest

from r2d.data.examples import iterate_examples
from tests.conftest import TOY_LABELS, toy_examples
from tests.pipelines.conftest import Run, Workplace

pytestmark = pytest.mark.slow

METHODS, SEEDS, NUM_ROWS = ["r2d", "sft"], [7, 8], 125
ZERO_SHOT = "zero-shot gpt"
STORED = """
from zenml.client import Client
run = Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]
outputs = {name: artifact for name, (artifact, *_) in run.steps["compare"].outputs.items()}
answer = {
    "table": outputs["r2d_comparison"].load(),
    "rows": outputs["r2d_comparison_runs"].load().to_pylist(),
    "shown": {name: [str(v.type) for v in artifact.visualizations or []] for name, artifact in outputs.items()},
    "metrics": {
        name: step.outputs["r2d_metrics"][0].load() for name, step in run.steps.items() if "r2d_metrics" in step.outputs
    },
    "seconds": {
        name: step.run_metadata.get("training_seconds") for name, step in run.steps.items() if name.startswith("train")
    },
}
"""


def compare(workplace: Workplace, config: dict[str, Any], *, check: bool = True) -> Run:
    """`zenml pipeline run pipelines.comparison --config ...`"""
    return workplace.run(config, pipeline="pipelines.comparison", check=check)


@pytest.fixture(scope="module")
def grid(tiny_config: dict[str, Any], workplace: Workplace) -> dict[str, Any]:
    """The toy task with the answers of an invented language model besides, one in eight of them another label.

    There are more rows than in other tests, so that no step is cached from those.
    """
    workplace.write_csv("compared.csv", NUM_ROWS)
    lines = []
    for number, example in enumerate(iterate_examples(toy_examples(NUM_ROWS))):
        label = TOY_LABELS.names[number % 2] if number % 8 == 4 else example.label
        text = f"The finding decides here, as it always does in call {number}. So the answer is {label}."
        lines.append(json.dumps({"id": example.id, "text": text, "model": "some-llm"}))
    del lines[-1]  # of the test split
    (workplace.folder / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = copy.deepcopy(tiny_config)
    config["data"]["path"] = "compared.csv"
    config["rationales"]["sources"] = {"gpt": {"format": "text", "paths": ["answers.jsonl"]}}
    return config | {"comparison": {"methods": METHODS, "seeds": SEEDS, "zero_shot": "gpt"}}


@pytest.fixture(scope="module")
def first_run(workplace: Workplace, grid: dict[str, Any]) -> Run:
    return compare(workplace, grid)


@pytest.fixture(scope="module")
def stored(first_run: Run, workplace: Workplace) -> dict[str, Any]:
    """What the first run left in ZenML."""
    return workplace.python(STORED)


def lines_of(run: Run, variant: str) -> list[str]:
    """The lines of all tables that a run printed for a variant."""
    return re.findall(rf"^\| {variant} \|.*$", run.output, flags=re.MULTILINE)


def test_what_the_variants_share_runs_once_and_stage1_once_for_each_seed(first_run: Run) -> None:
    kinds = Counter(re.sub(r"_(r2d|sft)?_?seed\d+$", "", name) for name in first_run.executed)
    once = ("load_examples", "validate_examples", "ingest_rationales", "measure_zero_shot", "compare")
    models = len(METHODS) * len(SEEDS)
    assert kinds == dict.fromkeys(once, 1) | {"train_stage1": len(SEEDS), "train_stage2": models, "evaluate": models}
    assert first_run.executed[-1] == "compare"
    assert {"train_stage1_seed7", "train_stage2_sft_seed8", "evaluate_sft_seed7"} <= set(first_run.executed)


def test_the_table_has_a_row_for_each_variant_with_its_figures_over_the_seeds_and_its_differences_to_the_first(
    first_run: Run, stored: dict[str, Any]
) -> None:
    table, shown = stored["table"], stored["shown"]
    assert shown["r2d_comparison_table"] + shown["r2d_comparison_picture"] == ["markdown", "image"]
    assert "## Differences to r2d" in first_run.output
    *trained, zero_shot = table["variants"]
    assert [(row["variant"], row["n"]) for row in trained] == [(method, len(SEEDS)) for method in METHODS]
    assert (zero_shot["variant"], zero_shot["n"]) == (ZERO_SHOT, 1)
    assert table["seeds"] == SEEDS
    for row in trained:
        assert 0 <= row["figures"]["macro_f1"]["mean"] <= 1
        assert row["figures"]["macro_f1"]["n"] == len(SEEDS)
        assert row["figures"]["evaluation_seconds"]["mean"] > 0
        assert bool(row["differences"]) == (row["variant"] != METHODS[0])


def test_the_stated_labels_of_the_language_model_are_one_more_row(stored: dict[str, Any]) -> None:
    zero_shot = stored["table"]["variants"][-1]
    facts = stored["table"]["zero_shot"]
    assert (facts["source"], facts["authors"], facts["num_without_label"]) == ("gpt", ["some-llm"], 1)
    accuracy = zero_shot["figures"]["accuracy"]["mean"]
    assert accuracy == stored["metrics"]["measure_zero_shot"]["label"]["accuracy"]
    assert 0.5 < accuracy < 1
    assert zero_shot["figures"]["bertscore_f1"]["n"] == 1, "its rationales are measured against those of the data"
    assert zero_shot["figures"]["consistency"]["n"] == zero_shot["figures"]["training_seconds"]["n"] == 0


def test_a_method_that_writes_no_rationale_has_no_alignment_rather_than_none_of_it(
    first_run: Run, stored: dict[str, Any]
) -> None:
    figures = {row["variant"]: row["figures"] for row in stored["table"]["variants"]}
    for name in ("consistency", "sufficiency", "gold_robustness", "bertscore_f1", "bleu"):
        assert figures["sft"][name] == {"mean": None, "std": None, "n": 0}
        assert figures["r2d"][name]["n"] == len(SEEDS)
    line, *_ = lines_of(first_run, "sft")
    assert line.count("| – ") >= 5


def test_each_model_of_the_table_is_the_one_of_its_method_and_seed(stored: dict[str, Any]) -> None:
    *rows, zero_shot = stored["rows"]
    assert [(row["variant"], row["seed"]) for row in rows] == [(m, s) for m in METHODS for s in SEEDS]
    assert (zero_shot["variant"], zero_shot["seed"]) == (ZERO_SHOT, None)
    for row in rows:
        metrics = stored["metrics"][f"evaluate_{row['variant']}_seed{row['seed']}"]
        assert metrics["method"] == row["variant"]
        assert metrics["label"]["macro_f1"] == row["macro_f1"]
        assert metrics["alignment"]["consistency"] == row["consistency"]


def test_training_seconds_are_the_sum_of_what_its_stages_logged(stored: dict[str, Any]) -> None:
    for row in stored["rows"][:-1]:
        stages = [f"train_stage2_{row['variant']}_seed{row['seed']}"]
        stages += [] if row["variant"] == "sft" else [f"train_stage1_seed{row['seed']}"]
        spent = [stored["seconds"][stage] for stage in stages]
        assert all(seconds > 0 for seconds in spent)
        assert row["training_seconds"] == pytest.approx(sum(spent))


def test_a_second_run_executes_nothing(first_run: Run, workplace: Workplace, grid: dict[str, Any]) -> None:
    again = compare(workplace, grid)
    assert again.executed == []
    assert set(again.cached) == set(first_run.executed)


def test_several_sources_give_a_table_of_their_own_and_the_one_of_the_run_comes_from_the_cache_with_its_seconds(
    stored: dict[str, Any], workplace: Workplace, grid: dict[str, Any]
) -> None:
    sources = compare(workplace, grid | {"comparison": {"methods": ["r2d"], "sources": ["llm", "gpt"], "seeds": [7]}})
    assert sources.executed == [
        "ingest_rationales_gpt", "train_stage1_gpt_seed7", "train_stage2_r2d_gpt_seed7", "evaluate_r2d_gpt_seed7",
        "compare",
    ]  # fmt: skip
    assert lines_of(sources, METHODS[1]) == lines_of(sources, ZERO_SHOT) == []
    again = workplace.python(STORED)["rows"][0]
    assert again | {"variant": "r2d", "source": None} == stored["rows"][0], "also the seconds"
    table = sources.output.split("## Sources of rationales")[1]
    for source in ("llm", "gpt"):
        assert re.search(rf"^\| r2d \| {source} \| {source} \| [01]\.\d{{3}} \|", table, flags=re.MULTILINE)
    assert re.search(r"^\| r2d \| \*\*spread\*\* \|", table, flags=re.MULTILINE)


def test_a_variant_that_fails_is_named_and_there_is_no_table_without_it(
    first_run: Run, workplace: Workplace, grid: dict[str, Any]
) -> None:
    with workplace.edited("r2d/training/methods.py", '"sft": SFT', '"sft": Missing'):
        done = compare(workplace, grid | {"comparison": {"methods": ["sft"], "seeds": SEEDS[:1]}}, check=False)
    assert "step train_stage2_sft_seed7: " in done.output
    assert "compare" not in done.executed + done.cached
    assert done.returncode != 0
