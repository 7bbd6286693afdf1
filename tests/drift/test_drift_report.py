"""Drift without labels: found where the calls have changed, not found where they have not, never concluded of a few."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from r2d.config.jobs import DriftConfig, DriftLimits, InferenceConfig
from r2d.data.drift import chi_square, kolmogorov_smirnov
from r2d.data.examples import Example, to_table
from r2d.drift.incoming import IncomingCalls, incoming_calls
from r2d.drift.job import report_drift
from r2d.drift.reference import (
    DriftReference,
    read_reference,
    reference_of,
    write_reference,
)
from r2d.drift.report import drift_facts, render_drift_report
from r2d.drift.words import WordCounts, vocabulary_of, words_of
from r2d.errors import DataError, ModelError
from r2d.inference.infer import infer
from r2d.inference.output import InferenceModel
from tests.inference.keyword_predictor import LABELS, KeywordPredictor, write_calls
from tests.reports.pages import Page, assert_accessible, assert_self_contained

LIMITS = DriftLimits()
WORDS = [a + b for a in ("ba", "re", "to", "mi", "lu", "ka", "ne", "so", "di", "pa") for b in "bcdfghklmnprstvz"]
OTHER_WORDS = [word[::-1] for word in WORDS]


def texts_of(num: int, seed: int, words: list[str] = WORDS, more_words: int = 0) -> list[str]:
    """Calls whose words follow Zipf's law; one in three speaks of pain."""
    drawn = np.random.default_rng(seed)
    chances = 1 / np.arange(1, len(words) + 1)
    texts = []
    for number in range(num):
        chosen = drawn.choice(words, size=drawn.integers(8, 25) + more_words, p=chances / chances.sum())
        texts.append(" ".join([*chosen, "pain" if number % 3 == 0 else "well"]))
    return texts


def predictions_of(texts: list[str]) -> pa.Table:
    """As an evaluation gives them."""
    decisions = KeywordPredictor().decide(texts)
    return pa.table(
        {
            "predicted_label": [decision.label for decision in decisions],
            "valid": [decision.valid for decision in decisions],
            "label_probabilities": pa.array(
                [list(decision.label_probabilities.items()) for decision in decisions],
                pa.map_(pa.string(), pa.float64()),
            ),
        }
    )


@cache
def reference() -> DriftReference:
    texts = texts_of(3000, seed=1)
    examples = [
        Example(id=str(n), text=text, label=LABELS.names[0], split="test" if n % 5 == 0 else "train")
        for n, text in enumerate(texts)
    ]
    held_out = [text for n, text in enumerate(texts_of(3000, seed=2)) if n < 1000]
    return reference_of(to_table(examples), predictions_of(held_out))


def incoming(texts: list[str], *, with_words: bool = True) -> IncomingCalls:
    decisions = KeywordPredictor().decide(texts)
    words = WordCounts(reference().vocabulary)
    for text in texts:
        words.add(text)
    names = [decision.label for decision in decisions]
    return IncomingCalls(
        num_rows=len(texts),
        model={"name": "toy/1", "hash": "a" * 64},
        labels={name: names.count(name) for name in sorted(set(names))},
        confidences=np.round([decision.confidence for decision in decisions], 6),
        lengths=np.array([len(text) for text in texts], dtype=np.float64),
        why_handed_over={},
        words=words if with_words else None,
    )


def outcomes(facts: dict[str, Any]) -> dict[str, str]:
    return {name: check["outcome"] for name, check in facts["checks"].items()}


def test_calls_like_those_of_training_never_alarm() -> None:
    for seed, num in enumerate((200, 200, 200, 500, 500, 2000, 5000)):
        facts = drift_facts(reference(), incoming(texts_of(num, seed=100 + seed)), LIMITS)
        assert not facts["drifted"], facts["reasons"]
        assert set(outcomes(facts).values()) == {"steady"}


def test_longer_calls_drift_in_length_and_in_nothing_else_about_words() -> None:
    found = outcomes(drift_facts(reference(), incoming(texts_of(600, seed=5, more_words=15)), LIMITS))
    assert found["text_length"] == "drifted"
    assert found["words"] == found["unfamiliar_words"] == "steady"


def test_other_words_drift_and_are_named() -> None:
    facts = drift_facts(reference(), incoming(texts_of(600, seed=6, words=OTHER_WORDS)), LIMITS)
    assert {"words", "unfamiliar_words"} <= {name for name, out in outcomes(facts).items() if out == "drifted"}
    assert "The calls use other words than the training texts" in " ".join(facts["reasons"])
    (changed, *_) = facts["changed_words"]
    assert changed["word"] in {*WORDS, *OTHER_WORDS}
    assert abs(changed["reference"] - changed["found"]) > 0.3


def test_known_words_used_otherwise_drift_though_none_is_unfamiliar() -> None:
    facts = drift_facts(reference(), incoming(texts_of(600, seed=7, words=WORDS[::-1])), LIMITS)
    assert outcomes(facts)["words"] == "drifted"


def test_another_mix_of_labels_and_a_less_sure_model_are_said_in_plain_words() -> None:
    usual = incoming(texts_of(900, seed=8))
    changed = replace(
        usual, labels={"emergency now": 700, "self care": 200}, confidences=np.linspace(0.4, 0.7, 900).round(6)
    )
    facts = drift_facts(reference(), changed, LIMITS)
    assert outcomes(facts) == {
        "text_length": "steady", "words": "steady", "unfamiliar_words": "steady",
        "predicted_label": "drifted", "confidence": "drifted",
    }  # fmt: skip
    assert facts["drifted"]
    assert facts["reasons"][0].startswith("The model says 'emergency now' more often: 77.8% of the calls, 33.")
    assert facts["reasons"][1].startswith("The mean probability of the label is 0.550; on the test rows, 0.9")
    assert json.loads(json.dumps(facts))["reasons"] == facts["reasons"]


def test_a_label_that_is_new_counts() -> None:
    usual = incoming(texts_of(900, seed=8))
    labels = {"emergency now": 250, "self care": 500, "(no declared label)": 150}
    assert outcomes(drift_facts(reference(), replace(usual, labels=labels), LIMITS))["predicted_label"] == "drifted"


def test_a_tiny_file_does_not_alarm_however_odd_it_is() -> None:
    odd = incoming(texts_of(60, seed=9, words=OTHER_WORDS, more_words=40))
    facts = drift_facts(reference(), odd, LIMITS)
    assert not facts["drifted"]
    assert set(outcomes(facts).values()) == {"not measured"}
    assert "60 calls against 2,400 rows of the reference; 200 each are needed" in facts["checks"]["words"]["sentence"]


def test_a_large_index_of_few_calls_may_be_chance_and_then_is_none() -> None:
    limits = LIMITS.model_copy(update={"min_rows": 30})
    few = replace(incoming(texts_of(30, seed=10)), labels={"emergency now": 17, "self care": 13})
    check = drift_facts(reference(), few, limits)["checks"]["predicted_label"]
    assert check["value"] > limits.max_psi
    assert check["measures"]["p_value"] > limits.significance / 5
    assert check["outcome"] == "steady"


def test_without_the_calls_no_words_are_compared_and_with_own_options_no_labels() -> None:
    facts = drift_facts(replace(reference(), labels=None), incoming(texts_of(500, seed=3), with_words=False), LIMITS)
    assert {name for name, out in outcomes(facts).items() if out == "not measured"} == {
        "words", "unfamiliar_words", "predicted_label",
    }  # fmt: skip
    assert facts["changed_words"] == []


def test_rare_words_are_not_kept_and_numbers_are_no_words() -> None:
    texts = ["Mrs. Quillfeather reports pain"] * 4 + ["pain since 3 days, can't sleep"] * 5
    assert vocabulary_of(texts) == {"pain": 9, "can't": 5, "days": 5, "since": 5, "sleep": 5}
    assert words_of("BP 120/80, Fieber’s höher") == ["bp", "fieber’s", "höher"]


def test_a_reference_survives_its_file_and_a_missing_or_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    path = write_reference(tmp_path, reference())
    assert read_reference(path) == reference()
    content = path.read_text(encoding="utf-8")
    for broken in (content[:-40], "[]", "{}", '{"format_version": 1}'):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(ModelError, match="is damaged"):
            read_reference(path)
    path.write_text(content.replace('"format_version": 1', '"format_version": 9'), encoding="utf-8")
    with pytest.raises(ModelError, match="is of format 9, this version reads 1"):
        read_reference(path)
    path.unlink()
    with pytest.raises(ModelError, match="keeps no reference to hold calls against"):
        read_reference(path)


def test_the_page_has_a_verdict_quotes_no_call_and_asks_nothing_of_the_network() -> None:
    changed = drift_facts(reference(), incoming(texts_of(600, seed=6, words=OTHER_WORDS)), LIMITS)
    same = drift_facts(reference(), incoming(texts_of(600, seed=6)), LIMITS)
    none = drift_facts(reference(), incoming(texts_of(60, seed=6)), LIMITS)
    for facts, verdict in (
        (changed, "The calls have changed."), (same, "No drift was found."), (none, "Nothing could be measured."),
    ):  # fmt: skip
        html = render_drift_report(facts)
        assert_self_contained(html)
        assert_accessible(html)
        assert verdict in Page(html).text
        assert all(check["sentence"] in Page(html).text for check in facts["checks"].values())
    assert texts_of(600, seed=6, words=OTHER_WORDS)[0] not in render_drift_report(changed)


def test_the_look_is_that_of_the_base_page() -> None:
    import re

    template = Path("r2d/drift/drift.html.j2").read_text(encoding="utf-8")
    assert template.startswith('{% extends "reports/page.html.j2" %}')
    assert re.findall(r"#[0-9a-f]{3,8}\b|font-family|font:", template) == []
    assert "| safe" not in template


@pytest.fixture
def batch(tmp_path: Path) -> tuple[Path, Path]:
    """Calls and what a batch inference made of them."""
    rows = [{"nr": f"c{n}", "note": text} for n, text in enumerate(texts_of(400, seed=11))]
    calls = write_calls(tmp_path / "calls.csv", [*rows, {"nr": "empty", "note": ""}])
    config = InferenceConfig.model_validate(
        {
            "data": {"path": str(calls), "columns": {"id": "nr", "text": "note"}},
            "output": str(tmp_path / "out.parquet"),
            "rows_per_part": 64,
        }
    )
    infer(config, InferenceModel("toy/1", "a" * 64), KeywordPredictor)
    return calls, tmp_path / "out.parquet"


def test_the_output_of_a_batch_is_counted_with_and_without_its_calls(batch: tuple[Path, Path]) -> None:
    calls, predictions = batch
    found = incoming_calls(predictions, str(calls), reference(), max_texts=20_000)
    same = incoming(texts_of(400, seed=11))
    assert (found.num_rows, found.labels, found.why_handed_over["no_text"]) == (401, same.labels, 1)
    assert found.words is not None
    assert same.words is not None
    assert found.words.halves == same.words.halves
    assert sorted(found.lengths) == sorted(same.lengths)
    assert sorted(found.confidences) == sorted(same.confidences)
    assert incoming_calls(predictions, None, reference(), max_texts=9).words is None
    sampled = incoming_calls(predictions, str(calls), reference(), max_texts=100).words
    assert sampled is not None
    assert 70 < sampled.num_texts < 130


def test_calls_that_were_not_those_decided_are_refused(batch: tuple[Path, Path]) -> None:
    calls, predictions = batch
    calls.write_text(calls.read_text(encoding="utf-8") + "x,pain\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is not what .* was made from"):
        incoming_calls(predictions, str(calls), reference(), max_texts=9)


def test_the_door_writes_facts_and_page(batch: tuple[Path, Path], tmp_path: Path) -> None:
    calls, predictions = batch
    stored = write_reference(tmp_path, reference())
    config = DriftConfig(
        predictions=str(predictions), calls=str(calls), reference=str(stored), output=str(tmp_path / "drift")
    )
    facts, page = report_drift(config, None)
    assert not facts["drifted"]
    assert json.loads((tmp_path / "drift" / "drift.json").read_text(encoding="utf-8")) == json.loads(json.dumps(facts))
    assert (tmp_path / "drift" / "drift.html").read_text(encoding="utf-8") == page + "\n"
    with pytest.raises(DataError, match="no such file; give the output of a batch inference"):
        report_drift(config.model_copy(update={"predictions": str(tmp_path / "none.parquet")}), None)


def test_predictions_of_another_model_are_not_held_against_this_one(batch: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_reference(folder, reference())
    config = DriftConfig(predictions=str(batch[1]), model=str(folder), output=str(tmp_path / "drift"))
    with pytest.raises(DataError, match=r"was decided by toy/1, and .*model is now sha256:"):
        report_drift(config, folder)


def test_the_tests_are_those_of_scipy_and_say_nothing_of_nothing() -> None:
    assert kolmogorov_smirnov([1, 2, 3, 4], [1, 2, 3, 4])["p_value"] == 1
    assert kolmogorov_smirnov([1] * 50, [2] * 50) == {"statistic": 1.0, "p_value": pytest.approx(0, abs=1e-9)}
    assert chi_square([10, 20, 0], [20, 40, 0]) == {"statistic": pytest.approx(0), "p_value": pytest.approx(1)}
    assert chi_square([10, 0], [20, 0])["p_value"] == 1
    assert chi_square([90, 10], [10, 90])["p_value"] < 1e-9
