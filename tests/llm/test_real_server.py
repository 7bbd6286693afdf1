"""Against a real OpenAI-compatible server, `transformers serve` on the CPU: with a tiny random model, and with a
pretrained one where `make pretrained` has fetched it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

from r2d.config.evaluation import JudgeConfig
from r2d.config.rationales import EndpointSource
from r2d.data.examples import Example, to_table
from r2d.errors import GenerationError
from r2d.evaluation.judge.judge import judge_rationales
from r2d.evaluation.judge.questions import JudgedRow
from r2d.evaluation.judge.rubric import load_rubric
from r2d.llm.answers import write_current_answers
from r2d.llm.runner import run_requests
from r2d.rationales.generation import RationaleRequests
from tests.llm.toy_run import LABELS, ToyRun

CHAT_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
ROOT = Path(__file__).resolve().parents[2]
PROMPT, RUBRIC = ROOT / "configs" / "prompts" / "triage_rationale.yaml", ROOT / "configs" / "rubrics" / "rationale.yaml"
PRETRAINED = ROOT / "pretrained" / "SmolLM2-135M-Instruct"


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


@contextmanager
def served(model_folder: Path, log_file: Path) -> Iterator[str]:
    """The address where a model is asked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model_folder)]
    with log_file.open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while True:
            assert server.poll() is None, log_file.read_text()
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
def test_transformers_serve_answers_and_resumes(model_folder: Path, toy: ToyRun, tmp_path: Path) -> None:
    with served(model_folder, tmp_path / "server.log") as base_url:
        assert_answers_and_resumes(base_url, model_folder, toy)


def assert_answers_and_resumes(base_url: str, model_folder: Path, toy: ToyRun) -> None:
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


@pytest.mark.slow
@pytest.mark.skipif(not PRETRAINED.is_dir(), reason=f"{PRETRAINED.name} is not here: `make pretrained` fetches it")
def test_a_real_language_model_writes_about_the_note_and_is_asked_as_judge(tmp_path: Path) -> None:
    note = "62 yo man, tight chest for 1 hour, sweating."
    examples = to_table([Example(id="e1", text=note, label=LABELS[0], split="test")])
    rubric = yaml.safe_load(RUBRIC.read_text(encoding="utf-8"))
    (tmp_path / "rubric.yaml").write_text(yaml.safe_dump(rubric | {"criteria": rubric["criteria"][:1]}))
    with served(PRETRAINED, tmp_path / "server.log") as base_url:
        endpoint = {"base_url": base_url, "model": str(PRETRAINED), "timeout_seconds": 300}
        source = EndpointSource.model_validate(
            {"format": "endpoint", "prompt": str(PROMPT), "max_output_tokens": 40, **endpoint}
        )
        requests = RationaleRequests(examples, source, LABELS)
        assert run_requests(requests, tmp_path / "answers.jsonl").num_answered == 1
        write_current_answers(requests, tmp_path / "answers.jsonl", tmp_path / "batch.jsonl")
        body = json.loads((tmp_path / "batch.jsonl").read_text(encoding="utf-8"))["response"]["body"]
        rationale = body["choices"][0]["message"]["content"]
        assert {"chest", "tight", "sweating", "hour"} & set(re.findall(r"[a-z]+", rationale.lower()))

        rows = [JudgedRow("e1", note, LABELS[0], rationale)]
        judge = {"rubric": str(tmp_path / "rubric.yaml"), "votes": 1, "response_format": None, "max_output_tokens": 60}
        config = JudgeConfig.model_validate(judge | endpoint)
        judged = judge_rationales(rows, load_rubric(tmp_path / "rubric.yaml"), config, tmp_path)
    assert judged.metrics["status"] == "judged"
    assert judged.metrics["requests"]["num_answered"] == 1
    assert judged.metrics["requests"]["prompt_tokens"] > 200  # instructions, question, anchors, note and rationale
