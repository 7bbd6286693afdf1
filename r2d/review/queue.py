"""Which decided calls come for review, by declared rules."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.review import QueueConfig, ReviewConfig
from r2d.errors import DataError
from r2d.inference.calls import Call, read_calls, scan_calls
from r2d.inference.decide import Answerer, AnswerRow
from r2d.reports.progress import Progress
from r2d.review.store import Case, ReviewStore

logger = logging.getLogger(__name__)

REASONS = {
    "handed_over": "the model left its label to a person",
    "under_triage": "a more urgent label is not unlikely",
    "other_label": "the rationale states another label",
    "findings": "the rationale names findings that the note denies or does not mention, or denies one that it reports",
    "lowest_confidence": "the label is among the least probable ones",
    "audit": "drawn by chance",
}
"""Why a call is reviewed; the keys are those of `QueueConfig`."""
CALLS_AT_A_TIME = 64


def fill_queue(store: ReviewStore, config: ReviewConfig, answerer: Answerer, version: str) -> int:
    """Decide the calls of `config.cases`, choose among them, and add those chosen. Returns how many are new.

    Args:
        answerer: the model that decides, or reads the claims of what was decided.
        version: its name.

    Raises:
        DataError: calls or decisions cannot be read, or do not belong together.
    """
    if config.cases is None:
        return 0
    decided = list(_decided(config, answerer, version))
    distinct: dict[str, Case] = {}
    for case in decided:
        distinct.setdefault(case.case_id, case)
    readable = [case for case in distinct.values() if case.answer["label"] is not None]
    if num_repeated := len(decided) - len(distinct):
        logger.warning(
            "%s of %s calls have the id of an earlier one, and are not reviewed; give each call an id of its own",
            num_repeated, len(decided),
        )  # fmt: skip
    if num_unreadable := len(distinct) - len(readable):
        logger.info("%s of %s calls cannot be read by the model, and are not reviewed", num_unreadable, len(decided))
    return store.add_cases(choose(readable, config.queue, is_ordered=answerer.predictor.labels.is_ordered))


def choose(cases: Sequence[Case], config: QueueConfig, *, is_ordered: bool) -> list[Case]:
    """The cases to review, with their reasons, in the order in which they are shown."""
    confidence = {case.case_id: case.answer["label_probabilities"].get(case.answer["label"] or "") for case in cases}
    ranked = sorted((value, case_id) for case_id, value in confidence.items() if value is not None)
    least = {case_id for _, case_id in ranked[: round(config.lowest_confidence * len(ranked))]}
    meets: dict[str, Callable[[Case], bool]] = {
        "handed_over": lambda case: bool(case.answer["handed_over"]),
        "under_triage": lambda case: is_ordered and _more_urgent(case) >= config.under_triage_probability,
        "other_label": lambda case: bool(case.answer["other_labels_stated"]),
        "findings": lambda case: bool(case.answer["contradicted_findings"] or case.answer["unmentioned_findings"]),
        "audit": lambda case: True,
    }
    chosen = []
    for case in cases:
        reasons = [
            reason
            for reason, applies in meets.items()
            if applies(case) and _draw(config.seed, reason, case) < getattr(config, reason)
        ]
        reasons += ["lowest_confidence"] if case.case_id in least else []
        if reasons:
            ordered = [reason for reason in REASONS if reason in reasons]
            is_second = _draw(config.seed, "second_reading", case) < config.second_reading
            chosen.append(Case(**vars(case) | {"reasons": ordered, "for_everyone": is_second}))
    chosen.sort(key=lambda case: _draw(config.seed, "order", case))
    return chosen[: config.max_cases]


def _more_urgent(case: Case) -> float:
    """The probability of all labels above the one decided."""
    label = case.answer["label"]
    if label is None or label not in case.labels:
        return 0.0
    probabilities = case.answer["label_probabilities"]
    return float(sum(probabilities.get(name, 0.0) for name in case.labels[: list(case.labels).index(label)]))


def _draw(seed: int, what: str, case: Case) -> float:
    """A number in [0, 1) that depends on the seed, what is drawn and the case alone."""
    digest = hashlib.blake2b(f"{seed}:{what}:{case.case_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _decided(config: ReviewConfig, answerer: Answerer, version: str) -> Iterator[Case]:
    """Every call with its answer."""
    assert config.cases is not None, "the caller has looked"
    num_calls = scan_calls(config.cases).num_rows
    calls = enumerate(read_calls(config.cases), 1)
    rows = None if config.decisions is None else _rows_of(Path(config.decisions))
    with Progress("calls to review", num_calls, unit="calls") as progress:
        while part := list(islice(calls, CALLS_AT_A_TIME)):
            if rows is None:
                answers = [(answer.as_row(), version) for answer in answerer.answer([call for _, call in part])]
            else:
                answers = [_answer_of(call, next(rows, None), str(config.decisions)) for _, call in part]
            for (_, call), (answer, model) in zip(part, answers, strict=True):
                yield _case(call, answer, answerer, model)
            progress.update(part[-1][0])
    if rows is not None and next(rows, None) is not None:
        raise DataError(f"review.decisions {config.decisions}: has more rows than review.cases; give those of one file")


def _case(call: Call, answer: AnswerRow, answerer: Answerer, model: str) -> Case:
    text = call.text or ""
    declared = answerer.predictor.labels.declared
    return Case(
        case_id=call.id or f"text {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}",
        text=text,
        labels=list(declared.names if declared is not None else dict.fromkeys(call.options or ())),
        answer=answer,
        model=model,
        reasons=[],
        for_everyone=False,
    )


def _rows_of(decisions: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(decisions) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"review.decisions {decisions}: cannot be read ({type(error).__name__}); give the Parquet file that "
            "`r2d predict-file` wrote"
        ) from None


def _answer_of(call: Call, row: dict[str, Any] | None, decisions: str) -> tuple[AnswerRow, str]:
    """The answer that a row of the decisions holds, and the model that gave it."""
    if row is None or row["id"] != call.id or row["text_characters"] != (None if call.text is None else len(call.text)):
        raise DataError(
            f"review.decisions {decisions}: its rows are not those of review.cases (ids or lengths differ); give the "
            "calls that were decided, unchanged and in their order"
        )
    names = [name for name in AnswerRow.__annotations__ if name != "valid"]
    if missing := [name for name in (*names, "model") if name not in row]:
        raise DataError(
            f"review.decisions {decisions}: was written by an earlier version (it has no {', '.join(missing)}); decide "
            "the calls again"
        )
    probabilities = dict(row["label_probabilities"])
    made = {"label_probabilities": probabilities, "valid": row["label"] in probabilities}
    return cast(AnswerRow, {name: row[name] for name in names} | made), str(row["model"])
