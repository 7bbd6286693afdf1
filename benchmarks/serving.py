"""Latency and throughput of `r2d serve` on the loopback, and how it stands a load that lasts.

python -m benchmarks.serving [MODEL] [--seconds 10] [--t5-small]      # a table: engines and numbers of clients
python -m benchmarks.serving [MODEL] --soak-minutes 30 --moves 20     # a load that lasts, with a moving alias

Each engine is a process of its own with one thread on the first core; the clients are threads here, on the other cores,
each of which sends one invented call after another. `published` is the published inference script on the same calls,
eight at a time, without a server, on the first core too.
The load of a soak is open: calls come at random times (Poisson), whether or not those before are answered, and
latencies count from the time a call was due. It is served from a registry of its own, with two versions between which
the alias moves.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import yaml

from benchmarks.t5_small import widen
from r2d.config.data import SyntheticTriageConfig
from r2d.synthetic.calls import generate_calls

CLIENTS = (1, 8, 64)
FIRST_CORE, *OTHER_CORES = sorted(os.sched_getaffinity(0))
SEED = 5117
NUM_CALLS = 256
PUBLISHED_BATCH = 8
SOAK_CLIENTS = 32
"""Calls of a soak that are on their way at a time, at most."""
CAPACITY_SECONDS = 30.0
WARM_SHARE = 0.2
"""Of a soak, before its memory is looked at."""
SOAKED = "soaked"


def invented_notes() -> list[str]:
    return [call.text for call in generate_calls(SyntheticTriageConfig(num_calls=NUM_CALLS, seed=SEED))]


def compare_engines(folder: Path, seconds: float) -> None:
    """Print the table of engines and numbers of clients."""
    from r2d.modeling.backends.exported import export_model

    notes = invented_notes()
    with tempfile.TemporaryDirectory() as scratch:
        exported = {"ctranslate2 fp32": Path(scratch) / "fp32", "ctranslate2 int8": Path(scratch) / "int8"}
        export_model(folder, exported["ctranslate2 fp32"])
        export_model(folder, exported["ctranslate2 int8"], quantization="int8")
        print("| engine | clients | p50 ms | p95 ms | p99 ms | calls/s | of published | CPU ms a call | of published |")
        print("|---|---|---|---|---|---|---|---|---|")
        for engine, of in {"torch": folder, **exported}.items():
            published = published_pace(folder, notes)  # beside each engine, for other work comes and goes
            cells = ["published", "", "", "", "", f"{published.calls_per_second:.1f}", "1.0"]
            print(f"| {' | '.join([*cells, f'{published.cpu_ms:.1f}', '1.0'])} |", flush=True)
            with serving("--model", str(of)) as served:
                load(served, notes, 2, seconds / 5)  # warm
                for num_clients in CLIENTS:
                    found = load(served, notes, num_clients, seconds)
                    assert not found.refused, "the queue takes as many calls as there are clients"
                    ratios = [found.pace.calls_per_second / published.calls_per_second]
                    ratios += [published.cpu_ms / found.pace.cpu_ms]
                    cells = [engine, str(num_clients), *milliseconds(found.latencies, 50, 95, 99)]
                    cells += [f"{found.pace.calls_per_second:.1f}", f"{ratios[0]:.1f}"]
                    print(f"| {' | '.join([*cells, f'{found.pace.cpu_ms:.1f}', f'{ratios[1]:.1f}'])} |", flush=True)


class Pace(NamedTuple):
    """How quickly calls are decided."""

    calls_per_second: float
    cpu_ms: float
    """Processor time of one call in milliseconds, which other work on the machine changes less than the clock's."""


class Load(NamedTuple):
    """What a load has shown."""

    latencies: list[float]
    """Seconds of each answered call."""
    refused: int
    """Answers with 429."""
    pace: Pace


class Served(NamedTuple):
    """A service that answers."""

    address: str
    process_id: int


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """What this thread does, and what it starts, runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def serving(*words: str, **environment: str) -> Iterator[Served]:
    """A service of one thread on the first core: `r2d serve` with these words."""
    command = [sys.executable, "-c", "from mlops.cli.main import main; main()", "serve", "--port", "0", *words]
    with on_core(FIRST_CORE):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        )  # fmt: skip
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if " answers at " not in line:
            raise SystemExit("r2d serve did not start; start it by hand to see why")
        try:
            yield Served(line.split(" answers at ")[1].removesuffix("/v1/decide\n"), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


class Asker:
    """One client with one connection."""

    def __init__(self, address: str) -> None:
        self._connection = HTTPConnection(urlsplit(address).netloc, timeout=120)

    def decide(self, note: str) -> tuple[int, dict[str, Any]]:
        """Status and content of the answer; raises an OSError or HTTPException where there is none."""
        body = json.dumps({"calls": [{"text": note}]})
        try:
            self._connection.request("POST", "/v1/decide", body, {"content-type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, HTTPException):
            self._connection.close()
            raise


def load(served: Served, notes: Sequence[str], num_clients: int, seconds: float) -> Load:
    """Let so many clients ask, each one call after another."""
    latencies: list[float] = []
    refused, started = 0, 0.0
    ready = threading.Barrier(num_clients + 1)

    def ask(first: int) -> None:
        nonlocal refused
        asker, number = Asker(served.address), first
        ready.wait()
        while time.perf_counter() - started < seconds:
            sent = time.perf_counter()
            status, _ = asker.decide(notes[number % len(notes)])
            if status == 429:
                refused += 1
                time.sleep(0.05)
                continue
            assert status == 200, f"status {status}"
            latencies.append(time.perf_counter() - sent)
            number += num_clients

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(num_clients)]
    for client in clients:
        client.start()
    started, before = time.perf_counter(), cpu_seconds(served.process_id)
    ready.wait()
    for client in clients:
        client.join()
    wall, cpu = time.perf_counter() - started, cpu_seconds(served.process_id) - before
    return Load(latencies, refused, Pace(len(latencies) / wall, 1000 * cpu / len(latencies)))


def cpu_seconds(process_id: int) -> float:
    """Processor time that a process has used."""
    words = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(latencies: Sequence[float], *percentiles: float) -> list[str]:
    """Percentiles of seconds, in milliseconds."""
    if not latencies:
        return ["–"] * len(percentiles)
    return [f"{1000 * value:.0f}" for value in np.percentile(latencies, percentiles)]


def published_pace(folder: Path, notes: Sequence[str]) -> Pace:
    """Of the published inference script."""
    import torch

    from benchmarks.invented_rows import Row
    from benchmarks.published_loop import PublishedLoop
    from r2d.modeling.load import load_pretrained

    torch.set_num_threads(1)
    model, tokenizer = load_pretrained(str(folder))
    loop = PublishedLoop(model, tokenizer)
    rows = [Row(id="", text=note, label="", rationale="") for note in notes[: 16 * PUBLISHED_BATCH]]
    with on_core(FIRST_CORE):
        loop.infer(rows[:PUBLISHED_BATCH], PUBLISHED_BATCH)
        started, before = time.perf_counter(), time.process_time()
        loop.infer(rows, PUBLISHED_BATCH)
        wall, cpu = time.perf_counter() - started, time.process_time() - before
    return Pace(len(rows) / wall, 1000 * cpu / len(rows))


# --- soak ---


@dataclass
class Soak:
    """What a load that lasts has shown."""

    latencies: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, and seconds from when the call was due to its answer."""
    refused: int = 0
    """Answers with 429."""
    failures: Counter[str] = field(default_factory=Counter)
    """Any other status, an error of the connection, or an answer by a version that never had the alias."""
    versions: list[str] = field(default_factory=list)
    """The version of each answer, in the order in which they came."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, and resident MiB of the service."""

    @property
    def num_switches(self) -> int:
        """How often the version changed from one answer to the next."""
        return sum(a != b for a, b in zip(self.versions, self.versions[1:], strict=False))

    def memory_slope(self, seconds: float) -> float:
        """MiB an hour (least squares), once warm."""
        at, mib = np.array([each for each in self.memory if each[0] >= WARM_SHARE * seconds]).T
        return float(3600 * np.polyfit(at, mib, 1)[0])


def soak(folder: Path, *, minutes: float, share: float, moves: int, engine: str) -> int:
    """Serve `folder` under a share of its measured capacity, and print what it did; 1 where a request failed."""
    from r2d.modeling.backends.exported import export_model

    notes, seconds = invented_notes(), 60 * minutes
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if engine != "torch":
            export_model(folder, place / "exported", quantization="int8" if engine.endswith("int8") else "none")
            folder = place / "exported"
        uri = f"sqlite:///{place / 'mlflow.db'}"
        versions = registered_twice(folder, uri)
        config = place / "serve.yaml"
        values = {"model": f"{SOAKED}@now", "refresh_seconds": 1.0}
        config.write_text(yaml.safe_dump({"parameters": {"config": values}}), encoding="utf-8")
        with serving("--config", str(config), MLFLOW_TRACKING_URI=uri) as served:
            load(served, notes, 2, 3)  # warm
            rate = share * load(served, notes, SOAK_CLIENTS, CAPACITY_SECONDS).pace.calls_per_second
            print(
                f"{engine}: {rate / share:.1f} calls/s with {SOAK_CLIENTS} clients; {minutes:g} minutes at {rate:.1f} "
                "calls/s\n",
                flush=True,
            )
            result = load_steadily(served, notes, versions, seconds=seconds, rate=rate, moves=moves)
    print_soak(result, seconds, moves)
    return 1 if result.failures else 0


def registered_twice(folder: Path, uri: str) -> set[str]:
    """Two versions of a model folder in a new registry, `name/version`; the alias is at the first."""
    import mlflow

    os.environ["MLFLOW_TRACKING_URI"] = uri
    from mlops.code import ROOT
    from mlops.registry.versions import registry_client

    with registry_client("registering a model to soak") as client:
        client.create_experiment(SOAKED, artifact_location=str(Path(uri.removeprefix("sqlite:///")).parent / "files"))
        mlflow.set_experiment(SOAKED)
        for _ in range(2):
            mlflow.pyfunc.log_model(
                name=SOAKED, python_model=str(ROOT / "mlops" / "pyfunc.py"), artifacts={"model": str(folder)},
                registered_model_name=SOAKED, pip_requirements=[], model_config={"options_per_row": False},
            )  # fmt: skip
        client.set_registered_model_alias(SOAKED, "now", "1")
    return {f"{SOAKED}/1", f"{SOAKED}/2"}


def load_steadily(
    served: Served, notes: Sequence[str], versions: set[str], *, seconds: float, rate: float, moves: int
) -> Soak:
    """Send calls at a rate for some seconds, and move the alias meanwhile."""
    from mlflow import MlflowClient

    result, due = Soak(), queue.Queue[float | None]()
    lock, draw, started = threading.Lock(), random.Random(SEED), time.perf_counter()

    def ask(first: int) -> None:
        asker, number = Asker(served.address), first
        while (at := due.get()) is not None:
            number += SOAK_CLIENTS
            try:
                status, content = asker.decide(notes[number % len(notes)])
            except (OSError, HTTPException) as error:
                with lock:
                    result.failures[type(error).__name__] += 1
                continue
            done = time.perf_counter() - started
            version = content["answers"][0]["model"] if status == 200 else ""
            with lock:
                if status == 429:
                    result.refused += 1
                elif version not in versions:
                    result.failures[f"status {status}"] += 1
                else:
                    result.latencies.append((done, done - at))
                    result.versions.append(version)

    def look() -> None:
        client, moved = MlflowClient(), 0
        while (now := time.perf_counter() - started) < seconds:
            result.memory.append((now, resident_mib(served.process_id)))
            if moved < moves and now >= (moved + 1) * seconds / (moves + 1):
                moved += 1
                client.set_registered_model_alias(SOAKED, "now", str(1 + moved % 2))
            time.sleep(2)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(SOAK_CLIENTS)]
    threads.append(threading.Thread(target=look))
    for thread in threads:
        thread.start()
    at = draw.expovariate(rate)
    while at < seconds:
        time.sleep(max(0.0, started + at - time.perf_counter()))
        due.put(at)
        at += draw.expovariate(rate)
    for _ in range(SOAK_CLIENTS):
        due.put(None)
    for thread in threads:
        thread.join()
    return result


def resident_mib(process_id: int) -> float:
    """Memory of a process that is in RAM."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def print_soak(result: Soak, seconds: float, moves: int) -> None:
    """Ten lines of what it did, and a sentence on the whole."""
    print("| minutes | calls | p50 ms | p99 ms | MiB |\n|---|---|---|---|---|")
    for tenth in range(10):
        start, end = tenth * seconds / 10, (tenth + 1) * seconds / 10
        took = [took for at, took in result.latencies if start <= at < end]
        held = [mib for at, mib in result.memory if start <= at < end]
        cells = [f"{end / 60:.1f}", f"{len(took):,}", *milliseconds(took, 50, 99), f"{max(held, default=0):.0f}"]
        print(f"| {' | '.join(cells)} |")
    p50, p99, p999 = milliseconds([took for _, took in result.latencies], 50, 99, 99.9)
    failed = ", ".join(f"{count} {what}" for what, count in result.failures.items()) or "none"
    print(
        f"{len(result.latencies):,} answered, {result.refused:,} refused (429), failed: {failed}; p50 {p50} "
        f"ms, p99 {p99} ms, p99.9 {p999} ms; memory {result.memory_slope(seconds):+.1f} MiB an "
        f"hour; the alias moved {moves} times, and the version of the answers changed {result.num_switches} times"
    )


def main() -> int:
    from mlops.registry.versions import model_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="reason2decide@champion", help="registered model or model folder")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row of the table")
    parser.add_argument("--soak-minutes", type=float, help="a load that lasts, in place of the table")
    parser.add_argument("--share", type=float, default=0.8, help="of the measured capacity, for the soak")
    parser.add_argument("--moves", type=int, default=20, help="how often the alias moves during the soak")
    parser.add_argument("--t5-small", action="store_true", help="the same answers by a model of T5-small's shape")
    parser.add_argument("--engine", default="torch", choices=["torch", "ctranslate2 fp32", "ctranslate2 int8"])
    given = parser.parse_args()
    folder = model_folder(given.model)
    os.sched_setaffinity(0, OTHER_CORES or [FIRST_CORE])
    with tempfile.TemporaryDirectory() as scratch:
        if given.t5_small:
            widen(folder, Path(scratch) / "t5-small")
            folder = Path(scratch) / "t5-small"
        if given.soak_minutes is None:
            compare_engines(folder, given.seconds)
            return 0
        return soak(folder, minutes=given.soak_minutes, share=given.share, moves=given.moves, engine=given.engine)


if __name__ == "__main__":
    sys.exit(main())
