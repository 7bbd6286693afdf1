"""A toy run of requests for the tests of `r2d.llm`; it runs in a process of its own too, to be killed there.

python -m tests.llm.toy_run NUM_EXAMPLES SOURCE_JSON ANSWERS
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.rationales import EndpointSource
from r2d.data.examples import Example, to_table
from r2d.llm.answers import write_current_answers
from r2d.llm.runner import RunCounts, run_requests
from r2d.rationales.generation import RationaleRequests
from tests.llm.server import RunningServer

LABELS = ("emergency now", "self care")
PROMPT = """system: ''
user: |
  {% for one in examples %}{{ one.text }} {{ one.rationale }}{% endfor %}
  {{ text }}
"""


def notes(num_examples: int) -> pa.Table:
    """Notes that carry their id as the marker that the test server reads; every third is of the training split."""
    return to_table(
        Example(
            id=f"e{number:03d}",
            text=f"SECRET-NOTE {number} <<e{number:03d}>>",
            label=LABELS[number % 2],
            split=("train", "validation", "test")[number % 3],
            group=f"g{number // 2}",
            rationales={"nurse": f"rationale {number}"},
        )
        for number in range(num_examples)
    )


class ToyRun:
    """Runs of requests for notes that share one folder and one file of answers."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.answers, self.ledger = folder / "answers.jsonl", folder / "answers.jsonl.ledger.json"
        self.prompt = folder / "prompt.yaml"
        self.prompt.write_text(PROMPT)

    def source(self, **changes: Any) -> EndpointSource:
        values = {"base_url": self.server.base_url, "model": "toy", "prompt": str(self.prompt), "max_concurrency": 4}
        return EndpointSource.model_validate({"format": "endpoint", **values, **changes})

    def run(self, num_examples: int, **changes: Any) -> RunCounts:
        requests = RationaleRequests(notes(num_examples), self.source(**changes), LABELS)
        return run_requests(requests, self.answers)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.answers.read_text().splitlines()]

    def current(self, num_examples: int, **changes: Any) -> list[dict[str, Any]]:
        """The lines of the clean batch output."""
        path = self.folder / "current.jsonl"
        requests = RationaleRequests(notes(num_examples), self.source(**changes), LABELS)
        num_lines = write_current_answers(requests, self.answers, path)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == num_lines
        return lines

    def num_counted(self) -> int:
        """Requests that the ledger has counted."""
        return int(json.loads(self.ledger.read_text())["requests"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    endpoint = EndpointSource.model_validate_json(sys.argv[2])
    run_requests(RationaleRequests(notes(int(sys.argv[1])), endpoint, LABELS), Path(sys.argv[3]))
