"""Files before any format: where they are, whether they hold data at all, and how their bytes become text."""

from __future__ import annotations

import codecs
import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from r2d.errors import DataError

_MAGIC = re.compile(r"[*?\[]")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
NO_TEXT = {
    b"PAR1": "a Parquet file: set data.format: parquet",
    b"PK\x03\x04": "a zip file, perhaps an Excel workbook: unpack it, or save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV UTF-8",
    b"\x1f\x8b": "a gzip file: decompress it",
}
BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8"}


def existing_path(path: str, key: str = "data.path") -> Path:
    """The file or folder a config key names, as an absolute path.

    Raises:
        DataError: there is none.
    """
    absolute = Path(path).expanduser().absolute()
    if not absolute.exists():
        raise DataError(
            f"{absolute}: no such file or folder ({key} is {path!r}); correct {key}: a relative path starts at the "
            "working directory"
        )
    return absolute


def existing_file(path: str, key: str = "data.path") -> Path:
    """The file a config key names, with content in it.

    Raises:
        DataError: it is missing, a folder, empty or a Git-LFS pointer.
    """
    file = existing_path(path, key)
    if file.is_dir():
        raise DataError(f"{file}: is a folder, but a file is wanted here; name one of its files in {key}")
    return with_content(file)


def find_files(paths: Sequence[str], key: str) -> list[Path]:
    """The files that paths and globs name, each once, a glob's in natural order: `_2` before `_10`.

    Args:
        key: config key of the paths, for messages.

    Raises:
        DataError: a path is no file, or a glob matches none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if _MAGIC.search(path) and not Path(path).expanduser().exists():
            matches = [Path(match).absolute() for match in glob.glob(str(Path(path).expanduser()), recursive=True)]
            files = sorted((match for match in matches if match.is_file()), key=_natural_order)
            if not files:
                raise DataError(
                    f"{key}: {path!r} matches no file; correct it: a relative path starts at the working directory "
                    f"({Path.cwd()})"
                )
        else:
            files = [existing_path(path, key)]
        found |= dict.fromkeys(files)
    return list(found)


def _natural_order(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(file))
    return [(int(part) if number % 2 else 0, part) for number, part in enumerate(parts)]


def files_below(folder: Path, suffix: str = "") -> list[Path]:
    """The files of a folder, at any depth and in order of name, without hidden ones and those begun with `_`."""
    inside = ((file, file.relative_to(folder).parts) for file in folder.rglob(f"*{suffix}"))
    return sorted(file for file, parts in inside if file.is_file() and not any(part[0] in "._" for part in parts))


def with_content(file: Path) -> Path:
    """The file itself, once it is known to be more than nothing or a pointer.

    Raises:
        DataError: it cannot be opened, is empty or is a Git-LFS pointer.
    """
    start = file_start(file)
    if not start:
        raise DataError(f"{file}: is empty; give a file with data")
    if start.startswith(LFS_POINTER):
        raise DataError(
            f"{file}: is a Git-LFS pointer, not the data; run `git lfs pull` in its repository, or download it again"
        )
    return file


def file_start(file: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(64)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None


@contextmanager
def text_of(file: Path, encoding: str) -> Iterator[TextIO]:
    """Open a file as text, line ends untouched. A UTF-8 byte order mark, as Excel writes it, is skipped.

    Raises:
        DataError: it is no text, the encoding is unknown, or does not fit (names the byte, the line and a likely fix).
    """
    start = file_start(file)
    for magic, meaning in NO_TEXT.items():
        if start.startswith(magic):
            raise DataError(f"{file}: is {meaning}")
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"{file}: data.encoding {encoding!r} is no known encoding; use e.g. utf-8, cp1252, utf-16"
        ) from None
    bom = next((declared for mark, declared in BOMS.items() if start.startswith(mark)), None)
    if bom == "utf-16" and not name.startswith("utf-16"):
        raise DataError(f"{file}: begins with a UTF-16 byte order mark at byte 0; set data.encoding: utf-16")
    try:
        with file.open(encoding="utf-8-sig" if name == "utf-8" else name, newline="") as stream:
            yield stream
    except UnicodeError:
        offset, line = _first_bad_byte(file, name)
        fix = bom or ("cp1252" if name in ("utf-8", "ascii") else "utf-8")
        raise DataError(
            f"{file}: is not {encoding}: byte {offset}, on line {line}, cannot be decoded; set data.encoding to the "
            f"file's own, e.g. {fix}, or save the file as UTF-8"
        ) from None


def _first_bad_byte(file: Path, encoding: str) -> tuple[int, int]:
    """Offset from 0 and line from 1 of the first byte that does not fit."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with file.open("rb") as stream:
        for raw in stream:
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(raw)
            except UnicodeDecodeError as error:
                return offset - waiting + error.start, line
            except UnicodeError:
                return offset, line
            offset += len(raw)
            line += 1
    return offset, max(line - 1, 1)
