"""Section `data`: the labels, where the examples come from, how they are read and divided."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from r2d.config.files import RowColumns, TextFileConfig
from r2d.config.section import Name, Section
from r2d.text import match_label, normalise_label

NO_ORDER = "the labels have no order (data.labels.ordered: false), hence no answer is too low or too high"
"""Where a run says so on purpose."""
Period = Literal["year", "quarter", "month"]
YAML_BOOLEANS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""What YAML reads as a boolean where it stands without quotes."""


class LabelsConfig(Section):
    """The closed set of labels. A label that is not in it counts as wrong and is reported."""

    names: tuple[Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\n\r]*$")], ...] = ()
    """Every label, as written in the data: one line of at most 80 characters, for labels stand in messages and tables.
    In order of acuity, most urgent first, when `ordered`."""
    per_row: bool = False
    """Whether each row brings its own options, in `data.columns.options`, as questions with five choices do; `names`
    is then left out. There are no classes then: models are selected and judged by accuracy."""
    row_label: Literal["name", "letter", "from_0", "from_1"] = "name"
    """How the label column names one of the row's options, where `per_row`: as it is written, by its letter (`B` is the
    second), or by its number, counted from 0 or from 1."""
    ordered: bool | None = None
    """Whether the order of `names` means something (acuity). `false` says that there is none on purpose; without the
    key there is none either, and `r2d check` and the gate advise to give one."""
    codes: dict[Name, Name] = {}
    """Code or synonym -> the name that it stands for, e.g. `{1: resuscitation, "ESI 2": emergent}`: in the label
    column, and in what LLMs and annotators answer. A number is never taken for a position: without this, it is refused.
    """

    @field_validator("codes", mode="before")
    @classmethod
    def _codes_as_texts(cls, codes: Any) -> Any:
        """Numbers and booleans, as YAML reads codes without quotes, as the texts that stand in a file."""
        if not isinstance(codes, dict):
            return codes
        texts: dict[Any, Any] = {}
        for code, label in codes.items():
            forms = YAML_BOOLEANS[code] if isinstance(code, bool) else (normalise_label(str(code)),)
            if not isinstance(code, bool | int | float):
                forms = (code,)
            for form in forms:
                texts[form] = label
        return texts | {form: label for form, label in codes.items() if isinstance(form, str)}

    @model_validator(mode="before")
    @classmethod
    def _codes_stand_for_names_as_declared(cls, values: Any) -> Any:
        """The declared spelling of each name; of `Y: yes`, read as true by YAML, the one name that YAML reads so."""
        if not isinstance(values, dict) or not isinstance(values.get("codes"), dict):
            return values
        names = [name for name in values.get("names") or () if isinstance(name, str)]
        codes = dict(values["codes"])
        for code, label in codes.items():
            if isinstance(label, bool):
                meant = [name for name in names if normalise_label(name) in YAML_BOOLEANS[label]]
                codes[code] = meant[0] if len(meant) == 1 else label
            elif isinstance(label, str | int | float):
                codes[code] = match_label(str(label), names) or label
        return values | {"codes": codes}

    @model_validator(mode="after")
    def _codes_are_clear(self) -> LabelsConfig:
        seen = {normalise_label(name): name for name in self.names}
        faults = []
        for code, label in self.codes.items():
            form, declared = normalise_label(code), match_label(label, self.names)
            if declared is None:
                faults.append(f"codes: {code!r} stands for {label!r}, which is not among names {list(self.names)}")
            elif seen.setdefault(form, declared) != declared:
                faults.append(f"codes: {code!r} stands for {label!r} and for {seen[form]!r}; keep one")
        if self.codes and self.per_row:
            faults = ["codes stand for names, which per_row labels do not have; remove codes"]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_ordered(self) -> bool:
        """Whether the order of `names` means something; where that is not said, it does not."""
        return self.ordered is True

    def decide_alike(self, other: LabelsConfig) -> bool:
        """Whether the other section decides between the same labels, however files write them."""
        ours, theirs = ((each.names, each.per_row, each.is_ordered) for each in (self, other))
        return ours == theirs

    @model_validator(mode="after")
    def _one_kind_and_distinct(self) -> LabelsConfig:
        if self.per_row and (self.names or self.ordered):
            raise ValueError("per_row labels stand in the rows; remove names and ordered, or per_row")
        if self.row_label != "name" and not self.per_row:
            raise ValueError("row_label is of options in the rows; set per_row, or declare codes of names")
        if not self.per_row and len(self.names) < 2:
            raise ValueError(f"names needs at least two labels; found {len(self.names)}")
        seen: dict[str, str] = {}
        for name in self.names:
            key = normalise_label(name)
            if key in seen:
                raise ValueError(
                    f"labels {seen[key]!r} and {name!r} are the same but for case, spaces or marks; keep one"
                )
            seen[key] = name
        return self


class ColumnsConfig(RowColumns):
    """Which column of the file holds what. A column that is not named here is not read."""

    label: Name = "label"
    """Column with the gold label, or with a code of `data.labels.codes`."""
    group: Name | None = None
    """Patient or caller: rows of one group never stand in different splits."""
    split: Name | None = None
    """Column with `train`, `validation`, `calibration` or `test`; without it the split is made by `data.split`."""
    time: Name | None = None
    """When the note was written: figures are given by `data.period`, and `data.split.test_from` divides by it."""
    rationales: dict[Name, Name] = {}
    """Rationale source -> column, e.g. `{llm: rationale_llm, nurse: rationale_nurse}`."""
    attributes: dict[Name, Name] = {}
    """Attribute for slices -> column, e.g. `{age_band: age_band, site: hospital}`."""

    @model_validator(mode="after")
    def _period_is_free(self) -> ColumnsConfig:
        if self.time is not None and "period" in self.attributes:
            raise ValueError("attributes.period and time: the period is made of the time; remove one of them")
        return self


class RepeatsConfig(Section):
    """Which of several rows with one id counts, as REDCap exports the instances of a repeating form."""

    instance: Name = "redcap_repeat_instance"
    """Column with the number of the instance; rows without one fill the empty cells of those with the same id."""
    rows: dict[Name, Name] = {}
    """Column -> the value that a row must have to count, e.g. `{redcap_repeat_instrument: triage}`."""
    keep: Literal["first", "last", "all"] | Annotated[int, Field(ge=1)] = "last"
    """The instance of each id that counts, by its number. `all`: each is a row with `id-number` as its id, and the
    rows of one id are a group, unless `columns.group` is declared."""


class SplitConfig(Section):
    """How rows without a given split are divided: by hash of the group id (else the id), stratified by
    label where labels are declared."""

    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of the groups whose rows choose the weights."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Ignored when `test_ids` or `data.test` names the test rows."""
    calibration_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Rows that choose temperature and threshold and nothing else. 0: the validation rows choose them, which have
    chosen the weights as well; the report then says so. `r2d check` says how many rows a threshold needs."""
    test_ids: str | None = None
    """JSON file whose list (or whose object's keys) are the ids of the test split."""
    test_from: datetime | Literal["latest"] | None = None
    """Test rows are those from this time on (`data.columns.time`), such as `"2025-01-01"`; `latest`: the latest
    `test_fraction` of the rows. Earlier rows of a patient with test rows are set aside."""
    seed: int = 42
    """The same seed and ids give the same split."""

    @field_validator("test_from", mode="before")
    @classmethod
    def _no_number(cls, value: Any) -> Any:
        if isinstance(value, int | float):  # Pydantic would count seconds from 1970
            raise ValueError(f"found the number {value}; give a date, such as 2025-01-01, or latest")
        return value

    @model_validator(mode="after")
    def _room_for_training(self) -> SplitConfig:
        if self.validation_fraction + self.test_fraction + self.calibration_fraction >= 1.0:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} + test_fraction {self.test_fraction} + "
                f"calibration_fraction {self.calibration_fraction} leave no row to train on; their sum must be below 1"
            )
        return self


class FreshTestConfig(Section):
    """Test rows of their own, such as those that came in after the data: no model was chosen on them yet."""

    path: str
    """A file (csv, jsonl, parquet) or a folder (parquet), read like the data. No row of the data is then a test row."""


class SyntheticTriageConfig(Section):
    """The shipped generator of nurse-line calls: invented text, no real patients."""

    num_calls: Annotated[int, Field(ge=60)] = 6000
    """Calls that are invented."""
    num_test_calls: Annotated[int, Field(ge=0)] = 0
    """Fresh test calls of other callers, drawn apart by a seed that follows from `seed`; the others are then divided
    into training, validation and calibration alone. 0: the test split is `data.split.test_fraction` of the calls."""
    seed: int = 42
    """The same seed gives the same calls."""
    label_noise: Annotated[float, Field(ge=0.0, le=0.2)] = 0.03
    """Share of calls whose label is moved to a neighbouring level, as hurried humans do; their rationales stay."""


class DataConfig(TextFileConfig):
    """Where the examples come from and how they are read."""

    format: Literal["csv", "jsonl", "parquet", "huggingface", "pubmedqa", "synthetic_triage"]
    """What is read. `csv`: also an Excel file with one sheet. `huggingface`: a data set of the hub or in a folder.
    `pubmedqa`: its JSON. `synthetic_triage`: the invented calls of the demo."""
    labels: LabelsConfig
    path: str | None = None
    """A file (csv, jsonl, parquet, pubmedqa), a folder (parquet, huggingface) or a hub name (huggingface).
    Shell placeholders for environment variables, with or without a default, are filled in."""
    columns: ColumnsConfig = ColumnsConfig()
    time_format: Name | None = None
    """How `columns.time` is written, in the signs of strptime, such as `"%d.%m.%Y %H:%M"`; by default ISO 8601."""
    period: Period = "quarter"
    """Of `columns.time`: the rows of each are a slice, `period`."""
    split: SplitConfig = SplitConfig()
    test: FreshTestConfig | None = None
    reviewed: Name | None = None
    """A `reviewed.csv` that `r2d review export` wrote: labels of reviewers for training rows, and more training
    rows. Rows of other splits keep their labels; a row on which reviewers differ is left as it is."""
    repeats: RepeatsConfig | None = None
    """Where one id has several rows."""
    revision: str | None = None
    """Commit of a hub data set; needed for one, so that a run can be repeated."""
    hub_config: str | None = None
    """Configuration (subset) of a hub data set."""
    synthetic: SyntheticTriageConfig = SyntheticTriageConfig()
    """Read only when `format` is `synthetic_triage`."""
    forgotten: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}:[0-9a-f]{32}$")], ...] = ()
    """Groups and ids whose rows are left out, as keyed hashes. A run adds those that `r2d forget` wrote into the
    registry; a list here is for data that are read without one."""

    @model_validator(mode="after")
    def _fits_format(self) -> DataConfig:
        if self.labels.per_row != (self.columns.options is not None):
            raise ValueError("labels.per_row and columns.options go together: give both or neither")
        holds_lists = self.format in ("jsonl", "parquet", "huggingface")
        if self.labels.per_row and not holds_lists and (self.format != "csv" or isinstance(self.columns.options, str)):
            raise ValueError(
                f"columns.options is a list, which format {self.format!r} cannot hold; use jsonl or parquet, several "
                "columns of a csv with one option each, or a pattern"
            )
        if self.format != "synthetic_triage" and not self.path:
            raise ValueError(f"format {self.format!r} needs `path`; only 'synthetic_triage' makes its own data")
        if self.format == "synthetic_triage" and self.path:
            raise ValueError("format 'synthetic_triage' makes its own data; remove `path`")
        if self.format == "synthetic_triage" and self.time_format is not None:
            raise ValueError("format 'synthetic_triage' makes its own times; remove `time_format`")
        if self.test is not None and self.format not in ("csv", "jsonl", "parquet"):
            raise ValueError(
                f"test.path is a file like the data; format {self.format!r} reads none (csv, jsonl, parquet)"
            )
        if self.reviewed is not None and self.labels.per_row:
            raise ValueError("reviewed holds labels of a declared set; labels.per_row has none, so remove reviewed")
        if self.test is not None and self.split.test_ids is not None:
            raise ValueError("test.path and split.test_ids both say which rows are test; remove one of them")
        if self.split.test_from is not None:
            other = {
                "columns.split": self.columns.split, "split.test_ids": self.split.test_ids, "test.path": self.test,
            }  # fmt: skip
            if given := [key for key, value in other.items() if value is not None]:
                raise ValueError(f"split.test_from and {given[0]} both say which rows are test; remove one of them")
            if self.columns.time is None:
                raise ValueError("split.test_from divides by time; name the column in columns.time")
        return self

    def without_test(self) -> DataConfig:
        """How the data are read where `test` names the test rows: all for training, validation and calibration."""
        split = self.split.model_copy(update={"test_fraction": 0.0})
        return self.model_copy(update={"test": None, "split": split})
