"""Measuring two ways of doing the same: interleaved pairs in one process, what the machine can do, and the record.

Pairs run A B A B after a warm-up, so that a machine that slows down slows both. Between them a matrix product of fixed
size says how fast the machine is at that moment; its range is printed with every table.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PROBE_SIZE = 1024
PROBE_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one run."""

    cpu: float
    """Of all threads of this process."""
    wall: float


@dataclass
class Pairs:
    """Runs of A and B in the order A B A B, and the probes between them."""

    a: list[Seconds] = field(default_factory=list)
    b: list[Seconds] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    """GFLOP/s."""

    def ratios(self, clock: str = "cpu", weight: float = 1.0) -> list[float]:
        """Seconds of A over seconds of B, pair by pair, times a weight for unequal work."""
        return [weight * getattr(a, clock) / getattr(b, clock) for a, b in zip(self.a, self.b, strict=True)]


def timed(call: Callable[[], Any]) -> Seconds:
    """Run it once."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def gemm_rate() -> float:
    """GFLOP for each CPU second of an fp32 matrix product on all threads together: what the machine can do now."""
    left, right = torch.ones(PROBE_SIZE, PROBE_SIZE), torch.ones(PROBE_SIZE, PROBE_SIZE)
    left @ right
    count, started = 0, time.process_time()
    while time.process_time() - started < PROBE_SECONDS:
        left @ right
        count += 1
    return count * 2 * PROBE_SIZE**3 / (time.process_time() - started) / 1e9


def run_pairs(a: Callable[[], Any], b: Callable[[], Any], num_pairs: int) -> Pairs:
    """A and B once unmeasured, then `num_pairs` times in turn."""
    a()
    b()
    pairs = Pairs(gemm=[gemm_rate()])
    for _ in range(num_pairs):
        pairs.a.append(timed(a))
        pairs.b.append(timed(b))
        pairs.gemm.append(gemm_rate())
    return pairs


def with_range(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def peak_mib() -> float:
    """Largest resident memory that this process has had."""
    # Not getrusage: what it says of a child begins at its parent's peak.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def in_child(arguments: Sequence[str]) -> str:
    """Standard output of this benchmark run anew as a child: a peak of memory belongs to one process alone."""
    command = [sys.executable, "-m", "benchmarks.training", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def say(message: str) -> None:
    """Progress, on standard error."""
    print(message, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Table:
    """A table of results, with what a reader must know to read it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def facts(command: Sequence[str]) -> Table:
    """The machine, the versions and the commit, without names of hosts or folders."""
    import transformers

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    rows = [
        ("processor", f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used"),
        ("load over 1, 5, 15 minutes at the end", load),
        ("versions", f"python {platform.python_version()}, torch {torch.__version__}, "
                     f"transformers {transformers.__version__}"),
        ("commit", _commit()),
        ("command", f"`{shlex.join(['python', '-m', *command])}`"),
    ]  # fmt: skip
    return Table("Where and how", ("what", "value"), rows)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = " with changes not committed" if git("status", "--porcelain") else ""
        return git("rev-parse", "--short", "HEAD") + dirty
    except (OSError, subprocess.CalledProcessError):
        return "not known: no git repository"


def write_results(name: str, text: str) -> Path:
    """Put the tables into `benchmarks/results`, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return path
