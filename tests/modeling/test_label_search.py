"""The search finds the label that scoring every label finds, and asks the decoder seldom."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from r2d.modeling.backends import Network, Task
from r2d.modeling.backends.packed_t5 import PackedT5
from r2d.modeling.backends.padded import PaddedNetwork
from r2d.modeling.decoding import label_log_probabilities
from r2d.modeling.label_search import FoundLabel, most_probable_labels
from r2d.modeling.labels import LabelSet
from tests.modeling.tiny_t5 import END, SHAPES, VOCABULARY, random_rows, tiny_t5

NETWORKS = [PackedT5, PaddedNetwork]
# One begins as another and goes on, two part at the last token, one stands alone.
DECLARED = LabelSet(
    ("yes", "yes and no", "yes and so", "maybe"), ((5, END), (5, 6, 7, END), (5, 6, 8, END), (9, 4, END))
)


def random_labels(num_labels: int, seed: int) -> LabelSet:
    """Of few different tokens, so that many share a beginning."""
    generator, found = random.Random(seed), {}
    while len(found) < num_labels:
        found[(*(generator.randrange(2, 7) for _ in range(generator.randint(1, 6))), END)] = None
    return LabelSet(tuple(f"label {number}" for number in range(num_labels)), tuple(found))


def assert_the_best_is_found(network: Network[Any], prompts: list[list[int]], sets: list[LabelSet]) -> list[FoundLabel]:
    with network.evaluating():
        encoded = network.encode(prompts)
        found = most_probable_labels(network, encoded, sets)
        scores = label_log_probabilities(network, encoded, sets)
    for one, labels, row in zip(found, sets, scores, strict=True):
        place = labels.names.index(one.name)
        assert one.log_probability == pytest.approx(float(row[place]), abs=1e-4)
        first, second = row.sort(descending=True).values[:2].tolist() if len(row) > 1 else (float(row[0]), -1e9)
        # In float32 two passes differ in the seventh digit: closer labels are a tie.
        assert place == int(row.argmax()) if first - second > 1e-4 else first - float(row[place]) < 1e-4
        assert one.num_tokens == len(labels.token_ids[place])
        assert one.mean_log_probability == one.log_probability / one.num_tokens
    return found


def spoken(num_rows: int, seed: int) -> list[list[int]]:
    """Prompts that say one token one to six times."""
    generator = random.Random(seed)
    return [[generator.randrange(2, 12)] * generator.randint(1, 6) + [END] for _ in range(num_rows)]


@pytest.fixture(scope="module")
def decided() -> Any:
    """A T5 that has learnt which of the declared labels the token of a prompt stands for."""
    model = tiny_t5("gated, tied")
    network, optimizer = PackedT5(model), torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(120):
        prompts = spoken(16, seed=step)
        targets = [DECLARED.token_ids[prompt[0] % 4] for prompt in prompts]
        optimizer.zero_grad()
        network.losses([Task(prompts, targets, num_tokens=sum(map(len, targets)))]).total.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("network_type", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_labels", [1, 2, 20, 300])
def test_an_untrained_model_s_most_probable_label_is_found(
    network_type: type[Network[Any]], shape: str, num_labels: int
) -> None:
    network, labels = network_type(tiny_t5(shape, seed=num_labels)), random_labels(num_labels, seed=num_labels)
    found = assert_the_best_is_found(network, random_rows(6, 20, seed=3), [labels] * 6)
    assert {one.name for one in found} <= set(labels.names)


@pytest.mark.parametrize("network_type", NETWORKS)
def test_each_row_has_a_set_of_its_own(network_type: type[Network[Any]], decided: Any) -> None:
    sets = [random_labels(number, seed=number) for number in (1, 2, 3, 50, 7, 1, 300, 20)] + [DECLARED]
    for model in (tiny_t5(seed=5), decided):
        assert_the_best_is_found(network_type(model), random_rows(len(sets), 20, seed=4), sets)


@pytest.mark.parametrize("network_type", NETWORKS)
def test_a_trained_model_s_label_is_found_in_few_passes_of_the_decoder(
    network_type: type[Network[Any]], decided: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prompts = network_type(decided), spoken(40, seed=999)
    sets = [DECLARED] * len(prompts)
    found = assert_the_best_is_found(network, prompts, sets)
    right = [one.name == DECLARED.names[prompt[0] % 4] for one, prompt in zip(found, prompts, strict=True)]
    assert sum(right) / len(right) > 0.9
    assert {one.name for one in found} == set(DECLARED.names)

    calls: list[int] = []
    logits = type(network).logits

    def counted(self: Any, encoded: Any, inputs: Any, rows: Any = None, places: Any = None) -> Any:
        calls.append(len(inputs))
        return logits(self, encoded, inputs, rows, places)

    monkeypatch.setattr(type(network), "logits", counted)
    sure = [row for row, one in enumerate(found) if one.log_probability > -0.5]
    assert len(sure) > 20
    with network.evaluating():
        most_probable_labels(network, network.encode([prompts[row] for row in sure]), [DECLARED] * len(sure))
    # The labels part after 0, 1 and 2 tokens: a pass for each, and one to the end of what is left.
    assert len(calls) <= 4
    assert calls == sorted(calls, reverse=True), "a row that is decided is not asked again"


@pytest.mark.parametrize("network_type", NETWORKS)
def test_a_single_label_costs_one_pass(network_type: type[Network[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    network, calls = network_type(tiny_t5()), []
    logits = network.logits
    monkeypatch.setattr(network, "logits", lambda *arguments: calls.append(1) or logits(*arguments))
    sets = [random_labels(1, seed=seed) for seed in range(5)]
    found = most_probable_labels(network, network.encode(random_rows(5, 9, seed=1)), sets)
    assert [one.name for one in found] == ["label 0"] * 5
    assert len(calls) == 1


@pytest.mark.parametrize("network_type", NETWORKS)
def test_ties_go_to_the_label_declared_first(network_type: type[Network[Any]]) -> None:
    model = tiny_t5()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    network = network_type(model)
    ids = [(9, 4, END), (5, 6, END), (5, 4, END), (2, 2, END), (2, 6, END)]
    for seed in range(6):
        random.Random(seed).shuffle(ids)
        labels = LabelSet(tuple("abcde"), tuple(ids))
        found = most_probable_labels(network, network.encode([[3, END], [4, END]]), [labels] * 2)
        assert [one.name for one in found] == ["a", "a"]
        assert found[0].log_probability == pytest.approx(-3 * torch.log(torch.tensor(float(VOCABULARY))).item())


def test_the_shorter_label_wins_where_every_token_is_as_probable() -> None:
    model = tiny_t5()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    network = PackedT5(model)
    found = most_probable_labels(network, network.encode([[3, END]]), [DECLARED])
    assert (found[0].name, found[0].num_tokens) == ("yes", 2)
