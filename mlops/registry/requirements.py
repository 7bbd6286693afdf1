"""What a registered model needs to load and predict, with the versions that it was made with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

REQUIREMENTS = (
    "torch", "transformers", "tokenizers", "sentencepiece", "safetensors", "pydantic", "pyyaml", "pyarrow", "pandas",
    "mlflow",
)  # fmt: skip


@contextmanager
def requirements() -> Iterator[list[str]]:
    """The requirements as MLflow takes them: each pinned, and all that they pull in held to the installed versions.

    The list of what they pull in is a file, which is there until the context ends.
    """
    with TemporaryDirectory() as folder:
        pinned = _installed(REQUIREMENTS)
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={pinned[name]}\n" for name in sorted(pinned)), encoding="utf-8")
        yield [*(f"{name}=={pinned[name]}" for name in REQUIREMENTS), f"-c {constraints}"]


@cache
def _installed(names: tuple[str, ...]) -> dict[str, str]:
    """Every installed package that the named ones need, directly or through others -> its version.

    Without the local part of a version, as in `2.13.0+cpu`: an index has only the public one. Extras are left out.
    """
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        found[name] = package.version.split("+")[0]
        needed = [line for line in package.requires or () if not re.search(r"\bextra\b", line)]
        waiting += [match.group() for line in needed if (match := re.match(r"[A-Za-z0-9._-]+", line))]
    return found
