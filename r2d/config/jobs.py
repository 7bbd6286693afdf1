"""Jobs beside a run: a batch inference (`configs/batch_inference.yaml`), a drift report (`configs/drift.yaml`), labels
that come later (`configs/monitor.yaml`), what is kept for how long (`configs/retention.yaml`), what `r2d watch` looks
at (`configs/watch.yaml`), and the section `retraining` of `r2d retrain`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from r2d.config.files import RowColumns, TextFileConfig, suffix_of
from r2d.config.section import Name, Section

CallsFormat = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, CallsFormat] = {
    ".csv": "csv", ".xlsx": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip

TABLE_ENDINGS = (".csv", ".xlsx")
"""Of outputs that people open."""


class CallsColumns(RowColumns):
    """Which column of the file holds what. A column that is not named here is not read."""

    attributes: dict[Name, Name] = {}
    """Attribute -> column; for a model whose thresholds are for the values of an attribute."""


class CallsConfig(TextFileConfig):
    """The calls to decide, and how their file is read; it is read as a stream."""

    path: Name
    """A file, or a folder of Parquet files. Shell placeholders for environment variables are filled in."""
    format: CallsFormat | None = None
    """By default that of the ending: .csv, .xlsx (read as a CSV), .jsonl, .ndjson, .parquet, .pq; of a folder it is
    parquet."""
    columns: CallsColumns = CallsColumns()

    @model_validator(mode="after")
    def _known_format(self) -> CallsConfig:
        suffix = suffix_of(Path(self.path))
        if self.format is None and suffix and suffix not in SUFFIXES:
            raise ValueError(
                f"path {Path(self.path).name!r} ends with none of {', '.join(SUFFIXES)}; set format to csv, jsonl or "
                "parquet"
            )
        if isinstance(self.columns.options, str) and self.resolved_format == "csv":
            raise ValueError("columns.options is a list, which format 'csv' cannot hold; use jsonl or parquet")
        return self

    @property
    def resolved_format(self) -> CallsFormat:
        """`format`, or that of the ending; what has no ending is a folder of Parquet files."""
        return self.format or SUFFIXES.get(suffix_of(Path(self.path)), "parquet")


class InferenceConfig(Section):
    """One batch of calls, decided and explained by one model."""

    data: CallsConfig
    output: Name
    """The file to write: Parquet, or a table for people (.csv, .xlsx), beside which the Parquet file lies. While that
    grows, finished parts lie in a folder beside it, `<Parquet file>.parts`."""
    with_text: bool = False
    """Whether the table repeats the text of each call."""
    model: Name = "reason2decide@champion"
    """A registered model, `name@alias` or `name/version`, or a model folder."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Calls decided at a time; more need more memory, and are quicker on a GPU."""
    rows_per_part: Annotated[int, Field(ge=1)] = 4096
    """Calls in a part, which is what memory holds and what a killed run loses at most; also the row groups of the
    output."""
    shares: Annotated[int, Field(ge=1)] = 8
    """Steps among which `pipelines.inference.mapped_batch_inference` divides the parts; on a cluster each is a pod of
    its own (`configs/cluster/batch_inference.yaml`). The output does not depend on it."""

    @model_validator(mode="after")
    def _known_ending(self) -> InferenceConfig:
        ending = Path(self.output).suffix.lower()
        if ending not in ("", ".parquet", ".pq", *TABLE_ENDINGS):
            raise ValueError(
                f"output ends with {ending}; give one that ends with .parquet, {' or '.join(TABLE_ENDINGS)}"
            )
        if self.with_text and self.table is None:
            raise ValueError(f"with_text is of a table; give an output that ends with {' or '.join(TABLE_ENDINGS)}")
        if Path(self.data.path).expanduser().absolute() in (self.predictions, self.table):
            raise ValueError("output would take the place of the calls (data.path); give another name")
        return self

    @property
    def predictions(self) -> Path:
        """The Parquet file."""
        path = Path(self.output).expanduser().absolute()
        return path if self.table is None else path.with_suffix(".parquet")

    @property
    def table(self) -> Path | None:
        """The table for people; None where only the Parquet file is asked for."""
        path = Path(self.output).expanduser().absolute()
        return path if path.suffix.lower() in TABLE_ENDINGS else None


class DriftLimits(Section):
    """From when on a change is called drift: it must be large, and must not be chance."""

    max_psi: Annotated[float, Field(gt=0.0)] = 0.2
    """Highest population stability index of lengths, unfamiliar words, predicted labels and confidence. By custom in
    credit scoring (Siddiqi 2006), 0.1 is worth a look and 0.25 a shift."""
    max_word_divergence: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Highest Jensen-Shannon divergence of the words, in bits, beyond that of two random halves of the calls."""
    significance: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.01
    """Highest probability of calling any chance drift, over all measures of a report together."""
    min_rows: Annotated[int, Field(ge=30)] = 200
    """With fewer calls, or fewer rows in the reference, nothing is concluded."""


class DriftConfig(Section):
    """One batch of decided calls, held against what the model was trained and evaluated on."""

    predictions: Name
    """The output of a batch inference."""
    calls: Name | None = None
    """The file that the batch inference read; how it is read stands in its output. Without it no words are compared:
    the output repeats no text."""
    model: Name = "reason2decide@champion"
    """The model that decided: a registered one or a model folder; its `drift_reference.json` is the reference."""
    reference: Name | None = None
    """Another file of that kind, for a model that keeps none."""
    output: Name = "drift"
    """Folder for `drift.json` and `drift.html`."""
    limits: DriftLimits = DriftLimits()
    max_texts: Annotated[int, Field(ge=1)] = 20_000
    """Texts whose words are counted, drawn by the hash of their row; of more calls, most are passed over."""


Rate = Annotated[float, Field(gt=0.0, lt=1.0)]
LEAST_ODDS_RATIO = 1.25
"""Of the unacceptable rate to the acceptable one: nobody tells rates apart that are closer, without years of calls."""


class Tolerance(Section):
    """Which share of the calls may turn out to be an error."""

    acceptable: Rate
    """Share at which all is well: an alarm at it is a false one."""
    unacceptable: Rate
    """Share that is to be found soon."""

    @model_validator(mode="after")
    def _apart(self) -> Tolerance:
        odds = [share / (1 - share) for share in (self.acceptable, self.unacceptable)]
        if odds[1] < LEAST_ODDS_RATIO * odds[0]:
            raise ValueError(
                f"unacceptable ({self.unacceptable:g}) is not far enough above acceptable ({self.acceptable:g}); its "
                f"odds must be at least {LEAST_ODDS_RATIO} times as high"
            )
        return self


class MonitorLimits(Section):
    """When `r2d monitor` alarms. Without any, those of the model: its `evaluation.selective.max_risk` is acceptable,
    twice its odds are not."""

    under_triage: Tolerance | None = None
    """Of calls that were shown a less urgent label than the later one; where labels are ordered."""
    error: Tolerance | None = None
    """Of calls that were shown another label than the later one."""
    calls_between_false_alarms: Annotated[int, Field(ge=100)] = 10_000
    """Labelled calls of a version between two false alarms of one chart, on average, at the acceptable share."""


class OutcomeColumns(Section):
    """Which column of a file of outcomes holds what."""

    id: Name | None = None
    """Id of the decided call; by default `id`, else `example_id`, as in a table of reviews."""
    label: Name = "label"
    """The label that it should have had. Rows without one are counted and passed over."""
    time: Name | None = None
    """When that was known, ISO 8601; by default `time`, where there is such a column."""
    author: Name | None = None
    """Who says so; by default `author`, where there is such a column. Of one author the last label by time counts."""


class OutcomesConfig(TextFileConfig):
    """Labels that came later: outcomes or reviews."""

    path: Name
    """A .csv, .xlsx, .jsonl or .parquet file."""
    format: CallsFormat | None = None
    """By default that of the ending."""
    columns: OutcomeColumns = OutcomeColumns()

    @model_validator(mode="after")
    def _known_format(self) -> OutcomesConfig:
        if self.format is None and suffix_of(Path(self.path)) not in SUFFIXES:
            raise ValueError(f"path {Path(self.path).name!r} ends with none of {', '.join(SUFFIXES)}; set format")
        return self

    @property
    def resolved_format(self) -> CallsFormat:
        """`format`, or that of the ending."""
        return self.format or SUFFIXES[suffix_of(Path(self.path))]


class MonitorConfig(Section):
    """Decisions held against the labels that came later, by version of the model."""

    decided: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Outputs of a batch inference (.parquet), audit logs of the service (.jsonl), or folders of these. Without times,
    calls count as decided in the order of files and rows."""
    outcomes: OutcomesConfig
    """The labels."""
    model: Name = "reason2decide@champion"
    """A registered model or a model folder: whose labels count, and whose limits where none are declared."""
    output: Name = "monitored"
    """Folder for `monitor.json` and `monitor.html`."""
    window: Annotated[int, Field(ge=20)] = 200
    """Labelled calls behind each point of a rolling share."""
    since: datetime | None = None
    """Decisions before this time are left out, for a fresh start once an alarm was looked into; decisions without a
    time stay."""
    limits: MonitorLimits = MonitorLimits()


class RetrainingConfig(Section):
    """When a champion is replaced; without a champion, the first call trains."""

    min_new_rows: Annotated[int, Field(ge=0)] | None = 0
    """Valid rows more than the champion knew. 0: any change of the data, or of the files with rationales, is enough,
    corrected labels too; null: the data start nothing."""
    on_config_change: bool = True
    """A key of the configuration differs from the champion's; `registration`, `comparison` and this section aside."""
    on_code_change: bool = True
    """The code that weights and figures depend on, or a locked version of a library, differs from the champion's."""
    max_age_days: Annotated[float, Field(gt=0.0)] | None = None
    """Age from which on the champion is trained anew; null: it may become as old as it will."""
    drift: Name | None = None
    """A `drift.json` of `r2d drift`; its own limits say what drift is. Null: drift starts nothing."""
    monitor: Name | None = None
    """A `monitor.json` of `r2d monitor`: an alarm about the champion starts a run. Null: alarms start nothing."""
    warm_start: bool = False
    """Start from the champion in place of `model.name`, which then is where the first model starts."""


Days = Annotated[float, Field(ge=0.0)] | None


class RetentionConfig(Section):
    """Days after which `r2d retention` removes what is kept of notes, each kind for itself; null keeps it. What is in
    use stays, however old: champion and challenger with their weights, and a folder in which a run may be working."""

    examples: Days = None
    """Tables of the notes that runs loaded, validated and trained on."""
    quarantine: Days = None
    """Rows that the validation set aside and records that became no rationale: nobody trains on them."""
    provenance: Days = None
    """Where rationales come from and what was found in notes: ids of rows, without text."""
    predictions: Days = None
    """Predicted labels and rationales of test rows, and the scores of a judge."""
    reports: Days = None
    """Pages that quote notes: of the data, the rationales and the evaluation."""
    weights: Days = None
    """Weights of the stages of a run; what is registered is a copy of its own."""
    answers: Days = None
    """Answers of endpoints and judges, from the day of the last one in a file; they are then asked for anew."""
    reviews: Days = None
    """Notes in the review queues of MLflow, with what reviewers said there; `r2d review pull` has it already."""
    unfinished: Days = None
    """Folders of stages with their checkpoints and of killed registrations, from the day of the last change."""
    versions: Days = None
    """Registered versions that are neither champion nor challenger; nobody can roll back to one that is removed."""


class WatchConfig(Section):
    """What `r2d watch` looks at."""

    models: tuple[Name, ...] = ("reason2decide",)
    """Registered models whose aliases and metrics are watched."""
    jobs: dict[Name, Annotated[float, Field(gt=0.0)]] = {}
    """Job -> hours since its last success from which on it is overdue. `retrain`, `drift`, `monitor`, `retention` and
    `watch` are written down by themselves; any other job says `r2d beat NAME` when it is done."""
