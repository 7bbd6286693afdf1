"""Each allowed architecture does both stages; every other one is refused with its reason before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import transformers as families

from r2d.config.data import LabelsConfig
from r2d.config.training import Stage1Config, Stage2Config
from r2d.errors import ModelError
from r2d.modeling.architectures import ALLOWED, REFUSED, embedding_scale, is_random_in_training
from r2d.modeling.decoding import label_log_probabilities, most_probable_labels
from r2d.modeling.load import load_pretrained, start_model, start_tokenizer
from r2d.modeling.predictor import Predictor
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from tests.modeling.tiny_models import ARCHITECTURES, config_of, padded_inputs, save, t5_like, t5_tokenizer

NOTES = ["pt denies fever for 3 days", "pt reports chest pain for 12 days and more", "pt reports rash"]


def test_every_allowed_type_is_tried_here_and_none_is_refused_as_well() -> None:
    assert {name.split(" ")[0] for name in ARCHITECTURES} == set(ALLOWED)
    assert not set(ALLOWED) & set(REFUSED)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_allowed_architecture_trains_decides_explains_and_comes_back(
    name: str, examples: pa.Table, labels: LabelsConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = config_of(save(ARCHITECTURES[name](), tmp_path / "start"))
    often: dict[str, Any] = {"eval_every_steps": 4, "learning_rate": 5e-3, "batch_size": 8}
    shared: dict[str, Any] = {"examples": examples, "model": model, "labels": labels}
    stage1 = Stage1Config(max_steps=8, **often)
    first = train_stage1(StageWork(config=stage1, work_dir=tmp_path / "1", **shared))
    losses = [record["eval_loss"] for record in first.history if "eval_loss" in record]
    assert losses[-1] < losses[0]

    stage2 = Stage2Config(max_steps=12, precision="fp32", validation_rationales=2, **often)
    second = train_stage2(StageWork(config=stage2, work_dir=tmp_path / "2", stage1_model=first.model_folder, **shared))
    predictor = Predictor(second.model_folder, device="cpu")
    for decision in predictor.decide(NOTES):
        assert decision.label in labels.names
        assert len(predictor.tokenizer(decision.rationale).input_ids) <= 12 + 3
    assert len(predictor.decode_labels(NOTES, decoding="free")) == len(NOTES)
    assert_scores_are_those_of_teacher_forcing(predictor)
    assert_saving_and_loading_keeps_the_logits(predictor, tmp_path / "again")


def assert_scores_are_those_of_teacher_forcing(predictor: Predictor) -> None:
    """Of each label alone, unpadded and without a cache."""
    prompts = predictor.prompts.label_prompts(NOTES)
    declared = predictor.labels.declared
    assert declared is not None
    with predictor.backend.evaluating():
        encoded = predictor.backend.encode(prompts)
        found = most_probable_labels(predictor.backend, encoded, [declared] * len(prompts))
    scores = label_log_probabilities(predictor.backend, encoded, [declared] * len(prompts))
    for row, prompt in enumerate(prompts):
        for column, ids in enumerate(declared.token_ids):
            with torch.no_grad():
                loss = predictor.model(**padded_inputs([prompt]), labels=torch.tensor([ids])).loss
            assert float(scores[row][column]) == pytest.approx(-float(loss) * len(ids), abs=1e-4)
        assert found[row].name == declared.names[int(scores[row].argmax())]
        assert found[row].log_probability == pytest.approx(float(scores[row].max()), abs=1e-4)


def assert_saving_and_loading_keeps_the_logits(predictor: Predictor, folder: Path) -> None:
    save((predictor.model, predictor.tokenizer), folder)
    model, tokenizer = load_pretrained(str(folder))
    assert tokenizer(NOTES).input_ids == predictor.tokenizer(NOTES).input_ids
    inputs = padded_inputs(predictor.prompts.label_prompts(NOTES)) | {"labels": torch.tensor([[5, 1]] * 3)}
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, predictor.model(**inputs).logits)


@pytest.mark.parametrize("name", ["bart", "mvp", "blenderbot", "pegasus", "pegasus_x", "t5", "t5gemma"])
def test_scaled_rows_of_the_embedding_matrix_stand_in_for_tokens(name: str, tmp_path: Path) -> None:
    model, tokenizer = load_pretrained(str(save(ARCHITECTURES[name](), tmp_path)))
    inputs = padded_inputs(tokenizer(NOTES[:1]).input_ids)
    rows = model.get_input_embeddings().weight[inputs["input_ids"]] * embedding_scale(model)
    labels = torch.tensor([[5, 1]])
    with torch.no_grad():
        by_tokens = model.eval()(**inputs, labels=labels).logits
        by_rows = model(inputs_embeds=rows, attention_mask=inputs["attention_mask"], labels=labels).logits
    torch.testing.assert_close(by_rows, by_tokens)


def test_settings_of_the_checkpoint_do_not_decide_what_is_decoded(tmp_path: Path) -> None:
    model, _ = load_pretrained(str(save(ARCHITECTURES["bart"](), tmp_path)))
    settings = model.generation_config.to_diff_dict()
    assert set(settings) - {"transformers_version"} <= {
        "decoder_start_token_id", "eos_token_id", "pad_token_id", "use_cache"
    }  # fmt: skip


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_fp32(stored: torch.dtype, tmp_path: Path) -> None:
    made = ARCHITECTURES["t5"]()
    made[0].to(stored)
    model, _ = load_pretrained(str(save(made, tmp_path)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (lambda: families.LlamaConfig(), r"type 'llama': it has no encoder"),
        (lambda: families.GPT2Config(), r"type 'gpt2': it has no encoder"),
        (lambda: families.BertConfig(), r"type 'bert': it has no decoder"),
        (lambda: families.ViTConfig(), r"type 'vit': it was not tried"),
        (lambda: families.WhisperConfig(), r"type 'whisper': it reads sound"),
        (lambda: families.MBartConfig(), r"type 'mbart': its texts begin or end with a token of a language"),
        (lambda: families.MarianConfig(), r"type 'marian': it translates between two vocabularies"),
        (lambda: families.SwitchTransformersConfig(), r"type 'switch_transformers': its loss contains"),
        (lambda: families.ProphetNetConfig(), r"type 'prophetnet': its decoder takes one token at a time"),
        (lambda: families.LEDConfig(), r"type 'led': it wants a global attention mask"),
        (lambda: families.BigBirdPegasusConfig(), r"its attention draws random blocks"),
        (
            lambda: families.EncoderDecoderConfig.from_encoder_decoder_configs(
                families.BertConfig(), families.GPT2Config()
            ),
            r"its decoder is of type 'gpt2'; tried were bert, roberta",
        ),
    ],
)
def test_another_architecture_is_refused_with_its_reason_and_what_is_allowed(
    config: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    config().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=reason) as caught:
        load_pretrained(str(tmp_path))
    assert "Allowed types are t5, mt5" in str(caught.value)


def test_an_architecture_that_nobody_knows_is_refused_and_no_code_is_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}')
    (tmp_path / "code.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ModelError, match="names no architecture that transformers"):
        load_pretrained(str(tmp_path))


def test_limits_beyond_the_positions_of_a_model_are_refused_with_both_figures(tmp_path: Path) -> None:
    folder = save(ARCHITECTURES["bart"](), tmp_path / "bart")
    with pytest.raises(ModelError) as caught:
        start_model(config_of(folder, max_input_tokens=65, max_rationale_tokens=64), [], seed=1)
    message = str(caught.value)
    assert "model.max_input_tokens is 65, its encoder has 64 positions: at most 64" in message
    assert "model.max_rationale_tokens is 64, its decoder has 64 positions: at most 63" in message
    assert "max_label_tokens" not in message
    start_model(config_of(folder, max_input_tokens=64, max_rationale_tokens=63), [], seed=1)


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    model, tokenizer = ARCHITECTURES["t5"]()
    backend = tokenizer.backend_tokenizer
    tokenizer.add_tokens(["acetaminophen"])
    unfit = {
        r"the tokenizer has \d+ tokens, the model has embeddings for \d+": tokenizer,
        "has no pad_token": families.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"),
        "a text must end with end-of-sequence": families.PreTrainedTokenizerFast(
            tokenizer_object=t5_tokenizer().backend_tokenizer, pad_token="<pad>"
        ),
    }
    for number, (message, unfit_tokenizer) in enumerate(unfit.items()):
        with pytest.raises(ModelError, match=message):
            load_pretrained(str(save((model, unfit_tokenizer), tmp_path / str(number))))


def test_a_tokenizer_that_can_end_its_texts_is_asked_to(tmp_path: Path) -> None:
    """Gemma's adds no end-of-sequence by itself."""
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "a", "▁"])}
    families.GemmaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    tokenizer = start_tokenizer(config_of(tmp_path), [])
    assert tokenizer("a a").input_ids[-1] == tokenizer.eos_token_id


def test_a_model_that_drops_nothing_is_the_same_in_training(tmp_path: Path) -> None:
    for name in ("t5", "bart", "encoder-decoder (BERT)"):
        model, _ = load_pretrained(str(save(ARCHITECTURES[name](), tmp_path / name.replace(" ", "_"))))
        assert is_random_in_training(model)
    still, _ = load_pretrained(str(save(t5_like("T5", dropout_rate=0.0), tmp_path / "still")))
    assert not is_random_in_training(still)
