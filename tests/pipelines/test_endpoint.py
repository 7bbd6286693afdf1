"""A run whose rationales are asked of an endpoint, with the key in a ZenML secret and nowhere else."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.llm.server import RunningServer
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.slow

KEY = "sk-sentinel-0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path)
    running.start()
    yield running
    running.kill()


def test_the_key_comes_from_a_zenml_secret_and_is_seen_by_the_endpoint_alone(
    workplace: Workplace, tiny_config: dict[str, Any], server: RunningServer
) -> None:
    notes = pd.read_csv(workplace.folder / "notes.csv", dtype=str)
    notes["text"] = [f"{text} <<{name}>>" for text, name in zip(notes["text"], notes["id"], strict=True)]
    notes.to_csv(workplace.folder / "marked.csv", index=False)
    (workplace.folder / "prompt.yaml").write_text("system: Explain.\nuser: '{{ text }}'\n", encoding="utf-8")
    config = copy.deepcopy(tiny_config)
    config["registration"]["model_name"] = "toy-endpoint"
    config["method"] = {"name": "stage2_only"}  # the shorter run
    config["data"] |= {"path": "marked.csv", "columns": {"split": "split"}}
    config["rationales"] = {
        "stage1_source": "asked",
        "sources": {
            "asked": {
                "format": "endpoint",
                "base_url": server.base_url,
                "model": "toy",
                "prompt": "prompt.yaml",
                "api_key_env": "ASKED_KEY",
                "quality": {"too_short": "keep"},
            }
        },
    }
    workplace.type("zenml", "secret", "create", "asked", f"--ASKED_KEY={KEY}")
    path = workplace.write_config("asked.yaml", config, secrets=["asked"])
    done = workplace.type("zenml", "pipeline", "run", "reason2decide", "--config", path)
    assert {request["authorization"] for request in server.requests()} == {f"Bearer {KEY}"}
    assert server.asked().total() == len(notes)
    assert KEY not in done.stdout + done.stderr
    assert re.search(r"asked: 120 records, 120 rationales taken", done.stdout + done.stderr)
    stored = [path for path in (workplace.folder.parent).rglob("*") if path.is_file() and path.suffix != ".db"]
    assert [path for path in stored if KEY.encode() in path.read_bytes()] == []
