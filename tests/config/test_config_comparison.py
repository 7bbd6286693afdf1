"""The grid of a comparison: which models it stands for, and what is wrong with a wrong one."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from r2d.config.loading import load_config, parse_config, read_parameters
from r2d.config.run import RunConfig
from r2d.errors import ConfigError
from r2d.evaluation.comparison.variants import Variant, asked_facts, variants

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def run(comparison: dict[str, Any] | None, **rationales: Any) -> RunConfig:
    values = copy.deepcopy(read_parameters(CONFIGS / "demo.yaml"))
    values["rationales"] |= rationales
    return parse_config(values if comparison is None else values | {"comparison": comparison})


def grid(comparison: dict[str, Any], **rationales: Any) -> list[Variant]:
    return list(variants(run(comparison, **rationales)))


def test_the_shipped_comparison_is_the_demo_with_fewer_steps_all_methods_and_three_seeds() -> None:
    shipped, demo = load_config(CONFIGS / "comparison.yaml"), load_config(CONFIGS / "demo.yaml")
    steps = ("max_steps", "eval_every_steps", "save_every_steps")

    def with_steps_of_the_demo(stage: str) -> dict[str, Any]:
        section = getattr(shipped, stage)
        return section.model_copy(update={name: getattr(getattr(demo, stage), name) for name in steps})

    as_demo = {stage: with_steps_of_the_demo(stage) for stage in ("stage1", "stage2")}
    assert shipped.model_copy(update={"comparison": None, **as_demo}) == demo
    models = list(variants(shipped))
    assert len(models) == len({model.id for model in models}) == 18
    assert {model.run.method.name for model in models} == {"r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling"}
    assert {model.seed for model in models} == {42, 43, 44}


def test_a_variant_is_the_base_run_but_for_its_method_and_the_seeds_of_training() -> None:
    base = run({"methods": ["sft"], "seeds": [7]})
    (model,) = variants(base)
    assert (model.run.method.name, model.run.stage1.seed, model.run.stage2.seed) == ("sft", 7, 7)
    assert model.run.data == base.data
    for section in ("method", "stage1", "stage2"):
        changed = {"name"} if section == "method" else {"seed"}
        ours, theirs = (getattr(one, section).model_dump(exclude=changed) for one in (model.run, base))
        assert ours == theirs


def test_each_source_is_a_variant_of_every_method_that_reads_rationales_where_they_are_not_fixed() -> None:
    sources = {"sources": ["llm", "nurse"], "seeds": [1]}
    models = grid({"methods": ["r2d", "dss", "sft"], **sources})
    assert [model.facts.variant for model in models] == ["r2d, llm", "r2d, nurse", "dss, llm", "dss, nurse", "sft"]
    assert [model.run.rationales.stage1_source for model in models] == ["llm", "nurse", "llm", "nurse", "llm"]
    fixed = grid({"methods": ["r2d", "dss"], **sources}, stage2_source="nurse")
    assert [model.facts.variant for model in fixed] == ["r2d, llm", "r2d, nurse", "dss"], (
        "only methods with a Stage 1 vary"
    )


def test_a_variant_says_what_it_is_and_against_which_references_it_is_measured() -> None:
    r2d, _, sft = grid({"methods": ["r2d", "sft"], "sources": ["llm", "nurse"], "seeds": [1]})
    assert asdict(r2d.facts) == {
        "variant": "r2d, llm", "method": "r2d", "source": "llm", "seed": 1, "references": "llm",
    }  # fmt: skip
    assert (asdict(sft.facts)["source"], sft.references) == (None, "llm")
    fixed = grid({"methods": ["r2d"], "sources": ["llm", "nurse"], "seeds": [1]}, stage2_source=["nurse", "llm"])
    assert {model.references for model in fixed} == {"nurse, llm"}
    for num_examples, method in ((0, "zero-shot"), (3, "few-shot")):
        assert asdict(asked_facts("llm", num_examples, r2d)) == {
            "variant": f"{method} llm", "method": method, "source": None, "seed": None, "references": "llm",
        }  # fmt: skip


def test_the_shipped_comparison_of_sources_trains_each_method_on_people_and_on_an_llm() -> None:
    models = list(variants(load_config(CONFIGS / "comparison_sources.yaml")))
    assert {(model.run.method.name, model.source) for model in models} == {
        (method, source) for method in ("r2d", "dss") for source in ("human", "palm")
    }
    cqa = load_config(CONFIGS / "cqa.yaml")
    assert models[0].run.rationales.sources == cqa.rationales.sources
    assert (models[0].run.data.path, models[0].run.data.split) == (cqa.data.path, cqa.data.split)


def test_methods_with_the_same_seed_and_source_share_a_stage1() -> None:
    models = grid({"methods": ["r2d", "r2d_c"], "sources": ["llm", "nurse"], "seeds": [1, 2]})
    assert len({model.stage1_id for model in models}) == 4
    assert len({model.data_id for model in models}) == 2
    assert len({model.id for model in models}) == 8


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({"methods": ["rd2"]}, r"comparison\.methods\.0: found 'rd2' \(did you mean 'r2d'\?\)"),
        ({"methods": []}, r"methods: empty, nothing could be trained; name at least one"),
        ({"seeds": [1, 2, 1]}, r"seeds: 1 is named more than once"),
        ({"sources": ["llm", "doctor"]}, r"comparison\.sources 'doctor' is not among .*\['llm', 'nurse'"),
        ({"sedes": [1]}, r"comparison\.sedes: unknown key \(did you mean 'seeds'\?\)"),
    ],
)
def test_a_faulty_grid_is_named_with_what_is_allowed(comparison: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(comparison)


def test_a_run_without_a_grid_says_how_to_declare_one() -> None:
    with pytest.raises(ConfigError, match=r"comparison: missing; declare .*methods: \[r2d, sft\]"):
        list(variants(run(None)))


def test_an_encoder_baseline_is_trained_beside_the_first_model_alone() -> None:
    values = copy.deepcopy(read_parameters(CONFIGS / "demo.yaml")) | {"comparison": {"methods": ["r2d", "sft"]}}
    values.setdefault("evaluation", {})["encoder_baseline"] = {"name": "minilm"}
    trained = [model.run.evaluation.encoder_baseline is not None for model in variants(parse_config(values))]
    assert trained == [True, *[False] * 5]
