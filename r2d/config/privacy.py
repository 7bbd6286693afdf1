"""Section `validation.privacy`: which text identifies a person, and what is done with it.

It stands alone because the tokenizer of a model from scratch reads it, and the rest of `validation` must not be part of
what both stages are cached by.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from r2d.config.section import Fraction, Section

Recogniser = Literal[
    "phone", "email", "date_of_birth", "health_card", "national_id", "postal_code", "record_number", "person_name"
]


class PrivacyConfig(Section):
    """What to do with text that identifies a person. A net with holes: it replaces no de-identification."""

    policy: Literal["redact", "quarantine", "warn", "off"] = "redact"
    """`redact` replaces a finding by a typed placeholder such as `[PHONE_1]`, the same for the same value in a row."""
    recognisers: tuple[Recogniser, ...] = get_args(Recogniser)
    """What is looked for; by default everything."""
    min_score: Fraction = 0.5
    """Findings below are neither counted nor redacted."""
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "US"
    """ISO country whose national telephone numbers are read without a country code."""
