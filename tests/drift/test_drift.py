"""Drift without labels: reported where calls have changed, not where they have not, and never of a few calls."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from r2d.config.jobs import DriftConfig, DriftLimits, InferenceConfig
from r2d.data.examples import Example, to_table
from r2d.drift.incoming import IncomingCalls, WordCounts, incoming_calls
from r2d.drift.report import DriftReport, measure_drift, render_drift_report, report_drift
from r2d.errors import DataError, ModelError
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA
from r2d.inference.infer import infer
from r2d.inference.output import InferenceModel
from r2d.modeling.reference import (
    DriftReference,
    read_reference,
    reference_of,
    vocabulary_of,
    words_of,
    write_reference,
)
from tests.inference.keyword_predictor import LABELS, KeywordPredictor, answerer, write_calls
from tests.reports.pages import assert_accessible, assert_expected_page, assert_self_contained

EXPECTED = Path(__file__).parent
LIMITS = DriftLimits()
MODEL = InferenceModel("toy/1", "a" * 64)
WORDS = [a + b for a in ("ba", "re", "to", "mi", "lu", "ka", "ne", "so", "di", "pa") for b in "bcdfghklmnprstvz"]
PREDICTED = pa.schema([PREDICTIONS_SCHEMA.field(n) for n in ("predicted_label", "valid", "label_probabilities")])
OTHER_WORDS = [word[::-1] for word in WORDS]


def texts_of(num: int, seed: int, words: list[str] = WORDS, more_words: int = 0) -> list[str]:
    """Calls whose words follow Zipf's law; one in three speaks of pain."""
    draw = np.random.default_rng(seed)
    chances = 1 / np.arange(1, len(words) + 1)
    texts = []
    for number in range(num):
        chosen = draw.choice(words, size=draw.integers(8, 25) + more_words, p=chances / chances.sum())
        texts.append(" ".join([*chosen, "pain" if number % 3 == 0 else "well"]))
    return texts


@cache
def reference() -> DriftReference:
    examples = [
        Example(id=str(n), text=text, label=LABELS.names[0], split="test" if n % 5 == 0 else "train")
        for n, text in enumerate(texts_of(3000, seed=1))
    ]
    decisions = KeywordPredictor().decide(texts_of(3000, seed=2)[:1000])
    names = ("predicted_label", "valid", "label_probabilities")
    values = [(each.label, each.valid, list(each.label_probabilities.items())) for each in decisions]
    predictions = pa.table(dict(zip(names, map(list, zip(*values, strict=True)), strict=True)), PREDICTED)
    return reference_of(to_table(examples), predictions)


def incoming(texts: list[str], *, with_words: bool = True) -> IncomingCalls:
    decisions = KeywordPredictor().decide(texts)
    words = WordCounts(reference().vocabulary)
    for text in texts:
        words.add(text)
    names = [decision.label for decision in decisions]
    return IncomingCalls(
        num_rows=len(texts),
        model=MODEL,
        labels={name: names.count(name) for name in sorted(set(names))},
        confidences=np.round([decision.confidence for decision in decisions], 6),
        lengths=np.array([len(text) for text in texts], dtype=np.float64),
        deferral_reasons={},
        words=words if with_words else None,
    )


def drift(calls: IncomingCalls, limits: DriftLimits = LIMITS) -> DriftReport:
    return measure_drift(reference(), calls, limits)


def outcomes(report: DriftReport) -> dict[str, str]:
    return {name: check.outcome for name, check in report.checks.items()}


@pytest.mark.parametrize(("seed", "num"), enumerate((200, 200, 200, 500, 500, 2000, 5000), 100))
def test_calls_like_those_of_training_never_alarm(seed: int, num: int) -> None:
    report = drift(incoming(texts_of(num, seed=seed)))
    assert not report.drifted, report.reasons
    assert set(outcomes(report).values()) == {"steady"}


@pytest.mark.parametrize(
    ("texts", "drifted", "steady", "change_of_a_word"),
    [
        (texts_of(600, seed=5, more_words=15), {"text_length"}, {"words", "unfamiliar_words"}, 0.0),
        (texts_of(600, seed=6, words=OTHER_WORDS), {"words", "unfamiliar_words"}, set(), 0.3),
        (texts_of(600, seed=7, words=WORDS[::-1]), {"words"}, set(), 0.0),
    ],
    ids=["longer calls", "other words", "known words used otherwise"],
)
def test_what_changed_drifts_and_is_named(
    texts: list[str], drifted: set[str], steady: set[str], change_of_a_word: float
) -> None:
    report = drift(incoming(texts))
    by_outcome = {out: {name for name, own in outcomes(report).items() if own == out} for out in ("drifted", "steady")}
    assert drifted <= by_outcome["drifted"]
    assert steady <= by_outcome["steady"]
    (changed, *_) = report.changed_words
    assert changed.word in {*WORDS, *OTHER_WORDS}
    assert abs(changed.reference - changed.found) > change_of_a_word


def test_another_mix_of_labels_and_a_less_sure_model_drift_and_the_facts_are_json() -> None:
    labels, confidences = {"emergency now": 700, "self care": 200}, np.linspace(0.4, 0.7, 900).round(6)
    report = drift(replace(incoming(texts_of(900, seed=8)), labels=labels, confidences=confidences))
    assert outcomes(report) == {
        "text_length": "steady", "words": "steady", "unfamiliar_words": "steady",
        "predicted_label": "drifted", "confidence": "drifted",
    }  # fmt: skip
    assert report.reasons[0].startswith("The share of 'emergency now' changed most: 77.8 % of the calls, 33.")
    assert report.reasons[1].startswith("The mean probability of the label is 0.550; on the test rows, 0.9")
    facts = json.loads(json.dumps(report.to_json()))
    assert list(facts) == [
        "format_version", "drifted", "reasons", "num_rows", "num_decided", "num_handed_over", "why_handed_over",
        "model", "reference", "limits", "checks", "changed_words",
    ]  # fmt: skip
    assert (facts["drifted"], facts["reasons"], facts["num_decided"]) == (True, report.reasons, 900)
    assert list(facts["checks"]["confidence"]) == ["outcome", "sentence", "value", "limit", "measures", "buckets"]
    assert list(facts["changed_words"][0]) == ["word", "reference", "found"]


def test_a_label_that_is_new_counts_and_a_model_that_knows_one_label_cannot_drift_in_labels() -> None:
    labels = {"emergency now": 250, "self care": 500, "(no declared label)": 150}
    assert outcomes(drift(replace(incoming(texts_of(900, seed=8)), labels=labels)))["predicted_label"] == "drifted"
    calls = replace(incoming(texts_of(300, seed=8)), labels={"self care": 300, "emergency now": 0})
    check = measure_drift(replace(reference(), labels={"self care": 500}), calls, LIMITS).checks["predicted_label"]
    assert (check.outcome, check.measures["p_value"]) == ("steady", 1.0)


def test_a_tiny_file_does_not_alarm_however_odd_it_is() -> None:
    report = drift(incoming(texts_of(60, seed=9, words=OTHER_WORDS, more_words=40)))
    assert not report.drifted
    assert set(outcomes(report).values()) == {"not measured"}
    assert "60 calls against 2,400 rows of the reference; 200 each are needed" in report.checks["words"].sentence


def test_a_large_index_of_few_calls_may_be_chance_and_is_neither_drift_nor_steady() -> None:
    limits = LIMITS.model_copy(update={"min_rows": 30})
    few = replace(incoming(texts_of(30, seed=10)), labels={"emergency now": 17, "self care": 13})
    check = drift(few, limits).checks["predicted_label"]
    assert check.value > limits.max_psi
    assert check.measures["p_value"] > limits.significance / 5
    assert check.outcome == "not measured"


def test_known_words_are_not_called_steady_beside_many_unknown_ones() -> None:
    texts = [
        f"{text} " + " ".join(f"zq{row}w{word}" for word in range(9)) for row, text in enumerate(texts_of(600, seed=6))
    ]
    outcome = outcomes(drift(incoming(texts)))
    assert (outcome["unfamiliar_words"], outcome["words"]) == ("drifted", "not measured")


def test_without_the_calls_no_words_are_compared_and_with_own_options_no_labels() -> None:
    calls = incoming(texts_of(500, seed=3), with_words=False)
    report = measure_drift(replace(reference(), labels=None), calls, LIMITS)
    assert {name for name, out in outcomes(report).items() if out == "not measured"} == {
        "words", "unfamiliar_words", "predicted_label",
    }  # fmt: skip
    assert report.changed_words == []


def test_words_of_few_people_and_names_are_not_kept_and_numbers_are_no_words() -> None:
    texts = ["Mrs. Quillfeather has a rash, says Brennova"] * 40 + ["pain since 3 days, can't sleep"] * 20
    people = ["one patient"] * 40 + [f"patient {number}" for number in range(20)]
    assert vocabulary_of(texts, people) == {"a": 40, "can't": 20, "days": 20, "pain": 20, "since": 20, "sleep": 20}
    assert not {"quillfeather", "brennova"} & vocabulary_of(texts, [str(number) for number in range(60)]).keys()
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


@pytest.mark.parametrize("case", ["drifted", "steady", "not_measured"])
def test_the_page_is_the_expected_one(case: str) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/drift` writes the expected pages anew."""
    texts = {
        "drifted": texts_of(600, seed=6, words=OTHER_WORDS),
        "steady": texts_of(600, seed=6),
        "not_measured": texts_of(60, seed=6),
    }[case]
    calls = replace(incoming(texts), deferral_reasons={"below_threshold": 41, "no_text": 2})
    html = render_drift_report(drift(calls))
    assert_self_contained(html)
    assert_accessible(html)
    assert texts[0] not in html, "no call is quoted"
    assert_expected_page(html, EXPECTED / f"expected_{case}.html")


@pytest.fixture
def batch(tmp_path: Path) -> tuple[Path, Path]:
    """Calls and what a batch inference made of them."""
    rows = [{"nr": f"c{n}", "note": text} for n, text in enumerate(texts_of(400, seed=11))]
    calls = write_calls(tmp_path / "calls.csv", [*rows, {"nr": "empty", "note": ""}])
    data = {"path": str(calls), "columns": {"id": "nr", "text": "note"}}
    config = {"data": data, "output": str(tmp_path / "out.parquet"), "rows_per_part": 64}
    infer(InferenceConfig.model_validate(config), MODEL, answerer)
    return calls, tmp_path / "out.parquet"


def test_a_batch_is_counted_with_its_calls_or_without_and_other_calls_are_refused(
    batch: tuple[Path, Path],
) -> None:
    calls, predictions = batch
    found = incoming_calls(predictions, str(calls), reference(), max_texts=20_000)
    same = incoming(texts_of(400, seed=11))
    assert (found.num_rows, found.labels, found.deferral_reasons["no_text"]) == (401, same.labels, 1)
    assert found.words.halves == same.words.halves
    assert sorted(found.lengths) == sorted(same.lengths)
    assert sorted(found.confidences) == sorted(same.confidences)
    assert incoming_calls(predictions, None, reference(), max_texts=9).words is None
    sampled = incoming_calls(predictions, str(calls), reference(), max_texts=100).words
    assert 70 < sampled.num_texts < 130
    calls.write_text(calls.read_text(encoding="utf-8") + "x,pain\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is not what .* was made from"):
        incoming_calls(predictions, str(calls), reference(), max_texts=9)


def test_facts_and_page_are_written(batch: tuple[Path, Path], tmp_path: Path) -> None:
    calls, predictions = batch
    stored = write_reference(tmp_path, reference())
    config = DriftConfig(
        predictions=str(predictions), calls=str(calls), reference=str(stored), output=str(tmp_path / "drift")
    )
    report, page = report_drift(config, None)
    assert not report.drifted
    facts = json.loads((tmp_path / "drift" / "drift.json").read_text(encoding="utf-8"))
    assert facts == json.loads(json.dumps(report.to_json()))
    assert (tmp_path / "drift" / "drift.html").read_text(encoding="utf-8") == page + "\n"
    with pytest.raises(DataError, match="no such file; give the output of `r2d predict-file`"):
        report_drift(config.model_copy(update={"predictions": str(tmp_path / "none.parquet")}), None)


def test_predictions_of_another_model_are_not_held_against_this_one(batch: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_reference(folder, reference())
    config = DriftConfig(predictions=str(batch[1]), model=str(folder), output=str(tmp_path / "drift"))
    with pytest.raises(DataError, match=r"was decided by toy/1, and .*model is now sha256:"):
        report_drift(config, folder)


def test_a_new_word_is_shown_unless_it_stands_with_a_capital_as_names_do() -> None:
    words = WordCounts(reference().vocabulary)
    for text in texts_of(100, seed=4):
        words.add(f"{text} Brennova says covid")
    shown = {changed.word for changed in words.changed(3000)}
    assert {"covid", "says"} <= shown
    assert "brennova" not in shown
