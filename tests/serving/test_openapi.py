"""The service against its own OpenAPI document: requests made from it, right ones and wrong ones, find no fault."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from tests.serving.conftest import Serve

PATHS = {"/v1/decide", "/v1/decide/stream", "/healthz", "/readyz", "/metrics"}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_answers_to_right_and_wrong_requests_are_as_the_document_says(serve: Serve, mode: GenerationMode) -> None:
    """No status, content type or body that it does not name, no server error, no wrong request taken."""
    service = serve(max_characters=200)
    schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    tried = dict.fromkeys(PATHS, 0)
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not list(operation.body):
            continue

        @settings(
            max_examples=15, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: schemathesis.Case) -> None:
            tried[case.operation.path] += 1
            case.call_and_validate(checks=CHECKS.get_all())

        holds()
    posted = [tried[path] for path in ("/v1/decide", "/v1/decide/stream")]
    assert min(posted) >= 10, tried
    assert mode is GenerationMode.NEGATIVE or min(tried.values()) >= 1
    assert service.client.get("/readyz").text == "ready\n"
