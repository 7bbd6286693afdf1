"""`r2d ingest` and `r2d batch-input` with an endpoint: asked once, stopped half-way, resumed, joined and reported."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import warm
from tests.llm.server import RunningServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
R2D = str(Path(sys.executable).parent / "r2d")
NUM_NOTES = 40
IDS = [f"e{number:03d}" for number in range(NUM_NOTES)]


CONFIG = """
parameters:
  config:
    data:
      format: csv
      path: {folder}/notes.csv
      labels: {{names: [same day, self care]}}
      split: {{validation_fraction: 0.2, test_fraction: 0.2}}
    validation: {{severities: {{language: "off", token_limit: "off"}}}}
    rationales:
      stage1_source: llm
      sources:
        llm:
          {{format: endpoint, base_url: "{base_url}", model: toy, prompt: {folder}/prompt.yaml, api_key_env: TOY_KEY,
          max_concurrency: 2, quality: {{too_short: keep}}}}
"""


def write_run(folder: Path, server: RunningServer) -> Path:
    """A user's CSV, prompt and configuration. The marker in each note is what the test server logs."""
    notes = [
        f"{name},Note {number * 37 % 101} of a caller <<{name}>>,{('self care', 'same day')[number % 2]}\n"
        for number, name in enumerate(IDS)
    ]
    (folder / "notes.csv").write_text("id,text,label\n" + "".join(notes), encoding="utf-8")
    (folder / "prompt.yaml").write_text("system: Explain.\nuser: '{{ text }}'\n", encoding="utf-8")
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(folder=folder, base_url=server.base_url), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ingest:
    """A running `r2d ingest`, and the folder of what it prints."""

    process: BaseProcess
    printed: Path

    def wait(self) -> tuple[int | None, str]:
        """Its exit code, and all that it printed."""
        self.process.join(60)
        return self.process.exitcode, "".join(
            (self.printed / name).read_text(encoding="utf-8") for name in warm.STREAMS
        )


def start(folder: Path, config: Path, key: str | None = "sk-sentinel") -> Ingest:
    printed = folder / f"printed-{len(list(folder.glob('printed-*')))}"
    printed.mkdir()
    command = [R2D, "ingest", str(config), "--out", str(folder / "out")]
    variables = environment() | ({} if key is None else {"TOY_KEY": key})
    return Ingest(warm.start(command, cwd=ROOT, environment=variables, folder=printed), printed)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "TOY_KEY"} | {"PYTHONPATH": str(ROOT)}


def test_a_stopped_run_goes_on_asks_for_nothing_twice_and_keeps_what_was_refused(
    server: RunningServer, tmp_path: Path
) -> None:
    server.start({"e004": ["400"], "e005": ["500", "429"]}, delay=(0.02, 0.06))
    config = write_run(tmp_path, server)
    first = start(tmp_path, config)
    deadline = time.monotonic() + 60
    while sum(server.asked().values()) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGTERM)
    code, output = first.wait()
    assert code == 143, output
    assert not (tmp_path / "out" / "result.json").exists(), "half a result never looks whole"
    code, more = start(tmp_path, config).wait()
    output += more
    assert code == 0, output
    assert server.asked() == Counter(IDS) + Counter({"e005": 2})
    assert "sk-sentinel" not in output + (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "of a caller" not in output
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["sources"]["llm"]
    assert (result["num_records"], result["num_taken"]) == (NUM_NOTES, NUM_NOTES - 1)
    assert result["rejected"] == {"request_failed": 1}
    rejected = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert [(row["example_id"], row["reason"]) for row in rejected] == [("e004", "request_failed")]
    provenance = pq.read_table(tmp_path / "out" / "provenance.parquet").to_pylist()
    assert {row["author"] for row in provenance} == {"toy"}
    assert len({row["prompt_hash"] for row in provenance}) == 1
    code, _ = start(tmp_path, config, key=None).wait()
    assert code == 0, "nothing is left to ask, so no key is needed"
    assert sum(server.asked().values()) == NUM_NOTES + 2


def test_without_the_key_nothing_is_asked_and_the_variable_is_named(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    code, output = start(tmp_path, write_run(tmp_path, server), key=None).wait()
    assert code == 2
    assert "TOY_KEY" in output
    assert "Traceback" not in output
    assert server.asked() == Counter()


def test_the_batch_input_holds_one_request_a_note(server: RunningServer, tmp_path: Path) -> None:
    config, out = write_run(tmp_path, server), tmp_path / "input.jsonl"
    command = [R2D, "batch-input", str(config), "--out", str(out)]
    done = warm.run(command, cwd=ROOT, environment=environment())
    assert done.returncode == 0, done.stderr
    assert f"{NUM_NOTES} requests" in done.stdout
    requests = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [request["custom_id"] for request in requests] == IDS
    assert {request["url"] for request in requests} == {"/v1/chat/completions"}
    absent = warm.run([*command, "--source", "nobody"], cwd=ROOT, environment=environment())
    assert absent.returncode == 2
    assert "no endpoint source 'nobody'; found ['llm']" in absent.stderr
