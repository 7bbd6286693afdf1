"""Against a real OpenAI-compatible server: `transformers serve` with a tiny random model, on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from r2d.errors import GenerationError
from tests.llm.toy_run import ToyRun

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
    try:
        deadline = time.monotonic() + 600
        while True:
            assert server.poll() is None, (model_folder / "server.log").read_text()
            assert time.monotonic() < deadline, "transformers serve did not start in ten minutes"
            try:
                httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
                break
            except httpx2.HTTPError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.slow
def test_transformers_serve_answers_and_resumes(base_url: str, model_folder: Path, toy: ToyRun) -> None:
    changes = {
        "base_url": base_url, "model": str(model_folder), "prompt": str(PROMPT), "max_concurrency": 2,
        "max_output_tokens": 8, "few_shot": 1, "few_shot_source": "nurse",
    }  # fmt: skip
    with pytest.raises(GenerationError, match="5 of 9 have an answer"):
        toy.run(9, **changes, max_requests=5)
    counts = toy.run(9, **changes)
    assert (counts.num_answered, counts.num_retries, toy.num_counted()) == (9, 0, 9)
    lines = toy.current(9, **changes)
    assert len(lines) == 9
    for line in lines:
        body = line["response"]["body"]
        assert isinstance(body["choices"][0]["message"]["content"], str)
        assert line["tokens"]["output"] == body["usage"]["completion_tokens"] <= 8
