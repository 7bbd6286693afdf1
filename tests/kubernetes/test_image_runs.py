"""The run of test_cluster_runs.py once more, its pods containers of the image that k8s/Dockerfile makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster, Image, containers
from tests.kubernetes.cluster.site import IMAGE, Outcome, Site, running_site
from tests.kubernetes.story import CONFIG, CPU_STEPS, GPU_STEPS

pytestmark = pytest.mark.cluster


def of_containers(folder: Path, images: Mapping[str, Image]) -> Cluster:
    """The test cluster, with an engine for a kubelet."""
    pulled = dict.fromkeys(images, containers.IMAGE)
    return Cluster(folder, pulled, backoff_seconds=0.5, start=containers.Engine().start)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if obstacle := containers.obstacle():
        pytest.skip(obstacle)
    with running_site(tmp_path_factory.mktemp("site"), of_containers) as site:
        yield site


@pytest.fixture(scope="module")
def run(site: Site) -> Outcome:
    return site.run("in-the-image", CONFIG)


def test_a_run_completes_in_containers_of_the_built_image(run: Outcome, site: Site) -> None:
    logs = {pod["metadata"]["name"]: site.cluster.log(pod)[-1500:] for pod in site.pods("in-the-image")}
    assert run.status == "completed", (run.output[-3000:], logs)
    assert run.exit_code == 0
    pods = site.pods("in-the-image")
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {IMAGE}
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}
    assert len(pods) == 1 + len(CPU_STEPS | GPU_STEPS)


def test_no_pod_missed_what_the_image_is_without(run: Outcome, site: Site) -> None:
    logs = "".join(site.cluster.log(pod) for pod in site.pods("in-the-image"))
    assert "train_stage2" in logs
    for complaint in ("ModuleNotFoundError", "ImportError", "Read-only file system", "Permission denied"):
        assert complaint not in logs
