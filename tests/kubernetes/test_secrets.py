"""k8s/secrets.sh, with a `kubectl` and a `zenml` that keep their objects in a folder and write down their arguments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kubernetes.manifests import K8S, manifests, pods

KUBECTL = r"""#!/bin/sh
echo "kubectl $*" >> "$STORE/arguments"
namespace=$2 verb=$3 name=$5
case $verb in
get) test -d "$STORE/$namespace/$name" || exit 1
  case "$*" in *jsonpath*)
    key=$(echo "${7#jsonpath=\{.data.}" | tr -d '}\\')
    base64 "$STORE/$namespace/$name/$key" ;;
  esac ;;
create) mkdir -p "$STORE/$namespace"; cp -r "${7#--from-file=}" "$STORE/$namespace/$6" ;;
delete) rm -rf "$STORE/$namespace/$name" ;;
esac
"""
ZENML = r"""#!/bin/sh
echo "zenml $*" >> "$STORE/arguments"
case "$1 $2" in
"secret get") test -f "$STORE/$3.json" ;;
"secret create") cp "${4#--values=@}" "$STORE/$3.json" ;;
"service-account create") echo the-key-of-the-client > "$5" ;;
esac
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Namespace / secret / key, after each command was typed twice."""
    folder = tmp_path_factory.mktemp("secrets")
    for name, text in (("kubectl", KUBECTL), ("zenml", ZENML)):
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(text, encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    environment = {**os.environ, "STORE": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    extra = folder / "hospital.crt"
    extra.write_text("the authority of a hospital\n", encoding="utf-8")
    for words in ("cluster", "tls", f"trust {extra}", "zenml") * 2:
        command = ["sh", str(K8S / "secrets.sh"), *words.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        if words == "zenml" and not (folder / "first").exists():
            shutil.copytree(folder / "reason2decide", folder / "first")
    return folder


def test_every_secret_that_a_pod_reads_is_made_with_the_keys_that_it_reads(store: Path) -> None:
    for pod in pods(manifests()):
        for volume in pod.spec.get("volumes", ()):
            name = volume.get("secret", {}).get("secretName")
            if name and not volume["secret"].get("optional"):
                assert (store / pod.namespace / name).is_dir(), f"{pod.workload}: {name}"
                for item in volume["secret"].get("items", ()):
                    assert (store / pod.namespace / name / item["key"]).is_file(), f"{pod.workload}: {name}"


def test_a_second_call_changes_nothing(store: Path) -> None:
    for path in (store / "first").rglob("*"):
        now = store / "reason2decide" / path.relative_to(store / "first")
        assert path.is_dir() or path.read_bytes() == now.read_bytes()


def test_no_secret_was_an_argument(store: Path) -> None:
    arguments = (store / "arguments").read_text(encoding="utf-8")
    files = [path for name in ("reason2decide", "zenml") for path in (store / name).rglob("*") if path.is_file()]
    values = {path.read_text("utf-8").strip() for path in files}
    assert len(values) > 20
    assert [value for value in values if value not in ("root",) and value in arguments] == []


def test_steps_are_no_administrators_and_have_the_key_of_their_bucket_alone(store: Path) -> None:
    assert json.loads((store / "mlflow.json").read_text("utf-8"))["username"] == "pipeline"
    key = json.loads((store / "object-store.json").read_text("utf-8"))
    assert key["key"] == (store / "reason2decide" / "object-store" / "key").read_text("utf-8")
    secrets = [path.read_text("utf-8") for path in (store / "reason2decide").glob("*-store/secret")]
    assert len(set(secrets)) == len(secrets) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the command `openssl` is missing")
@pytest.mark.parametrize(
    "service",
    [
        "reason2decide/mlflow",
        "reason2decide/mlflow-postgres",
        "reason2decide/minio",
        "zenml/zenml",
        "zenml/zenml-mysql",
    ],
)
def test_every_certificate_is_trusted_for_the_name_of_its_service(service: str, store: Path) -> None:
    namespace, name = service.split("/")
    certificate = store / namespace / f"{name}-tls" / "tls.crt"
    for host in (name, f"{name}.{namespace}.svc"):
        trust = store / namespace / "trust" / "ca.crt"
        command = ["openssl", "verify", "-CAfile", trust, "-verify_hostname", host, certificate]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "the authority of a hospital" in (store / namespace / "trust" / "ca.crt").read_text("utf-8")
