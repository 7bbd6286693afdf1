"""Against a real OpenAI-compatible server: `transformers serve` with a tiny random model, on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from r2d.config.rationales import EndpointSource
from r2d.errors import GenerationError
from tests.llm.toy_run import generate, lines_of, notes, write_current_answers

CHAT_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
PROMPT = Path(__file__).resolve().parents[2] / "configs" / "prompts" / "triage_rationale.yaml"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model of a few thousand parameters, with a tokenizer of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [PROMPT.read_text()],
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base_url(model_folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model_folder)]
    log = (model_folder / "server.log").open("w")
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, (model_folder / "server.log").read_text()
        assert time.monotonic() < deadline, "transformers serve did not start in two minutes"
        try:
            httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
            break
        except httpx2.HTTPError:
            time.sleep(0.3)
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait(20)


@pytest.mark.slow
def test_transformers_serve_answers_and_resumes(base_url: str, model_folder: Path, tmp_path: Path) -> None:
    source = EndpointSource(
        format="endpoint", base_url=base_url, model=str(model_folder), prompt=str(PROMPT), max_concurrency=2,
        max_output_tokens=8, few_shot=1, few_shot_source="nurse", max_requests=5,
    )  # fmt: skip
    answers = tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError, match="5 of 9 have an answer"):
        generate(notes(9), source, answers)
    summary = generate(notes(9), source.model_copy(update={"max_requests": None}), answers)
    assert (summary.num_answered, summary.num_requests_ever, summary.num_retries) == (9, 9, 0)
    assert write_current_answers(notes(9), source, answers, tmp_path / "clean.jsonl") == 9
    bodies = [line["response"]["body"] for line in lines_of(tmp_path / "clean.jsonl")]
    assert all(isinstance(body["choices"][0]["message"]["content"], str) for body in bodies)
    assert summary.output_tokens_ever == sum(body["usage"]["completion_tokens"] for body in bodies) <= 9 * 8
    assert json.loads((tmp_path / "answers.jsonl.ledger.json").read_text()) == {"requests": 9}
