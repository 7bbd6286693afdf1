"""A model exported for CTranslate2 decides and explains as the one that it was made from."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from r2d.errors import ModelError
from r2d.modeling.backends.backend import Seq2SeqBackend
from r2d.modeling.backends.exported import export_model, read_engine_facts
from r2d.modeling.predictor import Decision, Predictor

NOTES = [
    f"pt {verb} {finding} for {days} days"
    for verb in ("denies", "reports")
    for finding in ("fever", "cough", "rash", "chest pain")
    for days in range(1, 9)
]


@pytest.fixture(scope="module")
def torch_decisions(stage2_model: Path) -> list[Decision]:
    return Predictor(stage2_model).decide(NOTES, other_decoding=True)


@pytest.fixture(scope="module")
def exported(stage2_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(stage2_model, folder)
    return folder


def probabilities(decisions: Sequence[Decision]) -> torch.Tensor:
    return torch.tensor([list(decision.label_probabilities.values()) for decision in decisions])


def test_labels_probabilities_and_rationales_are_those_of_torch(
    exported: Path, torch_decisions: list[Decision]
) -> None:
    decisions = Predictor(exported).decide(NOTES, other_decoding=True)
    torch.testing.assert_close(probabilities(decisions), probabilities(torch_decisions), atol=1e-5, rtol=0)
    for decision, expected in zip(decisions, torch_decisions, strict=True):
        assert (decision.label, decision.other_label) == (expected.label, expected.other_label)
        assert decision.rationale == expected.rationale
    assert len({decision.label for decision in decisions}) > 1 or len(set(probabilities(decisions)[:, 0])) > 10


def test_targets_are_scored_alike_whether_the_search_finds_them_or_not(exported: Path) -> None:
    """Labels as a model writes them, texts that it would never write, and one without an end."""
    predictor = Predictor(exported)
    backend, labels = predictor.backend, predictor.labels.declared
    assert labels is not None
    encoded = backend.encode(predictor.prompts.label_prompts(NOTES[:3]))
    targets = [*labels.token_ids, (9, 8, 7, 1), labels.token_ids[0][:-1], *labels.token_ids, (20, 1)]
    rows = [2] * len(labels.names) + [0, 1] + [1] * len(labels.names) + [2]
    expected = Seq2SeqBackend.log_probabilities(backend, encoded, targets, rows)
    torch.testing.assert_close(backend.log_probabilities(encoded, targets, rows), expected, atol=1e-4, rtol=0)


def test_int8_weighs_less_and_gives_declared_labels(
    stage2_model: Path, torch_decisions: list[Decision], tmp_path: Path
) -> None:
    facts = export_model(stage2_model, tmp_path / "int8", quantization="int8")
    decisions = Predictor(tmp_path / "int8").decide(NOTES)
    assert facts.num_bytes < 0.5 * facts.source_num_bytes
    assert all(decision.valid for decision in decisions)
    assert not torch.equal(probabilities(decisions), probabilities(torch_decisions))
    torch.testing.assert_close(probabilities(decisions), probabilities(torch_decisions), atol=0.1, rtol=0)


def test_a_streamed_rationale_is_the_whole_one(exported: Path, torch_decisions: list[Decision]) -> None:
    pieces: list[str] = []
    decision = torch_decisions[0]
    whole = Predictor(exported).stream_rationale(NOTES[0], decision.label, pieces.append)
    assert whole == "".join(pieces) == decision.rationale
    assert len(pieces) > 1


def test_the_engine_keeps_no_listener_beyond_its_answer(exported: Path) -> None:
    class Listener:
        def __call__(self, piece: str) -> None: ...

    predictor, listener = Predictor(exported), Listener()
    predictor.stream_rationale(NOTES[0], "self care", listener)
    alive = weakref.ref(listener)
    del listener
    assert alive() is None
    for _ in range(30):  # a model that ends right behind its answer, as one that is replaced while it is served
        Predictor(exported).stream_rationale(NOTES[0], "self care", Listener())


def test_the_folder_says_what_it_was_made_from_and_damage_to_it_is_found(exported: Path, tmp_path: Path) -> None:
    facts = read_engine_facts(exported)
    assert (facts.quantization, len(facts.source_sha256)) == ("none", 64)
    assert facts.num_parameters == Predictor(exported).num_parameters
    assert not list(exported.glob("*.safetensors.index.json")) + list(exported.glob("model*.safetensors"))
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    weights = damaged / "ctranslate2" / "model.bin"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"its files are damaged: ctranslate2/model\.bin has SHA-256"):
        Predictor(damaged)


def test_what_cannot_be_exported_leaves_nothing(exported: Path, stage2_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is there already"):
        export_model(stage2_model, exported)
    with pytest.raises(ModelError, match="is an exported model"):
        export_model(exported, tmp_path / "twice")
    other = shutil.copytree(stage2_model, tmp_path / "bart")
    (other / "manifest.json").unlink()
    (other / "reason2decide.json").unlink()
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bart"}))
    with pytest.raises(ModelError, match="a model of type bart is not exported; allowed: t5"):
        export_model(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_cannot_be_trained(exported: Path) -> None:
    backend = Predictor(exported).backend
    with pytest.raises(ModelError, match="cannot be trained"):
        backend.losses([])
