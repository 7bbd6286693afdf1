"""Real LLM outputs and the documented export formats: every record is accounted for, and labels are right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import ParseConfig, RationalesConfig, TextSource
from r2d.data.load import load_examples
from r2d.rationales.ingest import ingest
from r2d.rationales.parsing import Parsed, parse
from r2d.rationales.sources import read_records
from r2d.text import normalise_label
from tests.conftest import SHARED, needs_shared

RAW = SHARED / "raw" / "dss_cqa"
"""10,962 outputs of a language model, whose prompts and styles the parser does not know."""
FORMATS = SHARED / "formats"
pytestmark = needs_shared

Row = tuple[list[str], dict[str, Any], Parsed]
"""Choices, the result of the reference rule, and ours."""


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RAW / name).read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module", params=["train", "test"])
def rows(request: pytest.FixtureRequest) -> list[Row]:
    source = TextSource(format="text", paths=(str(RAW / f"{request.param}_CoT_*.json"),), join="order")
    assert source.parse == ParseConfig()
    records = read_records("palm", source)
    choices = [question["choices"] for question in lines(f"cqa_{request.param}.json")]
    parsed = [
        parse(record.content or "", options, source.parse, stopped_at_limit=record.stopped_at_limit)
        for record, options in zip(records, choices, strict=True)
    ]
    return list(zip(choices, lines(f"expected_parse_{request.param}.jsonl"), parsed, strict=True))


def is_choice(row: Row) -> bool:
    return normalise_label(row[1]["llm_label"]) in map(normalise_label, row[0])


def test_every_answer_that_is_a_choice_is_parsed_as_the_reference_parses_it(rows: list[Row]) -> None:
    usual = [row for row in rows if is_choice(row)]
    assert len(usual) > 1_000
    for _, reference, parsed in usual:
        assert normalise_label(parsed.label or "") == normalise_label(reference["llm_label"]), reference["id"]
    same_text = [row for row in usual if row[2].rationale == row[1]["rationale"].strip()]
    assert len(same_text) >= 0.999 * len(usual)


def test_every_other_answer_is_a_recorded_repair_or_has_a_reason(rows: list[Row]) -> None:
    outcomes: Counter[str] = Counter()
    for choices, reference, parsed in (row for row in rows if not is_choice(row)):
        assert (parsed.label is None) == (parsed.reason is not None)
        assert parsed.label is None or parsed.label in choices
        if parsed.reason is not None:
            outcomes[parsed.detail or parsed.reason] += 1
        elif "repaired label" in parsed.edits:
            outcomes["repaired"] += 1
        else:  # the reference cuts off a last dot that belongs to the choice
            assert (parsed.label or "").endswith("."), reference["id"]
            outcomes["as written"] += 1
    train = {
        "two answers stated": 284,
        "repaired": 21,
        "letter and text disagree": 9,
        "as written": 6,
        "not_a_label": 3,
        "another option is named behind it": 1,  # "skin and muscle", of the choices `skin and` and `muscle`
    }
    test = {"two answers stated": 25, "repaired": 3, "letter and text disagree": 3}
    assert outcomes in (train, test)


def test_no_invented_question_is_left_in_a_rationale(rows: list[Row]) -> None:
    assert [row[1]["id"] for row in rows if "Answer Choices" in row[2].rationale or "\nQ:" in row[2].rationale] == []


@pytest.fixture(scope="module")
def delivered() -> dict[bool, tuple[DataConfig, pa.Table]]:
    """The examples that the documented exports are about, by whether they are batch outputs."""
    columns = {"text": "question", "label": "answer", "options": "choices"}
    pubmedqa, names = SHARED / "raw" / "pubmedqa" / "ori_pqal.json", ["yes", "no", "maybe"]
    configs = {
        True: DataConfig(format="jsonl", path=str(RAW / "cqa_test.json"), labels={"per_row": True}, columns=columns),
        False: DataConfig(format="pubmedqa", path=str(pubmedqa), labels={"names": names}),
    }
    return {is_batch: (config, load_examples(config)) for is_batch, config in configs.items()}


@pytest.mark.parametrize(
    ("format", "file", "num_records", "num_taken"),
    [
        ("label_studio", "label_studio_export.json", 4, 3),
        ("argilla", "argilla_records.json", 3, 3),
        ("argilla", "argilla_flat.jsonl", 3, 3),
        ("openai_batch", "openai_batch_output.jsonl", 8, 5),
        ("vllm_batch", "vllm_run_batch_results.jsonl", 2, 2),
        ("vllm_batch", "vllm_run_batch_results_old.jsonl", 2, 2),
    ],
)
def test_documented_exports_find_their_rows(
    delivered: Any, tmp_path: Path, format: str, file: str, num_records: int, num_taken: int
) -> None:
    source: dict[str, Any] = {"format": format, "paths": [str(FORMATS / file)]}
    if format == "openai_batch":
        source |= {f"{kind}_paths": [str(FORMATS / f"openai_batch_{name}.jsonl")]
                   for kind, name in (("error", "errors"), ("input", "input"))}  # fmt: skip
    is_batch = format.endswith("batch")
    data, examples = delivered[is_batch]
    config = RationalesConfig(stage1_source="src", sources={"src": source})
    ingestion = ingest(examples, config, data=data, privacy=PrivacyConfig(policy="warn"), work_dir=tmp_path)
    counts = ingestion.counts()["src"]
    assert (counts.num_records, counts.num_taken) == (num_records, num_taken)
    assert counts.num_rejected == num_records - num_taken == ingestion.rejected["source"].to_pylist().count("src")
    assert set(counts.rejected) <= {"request_failed", "cancelled"}
    rows = [row for row in ingestion.provenance.to_pylist() if row["source"] == "src"]
    assert len(rows) == num_taken
    if is_batch:
        assert {row["author"] for row in rows} == {"example-model"}
        assert format != "openai_batch" or all(row["prompt_hash"] for row in rows)
    else:
        assert (counts.num_stated_labels, counts.num_disagreeing) == (num_taken, 0)
