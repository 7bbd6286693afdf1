"""Files before any format: finding them, checking that they hold data, and decoding their bytes to text.

Every message names the absolute path, the config key and the fix, and quotes nothing of the content.
"""

from __future__ import annotations

import codecs
import glob
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from r2d.errors import DataError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
BINARY_FORMATS = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip file, perhaps an Excel workbook: unpack it, or save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV UTF-8",
    b"\x1f\x8b": "a gzip file: decompress it",
}
"""First bytes of files that are often taken for text -> what they are, and the fix."""
BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8"}


def existing_path(path: str, key: str = "data.path") -> Path:
    """The absolute path of the file or folder that a config key names.

    Raises:
        DataError: it does not exist.
    """
    absolute = Path(path).expanduser().absolute()
    if not absolute.exists():
        raise DataError(
            f"{absolute}: no such file or folder ({key} is {path!r}); correct {key}: a relative path starts at the "
            "working directory"
        )
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


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(64)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None


@contextmanager
def open_text(
    file: Path, encoding: str = "utf-8", *, key: str = "data", fixed_encoding: bool = False
) -> Iterator[TextIO]:
    """Open a file as text, line ends untouched; a UTF-8 byte order mark, as Excel writes it, is skipped.

    Args:
        key: config section that declares the file.
        fixed_encoding: whether the section has no key `encoding`, so that only the file can be changed.

    Raises:
        DataError: the file is binary, the encoding is unknown or does not fit (names the byte, the line
            and a likely fix). Raised while the block reads, too.
    """
    start = _first_bytes(file)
    for magic, meaning in BINARY_FORMATS.items():
        if start.startswith(magic):
            fix = f": set {key}.format: parquet where it can be, or save it as text" if magic == b"PAR1" else ""
            raise DataError(f"{file}: is {meaning}{fix}")
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"{file}: {key}.encoding {encoding!r} is no known encoding; use e.g. utf-8, cp1252, utf-16"
        ) from None
    bom = next((declared for mark, declared in BOMS.items() if start.startswith(mark)), None)
    if bom == "utf-16" and not name.startswith("utf-16"):
        fix = "save the file as UTF-8" if fixed_encoding else f"set {key}.encoding: utf-16"
        raise DataError(f"{file}: begins with a UTF-16 byte order mark at byte 0; {fix}")
    with file.open("rb") as raw, io.TextIOWrapper(raw, "utf-8-sig" if name == "utf-8" else name, newline="") as stream:
        try:
            yield stream
        except UnicodeError as error:
            offset = 0
            if isinstance(error, UnicodeDecodeError):  # `error.object` ends where the file was read to
                offset = raw.tell() - len(error.object) + error.start
            raw.seek(0)
            line = raw.read(offset).count(b"\n") + 1
            likely = bom or ("cp1252" if name in ("utf-8", "ascii") else "utf-8")
            fix = f"set {key}.encoding to the file's own, e.g. {likely}, or save the file as UTF-8"
            if fixed_encoding:
                fix = f"it may be {likely}: save the file as UTF-8"
            raise DataError(
                f"{file}: is not {encoding}: byte {offset}, on line {line}, cannot be decoded; {fix}"
            ) from None
