"""What a page is about and what it was made from: model, version, date, data and code, at the top of every page.

Steps and commands declare it around whatever renders pages, because only they know the run, the registry and the
repository; a page that is rendered outside of such a block says that it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

NOT_KNOWN = "not known"
DIGITS = 12
"""Of a hash; `r2d lineage` has all of them."""


@dataclass(frozen=True)
class PageOrigin:
    """The facts under the title of a page; None where one is not known."""

    model: str | None = None
    """Its name, or why there is none."""
    version: str | None = None
    weights_sha256: str | None = None
    """Of the model folder without what an evaluation leaves in it, so that pages before and after it agree."""
    data_sha256: str | None = None
    made_on: str | None = None
    """Date in UTC, ISO 8601."""
    code_commit: str | None = None
    code_dirty: bool = False
    """Whether files differ from that commit."""

    def facts(self) -> dict[str, str]:
        """Name of each fact -> its text."""
        weights = f", weights {self.weights_sha256[:DIGITS]}" if self.weights_sha256 else ""
        changed = " and changes that are in no commit" if self.code_dirty else ""
        return {
            "Model": f"{self.model or NOT_KNOWN}{weights}",
            "Version": self.version or NOT_KNOWN,
            "Made on": self.made_on or NOT_KNOWN,
            "Data": self.data_sha256[:DIGITS] if self.data_sha256 else NOT_KNOWN,
            "Code": f"commit {self.code_commit[:DIGITS]}{changed}" if self.code_commit else NOT_KNOWN,
        }

    def line(self) -> str:
        """The facts in one line, for a page of Markdown."""
        return "; ".join(f"{name} {value}" for name, value in self.facts().items())


UNKNOWN = PageOrigin()
_CURRENT: ContextVar[PageOrigin] = ContextVar("origin of pages", default=UNKNOWN)


def current_origin() -> PageOrigin:
    """That of the block around the caller."""
    return _CURRENT.get()


@contextmanager
def pages_of(origin: PageOrigin) -> Iterator[None]:
    """Pages that are rendered within the block say that they come from there."""
    token = _CURRENT.set(origin)
    try:
        yield
    finally:
        _CURRENT.reset(token)
