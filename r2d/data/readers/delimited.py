"""Delimited text (CSV), read in one way for notes, calls and tables of rationales.

A quote that never closes, or closes rows later, swallows records in silence. So the physical lines of each record are
held against it: where they read as records of their own, the file is refused, and the lines are named.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from r2d.config.files import TextFileConfig
from r2d.data.readers.workbook import is_workbook
from r2d.errors import DataError, MissingColumnsError
from r2d.text import did_you_mean, first_of, near_label, plural, shown_names

DELIMITERS = {",": '","', ";": '";"', "\t": '"\\t"', "|": '"|"'}
MAX_SAMPLE = 2_000
"""Records from whose ids and labels it is learnt how those of the file look."""
MAX_BEFORE_HEADER = 20  # records that are searched for the header where the first is none
NULL = "\udcffN"  # stands for an unquoted `\\N` while a line is read; half a surrogate is in no decoded text
UNQUOTED = {  # fix of a broken quote, by `quoting`
    "standard": "a field with a quote, a delimiter or a line break stands in double quotes, and a quote in it is "
    'doubled ("")',
    "backslash": "a field with a line break stands in double quotes, and a backslash stands before a quote in it",
    "none": "quotes are letters",
}
QUOTINGS = {
    "none": "where quotes are letters of the text",
    "backslash": 'where a quote is written \\"',
    "standard": 'where a quote is written ""',
}
_RUN = re.compile(r"[^\W_]+")
_FOOTER = re.compile(
    r"\W*(?:(?:(?:grand|sub|over-?all)[\s-]*)?totals?|sum|summe|gesamt|(?:row|record)?\s?count|(?:number|no\.?|#|total)\s(?:of\s)?\w+"
    r"|n(?=\s*[=:])|rows?|records?|entries|end\sof\s\w+|(?:exported|generated|printed|created|downloaded)\s(?:on|at|by|from|with)\b.{0,60}"
    r"|page\s\d+.{0,20}|\d+\s(?:rows?|records?|entries|lines|cases|notes|calls)(?:\s\w+){0,2})\W*[\d.,\s]*\W*",
    re.I,
)
"""What stands below a table: `Total: 48`, `48 rows`."""


class Record(NamedTuple):
    """One record of a file, whether it can be read or not."""

    line: int  # the line it begins on, counted from 1
    value: Any  # the fields of a CSV record, or any JSON value; None where there is a fault
    fault: str = ""  # why it cannot be read. It quotes nothing
    repeated: tuple[str, ...] = ()  # keys of JSON objects in it that stand twice with different values


@dataclass
class _Known:
    """How the ids of a file look, and its labels, learnt from its first records."""

    ids: set[str] = field(default_factory=set)  # by `_shape`
    makes: set[str] = field(default_factory=set)  # by `_make`
    labels: set[str] = field(default_factory=set)

    def add_id(self, text: str) -> None:
        text = text.replace('"', "").strip()  # one that is in it by mistake changes no make
        self.ids.add(_shape(text))
        self.makes.add(_make(text))


class _Line(NamedTuple):
    """The cells of a line within a record that would be its id and its label, if it were a record."""

    ids: Sequence[str] | None  # None where no column holds ids
    labels: Sequence[str] | None

    def reads_as_record(self, known: _Known) -> bool:
        """Whether it has an id like those of the file, and a label that the file knows."""
        ids, labels = self.ids, self.labels
        has_id = ids is None or any(id_ and not re.search(r"\s", id_) and _shape(id_) in known.ids for id_ in ids)
        is_any_label = labels is None or not known.labels
        return has_id and (is_any_label or any(label.casefold() in known.labels for label in labels or ()))


class _Suspect(NamedTuple):
    """A record with lines that are as long as a record."""

    first: int  # line
    last: int
    lines: Sequence[_Line]  # those, but for the first line of the record
    is_whole: bool  # whether all its lines are so
    makes: Set[str]  # of what stands before the first delimiter of its lines, where that could be no word or number


class DelimitedFile:
    """The records of one delimited file.

    Args:
        stream: as `open_text` gives it.
        columns: config key below `columns` -> name of the column. `id_key` and `label_key` name those by which a
            swallowed record is recognised.
        section: config section of the file; `prefix` stands before the keys of `columns`.
    """

    def __init__(
        self,
        file: Path,
        stream: TextIO,
        config: TextFileConfig,
        columns: Mapping[str, str],
        *,
        section: str = "data",
        prefix: str = "data.columns.",
    ) -> None:
        self.file, self.config, self.columns, self.section, self.prefix = file, config, columns, section, prefix
        self.header: list[str] = []
        self.places: dict[str, int] = {}  # key of `columns` -> place in a record
        self.notes: list[str] = []  # what was left out on the way; complete once all records are read
        self.num_left_out = 0  # records that repeat the header or are a footer
        self._lines: list[str] = []  # physical lines of the record that is being read
        self._passed_over = 0
        self._stream, self._escapes = stream, config.quoting == "backslash"
        delimiter = re.escape(config.delimiter)
        self._escape = re.compile(rf'\\([^\\"{delimiter}\r\n])|(\\[\\"{delimiter}\r\n])')
        self._null = re.compile(rf"(?<![^{delimiter}])\\N(?=[{delimiter}\r\n]|$)")
        self._reader = csv.reader(
            self._physical_lines(),
            delimiter=config.delimiter,
            strict=True,
            quoting=csv.QUOTE_NONE if config.quoting == "none" else csv.QUOTE_MINIMAL,
            doublequote=config.quoting == "standard",
            escapechar="\\" if config.quoting == "backslash" else None,
        )

    def records(self) -> Iterator[Record]:
        """Every record behind the header that has a cell; with a fault where its quotes or its length are wrong.

        Raises:
            DataError: a declared column is missing, a quote never closes, or a field swallows records. The last is
                raised behind the last record.
        """
        limit = csv.field_size_limit(sys.maxsize)
        try:
            records = self._raw_records()
            self._read_header(records)
            yield from self._checked(records)
        finally:
            csv.field_size_limit(limit)

    def _physical_lines(self) -> Iterator[str]:
        """The lines of the file behind those passed over, each kept until its record is read."""
        kept, mark = self._lines, self.config.comment
        is_first = True
        for number, line in enumerate(self._stream):
            if number < self.config.skip_lines or (mark is not None and not kept and line.startswith(mark)):
                self._passed_over += 1
                continue
            if is_first and (declared := re.fullmatch(r'"?sep=(.)"?[\r\n]*', line)):
                self._passed_over += 1
                if declared.group(1) != self.config.delimiter:
                    name = DELIMITERS.get(declared.group(1), repr(declared.group(1)))
                    fix = self._set("delimiter", name)
                    raise DataError(f"{self.file}: its first line says that the delimiter is {name}; {fix}")
                continue
            is_first = False
            kept.append(line)
            if self._escapes and "\\" in line:  # `\N` alone is null; a backslash that escapes nothing is a letter
                line = self._null.sub(NULL, line)
                line = self._escape.sub(lambda match: match.group(2) or f"\\\\{match.group(1)}", line)
            yield line

    def _raw_records(self) -> Iterator[Record]:
        """Records as the `csv` module reads them, blank ones left out."""
        reader, blank_lines = self._reader, list[int]()
        while True:
            self._lines.clear()
            try:
                fields, fault = next(reader), ""
            except StopIteration:
                break
            except csv.Error as error:
                fields, fault = None, str(error)
                if "expected after" in fault:  # it quotes a character of the file
                    fault = "a letter behind a closing quote"
            last = reader.line_num + self._passed_over
            line = last - len(self._lines) + 1
            if fields is None:
                if "end of data" in fault:
                    raise DataError(
                        f"{self.file}: the record that begins on line {line} opens a quote that never closes; "
                        f"{self.quoting_fix()}"
                    )
                if line < last:
                    raise DataError(
                        f"{self.file}: the record that begins on line {line} is no CSV ({fault} on line {last}): a "
                        f"quote was opened before and not closed; {self.quoting_fix()}"
                    )
                yield Record(line, None, fault)
            elif any(fields) and (fields[0].strip() or any(field.strip() for field in fields)):
                yield Record(line, fields)
            elif len(fields) > 1:
                blank_lines.append(line)
        if blank_lines:
            to = f" to {blank_lines[-1]}" if len(blank_lines) > 1 else ""
            self.notes.append(
                f"{plural(len(blank_lines), 'row')} of empty cells left out (line {blank_lines[0]:,}{to})"
            )
        if self._passed_over:
            self.notes.append(f"{plural(self._passed_over, 'line')} passed over (titles, comments or sep=)")

    def _read_header(self, records: Iterator[Record]) -> None:
        head = next(records, None)
        if head is None:
            raise DataError(f"{self.file}: is empty but for line breaks; give a file with a header line and rows")
        if head.fault:
            raise DataError(f"{self.file}: line {head.line} is no CSV ({head.fault}); {self.quoting_fix()}")
        self.header = [name.strip() for name in head.value]
        delimiter = self.config.delimiter
        counts = {other: self.header[0].count(other) for other in DELIMITERS if other != delimiter}
        likely = max(counts, key=counts.__getitem__)
        if len(self.header) == 1 and counts[likely]:
            if is_workbook(self.file):
                raise DataError(
                    f"{self.file}: is an Excel workbook, which has no delimiter; leave {self.section}.delimiter out"
                )
            given, other = DELIMITERS.get(delimiter, repr(delimiter)), DELIMITERS[likely]
            raise DataError(
                f"{self.file}: the header is one single field at delimiter {given} but holds "
                f"{counts[likely]} of {other}; {self._set('delimiter', other)}"
            )
        wanted = {column.strip() for column in self.columns.values()}
        if not wanted <= set(self.header):
            following = [record for _, record in zip(range(MAX_BEFORE_HEADER), records, strict=False) if record.value]
            for record in following:
                if wanted <= {field.strip() for field in record.value}:
                    skipped = record.line - 1
                    raise DataError(
                        f"{self.file}: the declared columns stand on line {record.line}, behind other lines; "
                        f"{self._set('skip_lines', str(skipped))}"
                    )
            if self.config.quoting == "none" and any(name[:1] == '"' == name[-1:] for name in self.header):
                fix = self._set("quoting", "standard")
                raise DataError(f"{self.file}: the names of the header stand in quotes; {fix}")
        check_columns(self.columns, self.header, str(self.file), section=self.prefix)
        self.places = {key: self.header.index(column.strip()) for key, column in self.columns.items()}

    def _checked(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records, held against the length of the header and against their physical lines."""
        size, lines = len(self.header), self._lines
        num_named = max((place for place, name in enumerate(self.header, 1) if name), default=size)
        id_place = next((self.places[key] for key in ("id", "example_column") if key in self.places), None)
        label_place = next((self.places[key] for key in ("label", "label_column") if key in self.places), None)
        known = _Known()
        suspects: list[_Suspect] = []
        one_more: list[list[str]] = []  # of the first records those with one field more than the header
        num_sampled = num_multiline = num_long = num_one_more = num_records = 0
        headers, footers = list[int](), list[int]()
        for record in records:
            fields = record.value
            if fields is not None and len(fields) == num_named < size:
                fields = fields + [""] * (size - num_named)
                record = record._replace(value=fields)
            first, last = (fields[0].strip(), fields[min(len(fields), num_named) - 1].strip()) if fields else ("", "")
            if fields and (first == self.header[0] or not (first and last)):
                if [field.strip() for field in fields] == self.header:
                    headers.append(record.line)
                    continue
                if _is_footer(fields[:num_named]):
                    footers.append(record.line)
                    continue
            num_records += 1
            if len(lines) > 1:
                num_multiline += 1
                if id_place is not None and fields is not None and id_place < len(fields):
                    known.add_id((lines[0].split(self.config.delimiter) + fields)[id_place])
                if (suspect := self._suspect(record, lines, id_place, label_place)) is not None:
                    suspects.append(suspect)
            elif num_sampled < MAX_SAMPLE and fields is not None and len(fields) == size:
                num_sampled += 1
                if id_place is not None:
                    known.add_id(fields[id_place])
                if label_place is not None:
                    known.labels.add(fields[label_place].strip().casefold())
            if fields is None or len(fields) == size:
                if self._escapes and fields is not None:
                    values = ["" if field == NULL else field.replace(NULL, "\\N") for field in fields]
                    record = record._replace(value=values)
                yield record
            elif len(fields) > size and not any(field.strip() for field in fields[size:]):
                num_long += 1
                yield record._replace(value=fields[:size])
            else:
                if len(fields) == size + 1:
                    num_one_more += 1
                    one_more += [fields] if len(one_more) < MAX_SAMPLE else []
                yield Record(record.line, None, f"has {len(fields)}")
        has_both = id_place is not None and label_place is not None and bool(known.labels)
        swallowed = []
        for suspect in suspects:
            read = [line.reads_as_record(known) for line in suspect.lines]
            if suspect.makes & known.makes or (any(read) if has_both else suspect.is_whole and all(read)):
                swallowed.append(suspect)
        if swallowed:
            named = [f"lines {one.first + 1} to {one.last} in a field of line {one.first}" for one in swallowed]
            raise DataError(
                f"{self.file}: {plural(len(swallowed), 'field swallows', 'fields swallow')} lines that read as "
                f"records of their own: {first_of(named)}; a quote was opened and not closed: {self.quoting_fix()}. "
                "Notes that really hold such lines are delivered as JSON Lines or Parquet"
            )
        if num_records and num_one_more == num_records:
            more = f"{self.file}: each of the {num_records:,} rows has one field more than the header's {size}"
            row_names = (
                "as R writes its row names: export with row.names = FALSE, or name the first column in the header"
            )
            unquoted = "a field of each holds the delimiter and stands in no quotes: put it in double quotes"
            are_named = _have_row_names(one_more, id_place)
            if are_named is None:
                raise DataError(f"{more}: either numbers before the rows, {row_names}; or {unquoted}")
            raise DataError(
                f"{more}, {row_names}" if are_named else f"{more}: {unquoted}, or name the column that the header lacks"
            )
        self.num_left_out = len(headers) + len(footers)
        for lines_left_out, what in ((headers, "the header again"), (footers, "a total or a footer")):
            if lines_left_out:
                places = first_of([f"line {line:,}" for line in lines_left_out])
                self.notes.append(f"{plural(len(lines_left_out), 'row')} left out, {what} ({places})")
        if num_multiline:
            self.notes.append(f"{num_multiline:,} of {num_records:,} rows span several lines")
        if num_long:
            self.notes.append(
                f"{plural(num_long, 'row ends', 'rows end')} with more delimiters than the header, "
                "and nothing behind them"
            )

    def _suspect(
        self, record: Record, lines: Sequence[str], id_place: int | None, label_place: int | None
    ) -> _Suspect | None:
        """The lines within a record that are as long as a record; None where there are none that matter."""
        delimiter, size = self.config.delimiter, len(self.header)
        is_prose = size < 4 and delimiter not in "\t|"
        if size == 1 or (id_place is None and label_place is None and is_prose):
            return None
        cells = [line.rstrip("\r\n").split(delimiter) for line in lines]
        is_long = [len(row) >= size for row in cells]
        begins = [row[0] for row in cells[1:] if id_place == 0 and len(row) > 1 and not row[1].startswith(" ")]
        makes = {_make(begin.replace('"', "").strip()) for begin in begins} - {""}
        if not (makes or any(is_long[1:])):
            return None

        def at(row: Sequence[str], place: int | None) -> list[str] | None:
            """The cells that may stand at that place, counted from both ends, as a text may hold delimiters."""
            if place is None:
                return None
            is_prose = row[1].startswith(" ") and not (len(row) == size and all(is_long))
            return [] if is_prose else [cell.strip(' "') for cell in {row[place], row[place - size]}]

        long_lines = [row for row, long in zip(cells[1:], is_long[1:], strict=True) if long]
        found = [_Line(at(row, id_place), at(row, label_place)) for row in long_lines]
        return _Suspect(record.line, record.line + len(lines) - 1, found, all(is_long), makes)

    def _set(self, key: str, value: str) -> str:
        return f"set {self.section}.{key}: {value}"

    def quoting_fix(self) -> str:
        """What to do about a broken quote, for a message."""
        others = ", or ".join(
            f"{self.section}.quoting: {kind} {meaning}"
            for kind, meaning in QUOTINGS.items()
            if kind != self.config.quoting
        )
        return f"{UNQUOTED[self.config.quoting]}; mend the line, or set {others}"


def _is_footer(fields: Sequence[str]) -> bool:
    """Whether a row is no record but what stands below a table: few cells, which say so, and others empty."""
    cells = [field.strip() for field in fields if field.strip()]
    return len(cells) < len(fields) and len(cells) <= 2 and _FOOTER.fullmatch(" ".join(cells)) is not None


def _shape(text: str) -> str:
    """The make of an id: its marks, and for each run of letters and digits whether it has digits."""
    return _RUN.sub(lambda run: "9" if any(c.isdigit() for c in run.group()) else "a", text.strip())


def _make(text: str) -> str:
    """The make of an id that is no plain word or short number, closer than `_shape`; empty for any other text."""
    if len(text) > 40 or not re.search(r"\d", text) or re.search(r"\s", text):
        return ""
    if text.isdigit():
        return f"9{{{len(text)}}}" if len(text) > 3 else ""
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _have_row_names(rows: Sequence[Sequence[str]], id_place: int | None) -> bool | None:
    """Whether the first field of each row is a name of the row, as R writes it; None where this cannot be told.

    Args:
        rows: with one field more than the header.
    """
    names = [row[0].strip() for row in rows]
    if id_place is None:
        return None if names == [str(number) for number in range(1, len(rows) + 1)] else False
    ids = [row[id_place + 1].strip() for row in rows]
    are_ids = all(any(map(str.isdigit, text)) and not re.search(r"\s", text) for text in ids)
    return are_ids and len({*ids}) == len({*names}) == len(rows)


def check_columns(
    columns: Mapping[str, str], names: Sequence[str], where: str, *, section: str = "data.columns."
) -> None:
    """Refuse a source that lacks a declared column, or has two of that name.

    Args:
        columns: config key, without the `section` in front of it -> declared name.
        names: those of the source.

    Raises:
        DataError: names each absent column with its config key, and those found as `shown_names` allows.
    """
    absent = [(key, column) for key, column in columns.items() if column.strip() not in names]
    if absent:
        plain = shown_names(names, columns.values())
        shown = f"  found: {', '.join(map(repr, plain[:50]))}; set these keys to columns of the file"
        if not plain:
            lengths = f", of {min(map(len, names))} to {max(map(len, names))} characters" if names else ""
            shown = (
                f"  found: {plural(len(names), 'name')}{lengths}, not shown (may be data). If the file has column "
                "names, set these keys to them; if its first line is data, add a header line"
            )
        if any(key == "id" for key, _ in absent):
            shown += f"; where it has no ids, set {section}id to {{from: row}} or {{from: text}}"
        # A name that is nearly the declared one is no cell of a note.
        near = {column: [name for name in names if near_label(name, [column])] for _, column in absent}
        lines = [
            f"  {section}{key}: no column {column!r}{did_you_mean(column, plain or near[column])}"
            for key, column in absent
        ]
        error = MissingColumnsError(
            "\n".join([f"{where}: {plural(len(absent), 'declared column')} missing", *lines, shown])
        )
        error.names = names
        raise error
    twice = [f"{section}{key} {column!r}" for key, column in columns.items() if list(names).count(column.strip()) > 1]
    if twice:
        raise DataError(f"{where}: two columns bear the same name ({', '.join(twice)}); rename one of them")
