"""A fine-tuned encoder beside the other baselines: it learns, is chosen on validation rows, and is refused early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import transformers as families

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EncoderBaselineConfig
from r2d.config.run import RunConfig
from r2d.data.examples import split_of, with_columns
from r2d.errors import DataError, ModelError
from r2d.evaluation.encoder_baseline import encoder_baseline, load_classifier
from r2d.evaluation.evaluate import evaluate
from r2d.evaluation.sections.labels import Comparator
from tests.conftest import TOY_LABELS, toy_examples
from tests.evaluation.test_evaluate import DATA, QUICK, checked
from tests.modeling.tiny_models import bart_tokenizer, save

PER_ROW = LabelsConfig(per_row=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of a few thousand random weights."""
    torch.manual_seed(0)
    tokenizer = bart_tokenizer({"cls_token": "<s>", "sep_token": "</s>"})
    config = families.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=48, pad_token_id=0, hidden_dropout_prob=0.0,
    )  # fmt: skip
    return save((families.BertModel(config), tokenizer), tmp_path_factory.mktemp("encoder"))


def tiny(encoder: Path, **values: Any) -> EncoderBaselineConfig:
    return EncoderBaselineConfig(
        **{"name": str(encoder), "max_tokens": 40, "num_epochs": 6, "batch_size": 8, "learning_rate": 5e-3} | values
    )


def accuracy(labels: list[str], rows: pa.Table) -> float:
    right = [label == gold for label, gold in zip(labels, rows["label"].to_pylist(), strict=True)]
    return sum(right) / len(right)


def test_it_learns_the_labels_the_same_way_each_time_and_leaves_other_random_numbers_alone(encoder: Path) -> None:
    examples = toy_examples()
    test = split_of(examples, "test")
    torch.manual_seed(7)
    labels, facts = encoder_baseline(examples, test, TOY_LABELS, tiny(encoder))
    drawn = torch.rand(1)
    assert accuracy(labels, test) > 0.9
    assert facts.validation > 0.9
    assert 1 <= facts.best_epoch <= facts.num_epochs == 6
    blind = with_columns(test, label=["self care"] * len(test))
    assert encoder_baseline(examples, blind, TOY_LABELS, tiny(encoder)) == (labels, facts), "test labels are not read"
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))


def test_where_rows_have_options_it_chooses_among_those_of_the_row(encoder: Path) -> None:
    examples, others = toy_examples(), ["fever", "chest pain", "rash"]
    options = [[*others[row % 3 :], "self care", *others[: row % 2]] for row in range(len(examples))]
    examples = with_columns(examples, options=options, label=["self care"] * len(examples))
    test = split_of(examples, "test")
    labels, _ = encoder_baseline(examples, test, PER_ROW, tiny(encoder, num_epochs=3))
    assert accuracy(labels, test) == 1.0


def test_the_report_the_metrics_and_the_gate_have_it_where_it_is_configured(encoder: Path, stage2_model: Path) -> None:
    config = QUICK.model_copy(update={"encoder_baseline": tiny(encoder)})
    result = evaluate(toy_examples(), stage2_model, config=config, data=DATA)
    metrics = checked(result.metrics)
    assert metrics.encoder_baseline is not None
    assert metrics.baselines[Comparator.ENCODER].accuracy > 0.9
    difference = metrics.differences[Comparator.ENCODER].accuracy
    assert difference.value == pytest.approx(metrics.label.accuracy - metrics.baselines[Comparator.ENCODER].accuracy)
    assert f"Fine-tuned encoder: {encoder}" in result.report
    unmeasured = evaluate(toy_examples(), stage2_model, config=QUICK, data=DATA)
    assert "encoder_baseline" not in unmeasured.metrics.to_json()


def test_what_cannot_classify_is_refused_before_its_weights_are_read(encoder: Path, tmp_path: Path) -> None:
    vit = families.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    vit.save_pretrained(tmp_path / "vit")
    for folder, values, message in (
        (tmp_path / "vit", {}, r"name .* is of type 'vit', with which transformers classifies no texts"),
        (encoder, {"max_tokens": 49}, r"encoder_baseline\.max_tokens is 49, .* has 48 positions; lower it"),
        (tmp_path / "none", {}, r"evaluation\.encoder_baseline\.name .* is no folder here"),
    ):
        with pytest.raises(ModelError, match=message):
            load_classifier(tiny(folder, **values), 2)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in encoder.iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match=r"encoder_baseline\.name .* Weights in pickle files \(\*\.bin\) are not read"):
        load_classifier(tiny(pickled), 2)
    train_alone = toy_examples().filter(pa.compute.equal(toy_examples()["split"], "train"))
    with pytest.raises(DataError, match="no validation rows to choose the epoch by"):
        encoder_baseline(train_alone, train_alone, TOY_LABELS, tiny(encoder))


def test_a_gate_that_asks_for_it_needs_it_to_be_configured() -> None:
    rules = [{"rule": "better_than_baseline", "baseline": "encoder"}]
    run: dict[str, Any] = {
        "data": DATA, "method": {"name": "sft"}, "registration": {"gate": {"rules": rules}},
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"set evaluation\.encoder_baseline, such as \{name: minilm\}"):
        RunConfig.model_validate(run)
    known = RunConfig.model_validate(run | {"evaluation": {"encoder_baseline": {"name": "minilm", "revision": "1"}}})
    assert "evaluation.encoder_baseline.revision" in known.keys_without_effect()
