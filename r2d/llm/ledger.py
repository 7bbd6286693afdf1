"""What has been spent on an answers file over all its runs, and the budgets."""

from __future__ import annotations

import json
from dataclasses import dataclass

from r2d.config.endpoint import EndpointConfig
from r2d.errors import DataError
from r2d.llm.answers import Answers


@dataclass
class BudgetSpent(Exception):  # noqa: N818 -- no error to the one who asks: it ends a run cleanly
    """Nothing more may be sent."""

    key: str
    limit: int
    spent: int


class Ledger:
    """Counts each request before it is sent, in a file beside the answers, so that no crash can lose one.

    Tokens are counted from the answers, which hold them: those of answers in flight are known only on arrival, so the
    budget of tokens may be overshot by what is in flight, at most `max_concurrency` answers.
    """

    def __init__(self, answers: Answers, source: EndpointConfig) -> None:
        """Read the count of earlier runs; where its file is lost, the attempts that the answers tell of.

        Raises:
            DataError: the file is no ledger.
        """
        self.answers, self.source = answers, source
        self.path = answers.path.with_name(answers.path.name + ".ledger.json")
        self.requests = max(self._read(), answers.attempts)
        self.aside = self.path.with_name(self.path.name + ".partial")

    def take(self) -> None:
        """Count one request that is about to be sent.

        Raises:
            BudgetSpent: it must not be sent.
        """
        for key, limit, spent in (
            ("max_requests", self.source.max_requests, self.requests),
            ("max_total_tokens", self.source.max_total_tokens, self.answers.tokens.total),
        ):
            if limit is not None and spent >= limit:
                raise BudgetSpent(key, limit, spent)
        self.requests += 1
        self.aside.write_text(json.dumps({"requests": self.requests}))
        self.aside.replace(self.path)

    def cost(self) -> float:
        """Of all tokens so far, at the configured prices."""
        tokens, source = self.answers.tokens, self.source
        return (tokens.prompt * source.input_price_per_million + tokens.output * source.output_price_per_million) / 1e6

    def _read(self) -> int:
        if not self.path.exists():
            return 0
        try:
            return int(json.loads(self.path.read_text(encoding="utf-8"))["requests"])
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f'{self.path}: expected {{"requests": a number}}, the requests sent so far. Delete the file: they are '
                "then counted from the answers"
            ) from None
