"""Asks an OpenAI-compatible endpoint for the rationales that are still missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from r2d.config.rationales import EndpointSource
from r2d.errors import GenerationError
from r2d.llm.answers import Answers
from r2d.llm.asking import Asking
from r2d.llm.endpoint import Endpoint
from r2d.llm.ledger import BudgetSpent, Ledger
from r2d.llm.progress import GenerationSummary, OnProgress, Progress
from r2d.llm.stopping import Interrupted, Stop, stopped_by_signals
from r2d.rationales.generation.requests import RequestList, Requests
from r2d.signals import leave

logger = logging.getLogger(__name__)


def generate(
    examples: pa.Table,
    source: EndpointSource,
    labels: Sequence[str],
    answers: Path,
    *,
    on_progress: OnProgress | None = None,
) -> GenerationSummary:
    """Ask for every example of the source's splits that `answers` does not settle yet; each answer is appended at once.

    A request is known by the example's id and the hash of its body: an edited prompt, model or note asks anew, and
    going back to an earlier one costs nothing. Killed at any point, it loses at most what was in flight.

    Args:
        examples: table of `EXAMPLES_SCHEMA`, with the training split even where it is not asked: it solves examples.
        labels: all labels, in order.
        answers: JSON Lines; beside it stand a lock and the count of requests, `.lock` and `.ledger.json`.
        on_progress: receives the figures every few seconds and at the end.

    Raises:
        ConfigError: prompt file, address or key are faulty; nothing was sent.
        DataError: ids, solved examples, or the answers file are faulty; nothing was sent.
        GenerationError: another process writes this file, a budget is spent, or the endpoint fails.
        KeyboardInterrupt, SystemExit: SIGINT or SIGTERM, once what was in flight is written.
    """
    return ask_all(Requests(examples, source, labels), answers, on_progress=on_progress)


def ask_all(requests: RequestList, answers: Path, *, on_progress: OnProgress | None = None) -> GenerationSummary:
    """Ask every request that `answers` does not settle yet, of whatever kind; see `generate`.

    Raises:
        ConfigError, DataError, GenerationError, KeyboardInterrupt, SystemExit: as `generate`.
    """
    source = requests.source
    with Answers(answers) as opened:
        ledger = Ledger(opened, source)
        progress = Progress(source.model, len(requests), opened, ledger, on_progress)
        missing = _missing(requests, opened, progress)
        reason = asyncio.run(_ask(requests, missing, opened, ledger, progress)) if missing else None
        progress.show()
        summary = progress.summary()
    _raise(reason, summary, answers)
    if summary.num_failed or summary.num_gave_up:
        logger.warning(
            "%s: %d requests were refused and %d ran out of retries; running again asks the latter again",
            answers, summary.num_failed, summary.num_gave_up,
        )  # fmt: skip
    return summary


def _missing(requests: RequestList, answers: Answers, progress: Progress) -> list[int]:
    """Places of the requests that are not settled; each prompt is made here, so that a faulty one shows unpaid."""
    missing = []
    for place, key in enumerate(requests.hashes()):
        answered = answers.settled.get(key)
        if answered is None:
            missing.append(place)
        elif answered:
            progress.reused_answers += 1
        else:
            progress.reused_failures += 1
    if len(missing) < len(requests):
        logger.info("%s: %d of %d are settled already", answers.path, len(requests) - len(missing), len(requests))
    return missing


async def _ask(
    requests: RequestList, missing: Sequence[int], answers: Answers, ledger: Ledger, progress: Progress
) -> Exception | None:
    """Ask, and return why it ended early, if it did."""
    stop = Stop()
    async with Endpoint(requests.source) as endpoint:
        with stopped_by_signals(stop):
            await Asking(requests, endpoint, answers, ledger, progress, stop).ask(missing)
    return stop.reason


def _raise(reason: Exception | None, summary: GenerationSummary, answers: Path) -> None:
    """End as the reason demands, with how far it got."""
    if reason is None:
        return
    reached = f"{summary.num_answered} of {summary.total} have an answer in {answers}, {summary.num_left} are left"
    if isinstance(reason, BudgetSpent):
        raise GenerationError(
            f"{reason.key}: the budget of {reason.limit:,} is spent ({reason.spent:,} over all runs); {reached}. Raise "
            f"{reason.key} and run again: it goes on where it stopped"
        )
    if isinstance(reason, Interrupted):
        logger.warning("interrupted by %s; %s. Run again: it goes on where it stopped", reason, reached)
        leave(reason.number)
    raise reason
