"""The order of the rows depends on the seed alone; rare labels are weighed or drawn as configured."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest, chisquare

from r2d.training.data import LengthGroupedSampler, collate
from r2d.training.stage2 import Stage2Trainer
from tests.training.conftest import fix_schedule, token_losses

CLASSES = np.array([0] * 900 + [1] * 90 + [2] * 10)
BALANCED = [1 / np.sum(label == CLASSES) for label in CLASSES]


def order_of(num_rows: int, num_batches: int, batch_size: int = 16, seed: int = 0, weights: Any = None) -> list[int]:
    lengths = np.random.default_rng(1).integers(5, 500, num_rows)
    sampler = LengthGroupedSampler(lengths, batch_size=batch_size, num_batches=num_batches, seed=seed, weights=weights)
    return list(sampler)


def test_every_epoch_shows_every_row_once_but_for_the_rest_of_a_batch() -> None:
    order = order_of(103, num_batches=26, batch_size=8)
    assert len(order) == 26 * 8
    counts = Counter(order)
    assert len(counts) == 103
    assert set(counts.values()) <= {1, 2, 3}
    assert sum(count != 2 for count in counts.values()) <= 16


@pytest.mark.parametrize("weights", [None, BALANCED], ids=["by epochs", "by weights"])
def test_an_order_depends_on_the_seed_alone_and_a_shorter_run_saw_its_beginning(weights: Any) -> None:
    order = order_of(1000, 40, seed=1, weights=weights)
    assert order == order_of(1000, 40, seed=1, weights=weights) != order_of(1000, 40, seed=2, weights=weights)
    assert order_of(1000, 11, seed=1, weights=weights) == order[: 16 * 11]


def test_batches_hold_rows_of_similar_length() -> None:
    lengths = np.random.default_rng(1).integers(5, 500, 2_000)
    order = np.array(list(LengthGroupedSampler(lengths, batch_size=16, num_batches=125, seed=0)))
    bucketed = lengths[order].reshape(-1, 16)
    natural = lengths[: 125 * 16].reshape(-1, 16)
    assert bucketed.max(axis=1).sum() < 0.7 * natural.max(axis=1).sum()


def test_fewer_rows_than_a_batch_still_fill_batches() -> None:
    assert Counter(order_of(3, num_batches=3, batch_size=8)) == {0: 8, 1: 8, 2: 8}


def test_by_weights_every_class_is_drawn_equally_often_and_every_row_of_a_class_too() -> None:
    order = order_of(1000, 400, seed=3, weights=BALANCED)
    assert chisquare(np.bincount(CLASSES[order], minlength=3)).pvalue > 0.001
    rarest = [row for row in order if CLASSES[row] == 2]
    assert chisquare(np.bincount(np.array(rarest) - 990, minlength=10)).pvalue > 0.001


@pytest.fixture
def skewed(examples: pa.Table) -> pa.Table:
    """One row in ten of the training split says `emergency now`."""
    names, splits = examples["label"].to_pylist(), examples["split"].to_pylist()
    rare = [row for row, name in enumerate(names) if splits[row] == "train" and name == "emergency now"]
    common = [row for row, name in enumerate(names) if splits[row] == "train" and name == "self care"]
    rest = [row for row, split in enumerate(splits) if split != "train"]
    return examples.take([*common[:27], *rare[:3], *rest])


def test_the_loss_of_a_rare_label_weighs_as_a_hand_computation_says(
    make_trainer: Callable[..., Stage2Trainer], skewed: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(examples=skewed, class_balance="weighted_loss")
    fix_schedule(monkeypatch, alpha=1.0, pi=0.0)
    trainer.model.eval()
    inputs = collate([trainer.train_dataset[row] for row in range(22, 30)])
    _, num_tokens = trainer.get_batch_samples(iter([inputs]), 1, trainer.args.device)
    # 30 rows of two labels: 15 are the mean.
    weights = {"self care": 15 / 27, "emergency now": 15 / 3}
    assert Counter(inputs["batch"]["gold_label"]) == {"self care": 5, "emergency now": 3}

    total = tokens = 0.0
    for note, label in zip(inputs["batch"]["text"], inputs["batch"]["gold_label"], strict=True):
        losses = token_losses(trainer.model, trainer.prompts.tokenizer, f"predict: {note}", label)
        total, tokens = total + weights[label] * sum(losses), tokens + weights[label] * len(losses)
    assert num_tokens["label"] == pytest.approx(tokens)
    assert trainer.batch_loss(inputs["batch"], num_tokens).item() == pytest.approx(total / tokens, rel=1e-5)


def test_balanced_sampling_shows_rare_labels_as_often_as_common_ones(
    make_trainer: Callable[..., Stage2Trainer], skewed: pa.Table
) -> None:
    def rare_and_all(class_balance: str) -> tuple[Any, int]:
        trainer = make_trainer(examples=skewed, class_balance=class_balance, max_steps=60, eval_every_steps=60)
        labels = Counter(label for inputs in trainer.get_train_dataloader() for label in inputs["batch"]["gold_label"])
        return labels["emergency now"], labels.total()

    rare, num_rows = rare_and_all("none")
    assert num_rows == 60 * 8
    assert rare == pytest.approx(num_rows / 10, abs=3)
    rare, num_rows = rare_and_all("balanced_sampling")
    assert binomtest(rare, num_rows, 0.5).pvalue > 0.001
