"""A whole site in a folder: a cluster with our manifests, the services, the stack, and a client with few rights."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.kubernetes.cluster.api import Entry
from tests.kubernetes.cluster.cluster import CONTEXT, Cluster, node
from tests.kubernetes.cluster.launches import Image
from tests.kubernetes.cluster.services import BUCKET, PASSWORD, USER, Services, running_services
from tests.kubernetes.cluster.store import Object
from tests.pipelines.conftest import Workplace

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "k8s" / "base"
NAMESPACE = "reason2decide"
IMAGE = "registry.invalid/reason2decide:test"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def nodes() -> list[Object]:
    """A node without GPUs and one with a single GPU that only those who ask may use."""
    gpu = {"cpu": "16", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "1"}
    return [
        node("cpu-0", {"cpu": "8", "memory": "32Gi", "pods": "110"}, labels={"pool": "cpu"}),
        node("gpu-0", gpu, labels={"pool": "gpu", "nvidia.com/gpu.present": "true"}, taints=[GPU_TAINT]),
    ]


def base_manifests() -> list[Path]:
    """The files of k8s/base, in the order of its kustomization."""
    return [BASE / name for name in yaml.safe_load((BASE / "kustomization.yaml").read_text("utf-8"))["resources"]]


class ControlPlane(Protocol):
    """What a site asks of its cluster; `Cluster` says what each means."""

    faults: list[str]

    @property
    def audit(self) -> list[Entry]: ...
    def apply(self, *manifests: Path | Object) -> None: ...
    def kubeconfig(self, account: str = "", namespace: str = "") -> Path: ...
    def objects(self, plural: str, **labels: str) -> list[Object]: ...
    def pods(self, **labels: str) -> list[Object]: ...
    def log(self, pod: Object) -> str: ...
    def volume(self, claim: str, namespace: str) -> Path: ...
    def evict(self, pod: Object) -> None: ...
    def kill(self, pod: Object) -> None: ...


def in_process(folder: Path, images: Mapping[str, Image]) -> Cluster:
    """The test cluster, with less patience after a failed pod than a real one has."""
    return Cluster(folder, images, backoff_seconds=0.5)


FACTS = """
from zenml.client import Client
run = Client().get_pipeline_run({name!r}, allow_name_prefix_match=False)
outputs = [(name, version) for step in run.steps.values() for name, (version, *_) in step.outputs.items()]
metrics = [version.load() for name, version in outputs if name == "r2d_metrics"]
answer = {{
    "id": str(run.id),
    "status": str(run.status),
    "steps": {{name: str(step.status) for name, step in run.steps.items()}},
    "hashes": {{name: version.content_hash for name, version in outputs}},
    "metrics": metrics[0] if metrics else None,
}}
"""

KEY = """
from zenml.client import Client
client = Client()
account = client.create_service_account("retraining")
answer = client.create_api_key(account.id, "default").key
"""


@dataclass(frozen=True)
class Outcome:
    """A run that has ended: how the command did, what was printed, and what ZenML keeps of it."""

    exit_code: int
    output: str
    status: str
    steps: dict[str, str]
    hashes: dict[str, str | None]
    metrics: dict[str, Any] | None


def run_of(config: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """configs/kubernetes.yaml with another `config`, changes to some steps, and less patience."""
    run: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "kubernetes.yaml").read_text("utf-8"))
    run["parameters"] = {"config": config}
    run["settings"]["orchestrator"] |= {"job_monitoring_interval": 1, "pod_stop_grace_period": 20}
    for step, changes in steps.items():
        run["steps"][step] = merged(run["steps"].get(step) or {}, changes)
    return run


def typed_run(place: Workplace, name: str, run: Mapping[str, Any]) -> Outcome:
    """`zenml pipeline run reason2decide --config ...` in a workplace, and what came of it."""
    path = place.folder / f"{name}.json"
    path.write_text(json.dumps({**run, "run_name": name}), encoding="utf-8")
    done = place.type("zenml", "pipeline", "run", "reason2decide", "--config", str(path), check=False)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    try:
        facts = place.python(FACTS.format(name=name))
    except AssertionError as error:
        raise AssertionError(f"there is no run {name}:\n{output[-4000:]}") from error
    return Outcome(done.returncode, output, facts["status"], facts["steps"], facts["hashes"], facts["metrics"])


@dataclass
class Site:
    """Where runs are submitted and looked at."""

    cluster: ControlPlane
    services: Services
    place: Workplace
    app: Path
    """What is `/app` in every pod."""

    def run(self, name: str, config: Mapping[str, Any], **steps: Mapping[str, Any]) -> Outcome:
        """A run with our settings for a cluster, with another `config` and with changes to some steps."""
        return typed_run(self.place, name, run_of(config, steps))

    def start_client(self, name: str, config: Mapping[str, Any], **steps: Mapping[str, Any]) -> None:
        """As `kubectl create job --from=cronjob/retraining NAME`, with another config in the image."""
        (self.app / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(run_of(config, steps)), encoding="utf-8")
        (cronjob,) = [one for one in self.cluster.objects("cronjobs") if one["metadata"]["name"] == "retraining"]
        spec = copy.deepcopy(cronjob["spec"]["jobTemplate"]["spec"])
        (client,) = spec["template"]["spec"]["containers"]
        client["image"] = IMAGE
        client["command"] = [word.replace("kubernetes.yaml", f"{name}.yaml") for word in client["command"]]
        here = {"R2D_IMAGE": IMAGE, "ZENML_STORE_URL": self.services.zenml}
        client["env"] = [one | {"value": here[one["name"]]} if one["name"] in here else one for one in client["env"]]
        metadata = {"name": name, "namespace": NAMESPACE}
        key = {"name": "zenml-client", "namespace": NAMESPACE}
        data = {"api-key": b64encode(self.place.python(KEY).encode()).decode()}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": key, "data": data},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec},
        )

    def pods(self, run: str, step: str = "") -> list[Object]:
        """The pods of a run, or of one of its steps, those that are gone included, in the order they were made."""
        labels = {"run_name": run, **({"step_name": step} if step else {})}
        return sorted(self.cluster.pods(**labels), key=lambda pod: pod["metadata"]["creationTimestamp"])

    def orchestrator_pods(self, run: str) -> list[Object]:
        return [pod for pod in self.pods(run) if "step_name" not in pod["metadata"]["labels"]]

    def nodes_of_steps(self, run: str) -> dict[str, list[str]]:
        """Step -> the node of each of its pods."""
        found: dict[str, list[str]] = {}
        for pod in self.pods(run):
            if step := pod["metadata"]["labels"].get("step_name"):
                found.setdefault(step, []).append(pod["spec"].get("nodeName", ""))
        return found


@contextmanager
def running_site(
    folder: Path,
    make_cluster: Callable[[Path, Mapping[str, Image]], AbstractContextManager[ControlPlane]] = in_process,
) -> Iterator[Site]:
    """A cluster with k8s/base applied, the services beside it, and the stack of k8s/stack.yaml active."""
    place = Workplace(folder / "client")
    image = folder / "image"
    shutil.copytree(place.folder, image, ignore=shutil.ignore_patterns(".zen"))
    with (
        running_services(folder / "services") as services,
        make_cluster(folder / "cluster", {IMAGE: image_of(image)}) as cluster,
    ):
        cluster.apply(*base_manifests()[:1], *nodes(), *base_manifests()[1:])
        place.environment |= {
            "KUBECONFIG": str(cluster.kubeconfig("submitter", NAMESPACE)),
            "ZENML_STORE_URL": services.zenml,
            "ZENML_STORE_USERNAME": USER,
            "ZENML_STORE_PASSWORD": PASSWORD,
            "R2D_IMAGE": IMAGE,
            "R2D_KUBE_CONTEXT": CONTEXT,
            "R2D_BUCKET": BUCKET,
            "R2D_S3_ENDPOINT": services.s3,
            "R2D_REGISTRY": IMAGE.split("/")[0],
            "R2D_MLFLOW_URL": services.mlflow,
        }
        place.python(
            "from pathlib import Path\nfrom zenml.client import Client\nfrom mlops.stack import apply_stack\n"
            "Client().create_secret('object-store', {'key': 'test', 'secret': 'test-secret'})\n"
            "Client().create_secret('mlflow', {'username': 'test', 'password': 'test-secret'})\n"
            f"answer = apply_stack(Path('{ROOT / 'k8s' / 'stack.yaml'}'))"
        )
        yield Site(cluster, services, place, image)
        if cluster.faults:
            raise RuntimeError(f"the test cluster itself failed:\n{cluster.faults[0]}")


def image_of(app: Path) -> Image:
    """What stands for the image of k8s/Dockerfile: its variables and places, this environment as its packages."""
    lines = (ROOT / "k8s" / "Dockerfile").read_text("utf-8").split("\nFROM ")[-1].replace("\\\n", " ").splitlines()
    variables = dict(pair.split("=", 1) for line in lines if line.startswith("ENV ") for pair in line.split()[1:])
    (working_dir,) = (line.split()[1] for line in lines if line.startswith("WORKDIR "))
    (user,) = (line.split()[1] for line in lines if line.startswith("USER "))
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/bin:/bin")
    # In the image the code is installed from where it lies. One thread, as in every test: it fixes the last bits.
    variables |= {"PYTHONPATH": working_dir, "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}
    here = {path: Path(path) for path in {sys.prefix, sys.base_prefix} if not path.startswith("/usr")}
    folders = {working_dir: app, "/opt/venv": Path(sys.prefix), **here}
    return Image(folders, variables, working_dir, int(user.split(":")[0]))


def merged(old: Any, new: Any) -> Any:
    """Mappings merged, all else replaced."""
    if isinstance(old, dict) and isinstance(new, Mapping):
        return old | {name: merged(old.get(name), value) for name, value in new.items()}
    return new
