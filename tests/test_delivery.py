"""The example delivery of docs/data-contract.md, through the commands that the page shows."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest

from tests import warm

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "data-contract.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


def r2d(*words: object) -> CompletedProcess[str]:
    command = [str(BIN / "r2d"), *map(str, words)]
    return warm.run(command, cwd=ROOT, environment=os.environ | {"PYTHONPATH": str(ROOT)})


def typed(command: str, out: Path) -> CompletedProcess[str]:
    """A command of the page, its output folder moved to a temporary one."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f".venv/bin/r2d {command} ")]
    return r2d(*line.split("#")[0].split()[1:-1], out)


def test_the_delivery_is_validated_as_the_page_says(tmp_path: Path) -> None:
    done, out = typed("validate", tmp_path), tmp_path
    assert done.returncode == 0, done.stderr
    assert "24 rows: 24 valid, 0 quarantined, 0 errors" in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "examples.parquet", "quarantine.parquet", "findings.parquet", "result.json", "report.html",
        "expectation_suites.json", "expectation_results.json", "data_docs",
    }  # fmt: skip
    assert json.loads((out / "result.json").read_text(encoding="utf-8"))["num_warnings"] == 0


def test_the_delivery_is_ingested_as_the_page_says(tmp_path: Path) -> None:
    done, out = typed("ingest", tmp_path), tmp_path
    assert done.returncode == 0, done.stderr
    assert "llm: 23 records, 22 rationales, 1 rejected" in done.stdout
    assert "edited: 4 records, 3 rationales, 1 rejected" in done.stdout
    rejected = pq.read_table(out / "rejected.parquet").select(["source", "example_id", "reason"]).to_pylist()
    assert rejected == [
        {"source": "llm", "example_id": "c-012", "reason": "no_answer"},
        {"source": "edited", "example_id": "c-005", "reason": "superseded"},
    ]
    provenance = {
        (row["example_id"], row["source"]): row for row in pq.read_table(out / "provenance.parquet").to_pylist()
    }
    assert provenance["c-004", "llm"]["edits"] == ["reasoning removed"]
    assert provenance["c-005", "edited"]["edited_from"] == "edited: e-04"
    assert provenance["c-005", "edited"]["author"] is not None
    examples = {row["id"]: row for row in pq.read_table(out / "examples.parquet").to_pylist()}
    assert examples["c-005"]["rationale_source"] == "edited"
    assert examples["c-001"]["rationale_source"] == "llm"
    assert len(examples) == 24


def test_the_readme_shows_the_same_commands() -> None:
    def commands(text: str) -> set[str]:
        return {
            match.strip()
            for match in re.findall(r"^ *(\.venv/bin/r2d (?:validate|ingest) [^#\n]+)", text, re.MULTILINE)
        }

    assert len(commands(PAGE)) == 2
    assert commands((ROOT / "README.md").read_text(encoding="utf-8")) == commands(PAGE)


def test_a_broken_delivery_exits_with_2_and_leaves_the_report(tmp_path: Path) -> None:
    notes = (ROOT / "docs" / "delivery" / "notes.csv").read_text(encoding="utf-8")
    (tmp_path / "notes.csv").write_text(notes.replace(",self care,", ",go home,"), encoding="utf-8")
    config = (ROOT / "docs" / "delivery" / "delivery.yaml").read_text(encoding="utf-8")
    (tmp_path / "delivery.yaml").write_text(
        config.replace("docs/delivery/notes.csv", str(tmp_path / "notes.csv")), encoding="utf-8"
    )
    out = tmp_path / "checked"
    done = r2d("validate", tmp_path / "delivery.yaml", "--out", out)
    assert done.returncode == 2
    assert re.search(r"error: the data contract is broken .*\n +label_declared .*: 5 row", done.stderr)
    assert "Traceback" not in done.stderr
    assert json.loads((out / "result.json").read_text(encoding="utf-8"))["num_errors"] == 1
    assert (out / "report.html").exists()


def test_the_page_counts_the_expectations_and_names_the_formats_as_the_schema_does() -> None:
    from typing import get_args

    from r2d.config.rationales import RationalesConfig
    from r2d.config.validation import ValidationConfig

    assert f"[{len(ValidationConfig.checks())} expectations]" in PAGE
    formats = {
        value
        for member in get_args(get_args(RationalesConfig.model_fields["sources"].annotation)[1].__args__[0])
        for value in get_args(member.model_fields["format"].annotation)
    }
    assert {value for value in formats if f"`{value}`" not in PAGE} <= {"synthetic_triage_batch"}
