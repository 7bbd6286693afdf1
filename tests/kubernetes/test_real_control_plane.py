"""The unmodified ZenML orchestrator runs our pipeline on a real API server, scheduler and Job controller.

One story on one cluster, told in order; `make test-cluster-real` builds what it needs. The in-process cluster's tests
(test_cluster_runs.py) say more, and say it of what Kubernetes 1.20 does not have.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.kubernetes.cluster.site import NAMESPACE, Outcome, Site, running_site, typed_run
from tests.kubernetes.control_plane import RealControlPlane, obstacle
from tests.kubernetes.test_cluster_runs import CONFIG, CPU_STEPS, GPU_STEPS, soon
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.real_cluster


@pytest.fixture(scope="module")
def side() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Whoever asks for this tier wants to know that it cannot run: no skip.
    if reason := obstacle():
        pytest.fail(reason)
    with running_site(tmp_path_factory.mktemp("site"), RealControlPlane) as site:
        yield site


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory, side: ThreadPoolExecutor) -> Future[Outcome]:
    """The same config on the embedded local stack, beside the first run on the cluster."""
    place = Workplace(tmp_path_factory.mktemp("local"))
    return side.submit(typed_run, place, "local", {"parameters": {"config": CONFIG}})


@pytest.fixture(scope="module")
def first_run(site: Site, local_run: Future[Outcome]) -> Outcome:
    return site.run("first", CONFIG)


def test_the_run_completes_with_a_pod_for_every_step_on_the_node_that_fits(first_run: Outcome, site: Site) -> None:
    assert first_run.status == "completed", first_run.output[-3000:]
    assert first_run.exit_code == 0
    expected = {step: ["gpu-0" if step in GPU_STEPS else "cpu-0"] for step in CPU_STEPS | GPU_STEPS}
    assert site.nodes_of_steps("first") == expected
    assert [pod["spec"]["nodeName"] for pod in site.orchestrator_pods("first")] == ["cpu-0"]


def test_our_rights_are_enough_for_a_real_server_and_the_steps_use_none(first_run: Outcome, site: Site) -> None:
    audit = site.cluster.audit
    assert {entry.user.split(":")[-1] for entry in audit} == {"submitter", "orchestrator"}
    assert [entry for entry in audit if entry.code == 403] == []
    mounts = {
        pod["metadata"]["labels"].get("step_name", "orchestrator"): [
            mount["mountPath"]
            for mount in pod["spec"]["containers"][0]["volumeMounts"]
            if "serviceaccount" in mount["mountPath"]
        ]
        for pod in site.pods("first")
    }
    assert mounts.pop("orchestrator") != []
    assert set(map(tuple, mounts.values())) == {()}


def test_metrics_and_weights_are_those_of_the_local_run_to_the_last_digit(
    first_run: Outcome, local_run: Future[Outcome]
) -> None:
    local = local_run.result()
    assert local.status == "completed", local.output[-3000:]
    assert first_run.metrics == local.metrics
    assert first_run.hashes["r2d_stage2_model"] == local.hashes["r2d_stage2_model"]


@pytest.fixture(scope="module")
def disturbed_run(first_run: Outcome, site: Site, side: ThreadPoolExecutor) -> Outcome:
    """The same run with Stage 2 anew; its pod is evicted in the middle."""
    checkpoints = site.cluster.volume("checkpoints", NAMESPACE)
    for finished in checkpoints.glob("train_stage2-*"):
        shutil.rmtree(finished)
    run = side.submit(site.run, "disturbed", CONFIG, train_stage2={"enable_cache": False})
    soon(run, lambda: list(checkpoints.glob("train_stage2-*/checkpoints/checkpoint-*")))
    site.cluster.evict(site.pods("disturbed", "train_stage2")[0])
    return run.result()


def test_what_is_cached_makes_no_pod(disturbed_run: Outcome, site: Site) -> None:
    assert disturbed_run.status == "completed", disturbed_run.output[-3000:]
    assert set(site.nodes_of_steps("disturbed")) == {"train_stage2", "register_model"}
    assert disturbed_run.steps["evaluate"] == "cached"


def test_evicted_training_resumes_from_its_checkpoint_to_the_same_weights(
    first_run: Outcome, disturbed_run: Outcome, site: Site
) -> None:
    evicted, resumed = site.pods("disturbed", "train_stage2")
    assert [pod["status"]["phase"] for pod in (evicted, resumed)] == ["Failed", "Succeeded"]
    assert "goes on from step" not in site.cluster.log(evicted)
    assert "goes on from step" in site.cluster.log(resumed)
    assert disturbed_run.hashes["r2d_stage2_model"] == first_run.hashes["r2d_stage2_model"]


def test_a_gpu_that_no_node_has_fails_the_run_with_the_schedulers_reason(disturbed_run: Outcome, site: Site) -> None:
    selector = {"pod_settings": {"node_selectors": {"nvidia.com/gpu.product": "absent"}}, "active_deadline_seconds": 6}
    no_node = {"enable_cache": False, "settings": {"orchestrator": selector}}
    failed = site.run("no-node", CONFIG, train_stage2=no_node)
    assert failed.status == "failed"
    assert failed.exit_code != 0
    assert "0/2 nodes are available" in failed.output
    assert "Job was active longer than specified deadline" in failed.output


def test_a_client_without_rights_is_told_which_rule_is_missing(disturbed_run: Outcome, site: Site) -> None:
    place = site.place
    allowed = place.environment["KUBECONFIG"]
    place.environment["KUBECONFIG"] = str(site.cluster.kubeconfig("step", NAMESPACE))
    try:
        refused = site.run("refused", CONFIG)
    finally:
        place.environment["KUBECONFIG"] = allowed
    assert refused.exit_code != 0
    assert 'cannot create resource "secrets" in API group "" in the namespace "reason2decide"' in " ".join(
        refused.output.split()
    )


def test_what_this_version_of_kubernetes_drops_is_what_the_readme_names(first_run: Outcome, site: Site) -> None:
    assert isinstance(site.cluster, RealControlPlane)
    assert site.cluster.not_served == ["CronJob retraining"]
    jobs = site.cluster.objects("jobs")
    assert all("activeDeadlineSeconds" in job["spec"] for job in jobs)
    assert [job for job in jobs if {"podFailurePolicy", "ttlSecondsAfterFinished"} & set(job["spec"])] == []
