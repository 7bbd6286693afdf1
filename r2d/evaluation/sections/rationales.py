"""The sections about rationales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from r2d.evaluation.sections.estimates import NOT_IN_JSON, Intervals


@dataclass(frozen=True, kw_only=True)
class OverlapMetrics:
    """Rationales against the reference ones, over the rows of a population; None without rows."""

    num_rows: int
    bleu: float | None = None
    """sacreBLEU's corpus BLEU and chrF2 (`chrf`), 0 to 100; the rest are means over rows."""
    chrf: float | None = None
    paper_bleu: float | None = None
    rouge_l: float | None = None
    sentence_chrf: float | None = None
    bertscore_precision: float | None = None
    bertscore_recall: float | None = None
    bertscore_f1: float | None = None


@dataclass(frozen=True, kw_only=True)
class Populations:
    """`all` rows; those with a correct label; all rows, where a rationale for a wrong label counts 0."""

    all: OverlapMetrics
    correct_only: OverlapMetrics
    zero_if_wrong: OverlapMetrics


@dataclass(frozen=True, kw_only=True)
class BertScoreModel:
    """How BERTScore was computed."""

    model: str
    num_layers: int
    max_tokens: int
    """What the model reads of a text; `truncated_share` of the texts were longer."""
    truncated_share: float


@dataclass(frozen=True, kw_only=True)
class RationaleMetrics:
    """Rationales against the reference ones. Rows without reference are left out, empty rationales score 0."""

    num_rows: int
    num_without_reference: int
    num_empty_candidates: int
    sacrebleu_signature: str | None
    chrf_signature: str | None
    bertscore: BertScoreModel | None
    """None where there was nothing to score."""
    populations: Populations
    intervals: Annotated[Mapping[str, Intervals], Field(exclude_if=lambda value: not value)] = field(
        default_factory=dict
    )
    """Population -> the metrics that are means over rows, with intervals."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of the number of words or tokens."""

    mean: float
    median: float
    min: int
    max: int


@dataclass(frozen=True, kw_only=True)
class CopiedWords:
    """How much of a rationale stands in its note: share of its word triples, longest run of words."""

    mean_share: float | None
    mean_longest_run: float | None
    longest_run: int | None


@dataclass(frozen=True, kw_only=True)
class FaultCount:
    """Rationales with one fault, and the ids of the first few."""

    rows: int
    of: int
    share: float | None
    ids: Annotated[tuple[str, ...], NOT_IN_JSON] = ()


@dataclass(frozen=True, kw_only=True)
class RationaleQuality:
    """Rationales by themselves and beside their notes, without a reference."""

    num_rows: int
    num_written: int
    """Not empty; all but the fault `empty` is of these."""
    lengths: Mapping[Literal["words", "tokens"], Spread | None]
    distinct_1: float | None
    """Distinct words, and word pairs (`distinct_2`), per one written (Li et al. 2016); fall with the number of rows."""
    distinct_2: float | None
    copied: CopiedWords
    faults: Mapping[str, FaultCount]


@dataclass(frozen=True, kw_only=True)
class ClaimCounts:
    """Claims about findings by what the note says of them."""

    supported: int
    contradicted: int
    unclear: int
    absent: int


@dataclass(frozen=True, kw_only=True)
class ClaimMetrics:
    """What rationales claim about findings, held against their notes (`r2d.rationales.claims`)."""

    num_rationales: int
    """Not empty; `num_with_claims` of them assert or deny a finding."""
    num_with_claims: int
    num_contradicted: int
    """Rationales with a claim that the note contradicts."""
    num_stating_other_label: int
    """Rationales that state a label of the set other than the one shown."""
    asserted: ClaimCounts
    """Claims that a finding is there, and (`denied`) that it is not."""
    denied: ClaimCounts
    contradicted_findings: Mapping[str, int]
    """The findings most often contradicted -> claims; those of no lexicon as one."""
    findings_read: Mapping[str, int] = field(default_factory=dict)
    """Every finding of the lexicon that was claimed -> claims, the most frequent first; of the others only
    contradictions are read."""
    intervals: Intervals
    """contradicted_rationale_rate and other_label_rate, of rationales; supported_share, contradicted_share,
    unclear_share and absent_share, of claims."""


@dataclass(frozen=True, kw_only=True)
class OutsideReaderMetrics:
    """What a linear reader of the training rationales makes of the model's; `r2d.evaluation.outside_reader`."""

    num_training_rationales: int
    num_rows: int
    num_with_gold_rationale: int
    num_leaking: int
    """Rows whose masked rationale alone gives the model's label away to the reader."""
    intervals: Intervals
    """consistency (reads the model's label), sufficiency (reads the gold label) and ceiling (reads the gold label in
    the reference rationales), each also with labels masked (`_masked`); note_alone, note_and_rationale (foresees the
    model's label) and their difference, simulatability, also adjusted for leakage."""


@dataclass(frozen=True, kw_only=True)
class AlignmentMetrics:
    """Whether the model itself comes from a rationale alone to the label; `r2d.evaluation.alignment` defines the three
    shares."""

    num_rows: int = 0
    num_empty_rationales: int = 0
    num_with_gold_rationale: int = 0
    consistency: float | None = None
    sufficiency: float | None = None
    gold_robustness: float | None = None


@dataclass(frozen=True, kw_only=True)
class MaskedAlignment(AlignmentMetrics):
    """The same with every label masked in the rationales."""

    num_masked: int = 0
    """Rows whose rationale names a label, and (`num_nothing_left`) consists of nothing else."""
    num_nothing_left: int = 0


@dataclass(frozen=True, kw_only=True)
class FlipTest:
    """Rationales for another label than the predicted one; `r2d.evaluation.alignment` defines the shares."""

    num_rows: int = 0
    num_without_other_label: int = 0
    identical: float | None = None
    identical_ids: Annotated[tuple[str, ...], NOT_IN_JSON] = ()
    """The first few."""
    mean_chrf: float | None = None
    """Likeness of the two rationales, 0 to 100."""
    argues_for_own: float | None = None
    argues_for_other: float | None = None
    stays_with_own: float | None = None
