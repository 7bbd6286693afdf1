"""The test cluster's API as the official client sees it, over TLS: objects, selectors, rights."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config

from tests.kubernetes.cluster import CONTEXT, Cluster
from tests.kubernetes.cluster.selectors import matches_labels
from tests.kubernetes.cluster.site import NAMESPACE, nodes
from tests.kubernetes.conftest import NAMESPACE_AND_RIGHTS, job, pod_spec

Connect = Callable[[str], kubernetes.ApiClient]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), {}) as cluster:
        cluster.apply(*NAMESPACE_AND_RIGHTS, *nodes())
        yield cluster
        assert cluster.faults == []


@pytest.fixture(scope="module")
def connect(cluster: Cluster) -> Connect:
    """A client for a service account; for the administrator, where the name is empty."""

    def connected(account: str) -> kubernetes.ApiClient:
        path = cluster.kubeconfig(account, NAMESPACE)
        return kubernetes_config.new_client_from_config(str(path), context=CONTEXT)

    return connected


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1", "b": "2"}}


def test_the_client_finds_the_version_and_the_resources(connect: Connect) -> None:
    assert int(kubernetes.VersionApi(connect("")).get_code().minor) >= 31
    groups = {group.name for group in kubernetes.ApisApi(connect("")).get_api_versions().groups}
    assert {"batch", "rbac.authorization.k8s.io", "authorization.k8s.io"} <= groups
    jobs = kubernetes.BatchV1Api(connect("")).get_api_resources().resources
    assert {resource.name for resource in jobs} == {"jobs", "cronjobs"}


def test_nobody_speaks_to_the_server_without_its_authority(cluster: Cluster) -> None:
    import urllib3

    with pytest.raises(urllib3.exceptions.MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib3.PoolManager().request("GET", f"https://127.0.0.1:{cluster.server.port}/version", retries=0)


def test_an_object_is_created_read_patched_replaced_and_deleted(connect: Connect) -> None:
    core = kubernetes.CoreV1Api(connect(""))
    created = core.create_namespaced_config_map(NAMESPACE, config_map("round"))
    assert created.metadata.uid
    patched = core.patch_namespaced_config_map("round", NAMESPACE, {"data": {"b": None, "c": "3"}})
    assert patched.data == {"a": "1", "c": "3"}
    assert patched.metadata.resource_version != created.metadata.resource_version
    patched.data = {"d": "4"}
    core.replace_namespaced_config_map("round", NAMESPACE, patched)
    assert core.read_namespaced_config_map("round", NAMESPACE).data == {"d": "4"}
    with pytest.raises(kubernetes.ApiException) as stale:
        core.replace_namespaced_config_map("round", NAMESPACE, patched)
    assert stale.value.status == 409
    with pytest.raises(kubernetes.ApiException) as again:
        core.create_namespaced_config_map(NAMESPACE, config_map("round"))
    assert again.value.status == 409
    core.delete_namespaced_config_map("round", NAMESPACE)


def test_lists_are_selected_by_labels_and_fields(connect: Connect) -> None:
    core = kubernetes.CoreV1Api(connect(""))
    for name, labels in {"one": {"run": "1", "step": "a"}, "two": {"run": "1", "step": "b"}, "three": {}}.items():
        core.create_namespaced_config_map(NAMESPACE, config_map(f"select-{name}", **labels))

    def selected(**selectors: str) -> list[str]:
        items = core.list_namespaced_config_map(NAMESPACE, **selectors).items
        return [item.metadata.name.removeprefix("select-") for item in items if "select" in item.metadata.name]

    assert selected(label_selector="run=1") == ["one", "two"]
    assert selected(label_selector="run=1,step!=a") == ["two"]
    assert selected(field_selector="metadata.name=select-three") == ["three"]
    with pytest.raises(kubernetes.ApiException, match=r"field label not supported: data\.a"):
        selected(field_selector="data.a=1")


@pytest.mark.parametrize(
    ("selector", "is_match"),
    [
        ("", True),
        ("a=1", True),
        ("a==2", False),
        ("a!=2,b", True),
        ("!b", False),
        ("a in (1, 2),c notin (3)", True),
        ("a notin (1)", False),
    ],
)
def test_every_form_of_label_selector(selector: str, is_match: bool) -> None:
    assert matches_labels(selector, {"a": "1", "b": "x"}) == is_match


def test_an_account_without_rights_is_refused_and_the_message_names_the_missing_rule(connect: Connect) -> None:
    with pytest.raises(kubernetes.ApiException) as refused:
        kubernetes.BatchV1Api(connect("step")).create_namespaced_job(NAMESPACE, job("refused"))
    assert refused.value.status == 403
    assert json.loads(refused.value.body)["message"] == (
        'jobs.batch is forbidden: User "system:serviceaccount:reason2decide:step" cannot create resource "jobs" '
        'in API group "batch" in the namespace "reason2decide"'
    )


def test_our_rules_let_each_account_do_its_work_and_no_more(connect: Connect) -> None:
    def may(account: str, verb: str, resource: str, group: str = "", **more: str) -> bool:
        attributes = {"namespace": NAMESPACE, "verb": verb, "resource": resource, "group": group, **more}
        review = {"spec": {"resourceAttributes": attributes}}
        answer = kubernetes.AuthorizationV1Api(connect(account)).create_self_subject_access_review(review)
        return bool(answer.status.allowed)

    assert may("submitter", "create", "jobs", "batch")
    assert may("submitter", "get", "pods", subresource="log")
    assert not may("submitter", "get", "secrets")
    assert may("orchestrator", "patch", "jobs", "batch")
    assert not may("orchestrator", "create", "secrets")
    assert not may("orchestrator", "create", "jobs", "batch", namespace="default")
    assert not any(may("step", verb, "pods") for verb in ("get", "list", "create", "delete"))


def test_a_request_without_a_token_is_unauthorized(cluster: Cluster) -> None:
    configuration = kubernetes.Configuration(host=f"https://127.0.0.1:{cluster.server.port}")
    configuration.ssl_ca_cert = str(cluster.certificates.authority)
    with pytest.raises(kubernetes.ApiException) as refused:
        kubernetes.CoreV1Api(kubernetes.ApiClient(configuration)).list_namespaced_pod(NAMESPACE)
    assert refused.value.status == 401


def test_a_pod_that_breaks_the_standard_of_its_namespace_is_refused(connect: Connect) -> None:
    pod = {"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    with pytest.raises(kubernetes.ApiException, match="violates PodSecurity") as refused:
        kubernetes.CoreV1Api(connect("")).create_namespaced_pod(NAMESPACE, pod)
    assert refused.value.status == 403
    host = pod_spec() | {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}
    with pytest.raises(kubernetes.ApiException, match="hostPath"):
        kubernetes.CoreV1Api(connect("")).create_namespaced_pod(NAMESPACE, {"metadata": {"name": "x"}, "spec": host})


def test_the_token_of_a_run_is_written_and_never_read(connect: Connect) -> None:
    core = kubernetes.CoreV1Api(connect("submitter"))
    data = {"token": base64.b64encode(b"secret").decode()}
    core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "token"}, "data": data})
    with pytest.raises(kubernetes.ApiException, match='cannot get resource \\\\"secrets\\\\"'):
        core.read_namespaced_secret("token", NAMESPACE)
    core.delete_namespaced_secret("token", NAMESPACE)


def test_the_audit_log_has_who_did_what_and_with_which_answer(connect: Connect, cluster: Cluster) -> None:
    with pytest.raises(kubernetes.ApiException):
        kubernetes.CoreV1Api(connect("step")).read_namespaced_pod_log("absent", NAMESPACE)
    entry = cluster.audit[-1]
    assert (entry.user, entry.verb, entry.resource, entry.name, entry.code) == (
        "system:serviceaccount:reason2decide:step", "get", "pods/log", "absent", 403,
    )  # fmt: skip


def test_a_manifest_of_a_kind_that_the_cluster_lacks_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}", encoding="utf-8")
    with pytest.raises(ValueError, match="the test cluster has no Deployment of apps/v1"):
        cluster.apply(path)
