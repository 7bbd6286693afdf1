"""Deciding and explaining: the modes of the model, the probabilities, and the search for the most probable label."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from r2d.config.data import LabelsConfig
from r2d.errors import ModelError
from r2d.modeling import decoding
from r2d.modeling.backends.backend import PaddedBackend, Seq2SeqBackend
from r2d.modeling.backends.packed import PackedT5, make_backend
from r2d.modeling.decoding import Decoder, ScoredLabel, label_log_probabilities, most_probable_labels
from r2d.modeling.load import load_pretrained
from r2d.modeling.predictor import Predictor
from r2d.modeling.prompts import LabelSet, LabelSets
from tests.conftest import TOY_MODEL
from tests.modeling.tiny_models import END, SHAPES, VOCABULARY, learn, random_rows, tiny_t5

NOTES = ["pt denies fever for 2 days", "pt reports chest pain for 9 days", "pt reports rash", "cough"]
NAMES = ("emergency now", "self care", "rash", "see a doctor for chest pain")
BACKENDS = [PackedT5, PaddedBackend]
# One begins as another and goes on, two part at the last token, one stands alone.
DECLARED = LabelSet(
    ("yes", "yes and no", "yes and so", "maybe"), ((5, END), (5, 6, 7, END), (5, 6, 8, END), (9, 4, END))
)


@pytest.fixture
def loaded(stage2_model: Path) -> tuple[Any, Any, LabelSet]:
    """Model and tokenizer of a short Stage 2, and a set of labels."""
    model, tokenizer = load_pretrained(str(stage2_model))
    return model, tokenizer, LabelSets(LabelsConfig(names=NAMES), tokenizer, max_label_tokens=40).of(())


def test_constrained_decoding_gives_only_declared_labels_and_free_decoding_need_not(stage1_model: Path) -> None:
    """The weights of Stage 1 have never seen a label as target."""
    model, tokenizer = load_pretrained(str(stage1_model))
    labels = LabelSets(LabelsConfig(names=NAMES[:2]), tokenizer, max_label_tokens=40).of(())
    prompts = tokenizer([f"predict: {note}" for note in NOTES]).input_ids
    decoder = Decoder(make_backend(model), tokenizer, TOY_MODEL)
    constrained, free = (decoder.labels(prompts, [labels] * len(prompts), how) for how in ("constrained", "free"))
    assert set(constrained) <= set(NAMES[:2])
    assert not set(free) <= set(NAMES[:2])


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_has_no_dropout_and_the_mode_is_restored_also_after_an_error(loaded: Any, training: bool) -> None:
    model, tokenizer, labels = loaded
    assert model.config.dropout_rate > 0
    backend, scores = make_backend(model.train(training)), []
    for _ in range(2):
        with backend.evaluating():
            assert not torch.is_grad_enabled()
            encoded = backend.encode(tokenizer(NOTES).input_ids)
        scores.append(label_log_probabilities(backend, encoded, [labels] * len(NOTES)))
        assert model.training is training
    assert all(torch.equal(first, second) for first, second in zip(*scores, strict=True))
    with pytest.raises(ValueError, match="exactly one of input_ids"), backend.evaluating():
        model()
    assert model.training is training


def test_a_decision_does_not_depend_on_the_rows_beside_it_nor_on_their_order(stage2_model: Path) -> None:
    predictor = Predictor(stage2_model)
    together = predictor.decide(NOTES, batch_size=4)
    for note, decision in zip(NOTES, together, strict=True):
        (alone,) = predictor.decide([note])
        assert (alone.label, alone.rationale) == (decision.label, decision.rationale)
        assert alone.label_probabilities == pytest.approx(decision.label_probabilities, rel=1e-4)
        assert sum(decision.label_probabilities.values()) == pytest.approx(1.0)
        assert decision.valid


def test_stage1_weights_are_refused_for_decisions(stage1_model: Path) -> None:
    with pytest.raises(ModelError, match="holds the weights of stage 1, which cannot decide"):
        Predictor(stage1_model)


@pytest.mark.parametrize("limit", [3, 40])
def test_free_labels_have_the_probability_that_the_library_generates_them_with(stage2_model: Path, limit: int) -> None:
    """As the published `r2d_c` takes it, whose `max_length` counts the decoder's start token; a cut text has no end."""
    model, tokenizer = load_pretrained(str(stage2_model))
    config = TOY_MODEL.model_copy(update={"label_decoding": "free", "max_label_tokens": limit})
    decoder = Decoder(make_backend(model), tokenizer, config)
    prompts = tokenizer([f"explain: {note}" for note in NOTES]).input_ids
    no_set = LabelSet((), ())
    for prompt, label in zip(prompts, decoder.scored_labels(prompts, [no_set] * len(prompts)), strict=True):
        output = model.generate(
            torch.tensor([prompt]), max_length=limit + 1, output_scores=True, return_dict_in_generate=True
        )
        written = output.sequences[0, 1:]
        scores = [step[0].log_softmax(dim=-1)[token] for step, token in zip(output.scores, written, strict=True)]
        assert label.name == tokenizer.decode(written, skip_special_tokens=True)
        assert label.num_tokens == len(written) <= limit
        assert label.mean_log_probability == pytest.approx(float(torch.stack(scores).mean()), rel=1e-4)


def test_a_rationale_is_no_longer_than_a_target_without_its_end(stage2_model: Path) -> None:
    """As with the published `max_length`, which counts the decoder's start token."""
    model, tokenizer = load_pretrained(str(stage2_model))
    decoder = Decoder(make_backend(model), tokenizer, TOY_MODEL.model_copy(update={"max_rationale_tokens": 5}))
    prompts = tokenizer([f"given label: self care, explain: {note}" for note in NOTES]).input_ids
    for prompt, rationale in zip(prompts, decoder.rationales(prompts), strict=True):
        ids = model.generate(torch.tensor([prompt]), max_length=5)[0]
        assert rationale == tokenizer.decode(ids, skip_special_tokens=True)


# --- The most probable label ---


def random_labels(num_labels: int, seed: int) -> LabelSet:
    """Of few different tokens, so that many share a beginning."""
    generator, token_ids = random.Random(seed), {}
    while len(token_ids) < num_labels:
        token_ids[(*(generator.randrange(2, 7) for _ in range(generator.randint(1, 6))), END)] = None
    return LabelSet(tuple(f"label {number}" for number in range(num_labels)), tuple(token_ids))


def assert_best_labels(
    backend: Seq2SeqBackend[Any], prompts: list[list[int]], sets: list[LabelSet]
) -> list[ScoredLabel]:
    """The search gives the label that scoring every label gives."""
    with backend.evaluating():
        encoded = backend.encode(prompts)
        best = most_probable_labels(backend, encoded, sets)
        scores = label_log_probabilities(backend, encoded, sets)
    for label, labels, row in zip(best, sets, scores, strict=True):
        index = labels.names.index(label.name)
        assert label.log_probability == pytest.approx(float(row[index]), abs=1e-4)
        first, second = row.sort(descending=True).values[:2].tolist() if len(row) > 1 else (float(row[0]), -1e9)
        # In float32 two passes differ in the seventh digit: closer labels are a tie.
        assert index == int(row.argmax()) if first - second > 1e-4 else first - float(row[index]) < 1e-4
        assert label.num_tokens == len(labels.token_ids[index])
        assert label.mean_log_probability == label.log_probability / label.num_tokens
    return best


def repeated_tokens(num_rows: int, seed: int) -> list[list[int]]:
    """Prompts of one token, one to six times."""
    generator = random.Random(seed)
    return [[generator.randrange(2, 12)] * generator.randint(1, 6) + [END] for _ in range(num_rows)]


@pytest.fixture(scope="module")
def trained() -> Any:
    """A T5 that has learnt which of the declared labels the token of a prompt stands for."""
    batches = (repeated_tokens(16, seed=step) for step in range(120))
    pairs = ((prompts, [DECLARED.token_ids[prompt[0] % 4] for prompt in prompts]) for prompts in batches)
    return learn(tiny_t5("gated, tied"), pairs, learning_rate=1e-2)


@pytest.mark.parametrize("all_at_once", [False, True])
@pytest.mark.parametrize("backend_type", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_labels", [1, 2, 20, 300])
def test_an_untrained_model_s_most_probable_label_is_found(
    backend_type: type[Seq2SeqBackend[Any]],
    shape: str,
    num_labels: int,
    all_at_once: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "scores_all_labels", lambda *of: all_at_once)
    backend, labels = backend_type(tiny_t5(shape, seed=num_labels)), random_labels(num_labels, seed=num_labels)
    best = assert_best_labels(backend, random_rows(6, 20, seed=3), [labels] * 6)
    assert {label.name for label in best} <= set(labels.names)


@pytest.mark.parametrize("backend_type", BACKENDS)
def test_each_row_has_a_set_of_its_own(backend_type: type[Seq2SeqBackend[Any]], trained: Any) -> None:
    sets = [random_labels(number, seed=number) for number in (1, 2, 3, 50, 7, 1, 300, 20)] + [DECLARED]
    for model in (tiny_t5(seed=5), trained):
        assert_best_labels(backend_type(model), random_rows(len(sets), 20, seed=4), sets)


@pytest.mark.parametrize(
    ("device", "num_labels", "all_at_once"), [("cpu", 4, False), ("cuda", 4, True), ("cuda", 300, False)]
)
def test_a_gpu_scores_all_labels_of_a_small_set_and_searches_a_large_one(
    device: str, num_labels: int, all_at_once: bool
) -> None:
    backend: Any = SimpleNamespace(gives_logits=True, device=torch.device(device))
    assert decoding.scores_all_labels(backend, [random_labels(num_labels, seed=1)] * 2) is all_at_once


@pytest.mark.parametrize("backend_type", BACKENDS)
def test_a_trained_model_s_label_is_found_in_few_passes_of_the_decoder(
    backend_type: type[Seq2SeqBackend[Any]], trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, prompts = backend_type(trained), repeated_tokens(40, seed=999)
    best = assert_best_labels(backend, prompts, [DECLARED] * len(prompts))
    right = [label.name == DECLARED.names[prompt[0] % 4] for label, prompt in zip(best, prompts, strict=True)]
    assert sum(right) / len(right) > 0.9
    assert {label.name for label in best} == set(DECLARED.names)

    calls = count_inputs(backend, monkeypatch)
    sure = [row for row, label in enumerate(best) if label.log_probability > -0.5]
    assert len(sure) > 20
    with backend.evaluating():
        most_probable_labels(backend, backend.encode([prompts[row] for row in sure]), [DECLARED] * len(sure))
    # The labels part after 0, 1 and 2 tokens: a pass for each, and one to the end of what is left.
    assert len(calls) <= 4
    assert calls == sorted(calls, reverse=True), "a row that is decided is not asked again"


def count_inputs(backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of decoder inputs of each later pass."""
    calls: list[int] = []
    logits = backend.logits
    monkeypatch.setattr(
        backend, "logits", lambda encoded, inputs, *rest: calls.append(len(inputs)) or logits(encoded, inputs, *rest)
    )
    return calls


@pytest.mark.parametrize("backend_type", BACKENDS)
def test_a_single_label_costs_one_pass(
    backend_type: type[Seq2SeqBackend[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_type(tiny_t5())
    calls = count_inputs(backend, monkeypatch)
    sets = [random_labels(1, seed=seed) for seed in range(5)]
    best = most_probable_labels(backend, backend.encode(random_rows(5, 9, seed=1)), sets)
    assert [label.name for label in best] == ["label 0"] * 5
    assert calls == [5]


@pytest.mark.parametrize("backend_type", BACKENDS)
def test_ties_go_to_the_label_declared_first_and_to_the_shorter_one(backend_type: type[Seq2SeqBackend[Any]]) -> None:
    model = tiny_t5()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    backend = backend_type(model)
    encoded = backend.encode([[3, END], [4, END]])
    ids = [(9, 4, END), (5, 6, END), (5, 4, END), (2, 2, END), (2, 6, END)]
    for seed in range(6):
        random.Random(seed).shuffle(ids)
        best = most_probable_labels(backend, encoded, [LabelSet(tuple("abcde"), tuple(ids))] * 2)
        assert [label.name for label in best] == ["a", "a"]
        assert best[0].log_probability == pytest.approx(-3 * torch.log(torch.tensor(float(VOCABULARY))).item())
    # Every token is as probable as any other.
    best = most_probable_labels(backend, encoded, [DECLARED] * 2)
    assert [(label.name, label.num_tokens) for label in best] == [("yes", 2)] * 2
