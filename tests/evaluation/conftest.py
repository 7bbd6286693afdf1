"""Fixtures of the tests of `r2d.llm`."""

from tests.llm.conftest import server, short_pauses

__all__ = ["server", "short_pauses"]
