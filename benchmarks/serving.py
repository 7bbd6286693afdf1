"""Latency and throughput of `r2d serve` on the loopback: `python -m benchmarks.serving [MODEL] [SECONDS]`.

Each engine is a process of its own with one thread; the clients are threads here, each of which sends one invented call
after another. `published` is the published inference script on the same calls, eight at a time, without a server.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from r2d.config.data import SyntheticTriageConfig
from r2d.synthetic.calls import generate_calls

CLIENTS = (1, 8, 64)
SEED = 5117
NUM_CALLS = 256
PUBLISHED_BATCH = 8


def main(model: str, seconds: float) -> None:
    from mlops.registry.versions import model_folder
    from r2d.modeling.backends.exported import export_model

    notes = [call.text for call in generate_calls(SyntheticTriageConfig(num_calls=NUM_CALLS, seed=SEED))]
    folder = model_folder(model)
    with tempfile.TemporaryDirectory() as scratch:
        exported = {"ctranslate2 fp32": Path(scratch) / "fp32", "ctranslate2 int8": Path(scratch) / "int8"}
        export_model(folder, exported["ctranslate2 fp32"])
        export_model(folder, exported["ctranslate2 int8"], quantization="int8")
        published = published_rate(folder, notes)
        print(f"published inference script, {PUBLISHED_BATCH} at a time: {published:.1f} calls/s\n")
        print("| engine | clients | p50 ms | p95 ms | p99 ms | calls/s | of published | refused |")
        print("|---|---|---|---|---|---|---|---|")
        for engine, of in {"torch": folder, **exported}.items():
            with serving(of) as address:
                load(address, notes, 2, seconds / 5)  # warm
                for num_clients in CLIENTS:
                    latencies, refused, wall = load(address, notes, num_clients, seconds)
                    cuts = statistics.quantiles(latencies, n=100)
                    rate = len(latencies) / wall
                    cells = [engine, str(num_clients), *(f"{1000 * cuts[n - 1]:.0f}" for n in (50, 95, 99))]
                    print(
                        f"| {' | '.join([*cells, f'{rate:.1f}', f'{rate / published:.1f}', str(refused)])} |",
                        flush=True,
                    )


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The address of a service of one thread."""
    command = [sys.executable, "-c", "from mlops.cli.main import main; main()", "serve", "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "--model", str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split(" answers at ")[1].removesuffix("/v1/decide\n")
        finally:
            process.send_signal(signal.SIGTERM)


def load(address: str, notes: Sequence[str], num_clients: int, seconds: float) -> tuple[list[float], int, float]:
    """Seconds of each answered call, calls that were refused (429), and seconds in all."""
    latencies: list[float] = []
    refused, started = 0, 0.0
    ready = threading.Barrier(num_clients + 1)

    def ask(first: int) -> None:
        nonlocal refused
        with httpx2.Client(base_url=address, timeout=120, verify=False) as client:
            ready.wait()
            number = first
            while time.perf_counter() - started < seconds:
                body = {"calls": [{"text": notes[number % len(notes)]}]}
                sent = time.perf_counter()
                response = client.post("/v1/decide", json=body)
                if response.status_code == 429:
                    refused += 1
                    time.sleep(0.05)
                    continue
                response.raise_for_status()
                latencies.append(time.perf_counter() - sent)
                number += num_clients

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(num_clients)]
    for client in clients:
        client.start()
    started = time.perf_counter()
    ready.wait()
    for client in clients:
        client.join()
    return latencies, refused, time.perf_counter() - started


def published_rate(folder: Path, notes: Sequence[str]) -> float:
    """Calls a second of the published inference script."""
    from benchmarks.invented_rows import Row
    from benchmarks.published_loop import PublishedLoop
    from r2d.modeling.load import load_pretrained

    model, tokenizer = load_pretrained(str(folder))
    loop = PublishedLoop(model, tokenizer)
    rows = [Row(id="", text=note, label="", rationale="") for note in notes[: 8 * PUBLISHED_BATCH]]
    loop.infer(rows[:PUBLISHED_BATCH], PUBLISHED_BATCH)
    started = time.perf_counter()
    loop.infer(rows, PUBLISHED_BATCH)
    return len(rows) / (time.perf_counter() - started)


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "reason2decide@champion",
        float(sys.argv[2]) if len(sys.argv) > 2 else 10.0,
    )
