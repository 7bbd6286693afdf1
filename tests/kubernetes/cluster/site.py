"""A whole site in a folder: a cluster with our manifests, the services beside it, our stack, and a client."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.kubernetes.cluster.api import Certificate, merged
from tests.kubernetes.cluster.cluster import CONTEXT, BaseCluster, Cluster, node
from tests.kubernetes.cluster.kubelet import Image
from tests.kubernetes.cluster.objects import Object
from tests.kubernetes.manifests import K8S, read_yaml
from tests.pipelines.conftest import Workplace

BASE = K8S / "base"
NAMESPACE = "reason2decide"
IMAGE = f"registry.invalid/reason2decide@sha256:{'1' * 64}"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
USER, PASSWORD = "default", "Long-enough-1"
BUCKET = "artifacts"
START_SECONDS = 300

READ_RUN = """
from zenml.client import Client
run = Client().get_pipeline_run({name!r}, allow_name_prefix_match=False)
outputs = [(name, version) for step in run.steps.values() for name, (version, *_) in step.outputs.items()]
metrics = [version.load() for name, version in outputs if name == "r2d_metrics"]
answer = {{
    "status": str(run.status),
    "steps": {{name: str(step.status) for name, step in run.steps.items()}},
    "hashes": {{name: version.content_hash for name, version in outputs}},
    "metrics": metrics[0] if metrics else None,
}}
"""
MAKE_API_KEY = """
from zenml.client import Client
account = Client().create_service_account("retraining")
answer = Client().create_api_key(account.id, "default").key
"""
APPLY_STACK = f"""
from pathlib import Path
from zenml.client import Client
from mlops.stack import apply_stack
Client().create_secret("object-store", {{"key": "test", "secret": "test-secret"}})
Client().create_secret("mlflow", {{"username": "test", "password": "test-secret"}})
answer = apply_stack(Path({str(K8S / "stack.yaml")!r}))
"""


def nodes() -> list[Object]:
    """A node without GPUs, and one with a single GPU that only a pod with a toleration may use."""
    gpu = {"cpu": "16", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "1"}
    return [
        node("cpu-0", {"cpu": "8", "memory": "32Gi", "pods": "110"}, {"pool": "cpu"}),
        node("gpu-0", gpu, {"pool": "gpu", "nvidia.com/gpu.present": "true"}, GPU_TAINT),
    ]


# The services: a ZenML server, an object store and an MLflow server, each a process on 127.0.0.1 that speaks TLS alone.


@contextmanager
def running_services(folder: Path, certificate: Certificate) -> Iterator[dict[str, str]]:
    """The addresses of `zenml`, `s3` and `mlflow`, which stop at the end. What they print is kept in `folder`."""
    folder.mkdir(parents=True)
    tls = f"--ssl-certfile {certificate.path} --ssl-keyfile {certificate.key}"
    environment = {
        "ZENML_CONFIG_PATH": str(folder / "zenml-server"),
        "ZENML_SERVER": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
        "ZENML_SERVER_AUTO_ACTIVATE": "1",
        "ZENML_DEFAULT_USER_NAME": USER,
        "ZENML_DEFAULT_USER_PASSWORD": PASSWORD,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_UVICORN_OPTS": tls,
    }
    mlflow = f"mlflow server --workers 1 --backend-store-uri sqlite:///{folder}/mlflow.db"
    commands = {
        "zenml": (f"uvicorn zenml.zen_server.zen_server_api:app --log-level warning {tls}", "health"),
        "s3": (f"moto.server --ssl-cert {certificate.path} --ssl-key {certificate.key}", "moto-api/"),
        "mlflow": (f"{mlflow} --artifacts-destination {folder}/mlflow", "health"),
    }
    with ExitStack() as stack:
        services, processes = {}, {}
        for (name, (command, _)), port in zip(commands.items(), free_ports(len(commands)), strict=True):
            words = [sys.executable, "-m", *command.split(), "--host", "127.0.0.1", "--port", str(port)]
            processes[name] = stack.enter_context(running_process(words, folder / f"{name}.log", environment))
            services[name] = f"https://localhost:{port}"
        context = ssl.create_default_context(cafile=certificate.path)
        for name, (_, page) in commands.items():
            wait_for(f"{services[name]}/{page}", processes[name], folder / f"{name}.log", context)
        bucket = urllib.request.Request(f"{services['s3']}/{BUCKET}", method="PUT")
        urllib.request.urlopen(bucket, timeout=30, context=context).close()
        yield services


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [free.getsockname()[1] for free in sockets]


@contextmanager
def running_process(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that prints into a log, and ends with the block; and with this process, even if that is killed."""
    command = ["setpriv", "--pdeathsig", "TERM", *command]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(page: str, process: subprocess.Popen[bytes], log: Path, context: ssl.SSLContext | None = None) -> None:
    """Wait until a process answers at an address.

    Raises:
        RuntimeError: it stopped or stays silent; with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(page, timeout=2, context=context).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{page} does not answer:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def secret(name: str, contents: Mapping[str, bytes]) -> Object:
    """A secret in the namespace of the runs, as k8s/secrets.sh makes it."""
    data = {key: b64encode(content).decode() for key, content in contents.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


# A run, and the site on which it is submitted.


@dataclass(frozen=True)
class Outcome:
    """A run that has ended: the exit code and output of its command, and what ZenML keeps of it."""

    exit_code: int
    output: str
    status: str
    steps: dict[str, str]
    hashes: dict[str, str | None]
    metrics: Object | None


def run_file(config: Object, steps: Mapping[str, Object]) -> Object:
    """configs/kubernetes.yaml with another `config`, with changes to some steps, and with shorter waits."""
    run: Object = read_yaml("configs/kubernetes.yaml")
    waits = {"orchestrator": {"job_monitoring_interval": 1, "pod_stop_grace_period": 20}}
    return merged({**run, "parameters": {"config": config}}, {"settings": waits, "steps": dict(steps)})


def submit(place: Workplace, name: str, run: Object, pipeline: str = "reason2decide") -> Outcome:
    """`zenml pipeline run PIPELINE --config ...` in a workplace, and what came of it."""
    path = place.folder / f"{name}.json"
    path.write_text(json.dumps({**run, "run_name": name}), encoding="utf-8")
    done = place.type("zenml", "pipeline", "run", pipeline, "--config", str(path), check=False)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    try:
        return Outcome(done.returncode, output, **place.python(READ_RUN.format(name=name)))
    except AssertionError as error:
        raise AssertionError(f"there is no run {name}:\n{output[-4000:]}") from error


@dataclass
class Site:
    """A cluster, the services beside it, and a client of both.

    Args:
        app: the folder that is `/app` in every pod.
    """

    cluster: BaseCluster
    services: Mapping[str, str]
    place: Workplace
    app: Path

    def run(self, name: str, config: Object, **steps: Object) -> Outcome:
        """A run with the settings of configs/kubernetes.yaml, another `config`, and changes to some steps."""
        return submit(self.place, name, run_file(config, steps))

    def start_client(self, name: str, config: Object, **steps: Object) -> None:
        """`kubectl create job --from=cronjob/retraining NAME`, with another config in the image."""
        (self.app / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(run_file(config, steps)), encoding="utf-8")
        (cronjob,) = self.cluster.objects("cronjobs")
        spec = cronjob["spec"]["jobTemplate"]["spec"]
        (client,) = spec["template"]["spec"]["containers"]
        client["image"] = IMAGE
        client["command"] = [word.replace("kubernetes.yaml", f"{name}.yaml") for word in client["command"]]
        values = {"R2D_IMAGE": IMAGE, "ZENML_STORE_URL": self.services["zenml"]}
        for variable in client["env"]:
            variable |= {"value": values[variable["name"]]} if variable["name"] in values else {}
        metadata = {"name": name, "namespace": NAMESPACE}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
        self.cluster.apply(secret("zenml-client", {"api-key": self.place.python(MAKE_API_KEY).encode()}), job)

    def pods(self, run: str, step: str = "") -> list[Object]:
        """The pods of a run, or of one of its steps, those that are gone included, in the order they were made."""
        labels = {"run_name": run, **({"step_name": step} if step else {})}
        return sorted(self.cluster.pods(**labels), key=lambda pod: pod["metadata"]["creationTimestamp"])

    def orchestrator_pods(self, run: str) -> list[Object]:
        return [pod for pod in self.pods(run) if "step_name" not in pod["metadata"]["labels"]]

    def nodes_of_steps(self, run: str) -> dict[str, list[str]]:
        """Step -> the node of each of its pods."""
        nodes = defaultdict(list)
        for pod in self.pods(run):
            if step := pod["metadata"]["labels"].get("step_name"):
                nodes[step].append(pod["spec"].get("nodeName", ""))
        return nodes


@contextmanager
def running_site(folder: Path, make_cluster: Callable[..., BaseCluster] = Cluster) -> Iterator[Site]:
    """A cluster with k8s/base applied, the services beside it, and the stack of k8s/stack.yaml active.

    Args:
        make_cluster: called with a folder and the images.
    """
    place = Workplace(folder / "client")
    app = folder / "image"
    shutil.copytree(place.folder, app, ignore=shutil.ignore_patterns(".zen"))
    certificate = Certificate.made(folder / "certificate")
    with (
        running_services(folder / "services", certificate) as services,
        make_cluster(folder / "cluster", {IMAGE: image_of(app)}) as cluster,
    ):
        base = read_yaml("k8s/base/kustomization.yaml")["resources"]
        cluster.apply(BASE / "namespace.yaml", *nodes(), *(BASE / name for name in base if name != "namespace.yaml"))
        cluster.apply(secret("trust", {"ca.crt": certificate.path.read_bytes()}))
        place.environment |= {
            "REQUESTS_CA_BUNDLE": str(certificate.path),
            "AWS_CA_BUNDLE": str(certificate.path),
            "KUBECONFIG": str(cluster.kubeconfig("submitter", NAMESPACE)),
            "ZENML_STORE_URL": services["zenml"],
            "ZENML_STORE_USERNAME": USER,
            "ZENML_STORE_PASSWORD": PASSWORD,
            "R2D_IMAGE": IMAGE,
            "R2D_KUBE_CONTEXT": CONTEXT,
            "R2D_BUCKET": BUCKET,
            "R2D_S3_ENDPOINT": services["s3"],
            "R2D_REGISTRY": IMAGE.split("/")[0],
            "R2D_MLFLOW_URL": services["mlflow"],
        }
        place.python(APPLY_STACK)
        yield Site(cluster, services, place, app)
        if cluster.faults:
            raise RuntimeError(f"the test cluster itself failed:\n{cluster.faults[0]}")


def image_of(app: Path) -> Image:
    """The image of k8s/Dockerfile, read from its last stage; its packages are those of this environment."""
    stage = (K8S / "Dockerfile").read_text("utf-8").split("\nFROM ")[-1].replace("\\\n", " ").splitlines()
    (working_dir,) = (line.split()[1] for line in stage if line.startswith("WORKDIR "))
    (user,) = (line.split()[1] for line in stage if line.startswith("USER "))
    variables = dict(pair.split("=", 1) for line in stage if line.startswith("ENV ") for pair in line.split()[1:])
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/bin:/bin")
    # In the image the code is installed from where it lies. The last bits of a sum depend on the number of threads, one
    # as in every test, and on OpenBLAS' choice for this processor.
    same_bits = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "OPENBLAS_"))}
    variables |= {"PYTHONPATH": working_dir, **same_bits}
    python = {path: Path(path) for path in {sys.prefix, sys.base_prefix} if not path.startswith("/usr")}
    return Image(
        {working_dir: app, "/opt/venv": Path(sys.prefix), **python}, variables, working_dir, int(user.split(":")[0])
    )
