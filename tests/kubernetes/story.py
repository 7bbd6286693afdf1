"""The run that every kind of cluster is shown, and what the tests of more than one of them do with it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from tests.kubernetes.cluster.site import NAMESPACE, Outcome, Site

CPU_STEPS = {"load_examples", "validate_examples", "ingest_rationales", "register_model"}
GPU_STEPS = {"train_stage1", "train_stage2", "evaluate"}
CONFIG: dict[str, Any] = {
    "data": {
        "format": "synthetic_triage",
        "labels": {
            "names": ["emergency now", "emergency department", "same day", "within three days", "self care"],
            "ordered": True,
        },
        "split": {"validation_fraction": 0.1, "test_fraction": 0.2, "seed": 42},
        "synthetic": {"num_calls": 240, "seed": 42, "label_noise": 0.03},
    },
    "rationales": {"stage1_source": "llm", "sources": {"llm": {"format": "synthetic_triage_batch"}}},
    "model": {
        "name": "scratch",
        "scratch": {"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 2},
        "max_input_tokens": 96,
        "max_rationale_tokens": 16,
        "max_label_tokens": 8,
    },
    "stage1": {"max_steps": 6, "eval_every_steps": 3, "learning_rate": 5e-3, "batch_size": 8},
    "stage2": {
        "max_steps": 100,
        "eval_every_steps": 50,
        "save_every_steps": 10,
        "learning_rate": 5e-3,
        "batch_size": 8,
        "precision": "fp32",
        "validation_rationales": 4,
    },
    "registration": {
        "model_name": "toy-triage",
        "gate": {"rules": [{"rule": "better_than_baseline", "baseline": "simple"}]},
    },
}
NO_NODE = {
    "enable_cache": False,
    "settings": {
        "orchestrator": {
            "pod_settings": {"node_selectors": {"nvidia.com/gpu.product": "absent"}},
            "active_deadline_seconds": 6,
        }
    },
}
"""For a step: a GPU that no node has, and a short wait for it."""


def soon(run: Future[Outcome], happened: Callable[[], object]) -> None:
    """Wait until something has happened in a run that goes on."""
    while not happened():
        assert not run.done(), run.result().output[-3000:]
        time.sleep(0.05)


def run_with_training_anew(site: Site, side: Executor) -> Future[Outcome]:
    """The run `disturbed`, as soon as Stage 2, which is not cached, has written a checkpoint."""
    checkpoints = site.cluster.volume("checkpoints", NAMESPACE)
    for finished in checkpoints.glob("train_stage2-*"):
        shutil.rmtree(finished)
    run = side.submit(site.run, "disturbed", CONFIG, train_stage2={"enable_cache": False})
    soon(run, lambda: list(checkpoints.glob("train_stage2-*/checkpoints/checkpoint-*")))
    return run


def assert_evicted_training_went_on(first: Outcome, disturbed: Outcome, site: Site) -> None:
    """From the checkpoint that it saved on being told to end, to the weights of the run that nothing happened to."""
    pods = site.pods("disturbed", "train_stage2")
    assert [pod["status"]["phase"] for pod in pods] == ["Failed", "Succeeded"]
    evicted, resumed = map(site.cluster.log, pods)
    assert "goes on from step" not in evicted
    (step,) = re.findall(r"stage 2: SIGTERM; saves a checkpoint of step (\d+) and ends", evicted)
    assert f"goes on from step {step}" in resumed
    assert disturbed.hashes["r2d_stage2_model"] == first.hashes["r2d_stage2_model"]


def assert_a_client_without_rights_is_told_the_missing_rule(site: Site) -> None:
    environment = site.place.environment
    allowed = environment["KUBECONFIG"]
    environment["KUBECONFIG"] = str(site.cluster.kubeconfig("step", NAMESPACE))
    try:
        refused = site.run("refused", CONFIG)
    finally:
        environment["KUBECONFIG"] = allowed
    assert refused.exit_code != 0
    missing = 'cannot create resource "secrets" in API group "" in the namespace "reason2decide"'
    assert missing in " ".join(refused.output.split())
