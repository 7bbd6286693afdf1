"""The model card: matched whole, complete for every kind of run, and readable by the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from mlops.code import COMMIT_VARIABLE, code_state
from r2d.config.gate import GateConfig
from r2d.config.run import RunConfig
from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.metrics import Metrics
from r2d.gate.page import gate_page
from r2d.gate.rules import evaluate_rules
from r2d.lineage.records import Origin
from r2d.model_card import CardFacts, model_card
from r2d.reports.formatting import plain
from tests.gate.measured import LABELS, decisions, metrics_of
from tests.mlops.conftest import run_config

EXPECTED = Path(__file__).parent / "expected_card.md"
ORIGIN = Origin(
    code_commit="c0ffee", code_dirty=True, lock_sha256="1" * 64, data_sha256="d" * 64, rationales_sha256="a" * 64,
    model_sha256="e" * 64, seeds={"split": 42, "stage2": 7},
)  # fmt: skip
NO_COMMIT = dataclasses.replace(ORIGIN, code_commit=None, code_dirty=None)
TRAINED_ON = [
    {"stage": "stage1", "source": "llm", "author": "a|model", "prompt_hash": None, "num_rationales": 6_000},
    {"stage": "stage2", "source": "nurse", "author": None, "prompt_hash": None, "num_rationales": 812},
]

USE = TestSetUse("0123456789ab" * 5, 24, 12, "macro-F1", 0.02)


def facts(run: RunConfig | None = None, **changed: Any) -> CardFacts:
    measured = Metrics.from_json(metrics_of(decisions(0.8), decisions(0.7, seed=3)) | changed)
    rows = {"train": 6_800, "validation": 400, "test": 240}
    return CardFacts(run or run_config("triage"), measured, ORIGIN, rows, TRAINED_ON, USE)


def test_the_card_as_a_whole() -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/test_model_card.py` writes the expected card anew."""
    card = model_card(facts())
    if os.environ.get("R2D_RENEW_PAGES"):
        EXPECTED.write_text(card, encoding="utf-8")
    assert card == EXPECTED.read_text(encoding="utf-8")


def test_card_report_and_gate_say_of_the_test_set_and_of_rare_labels_the_same_words() -> None:
    rare = rare_label_metrics()
    (sentence,) = rare.rare_label_sentences()
    assert sentence.startswith("emergency now has 12 test rows only, and an F1 of 0.")
    page = gate_page(
        dataclasses.replace(evaluate_rules(rare, GateConfig().for_labels(LABELS)), test_set=USE),
        model_name="triage", version="2", next_step="it stays",
    )  # fmt: skip
    card = model_card(dataclasses.replace(facts(), metrics=rare))
    for said in (sentence, USE.sentence(), *rare.seen_sentences()):
        assert said[1:] in card
        assert said[1:] in html.unescape(page)


def rare_label_metrics() -> Metrics:
    """Those of the card, of whose most urgent label there are twelve rows."""
    metrics = facts().metrics
    few = dataclasses.replace(metrics.label.per_class["emergency now"], support=12)
    label = dataclasses.replace(metrics.label, per_class={**metrics.label.per_class, "emergency now": few})
    return dataclasses.replace(metrics, label=label)


def test_the_hub_reads_its_metadata_and_its_results() -> None:
    card = ModelCard(model_card(facts()), ignore_metadata_errors=False)
    assert card.data.library_name == "transformers"
    assert card.data.base_model is None
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    metrics = facts().metrics
    assert results["f1"] == pytest.approx(metrics.label.macro_f1, abs=1e-4)
    assert results["sacrebleu"] == 25.0


def test_a_hub_model_is_named_as_the_base_and_a_folder_is_not(tmp_path: Path) -> None:
    from_hub = ModelCard(model_card(facts(run_config("triage", name="google-t5/t5-small"))))
    assert from_hub.data.base_model == "google-t5/t5-small"
    text = model_card(facts(run_config("triage", name=str(tmp_path))))
    assert ModelCard(text).data.base_model is None
    assert f"a local checkpoint, {plain(tmp_path.name)} |" in text
    assert str(tmp_path.parent) not in text


SECTIONS = [
    "Intended use", "Not for", "Model", "Data", "Decisions", "Safety", "Slices", "Probabilities", "Rationales",
    "Limits", "How to use", "Where it comes from",
]  # fmt: skip


def without_classes() -> CardFacts:
    """Where each row has options of its own."""
    label = {"num_rows": 240, "macro_f1": None, "weighted_f1": None, "accuracy": 0.6, "invalid_label_rate": 0.0}
    run = run_config("quiz")
    values = run.model_dump(mode="json", exclude_none=True)
    values["data"]["labels"] = {"per_row": True}
    values["data"]["format"] = "jsonl"
    values["data"]["columns"]["options"] = "choices"
    sections = dict.fromkeys(("intervals", "safety", "calibration", "selective", "slices", "champion_slices"))
    return facts(
        RunConfig.model_validate(values), label=label, baselines={"an option at random": label}, champion=None,
        differences={}, **sections,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda: facts(rationale=None), "It writes none: method r2d decides only"),
        (lambda: facts(calibration=None, selective=None), "Not calibrated"),
        (lambda: facts(safety=None), "Not measured: the labels have no declared order"),
        (lambda: facts(champion=None, champion_slices=None), "majority class"),
        (without_classes, "There are no intervals: each row has options of its own"),
        (lambda: dataclasses.replace(facts(), trained_on=[]), "It was trained on no rationale"),
        (lambda: dataclasses.replace(facts(), origin=NO_COMMIT), "commit not known"),
    ],
)
def test_whatever_was_not_measured_is_named_and_no_section_is_missing(
    given: Callable[[], CardFacts], expected: str
) -> None:
    text = model_card(given())
    assert expected in text
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert "None" not in text
    assert "\n\n\n" not in text
    for table in (part for part in text.split("\n\n") if part.startswith("|")):
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1, table


def test_a_label_cannot_break_out_of_its_cell() -> None:
    values, evil = metrics_of(decisions(0.8)), "x | <script> `a`\n# b"
    for section in ("intervals", "label"):
        values[section]["per_class"][evil] = values[section]["per_class"]["self care"]
    text = model_card(facts(**values))
    assert "| x \\| \\<script\\> \\`a\\` \\# b |" in text


def test_the_commit_of_the_code_is_that_of_its_own_repository_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
    copy = tmp_path / "copy"
    copy.mkdir()
    (tmp_path / "reason2decide.py").write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "reason2decide.py"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    commit, dirty = code_state(tmp_path)
    assert (len(commit or ""), dirty) == (40, False)
    (tmp_path / "notes.txt").write_text("not code")
    assert code_state(tmp_path) == (commit, False)
    (tmp_path / "reason2decide.py").write_text("2")
    assert code_state(tmp_path) == (commit, True)
    assert code_state(copy) == (None, None)
    monkeypatch.setenv(COMMIT_VARIABLE, "c0ffee+dirty")
    assert code_state(copy) == ("c0ffee", True)
