"""What every use of an OpenAI-compatible endpoint declares: the address, the model, its limits and its budgets."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from r2d.config.section import Name, Section


class EndpointConfig(Section):
    """An OpenAI-compatible endpoint; every answer is kept, and none is asked for twice."""

    base_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """Such as `http://127.0.0.1:8000/v1`."""
    model: Name
    """Name of the model, as the endpoint calls it."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    """Name of the environment variable that holds the key; none for a server without one. Never the key itself."""
    temperature: Annotated[float, Field(ge=0.0)] | None = 0.0
    """Not sent where null: some models refuse it."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 512
    """Longest answer."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls that limit."""
    seed: int = 42
    """Of what is drawn for a request, and sent with it."""
    max_concurrency: Annotated[int, Field(ge=1)] = 8
    """Requests under way at once."""
    timeout_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    """Patience with one request."""
    max_retries: Annotated[int, Field(ge=0)] = 5
    """Of one request on 408, 409, 429, 5xx, a timeout or a broken connection; with growing, random pauses."""
    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Budget of requests, retries included, over all runs that share the answers."""
    max_total_tokens: Annotated[int, Field(ge=1)] | None = None
    """Budget of prompt and output tokens, over all runs that share the answers."""
    input_price_per_million: Annotated[float, Field(ge=0.0)] = 0.0
    """Price of a million prompt tokens, in any currency, for the cost shown."""
    output_price_per_million: Annotated[float, Field(ge=0.0)] = 0.0
    """Price of a million output tokens, in the same currency."""


def model_family(model: str) -> str:
    """The family that the name of a model begins with, such as `llama` of `meta-llama/Llama-3.1-8B`: its letters before
    the first digit or sign, behind the last slash. A renamed model is not recognised."""
    found = re.match(r"[a-z]+", model.rsplit("/", 1)[-1].lower())
    return found.group() if found else model
