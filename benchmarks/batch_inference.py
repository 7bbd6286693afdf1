"""Memory and speed of batch inference around the model: `python -m benchmarks.batch_inference [NUM_ROWS] [FORMAT ...]`.

The predictor is a stand-in that answers at once, so the figures are those of reading, writing, resuming and joining
alone. Each line is a process of its own; memory is the resident set, at the end of the first tenth of the parts and at
its peak. Killed halfway, a run must end with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.jobs import InferenceConfig
from r2d.inference.decide import Answerer
from r2d.inference.infer import infer
from r2d.inference.output import InferenceModel, Parts
from r2d.modeling.model_folder import Calibration
from r2d.modeling.predictor import Decision, Predictor
from r2d.rationales.claims import ClaimChecker

ROOT = Path(__file__).resolve().parents[1]
WORDS_A_CALL = 60
LABELS = ("emergency now", "same day", "self care")
RATIONALE = "Sudden onset and the finding named above ask for this level of care; nothing else in the call lowers it."


class InstantPredictor:
    """Answers from the length of the text."""

    calibration: Any = Calibration.of({"value": 1.0}, {"threshold": 0.6})
    labels: Any = SimpleNamespace(declared=LABELS)

    def decide(self, texts: Sequence[str], *_: object, **__: object) -> list[Decision]:
        return [self.decision(len(text)) for text in texts]

    def decision(self, length: int) -> Decision:
        first = 0.34 + (length % 60) / 100
        shares = dict(zip(LABELS, (first, (1 - first) * 0.7, (1 - first) * 0.3), strict=True))
        label = max(shares, key=lambda name: shares[name])
        return Decision(label, True, shares, RATIONALE)


def instant_answerer() -> Answerer:
    """Without a scope: the stand-in was trained on nothing."""
    return Answerer(cast("Predictor", InstantPredictor()), ClaimChecker.of())


def write_calls(path: Path, num_rows: int) -> None:
    """Calls of words drawn from a list; one in a thousand has no text. A Parquet file has a single row group."""
    drawn = random.Random(0)
    words = ["".join(drawn.choices("abdegiklmnoprstu", k=drawn.randint(2, 9))) for _ in range(5000)]
    texts = [" ".join(drawn.choices(words, k=drawn.randint(WORDS_A_CALL // 2, 2 * WORDS_A_CALL))) for _ in range(997)]
    calls = ((f"call-{row}", "" if row % 1000 == 7 else texts[row % 997]) for row in range(num_rows))
    if path.suffix == ".parquet":
        ids, all_texts = zip(*calls, strict=True)
        table = pa.table({"id": ids, "text": all_texts})
        pq.write_table(table, path, row_group_size=num_rows, use_dictionary=False)
        return
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            file.write("id,text\n")
        for name, text in calls:
            file.write(f"{name},{text}\n" if path.suffix == ".csv" else json.dumps({"id": name, "text": text}) + "\n")


def resident_mib(field: str = "VmRSS") -> float:
    """Of this process, now (`VmRSS`) or at its peak (`VmHWM`; that of `resource` begins with the parent's)."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(field))
    return int(line.split()[1]) / 2**10


def run(calls: str, output: str, kill_at_row: int) -> None:
    """One run in this process; says what it used as JSON."""
    config = InferenceConfig(data={"path": calls}, output=output, model="stand-in")
    early, write = [0.0], Parts.write

    def watched(self: Parts, start: int, table: pa.Table) -> None:
        write(self, start, table)
        if start <= self.plan.input.num_rows // 10:
            early[0] = resident_mib()
        if 0 < kill_at_row <= start:
            os.kill(os.getpid(), signal.SIGKILL)

    Parts.write = watched  # type: ignore[method-assign]
    started = time.perf_counter()
    result = infer(config, InferenceModel("stand-in", "0" * 64), instant_answerer)
    seconds = time.perf_counter() - started
    used = {"seconds": seconds, "early": early[0], "peak": resident_mib("VmHWM")}
    print(json.dumps(used | {"handed_over": result.num_handed_over}))


def in_a_process(calls: Path, output: Path, kill_at_row: int = 0) -> dict[str, float] | None:
    """What a run used; None where it was killed."""
    code = f"from benchmarks.batch_inference import run; run({str(calls)!r}, {str(output)!r}, {kill_at_row})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if kill_at_row:
        assert done.returncode == -signal.SIGKILL, done.stderr
        return None
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(num_rows: int, formats: Sequence[str]) -> None:
    print(f"{num_rows:,} calls of about {WORDS_A_CALL + WORDS_A_CALL // 4} words, a stand-in for the model\n")
    print("| format | input MiB | rows/s | resident MiB after a tenth | peak MiB | killed at half: same bytes |")
    print("|---|---|---|---|---|---|")
    for ending in formats:
        with tempfile.TemporaryDirectory() as folder:
            calls = Path(folder) / f"calls.{ending}"
            write_calls(calls, num_rows)
            outputs = [Path(folder) / name for name in ("whole.parquet", "killed.parquet")]
            used = in_a_process(calls, outputs[0])
            in_a_process(calls, outputs[1], kill_at_row=num_rows // 2)
            assert not outputs[1].exists()
            in_a_process(calls, outputs[1])
            whole, killed = (hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs)
            assert used is not None
            cells = [ending, f"{calls.stat().st_size / 2**20:,.0f}", f"{num_rows / used['seconds']:,.0f}"]
            cells += [f"{used['early']:,.0f}", f"{used['peak']:,.0f}", "yes" if whole == killed else "NO"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:] or ["csv", "jsonl", "parquet"])
