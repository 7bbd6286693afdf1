"""A model exported for CTranslate2, which decides on CPUs in less time and memory; it cannot be trained.

An exported model folder is a model folder with two things in place of `model.safetensors`:

| file | what |
|---|---|
| `ctranslate2/` | the weights and the vocabulary, as CTranslate2 reads them |
| `engine.json` | from which model they were made, and how |

`r2d export` adds `cost.json`, what the export costs by measurement, and `README.md`, its card.

Source: https://github.com/OpenNMT/CTranslate2.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from r2d.config.serving import Quantization
from r2d.errors import ModelError
from r2d.files import write_json
from r2d.modeling.backends.backend import Encoded, Indices, Losses, OnToken, Seq2SeqBackend, Task, TokenIds
from r2d.modeling.manifest import model_hash, verify_model, write_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENGINE_FILE, ENGINE_FOLDER = "engine.json", "ctranslate2"
FORMAT_VERSION = 1
EXPORTED_TYPES = ("t5",)
"""Model types whose export a test has held against torch."""
SPARE_BEAMS, MOST_BEAMS = 1, 16
"""In the search that scores labels, beyond a beam for each label: more find few labels that these do not."""
ROWS_SCORED_AT_A_TIME = 16
"""Each with its beams: more of them at a time take longer for each, as the logits outgrow the processor's cache."""


@dataclass(frozen=True)
class EngineFacts:
    """The content of `engine.json`."""

    source_sha256: str
    """`model_hash` of the folder that was exported."""
    quantization: Quantization
    ctranslate2: str
    """Version of the package that wrote it."""
    num_parameters: int
    num_bytes: int
    """Of the weights."""
    source_num_bytes: int
    format_version: int = FORMAT_VERSION


def export_model(
    folder: Path,
    out: Path,
    *,
    quantization: Quantization = "none",
    describe: Callable[[Path, EngineFacts], object] = lambda folder, facts: None,
) -> EngineFacts:
    """Write a model folder for CTranslate2 beside an existing one, whole or not at all.

    Args:
        describe: is given the exported model before it gets its name, to measure it and to add files.

    Raises:
        ModelError: `out` exists, the package is not installed, or the model is of a type that is not exported.
    """
    from transformers import AutoConfig

    if out.exists():
        raise ModelError(f"{out}: is there already; name another folder, or move it away")
    if is_exported(folder):
        raise ModelError(f"{folder}: is an exported model; export the one that it was made from")
    package = _package()
    verify_model(folder)
    kind = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type  # nosec B615 # a folder
    if kind not in EXPORTED_TYPES:
        raise ModelError(f"{folder}: a model of type {kind} is not exported; allowed: {', '.join(EXPORTED_TYPES)}")
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(folder, aside, ignore=shutil.ignore_patterns("*.safetensors.index.json", "model*.safetensors"))
    converter = package.converters.TransformersConverter(str(folder))
    converter.convert(str(aside / ENGINE_FOLDER), quantization=None if quantization == "none" else quantization)
    facts = EngineFacts(
        source_sha256=model_hash(folder),
        quantization=quantization,
        ctranslate2=package.__version__,
        num_parameters=_num_parameters(folder),
        num_bytes=(aside / ENGINE_FOLDER / "model.bin").stat().st_size,
        source_num_bytes=sum(path.stat().st_size for path in folder.glob("model*.safetensors")),
    )
    write_json(aside / ENGINE_FILE, asdict(facts))
    write_manifest(aside)
    try:
        describe(aside, facts)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    write_manifest(aside)
    aside.rename(out)
    return facts


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / ENGINE_FILE).exists()


def read_engine_facts(folder: Path) -> EngineFacts:
    """The facts of an exported model folder; raises a ModelError where they cannot be read."""
    try:
        facts = EngineFacts(**json.loads((folder / ENGINE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder}: {ENGINE_FILE} cannot be read ({type(error).__name__}); export again") from None
    if facts.format_version != FORMAT_VERSION:
        raise ModelError(
            f"{folder}: {ENGINE_FILE} is of format {facts.format_version}, this version reads {FORMAT_VERSION}; export "
            "again"
        )
    return facts


@dataclass(frozen=True)
class Prompts(Encoded):
    """Prompts as tokens: CTranslate2 runs the encoder with each use."""

    tokens: list[list[str]]

    def take(self, rows: Sequence[int]) -> Prompts:
        return Prompts([self.tokens[row] for row in rows])


class ExportedBackend(Seq2SeqBackend[Prompts]):
    """Label scores and greedy decoding by CTranslate2, with as many threads as torch has."""

    gives_logits = False

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        package = _package()
        read_engine_facts(folder)
        self.tokenizer = tokenizer
        self._vocabulary: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.translator = package.Translator(
            str(folder / ENGINE_FOLDER), device="cpu", intra_threads=torch.get_num_threads()
        )

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        yield

    def encode(self, prompts: Sequence[TokenIds]) -> Prompts:
        return Prompts([self._tokens(prompt) for prompt in prompts])

    def token_losses(self, encoded: Prompts, targets: Sequence[TokenIds], rows: Indices = None) -> Tensor:
        sources = [encoded.tokens[row] for row in (range(len(targets)) if rows is None else rows)]
        end_id, losses = self.tokenizer.eos_token_id, list[float]()
        ended = [target[-1] == end_id for target in targets]
        texts = [
            self._tokens(target[:-1] if has_end else target) for target, has_end in zip(targets, ended, strict=True)
        ]
        for scored, has_end in zip(
            self.translator.score_batch(sources, texts, max_batch_size=ROWS_SCORED_AT_A_TIME), ended, strict=True
        ):
            log_probabilities = scored.log_probs  # with that of the end
            losses += [-value for value in (log_probabilities if has_end else log_probabilities[:-1])]
        return torch.tensor(losses)

    def log_probabilities(self, encoded: Prompts, targets: Sequence[TokenIds], rows: Sequence[int]) -> Tensor:
        """As for every backend. Scoring runs the encoder once a target, a beam search once a row: what the beams find
        is scored on the way, and only targets that they do not find are scored by themselves."""
        asked = sorted(set(rows))
        beams = min(MOST_BEAMS, SPARE_BEAMS + -(-len(targets) // len(asked)))
        results = self.translator.translate_batch(
            [encoded.tokens[row] for row in asked],
            max_batch_size=ROWS_SCORED_AT_A_TIME,
            beam_size=beams,
            num_hypotheses=beams,
            length_penalty=0,  # the score is then the log-probability
            min_decoding_length=0,  # else the end is left out of the first probabilities
            max_decoding_length=max(map(len, targets)),
            return_scores=True,
            return_end_token=True,
        )
        found = {
            (row, tuple(tokens)): score
            for row, result in zip(asked, results, strict=True)
            for tokens, score in zip(result.hypotheses, result.scores, strict=True)
        }
        end_id = self.tokenizer.eos_token_id
        scores = [
            found.get((row, tuple(self._tokens(target)))) if target[-1] == end_id else None
            for row, target in zip(rows, targets, strict=True)
        ]
        missing = [number for number, score in enumerate(scores) if score is None]
        if missing:
            rest = super().log_probabilities(encoded, [targets[n] for n in missing], [rows[n] for n in missing])
            for number, score in zip(missing, rest.tolist(), strict=True):
                scores[number] = score
        return torch.tensor(scores)

    def generate(self, encoded: Prompts, max_new_tokens: int, on_token: OnToken | None = None) -> list[list[int]]:
        end_id, num_tokens = self.tokenizer.eos_token_id, 0
        listeners = [] if on_token is None else [on_token]

        def on_step(step: Any) -> bool:
            nonlocal num_tokens
            num_tokens += 1
            if step.token_id != end_id and num_tokens <= max_new_tokens:
                for listener in listeners:
                    listener(step.token_id)
            return False

        try:
            results = self.translator.translate_batch(
                encoded.tokens, beam_size=1, max_decoding_length=max_new_tokens, callback=on_step if listeners else None
            )
        finally:
            # A thread of the engine lets go of `on_step` later. Where that held the last way to the engine, the thread
            # would end the engine, wait for itself, and abort the process.
            listeners.clear()
        return [self.tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]

    def encode_embeddings(self, rows: Sequence[Tensor]) -> NoReturn:
        self._refuse()

    def logits(
        self, encoded: Prompts, inputs: Sequence[TokenIds], rows: Indices = None, positions: Indices = None
    ) -> NoReturn:
        self._refuse()

    def losses(self, tasks: Sequence[Task[Prompts]]) -> Losses:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ModelError(
            "an exported model decides and explains, and cannot be trained; give the one that it is made of"
        )

    def _tokens(self, ids: TokenIds) -> list[str]:
        return [self._vocabulary[token] for token in ids]


def _package() -> Any:
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")  # by itself it takes AVX2 beside its matrix products
    try:
        import ctranslate2
    except ImportError:
        raise ModelError(
            "ctranslate2 is not installed: `pip install 'reason2decide[serving]'`, or give a model that is not exported"
        ) from None
    return ctranslate2


def _num_parameters(folder: Path) -> int:
    """Of a model folder, from the headers of its weights."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                total += torch.Size(weights.get_slice(name).get_shape()).numel()
    return total
