"""What a schema cannot see: every pod is as restricted as it can be, and every right and open port has its reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from r2d.config.loading import read_parameters
from tests.kubernetes.cluster.admission import restricted_violations
from tests.kubernetes.manifests import (
    IMAGE,
    K8S,
    ROOT,
    Manifest,
    Pod,
    manifests,
    named,
    overlay,
    pods,
    read_yaml,
    step_pods,
    zenml_jobs,
)

OUR_IMAGES = {"reason2decide:0.1.0", IMAGE}
CONFIG: Manifest = read_yaml("configs/kubernetes.yaml")
MULTI_NODE: Manifest = read_yaml("configs/cluster/multi_node.yaml")["settings"]


def every_pod() -> list[Pod]:
    every = [*pods(manifests()), *pods(zenml_jobs().values())]
    assert len(every) >= 14
    return every


def every_container() -> list[tuple[str, Manifest]]:
    """Workload and container."""
    return [(pod.workload, container) for pod in every_pod() for container in pod.containers]


def test_every_pod_meets_the_standard_restricted_and_cannot_write_its_root() -> None:
    for pod in every_pod():
        assert list(restricted_violations(pod.spec)) == [], pod.workload
        assert pod.spec["securityContext"]["runAsUser"] >= 999, pod.workload
    for workload, container in every_container():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, workload
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, workload


def test_our_image_runs_as_the_user_that_it_was_made_for() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", (K8S / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    ours = [pod for pod in every_pod() if pod.containers[0]["image"] in OUR_IMAGES]
    assert len(ours) > 8
    assert {pod.spec["securityContext"]["runAsUser"] for pod in ours} == {int(user)}


def test_every_container_has_requests_and_limits_that_are_allowed_and_memory_is_not_overcommitted() -> None:
    (allowed,) = named(manifests(), "LimitRange")["reason2decide"]["spec"]["limits"]
    for workload, container in every_container():
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        for name in ("cpu", "memory"):
            most = parse_quantity(allowed["max"][name])
            assert parse_quantity(requests[name]) <= parse_quantity(limits[name]) <= most, workload
        assert requests["memory"] == limits["memory"], workload


def test_every_scratch_volume_has_a_size() -> None:
    for pod in every_pod():
        for volume in pod.spec.get("volumes", ()):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], pod.workload


def test_every_image_is_pinned() -> None:
    for workload, container in every_container():
        image = container["image"]
        assert re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+[\w.-]*$|:RELEASE\.\d{4}", image), (
            f"{workload}: {image} moves"
        )


@pytest.mark.parametrize("name", ["gpu", "gpu-mig", "spot"])
def test_production_runs_no_image_without_a_digest(name: str) -> None:
    """What is shipped names no digest, since there is none before the image is pushed: the cluster refuses it."""
    items = overlay(name)
    images = [container["image"] for pod in pods(items) for container in pod.containers]
    assert all(image.endswith("@sha256:SET-ME") for image in images)
    (rule,) = named(items, "ValidatingAdmissionPolicy")["reason2decide-digests"]["spec"]["validations"]
    (digest,) = re.findall(r"image\.matches\('(.+)'\)", rule["expression"])
    assert re.search(digest, IMAGE)
    assert not [image for image in [*images, "reason2decide:0.1.0"] if re.search(digest, image)]
    (binding,) = named(items, "ValidatingAdmissionPolicyBinding").values()
    (where,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert where["values"] == ["reason2decide", "zenml"]
    assert binding["spec"]["validationActions"] == ["Deny"]


def test_no_secret_is_in_a_file_a_variable_or_an_argument() -> None:
    """Pods read passwords from files; an argument is seen by all of the machine. `printf` is the shell's own."""
    assert named(manifests(), "Secret") == {}
    for workload, container in every_container():
        assert "envFrom" not in container, workload
        for variable in container.get("env", ()):
            assert "secretKeyRef" not in variable.get("valueFrom", {}), f"{workload}: {variable['name']}"
            if re.search(r"PASSWORD|SECRET|TOKEN$|KEY", variable["name"]):
                assert variable["value"][:9] in ("/secrets/", "sql"), f"{workload}: {variable['name']}"
        for word in [*container.get("command", ()), *container.get("args", ())]:
            read = [line for line in word.splitlines() if "$(cat /secrets" in line]
            assert all(line.strip().startswith(("export ", "printf ")) for line in read), f"{workload}: {read}"
    commands = (K8S / "secrets.sh").read_text(encoding="utf-8")
    assert "--from-literal" not in commands
    assert re.findall(r"zenml secret create .*", commands) == [
        'zenml secret create object-store --values=@"$work/object-store.json"',
        'zenml secret create mlflow --values=@"$work/mlflow.json"',
    ]


@pytest.mark.parametrize("name", ["dev", "gpu"])
def test_every_service_speaks_tls_and_nobody_speaks_plain_http(name: str) -> None:
    items = overlay(name)
    assert "http://" not in json.dumps([items, *manifests(), *zenml_jobs().values()])
    services = {pod.workload.split()[1]: pod for pod in pods(items) if "Job" not in pod.workload}
    assert set(services) == {"mlflow", "mlflow-postgres", "zenml", "zenml-mysql", *({"minio"} if name == "dev" else ())}
    for service, pod in services.items():
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert f"{service}-tls" in {volume.get("secret", {}).get("secretName") for volume in volumes.values()}
        (container,) = pod.containers
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            assert container.get(probe, {}).get("httpGet", {"scheme": "HTTPS"})["scheme"] == "HTTPS", service
    made = {certificate["spec"]["secretName"] for certificate in named(items, "Certificate").values()}
    if name == "gpu":
        assert made == {"reason2decide-authority", "serving-tls", *(f"{service}-tls" for service in services)}
    (rules,) = (named(items, "ConfigMap")["mlflow-postgres"]["data"].values(),)
    assert [line.split()[0] for text in rules for line in text.splitlines()] == ["local", "hostssl"]
    (mysql,) = services["zenml-mysql"].containers
    assert "--require-secure-transport=ON" in mysql["args"]


def test_every_service_may_be_drained_only_on_purpose() -> None:
    budgets = [m["spec"]["selector"]["matchLabels"] for m in manifests() if m["kind"] == "PodDisruptionBudget"]
    services = [pod for pod in every_pod() if pod.workload.split()[0] in ("Deployment", "StatefulSet")]
    for pod in services:
        assert any(budget.items() <= pod.labels.items() for budget in budgets), pod.workload
    assert len(budgets) == len(services)


def test_of_every_scheduled_job_it_is_told_when_it_is_late() -> None:
    """It writes down its success in MLflow, which lets its pods in, and `r2d watch` knows how often that should be."""
    watched = read_yaml("configs/cluster/watch.yaml")["parameters"]["config"]["jobs"]
    policies = named(manifests(), "NetworkPolicy")
    cronjobs = [pod for pod in every_pod() if pod.workload.startswith("CronJob")]
    assert len(cronjobs) >= 3
    written = set()
    for pod in cronjobs:
        commands = " ".join(word for container in pod.containers for word in container.get("command", ()))
        (job,) = re.findall(r"r2d (?:beat (\w+)|(retrain|watch) )", commands)
        written.add("".join(job))
        assert _reaches_mlflow(pod.labels, policies), pod.workload
    assert written == {*watched, "watch"}


def _reaches_mlflow(labels: dict[str, str], policies: dict[str, Manifest]) -> bool:
    """Whether some policy lets a pod out to MLflow, and MLflow's lets it in."""
    out = [
        p["spec"] for p in policies.values() if _of(p) == "reason2decide" and _selects(p["spec"]["podSelector"], labels)
    ]
    peers = [peer for spec in out for rule in spec.get("egress", ()) for peer in rule["to"]]
    is_out = any(peer.get("podSelector") == {"matchLabels": {"app.kubernetes.io/name": "mlflow"}} for peer in peers)
    entries = [peer["podSelector"] for rule in policies["mlflow"]["spec"]["ingress"] for peer in rule["from"]]
    return is_out and any(_selects(selector, labels) for selector in entries)


def test_a_key_opens_one_bucket_and_no_service_has_the_key_of_another() -> None:
    policies = named(manifests(), "ConfigMap")["minio-policies"]["data"]
    buckets = {
        name: {
            resource.split(":::")[1].split("/")[0]
            for rule in json.loads(text)["Statement"]
            for resource in rule["Resource"]
        }
        for name, text in policies.items()
    }
    assert buckets == {
        "object-store": {"reason2decide"},
        "mlflow-store": {"mlflow"},
        "backup-store": {"reason2decide", "mlflow"},
    }
    actions = {action for rule in json.loads(policies["backup-store"])["Statement"] for action in rule["Action"]}
    assert actions == {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject"}, (
        "a backup writes nothing into the store"
    )
    users = {
        pod.workload: {volume["secret"]["secretName"] for volume in pod.spec.get("volumes", ()) if "secret" in volume}
        for pod in every_pod()
    }
    assert "object-store" not in users["Deployment mlflow"]
    for step in step_pods():
        assert users[f"Job {step.replace('_', '-')}"] == {"trust"}, "what a step needs comes from ZenML's secrets"


def test_a_model_is_fetched_by_the_commit() -> None:
    (container,) = next(pods([named(manifests(), "Job")["fetch-model"]])).containers
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables["REVISION"] == "COMMIT", "the user names it"
    for revision in ("COMMIT", "main", "v1.0", "abc123"):
        environment = {**os.environ, "FOLDER": "f", "REVISION": revision}
        command = [sys.executable, *container["command"][1:]]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1
        assert f"REVISION: found {revision!r}; needed: the 40 hex digits of a commit" in done.stderr


# The steps of a run, as ZenML makes them of configs/kubernetes.yaml.


def test_the_config_names_only_steps_that_the_run_has() -> None:
    """ZenML passes over a step that it does not know, and training would run on a CPU."""
    assert set(CONFIG["steps"]) <= set(step_pods())


def test_gpus_are_requested_as_they_are_limited_and_only_on_gpu_nodes() -> None:
    assert {name for name, pod in step_pods().items() if pod.gpus} == {"train_stage1", "train_stage2", "evaluate"}
    for name, pod in step_pods().items():
        (container,) = pod.containers
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu"), name
        affinity = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        label = {"key": "nvidia.com/gpu.present", "operator": "In" if pod.gpus else "NotIn", "values": ["true"]}
        assert affinity == {"nodeSelectorTerms": [{"matchExpressions": [label]}]}, name
        assert bool(pod.spec.get("tolerations")) == bool(pod.gpus), name


def test_a_step_has_what_training_needs() -> None:
    for name, pod in step_pods().items():
        (container,) = pod.containers
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert set(mounts) == {"/tmp", "/dev/shm", "/trust", "/checkpoints", "/models", "/data"}, name
        assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"
        assert {variable["name"]: variable["value"] for variable in container["env"]}["R2D_WORK_DIR"] in mounts
        assert mounts["/data"]["readOnly"]
        assert mounts["/models"]["readOnly"]
    model = read_parameters(ROOT / "configs" / "kubernetes.yaml")["model"]["name"]
    assert model.startswith("/models/")


def test_a_lost_node_is_retried_and_nothing_waits_for_ever() -> None:
    longest = zenml_jobs()["orchestrator"]["spec"]["activeDeadlineSeconds"]
    for name, job in zenml_jobs().items():
        first, second = job["spec"]["podFailurePolicy"]["rules"]
        assert (first["action"], second["action"]) == ("Ignore", "Count"), f"{name}: the first rule that fits counts"
        assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert job["spec"]["backoffLimit"] >= 2, name
        assert 0 < job["spec"]["activeDeadlineSeconds"] <= longest
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, name
    assert CONFIG["retry"]["max_retries"] >= 1, "without a retry an eviction fails the step"


def test_no_code_is_downloaded_into_a_read_only_root() -> None:
    docker = CONFIG["settings"]["docker"]
    assert docker["skip_build"] is True
    assert not docker["allow_download_from_artifact_store"]
    assert not docker["allow_download_from_code_repository"]


def test_the_order_of_priority_is_orchestrator_training_step() -> None:
    classes, steps = named(manifests(), "PriorityClass"), step_pods()
    ranked = [next(pods([zenml_jobs()["orchestrator"]])), steps["train_stage2"], steps["load_examples"]]
    first, second, third = (classes[pod.spec["priorityClassName"]]["value"] for pod in ranked)
    assert first > second > third


def test_a_pod_of_several_nodes_is_given_what_a_training_step_is_given() -> None:
    node, shared = MULTI_NODE["step_operator"]["pod_settings"], CONFIG["settings"]["orchestrator"]["pod_settings"]
    training = CONFIG["steps"]["train_stage1"]["settings"]["orchestrator"]["pod_settings"]
    for name in ("resources", "node_selectors", "tolerations"):
        assert node[name] == training[name], name
    assert node["container_security_context"] == shared["container_security_context"]
    assert node["additional_pod_spec_args"] == shared["additional_pod_spec_args"] | training["additional_pod_spec_args"]
    for name in ("volumes", "volume_mounts", "env"):
        assert [part for part in node[name] if part not in shared[name]] == [], name
    starter = MULTI_NODE["orchestrator"]["pod_settings"]
    assert starter == MULTI_NODE["orchestrator"]["orchestrator_pod_settings"]
    assert starter == CONFIG["settings"]["orchestrator"]["orchestrator_pod_settings"]


def test_a_pod_of_a_batch_inference_is_given_no_more_than_a_step_is_given() -> None:
    batch = read_yaml("configs/cluster/batch_inference.yaml")["settings"]["orchestrator"]
    shared, pod = CONFIG["settings"]["orchestrator"], batch["pod_settings"]
    assert batch["orchestrator_pod_settings"] == shared["orchestrator_pod_settings"]
    for name, given in pod.items():
        if name in ("volumes", "volume_mounts", "env"):
            assert [part for part in given if part not in shared["pod_settings"][name]] == [], name
        else:
            assert given == shared["pod_settings"][name], name


# Rights and network.


def test_a_token_is_mounted_only_where_the_api_is_called() -> None:
    accounts = [m for m in manifests() if m["kind"] == "ServiceAccount"]
    mounted = {m["metadata"]["name"] for m in accounts if m.get("automountServiceAccountToken", True)}
    assert mounted == {"submitter", "orchestrator"}
    for pod in every_pod():
        has_token = pod.spec.get("serviceAccountName", "default") in mounted
        assert pod.spec.get("automountServiceAccountToken", has_token) == has_token, pod.workload


def test_nobody_has_a_right_beyond_those_that_a_run_was_seen_to_use() -> None:
    rights = {
        name: {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
        for name, role in named(manifests(), "Role").items()
    }
    assert rights == {
        "submitter": {
            *(("jobs", verb) for verb in ("create", "get", "list", "delete")),
            ("pods", "list"),
            ("pods/log", "get"),
            *(("secrets", verb) for verb in ("create", "patch", "delete")),
        },
        "orchestrator": {
            *(("jobs", verb) for verb in ("create", "get", "list", "patch", "delete")),
            *(("pods", verb) for verb in ("get", "list")),
            ("secrets", "delete"),
        },
        "several-nodes": {("services", "create")},
    }
    assert not [m for m in manifests() if m["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    bound = [subject["name"] for m in manifests() if m["kind"] == "RoleBinding" for subject in m["subjects"]]
    assert sorted(bound) == ["orchestrator", "orchestrator", "submitter"], "the account `step` is bound to nothing"


@pytest.fixture(scope="module")
def network() -> dict[str, Manifest]:
    """Namespace and name -> spec of each network policy."""
    policies = [m for m in manifests() if m["kind"] == "NetworkPolicy"]
    return {f"{m['metadata']['namespace']}/{m['metadata']['name']}": m["spec"] for m in policies}


def test_every_network_policy_is_for_a_pod_and_both_namespaces_deny_the_rest(network: dict[str, Manifest]) -> None:
    for namespace in ("reason2decide", "zenml"):
        assert network[f"{namespace}/default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    node = MULTI_NODE["step_operator"]["pod_settings"]["labels"]
    every_labels = [*((pod.namespace, pod.labels) for pod in every_pod()), ("reason2decide", node)]
    for name, policy in network.items():
        of_namespace = [labels for namespace, labels in every_labels if namespace == name.split("/")[0]]
        assert any(_selects(policy["podSelector"], labels) for labels in of_namespace), f"{name} is for no pod"
        for rule in [*policy.get("ingress", ()), *policy.get("egress", ())]:
            assert rule["ports"], name
            assert rule.get("to") or rule.get("from"), f"{name}: to or from everywhere"


def test_no_pod_reaches_the_internet_but_the_one_that_fetches_a_model(network: dict[str, Manifest]) -> None:
    for name, policy in network.items():
        peers = [peer for rule in policy.get("egress", ()) for peer in rule["to"]]
        blocks = {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}
        private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.2.1/32"}  # the last is nobody's: to be set
        assert name == "reason2decide/fetch-to-hub" or blocks <= private, name
    assert _selected("reason2decide", network["reason2decide/fetch-to-hub"]) == ["Job fetch-model"]


def test_only_client_and_orchestrator_reach_the_api_server(network: dict[str, Manifest]) -> None:
    policy = network["reason2decide/run-to-api-server"]
    assert _selected("reason2decide", policy) == ["CronJob retraining", "Job orchestrator"]


@pytest.mark.parametrize(("name", "store"), [("dev", "minio:9000"), ("gpu", "192.0.2.1/32:443")])
def test_what_a_step_reaches_is_named(name: str, store: str) -> None:
    """Pods and ports, and of a store outside the cluster one address; nothing else."""
    policies = [m["spec"] for m in overlay(name) if m["kind"] == "NetworkPolicy" and _of(m) == "reason2decide"]
    wanted = {"kube-dns:53", "zenml:8443", "mlflow:5000", store}
    for step, pod in step_pods().items():
        rules = [rule for p in policies if _selects(p["podSelector"], pod.labels) for rule in p.get("egress", ())]
        reached = {f"{_peer(peer)}:{port['port']}" for rule in rules for peer in rule["to"] for port in rule["ports"]}
        assert reached - {"minio:9000"} == wanted - {"minio:9000"}, step
        assert store in reached


def _of(manifest: Manifest) -> str:
    return manifest["metadata"]["namespace"]


def _peer(peer: Manifest) -> str:
    return peer["ipBlock"]["cidr"] if "ipBlock" in peer else next(iter(peer["podSelector"]["matchLabels"].values()))


def _selected(namespace: str, policy: Manifest) -> list[str]:
    every = [pod for pod in every_pod() if pod.namespace == namespace]
    return [pod.workload for pod in every if _selects(policy["podSelector"], pod.labels)]


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert {expression["operator"] for expression in expressions} <= {"In"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )
