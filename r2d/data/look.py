"""Looks at a file of unknown make: how it is read, and what its columns hold, in counts and shapes.

The values of a column are shown only where they are few, short and repeated, as labels are; no other cell of a file is.
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.files import TextFileConfig, suffix_of
from r2d.data.readers.delimited import DELIMITERS, DelimitedFile
from r2d.data.readers.files import existing_file, open_bytes, open_text
from r2d.data.readers.rows import json_records, json_text, refuse_rows_within
from r2d.data.readers.workbook import csv_chunks, is_workbook
from r2d.errors import ConfigError, DataError
from r2d.text import LONGEST_NAME, MOST_WORDS_OF_NAME, first_of, flatten, plural

UNICODE = ("utf-8", "utf-16", "utf-16-le", "utf-16-be")
"""Tried in this order."""
EIGHT_BIT = ("cp1252", "mac-roman", "cp850", "cp437", "cp1250", "cp1251")
"""Of files that are no Unicode: each reads nearly any bytes, so that only the letters speak for one."""
PLAUSIBLE = 0.9  # share of the characters beyond ASCII that must stand where they can, for an encoding to be taken
MARKS_OF_TEXT = "–—‘’“”„…•°±µ½¼¾£€§«»®™©×²³\u00a0"
_WORD_BEYOND_ASCII = re.compile(rb"[0-9A-Za-z]*[\x80-\xff][0-9A-Za-z\x80-\xff]*")
MOST_WORDS = 20_000  # different words with characters beyond ASCII that are looked at
MAX_BEFORE_HEADER = 20  # lines before the header that are taken for titles
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
ROWS_BESIDE_HEADER = 200  # rows against which a header is held
MOST_LABELS = 30
"""A column with more distinct values is not taken for the label."""
HINTS = {
    "id": r"id|key|uuid|number|custom_id|row|index|kennung|nummer|fallnummer|identifiant|identificador|identificativo",
    "text": (
        r"text|note|notes|narrative|question|complaint|report|message|input|document|body|content|description|notiz"
        r"|beschwerde|bericht|befund|texte|motif|texto|nota|queixa|queja|mensaje|mensagem|testo|messaggio|tekst|notitie"
        r"|klacht"
    ),
    "label": (
        r"label|triage|level|disposition|acuity|urgency|priority|answer|category|class|target|decision|gold|stufe"
        r"|dringlichkeit|kategorie|einstufung|klasse|niveau|urgence|catégorie|étiquette|nivel|urgencia|categoría"
        r"|etiqueta|nível|urgência|categoria|rótulo|livello|urgenza|etichetta|urgentie|categorie"
    ),
    "group": (
        r"patient|pt|pat|pid|subject|caller|person|mrn|case|encounter|member|user|patientin|anrufer|fall|paciente|paziente|patiënt"
        r"|utente|patienten|(?:patient(?:en)?|anrufer|versicherten|fall)(?:nummer|nr|id)"
    ),
    "split": r"split|set|fold|partition|subset",
    "rationale": (
        r"rationale|reason|reasoning|explanation|why|justification|comment|cot|because|extracted|begründung|begruendung"
        r"|grund|erklärung|kommentar|raison|explication|commentaire|justificación|justificacion|razón|razon|motivo"
        r"|explicación|comentario|justificativa|justificação|razão|explicação|comentário|motivazione|ragione|spiegazione"
        r"|commento|reden|motivering|uitleg|toelichting|onderbouwing"
    ),
    "attribute": (
        r"age|sex|gender|site|clinic|ward|language|ethnicity|race|region|family|channel|period|arrival|alter|geschlecht|standort"
        r"|âge|sexe|edad|sexo|idade|età|sesso|leeftijd|geslacht"
    ),
}
"""Role of a column -> words of its name that speak for it."""


@dataclass(frozen=True)
class Column:
    """What a column of a file looks like."""

    name: str
    num_rows: int
    num_filled: int  # cells with more than spaces
    num_distinct: int  # of the filled cells, without outer spaces
    mean_words: float  # of the filled cells
    longest: int  # characters
    counts: Mapping[str, int]  # value -> rows, most first, where they are few and short; else empty

    @classmethod
    def of(cls, name: str, values: Sequence[str | None]) -> Column:
        """The column of these values; None is an empty cell."""
        filled = [text for value in values if value is not None and (text := value.strip())]
        counts = Counter(filled)
        longest = max(map(len, filled), default=0)
        is_closed = 0 < len(counts) <= MOST_LABELS and longest <= LONGEST_NAME and len(filled) >= 2 * len(counts)
        words = sum(len(text.split()) for text in filled) / len(filled) if filled else 0.0
        shown = dict(counts.most_common()) if is_closed else {}
        return cls(name, len(values), len(filled), len(counts), words, longest, shown)

    @property
    def is_unique(self) -> bool:
        return self.num_filled == self.num_rows == self.num_distinct

    @property
    def is_numeric(self) -> bool:
        """Whether the shown values are all numbers, and so perhaps codes."""
        return bool(self.counts) and all(re.fullmatch(r"[-+]?\d+(\.\d+)?", value) for value in self.counts)

    def evidence(self) -> str:
        """Counts and shapes, in words."""
        return (
            f"{self.num_filled:,} of {self.num_rows:,} filled, {self.num_distinct:,} different, "
            f"{self.mean_words:.1f} words on average, at most {plural(self.longest, 'character')}"
        )

    def speaks_for(self, role: str) -> bool:
        """Whether its name has a word of the role."""
        words = unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name)).casefold()
        return re.search(rf"(?:^|[\W\d_])(?:{HINTS[role]})s?(?:$|[\W\d_])", words) is not None


@dataclass(frozen=True)
class EightBit:
    """The encodings that a file may have which is no Unicode, by the places of its characters beyond ASCII."""

    shares: Mapping[str, float]
    """Encoding -> share of those characters that stand where they can in a text, the likeliest first."""
    code_points: Mapping[str, Mapping[str, int]]  # encoding -> code point that it reads -> count, most first

    @classmethod
    def of(cls, file: Path) -> EightBit | None:
        """None where the file is UTF-8, UTF-16, a workbook or Parquet."""
        if is_workbook(file) or suffix_of(file) == ".parquet":
            return None
        words, decoder = Counter[bytes](), codecs.getincrementaldecoder("utf-8")()
        is_utf8 = True
        with open_bytes(file) as stream:
            for line in stream:
                if b"\0" in line or line.startswith(b"PAR1"):
                    return None
                if line.isascii():
                    continue
                if len(words) < MOST_WORDS:
                    words.update(_WORD_BEYOND_ASCII.findall(line))
                try:
                    decoder.decode(line)
                except UnicodeDecodeError:
                    is_utf8 = False
        if is_utf8:
            return None
        shares = {encoding: _share_in_place(words, encoding) for encoding in EIGHT_BIT}
        code_points = {}
        for encoding in EIGHT_BIT:
            counts = Counter[str]()
            for word, count in words.items():
                for letter in word.decode(encoding, "replace"):
                    counts[f"U+{ord(letter):04X}"] += count if ord(letter) > 127 else 0
            code_points[encoding] = {point: count for point, count in counts.most_common(8) if count}
        return cls(dict(sorted(shares.items(), key=lambda item: -item[1])), code_points)

    @property
    def sure(self) -> str | None:
        """cp1252, the encoding of Western Windows, where no other one reads the text better; else None."""
        usual = self.shares["cp1252"]
        return "cp1252" if usual >= PLAUSIBLE and usual >= max(self.shares.values()) else None

    def evidence(self, encoding: str) -> str:
        """What it reads, as code points with their counts, and which other encodings may be meant."""
        points = ", ".join(f"{point} {count:,}" for point, count in self.code_points[encoding].items())
        others = [
            f"{other} {share:.0%}" for other, share in self.shares.items() if other != encoding and share >= PLAUSIBLE
        ]
        also = f"; others that may be meant: {', '.join(others)}" if others else ""
        return f"{self.shares[encoding]:.0%} of its characters beyond ASCII stand where they can ({points}){also}"


def _share_in_place(words: Mapping[bytes, int], encoding: str) -> float:
    """Share of the characters beyond ASCII that can stand where they do, if the words have this encoding."""
    num = num_in_place = 0
    for word, count in words.items():
        text = word.decode(encoding, "replace")
        beyond = [place for place, letter in enumerate(text) if ord(letter) > 127]
        num += count * len(beyond)
        num_in_place += count * sum(_is_in_place(text, place, len(beyond)) for place in beyond)
    return num_in_place / num if num else 0.0


def _is_in_place(word: str, place: int, num_beyond: int) -> bool:
    """Whether a character beyond ASCII can stand there: a letter by its case and its alphabet, a mark not in a word."""
    letter, before, behind = word[place], word[:place], word[place + 1 :]
    if letter in MARKS_OF_TEXT:
        return letter in "’‘–—" or not (before[-1:].isalpha() and behind[:1].isalpha())
    if unicodedata.category(letter) not in ("Ll", "Lu") or letter == "ƒ" or before[-1:].isdigit():
        return False
    if "CYRILLIC" in unicodedata.name(letter, "") or (num_beyond > 2 and 2 * num_beyond > len(word)):
        is_alphabet = all("CYRILLIC" in unicodedata.name(other, "") for other in word if other.isalpha())
    else:
        is_alphabet = True
    return is_alphabet and (letter.islower() or before.isupper() or not before)


Settings: TypeAlias = Mapping[str, str | int]
"""Keys of `data` that say how a file is read -> value."""


@dataclass(frozen=True)
class Look:
    """What a look at a file tells: how it is read, and what its columns hold."""

    path: Path
    settings: Settings  # that read it
    columns: Sequence[Column]
    cells: Mapping[str, Sequence[str | None]] = field(repr=False)  # column -> its values; they are never shown
    lists: Sequence[str] = ()  # names of the columns that hold several values in a row
    encoding: EightBit | None = None  # where the file is no Unicode

    @property
    def num_rows(self) -> int:
        return self.columns[0].num_rows


def looks_at(path: Path, encoding: str | None = None) -> Iterator[Look]:
    """The ways in which a file can be read, the likeliest first.

    Args:
        encoding: of a file that is no Unicode; by default that of which it seems sure.

    Raises:
        ConfigError: the file is no Unicode, and its encoding cannot be told.
        DataError: it is missing or empty, or can be read in none of the ways; says what the first one met
            that decodes it.
    """
    file = existing_file(str(path), "FILE")
    num_looks, faults, eight_bit = 0, list[str](), EightBit.of(file)
    if eight_bit is not None and encoding is None and (encoding := eight_bit.sure) is None:
        likely = "; ".join(f"{name}: {eight_bit.evidence(name)}" for name in list(eight_bit.shares)[:2])
        raise ConfigError(f"{path}: is no UTF-8, and its encoding cannot be told. {likely}. Say it with --encoding")
    for settings in _ways(file, None if eight_bit is None else encoding):
        try:
            cells, lists = _read_columns(file, settings)
        except DataError as error:
            faults.append(str(error))
            continue
        num_looks += 1
        columns = [Column.of(name, values) for name, values in cells.items()]
        yield Look(path, settings, columns, cells, lists, eight_bit)
    if not num_looks:
        raise DataError(next((fault for fault in faults if "cannot be decoded" not in fault), faults[0]))


def _ways(file: Path, eight_bit: str | None) -> Iterator[Settings]:
    """Settings of `data` that may read the file, the likeliest first.

    Args:
        eight_bit: its encoding where it is no Unicode.
    """
    suffix = suffix_of(file)
    if is_workbook(file):
        rows = b"".join(islice(csv_chunks(file), 4 * MAX_BEFORE_HEADER)).decode()
        yield {"format": "csv"} | ({"skip_lines": skipped} if (skipped := _num_titles(rows, ",")) else {})
        return
    with open_bytes(file) as stream:
        head = stream.read(20_000)
    if suffix == ".parquet" or head.startswith(b"PAR1"):
        yield {"format": "parquet"}
        return
    for encoding in UNICODE if eight_bit is None else (eight_bit,):
        if encoding.startswith("utf-16") and b"\0" not in head:  # each ASCII character of UTF-16 has one
            continue
        text = head.decode(encoding, "replace")
        as_encoded = {} if encoding == "utf-8" else {"encoding": encoding}
        if suffix in JSON_SUFFIXES or text.lstrip("\ufeff \r\n")[:1] in ("{", "["):
            yield {"format": "jsonl"} | as_encoded
            continue
        comment = {"comment": "#"} if text.lstrip("\ufeff").startswith("#") else {}
        for delimiter in sorted(DELIMITERS, key=text.count, reverse=True):
            skipped = _num_titles(text, delimiter)
            titles = {"skip_lines": skipped} if skipped and not comment else {}
            for quoting in ("standard", *(("backslash", "none") if '\\"' in text else ("none", "backslash"))):
                settings = {"format": "csv", "delimiter": delimiter} | comment | titles
                yield settings | ({} if quoting == "standard" else {"quoting": quoting}) | as_encoded


def _num_titles(text: str, delimiter: str) -> int:
    """Lines at the begin of a table that have far fewer cells than its rows, as titles have."""
    lines = text.lstrip("\ufeff").splitlines()[: 4 * MAX_BEFORE_HEADER]
    try:  # a delimiter within quotes separates nothing
        num_cells = [sum(bool(cell.strip()) for cell in row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:  # a cell of megabytes
        return 0
    filled = [num for num in num_cells if num]
    if not filled or lines[0].lower().startswith(("sep=", '"sep=')):
        return 0
    usual = Counter(filled).most_common(1)[0][0]
    first = next(place for place, num in enumerate(num_cells) if 2 * num > usual)
    return first if usual > 1 and first <= MAX_BEFORE_HEADER else 0


def _read_columns(file: Path, settings: Settings) -> tuple[dict[str, list[str | None]], list[str]]:
    """Column -> its cells as texts, and the names of the columns that hold several values in a row.

    Raises:
        DataError: these settings do not read the file.
    """
    rows = _csv_rows(file, settings) if settings["format"] == "csv" else _json_rows(file, settings)
    cells: dict[str, list[str | None]] = {}
    lists: dict[str, None] = {}
    for number, row in enumerate(rows):
        for name, value in row.items():
            items = value if isinstance(value, list) else [value]
            if len(items) > 1:
                lists[name] = None
            texts = ["" if isinstance(item, dict | list) else json_text(item) or "" for item in items]
            cells.setdefault(name, [None] * number).append("\n".join(texts) or None)
        for column in cells.values():  # a key that only some rows have is empty in the others
            column.extend([None] * (number + 1 - len(column)))
    if not cells:
        raise DataError(f"{file}: has no rows; give a file with data")
    num_rare = sum(sum(cell is not None for cell in column) <= 1 for column in cells.values())
    if settings["format"] == "jsonl" and len(cells) > 2 and 2 * num_rare > len(cells):
        raise DataError(
            f"{file}: {num_rare:,} of its {len(cells):,} keys have a value in one row at most, as ids have; write one "
            "row an object, with its id as a value"
        )
    if len(cells) == 1 and settings["format"] != "csv":
        raise DataError(f"{file}: has one single key, but a text and a label are needed")
    if len(cells) == 1:
        raise DataError(f"{file}: has one single column, but a text and a label are needed; correct its delimiter")
    return cells, list(lists)


def _csv_rows(file: Path, settings: Settings) -> Iterator[Mapping[str, object]]:
    config = TextFileConfig.model_validate({key: value for key, value in settings.items() if key != "format"})
    with open_text(file, config.encoding) as stream:
        delimited = DelimitedFile(file, stream, config, {})
        first: list[list[str]] = []
        faults: list[str] = []
        for record in delimited.records():
            if record.fault:
                faults.append(f"line {record.line} ({record.fault})")
                continue
            first += [record.value] if len(first) < ROWS_BESIDE_HEADER else []
            yield {name: cell for name, cell in zip(delimited.header, record.value, strict=True) if name}
    if faults:
        fix = "mend them, or declare delimiter and quoting by hand (docs/data-contract.md)"
        raise DataError(
            f"{file}: {plural(len(faults), 'line is', 'lines are')} no row of the table: {first_of(faults)}; {fix}"
        )
    columns = list(zip(*first, strict=True))
    is_data = any(name and name in column for name, column in zip(delimited.header, columns, strict=False))
    if is_data or not any(delimited.header) or any(len(n.split()) > MOST_WORDS_OF_NAME for n in delimited.header):
        raise DataError(
            f"{file}: its first line looks like data, not like {len(delimited.header)} names of columns; put a header "
            "line before it"
        )


def _json_rows(file: Path, settings: Settings) -> Iterator[Mapping[str, object]]:
    """Rows of JSON Lines or Parquet, nested values by their paths."""
    num_values, last = 0, None
    if settings["format"] == "jsonl":
        with open_text(file, str(settings.get("encoding", "utf-8"))) as stream:
            for record in json_records(stream):
                num_values, last = num_values + 1, record.value
                if not isinstance(record.value, dict):
                    fault = record.fault or f"a {type(record.value).__name__}"
                    raise DataError(f"{file}: line {record.line} holds {fault}; write one object a line")
                if record.repeated:
                    raise DataError(f"{file}: line {record.line}: a key stands twice with different values; keep one")
                if len(record.value) > 1 and all(isinstance(value, dict) for value in record.value.values()):
                    raise DataError(
                        f"{file}: line {record.line} holds an object of {len(record.value):,} objects, whose keys seem "
                        "to be ids; write one row an object, with its id as a value (PubMedQA's own file is read by "
                        "data.format: pubmedqa)"
                    )
                yield flatten(record.value)
        refuse_rows_within(file, last, num_values)
        return
    try:
        for batch in pq.ParquetFile(file).iter_batches():
            yield from map(flatten, batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: is no whole Parquet file ({type(error).__name__}); write it again") from None
