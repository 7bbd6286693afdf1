"""A chain of blows to one run: killed twice behind a checkpoint, a database that is locked, a home that is read-only, a
clock that was set back, a damaged artifact. The result has the bits of a run that nothing happened to, nothing is left
running or half written, and only the owner reads what is left."""

from __future__ import annotations

import copy
import re
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from r2d.files import folder_hash
from tests import warm
from tests.pipelines.conftest import BIN, ROOT, Workplace

pytestmark = pytest.mark.slow
LEFT = """
import mlflow
from mlflow import search_runs
from mlops.tracking import configure_mlflow
from zenml.client import Client
configure_mlflow()
runs = Client().list_pipeline_runs(size=100, hydrate=True).items
steps = Client().list_run_steps(size=500).items
answer = {
    "zenml": sorted(run.status.value for run in runs),
    "steps": sorted({step.status.value for step in steps}),
    "mlflow": sorted({run.info.status for run in search_runs(search_all_experiments=True, output_format="list")}),
    "starts": [run.start_time.timestamp() for run in sorted(runs, key=lambda run: run.index)],
    "versions": len(mlflow.MlflowClient().search_model_versions("name = 'toy-night'")),
}
"""


AS_IF_IT_LIVED = """
import io, logging
from mlops.dead_runs import Process
from pipelines.outcome import close_dead_runs
Process.is_gone, Process.is_alive, said = lambda self: False, lambda self: True, io.StringIO()
logging.getLogger("pipelines.outcome").addHandler(logging.StreamHandler(said))
close_dead_runs()
answer = said.getvalue()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A project that is installed: ZenML finds its init hook, so that the databases too are made by the rules."""
    place = Workplace(tmp_path_factory.mktemp("night"), warm=True)
    installed = place.folder / "reason2decide-0.1.0.dist-info"
    installed.mkdir()
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["zenml.init_hooks"]
    lines = [f"{name} = {target}" for name, target in hooks.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[zenml.init_hooks]", *lines]))
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: reason2decide\nVersion: 0.1.0\n")
    place.environment["HOME"] = str(place.folder.parent / "home")
    (place.folder.parent / "home").mkdir()
    place.write_csv("notes.csv")
    return place


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(tiny_config)
    config["registration"]["model_name"] = "toy-night"
    config["stage2"] |= {"max_steps": 120, "eval_every_steps": 60, "save_every_steps": 10}
    return config


def killed_behind(place: Workplace, config: dict[str, Any], step: int) -> None:
    """Start the run and kill it once a checkpoint of Stage 2 is whole."""
    words = ["pipeline", "run", "reason2decide", "--config", place.write_config("run.yaml", config)]
    process = warm.start(
        [str(BIN / "zenml"), *words], cwd=place.folder, environment=place.environment, folder=place.folder
    )
    work = Path(place.environment["XDG_CACHE_HOME"]) / "reason2decide"
    while process.is_alive() and not any(
        int(path.parent.name.split("-")[1]) >= step for path in work.glob("train_stage2-*/checkpoints/*/manifest.json")
    ):
        time.sleep(0.005)
    assert process.is_alive(), (place.folder / "err").read_text()[-2000:]
    process.kill()
    process.join()


CLOCK_SET_BACK = r"""
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    int result = syscall(SYS_clock_gettime, id, t);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec -= 86400;
    return result;
}
time_t time(time_t *seconds) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return seconds ? (*seconds = t.tv_sec) : t.tv_sec;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, t, zone);
    if (result == 0) t->tv_sec -= 86400;
    return result;
}
"""


def clock_set_back(folder: Path) -> list[str]:
    """Words before a command that set its clock back by a day; none without a compiler."""
    if shutil.which("cc") is None:
        return []
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(f"#define _GNU_SOURCE\n{CLOCK_SET_BACK}", encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return ["env", f"LD_PRELOAD={library}"]


def with_read_only(home: str) -> list[str]:
    """Words before a command for which a folder is read-only; none where this machine allows no mount."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        return []
    mount = f'mount --bind {home} {home} && mount -o remount,ro,bind {home} && exec "$@"'
    return ["unshare", "-rm", "sh", "-c", mount, "sh"]


def weights(place: Workplace) -> str:
    """Hash of the Stage-2 model that was stored last."""
    models = (place.folder.parent / "zenml").rglob("r2d_stage2_model/*/*/model.safetensors")
    return folder_hash(max(models, key=lambda path: path.stat().st_mtime_ns).parent)


def test_a_chain_of_blows_leaves_the_right_bits_and_nothing_else(place: Workplace, config: dict[str, Any]) -> None:
    place.type("zenml", "stack", "list", anew=True)  # makes the databases, by the init hook
    killed_behind(place, config, 20)
    assert re.search(r"is at work too, in process \d+ on .*the later one is refused", place.python(AS_IF_IT_LIVED))
    killed_behind(place, config, 60)
    database = next((place.folder.parent / "zenml").rglob("zenml.db"))
    lock = sqlite3.connect(database, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    threading.Timer(8.0, lock.rollback).start()
    home, clock = with_read_only(place.environment["HOME"]), clock_set_back(place.folder)
    command = [*home, *clock, str(BIN / "zenml"), "pipeline", "run", "reason2decide", "--config", "run.yaml"]
    done = subprocess.run(command, cwd=place.folder, env=place.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert "its process was killed; it is closed as failed" in done.stdout + done.stderr
    (resumed_from,) = map(int, re.findall(r"goes on from step (\d+)", done.stdout + done.stderr))
    assert resumed_from >= 60
    ended = weights(place)

    for path in (place.folder.parent / "zenml").rglob("r2d_predictions/*/*/table.parquet"):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    refused = place.run(config, check=False)
    assert refused.returncode != 0
    (line,) = [
        line for line in refused.output.splitlines() if line.startswith("Error: step register_model: r2d_predictions")
    ]
    assert "start the same command again, and it is made anew" in line
    assert "Traceback" not in refused.output
    again = place.run(config)
    assert "train_stage2" in again.cached
    assert "evaluate" not in again.cached

    left = place.python(LEFT)
    assert (min(left["starts"]) == left["starts"][2]) == bool(clock), "the third run began a day before the others"
    assert set(left["zenml"]) == {"completed", "failed"}
    assert set(left["steps"]) <= {"completed", "failed", "cached"}
    assert set(left["mlflow"]) <= {"FINISHED", "FAILED", "KILLED"}
    assert left["versions"] == 1
    kept = [
        path for path in place.folder.parent.rglob("*") if place.folder not in path.parents and path != place.folder
    ]
    assert [path for path in kept if path.name.endswith(".partial")] == []
    readable = [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.name != "home"]
    # Copies of the source code keep its rights, and uv's lock is uv's.
    assert [path for path in readable if not {"code", "uv", "pyfunc.py"} & set(path.parts)] == []

    place.environment["R2D_WORK_DIR"] = str(place.folder.parent / "undisturbed")
    path = place.write_config("undisturbed.yaml", config, steps={"train_stage2": {"enable_cache": False}})
    place.type("zenml", "pipeline", "run", "reason2decide", "--config", path)
    assert weights(place) == ended
    if not (home and clock):
        pytest.skip("all else holds; without unshare -rm the home was not read-only, without cc no clock was set back")
