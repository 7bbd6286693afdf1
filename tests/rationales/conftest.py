"""Fixtures of other packages' tests."""

from tests.llm.conftest import server

__all__ = ["server"]
