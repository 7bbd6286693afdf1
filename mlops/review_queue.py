"""Cases in a review queue of MLflow (from 3.14 on, experimental there), and what was said there read back.

A queue has an experiment of its own name. A case is a trace whose input is the note; the model's answer is not in it.
Reviewers answer two questions, `label` and `rationale`. The tracking server is that of the pipeline, or its SQLite
file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mlops.tracking import configure_mlflow, experiment_id
from r2d.errors import DataError
from r2d.review.imports import BlindReview, add_blind_reviews
from r2d.review.store import ReviewStore

CASE_TAG = "r2d.case_id"
ITEMS_PER_CALL = 100


def push_cases(store: ReviewStore, queue: str, reviewers: Sequence[str]) -> int:
    """Put cases into a queue, which is made where there is none; returns how many are new to it.

    Raises:
        DataError: there is no case, or the cases have different labels.
    """
    cases = store.cases()
    options = {tuple(case.labels) for case in cases}
    if len(options) != 1:
        raise DataError(
            "the database has no case"
            if not cases
            else "the cases have labels of their own, and a review queue of "
            "MLflow has one list for all; review them on the page of `r2d serve --review`"
        )
    configure_mlflow()
    import mlflow
    from mlflow.genai import label_schemas, review_queues

    client = mlflow.MlflowClient()
    experiment = experiment_id(client, queue)
    there = _queue_of(experiment, queue)
    if there is None:
        questions = {
            "label": label_schemas.InputCategorical(options=list(options.pop())),
            "rationale": label_schemas.InputText(),
        }
        schemas = [
            label_schemas.create_label_schema(name=name, type="expectation", input=answer, experiment_id=experiment)
            for name, answer in questions.items()
        ]
        there = review_queues.create_review_queue(
            queue, queue_type="custom", users=list(reviewers), experiment_id=experiment,
            schema_ids=[schema.schema_id for schema in schemas],
        )  # fmt: skip
    known = {case_id for _, case_id, _ in _items(there.queue_id)}
    traces = []
    for case in cases:
        if case.case_id not in known:
            span = client.start_trace(
                "call", inputs={"note": case.text}, tags={CASE_TAG: case.case_id}, experiment_id=experiment
            )
            client.end_trace(span.trace_id)
            traces.append(span.trace_id)
    mlflow.flush_trace_async_logging()
    for start in range(0, len(traces), ITEMS_PER_CALL):
        review_queues.add_items_to_review_queue(there.queue_id, item_ids=traces[start : start + ITEMS_PER_CALL])
    return len(traces)


def pull_reviews(store: ReviewStore, queue: str) -> int:
    """Add the answers of a queue's reviewers as reviews, and return how many are new. An item that was declined is a
    case that its reviewer does not judge.

    Raises:
        DataError: there is no such queue.
    """
    configure_mlflow()
    import mlflow

    experiment = mlflow.MlflowClient().get_experiment_by_name(queue)
    there = None if experiment is None else _queue_of(experiment.experiment_id, queue)
    if there is None:
        raise DataError(f"MLflow has no review queue {queue!r}; make it with `r2d review push`")
    return add_blind_reviews(store, _reviews(there.queue_id))


def _queue_of(experiment: str, name: str) -> Any:
    """The queue of that name; None where there is none."""
    from mlflow.genai import review_queues

    queues = review_queues.list_review_queues(experiment_id=experiment)
    return next((queue for queue in queues if queue.name == name), None)


def _items(queue_id: str) -> Iterator[tuple[Any, str, Any]]:
    """Each item, the id of its case, and its trace."""
    import mlflow
    from mlflow.genai import review_queues

    token: str | None = None
    while True:
        page = review_queues.list_review_queue_items(queue_id, max_results=ITEMS_PER_CALL, page_token=token)
        for item in page:
            trace = mlflow.get_trace(item.item_id)
            if trace is not None and (case_id := trace.info.tags.get(CASE_TAG)):
                yield item, case_id, trace
        token = page.token
        if not token:
            return


def _reviews(queue_id: str) -> Iterator[BlindReview]:
    for item, case_id, trace in _items(queue_id):
        said: dict[str, dict[str, str]] = {}
        for assessment in trace.info.assessments or []:
            if assessment.valid and assessment.expectation is not None:
                answers = said.setdefault(assessment.source.source_id, {})
                answers[assessment.name] = assessment.expectation.value
                answers["at"] = datetime.fromtimestamp(assessment.last_update_time_ms / 1000, UTC).isoformat()
        note = (trace.data.spans[0].inputs or {}).get("note") if trace.data.spans else None
        for reviewer, answers in said.items():
            if answers.get("label"):
                yield BlindReview(case_id, reviewer, answers["label"], answers.get("rationale"), answers["at"], note)
        if item.status == "declined" and item.completed_by:
            yield BlindReview(case_id, item.completed_by, None, text=note)
