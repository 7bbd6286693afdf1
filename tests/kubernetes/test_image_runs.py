"""The run of test_cluster_runs.py once more, its pods containers of the image that k8s/Dockerfile makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.containers import podman_obstacle, start_podman
from tests.kubernetes.cluster.kubelet import Image
from tests.kubernetes.cluster.site import IMAGE, Site, running_site
from tests.kubernetes.conftest import CONFIG, CPU_STEPS, GPU_STEPS

pytestmark = pytest.mark.cluster


def podman_cluster(folder: Path, images: Mapping[str, Image]) -> Cluster:
    """The test cluster with podman; a container takes from the built image what is not named here."""
    built = Image(folders={}, environment={"OMP_NUM_THREADS": "1"}, working_dir="/app")
    return Cluster(folder, dict.fromkeys(images, built), start=start_podman)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if obstacle := podman_obstacle():
        pytest.skip(obstacle)
    with running_site(tmp_path_factory.mktemp("site"), podman_cluster) as site:
        yield site


def test_a_run_completes_in_containers_of_the_built_image_and_misses_nothing_in_it(site: Site) -> None:
    run = site.run("in-the-image", CONFIG)
    pods = site.pods("in-the-image")
    logs = {pod["metadata"]["name"]: site.cluster.log(pod) for pod in pods}
    assert run.status == "completed", (run.output[-3000:], {name: log[-1500:] for name, log in logs.items()})
    assert run.exit_code == 0
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {IMAGE}
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}
    assert len(pods) == 1 + len(CPU_STEPS | GPU_STEPS)
    output = "".join(logs.values())
    assert "train_stage2" in output
    for complaint in ("ModuleNotFoundError", "ImportError", "Read-only file system", "Permission denied"):
        assert complaint not in output
