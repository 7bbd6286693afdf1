"""An outside reader finds the label that a rationale carries, and no label that it does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa

from r2d.data.examples import Example, to_table
from r2d.evaluation.baselines import linear_baseline
from r2d.evaluation.outside_reader import MIN_TRAINING_RATIONALES, outside_reader
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.rationales import OutsideReaderMetrics
from tests.evaluation.predicted import QUICK, predictions_of, predictions_with_options

LABELS = ("emergency", "today", "home")
REASONS = {"emergency": "a threat to life", "today": "must be examined soon", "home": "passes with rest"}
FILLERS = ["caller", "asks", "advice", "since", "morning", "lives", "alone", "neighbour", "drives"]


def table(num_rows: int, seed: int) -> pa.Table:
    """Notes that say nothing of the label, and rationales that carry it in other words than its own."""
    draw, examples = random.Random(seed), []
    for row in range(num_rows):
        label = draw.choice(LABELS)
        rationale = f"This {REASONS[label]}, so {label}." if row % 2 else f"It {REASONS[label]}."
        note = " ".join(draw.sample(FILLERS, 5))
        examples.append(Example(id=str(row), text=note, label=label, rationale=rationale, split="train"))
    return to_table(examples)


TRAIN, TEST = table(400, 1), table(200, 2)
NOTES = TEST["text"].to_pylist()


def read(
    rationales: Sequence[str], predicted: Sequence[str] | None = None, train: pa.Table = TRAIN
) -> OutsideReaderMetrics | None:
    predictions = predicted_rows(rationales, predicted)
    baseline = linear_baseline(TRAIN["text"].to_pylist(), TRAIN["label"].to_pylist(), NOTES)
    found = outside_reader(train, predictions, NOTES, predictions.with_labels(baseline), QUICK)
    return None if found is None else found.model


def predicted_rows(rationales: Sequence[str], predicted: Sequence[str] | None = None) -> Predictions:
    gold = TEST["label"].to_pylist()
    return predictions_of(
        gold, predicted or gold, labels=LABELS, rationales=rationales, gold_rationales=TEST["rationale"].to_pylist()
    )


def test_rationales_that_carry_the_label_are_read_and_foretell_what_notes_do_not() -> None:
    metrics = read(TEST["rationale"].to_pylist())
    assert metrics is not None
    found = {name: estimate.value for name, estimate in metrics.intervals.items()}
    assert min(found[name] for name in ("consistency", "sufficiency", "ceiling", "consistency_masked")) == 1.0
    assert found["note_alone"] < 0.5
    assert found["note_and_rationale"] > 0.95
    gain = metrics.intervals["simulatability"]
    assert gain.value == found["note_and_rationale"] - found["note_alone"]
    assert gain.low is not None
    assert gain.low > 0.4


def test_the_same_words_for_every_label_carry_none() -> None:
    metrics = read(["It is what it is."] * len(TEST))
    assert metrics is not None
    assert (metrics.intervals["consistency"].value or 0.0) < 0.5
    assert (metrics.intervals["ceiling"].value or 0.0) == 1.0, "the reader is able to read"
    gain = metrics.intervals["simulatability"]
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low <= 0.1
    assert gain.high < 0.2


def test_a_rationale_for_another_label_than_the_predicted_one_is_inconsistent() -> None:
    other = {"emergency": "today", "today": "home", "home": "emergency"}
    metrics = read(TEST["rationale"].to_pylist(), [other[label] for label in TEST["label"].to_pylist()])
    assert metrics is not None
    assert metrics.intervals["consistency"].value == 0.0
    assert metrics.intervals["sufficiency"].value == 1.0


def test_an_empty_rationale_leads_to_no_label() -> None:
    metrics = read([""] * len(TEST))
    assert metrics is not None
    assert metrics.intervals["consistency"].value == metrics.intervals["sufficiency"].value == 0.0


def test_the_champion_is_read_by_the_same_reader_and_the_difference_is_paired() -> None:
    """Its rationales say nothing; the model's carry its label. Each is measured as if it stood alone."""
    model, champion = predicted_rows(TEST["rationale"].to_pylist()), predicted_rows(["It is what it is."] * len(TEST))
    baseline = model.with_labels(linear_baseline(TRAIN["text"].to_pylist(), TRAIN["label"].to_pylist(), NOTES))
    found = outside_reader(TRAIN, model, NOTES, baseline, QUICK, champion)
    alone, other = (outside_reader(TRAIN, rows, NOTES, baseline, QUICK) for rows in (model, champion))
    assert found is not None
    assert alone is not None
    assert other is not None
    assert found.model == alone.model
    assert found.champion == other.model
    assert alone.champion is None
    assert alone.difference == {}
    gap = found.difference["consistency"]
    assert gap.value == found.model.intervals["consistency"].value - found.champion.intervals["consistency"].value
    assert gap.low > 0.4
    assert not any(name.startswith("ceiling") for name in found.difference)
    same = outside_reader(TRAIN, model, NOTES, baseline, QUICK, model)
    assert same is not None
    gap = same.difference["consistency"]
    assert gap.low < gap.value == 0.0 < gap.high, "what did not differ is no certainty"


def test_there_is_no_reader_without_rationales_to_learn_from_and_none_for_options_of_rows() -> None:
    assert read(TEST["rationale"].to_pylist(), train=TRAIN.slice(0, MIN_TRAINING_RATIONALES - 1)) is None
    rows = predictions_with_options(["yes"], ["no"], [["yes", "no"]], rationales=["x"], gold_rationales=["x"])
    assert outside_reader(TRAIN, rows, ["note"], rows, QUICK) is None
