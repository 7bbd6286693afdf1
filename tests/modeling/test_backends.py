"""Rows packed together compute what padded ones do, by T5 and by causal models: losses, gradients, logits, text."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from r2d.errors import ModelError
from r2d.modeling.backends import kernels, sdpa
from r2d.modeling.backends.backend import PaddedBackend, Seq2SeqBackend, Task, until_end
from r2d.modeling.backends.causal import CausalBackend, Prompts, pack_lines
from r2d.modeling.backends.packed import PackedT5, make_backend
from r2d.modeling.load import embedding_scale
from tests.modeling.tiny_models import (
    CAUSAL_SHAPES,
    END,
    MODELS,
    SHAPES,
    VOCABULARY,
    learn,
    library_loss,
    random_rows,
    tiny,
    tiny_causal,
    tiny_t5,
)

# float32 has 7 digits; losses here are near 4, gradients below 1 and logits near 10.
LOSS_ATOL, GRADIENT_ATOL, LOGIT_ATOL = 2e-6, 5e-6, 3e-5

PROMPTS = [*random_rows(5, 30, seed=1), *random_rows(1, 150, seed=2, shortest=140)]
TARGETS = [*random_rows(4, 12, seed=3), [], [END]]
OTHERS = [[], *random_rows(3, 20, seed=4), [], []]
WIDER_T5 = {"num_layers": 2, "d_model": 32, "d_ff": 64, "num_heads": 4}
WIDER = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
ROW_WEIGHTS = [0.5, 2.0, 1.0, 0.25, 3.0, 1.5]
EVERY_ARITHMETIC = [(shape, kernels) for shape in MODELS] + [(shape, sdpa) for shape in SHAPES]


def both(model: Any, arithmetic: Any = kernels) -> tuple[Seq2SeqBackend[Any], Seq2SeqBackend[Any]]:
    """Packed, and padded."""
    if model.config.is_encoder_decoder:
        return PackedT5(model, arithmetic=arithmetic), PaddedBackend(model)
    return CausalBackend(model), CausalBackend(model, packed=False)


def gradients(model: Any, total: Tensor) -> dict[str, Tensor]:
    """Of a scalar, for every weight by name."""
    model.zero_grad(set_to_none=True)
    total.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert any(bool(gradient.abs().max() > 1e-3) for gradient in theirs.values())
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=GRADIENT_ATOL)


def several_tasks(backend: Seq2SeqBackend[Any]) -> list[Task[Any]]:
    """Weighted rows, rows without a target, a task that is encoded already, and one with nothing to learn."""
    return [
        Task(PROMPTS, TARGETS, num_tokens=31.0, weight=0.7, row_weights=ROW_WEIGHTS),
        Task(backend.encode(PROMPTS[::-1]), OTHERS, num_tokens=28.0, weight=0.3),
        Task(PROMPTS, [[] for _ in PROMPTS], num_tokens=1.0),
    ]


@pytest.mark.parametrize(("shape", "arithmetic"), EVERY_ARITHMETIC)
def test_losses_and_the_gradient_of_every_weight_are_the_padded_ones(shape: str, arithmetic: Any) -> None:
    model = tiny(shape)
    packed, padded = (backend.losses(several_tasks(backend)) for backend in both(model, arithmetic))
    assert packed.total.item() == pytest.approx(padded.total.item(), abs=LOSS_ATOL)
    torch.testing.assert_close(packed.of_tasks, padded.of_tasks, rtol=0.0, atol=LOSS_ATOL)
    assert not any(loss.requires_grad for loss in packed.of_tasks)
    assert packed.of_tasks[2].item() == 0.0
    weighted = 0.7 * packed.of_tasks[0] + 0.3 * packed.of_tasks[1]
    assert packed.total.item() == pytest.approx(weighted.item(), abs=LOSS_ATOL)
    assert_same_gradients(gradients(model, packed.total), gradients(model, padded.total))


@pytest.mark.parametrize(("shape", "layout"), [*((s, "auto") for s in MODELS), *((s, "packed") for s in SHAPES)])
def test_the_backend_of_a_gpu_gives_in_bf16_the_losses_and_gradients_of_fp32_but_for_rounding(
    shape: str, layout: Any
) -> None:
    """bf16 has 3 digits."""
    model = tiny(shape)
    exact = both(model)[1].losses(several_tasks(both(model)[1]))
    expected = torch.cat([gradient.flatten() for gradient in gradients(model, exact.total).values()])
    backend = make_backend(model, precision="bf16", layout=layout)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = backend.losses(several_tasks(backend))
    torch.testing.assert_close(rounded.of_tasks, exact.of_tasks, rtol=0.01, atol=0.0)
    found = torch.cat([gradient.flatten() for gradient in gradients(model, rounded.total).values()])
    assert torch.cosine_similarity(found, expected, dim=0) > 0.99
    assert found.norm().item() == pytest.approx(expected.norm().item(), rel=0.05)


@pytest.mark.parametrize("shape", ["gated, untied", *CAUSAL_SHAPES])
def test_a_loss_is_the_weighted_mean_of_the_library_s_own(shape: str) -> None:
    model = tiny(shape)
    expected = 0.0
    for prompt, target, weight in zip(PROMPTS, TARGETS, ROW_WEIGHTS, strict=True):
        if target:
            expected += weight * library_loss(model, prompt, target).item() * len(target) / 31.0
    for backend in both(model):
        assert backend.losses(several_tasks(backend)[:1]).total.item() == pytest.approx(0.7 * expected, abs=LOSS_ATOL)


@pytest.mark.parametrize("shape", ["relu, tied", "Llama"])
def test_tasks_without_any_target_have_a_loss_of_zero(shape: str) -> None:
    for backend in both(tiny(shape)):
        losses = backend.losses([Task(PROMPTS, [[] for _ in PROMPTS], num_tokens=1.0)])
        assert losses.total.item() == 0.0
        assert [loss.item() for loss in losses.of_tasks] == [0.0]


@pytest.mark.parametrize("shape", MODELS)
def test_logits_of_several_decoder_inputs_for_some_of_the_encoded_rows(shape: str) -> None:
    model = tiny(shape)
    inputs, rows = random_rows(6, 9, seed=5), [0, 0, 2, 2, 2, 5]
    ours, theirs = (backend.logits(backend.encode(PROMPTS), inputs, rows) for backend in both(model))
    assert ours.shape == (sum(map(len, inputs)), model.config.vocab_size)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=LOGIT_ATOL)
    with torch.no_grad():  # a causal model continues the keys and values of its prompts
        behind = [backend.logits(backend.encode(PROMPTS), inputs, rows, [3, 7]) for backend in both(model)]
    for some in behind:
        torch.testing.assert_close(some, ours[[3, 7]].detach(), rtol=0.0, atol=LOGIT_ATOL)
    weights = torch.randn(ours.shape) / ours.numel()
    packed, padded = (gradients(model, (logits * weights).sum()) for logits in (ours, theirs))
    torch.testing.assert_close(packed, padded, rtol=1e-4, atol=GRADIENT_ATOL)


def test_token_losses_are_the_padded_ones_and_leave_the_gradient_of_a_later_loss_alone() -> None:
    model = tiny_t5("gated, tied")
    targets, rows = random_rows(5, 9, seed=6), [0, 1, 1, 3, 4]
    ours, theirs = (backend.token_losses(backend.encode(PROMPTS), targets, rows) for backend in both(model))
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=LOGIT_ATOL)
    assert not ours.requires_grad

    def loss(look_first: bool) -> Tensor:
        backend = PackedT5(model)
        encoded = backend.encode(PROMPTS)
        if look_first:
            backend.token_losses(encoded, targets, rows)
        return backend.losses([Task(encoded, TARGETS, num_tokens=31.0)]).total

    assert_same_gradients(gradients(model, loss(True)), gradients(model, loss(False)))


@pytest.mark.parametrize("shape", ["gated, tied", "Llama", "Gemma3Text"])
def test_embeddings_stand_in_for_tokens_and_are_given_the_padded_gradient(shape: str) -> None:
    model = tiny(shape)
    table, targets, row_gradients = model.get_input_embeddings().weight.detach(), random_rows(6, 8, seed=7), []
    table = table * embedding_scale(model)
    for backend in both(model):
        rows = [table[torch.tensor(prompt)].requires_grad_() for prompt in PROMPTS]
        by_tokens = backend.token_losses(backend.encode(PROMPTS), targets)
        torch.testing.assert_close(backend.token_losses(backend.encode_embeddings(rows), targets), by_tokens)
        backend.losses([Task(backend.encode_embeddings(rows), targets, num_tokens=20.0)]).total.backward()
        assert all(row.grad is not None and bool((row.grad != 0).any(dim=1).all()) for row in rows)
        row_gradients.append([row.grad for row in rows])
    torch.testing.assert_close(*row_gradients, rtol=1e-4, atol=GRADIENT_ATOL)


@pytest.mark.parametrize("shape", ["relu, tied", *CAUSAL_SHAPES])
def test_taken_rows_are_those_rows_in_that_order_without_gradient(shape: str) -> None:
    rows, targets = [4, 0, 5], random_rows(3, 8, seed=8)
    for backend in both(tiny(shape)):
        taken = backend.encode(PROMPTS).take(rows)
        alone = backend.token_losses(backend.encode([PROMPTS[row] for row in rows]), targets)
        torch.testing.assert_close(backend.token_losses(taken, targets), alone, rtol=0.0, atol=LOGIT_ATOL)
        read = taken.embeddings if isinstance(taken, Prompts) else [taken.states]
        assert not any(part.requires_grad for part in read)


@pytest.mark.parametrize("arithmetic", [kernels, sdpa])
@pytest.mark.parametrize("at_a_time", [1, 1 << 30])
def test_the_groups_of_attention_change_nothing(
    at_a_time: int, arithmetic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_t5("gated, untied")
    backend = PackedT5(model, arithmetic=arithmetic)

    by_default = backend.losses(several_tasks(backend)).total
    monkeypatch.setattr(kernels, "SCORES_AT_A_TIME", at_a_time)
    monkeypatch.setattr(kernels, "MOST_PADDING", 1.0)
    otherwise = backend.losses(several_tasks(backend)).total
    assert otherwise.item() == pytest.approx(by_default.item(), abs=1e-6)
    assert_same_gradients(gradients(model, otherwise), gradients(model, by_default))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_vocabulary_s_loss_in_pieces_is_that_of_the_whole(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer with a bias, which is not computed as a plain matrix."""
    torch.manual_seed(0)
    head, states = torch.nn.Linear(16, VOCABULARY), torch.randn(50, 16, requires_grad=True)
    targets, weights = torch.randint(VOCABULARY, (50,)), torch.rand(50)
    found = []
    for at_a_time in (50, 7):
        monkeypatch.setattr(kernels, "HEAD_TOKENS_AT_A_TIME", at_a_time)
        head.zero_grad()
        states.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            total, losses = kernels.cross_entropy_of_head(head, states, targets, weights)
        total.backward()
        found.append([total.detach(), losses, states.grad, head.weight.grad.clone(), head.bias.grad.clone()])
    in_pieces_atol = 1e-5 if precision == "fp32" else 0.02  # each piece's gradient of the weights is rounded to bf16
    torch.testing.assert_close(*found, rtol=1e-5 if precision == "fp32" else 0.02, atol=in_pieces_atol)


@pytest.fixture(scope="module", params=["gated, untied", "Gemma3Text"])
def copier(request: pytest.FixtureRequest) -> Any:
    """A model that has learnt, more or less, to write its prompt again and to end where the prompt ends."""
    model = tiny(request.param, **(WIDER if request.param in CAUSAL_SHAPES else WIDER_T5))
    batches = (random_rows(16, 9, seed=step) for step in range(200))
    return learn(model, ((rows, rows) for rows in batches), learning_rate=5e-3)


def library_text(model: Any, prompt: list[int], limit: int) -> list[int]:
    """What the library writes behind one prompt and the start token, without a cache that we made."""
    before = torch.tensor([[*prompt, model.config.decoder_start_token_id]])
    output = model.generate(before, max_new_tokens=limit + 1, do_sample=False, attention_mask=torch.ones_like(before))
    return until_end(output[:, before.shape[1] :].tolist(), END, limit)[0]


def generate_by_both(model: Any, prompts: list[list[int]], limit: int) -> list[list[int]]:
    """The texts of the packed backend, which are those of the library's `generate`; of a causal model row by row."""
    packed, padded = both(model)
    with packed.evaluating():
        ours, theirs = (backend.generate(backend.encode(prompts), limit) for backend in (packed, padded))
        if not model.config.is_encoder_decoder:
            theirs = [library_text(model, prompt, limit) for prompt in prompts]
    assert ours == theirs
    assert max(map(len, ours)) <= limit
    return ours


def test_the_generated_text_is_that_of_the_library_s_generate(copier: Any) -> None:
    prompts = random_rows(48, 9, seed=10_000)
    lengths = [len(row) for row in generate_by_both(copier, prompts, 20)]
    assert len(set(lengths)) >= 5, "rows end at different steps"
    assert sum(length < 20 for length in lengths) > 40, "and by themselves"
    for limit in (1, 4):
        assert list(map(len, generate_by_both(copier, prompts, limit))).count(limit) > 5, "the limit cuts"


def test_a_row_is_generated_alone_as_among_others_and_one_that_never_ends_to_the_limit(copier: Any) -> None:
    prompts = random_rows(12, 9, seed=20_000)
    together = generate_by_both(copier, prompts, 20)
    assert together == [generate_by_both(copier, [prompt], 20)[0] for prompt in prompts]
    assert max(map(len, generate_by_both(tiny_t5("gated, tied").eval(), PROMPTS, 15))) == 15


@pytest.mark.parametrize("shape", ["relu, tied", *CAUSAL_SHAPES])
def test_dropout_is_on_in_training_and_off_while_evaluating(shape: str) -> None:
    model = tiny(shape, dropout=0.2)
    for backend in both(model):
        task = Task(PROMPTS, TARGETS, num_tokens=31.0)
        assert backend.losses([task]).total.item() != backend.losses([task]).total.item()
        with backend.evaluating():
            first, second = backend.losses([task]).total, backend.losses([task]).total
        assert first.item() == second.item()
        assert not first.requires_grad
        assert model.training


@pytest.mark.parametrize(("shape", "arithmetic"), EVERY_ARITHMETIC)
def test_the_same_seed_gives_the_same_bits_also_where_activations_are_computed_again(
    shape: str, arithmetic: Any
) -> None:
    def training_pass(computed_again: bool) -> tuple[float, dict[str, Tensor]]:
        model = tiny(shape, dropout=0.3)
        if computed_again:
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        backend, _ = both(model, arithmetic)
        torch.manual_seed(11)
        loss = backend.losses(several_tasks(backend)).total
        return loss.item(), gradients(model, loss)

    (loss, expected), *others = (training_pass(again) for again in (False, False, True))
    for other_loss, other in others:
        assert other_loss == loss
        assert [name for name in expected if not torch.equal(other[name], expected[name])] == []


def test_t5_on_a_cpu_is_packed_and_everything_else_is_padded() -> None:
    model = tiny_t5()
    assert type(make_backend(model)) is PackedT5
    assert type(make_backend(model, precision="bf16")) is PaddedBackend
    assert type(make_backend(model, precision="bf16", layout="packed")) is PackedT5


@pytest.mark.parametrize(("model_type", "layout"), [("bart", "packed"), ("llama", "compiled")])
def test_a_layout_is_refused_for_a_model_that_has_none(model_type: str, layout: Any) -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(model_type=model_type))
    with pytest.raises(ModelError, match=f"layout: {layout} is for model types t5; found '{model_type}'; use auto"):
        make_backend(model, layout=layout)


@pytest.mark.slow
def test_compiled_layers_give_the_losses_and_gradients_of_the_others() -> None:
    """One graph for each part of a layer, whatever the number of tokens."""
    model = tiny_t5("gated, untied")
    found = []
    for layout in ("packed", "compiled"):
        backend: Any = make_backend(model, layout=layout)
        total = backend.losses(several_tasks(backend)).total
        found.append((total.detach(), gradients(model, total)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.0, atol=LOSS_ATOL)
    assert_same_gradients(found[1][1], found[0][1])


def test_every_causal_model_has_its_own_backend_in_any_precision() -> None:
    for shape in CAUSAL_SHAPES:
        assert type(make_backend(tiny_causal(shape), precision="bf16")) is CausalBackend


def test_short_rows_share_lines_no_longer_than_the_longest_row() -> None:
    lengths = [3, 9, 2, 4, 5, 1]
    lines = pack_lines(lengths)
    assert sorted(number for line in lines for number in line) == list(range(6))
    assert [sum(lengths[number] for number in line) for line in lines] == [9, 9, 6]


@pytest.mark.parametrize("shape", ["relu, untied", *CAUSAL_SHAPES])
def test_the_order_of_rows_does_not_change_a_loss(shape: str) -> None:
    (backend, _), losses = both(tiny(shape)), []
    for order in (range(6), random.Random(0).sample(range(6), 6)):
        prompts, targets, weights = ([column[row] for row in order] for column in (PROMPTS, TARGETS, ROW_WEIGHTS))
        losses.append(backend.losses([Task(prompts, targets, 31.0, 1.0, weights)]).total.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
