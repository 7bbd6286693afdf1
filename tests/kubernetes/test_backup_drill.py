"""The nightly backup and its restore by the commands of their manifests: a Postgres of Debian and an S3 store are
destroyed and come back, and the backup is written down. MySQL, which no package has here, is left out."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3fs

from tests.kubernetes.cluster.api import Certificate
from tests.kubernetes.cluster.site import free_ports, running_process, wait_for
from tests.kubernetes.manifests import manifests, named, pods

pytestmark = pytest.mark.cluster

POSTGRES = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534
PASSWORD = "of-the-database"
KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Place:
    """The services, and where their clients' files are."""

    folder: Path
    database: str
    """For `psql`."""
    uri: str
    """For MLflow."""
    store: s3fs.S3FileSystem
    environment: dict[str, str]

    def run(self, kind: str, name: str, container: str) -> None:
        """Run the command of a container of a job. Paths and addresses are of this machine, the rest is as shipped."""
        (job,) = pods([named(manifests(), kind)[name]])
        (command,) = (each["command"] for each in job.containers if each["name"] == container)
        *shell, script = command
        for shipped, here in {"/backups": f"{self.folder}/backups", "/secrets/": f"{self.folder}/secrets/"}.items():
            script = script.replace(shipped, here)
        script = re.sub(r"'host=mlflow-postgres [^']*'", f"'{self.database}'", script)
        done = subprocess.run(
            [*shell, script], env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def query(self, sql: str) -> str:
        command = ["psql", "-qtAX", "--set=ON_ERROR_STOP=1", "--command", sql, self.database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def objects(self) -> dict[str, bytes]:
        return {
            path: self.store.cat(path) for bucket in ("reason2decide", "mlflow") for path in self.store.find(bucket)
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not POSTGRES.exists():
        pytest.skip("Postgres is missing (Debian's package postgresql-15)")
    folder, (port, store_port) = tmp_path_factory.mktemp("drill"), free_ports(2)
    tls = Certificate.made(folder / "tls")
    for name in ("databases/postgres", "mlflow/password"):
        (folder / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "secrets" / name).write_text(PASSWORD, encoding="utf-8")
    for name in ("store", "object", "mlflow"):
        (folder / "secrets" / name).mkdir(exist_ok=True)
        (folder / "secrets" / name / "credentials").write_text(
            "[default]\naws_access_key_id = test\naws_secret_access_key = test-secret\n", encoding="utf-8"
        )
    (folder / "backups").mkdir()
    url = f"https://localhost:{store_port}"
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))  # others may enter it
        shutil.copy(tls.path, data / "server.crt")
        shutil.copy(tls.key, data / "server.key")
        (data / "server.key").chmod(0o600)
        (data / "password").write_text(PASSWORD, encoding="utf-8")
        as_nobody = []
        if os.getuid() == 0:  # Postgres refuses to run as root
            for path in (data, *data.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            as_nobody = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        initdb = [POSTGRES / "initdb", "--pgdata", data / "data", "--username=mlflow", "--auth=scram-sha-256"]
        subprocess.run([*as_nobody, *initdb, f"--pwfile={data}/password"], check=True, capture_output=True, cwd="/")
        server = [f"{POSTGRES}/postgres", "-D", f"{data}/data", "-p", str(port), "-k", "", "-c", "ssl=on"]
        server += ["-c", f"ssl_cert_file={data}/server.crt", "-c", f"ssl_key_file={data}/server.key"]
        stack.enter_context(running_process([*as_nobody, *server], folder / "postgres.log", {}))
        moto = ["moto.server", "--ssl-cert", str(tls.path), "--ssl-key", str(tls.key), "--port", str(store_port)]
        process = stack.enter_context(running_process([sys.executable, "-m", *moto], folder / "s3.log", {}))
        wait_for(f"{url}/moto-api/", process, folder / "s3.log", ssl.create_default_context(cafile=tls.path))
        environment = {
            **KEY, "STORE": url, "AWS_CA_BUNDLE": str(tls.path), "KEEP_DAYS": "30", "HOME": str(folder),
            "ZENML_CONFIG_PATH": f"{folder}/zenml", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/beats.db",
            "PATH": f"{Path(sys.executable).parent}:{POSTGRES}:{os.environ['PATH']}",
        }  # fmt: skip
        security = f"sslmode=verify-full sslrootcert={tls.path}"
        database = f"host=localhost port={port} user=mlflow dbname=mlflow {security}"
        create = [
            "psql",
            "-qX",
            "--command",
            "CREATE DATABASE mlflow",
            database.replace("dbname=mlflow", "dbname=postgres"),
        ]
        for _ in range(300):
            done = subprocess.run(create, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, check=False)
            if done.returncode == 0:
                break
        assert done.returncode == 0, (folder / "postgres.log").read_text()[-2000:]
        store = s3fs.S3FileSystem(
            key="test", secret="test-secret", client_kwargs={"endpoint_url": url, "verify": str(tls.path)},
            use_listings_cache=False,
        )  # fmt: skip
        uri = f"postgresql://mlflow:{PASSWORD}@localhost:{port}/mlflow?sslmode=verify-full&sslrootcert={tls.path}"
        yield Place(folder, database, uri, store, environment)


CHAMPION = """
import sys
import mlflow

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("reason2decide", artifact_location="s3://mlflow/1"))
client.log_metric(run.info.run_id, "macro_f1", 0.7)
client.create_registered_model("triage")
for number in ("1", "2"):
    client.create_model_version("triage", source=f"s3://mlflow/1/{number}", run_id=run.info.run_id)
client.set_registered_model_alias("triage", "champion", "2")
"""


def test_what_was_destroyed_comes_back_by_the_commands_of_the_manifests(place: Place) -> None:
    subprocess.run([sys.executable, "-c", CHAMPION, place.uri], check=True, env={**os.environ, **place.environment})
    for bucket, name, content in (
        ("reason2decide", "r2d_examples/1/table.parquet", b"rows"),
        ("mlflow", "1/2/weights", bytes(range(256)) * 100),
        ("mlflow", "1/2/a b/ü+%41", b"a name that is no plain one"),
    ):
        place.store.makedirs(bucket, exist_ok=True)
        place.store.pipe(f"{bucket}/{name}", content)
    asked = "SELECT alias, version FROM registered_model_aliases; SELECT key, value FROM metrics;"
    before, objects = place.query(asked), place.objects()
    assert before.split() == ["champion|2", "macro_f1|0.7"]

    (place.folder / "backups" / "work").mkdir()
    (place.folder / "backups" / "work" / "zenml.sql").write_text("-- what mysqldump writes", encoding="utf-8")
    place.run("CronJob", "backup", "postgres")
    place.run("CronJob", "backup", "store")
    (backup,) = (place.folder / "backups").iterdir()
    assert backup.suffix == ".tar"

    place.query("UPDATE registered_model_aliases SET version = 1; DROP TABLE metrics CASCADE")
    for bucket in ("reason2decide", "mlflow"):
        place.store.rm(place.store.find(bucket))
    assert place.objects() == {}
    place.environment["BACKUP"] = backup.name
    for container in ("unpack", "postgres", "store"):
        place.run("Job", "restore", container)
    assert place.query(asked) == before
    assert place.objects() == objects
    assert [path.name for path in (place.folder / "backups").iterdir()] == [backup.name]

    beat = "from mlops.watch import _beats; from mlflow import MlflowClient; print(*_beats(MlflowClient()))"
    written = subprocess.run(
        [sys.executable, "-c", beat],
        env={**os.environ, **place.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert written.stdout.split() == ["backup"]
