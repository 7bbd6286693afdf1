"""Section `judge`: a language model that scores the rationales of a model by a rubric."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from r2d.config.endpoint import EndpointConfig
from r2d.config.section import Name


class JudgeConfig(EndpointConfig):
    """The judge: any OpenAI-compatible endpoint. Without this section no note leaves, and nothing is judged."""

    rubric: Name
    """YAML file of criteria, such as `configs/rubrics/rationale.yaml`."""
    votes: Annotated[int, Field(ge=1, le=20)] = 3
    """How often each rationale is judged, each time with the criteria in another order."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Judge only that many rows (the first by hash of the id); all by default."""
    human_scores: Name | None = None
    """CSV of `id,criterion,score,rater`: what people gave to the same rationales; the agreement is reported."""
    response_format: Literal["json_object"] | None = "json_object"
    """Asks the endpoint to write nothing but JSON; not sent where null: some servers refuse it."""
    reasoning_tags: tuple[Name, ...] = ("think", "thinking")
    """Tags whose content is removed from an answer before scores are looked for."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 1_024
    """A sentence and a score for each criterion, and room for a model that reasons first."""
