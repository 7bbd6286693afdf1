"""Review queues of MLflow: cases go there without the model's answer, and what reviewers say comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.kept import kept_cases
from mlops.review_queue import CASE_TAG, pull_reviews, push_cases
from r2d.errors import DataError
from r2d.review.store import ReviewStore
from r2d.review.verdicts import verdicts_of
from tests.review.conftest import a_case

QUEUE = "ward-reviews"


def test_cases_are_pushed_once_and_assessments_come_back_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    store = ReviewStore(str(tmp_path / "reviews.db"), create=True)
    with pytest.raises(DataError, match="has no case"):
        push_cases(store, QUEUE, [])
    store.add_cases([a_case(case_id) for case_id in "abc"])
    with pytest.raises(DataError, match="no review queue"):
        pull_reviews(store, QUEUE)
    assert push_cases(store, QUEUE, ["ann", "bob"]) == 3
    store.add_cases([a_case("d")])
    assert push_cases(store, QUEUE, []) == 1
    assert pull_reviews(store, QUEUE) == 0

    import mlflow
    from mlflow.entities import AssessmentSource
    from mlflow.genai import review_queues

    experiment = mlflow.get_experiment_by_name(QUEUE).experiment_id
    [queue] = review_queues.list_review_queues(experiment_id=experiment)
    assert queue.users == ["ann", "bob"]
    traces = {
        trace.info.tags[CASE_TAG]: trace
        for trace in mlflow.search_traces(locations=[experiment], return_type="list", max_results=10)
    }
    assert set(traces) == set("abcd")
    assert traces["a"].data.spans[0].inputs == {"note": a_case("a").text}
    assert traces["a"].data.spans[0].outputs is None, "a reviewer does not see the model's answer"
    for case_id, name, value, who in (
        ("a", "label", "emergency now", "ann"),
        ("a", "rationale", "it came suddenly", "ann"),
        ("a", "label", "self care", "bob"),
        ("b", "label", "no such label", "ann"),
        ("c", "rationale", "no label with it", "ann"),
    ):
        source = AssessmentSource(source_type="HUMAN", source_id=who)
        mlflow.log_expectation(trace_id=traces[case_id].info.trace_id, name=name, value=value, source=source)
    review_queues.set_review_queue_item_status(
        queue.queue_id, item_id=traces["d"].info.trace_id, status="declined", completed_by="bob"
    )
    assert pull_reviews(store, QUEUE) == 3
    assert pull_reviews(store, QUEUE) == 0
    other = ReviewStore(str(tmp_path / "other.db"), create=True)
    other.add_cases([a_case("a", text="another call"), a_case("d")])
    assert pull_reviews(other, QUEUE) == 1, "what was said of another text with the id is left out"
    assert [event.kind for event in other.events()] == ["decline"]
    found = {key: (v.outcome, v.blind_label, v.rationale) for key, v in verdicts_of(store.events()).items()}
    assert found == {
        ("ann", 1): ("corrected", "emergency now", "it came suddenly"),
        ("bob", 1): ("corrected", "self care", None),
        ("bob", 4): ("declined", None, None),
    }


def test_a_case_of_a_person_is_found_by_its_id_and_removed_with_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    database = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.chdir(tmp_path)
    store = ReviewStore(str(tmp_path / "reviews.db"), create=True)
    store.add_cases([a_case("a", text="Qanary has pain"), a_case("b")])
    push_cases(store, QUEUE, [])
    store.close()

    def holding_it() -> set[Path]:
        files = {path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("reviews.db")}
        return {path for path in files if b"Qanary" in path.read_bytes()}

    cases = {case.source: case for case in kept_cases(mlflow.MlflowClient())}
    assert set(cases) == {"a", "b"}
    assert {case.kind for case in cases.values()} == {"reviews"}
    assert datetime.now(UTC) - cases["a"].made_at < timedelta(minutes=5)
    assert not (tmp_path / "mlruns").exists(), "the notes lie beside the database, and not where the command was typed"
    assert database in holding_it()
    cases["a"].remove()
    assert [case.source for case in kept_cases(mlflow.MlflowClient())] == ["b"]
    assert holding_it() == set()
    assert pull_reviews(store, QUEUE) == 0
