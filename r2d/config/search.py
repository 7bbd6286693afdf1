"""Section `search`: the space in which `r2d search` looks for hyper-parameters, and how it chooses among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from r2d.config.section import Fraction, Name, Section, show_value
from r2d.text import did_you_mean

SEARCHED_SECTIONS = ("method", "model", "stage1", "stage2")
"""The others say what the data are and how a model is judged: a search over them would choose the question."""
Number = int | float


class ParameterConfig(Section):
    """The values that one key may take: `low` and `high`, or `choices`."""

    low: Number | None = None
    """The smallest value."""
    high: Number | None = None
    """The largest value; itself allowed."""
    log: bool = False
    """Draw evenly over orders of magnitude, as for a learning rate."""
    step: Annotated[Number, Field(gt=0)] | None = None
    """Distance between two values; by default 1 for a key of whole numbers, and none for others."""
    choices: tuple[bool | Number | str, ...] = ()
    """Values without an order, such as names."""

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> ParameterConfig:
        if self.choices:
            if self.log or any(value is not None for value in (self.low, self.high, self.step)):
                raise ValueError("choices stand alone; remove low, high, log and step")
            if len({str(choice) for choice in self.choices}) < max(len(self.choices), 2):
                raise ValueError(f"choices: found {list(self.choices)}; give at least two, each once")
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        elif self.low >= self.high:
            raise ValueError(
                f"the range is empty: low {self.low:g} is not below high {self.high:g}; change one of them"
            )
        elif self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"log wants a low above 0 and no step; found low {self.low:g} and step {self.step}")
        elif self.step is not None and self.low + self.step > self.high:
            raise ValueError(f"step {self.step:g} leads beyond high {self.high:g}: one value is left; lower it")
        return self

    @property
    def examples(self) -> tuple[bool | Number | str, ...]:
        """The choices, or both ends of the range."""
        return self.choices or tuple(end for end in (self.low, self.high) if end is not None)


class SearchConfig(Section):
    """What `r2d search` tries: each trial is a run that trains a model and measures it on the validation rows."""

    space: Annotated[dict[Name, ParameterConfig], Field(min_length=1)]
    """Key of `method`, `model`, `stage1` or `stage2`, such as `stage2.learning_rate` -> its values."""
    num_trials: Annotated[int, Field(ge=2)] = 20
    """Models that are trained, those of an earlier, stopped search among them."""
    max_under_triage: Fraction | None = None
    """Largest share of the validation rows with a label less urgent than theirs; a trial above it is not chosen. Wanted
    where labels are ordered."""
    seed: int = 42
    """Of the draws of the search; training has seeds of its own."""

    def faults(self, run: Any, *, ordered: bool) -> Iterator[str]:
        """What does not fit the run (a `RunConfig`), a sentence each."""
        if ordered and self.max_under_triage is None:
            yield "search.max_under_triage: missing; labels are ordered: give the largest acceptable share, as 0.1"
        if not ordered and self.max_under_triage is not None:
            yield "search.max_under_triage: data.labels.ordered is false, so nothing is under-triage; remove it"
        for key, parameter in self.space.items():
            try:
                found = find_key(run, key)
                for value in parameter.examples:
                    found.require(value)
            except ValueError as error:
                yield f"search.space.{key}: {error}"


class FoundKey:
    """A key of a run that may be searched."""

    def __init__(self, section: BaseModel, name: str) -> None:
        self.section, self.name = section, name

    @property
    def field(self) -> FieldInfo:
        return type(self.section).model_fields[self.name]

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        types = {self.field.annotation, *get_args(self.field.annotation)}
        return int in types and float not in types

    def require(self, value: object) -> None:
        """Raises a ValueError where the section does not allow the value beside its others."""
        try:
            type(self.section).model_validate(self.section.model_dump() | {self.name: value})
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            raise ValueError(f"{show_value(value)} is not allowed: {message[:1].lower()}{message[1:]}") from None


def find_key(run: BaseModel, key: str) -> FoundKey:
    """The key of a run that a dotted name stands for.

    Raises:
        ValueError: there is none, or it cannot be searched.
    """
    first, *inner, name = ("", *key.split(".")) if "." not in key else key.split(".")
    if first not in SEARCHED_SECTIONS:
        raise ValueError(
            f"cannot be searched; allowed are keys of {', '.join(SEARCHED_SECTIONS)}, such as stage2.learning_rate: "
            "the others say what the data are, or how a model is judged"
        )
    section: Any = getattr(run, first)
    for part in inner:
        _require_field(section, part)
        section = getattr(section, part)
        if not isinstance(section, BaseModel):
            raise ValueError(f"{part} is not set in this run; set it, and then search its keys")
    _require_field(section, name)
    if isinstance(getattr(section, name), BaseModel | Mapping):
        raise ValueError("is a section; name one of its keys")
    if name == "seed":
        raise ValueError(
            "cannot be searched: the best of many seeds is luck; to see their spread, use `comparison.seeds`"
        )
    return FoundKey(section, name)


def _require_field(section: BaseModel, name: str) -> None:
    allowed = list(type(section).model_fields)
    if name not in allowed:
        raise ValueError(f"unknown key{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}")
