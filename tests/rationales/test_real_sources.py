"""Real LLM outputs and the documented export formats through the whole ingestion: nothing is lost, labels are right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from r2d.config.loading import parse_config
from r2d.data.load import load_examples
from r2d.data.validation.validate import validate
from r2d.rationales.ingest import Ingestion, ingest

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not here: no folder {SHARED}")


def ingested(tmp_path: Path, values: dict[str, Any]) -> Ingestion:
    checks = {"text_across_splits": "warn", "labels_in_every_split": "off", "language": "off", "token_limit": "off"}
    values["validation"] = {"privacy": {"policy": "warn"}, "severities": checks}
    run = parse_config(values)
    validation = validate(load_examples(run.data), run.validation, labels=run.data.labels)
    validation.raise_for_errors()
    return ingest(
        validation.examples,
        run.rationales,
        data=run.data,
        privacy=run.validation.privacy,
        work_dir=tmp_path,
        quarantined=validation.quarantined,
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "test"])
def test_raw_outputs_of_an_llm_come_out_with_the_labels_of_the_reference(tmp_path: Path, part: str) -> None:
    raw = SHARED / "raw" / "dss_cqa"
    ingestion = ingested(
        tmp_path,
        {
            "data": {
                "format": "jsonl",
                "path": str(raw / f"cqa_{part}.json"),
                "labels": {"per_row": True},
                "columns": {"text": "question", "label": "answer", "options": "choices"},
            },
            "rationales": {
                "stage1_source": "palm",
                "sources": {"palm": {"format": "text", "paths": [str(raw / f"{part}_CoT_*.json")], "join": "order"}},
            },
        },
    )
    with (raw / f"expected_parse_{part}.jsonl").open(encoding="utf-8") as lines:
        reference = {row["id"]: row for row in map(json.loads, lines)}
    candidates = ingestion.candidates["palm"]
    assert len(candidates) == len(reference)
    taken = sum(candidate.accepted for candidate in candidates)
    assert taken + len(ingestion.rejected) == len(candidates)
    assert taken == len(ingestion.provenance)
    same = odd = disagreeing = 0
    for candidate in candidates:
        assert candidate.example is not None
        expected = reference[candidate.example.id]["llm_label"]
        if expected in candidate.example.options:
            same += candidate.label == expected
            disagreeing += expected != candidate.gold
        else:
            odd += 1
            repaired = candidate.label in candidate.example.options
            assert repaired or candidate.reason is not None, "an odd answer needs a reason or a label of its row"
    assert same / (len(candidates) - odd) >= 0.999
    counts = ingestion.result()["sources"]["palm"]
    # The odd answers that were repaired may disagree, too.
    assert disagreeing <= counts["num_disagreeing"] <= disagreeing + odd
    assert counts["num_stated_labels"] >= len(candidates) - odd
    assert Counter(ingestion.rejected["reason"].to_pylist()).keys() <= {
        "not_a_label",
        "no_answer",
        "empty",
        "truncated",
        "no_rationale",
        "too_short",
    }


FORMATS = SHARED / "formats"


@pytest.mark.parametrize(
    ("source", "num_taken"),
    [
        ({"format": "label_studio", "paths": [str(FORMATS / "label_studio_export.json")]}, 3),
        ({"format": "argilla", "paths": [str(FORMATS / "argilla_records.json")]}, 3),
        ({"format": "argilla", "paths": [str(FORMATS / "argilla_flat.jsonl")]}, 3),
    ],
)
def test_exports_of_annotation_tools_find_their_rows(tmp_path: Path, source: dict[str, Any], num_taken: int) -> None:
    data = {
        "format": "pubmedqa",
        "path": str(SHARED / "raw" / "pubmedqa" / "ori_pqal.json"),
        "labels": {"names": ["yes", "no", "maybe"]},
    }
    rationales = {"stage1_source": "human", "sources": {"expert": source}}
    ingestion = ingested(tmp_path, {"data": data, "rationales": rationales})
    counts = ingestion.result()["sources"]["expert"]
    assert counts["num_taken"] == num_taken
    assert counts["num_stated_labels"] == num_taken
    assert counts["num_disagreeing"] == 0
    assert counts["num_records"] == counts["num_taken"] + counts["num_rejected"]
    assert set(counts["rejected"]) <= {"cancelled"}


@pytest.mark.parametrize(
    ("source", "num_records", "num_taken"),
    [
        (
            {
                "format": "openai_batch",
                "paths": [str(FORMATS / "openai_batch_output.jsonl")],
                "error_paths": [str(FORMATS / "openai_batch_errors.jsonl")],
                "input_paths": [str(FORMATS / "openai_batch_input.jsonl")],
            },
            8,
            5,
        ),
        ({"format": "vllm_batch", "paths": [str(FORMATS / "vllm_run_batch_results.jsonl")]}, 2, 2),
        ({"format": "vllm_batch", "paths": [str(FORMATS / "vllm_run_batch_results_old.jsonl")]}, 2, 2),
    ],
)
def test_batch_output_finds_its_rows(tmp_path: Path, source: dict[str, Any], num_records: int, num_taken: int) -> None:
    data = {
        "format": "jsonl",
        "path": str(SHARED / "raw" / "dss_cqa" / "cqa_test.json"),
        "labels": {"per_row": True},
        "columns": {"text": "question", "label": "answer", "options": "choices"},
    }
    rationales = {"stage1_source": "llm", "sources": {"llm": source}}
    ingestion = ingested(tmp_path, {"data": data, "rationales": rationales})
    counts = ingestion.result()["sources"]["llm"]
    assert (counts["num_records"], counts["num_taken"]) == (num_records, num_taken)
    assert set(counts["rejected"]) <= {"request_failed"}
    authors = set(ingestion.provenance["author"].to_pylist())
    assert authors == {"example-model"}
    if "input_paths" in source:
        assert all(ingestion.provenance["prompt_hash"].to_pylist())
