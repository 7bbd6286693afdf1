"""Where a model comes from and what is refused; each allowed architecture does both stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as families

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import Stage1Config, Stage2Config
from r2d.errors import ModelError
from r2d.modeling.decoding import label_log_probabilities, most_probable_labels
from r2d.modeling.load import (
    ALLOWED,
    REFUSED,
    embedding_scale,
    is_random_in_training,
    load_pretrained,
    start_model,
    start_tokenizer,
)
from r2d.modeling.manifest import write_manifest
from r2d.modeling.model_folder import read_model_facts
from r2d.modeling.predictor import Predictor
from r2d.modeling.prompts import Frame
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from tests.conftest import TOY_LABELS, toy_examples, toy_work
from tests.modeling.tiny_models import (
    ARCHITECTURES,
    config_of,
    library_loss,
    padded_inputs,
    save,
    t5_like,
    t5_tokenizer,
)

NONE = toy_examples(0)
NOTES = ["pt denies fever for 3 days", "pt reports chest pain for 12 days and more", "pt reports rash"]


def test_every_allowed_type_is_tried_here_and_none_is_refused_as_well() -> None:
    assert {name.split(" ")[0] for name in ARCHITECTURES} == set(ALLOWED)
    assert not set(ALLOWED) & set(REFUSED)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_allowed_architecture_trains_decides_explains_and_comes_back(
    name: str, labels: LabelsConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = config_of(save(ARCHITECTURES[name](), tmp_path / "start"))
    often: dict[str, Any] = {"eval_every_steps": 4, "learning_rate": 5e-3, "batch_size": 8}
    first = train_stage1(toy_work(tmp_path / "1", Stage1Config(max_steps=8, **often), model=model))
    losses = [record["eval_loss"] for record in first.history if "eval_loss" in record]
    assert losses[-1] < losses[0]

    stage2 = Stage2Config(max_steps=8, precision="fp32", validation_rationales=2, **often)
    second = train_stage2(toy_work(tmp_path / "2", stage2, model=model, stage1_model=first.model_folder))
    predictor = Predictor(second.model_folder, device="cpu")
    for decision in predictor.decide(NOTES):
        assert decision.label in labels.names
        assert len(predictor.tokenizer(decision.rationale).input_ids) <= 12 + 3
    assert len(predictor.decode_labels(NOTES, decoding="free")) == len(NOTES)
    pieces: list[str] = []
    assert predictor.stream_rationale(NOTES[0], labels.names[0], pieces.append) == "".join(pieces)
    library_model, tokenizer = load_pretrained(str(second.model_folder))
    assert_scores_are_those_of_teacher_forcing(predictor, library_model.eval())
    assert_saving_and_loading_keeps_the_logits(predictor, (library_model, tokenizer), tmp_path / "again")


def assert_scores_are_those_of_teacher_forcing(predictor: Predictor, library_model: Any) -> None:
    """Of each label alone, unpadded and without a cache."""
    prompts = predictor.prompts.label_prompts(NOTES)
    declared = predictor.labels.declared
    assert declared is not None
    with predictor.backend.evaluating():
        encoded = predictor.backend.encode(prompts)
        best = most_probable_labels(predictor.backend, encoded, [declared] * len(prompts))
    scores = label_log_probabilities(predictor.backend, encoded, [declared] * len(prompts))
    for row, prompt in enumerate(prompts):
        for column, ids in enumerate(declared.token_ids):
            loss = library_loss(library_model, prompt, ids).item()
            assert float(scores[row][column]) == pytest.approx(-loss * len(ids), abs=1e-4)
        assert best[row].name == declared.names[int(scores[row].argmax())]
        assert best[row].log_probability == pytest.approx(float(scores[row].max()), abs=1e-4)


def assert_saving_and_loading_keeps_the_logits(predictor: Predictor, loaded: tuple[Any, Any], folder: Path) -> None:
    save(loaded, folder)
    model, tokenizer = load_pretrained(str(folder))
    assert tokenizer(NOTES).input_ids == predictor.tokenizer(NOTES).input_ids
    inputs = padded_inputs(predictor.prompts.label_prompts(NOTES))
    if model.config.is_encoder_decoder:
        inputs["labels"] = torch.tensor([[5, 1]] * 3)
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, loaded[0](**inputs).logits)


@pytest.mark.parametrize("name", ["bart", "mvp", "blenderbot", "pegasus", "pegasus_x", "t5", "t5gemma", "t5gemma2"])
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
    ("family", "reason"),
    [
        ("GPT2", r"type 'gpt2': of causal models, llama, qwen3, gemma3_text were tried"),
        ("Bert", r"type 'bert': it has no decoder"),
        ("ViT", r"type 'vit': it was not tried"),
        ("Whisper", r"type 'whisper': it reads sound"),
        ("MBart", r"type 'mbart': its texts begin or end with a token of a language"),
        ("Marian", r"type 'marian': it translates between two vocabularies"),
        ("SwitchTransformers", r"type 'switch_transformers': its loss contains"),
        ("ProphetNet", r"type 'prophetnet': its decoder takes one token at a time"),
        ("LED", r"type 'led': it wants a global attention mask"),
        ("BigBirdPegasus", r"its attention draws random blocks"),
        ("EncoderDecoder", r"its decoder is of type 'gpt2'; tried were bert, roberta"),
    ],
)
def test_another_architecture_is_refused_with_its_reason_and_what_is_allowed(
    family: str, reason: str, tmp_path: Path
) -> None:
    parts = {"encoder": {"model_type": "bert"}, "decoder": {"model_type": "gpt2"}} if family == "EncoderDecoder" else {}
    getattr(families, f"{family}Config")(**parts).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=reason) as caught:
        load_pretrained(str(tmp_path))
    assert "Allowed types are t5, mt5" in str(caught.value)


def test_an_architecture_that_nobody_knows_is_refused_and_no_code_is_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}')
    (tmp_path / "code.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ModelError, match="names no architecture that transformers"):
        load_pretrained(str(tmp_path))


@pytest.mark.parametrize(("name", "most"), [("bart", 64), ("t5gemma2", 128)])
def test_limits_beyond_the_positions_of_a_model_are_refused_with_both_numbers(
    name: str, most: int, tmp_path: Path
) -> None:
    folder = save(ARCHITECTURES[name](), tmp_path)
    with pytest.raises(ModelError) as caught:
        start_model(config_of(folder, max_input_tokens=most + 1, max_rationale_tokens=most), NONE, TOY_LABELS, seed=1)
    message = str(caught.value)
    assert f"model.max_input_tokens is {most + 1}, its encoder has {most} positions: at most {most}" in message
    assert f"model.max_rationale_tokens is {most}, its decoder has {most} positions: at most {most - 1}" in message
    assert "max_label_tokens" not in message
    start_model(config_of(folder, max_input_tokens=most, max_rationale_tokens=most - 1), NONE, TOY_LABELS, seed=1)


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
    (tmp_path / "config.json").write_text('{"model_type": "t5gemma"}', encoding="utf-8")
    tokenizer = start_tokenizer(config_of(tmp_path), NONE, TOY_LABELS)
    assert tokenizer("a a").input_ids[-1] == tokenizer.eos_token_id


def test_a_model_that_drops_nothing_is_the_same_in_training(tmp_path: Path) -> None:
    for name in ("t5", "bart", "encoder-decoder (BERT)"):
        model, _ = load_pretrained(str(save(ARCHITECTURES[name](), tmp_path / name.replace(" ", "_"))))
        assert is_random_in_training(model)
    still, _ = load_pretrained(str(save(t5_like("T5", dropout_rate=0.0), tmp_path / "still")))
    assert not is_random_in_training(still)


def test_a_name_that_cannot_be_fetched_says_how_to_use_a_folder() -> None:
    with pytest.raises(ModelError) as caught:
        load_pretrained("google-t5/t5-small", "df1b051c49625cf57a3d0d8d3863ed4d13564fe4")
    message = str(caught.value)
    assert "could not be fetched from the Hugging Face hub" in message
    assert "hf download google-t5/t5-small --revision df1b051c49625cf57a3d0d8d3863ed4d13564fe4" in message
    assert "set model.name to its path" in message


def test_pickled_weights_are_not_read(stage1_model: Path, tmp_path: Path) -> None:
    for path in stage1_model.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    write_manifest(tmp_path)
    with pytest.raises(ModelError, match=r"Weights in pickle files \(\*\.bin\) are not read"):
        load_pretrained(str(tmp_path))


def test_gguf_is_not_read_and_a_file_of_it_is_no_model(tmp_path: Path) -> None:
    model, tokenizer = ARCHITECTURES["llama"]()
    for part in (model.config, tokenizer):
        part.save_pretrained(tmp_path)
    (tmp_path / "model.Q4_1.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"model\.Q4_1\.gguf.*nor those in GGUF \(\*\.gguf\): convert them"):
        load_pretrained(str(tmp_path))


def test_a_file_of_weights_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"is a file; name the folder that holds config\.json, model\.safetensors"):
        start_model(config_of(file), NONE, TOY_LABELS, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, r"weights lack model\.layers\.2\..* and 6 more, or have them in other sizes"),
        (
            {"hidden_size": 32},
            r"weights lack lm_head\.weight, model\.embed_tokens\.weight, .* have them in other sizes",
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"weights are quantised \(gptq\) and cannot be"),
    ],
)
def test_weights_that_would_begin_at_random_or_cannot_be_trained_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = save(ARCHITECTURES["llama"](), tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_label_tokens": 1}, r"label 'emergency now' has \d+ tokens, model\.max_label_tokens is 1"),
        ({"max_input_tokens": 128}, r"has 128 positions for a prompt and what is written"),
    ],
)
def test_limits_and_labels_are_held_against_a_model_before_its_weights_are_read(
    limits: dict[str, int], message: str, tmp_path: Path
) -> None:
    model, tokenizer = ARCHITECTURES["llama"]()
    for part in (model.config, tokenizer):
        part.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=message):
        start_model(config_of(tmp_path, **limits), NONE, TOY_LABELS, seed=1)


def test_prompt_and_target_share_the_positions_of_a_causal_model(tmp_path: Path) -> None:
    folder = save(ARCHITECTURES["llama"](), tmp_path)
    with pytest.raises(ModelError, match=r"has 128 positions for a prompt and what is written.*need 129\. Lower them"):
        start_model(config_of(folder, max_input_tokens=117, max_label_tokens=8), NONE, TOY_LABELS, seed=1)
    start_model(config_of(folder, max_input_tokens=116, max_rationale_tokens=12), NONE, TOY_LABELS, seed=1)


def test_a_causal_model_keeps_the_chat_of_the_day_it_was_trained_on(tmp_path: Path) -> None:
    model, tokenizer = ARCHITECTURES["llama (chat, tied)"]()
    tokenizer.chat_template = "{{ strftime_now('%H %M %S %f') }} {{ messages[0]['content'] }} rash"
    loaded = load_pretrained(str(save((model, tokenizer), tmp_path / "start")))
    again = load_pretrained(str(save(loaded, tmp_path / "trained")))
    assert again[1].chat_template == loaded[1].chat_template
    assert Frame.of(again[1]) == Frame.of(loaded[1])
    assert again[0].config.decoder_start_token_id == tokenizer("rash").input_ids[-2]


def test_a_chat_template_that_is_no_frame_around_one_message_is_refused(tmp_path: Path) -> None:
    wrong = {
        "writes a user's message 2 times, not once": "{{ messages[0]['content'] * 2 }} rash",
        "writes nothing behind a message": "pt {{ messages[0]['content'] }}",
        r"writes no chat of one user's message \(system first\)": "{{ raise_exception('system first') }}",
    }
    for number, (message, template) in enumerate(wrong.items()):
        model, tokenizer = ARCHITECTURES["llama (chat, tied)"]()
        tokenizer.chat_template = template
        with pytest.raises(ModelError, match=message):
            load_pretrained(str(save((model, tokenizer), tmp_path / str(number))))


def test_training_goes_on_from_a_folder_that_an_earlier_run_left(
    stage1_work: StageWork[Stage1Config], labels: LabelsConfig, stage2_model: Path
) -> None:
    again = stage1_work.model.model_copy(update={"name": str(stage2_model)})
    model, tokenizer = start_model(again, NONE, labels, seed=1)
    trained, known = load_pretrained(str(stage2_model))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), trained.parameters(), strict=True))
    assert tokenizer.get_vocab() == known.get_vocab()
    result = train_stage1(replace(stage1_work, model=again))
    assert read_model_facts(result.model_folder).model.name == str(stage2_model)


def test_a_start_model_with_other_labels_is_refused_by_the_names_that_differ(
    model_config: ModelConfig, stage2_model: Path
) -> None:
    again = model_config.model_copy(update={"name": str(stage2_model)})
    with pytest.raises(ModelError) as caught:
        start_model(again, NONE, LabelsConfig(names=("self care", "see a doctor")), seed=1)
    message = str(caught.value)
    assert "only the model has ['emergency now'], only data.labels.names has ['see a doctor']" in message
    assert "self care" not in message
    start_model(again, NONE, LabelsConfig(names=("self care", "emergency now")), seed=1)


def test_a_registered_version_is_read_from_the_folder_that_it_was_fetched_to(
    model_config: ModelConfig, stage2_model: Path
) -> None:
    named = model_config.model_copy(update={"name": "models:/toy@champion", "revision": "m-1"})
    model, tokenizer = start_model(named, NONE, TOY_LABELS, seed=1, folder=stage2_model)
    assert start_tokenizer(named, NONE, TOY_LABELS, folder=stage2_model).get_vocab() == tokenizer.get_vocab()
    assert model.config.vocab_size == load_pretrained(str(stage2_model))[0].config.vocab_size
    with pytest.raises(ModelError, match="is a registered version; fetch it and give its folder"):
        start_model(named, NONE, TOY_LABELS, seed=1)


def test_a_model_from_scratch_looks_at_near_tokens_first_and_each_further_head_farther() -> None:
    model, _ = start_model(ModelConfig(name="scratch"), toy_examples(), TOY_LABELS, seed=1)
    distances = torch.tensor([0, 1, 2, 4, 8, 40])
    for part, directions in ((model.encoder, (-1, 1)), (model.decoder, (-1,))):
        (bias,) = part.block[0].layer[0].SelfAttention.compute_bias(101, 101)  # [heads, queries, keys]
        for direction in directions:  # an answer may stand behind its question
            seen_from_50 = bias[:, 50, 50 + direction * distances]
            assert torch.all(seen_from_50[0].diff() < 0)
            falls = seen_from_50[:, 0] - seen_from_50[:, -1]
            assert torch.all(falls > 1)
            assert torch.all(falls.diff() < 0)
