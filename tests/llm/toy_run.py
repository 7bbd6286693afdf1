"""A toy run of requests: what the tests of `r2d.llm` share. It runs in a process of its own too, to be killed there.

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
from r2d.llm import answers as answers_file
from r2d.llm.progress import RequestSummary
from r2d.llm.runner import run_requests
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


def source_for(server: RunningServer, folder: Path, **changes: Any) -> EndpointSource:
    prompt = folder / "prompt.yaml"
    if not prompt.exists():
        prompt.write_text(PROMPT)
    values = {"base_url": server.base_url, "model": "toy", "prompt": str(prompt), "max_concurrency": 4, **changes}
    return EndpointSource.model_validate({"format": "endpoint", **values})


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def generate(examples: pa.Table, source: EndpointSource, answers: Path) -> RequestSummary:
    return run_requests(RationaleRequests(examples, source, LABELS), answers)


def write_current_answers(examples: pa.Table, source: EndpointSource, answers: Path, path: Path) -> int:
    return answers_file.write_current_answers(RationaleRequests(examples, source, LABELS), answers, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    generate(notes(int(sys.argv[1])), EndpointSource.model_validate_json(sys.argv[2]), Path(sys.argv[3]))
