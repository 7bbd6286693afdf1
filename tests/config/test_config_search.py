"""The space of a search: what is wrong with a wrong one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from r2d.config.loading import load_config, parse_config, read_parameters
from r2d.config.run import RunConfig
from r2d.errors import ConfigError

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"
RATE = {"stage2.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def run(space: dict[str, Any], **other: Any) -> RunConfig:
    values = copy.deepcopy(read_parameters(DEMO))
    return parse_config(values | {"search": {"space": space, "max_under_triage": 0.2} | other})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"stage2.lerning_rate": RATE["stage2.learning_rate"]}, r"unknown key \(did you mean 'learning_rate'\?\)"),
        ({"stage3.x": {"choices": [1, 2]}}, r"space\.stage3\.x: cannot be searched; allowed are keys of method, model"),
        ({"data.labels.names": {"choices": ["a", "b"]}}, r"names: cannot be searched; .*what the data are"),
        ({"registration.gate": {"choices": [1, 2]}}, r"cannot be searched; .*how a model is judged"),
        ({"learning_rate": {"low": 1, "high": 2}}, r"space\.learning_rate: cannot be searched; allowed are keys of"),
        ({"stage2.seed": {"low": 1, "high": 9}}, r"the best of many seeds is luck; .*`comparison\.seeds`"),
        ({"model.scratch": {"choices": [1, 2]}}, r"space\.model\.scratch: is a section; name one of its keys"),
        ({"model.lora.rank": {"low": 4, "high": 8}}, r"space\.model\.lora\.rank: lora is not set in this run; set it"),
        ({"stage2.learning_rate": {"low": 0.01, "high": 0.01}}, r"the range is empty: low 0\.01 is not below"),
        ({"stage2.learning_rate": {"low": 0.0, "high": 1, "log": True}}, r"log wants a low above 0"),
        ({"stage2.learning_rate": {"low": -1, "high": 1}}, r"rate: -1 is not allowed: .*greater than 0"),
        ({"stage2.batch_size": {"low": 1.5, "high": 8}}, r"stage2\.batch_size: 1\.5 is not allowed: .*valid integer"),
        ({"stage2.max_steps": {"low": 10, "high": 900}}, r"max_steps: 10 is not allowed: eval_every_steps 200"),
        ({"stage2.precision": {"choices": ["fp32", "fp16"]}}, r"'fp16' is not allowed: .*T5 gives NaN in fp16"),
        ({"stage2.batch_size": {"choices": [8]}}, r"choices: found \[8\]; give at least two, each once"),
        ({"stage2.batch_size": {"choices": [8, 16], "low": 1}}, r"choices stand alone; remove low"),
        ({"stage2.batch_size": {"low": 8}}, r"give low and high, or choices"),
        ({"stage2.batch_size": {"low": 8, "high": 9, "step": 4}}, r"step 4 leads beyond high 9"),
        ({}, r"search\.space: found \{\}"),
    ],
)  # fmt: skip
def test_a_faulty_space_is_named_with_what_is_allowed(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(space)


def test_a_bound_is_wanted_where_labels_are_ordered_and_refused_where_nothing_is_under_triaged() -> None:
    with pytest.raises(ConfigError, match=r"search\.max_under_triage: missing; labels are ordered"):
        run(RATE, max_under_triage=None)
    values = copy.deepcopy(read_parameters(DEMO.with_name("pubmedqa.yaml")))
    with pytest.raises(ConfigError, match=r"search\.max_under_triage: data\.labels\.ordered is false"):
        parse_config(values | {"search": {"space": RATE, "max_under_triage": 0.1}})


def test_the_shipped_search_is_right() -> None:
    shipped = load_config(DEMO.with_name("search.yaml"))
    assert shipped.comparison is None
    assert set(shipped.require_search().space) == {"stage2.learning_rate", "stage2.alpha", "method.name"}


def test_a_run_without_a_search_says_what_to_declare() -> None:
    with pytest.raises(ConfigError, match=r"search: missing; declare what is searched"):
        parse_config(read_parameters(DEMO)).require_search()
