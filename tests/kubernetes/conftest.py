"""The toy run that every kind of cluster is given, and its first submission, for a module with a `site` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.kubernetes.cluster.api import merged
from tests.kubernetes.cluster.site import Outcome, Site, submit
from tests.kubernetes.manifests import read_yaml
from tests.pipelines.conftest import Workplace

CPU_STEPS = {"load_examples", "validate_examples", "ingest_rationales", "register_model"}
GPU_STEPS = {"train_stage1", "train_stage2", "evaluate"}
CHANGES = """
data:
  split: {validation_fraction: 0.1, test_fraction: 0.2}
  synthetic: {num_calls: 240, num_test_calls: 0}
model:
  scratch: {vocab_size: 300, d_model: 32, d_kv: 8, d_ff: 64, num_layers: 1, num_heads: 2}
  max_input_tokens: 96
  max_rationale_tokens: 16
evaluation: {compare_with_sft: false}
stage1: {max_steps: 6, eval_every_steps: 3, save_every_steps: 3, warmup_steps: 0, batch_size: 8}
stage2: {max_steps: 100, eval_every_steps: 50, save_every_steps: 10, batch_size: 8, validation_rationales: 4}
"""
CONFIG: dict[str, Any] = {
    **merged(read_yaml("configs/demo.yaml")["parameters"]["config"], yaml.safe_load(CHANGES)),
    "registration": {
        "model_name": "toy-triage",
        "gate": {"rules": [{"rule": "better_than_baseline", "baseline": "simple"}]},
    },
}
"""The demo's config with a model and stages that take seconds."""


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory, executor: ThreadPoolExecutor) -> Future[Outcome]:
    """The same config on the embedded local stack, beside the first run on the cluster."""
    place = Workplace(tmp_path_factory.mktemp("local"))
    return executor.submit(submit, place, "local", {"parameters": {"config": CONFIG}})


@pytest.fixture(scope="module")
def first_run(site: Site, local_run: Future[Outcome]) -> Outcome:
    return site.run("first", CONFIG)
