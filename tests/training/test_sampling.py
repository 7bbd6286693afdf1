"""Draws and data order depend on the seed and the place alone."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest, chisquare, kstest

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.training.data import collate
from r2d.training.sampling import BatchOrder, uniform_draw
from r2d.training.schedules import Stage2Schedule
from r2d.training.train import train_stage2
from tests.training.test_stages import fix_schedule, make_stage2_trainer, token_losses


def test_draws_are_uniform() -> None:
    draws = [uniform_draw(42, step, f"row-{row}") for step in range(100) for row in range(100)]
    assert kstest(draws, "uniform").pvalue > 0.001


def test_a_draw_depends_on_seed_step_and_example() -> None:
    same = uniform_draw(1, 2, "a")
    assert same == uniform_draw(1, 2, "a")
    assert len({same, uniform_draw(2, 2, "a"), uniform_draw(1, 3, "a"), uniform_draw(1, 2, "b")}) == 4


def test_the_share_of_drawn_examples_follows_pi() -> None:
    for pi in (0.1, 0.5, 0.9):
        drawn = sum(uniform_draw(7, step, f"row-{row}") < pi for step in range(50) for row in range(64))
        assert binomtest(drawn, 50 * 64, pi).pvalue > 0.001


def order_of(num_rows: int, batch_size: int, num_batches: int, seed: int = 0) -> list[int]:
    lengths = np.random.default_rng(1).integers(5, 500, num_rows)
    return list(BatchOrder(lengths, batch_size=batch_size, num_batches=num_batches, seed=seed))


def test_every_epoch_shows_every_row_once_but_for_the_rest_of_a_batch() -> None:
    order = order_of(num_rows=103, batch_size=8, num_batches=26)
    assert len(order) == 26 * 8
    counts = Counter(order)
    assert len(counts) == 103
    assert set(counts.values()) <= {1, 2, 3}
    assert sum(count != 2 for count in counts.values()) <= 16


def test_a_run_that_stops_earlier_saw_the_beginning_of_the_same_order() -> None:
    assert order_of(103, 8, 11) == order_of(103, 8, 40)[: 8 * 11]


def test_another_seed_gives_another_order() -> None:
    assert order_of(103, 8, 40, seed=1) != order_of(103, 8, 40, seed=2)


def test_batches_hold_rows_of_similar_length() -> None:
    lengths = np.random.default_rng(1).integers(5, 500, 2_000)
    order = np.array(list(BatchOrder(lengths, batch_size=16, num_batches=125, seed=0)))
    bucketed = lengths[order].reshape(-1, 16)
    natural = lengths[: 125 * 16].reshape(-1, 16)
    assert bucketed.max(axis=1).sum() < 0.7 * natural.max(axis=1).sum()


def test_fewer_rows_than_a_batch_still_fill_batches() -> None:
    assert Counter(order_of(num_rows=3, batch_size=8, num_batches=3)) == {0: 8, 1: 8, 2: 8}


CLASSES = np.array([0] * 900 + [1] * 90 + [2] * 10)
BALANCED = [1 / np.sum(one == CLASSES) for one in CLASSES]


def balanced_order(seed: int, num_batches: int = 400) -> list[int]:
    lengths = np.random.default_rng(1).integers(5, 500, len(CLASSES))
    return list(BatchOrder(lengths, batch_size=16, num_batches=num_batches, seed=seed, chances=BALANCED))


def test_by_chances_every_class_is_drawn_equally_often_and_every_row_of_a_class_too() -> None:
    order = balanced_order(seed=3)
    assert chisquare(np.bincount(CLASSES[order], minlength=3)).pvalue > 0.001
    rarest = [row for row in order if CLASSES[row] == 2]
    assert chisquare(np.bincount(np.array(rarest) - 990, minlength=10)).pvalue > 0.001


def test_an_order_by_chances_depends_on_the_seed_alone() -> None:
    assert balanced_order(seed=3) == balanced_order(seed=3)
    assert balanced_order(seed=3) != balanced_order(seed=4)
    assert balanced_order(seed=3, num_batches=100) == balanced_order(seed=3)[: 100 * 16]


def test_the_share_of_own_labels_in_a_run_follows_pi(
    examples: pa.Table,
    stage1_model: Path,
    labels: LabelsConfig,
    model_config: ModelConfig,
    stage2_config: Stage2Config,
    tmp_path: Path,
) -> None:
    config = stage2_config.model_copy(update={"max_steps": 30, "eval_every_steps": 15, "batch_size": 24})
    result = train_stage2(examples, stage1_model, config=config, model=model_config, labels=labels, work_dir=tmp_path)
    schedule = Stage2Schedule(config, MethodConfig())
    shares = [record["predicted_label_fraction"] for record in result.history if "pi" in record]
    assert len(shares) == 3
    for number, share in enumerate(shares):
        # A record is the mean of the ten steps before it, which are counted from 0.
        pi = np.array([schedule.pi_at(step) for step in range(10 * number, 10 * number + 10)])
        standard_error = np.sqrt((pi * (1 - pi)).sum() * 24) / 240
        assert abs(share - pi.mean()) < 4 * standard_error
    assert shares == sorted(shares)


def skewed(examples: pa.Table) -> pa.Table:
    """One row in ten of the training split says `emergency now`."""
    names, splits = examples["label"].to_pylist(), examples["split"].to_pylist()
    rare = [row for row, name in enumerate(names) if splits[row] == "train" and name == "emergency now"]
    common = [row for row, name in enumerate(names) if splits[row] == "train" and name == "self care"]
    rest = [row for row, split in enumerate(splits) if split != "train"]
    return examples.take([*common[:27], *rare[:3], *rest])


@pytest.fixture
def make(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> Any:
    def make_trainer(class_balance: str, **changes: Any) -> Any:
        config = stage2_config.model_copy(update={"class_balance": class_balance, **changes})
        return make_stage2_trainer(skewed(examples), stage1_model, config, model_config, labels, tmp_path)

    return make_trainer


def test_the_loss_of_a_rare_label_weighs_as_a_hand_computation_says(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("weighted_loss")
    fix_schedule(trainer, monkeypatch, alpha=1.0, pi=0.0)
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


def test_balanced_sampling_shows_rare_labels_as_often_as_common_ones(make: Any) -> None:
    def share_of_rare(class_balance: str) -> tuple[int, int]:
        trainer = make(class_balance, max_steps=60, eval_every_steps=60)
        seen = Counter(label for inputs in trainer.get_train_dataloader() for label in inputs["batch"]["gold_label"])
        return seen["emergency now"], seen.total()

    rare, num_rows = share_of_rare("none")
    assert num_rows == 60 * 8
    assert rare == pytest.approx(num_rows / 10, abs=3)
    rare, num_rows = share_of_rare("balanced_sampling")
    assert binomtest(rare, num_rows, 0.5).pvalue > 0.001
