"""Two pods of an Indexed Job, made by ZenML's step operator, train to the weights of one process.

The test cluster has no DNS: the name of the first pod, which the step operator gives to both, is put into the file
/etc/hosts of the pods as soon as its service is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from r2d.training.stage2 import train_stage2
from r2d.training.work import StageResult, read_result, write_work
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.containers import sandbox_obstacle
from tests.kubernetes.cluster.kubelet import Image
from tests.kubernetes.cluster.site import BASE, NAMESPACE, Site, nodes, running_site
from tests.kubernetes.manifests import K8S, read_yaml
from tests.kubernetes.test_cluster_runs import wait_during
from tests.training.conftest import ranks_work
from tests.training.test_distributed import LOSS_ATOL, WEIGHTS_ATOL

pytestmark = pytest.mark.cluster

COMPONENT = K8S / "components" / "several-nodes"
# The commands of docs/kubernetes.md, "Several nodes", by ZenML's own client.
REGISTER = """
from zenml.client import Client
from zenml.enums import StackComponentType
client = Client()
where = {"kubernetes_namespace": "reason2decide", "incluster": True}
client.create_stack_component("nodes", "kubernetes", StackComponentType.STEP_OPERATOR, where)
client.update_stack("reason2decide", component_updates={StackComponentType.STEP_OPERATOR: ["nodes"]})
answer = ""
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dns") / "hosts"
    path.write_text("127.0.0.1 localhost\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def site(hosts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with two nodes like `gpu-0`, the quota of two GPUs of k8s/overlays/gpu, and our component."""
    if obstacle := sandbox_obstacle():
        pytest.skip(obstacle)

    def cluster_with_hosts(folder: Path, images: Mapping[str, Image]) -> Cluster:
        (image,) = images.values()
        image = dataclasses.replace(image, folders={**image.folders, "/etc/hosts": hosts})
        return Cluster(folder, dict.fromkeys(images, image))

    _, second = nodes()
    second["metadata"]["name"] = second["metadata"]["labels"]["kubernetes.io/hostname"] = "gpu-1"
    quota, _ = yaml.safe_load_all((BASE / "limits.yaml").read_text(encoding="utf-8"))
    quota["spec"]["hard"]["requests.nvidia.com/gpu"] = "2"
    with running_site(tmp_path_factory.mktemp("site"), cluster_with_hosts) as site:
        site.cluster.delete("resourcequotas", "reason2decide", NAMESPACE)
        site.cluster.apply(COMPONENT / "rights.yaml", COMPONENT / "network.yaml", second, quota)
        site.place.python(REGISTER)
        yield site


@pytest.fixture(scope="module")
def result_of_two_pods(site: Site, hosts: Path) -> StageResult:
    """What two pods left on the volume of checkpoints."""
    run = read_yaml("configs/cluster/multi_node.yaml")
    run["settings"]["orchestrator"]["job_monitoring_interval"] = 1
    run["parameters"]["work_dir"] = "/checkpoints/toy"
    path = site.place.folder / "multi_node.yaml"
    path.write_text(yaml.safe_dump(run | {"run_name": "two-pods"}), encoding="utf-8")
    work_dir = site.cluster.volume("checkpoints", NAMESPACE) / "toy"
    work_dir.mkdir(parents=True)
    write_work(ranks_work(work_dir))
    command = ["zenml", "pipeline", "run", "pipelines.multi_node.multi_node", "--config", str(path)]
    with ThreadPoolExecutor() as pool:
        typed = pool.submit(site.place.type, *command)
        wait_during(typed, lambda: site.cluster.objects("services"))
        (service,) = site.cluster.objects("services")
        name = service["metadata"]["name"]
        with hosts.open("a", encoding="utf-8") as file:
            file.write(f"127.0.0.1 {name}-0.{name}.{NAMESPACE}.svc\n")
    logs = {pod["metadata"]["name"]: site.cluster.log(pod)[-1500:] for pod in site.cluster.pods()}
    assert typed.exception() is None, (typed.exception(), logs)
    return read_result(work_dir)


def test_the_step_was_two_pods_and_each_was_a_rank(result_of_two_pods: StageResult, site: Site) -> None:
    pods = [pod for pod in site.cluster.pods() if "subdomain" in pod["spec"]]
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 2
    assert {pod["spec"]["nodeName"] for pod in pods} == {"gpu-0", "gpu-1"}
    log = "".join(site.cluster.log(pod) for pod in pods)
    assert "steps of 8 rows on each of 2 devices" in log


def test_two_pods_train_to_the_weights_of_one_process(
    result_of_two_pods: StageResult, site: Site, tmp_path: Path
) -> None:
    single = train_stage2(ranks_work(tmp_path))
    assert result_of_two_pods.selected_step == single.selected_step
    assert result_of_two_pods.best_value == pytest.approx(single.best_value, abs=LOSS_ATOL)
    theirs = load_file(site.cluster.volume("checkpoints", NAMESPACE) / "toy" / "best" / "model.safetensors")
    for name, weight in load_file(single.model_folder / "model.safetensors").items():
        torch.testing.assert_close(theirs[name], weight, rtol=0.0, atol=WEIGHTS_ATOL)
