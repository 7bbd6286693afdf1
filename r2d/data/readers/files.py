"""Files before any format: finding them, checking that they hold data, and decoding their bytes to text.

Every message names the absolute path, the config key and the fix, and quotes nothing of the content.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from r2d.data.readers import workbook
from r2d.errors import DataError
from r2d.text import did_you_mean

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
OTHER_FORMATS = {
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, or one with a password: save it as .xlsx without one",
    b"%PDF": "a PDF: ask for the table it was made of",
    b"{\\rtf": "a text with formats (RTF): save it as plain text",
    b"SQLite format 3": "an SQLite database: export the table as CSV",
    b"$FL2": "an SPSS file: export it as CSV", b"$FL3": "an SPSS file: export it as CSV",
    b"<stata_dta>": "a Stata file: export it as CSV",
    b"<!doctype html": "an HTML page, whatever its name: open it in a spreadsheet and save it as .xlsx or .csv",
    b"<html": "an HTML page, whatever its name: open it in a spreadsheet and save it as .xlsx or .csv",
    b"<table": "an HTML page, whatever its name: open it in a spreadsheet and save it as .xlsx or .csv",
    b"<?xml": "an XML document: open it in a spreadsheet, or export the table, and save it as .xlsx or .csv",
}  # fmt: skip
"""First bytes, tags in small letters, of files that are often taken for text -> what they are, and the fix."""
OTHER_ARCHIVES = {
    "content.xml": "an OpenDocument file: save it as .xlsx or .csv",
    "word/document.xml": "a Word document: save its table as .xlsx or .csv",
    "xl/workbook.bin": "a binary Excel workbook: save it as .xlsx",
    "Index/Document.iwa": "a Numbers document: export it as .xlsx or .csv",
}
"""Member of a zip file that tells what else it is."""
COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip",
}  # fmt: skip
"""First bytes of compressed files, which are unpacked while they are read."""
BOMS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",  # that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8",
}  # fmt: skip


MOST_NAMES_COMPARED = 1_000
"""Of the files beside a missing one."""


def existing_path(path: str, key: str = "data.path") -> Path:
    """The absolute path of the file or folder that a config key names.

    Raises:
        DataError: it does not exist.
    """
    absolute = Path(path).expanduser().absolute()
    if not absolute.exists():
        elsewhere = "" if absolute == Path(path) else ", or change the working directory: a relative path starts there"
        near = ""
        with suppress(OSError):  # of a folder that is missing too
            beside = (other.name for other in islice(absolute.parent.iterdir(), MOST_NAMES_COMPARED))
            near = did_you_mean(absolute.name, beside)
        raise DataError(f"{absolute}: no such file or folder ({key} is {path!r}){near}; correct {key}{elsewhere}")
    return absolute


def existing_file(path: str, key: str = "data.path") -> Path:
    """The absolute path of the file that a config key names.

    Raises:
        DataError: it is missing, a folder, unreadable, empty or a Git-LFS pointer.
    """
    file = existing_path(path, key)
    if file.is_dir():
        raise DataError(f"{file}: is a folder, but a file is wanted here; name one of its files in {key}")
    check_content(file)
    return file


def find_files(paths: Sequence[str], key: str) -> list[Path]:
    """The files that paths and globs of a config key name, each once; those of a glob in natural order (2 before 10).

    Raises:
        DataError: a path does not exist, or a glob matches no file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        is_glob = re.search(r"[*?\[]", path) and not Path(path).expanduser().exists()
        if not is_glob:
            files[existing_path(path, key)] = None
            continue
        matches = [Path(match).absolute() for match in glob.glob(str(Path(path).expanduser()), recursive=True)]
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise DataError(
                f"{key}: {path!r} matches no file; correct it: a relative path starts at the working directory "
                f"({Path.cwd()})"
            )
        matches.sort(key=lambda match: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", str(match))])
        files |= dict.fromkeys(matches)
    return list(files)


def require_files(files: Iterable[tuple[str, str]]) -> None:
    """Refuse all files that are missing at once.

    Args:
        files: (config key, path or glob).

    Raises:
        DataError: a line for each path that does not exist, and for each glob that matches no file.
    """
    faults = []
    for key, path in files:
        try:
            find_files([path], key)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(dict.fromkeys(faults)))


def files_below(folder: Path, suffix: str = "") -> list[Path]:
    """The files of a folder at any depth, by name, without those whose names begin with `.` or `_`."""
    relative = ((file, file.relative_to(folder).parts) for file in folder.rglob(f"*{suffix}"))
    return sorted(file for file, parts in relative if file.is_file() and not any(part[0] in "._" for part in parts))


def parquet_files(path: str) -> list[Path]:
    """The Parquet file that `data.path` names, or the `*.parquet` files of that folder in order of name.

    Raises:
        DataError: there is none, or one is unreadable, empty or a Git-LFS pointer.
    """
    place = existing_path(path)
    files = files_below(place, ".parquet") if place.is_dir() else [place]
    if not files:
        raise DataError(f"{place}: holds no *.parquet file; correct data.path or data.format")
    for file in files:
        check_content(file)
    return files


def check_content(file: Path) -> None:
    """Refuse a file without data.

    Raises:
        DataError: it cannot be opened, is empty or is a Git-LFS pointer.
    """
    start = _first_bytes(file)
    if not start:
        raise DataError(f"{file}: is empty; give a file with data")
    if start.startswith(LFS_POINTER):
        raise DataError(
            f"{file}: is a Git-LFS pointer, not the data; run `git lfs pull` in its repository, or download it again"
        )


def _first_bytes(file: Path, *, unpacked: bool = False) -> bytes:
    try:
        with open_bytes(file) if unpacked else file.open("rb") as stream:
            return stream.read(1024)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None


@contextmanager
def open_bytes(file: Path, notes: list[str] | None = None) -> Iterator[BinaryIO]:
    """Open a file as bytes, unpacked where it is compressed; a workbook as the CSV of its values.

    Args:
        notes: takes what there is to say of a workbook.

    Raises:
        DataError: it is no whole file of its compression. Raised while the block reads, too.
    """
    with file.open("rb") as raw:
        start = raw.read(6)
    kind = next((kind for mark, kind in COMPRESSED.items() if start.startswith(mark)), None)
    if kind is None:
        with file.open("rb") as raw:
            yield raw
        return
    openers: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    try:
        if kind == "zstd":
            import pyarrow as pa  # the standard library of Python 3.11 has no zstd

            with pa.OSFile(str(file)) as packed, pa.CompressedInputStream(packed, "zstd") as stream:
                yield io.BufferedReader(_Unpacked(stream))
        elif kind == "zip":
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                if workbook.MARK in names:
                    yield io.BufferedReader(_Unpacked(_Chunks(workbook.csv_chunks(file, notes))))
                    return
                if other := next((meaning for mark, meaning in OTHER_ARCHIVES.items() if mark in names), None):
                    raise DataError(f"{file}: is {other}")
                with archive.open(_only_member(file, archive)) as member:
                    yield member  # type: ignore[misc]
        else:
            with openers[kind](file) as stream:
                yield stream
    except (EOFError, OSError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile):
        raise DataError(f"{file}: is no whole {kind} file; fetch it again") from None


def _only_member(file: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file in an archive; what macOS adds is none.

    Raises:
        DataError: there are others, or it is encrypted.
    """
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise DataError(f"{file}: is a zip file of {len(members)} files; unpack it and name one of them")
    if members[0].flag_bits & 1:
        raise DataError(f"{file}: is an encrypted zip file; unpack it")
    return members[0]


class _Chunks:
    """Pieces of bytes as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class _Unpacked(io.RawIOBase):
    """A stream that can only be read, of pyarrow or of chunks, as one of the standard library."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unmarked(start: bytes) -> str | None:
    """UTF-16 or UTF-32, little or big end first, where the bytes of a letter that are 0 in Latin script mostly are."""
    start = start[:128]
    for name, width, order in (("utf-32", 4, "le"), ("utf-32", 4, "be"), ("utf-16", 2, "le"), ("utf-16", 2, "be")):
        zeros = [start[place::width].count(0) for place in range(width)]
        letter, others = (zeros[0], zeros[1:]) if order == "le" else (zeros[-1], zeros[:-1])
        if start and not letter and min(others) > 0.6 * (len(start) // width):
            return f"{name}-{order}"
    return None


@contextmanager
def open_text(
    file: Path,
    encoding: str = "utf-8",
    *,
    key: str = "data",
    fixed_encoding: bool = False,
    notes: list[str] | None = None,
) -> Iterator[TextIO]:
    """Open a file as text, unpacked, line ends untouched; a byte order mark, as Excel writes it, is skipped.

    Args:
        notes: as of `open_bytes`.
        key: config section that declares the file.
        fixed_encoding: whether the section has no key `encoding`, so that only the file can be changed.

    Raises:
        DataError: the file is binary, the encoding is unknown or does not fit (names the byte, the line
            and a likely fix). Raised while the block reads, too.
    """
    if workbook.is_workbook(file):  # its CSV is made here, and always UTF-8
        with open_bytes(file, notes) as raw:
            yield io.TextIOWrapper(raw, "utf-8", newline="")
        return
    start = _first_bytes(file, unpacked=True)
    letters = start.removeprefix(codecs.BOM_UTF8).lstrip()
    for magic, meaning in OTHER_FORMATS.items():
        if start.startswith(magic) or (magic[:1] == b"<" and letters.lower().startswith(magic)):
            fix = f": set {key}.format: parquet where it can be, or save it as text" if magic == b"PAR1" else ""
            raise DataError(f"{file}: is {meaning}{fix}")
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"{file}: {key}.encoding {encoding!r} is no known encoding; use e.g. utf-8, cp1252, utf-16"
        ) from None
    bom = next((declared for mark, declared in BOMS.items() if start.startswith(mark)), None)
    if bom and bom != "utf-8" and not name.startswith(bom):
        fix = "save the file as UTF-8" if fixed_encoding else f"set {key}.encoding: {bom}"
        raise DataError(f"{file}: begins with a {bom.upper()} byte order mark at byte 0; {fix}")
    unmarked = None if bom else _unmarked(start)
    if unmarked and name != unmarked:
        fix = "save the file as UTF-8" if fixed_encoding else f"set {key}.encoding: {unmarked}"
        raise DataError(f"{file}: is {unmarked[:6].upper()} without a byte order mark; {fix}")
    if bom and bom != "utf-8":
        name = bom  # with the order in the name, the mark would stay as a letter
    with open_bytes(file) as raw:
        stream = io.TextIOWrapper(raw, "utf-8-sig" if name == "utf-8" else name, newline="")
        try:
            yield stream
        except UnicodeError as error:
            likely = bom or ("cp1252" if name in ("utf-8", "ascii") else "utf-8")
            fix = f"set {key}.encoding to the file's own, e.g. {likely}, or save the file as UTF-8"
            if fixed_encoding:
                fix = f"it may be {likely}: save the file as UTF-8"
            offset, line = 0, 1
            if isinstance(error, UnicodeDecodeError):
                offset, line = _undecodable(file, name)
            raise DataError(
                f"{file}: is not {encoding}: byte {offset}, on line {line}, cannot be decoded; {fix}"
            ) from None


def _undecodable(file: Path, encoding: str) -> tuple[int, int]:
    """Offset and line, of the unpacked file, of the first byte that cannot be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    with open_bytes(file) as raw:
        while chunk := raw.read(1 << 16):
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return offset - len(pending) + error.start, line + (pending + chunk)[: error.start].count(b"\n")
            offset += len(chunk)
            line += chunk.count(b"\n")
    return offset, line
