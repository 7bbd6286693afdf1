"""The nightly backup and its restore by the commands of their manifests: MySQL, Postgres and the object store are lost
with all that they held, and champion, history and lineage come back.

Debian's MariaDB stands for MySQL and Debian's Postgres 15 for Postgres 17; `moto` stands for the object store. The
servers of ZenML and MLflow are those of our Deployments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest
import s3fs

from tests.kubernetes.cluster.api import Certificate, merged
from tests.kubernetes.cluster.site import free_ports, running_process, submit, wait_for
from tests.kubernetes.conftest import CONFIG
from tests.kubernetes.manifests import Manifest, manifests, named, pods
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.cluster

POSTGRES = Path("/usr/lib/postgresql/15/bin")
PACKAGES = {"postgresql-15": POSTGRES / "postgres", "mariadb-server": Path("/usr/sbin/mariadbd")}
NOBODY = 65534
PASSWORD = "Of-all-of-them-1"
BUCKETS = ("reason2decide", "mlflow")
MODEL = CONFIG["registration"]["model_name"]
SHORT = {"max_steps": 2, "eval_every_steps": 2, "save_every_steps": 2}
RUN = merged(CONFIG, {"stage1": SHORT, "stage2": SHORT}) | {
    "registration": {"model_name": MODEL, "gate": {"rules": []}}  # the first version is the champion
}
# The store of k8s/stack.yaml under the orchestrator of this machine.
STACK = """
from zenml.client import Client
from zenml.enums import StackComponentType as Type
client = Client()
store = {{"path": "s3://reason2decide", "key": "test", "secret": "test-secret"}}
store["client_kwargs"] = {{"endpoint_url": {url!r}}}
client.create_stack_component("object-store", "s3", Type.ARTIFACT_STORE, store)
client.create_stack("drill", {{Type.ORCHESTRATOR: "default", Type.ARTIFACT_STORE: "object-store"}})
client.activate_stack("drill")
answer = ""
"""
BEATS = """
from mlflow import MlflowClient
from mlops.watch import _beats
answer = list(_beats(MlflowClient()))
"""


@dataclass
class Drill:
    """One machine on which the containers of our manifests run one by one."""

    folder: Path
    tls: Certificate
    ports: dict[str, int]
    shared: dict[str, str] = field(default_factory=dict)
    """Where what the manifests name is on this machine, beside what is of one container."""

    def address(self, service: str) -> str:
        return f"https://localhost:{self.ports[service]}"

    def container(self, kind: str, workload: str, name: str, **mounts: Path) -> tuple[list[str], dict[str, str]]:
        """Its command and variables. Paths, addresses and ports are of this machine, the rest is as shipped."""
        (pod,) = pods([named(manifests(), kind)[workload]])
        (container,) = (each for each in pod.containers if each["name"] == name)
        here = (
            self.shared | {"/tmp": mkdtemp(dir=self.folder)} | {f"/{at}/": f"{there}/" for at, there in mounts.items()}
        )
        words = [*container.get("command", []), *container.get("args", [])]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}

        def placed(text: str) -> str:
            return re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], text)

        path = f"{Path(sys.executable).parent}:{POSTGRES}:{os.environ['PATH']}"
        environment = {**os.environ, **{key: placed(value) for key, value in variables.items()}, "PATH": path}
        return [placed(word) for word in words], environment

    def run(self, kind: str, workload: str, name: str, **changes: str) -> None:
        command, environment = self.container(kind, workload, name)
        done = subprocess.run(command, env=environment | changes, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    @contextmanager
    def running_stores(self) -> Iterator[s3fs.S3FileSystem]:
        """Both databases and the object store on new volumes; with their end, all that they held is gone."""
        with TemporaryDirectory(prefix="volumes-") as folder, ExitStack() as stack:  # other users may enter it
            volumes = Path(folder)
            for file in (self.folder / "tls").iterdir():
                shutil.copy(file, volumes)
            (volumes / "tls.key").chmod(0o600)
            (volumes / "password").write_text(PASSWORD, encoding="utf-8")
            config: Manifest = named(manifests(), "ConfigMap")["mlflow-postgres"]
            (volumes / "pg_hba.conf").write_text(config["data"]["pg_hba.conf"], encoding="utf-8")
            (volumes / "first.sql").write_text(
                "CREATE DATABASE zenml;\n"
                f"CREATE USER zenml@'%' IDENTIFIED BY '{PASSWORD}';\n"
                "GRANT ALL ON zenml.* TO zenml@'%';\n",
                encoding="utf-8",
            )
            as_nobody = []
            if os.getuid() == 0:  # neither database runs as root
                for path in (volumes, *volumes.iterdir()):
                    os.chown(path, NOBODY, NOBODY)
                as_nobody = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]

            def made(*command: str | Path, stdin: str = "") -> None:
                done = subprocess.run(
                    [*as_nobody, *command], cwd="/", input=stdin, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr[-2000:]

            def arguments(workload: str, name: str) -> list[str]:
                return self.container("StatefulSet", workload, name, tls=volumes, config=volumes)[0]

            data, ports = volumes / "postgres", self.ports
            made(POSTGRES / "initdb", "--pgdata", data, "--username=mlflow", f"--pwfile={volumes}/password")
            made(POSTGRES / "postgres", "--single", "-D", data, "postgres", stdin="CREATE DATABASE mlflow")
            words = [f"{POSTGRES}/postgres", "-D", str(data), "-p", str(ports["postgres"]), "-k", ""]
            words += arguments("mlflow-postgres", "postgres")
            stack.enter_context(running_process([*as_nobody, *words], self.folder / "postgres.log", {}))

            data = volumes / "mysql"
            made("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db")
            words = ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--port={ports['mysql']}"]
            words += ["--bind-address=127.0.0.1", f"--socket={volumes}/socket", f"--init-file={volumes}/first.sql"]
            words.append("--character-set-server=utf8mb4")  # as MySQL's own default
            words += arguments("zenml-mysql", "mysql")
            stack.enter_context(running_process([*as_nobody, *words], self.folder / "mysql.log", {}))

            words = [sys.executable, "-m", "moto.server", "--ssl-cert", str(self.tls.path), "--ssl-key"]
            words += [str(self.tls.key), "--port", str(self.ports["s3"])]
            self.start(stack, "s3", "moto-api/", words, {})
            for command in (
                [f"{POSTGRES}/pg_isready", "--host=localhost", f"--port={ports['postgres']}"],
                ["mysqladmin", "--no-defaults", "ping", "--host=127.0.0.1", f"--port={ports['mysql']}"],
            ):
                until_done(command)
            store = s3fs.S3FileSystem(
                key="test", secret="test-secret", use_listings_cache=False,
                client_kwargs={"endpoint_url": self.address("s3"), "verify": str(self.tls.path)},
            )  # fmt: skip
            for bucket in BUCKETS:
                store.makedirs(bucket)
            yield store

    @contextmanager
    def running_servers(self) -> Iterator[None]:
        """ZenML and MLflow, by the commands of their Deployments."""
        with ExitStack() as stack:
            for name in ("zenml", "mlflow"):
                self.start(stack, name, "health", *self.container("Deployment", name, name))
            yield

    def start(self, stack: ExitStack, name: str, page: str, words: list[str], environment: dict[str, str]) -> None:
        log = self.folder / f"{name}.log"
        process = stack.enter_context(running_process(words, log, environment))
        context = ssl.create_default_context(cafile=self.tls.path)
        wait_for(f"{self.address(name)}/{page}", process, log, context)

    def client(self, name: str) -> Workplace:
        """A workstation that has seen neither server."""
        place = Workplace(self.folder / name)
        place.environment |= {
            "ZENML_STORE_URL": self.address("zenml"), "ZENML_STORE_USERNAME": "admin",
            "ZENML_STORE_PASSWORD": PASSWORD, "MLFLOW_TRACKING_URI": self.address("mlflow"),
            "MLFLOW_TRACKING_USERNAME": "pipeline", "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "REQUESTS_CA_BUNDLE": str(self.tls.path), "AWS_CA_BUNDLE": str(self.tls.path),
        }  # fmt: skip
        return place


def until_done(command: list[str]) -> None:
    for _ in range(600):
        done = subprocess.run(["timeout", "5", *command], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    raise AssertionError(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Drill:
    if missing := [package for package, program in PACKAGES.items() if not program.exists()]:
        pytest.skip(f"missing: Debian's {' and '.join(missing)}")
    folder = tmp_path_factory.mktemp("drill")
    services = ("mysql", "postgres", "s3", "zenml", "mlflow")
    drill = Drill(folder, Certificate.made(folder / "tls"), dict(zip(services, free_ports(5), strict=True)))
    keys = "[default]\naws_access_key_id = test\naws_secret_access_key = test-secret\n"
    for name in (
        "databases/mysql", "databases/postgres", "database/password", "server/password", "server/encryption-key",
        "server/jwt-key", "mlflow/password", "mlflow/flask-key", "pipeline/password", "mlflow/credentials",
        "store/credentials", "object/credentials",
    ):  # fmt: skip
        (folder / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "secrets" / name).write_text(keys if name.endswith("credentials") else PASSWORD, encoding="utf-8")
    (folder / "backups").mkdir()
    tls, ports = drill.tls, drill.ports
    for name, file in (("ca.crt", tls.path), ("tls.crt", tls.path), ("tls.key", tls.key)):
        shutil.copy(file, folder / "tls" / name)
    drill.shared = {
        "/backups": f"{folder}/backups",
        "/secrets/": f"{folder}/secrets/",
        "/tls/": f"{folder}/tls/",
        "/trust/ca.crt": str(tls.path),
        "https://minio.reason2decide.svc:9000": drill.address("s3"),
        "https://mlflow.reason2decide.svc:5000": drill.address("mlflow"),
        "--host=zenml-mysql.zenml.svc": f"--host=localhost --protocol=TCP --port={ports['mysql']}",
        # As MariaDB's clients say it; they have no GTIDs of MySQL's kind.
        "--ssl-mode=VERIFY_IDENTITY": "--ssl-verify-server-cert",
        "--set-gtid-purged=OFF ": "",
        "zenml-mysql:3306": f"localhost:{ports['mysql']}",
        "host=mlflow-postgres ": f"host=localhost port={ports['postgres']} ",
        "mlflow-postgres:5432": f"localhost:{ports['postgres']}",
        "--host 0.0.0.0 --port 8443": f"--host 127.0.0.1 --port {ports['zenml']}",
        "--host 0.0.0.0 --port 5000 --workers 2": f"--host 127.0.0.1 --port {ports['mlflow']} --workers 1",
    }
    return drill


def known(place: Workplace) -> dict[str, Any]:
    """What a person asks first: the champion's answer, every change of alias, and where the champion comes from."""
    note = "Woman, 54 years, chest pain since this morning, short of breath."
    commands = {
        "history": ("history", MODEL, "--json"),
        "lineage": ("lineage", f"{MODEL}@champion", "--json"),
        "answer": ("predict", "--model", f"{MODEL}@champion", "--json", note),
    }
    return {name: place.type("r2d", *command).stdout for name, command in commands.items()}


def objects(store: s3fs.S3FileSystem) -> dict[str, bytes]:
    return {path: store.cat(path) for bucket in BUCKETS for path in store.find(bucket)}


def test_champion_history_and_lineage_come_back_by_the_commands_of_the_manifests(drill: Drill) -> None:
    backups = drill.folder / "backups"
    with drill.running_stores() as store, drill.running_servers():
        place = drill.client("before")
        place.python(STACK.format(url=drill.address("s3")))
        run = submit(place, "first", {"parameters": {"config": RUN}})
        assert run.status == "completed", run.output[-3000:]
        store.pipe("mlflow/a b/ü+%41", b"a name that is no plain one")
        before, stored = known(place), objects(store)
        assert json.loads(before["history"].splitlines()[0])["version"] == "1"
        assert len(stored) > 10
        for name in ("mysql", "postgres", "store"):
            drill.run("CronJob", "backup", name)
        (backup,) = backups.iterdir()
        assert backup.suffix == ".tar"
        assert place.python(BEATS) == ["backup"], "written down for `r2d watch`"

    with drill.running_stores() as store:
        assert objects(store) == {}
        for name in ("unpack", "mysql", "postgres", "store"):
            drill.run("Job", "restore", name, BACKUP=backup.name)
        assert objects(store) == stored
        assert [path.name for path in backups.iterdir()] == [backup.name]
        with drill.running_servers():
            assert known(drill.client("after")) == before
