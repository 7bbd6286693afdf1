"""The unmodified ZenML orchestrator runs our pipeline on a real API server, scheduler and Job controller.

One story on one cluster, told in order; `make test-cluster-real` builds what it needs. The in-process cluster's tests
(test_cluster_runs.py) say more, and say it of what Kubernetes 1.20 does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.kubernetes.cluster.site import Outcome, Site, running_site
from tests.kubernetes.control_plane import RealControlPlane, obstacle
from tests.kubernetes.story import (
    CONFIG,
    CPU_STEPS,
    GPU_STEPS,
    NO_NODE,
    assert_a_client_without_rights_is_told_the_missing_rule,
    assert_evicted_training_went_on,
    run_with_training_anew,
)

pytestmark = pytest.mark.real_cluster


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Whoever asks for this tier wants to know that it cannot run: no skip.
    if reason := obstacle():
        pytest.fail(reason)
    with running_site(tmp_path_factory.mktemp("site"), RealControlPlane) as site:
        yield site


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
    run = run_with_training_anew(site, side)
    site.cluster.evict(site.pods("disturbed", "train_stage2")[0])
    return run.result()


def test_what_is_cached_makes_no_pod(disturbed_run: Outcome, site: Site) -> None:
    assert disturbed_run.status == "completed", disturbed_run.output[-3000:]
    assert set(site.nodes_of_steps("disturbed")) == {"train_stage2", "register_model"}
    assert disturbed_run.steps["evaluate"] == "cached"


def test_evicted_training_resumes_from_its_checkpoint_to_the_same_weights(
    first_run: Outcome, disturbed_run: Outcome, site: Site
) -> None:
    assert_evicted_training_went_on(first_run, disturbed_run, site)


def test_a_gpu_that_no_node_has_fails_the_run_with_the_schedulers_reason(disturbed_run: Outcome, site: Site) -> None:
    failed = site.run("no-node", CONFIG, train_stage2=NO_NODE)
    assert failed.status == "failed"
    assert failed.exit_code != 0
    assert "0/2 nodes are available" in failed.output
    assert "Job was active longer than specified deadline" in failed.output


def test_a_client_without_rights_is_told_which_rule_is_missing(disturbed_run: Outcome, site: Site) -> None:
    assert_a_client_without_rights_is_told_the_missing_rule(site)


def test_what_this_version_of_kubernetes_drops_is_what_the_readme_names(first_run: Outcome, site: Site) -> None:
    assert isinstance(site.cluster, RealControlPlane)
    assert site.cluster.not_served == ["CronJob retraining"]
    jobs = site.cluster.objects("jobs")
    assert all("activeDeadlineSeconds" in job["spec"] for job in jobs)
    assert [job for job in jobs if {"podFailurePolicy", "ttlSecondsAfterFinished"} & set(job["spec"])] == []
