"""The unmodified ZenML orchestrator runs our pipeline on a real API server, scheduler and Job controller.

`make test-cluster-real` builds what it needs. The tests on the test cluster (test_cluster_runs.py), some of which are
shared, say more, and say it of what Kubernetes 1.20 does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kubernetes import test_cluster_runs as shared
from tests.kubernetes.cluster.site import Outcome, Site, running_site
from tests.kubernetes.conftest import CONFIG
from tests.kubernetes.control_plane.control_plane import RealControlPlane, control_plane_obstacle

pytestmark = pytest.mark.real_cluster


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Whoever asks for this tier wants to know that it cannot run: no skip.
    if reason := control_plane_obstacle():
        pytest.fail(reason)
    with running_site(tmp_path_factory.mktemp("site"), RealControlPlane) as site:
        yield site


@pytest.fixture(scope="module")
def disturbed_run(first_run: Outcome, site: Site, executor: ThreadPoolExecutor) -> Outcome:
    """The same run with Stage 2 anew; its pod is evicted in the middle."""
    run = shared.run_until_checkpoint(site, executor)
    site.cluster.evict(site.pods("disturbed", "train_stage2")[0])
    return run.result()


test_the_run_completes = shared.test_the_run_completes_with_a_pod_for_every_step_on_the_node_that_fits
test_nobody_asked_for_more = shared.test_nobody_asked_for_more_than_the_rules_allow_and_the_steps_asked_for_nothing
test_metrics_and_weights = shared.test_metrics_and_weights_are_those_of_the_local_run_to_the_last_digit
test_what_is_cached_makes_no_pod = shared.test_what_is_cached_makes_no_pod
test_evicted_training_resumes = shared.test_evicted_training_resumes_from_its_checkpoint_to_the_same_weights


def test_no_step_has_a_token_mounted(first_run: Outcome, site: Site) -> None:
    with_token = {
        pod["metadata"]["labels"].get("step_name", "orchestrator")
        for pod in site.pods("first")
        for mount in pod["spec"]["containers"][0]["volumeMounts"]
        if "serviceaccount" in mount["mountPath"]
    }
    assert with_token == {"orchestrator"}


def test_a_gpu_that_no_node_has_fails_the_run_with_the_schedulers_reason(disturbed_run: Outcome, site: Site) -> None:
    failed = site.run("no-node", CONFIG, train_stage2=shared.NO_NODE)
    assert failed.status == "failed"
    assert failed.exit_code != 0
    assert "0/2 nodes are available" in failed.output
    assert "Job was active longer than specified deadline" in failed.output


test_a_client_without_rights_is_told = shared.test_a_client_without_rights_is_told_which_rule_is_missing


def test_what_this_version_of_kubernetes_drops_is_what_the_readme_names(first_run: Outcome, site: Site) -> None:
    assert isinstance(site.cluster, RealControlPlane)
    assert site.cluster.not_served == ["CronJob retraining"]
    jobs = site.cluster.objects("jobs")
    assert all("activeDeadlineSeconds" in job["spec"] for job in jobs)
    assert [job for job in jobs if {"podFailurePolicy", "ttlSecondsAfterFinished"} & set(job["spec"])] == []
