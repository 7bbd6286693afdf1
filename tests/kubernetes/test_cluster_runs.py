"""The unmodified ZenML orchestrator runs our pipeline, with our settings and rights, on the test cluster.

The runs of this file follow one another on one cluster. What can run beside something else does.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from r2d.config.loading import parse_config
from r2d.data.load import load_examples
from tests.kubernetes.cluster.containers import sandbox_obstacle
from tests.kubernetes.cluster.site import NAMESPACE, Outcome, Site, running_site, submit
from tests.kubernetes.conftest import CONFIG, CPU_STEPS, GPU_STEPS
from tests.kubernetes.manifests import read_yaml

pytestmark = pytest.mark.cluster

BROKEN = {**CONFIG, "validation": {"severities": {"text_length": "error"}, "min_text_characters": 5000}}
ABSENT = {"node_selectors": {"nvidia.com/gpu.product": "absent"}}
NO_NODE: dict[str, Any] = {
    "enable_cache": False,
    "settings": {"orchestrator": {"pod_settings": ABSENT, "active_deadline_seconds": 6}},
}
"""For a step: a GPU that no node has, and a short wait for it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if obstacle := sandbox_obstacle():
        pytest.skip(obstacle)
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def test_the_run_completes_with_a_pod_for_every_step_on_the_node_that_fits(first_run: Outcome, site: Site) -> None:
    """Steps that ask for a GPU are on the node that has one, and all other pods keep off it."""
    assert first_run.status == "completed", first_run.output[-3000:]
    assert first_run.exit_code == 0
    expected = {step: ["gpu-0" if step in GPU_STEPS else "cpu-0"] for step in CPU_STEPS | GPU_STEPS}
    assert site.nodes_of_steps("first") == expected
    assert [pod["spec"]["nodeName"] for pod in site.orchestrator_pods("first")] == ["cpu-0"]


def test_metrics_and_weights_are_those_of_the_local_run_to_the_last_digit(
    first_run: Outcome, local_run: Future[Outcome]
) -> None:
    local = local_run.result()
    assert local.status == "completed", local.output[-3000:]
    assert first_run.metrics == local.metrics
    for artifact in ("r2d_valid_examples", "r2d_stage1_model", "r2d_stage2_model"):
        assert first_run.hashes[artifact] == local.hashes[artifact], artifact


def test_nobody_asked_for_more_than_the_rules_allow_and_the_steps_asked_for_nothing(
    first_run: Outcome, site: Site
) -> None:
    audit = site.cluster.audit
    assert {entry.user.split(":")[-1] for entry in audit} == {"submitter", "orchestrator"}
    assert [entry for entry in audit if entry.code == 403] == []


def test_the_token_of_the_run_is_no_plain_variable_and_is_gone_with_the_run(first_run: Outcome, site: Site) -> None:
    for pod in site.pods("first"):
        (container,) = pod["spec"]["containers"]
        (token,) = [variable for variable in container["env"] if variable["name"] == "ZENML_STORE_API_TOKEN"]
        assert set(token) == {"name", "valueFrom"}
    assert [item["metadata"]["name"] for item in site.cluster.objects("secrets")] == ["trust"]


def test_no_clinical_text_stands_in_the_log_of_a_pod(first_run: Outcome, site: Site) -> None:
    texts = load_examples(parse_config(CONFIG).data)["text"].to_pylist()
    logs = "".join(site.cluster.log(pod) for pod in site.pods("first"))
    assert "train_stage2" in logs
    assert [text for text in texts if text[:40] in logs] == []


def wait_during(run: Future[Outcome], happened: Callable[[], object]) -> None:
    """Wait until something has happened in a run that goes on."""
    while not happened():
        assert not run.done(), run.result()
        time.sleep(0.05)


def run_until_checkpoint(site: Site, executor: Executor) -> Future[Outcome]:
    """The run `disturbed`, as soon as its Stage 2, which is not cached, has written a checkpoint."""
    checkpoints = site.cluster.volume("checkpoints", NAMESPACE)
    for finished in checkpoints.glob("train_stage2-*"):
        shutil.rmtree(finished)
    run = executor.submit(site.run, "disturbed", CONFIG, train_stage2={"enable_cache": False})
    wait_during(run, lambda: list(checkpoints.glob("train_stage2-*/checkpoints/checkpoint-*")))
    return run


@pytest.fixture(scope="module")
def disturbed_run(first_run: Outcome, site: Site, executor: ThreadPoolExecutor) -> Outcome:
    """The same run with Stage 2 anew; its pod is evicted in the middle, and the orchestrator's is killed."""
    run = run_until_checkpoint(site, executor)
    site.cluster.evict(site.pods("disturbed", "train_stage2")[0])
    site.cluster.kill(site.orchestrator_pods("disturbed")[0])
    return run.result()


def test_a_run_whose_orchestrator_was_killed_completes(disturbed_run: Outcome, site: Site) -> None:
    assert disturbed_run.status == "completed", disturbed_run.output[-3000:]
    assert [pod["status"]["phase"] for pod in site.orchestrator_pods("disturbed")] == ["Failed", "Succeeded"]


def test_evicted_training_resumes_from_its_checkpoint_to_the_same_weights(
    first_run: Outcome, disturbed_run: Outcome, site: Site
) -> None:
    """From the checkpoint that it saved on SIGTERM, to the weights of the run that nothing happened to."""
    pods = site.pods("disturbed", "train_stage2")
    assert [pod["status"]["phase"] for pod in pods] == ["Failed", "Succeeded"]
    evicted, resumed = map(site.cluster.log, pods)
    assert "goes on from step" not in evicted
    (step,) = re.findall(r"stage 2: SIGTERM; saves a checkpoint of step (\d+) and ends", evicted)
    assert f"goes on from step {step}" in resumed
    assert disturbed_run.hashes["r2d_stage2_model"] == first_run.hashes["r2d_stage2_model"]


def test_what_is_cached_makes_no_pod(disturbed_run: Outcome, site: Site) -> None:
    """Evaluation finds the same weights, so it is cached although training ran; registration is never cached."""
    assert disturbed_run.status == "completed", disturbed_run.output[-3000:]
    assert set(site.nodes_of_steps("disturbed")) == {"train_stage2", "register_model"}
    assert disturbed_run.steps["evaluate"] == "cached"


@pytest.fixture(scope="module")
def failed_runs(disturbed_run: Outcome, site: Site, executor: ThreadPoolExecutor) -> dict[str, Outcome]:
    """Two runs that fail, side by side: no node has the GPU that is asked for; a step stops on its data."""
    no_node = executor.submit(site.run, "no-node", CONFIG, train_stage2=NO_NODE)
    broken_data = site.run("broken-data", BROKEN, validate_examples={"retry": {"max_retries": 1}})
    return {"no-node": no_node.result(), "broken-data": broken_data}


def test_a_gpu_that_no_node_has_fails_the_run_at_its_deadline_with_the_reason(
    failed_runs: dict[str, Outcome], site: Site
) -> None:
    failed = failed_runs["no-node"]
    assert failed.status == "failed"
    assert failed.exit_code != 0, failed.output[-2000:]
    # ZenML leaves the step as `retrying`: it had tries left, but no node.
    assert failed.steps["train_stage2"] in ("failed", "retrying")
    assert "Unschedulable" in failed.output
    assert "0/2 nodes are available" in failed.output
    assert "Job was active longer than specified deadline" in failed.output
    assert "evaluate" not in site.nodes_of_steps("no-node")


def test_a_failing_step_is_tried_again_and_then_fails_the_run_and_its_command(
    failed_runs: dict[str, Outcome], site: Site
) -> None:
    failed = failed_runs["broken-data"]
    assert failed.status == "failed"
    assert failed.exit_code != 0, failed.output[-2000:]
    logs = [site.cluster.log(pod) for pod in site.pods("broken-data", "validate_examples")]
    # One pod more than tries, for `backoff_limit_margin`; the server does not let it begin the step again.
    assert ["text_length" in log for log in logs] == [True, True, False]
    assert set(site.nodes_of_steps("broken-data")) == {"validate_examples"}


def test_the_job_of_the_cronjob_fails_with_its_run(failed_runs: dict[str, Outcome], site: Site) -> None:
    config = BROKEN | {"registration": {"model_name": "other"}}  # without a champion the first call trains
    site.start_client("retraining-1", config, validate_examples={"retry": {"max_retries": 1}})
    deadline = time.monotonic() + 900
    status: dict[str, Any] = {}
    while not status.get("conditions"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
        (status,) = [j["status"] for j in site.cluster.objects("jobs") if j["metadata"]["name"] == "retraining-1"]
    (pod,) = site.cluster.pods(**{"job-name": "retraining-1"})
    log = site.cluster.log(pod)
    assert [condition["type"] for condition in status["conditions"]] == ["Failed"], log[-3000:]
    assert status["failed"] == 1
    assert "validate_examples" in log
    assert "Traceback" not in log.splitlines()[-1]


def test_a_client_without_rights_is_told_which_rule_is_missing(disturbed_run: Outcome, site: Site) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(site.place.environment, "KUBECONFIG", str(site.cluster.kubeconfig("step", NAMESPACE)))
        refused = site.run("refused", CONFIG)
    assert refused.exit_code != 0
    missing = 'cannot create resource "secrets" in API group "" in the namespace "reason2decide"'
    assert missing in " ".join(refused.output.split())


VOLUMES = {"data": "calls.parquet", "checkpoints": "predictions.parquet.parts"}
SHARED = {"shares": 2, "rows_per_part": 4, "batch_size": 4}
INFER = """
from pathlib import Path
from r2d.config.jobs import InferenceConfig
from r2d.config.section import parse_section
from r2d.inference.infer import infer_file
job = parse_section(InferenceConfig, {job!r})
answer = infer_file(job, Path(job.model)).num_rows
"""


@pytest.fixture(scope="module")
def mapped_run(stage2_model: Path, site: Site, executor: ThreadPoolExecutor) -> Outcome:
    """A file of calls in two shares, by configs/cluster/batch_inference.yaml; the first one's pod dies on its way."""
    data, parts = (site.cluster.volume(claim, NAMESPACE) / name for claim, name in VOLUMES.items())
    shutil.copytree(stage2_model, data.parent / "model")
    pq.write_table(load_examples(parse_config(CONFIG).data).select(["id", "text"]), data)
    run = read_yaml("configs/cluster/batch_inference.yaml")
    run["parameters"]["config"] |= {"model": "/data/model", **SHARED}
    run["settings"]["orchestrator"]["job_monitoring_interval"] = 1
    pipeline = "pipelines.inference.mapped_batch_inference"
    typed = executor.submit(submit, site.place, "mapped", run, pipeline)
    wait_during(typed, lambda: list(parts.glob("part-*0.parquet")))
    site.cluster.kill(site.pods("mapped", "map-decide_share-0")[0])
    return typed.result()


def test_each_share_of_a_file_of_calls_is_a_pod_without_rights(mapped_run: Outcome, site: Site) -> None:
    assert mapped_run.status == "completed", mapped_run.output[-3000:]
    pods = [pod for pod in site.pods("mapped") if "step_name" in pod["metadata"]["labels"]]
    steps = Counter(pod["metadata"]["labels"]["step_name"] for pod in pods)
    assert steps == {"begin_shares": 1, "map-decide_share-0": 2, "map-decide_share-1": 1, "infer_batch": 1}
    for pod in pods:
        assert (pod["spec"]["nodeName"], pod["spec"]["serviceAccountName"]) == ("cpu-0", "step")
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_killed_share_goes_on_part_by_part_to_the_bytes_of_one_machine(mapped_run: Outcome, site: Site) -> None:
    killed, resumed = site.pods("mapped", "map-decide_share-0")
    assert [pod["status"]["phase"] for pod in (killed, resumed)] == ["Failed", "Succeeded"]
    assert "are decided already" not in site.cluster.log(killed)
    assert "are decided already" in site.cluster.log(resumed)
    calls, checkpoints = (site.cluster.volume(claim, NAMESPACE) for claim in VOLUMES)
    job = {
        "data": {"path": str(calls / "calls.parquet")},
        "model": str(calls / "model"),
        "output": "here.parquet",
        **SHARED,
    }
    site.place.python(INFER.format(job=job))
    assert (checkpoints / "predictions.parquet").read_bytes() == (site.place.folder / "here.parquet").read_bytes()
