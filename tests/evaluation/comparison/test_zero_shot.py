"""A language model that was asked: its stated labels are decisions, nothing is guessed, and no gold label helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.loading import parse_config
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.config.run import RunConfig
from r2d.data.examples import Example, split_of, to_table
from r2d.data.load import load_examples
from r2d.errors import ConfigError, DataError
from r2d.evaluation.comparison.compare import compare
from r2d.evaluation.comparison.models import MeasuredModel, VariantFacts
from r2d.evaluation.comparison.zero_shot import asked_sources, measure_zero_shot
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA
from r2d.rationales.ingest import ingest
from r2d.rationales.provenance import PROVENANCE_SCHEMA, REJECTED_SCHEMA
from tests.evaluation.comparison.measured import LABELS, QUICK, measured

DATA = DataConfig(format="jsonl", path="notes.jsonl", labels=LABELS)
CONFIG = EvaluationConfig()
PROMPTS = Path(__file__).resolve().parents[3] / "configs" / "prompts"


def notes(*rows: tuple[str, str, str], reference: str = "nurse") -> pa.Table:
    """Test rows `a`, `b` and so on: gold label, rationale of `llm`, rationale of `nurse`."""
    examples = []
    for place, (label, llm, nurse) in enumerate(rows):
        known = {name: text for name, text in (("llm", llm), ("nurse", nurse)) if text}
        chosen = {"rationale": known.get(reference, ""), "rationale_source": reference if reference in known else ""}
        note = Example("abcdefgh"[place], f"note {place}", label, rationales=known, split="test", row=place)
        examples.append(replace(note, **chosen))
    return to_table(examples)


def taken(*rows: tuple[str, str | None], file: str = "out.jsonl") -> pa.Table:
    """Records whose rationale was taken: example and stated label."""
    values = [
        {"example_id": id_, "source": "llm", "label": label, "file": file, "row": place, "author": "some-llm"}
        for place, (id_, label) in enumerate(rows, 10)
    ]
    return pa.Table.from_pylist(values, schema=PROVENANCE_SCHEMA)


def set_aside(*rows: tuple[str, str | None, str, str], row: int = 1, file: str = "out.jsonl") -> pa.Table:
    """Records that were rejected: example, stated label, reason, rationale."""
    names = ("example_id", "label", "reason", "rationale")
    values = [
        dict(zip(names, one, strict=True)) | {"source": "llm", "file": file, "row": row + place}
        for place, one in enumerate(rows)
    ]
    return pa.Table.from_pylist(values, schema=REJECTED_SCHEMA)


def measure(examples: pa.Table, provenance: pa.Table, rejected: pa.Table) -> tuple[dict[str, Any], pa.Table]:
    return measure_zero_shot(examples, provenance, rejected, "llm", config=CONFIG, data=DATA)


FOUR = notes(
    ("now", "chest pain is present", "chest pain"),
    ("soon", "", "a fever of three days"),
    ("later", "", "a mild cough"),
    ("later", "", "no red flag"),
)


def test_stated_labels_are_the_decisions_and_a_missing_one_is_wrong_and_counted() -> None:
    rejected = set_aside(("b", "later", "disagrees_with_gold", "only a fever"), ("c", None, "not_a_label", ""))
    metrics, predictions = measure(FOUR, taken(("a", "now")), rejected)
    assert predictions.schema == PREDICTIONS_SCHEMA
    assert predictions["id"].to_pylist() == ["a", "b", "c", "d"]
    assert predictions["predicted_label"].to_pylist() == ["now", "later", "", ""]
    assert predictions["valid"].to_pylist() == [True, True, False, False]
    assert metrics["label"]["accuracy"] == 0.25
    assert metrics["label"]["invalid_label_rate"] == 0.5
    assert metrics["safety"]["under_triage"]["rate"] == 0.75, "no label tells nobody to hurry"
    facts = metrics["zero_shot"]
    assert (facts["num_without_label"], facts["without_label"]) == (2, {"not_a_label": 1, "no record": 1})
    assert facts["authors"] == ["some-llm"]


@pytest.mark.parametrize(
    ("taken_file", "record", "label"),
    [
        # The ingestion drops the first answer, which is wrong, and takes the second; as a decision, the first counts.
        ("out_10.jsonl", ("a", "later", "disagrees_with_gold", "looks harmless"), "later"),
        ("out_1.jsonl", ("a", "later", "disagrees_with_gold", "looks harmless"), "now"),
        ("out_10.jsonl", ("a", None, "request_failed", ""), "now"),
    ],
)
def test_the_first_answer_counts_in_the_natural_order_of_files_not_gold_ones_nor_failed_requests(
    taken_file: str, record: tuple[str, str | None, str, str], label: str
) -> None:
    _, table = measure(FOUR, taken(("a", "now"), file=taken_file), set_aside(record, file="out_2.jsonl"))
    rationale = {"later": "looks harmless", "now": "chest pain is present"}[label]
    assert (table["predicted_label"][0].as_py(), table["predicted_rationale"][0].as_py()) == (label, rationale)


def test_rationales_are_measured_as_any_models_and_an_unwritten_one_scores_nothing() -> None:
    metrics, predictions = measure(FOUR, taken(("a", "now")), set_aside(("b", "soon", "leaks_label", "a fever")))
    found = predictions["bertscore_f1"].to_pylist()
    assert found[0] > 0.5 < found[1]
    assert found[2:] == [0.0, 0.0]
    assert metrics["rationale"]["num_empty_candidates"] == 2
    assert metrics["rationale"]["populations"]["all"]["bertscore_f1"] == pytest.approx(sum(found) / 4)
    assert metrics["alignment"]["consistency"] is None


def test_a_rationale_is_never_measured_against_itself() -> None:
    own = notes(("now", "chest pain", ""), ("soon", "a fever", ""), reference="llm")
    metrics, predictions = measure(own, taken(("a", "now"), ("b", "soon")), set_aside())
    assert metrics["rationale"] is None
    assert predictions["bertscore_f1"].null_count == 2
    assert metrics["zero_shot"]["num_own_references"] == 2


def test_a_source_without_any_label_for_the_test_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"'llm': no record states an allowed label for any of the 4 test rows"):
        measure(FOUR, taken(("a", None)), set_aside())


def test_the_demos_raw_batch_gives_a_row_offline_with_every_fault_counted(tmp_path: Path) -> None:
    names = ["emergency now", "emergency department", "same day", "within three days", "self care"]
    labels = {"names": names, "ordered": True}
    data = DataConfig(format="synthetic_triage", labels=labels, synthetic={"num_calls": 400})
    rationales = RationalesConfig(stage1_source="nurse", sources={"llm": {"format": "synthetic_triage_batch"}})
    examples = load_examples(data)
    ingestion = ingest(examples, rationales, data=data, privacy=PrivacyConfig(policy="off"), work_dir=tmp_path)
    faults = set(ingestion.rejected["reason"].to_pylist())
    assert not faults & {"no_rationale", "unclear_answer"}, "no answer of this batch was made so"
    chosen = ingestion.select(rationales)
    config = EvaluationConfig(max_rows=40)
    metrics, predictions = measure_zero_shot(
        chosen.stage2, chosen.provenance, ingestion.rejected, "llm", config=config, data=data
    )
    assert metrics["num_rows"] == len(predictions) == 40
    assert set(predictions["id"].to_pylist()) <= set(split_of(examples, "test")["id"].to_pylist())
    asked = metrics["zero_shot"]
    without = asked["num_without_label"]
    assert without == predictions["valid"].to_pylist().count(False) == sum(asked["without_label"].values())
    assert metrics["label"]["invalid_label_rate"] == without / 40
    assert 0.8 < metrics["label"]["accuracy"] < 1
    assert 0.3 < metrics["rationale"]["populations"]["all"]["bertscore_f1"] < 0.99


def test_the_answers_are_compared_with_a_trained_model() -> None:
    metrics, predictions = measure(FOUR, taken(("a", "now")), set_aside(("b", "later", "disagrees_with_gold", "fever")))
    trained = measured("r2d", 1, FOUR["label"].to_pylist(), ["now", "soon", "soon", "later"])
    ids = trained.predictions.set_column(0, PREDICTIONS_SCHEMA.field("id"), FOUR["id"])
    facts = VariantFacts("zero-shot llm", "zero-shot", None, None, "nurse")
    asked = MeasuredModel(facts, Metrics.from_json(metrics), predictions, metrics["zero_shot"])
    comparison = compare([replace(trained, predictions=ids), asked], LABELS, QUICK)
    _, row = comparison.variants
    assert (row.metrics["accuracy"].mean, row.metrics["training_seconds"].mean) == (0.25, None)
    assert row.differences["accuracy"].value == -0.5
    assert comparison.seeds == [1]
    assert list(comparison.zero_shot.values()) == ["llm", 0, ["some-llm"], 2, {"no record": 2}, 0]


def run(asked: dict[str, str], **sources: Any) -> RunConfig:
    labels = {"names": list(LABELS.names), "ordered": True}
    values = {
        "data": {
            "format": "jsonl",
            "path": "notes.jsonl",
            "labels": labels,
            "columns": {"rationales": {"nurse": "why"}},
        },
        "rationales": {"stage1_source": "nurse", "sources": sources},
        "model": {"name": "scratch"},
        "comparison": {"methods": ["r2d"], **asked},
    }
    return parse_config(values)


def endpoint(**changes: Any) -> dict[str, Any]:
    prompt = str(PROMPTS / "triage_rationale.yaml")
    common = {"format": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m", "prompt": prompt}
    return common | changes


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("llm", endpoint(prompt=str(PROMPTS / "triage_explain_label.yaml")), r"shows the model the gold label"),
        ("llm", endpoint(few_shot=2, few_shot_source="nurse"), r"few_shot is 2, so the prompt shows solved examples"),
        ("llm", endpoint(splits=["train"]), r"is not asked about the test rows; add test"),
        ("nurse", endpoint(), r"is no source .* that a language model answered .*; allowed: llm"),
        ("llm", {"format": "csv", "paths": ["a.csv"]}, r"allowed: none is declared"),
    ],
)
def test_only_an_endpoint_that_decides_for_itself_is_taken(name: str, source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"comparison\.zero_shot '{name}'.*{message}"):
        asked_sources(run({"zero_shot": name}, llm=source))


def test_a_prompt_with_solved_examples_is_a_row_of_its_own_and_says_how_many() -> None:
    solved = endpoint(few_shot=3, few_shot_source="nurse")
    both = run({"zero_shot": "llm", "few_shot": "solved"}, llm=endpoint(), solved=solved)
    assert asked_sources(both) == {"llm": 0, "solved": 3}
    for source, message in (
        (endpoint(), r"few_shot is 0, so the prompt shows no solved examples"),
        ({"format": "openai_batch", "paths": ["a.jsonl"]}, r"is of format openai_batch, whose prompt is not known"),
    ):
        with pytest.raises(ConfigError, match=rf"comparison\.few_shot 'llm'.*{message}"):
            asked_sources(run({"few_shot": "llm"}, llm=source))
