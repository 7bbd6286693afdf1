"""How files of text are read: shared by the notes, the calls and the tables of rationales."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from r2d.config.section import Name, Section

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings of files that are unpacked while they are read."""


def suffix_of(path: Path) -> str:
    """The ending that tells the format of a file, in small letters: `.csv` of `calls.csv.gz`."""
    path = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return path.suffix.lower()


class TextFileConfig(Section):
    """Delimiter, quotes and encoding of a CSV; `encoding` also of JSON Lines. gzip, bz2, xz, zstd and a zip of one file
    are unpacked."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of a CSV."""
    quoting: Literal["standard", "none", "backslash"] = "standard"
    """Of a CSV. `standard`: a field with a delimiter, quote or line break stands in double quotes, a quote in it is
    doubled. `none`: quotes are letters, and every line is a row. `backslash`: a backslash stands before a quote, a
    delimiter, a line break or a backslash, and `\\N` alone is an empty field, as MySQL, Spark and Sequel write."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """Lines before the header of a CSV that are passed over, such as titles. Excel's `sep=;` needs none."""
    comment: Annotated[str, Field(min_length=1)] | None = None
    """Lines of a CSV that begin with this are passed over, e.g. `"#"`."""
    encoding: Name = "utf-8"
    """Of a CSV or JSONL; UTF-16 without a byte order mark is `utf-16-le` or `utf-16-be`."""


class MadeId(Section):
    """Ids of a file that brings none."""

    source: Annotated[Literal["row", "text"], Field(alias="from")]
    """`row`: the number of the row, counted from 1; it changes when rows are added before it. `text`: a hash of the
    text, which stays when rows are added or moved; a text that stands twice gets `-2` behind it."""


class OptionsPattern(Section):
    r"""Options that stand inside the text, e.g. `{pattern: '\([a-e]\) (?P<option>[^()]+)'}`."""

    pattern: Name
    """Regular expression with a group `option`; every match in the text is one option, without outer spaces."""

    @model_validator(mode="after")
    def _has_group(self) -> OptionsPattern:
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"{self.pattern!r} is no regular expression: {error}") from None
        if "option" not in compiled.groupindex:
            raise ValueError(f"{self.pattern!r} needs a group named option: (?P<option>...)")
        return self


class RowColumns(Section):
    """The columns that notes and calls share. A nested value of JSON or Parquet is named by its path: `a.b[0].c`."""

    id: Name | MadeId = "id"
    """A column, or `{from: row}` or `{from: text}` where the file has none."""
    text: Name | Annotated[tuple[Name, ...], Field(min_length=1)] = "text"
    """A column, or several, joined by line breaks or by `text_template`."""
    text_template: str | None = None
    """Text with the names of the columns of `text` in braces, e.g. `"Complaint: {complaint}. History: {history}"`.
    Where a column is empty the words around it stay, and such rows are counted; a row with no text at all stays empty.
    """
    options: Name | Annotated[tuple[Name, ...], Field(min_length=2)] | OptionsPattern | None = None
    """The labels that this row can have, where `data.labels.per_row`: a column with lists, several columns with one
    option each, or a pattern that finds them in the text."""

    @model_validator(mode="before")
    @classmethod
    def _one_column_in_a_list(cls, values: Any) -> Any:
        """A list of one column is that column."""
        text = values.get("text") if isinstance(values, dict) else None
        return values | {"text": text[0]} if isinstance(text, list | tuple) and len(text) == 1 else values

    @model_validator(mode="after")
    def _template_fits(self) -> RowColumns:
        if self.text_template is None:
            return self
        columns = (self.text,) if isinstance(self.text, str) else self.text
        named = re.findall(r"\{([^{}]*)\}", self.text_template)
        if unknown := [name for name in named if name not in columns]:
            raise ValueError(f"text_template names {unknown}, which are not among text {list(columns)}; add them there")
        if unused := [name for name in columns if name not in named]:
            raise ValueError(f"text_template lacks {unused} of text; write {{{unused[0]}}} where it belongs")
        return self
