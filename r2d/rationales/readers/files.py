"""The text of a source's file, or why it holds none."""

from __future__ import annotations

from pathlib import Path

from r2d.data.readers.files import BINARY_FORMATS, BOMS, LFS_POINTER, existing_file
from r2d.errors import DataError


def read_text(file: Path, key: str, encoding: str = "utf-8", *, may_be_empty: bool = False) -> str:
    """The text of a file, line ends untouched and without a byte order mark.

    Args:
        key: config key of the source, for messages.

    Raises:
        DataError: it is missing, a folder, empty, a Git-LFS pointer or no text, or its encoding is another.
    """
    if not (may_be_empty and file.is_file() and file.stat().st_size == 0):
        existing_file(str(file), f"{key}.paths")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check its permissions") from None
    _check_is_text(raw, file)
    text = _decoded(raw, file, key, encoding)
    if "\0" in text[:4096]:
        raise DataError(
            f"{file}: holds NUL characters: it is binary, or UTF-16 without its byte order mark; save it as UTF-8"
        )
    if not text.strip() and not may_be_empty:
        raise DataError(f"{file}: is empty but for spaces and line breaks; give a file with data")
    return text


def _check_is_text(raw: bytes, file: Path) -> None:
    for magic, meaning in BINARY_FORMATS.items():
        if raw.startswith(magic):
            raise DataError(f"{file}: is {meaning.split(':')[0]}, not text; give the text export that it was made from")
    if raw.startswith(LFS_POINTER):
        raise DataError(f"{file}: is a Git-LFS pointer, not the data; run `git lfs pull` in its repository")


def _decoded(raw: bytes, file: Path, key: str, encoding: str) -> str:
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            f"{file}: {key}.encoding {encoding!r} is no known encoding; use e.g. utf-8, cp1252, utf-16"
        ) from None
    except UnicodeError as error:
        place = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = raw.count(b"\n", 0, place) + 1
        likely = next((name for mark, name in BOMS.items() if raw.startswith(mark)), None)
        likely = likely or ("cp1252" if encoding.casefold().startswith("utf") else "utf-8")
        raise DataError(
            f"{file}: is not {encoding}: byte {place}, on line {line}, cannot be decoded; "
            f"it may be {likely}: save the file as UTF-8, or, where the format has it, set {key}.encoding"
        ) from None
