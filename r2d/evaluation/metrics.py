"""The metrics of an evaluation as a tree of frozen dataclasses; `metrics.json` (`metrics.schema.json`) is their JSON.

Its sections are in `r2d.evaluation.sections`. A section that was not measured is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import TypeAdapter, ValidationError

from r2d.errors import DataError
from r2d.evaluation.sections.calibration import CalibrationResult
from r2d.evaluation.sections.estimates import IF_PRESENT, IntervalEstimate, Intervals
from r2d.evaluation.sections.labels import (
    Comparator,
    Decoding,
    EncoderBaseline,
    LabelIntervals,
    LabelMetrics,
    OtherDecoding,
    RankingMetrics,
    SafetyMetrics,
)
from r2d.evaluation.sections.operating_points import LabelSetsResult, OperatingPoints
from r2d.evaluation.sections.raters import RatersResult
from r2d.evaluation.sections.rationales import (
    AlignmentMetrics,
    ClaimMetrics,
    FlipTest,
    MaskedAlignment,
    OutsideReaderMetrics,
    OverlapMetrics,
    RationaleMetrics,
    RationaleQuality,
)
from r2d.evaluation.sections.rows import Cohort, SeenRows
from r2d.evaluation.sections.selective import SelectiveMetrics
from r2d.evaluation.sections.slices import SliceDifference, SlicesResult
from r2d.evaluation.sections.stress import StressResult
from r2d.text import flatten, plural


@dataclass(frozen=True, kw_only=True)
class ChampionMetrics:
    """The champion, `name/version`, on the same test rows; all None where it was not compared."""

    reference: str
    not_compared: str | None = None
    """Why not."""
    label: LabelMetrics | None = None
    under_triage_rate: float | None = None
    over_triage_rate: float | None = None
    rationale: OverlapMetrics | None = None
    """Over all rows."""
    alignment: AlignmentMetrics | None = None
    claims: ClaimMetrics | None = None
    claims_difference: Intervals = field(default_factory=dict)
    """This model minus the champion, paired: contradicted_rationale_rate and other_label_rate."""
    outside_reader: OutsideReaderMetrics | None = None
    """None where the model or the champion writes no rationales, and in the metrics of earlier versions."""
    outside_reader_difference: Intervals = field(default_factory=dict)
    """This model minus the champion, paired; all but the ceilings, which are the same."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Everything that an evaluation measures on the test rows. A section that was not measured is None or empty."""

    num_rows: int
    decoding: Decoding
    method: str
    num_parameters: int = 0
    engine: Annotated[str | None, IF_PRESENT] = None
    """`evaluation.engine`, where an export was measured in place of the model as it was trained."""
    seen_rows: SeenRows | None = None
    """None where nothing was trained, and in the metrics of earlier versions."""
    label: LabelMetrics
    other_decoding: OtherDecoding | None = None
    baselines: Mapping[Comparator, LabelMetrics] = field(default_factory=dict)
    """Empty without training rows to learn from."""
    encoder_baseline: Annotated[EncoderBaseline | None, IF_PRESENT] = None
    champion: ChampionMetrics | None = None
    """None where there is none."""
    intervals: LabelIntervals | None = None
    differences: Mapping[Comparator, LabelIntervals] = field(default_factory=dict)
    """This model minus each baseline and the champion, paired."""
    ranking: RankingMetrics | None = None
    safety: SafetyMetrics | None = None
    calibration: CalibrationResult | None = None
    selective: SelectiveMetrics | None = None
    operating_points: Annotated[OperatingPoints | None, IF_PRESENT] = None
    """Of ordered labels."""
    label_sets: Annotated[LabelSetsResult | None, IF_PRESENT] = None
    """None where no rows could choose the thresholds."""
    external: Annotated[str | None, IF_PRESENT] = None
    """Where the data come from, of an external validation (`r2d evaluate --external`)."""
    cohort: Annotated[Cohort | None, IF_PRESENT] = None
    """None in the metrics of earlier versions."""
    slices: SlicesResult | None = None
    champion_slices: tuple[SliceDifference, ...] | None = None
    rationale: RationaleMetrics | None = None
    written_quality: Mapping[Literal["model", "reference"], RationaleQuality] | None = None
    claims: Mapping[Literal["model", "reference"], ClaimMetrics] | None = None
    outside_reader: OutsideReaderMetrics | None = None
    """None without training rationales to learn from, and where rows have options of their own."""
    alignment: AlignmentMetrics = field(default_factory=AlignmentMetrics)
    masked_alignment: MaskedAlignment = field(default_factory=MaskedAlignment)
    flip_test: FlipTest = field(default_factory=FlipTest)
    stress: Annotated[StressResult | None, IF_PRESENT] = None
    """None without `evaluation.stress`."""
    raters: Annotated[RatersResult | None, IF_PRESENT] = None
    """None without `evaluation.raters`."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    """`r2d.evaluation.judge`: status and reason, and the scores where rationales were judged."""

    def seen_sentences(self) -> list[str]:
        """Whether the test rows had been seen in training, as sentences without full stops."""
        if self.seen_rows is None:
            return ["whether the model had seen test rows in training is unknown: it was not looked up"]
        return self.seen_rows.sentences()

    def rare_label_sentences(self) -> list[str]:
        """The labels that make macro-F1 hang on few rows, as sentences without full stops."""
        return [
            f"{name} has {plural(rows, 'test row')} only, and an F1 of "
            f"{IntervalEstimate(self.label.per_class[name].f1).text() if estimate is None else estimate.text()}, so "
            "that macro-F1 hangs on few rows"
            for name, rows in self.label.rare_labels.items()
            for estimate in [None if self.intervals is None else self.intervals.per_class[name].get("f1")]
        ]

    def to_json(self) -> dict[str, Any]:
        """The content of `metrics.json`: JSON values, keys as in `metrics.schema.json`."""
        return _adapter().dump_python(self, mode="json", by_alias=True, warnings="error")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Metrics:
        """Read the content of a `metrics.json`. A section that an older version did not measure is empty; keys that
        this version does not know are left out.

        Raises:
            DataError: the values are not those of a `metrics.json`.
        """
        try:
            return _adapter().validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"metrics.json cannot be read: {place}: {first['msg']}") from None

    def numbers(self) -> dict[str, float]:
        """Every number by its path, such as `label/per_class/self care/recall`; those in lists are left out."""
        values = flatten(self.to_json(), "/").items()
        return {
            path: float(value)
            for path, value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        }


@cache
def _adapter() -> TypeAdapter[Metrics]:
    return TypeAdapter(Metrics)
