"""A database of reviews with a few decided cases, and a service with the review page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r2d.config.review import ReviewConfig
from r2d.config.serving import ServingConfig
from r2d.inference.decide import Answerer
from r2d.review.pages import ReviewPages
from r2d.review.store import Case, ReviewStore
from r2d.serving.batching import ServedModel
from r2d.serving.service import Service
from tests.serving.conftest import Running, running

LABELS = ["emergency now", "self care"]
Review = Callable[..., Running]


def a_case(case_id: str, text: str = "pt reports fever for 3 days. No rash.", **changed: Any) -> Case:
    answer = {
        "label": "self care", "valid": True, "label_probabilities": {"emergency now": 0.2, "self care": 0.8},
        "rationale": "fever is present", "handed_over": False, "why": None, "contradicted_findings": [],
        "unmentioned_findings": [], "other_labels_stated": [], "remarks": [],
    }  # fmt: skip
    case = Case(case_id, text, LABELS, answer, "toy/1", ["audit"], True)
    return replace(case, **changed)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewStore]:
    """With the cases 1 to 3, of the ids a, b and c."""
    monkeypatch.setattr("r2d.review.store.SECONDS_LOCKED", 0.2)
    store = ReviewStore(str(tmp_path / "reviews.db"), create=True)
    store.add_cases([a_case(case_id) for case_id in "abc"])
    yield store
    store.close()


@pytest.fixture(scope="session")
def model(stage2_model: Path) -> ServedModel:
    return ServedModel("toy/1", Answerer.of_model(stage2_model))


@pytest.fixture
def review(model: ServedModel, store: ReviewStore) -> Iterator[Review]:
    """A function that starts the service with the page for that database; all end with the test."""
    contexts = []

    def start(blind: bool = True, **config: Any) -> Running:
        settings = ReviewConfig(database="unused", blind=blind)
        service = Service(ServingConfig(review=settings, **config), model)
        service.add_pages = ReviewPages(settings, store, service).add_to
        contexts.append(running(service))
        return contexts[-1].__enter__()

    yield start
    for context in reversed(contexts):
        context.__exit__(None, None, None)
