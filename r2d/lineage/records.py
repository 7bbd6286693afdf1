"""The records of a lineage: what a registered version was made of, the pipeline run that made it, and rows that it saw.

They hold names, places, counts and hashes, and neither a note nor a rationale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from r2d.config.gate import GATE_METRICS
from r2d.config.training import MethodConfig
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator
from r2d.gate.rules import estimate_of
from r2d.rationales.provenance import RationaleUse

if TYPE_CHECKING:
    import pyarrow as pa

Config = Mapping[str, Any]
"""The sections of a run as JSON values, maybe of another version of this code."""
ROW_COLUMNS = ("id", "split", "row", "place", "rationale_source")
LINE_FORMATS = ("csv", "openai_batch", "vllm_batch", "synthetic_triage_batch", "endpoint")
"""Formats of rationale sources whose records are lines of a file; in others they may be items of a list."""


@dataclass(frozen=True)
class Origin:
    """What a registered model was made of; equal origins make equal models on the same machine.

    The fields from `files_sha256` on are None in versions that were registered before they were kept.
    """

    code_commit: str | None
    """None where the code lies in no repository and the environment names none."""
    code_dirty: bool | None
    """Whether files differ from that commit; None where no commit is known."""
    lock_sha256: str | None
    """Of `requirements.lock`; None where it does not lie beside the code."""
    data_sha256: str
    """Of the data (`r2d.data.fingerprint.data_fingerprint`)."""
    rationales_sha256: str
    """Of the provenance of every accepted rationale."""
    model_sha256: str
    """Of all files of the model folder."""
    seeds: dict[str, int]
    files_sha256: str | None = None
    """Of the auxiliary files: rationales, prompts, the reference of the data contract."""
    sources_sha256: str | None = None
    """Of the code that weights and metrics depend on."""
    num_rows: int | None = None
    """Valid rows of all splits."""
    files_read: Mapping[str, str] | None = None
    """Path -> SHA-256 of each file that the run read."""
    model_files: Mapping[str, str] | None = None
    """Name -> SHA-256 of each file of the model folder."""
    signed_by: str | None = None
    """Id of the key that signed the model folder; None where nobody did."""


@dataclass(frozen=True)
class ArtifactRecord:
    name: str
    version: str
    id: str
    hash: str | None
    uri: str
    """Of its folder in the artifact store."""


@dataclass(frozen=True)
class StepRecord:
    id: str
    status: str
    cached_from: str | None
    """The step run whose result was taken; None where the step ran itself."""
    pipeline_run: str
    """In which its result was computed."""
    logged: Mapping[str, Any]
    """The metadata of the step."""
    inputs: Sequence[ArtifactRecord]
    outputs: Sequence[ArtifactRecord]


@dataclass(frozen=True)
class PipelineRunRecord:
    id: str
    name: str
    pipeline: str
    at: str
    steps: Mapping[str, StepRecord]


@dataclass(frozen=True)
class ChampionComparison:
    """The champion, `name/version`, that a version was compared with when it was registered."""

    reference: str
    differences: Mapping[str, IntervalEstimate]
    """Name of a metric -> this model minus the champion on the same rows."""


class RationaleFile(TypedDict):
    source: str
    file: str | None
    """None where the rationales stand in the data itself."""
    num_rationales: int
    """Of all splits."""


class VersionRationales(TypedDict):
    trained_on: Sequence[RationaleUse]
    """Of the stages that the method has."""
    files: Sequence[RationaleFile]


@dataclass(frozen=True)
class VersionLineage:
    """Where a registered version comes from. What cannot be reached is None."""

    name: str
    version: str
    aliases: Sequence[str]
    registered_at: str
    files: Mapping[str, str]
    """Name -> SHA-256 of each file that is registered beside the model folder."""
    config: Config
    origin: Mapping[str, Any]
    """The content of `origin.json`: the fields of `Origin`, and others where another version of this code wrote it."""
    num_test_rows: int
    metrics: Mapping[str, IntervalEstimate]
    """Name (`GATE_METRICS`) -> each metric that was measured, but those of one label or slice."""
    compared: ChampionComparison | None
    """None at a cold start."""
    rationales: VersionRationales
    gate: Mapping[str, Any] | None
    """The content of `gate/decision.json`."""
    mlflow_runs: Mapping[str, Sequence[str]]
    """Step -> ids of its MLflow runs, the newest first."""
    pipeline_run: PipelineRunRecord | None
    data_result: Mapping[str, Any] | None
    """The artifact `r2d_data_result`."""
    not_reachable: Sequence[str]
    """What cannot be reached, and why."""

    @property
    def reference(self) -> str:
        return f"{self.name}/{self.version}"

    def step(self, name: str) -> StepRecord | None:
        return None if self.pipeline_run is None else self.pipeline_run.steps.get(name)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, the metrics under `figures`."""
        values = asdict(self)
        del values["metrics"]
        values["figures"] = {name: bounds_of(estimate) for name, estimate in self.metrics.items()}
        if self.compared is not None:
            differences = {name: bounds_of(estimate) for name, estimate in self.compared.differences.items()}
            values["compared"]["differences"] = differences
        return values


def bounds_of(estimate: IntervalEstimate | None) -> dict[str, float | None] | None:
    """value, low and high of an estimate as JSON values."""
    return None if estimate is None else {name: getattr(estimate, name) for name in ("value", "low", "high")}


def measured_metrics(metrics: Metrics) -> dict[str, IntervalEstimate]:
    """Name -> estimate of each metric in `GATE_METRICS` that was measured, but those of a part."""
    of_parts = ("class", "cut", "set", "worst", "stress")
    names = [name for name, metric in GATE_METRICS.items() if metric.section not in of_parts]
    estimates = {name: estimate_of(name, metrics) for name in names}
    return {name: found for name, found in estimates.items() if found is not None and found.value is not None}


def champion_comparison(metrics: Metrics) -> ChampionComparison | None:
    """The champion that a model was compared with; None at a cold start."""
    if metrics.champion is None:
        return None
    differences = metrics.differences.get(Comparator.CHAMPION)
    by_reader = metrics.champion.outside_reader_difference.get("consistency")
    estimates = {name: getattr(differences, name, None) for name in GATE_METRICS}
    estimates |= {**metrics.champion.claims_difference, "consistency_by_outside_reader": by_reader}
    measured = {name: estimate for name, estimate in estimates.items() if estimate is not None}
    return ChampionComparison(metrics.champion.reference, measured)


def method_of(config: Config) -> MethodConfig:
    """The method of a run, by its name alone."""
    return MethodConfig(name=(config.get("method") or {}).get("name", "r2d"))


def stages_with_rationales(config: Config) -> list[str]:
    """The stages that learn from rationales under the method of a run."""
    method = method_of(config)
    return [*(["stage1"] if method.has_stage1 else []), *(["stage2"] if method.explains else [])]


def rationale_files(provenance: pa.Table) -> list[RationaleFile]:
    """The files that rationales come from, every split together."""
    counts = Counter(zip(provenance["source"].to_pylist(), provenance["file"].to_pylist(), strict=True))
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [{"source": source, "file": file, "num_rationales": count} for (source, file), count in ordered]


@dataclass(frozen=True, kw_only=True)
class SeenRow:
    """A row as the examples and the provenance of a version have it."""

    split: str
    place: str | None
    row: int | None
    """Counted from 1; None, like `place`, where the examples cannot be reached."""
    data: Mapping[str, str | None]
    """`format` and `path`."""
    rationales: Sequence[Mapping[str, Any]]
    """The columns of the provenance of each; of its `stages` those that the method has; and `counted`: what its `row`
    counts from 1, `row` of the data, `line` or `record` of its file."""


@dataclass(frozen=True, kw_only=True)
class RowLineage(SeenRow):
    """A version that saw a row, and the row."""

    name: str
    version: str
    aliases: Sequence[str]
    data_sha256: str
    not_reachable: str | None
    """Why the examples of its pipeline run cannot be reached."""


def find_row(row_id: str, *, provenance: pa.Table, config: Config, examples: pa.Table | None) -> SeenRow | None:
    """The row that one version saw; None where it did not see it.

    Args:
        provenance: of the version, with the column `stages`.
        examples: of Stage 2; without them a row that has no rationale is not found, though its label may have been
            learnt.
    """
    import pyarrow.compute as pc

    rationales = provenance.filter(pc.equal(provenance["example_id"], row_id)).to_pylist()
    rows = []
    if examples is not None:
        without_text = examples.select([name for name in ROW_COLUMNS if name in examples.column_names])
        rows = without_text.filter(pc.equal(without_text["id"], row_id)).to_pylist()
    if not rationales and not rows:
        return None
    stages, sources = stages_with_rationales(config), (config.get("rationales") or {}).get("sources") or {}
    for rationale in rationales:
        source_format = sources.get(rationale["source"], {}).get("format", "column")
        unit = "line" if source_format in LINE_FORMATS else "record"
        rationale["counted"] = "row" if source_format == "column" else unit
        rationale["stages"] = [stage for stage in rationale["stages"] if stage in stages]
        rationale["record_id"] = rationale["record_id"] or None  # a rationale in the row itself has none
    data = config.get("data") or {}
    row = rows[0] if rows else {"split": rationales[0]["split"], "place": None, "row": None}
    return SeenRow(
        split=row["split"],
        place=row["place"],
        row=None if row["row"] is None or row["row"] < 0 else row["row"] + 1,
        data={"format": data.get("format"), "path": data.get("path")},
        rationales=rationales,
    )
