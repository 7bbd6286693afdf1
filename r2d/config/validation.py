"""Section `validation`: what the examples are held against, and what happens to a row that does not meet it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from r2d.config.privacy import PrivacyConfig
from r2d.config.section import Fraction, Name, Section

Severity = Literal["error", "quarantine", "warn", "off"]
"""`error` stops the run, `quarantine` sets the row aside with the reason, `warn` reports, `off` does not look."""

RowCheck = Literal[
    "id_present", "id_unique", "split_known", "text_present", "label_declared", "text_length", "rationale_length",
    "control_characters", "mojibake", "markup", "rationale_equals_text", "exact_duplicate", "near_duplicate",
    "label_conflict", "text_across_splits", "near_duplicate_across_splits", "group_across_splits",
]  # fmt: skip
"""Expectations about one row."""

TableCheck = Literal[
    "token_limit", "language", "labels_in_every_split", "label_balance", "rationale_coverage", "label_drift",
    "length_drift",
]  # fmt: skip
"""Expectations about shares of a whole table: there is no row to set aside, so `quarantine` is not offered."""

_ERRORS = (
    "id_present", "id_unique", "split_known", "text_present", "label_declared", "text_across_splits",
    "group_across_splits",
)  # fmt: skip
DEFAULT_SEVERITIES: dict[str, Severity] = {
    check: "error" if check in _ERRORS else "warn" for check in (*get_args(RowCheck), *get_args(TableCheck))
}


class ValidationConfig(Section):
    """Great Expectations suite over the examples, built from this section."""

    severities: dict[RowCheck | TableCheck, Severity] = {}
    """Expectation -> `error`, `quarantine`, `warn` or `off`, where the default is not wanted."""
    privacy: PrivacyConfig = PrivacyConfig()
    min_text_characters: Annotated[int, Field(ge=1)] = 10
    """Shortest text that passes `text_length`."""
    max_text_characters: Annotated[int, Field(ge=1)] = 50_000
    """Longest text that passes `text_length`."""
    min_rationale_characters: Annotated[int, Field(ge=1)] = 10
    """Shortest rationale that passes `rationale_length`."""
    max_rationale_characters: Annotated[int, Field(ge=1)] = 10_000
    """Longest rationale that passes `rationale_length`."""
    max_cut_share: Fraction = 0.05
    """Of texts, and of rationales, that `model.max_input_tokens` and `model.max_rationale_tokens` would cut."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"
    """ISO 639-1 code of the language the notes should be in."""
    min_language_share: Fraction = 0.9
    """Share of the notes that must be in that language."""
    near_duplicate_similarity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Jaccard similarity of word triples above which two texts are near duplicates."""
    max_label_divergence: Fraction = 0.1
    """Jensen-Shannon divergence (bits) of a split's labels from those of all rows."""
    min_rationale_coverage: Fraction = 0.0
    """Share of rows with a rationale, for each source that the data brings."""
    reference: Name | None = None
    """`result.json` of an earlier validation, to measure drift against."""
    max_drift: Annotated[float, Field(gt=0.0)] = 0.2
    """Population stability index of labels, and of text lengths, against the reference."""

    @model_validator(mode="after")
    def _sound(self) -> ValidationConfig:
        for check, severity in self.severities.items():
            if severity == "quarantine" and check in get_args(TableCheck):
                raise ValueError(
                    f"severities.{check} 'quarantine': this looks at the whole table and has no row to set aside; "
                    "allowed: 'error', 'warn', 'off'"
                )
        for kind in ("text", "rationale"):
            low, high = getattr(self, f"min_{kind}_characters"), getattr(self, f"max_{kind}_characters")
            if low > high:
                raise ValueError(f"min_{kind}_characters {low} is above max_{kind}_characters {high}")
        return self

    def files(self) -> list[tuple[str, str]]:
        """Config key and path of every file that the validation reads."""
        return [] if self.reference is None else [("validation.reference", self.reference)]

    @staticmethod
    def checks() -> tuple[str, ...]:
        """Every expectation, in the order of reports."""
        return tuple(DEFAULT_SEVERITIES)

    def severity(self, check: str) -> Severity:
        """The severity of an expectation: as configured, else its default."""
        configured: dict[str, Severity] = {str(name): severity for name, severity in self.severities.items()}
        return configured.get(check, DEFAULT_SEVERITIES[check])
