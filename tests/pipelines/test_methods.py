"""Another method than the default through the literal command: which steps there are, and what the last screen says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.slow


def test_a_method_without_stage1_and_without_rationales_runs_and_is_registered(
    workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config) | {"method": {"name": "sft"}}
    config["registration"]["model_name"] = "toy-sft"
    done = workplace.run(config)
    assert "train_stage1" not in done.executed + done.cached
    assert {"train_stage2", "evaluate", "register_model"} <= set(done.executed)
    assert "toy-sft version 1 (registered" in done.output
    assert "rationales: none, method sft decides only" in done.output
    typed = workplace.type("r2d", "predict", "--json", "--model", "toy-sft/1", "pt denies fever for 2 days")
    assert '"rationale": ""' in typed.stdout
    again = workplace.run(config)
    assert again.executed == ["register_model"]
