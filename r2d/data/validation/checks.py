"""The expectations: what each asks, what to do when it is not met, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from r2d.config.validation import Severity

CHECKS: dict[str, tuple[str, str]] = {
    "id_present": ("every row has an id", "give each row its own id, or correct data.columns.id"),
    "id_unique": ("every id is there once", "give each row its own id, or correct data.columns.id"),
    "split_known": (
        "every split is train, validation or test",
        "correct the rows (val, valid and dev are understood), or remove data.columns.split to have them divided",
    ),
    "text_present": ("every text has a word", "fill in or remove these rows, or correct data.columns.text"),
    "label_declared": ("every label is allowed", "correct the rows, or declare the label in data.labels.names"),
    "text_length": ("texts have a usual length", "look for cut or joined notes; the limits are in validation"),
    "rationale_length": (
        "rationales have a usual length",
        "look for cut or joined cells; the limits are in validation",
    ),
    "control_characters": (
        "texts hold no control characters",
        "export the notes as UTF-8 again; they come from terminals, fonts or failed decoding",
    ),
    "mojibake": (
        "texts were decoded with their own encoding",
        "set data.encoding to that of the file, or export it as UTF-8 again",
    ),
    "rationale_equals_text": ("no rationale is the text itself", "correct data.columns.rationales"),
    "exact_duplicate": ("no text stands twice in a split", "remove the repeats; they count twice in training"),
    "near_duplicate": ("no text is nearly another of its split", "look whether they are copies or edits of one note"),
    "label_conflict": ("equal texts have equal labels", "decide which label is right; no model can learn both"),
    "text_across_splits": (
        "no text stands in two splits",
        "give the rows one data.columns.group, or quarantine them: the row nearer to training is then taken out",
    ),
    "near_duplicate_across_splits": (
        "no text is nearly one of another split",
        "give the rows one data.columns.group, or quarantine them: the row nearer to training is then taken out",
    ),
    "group_across_splits": (
        "no patient or caller stands in two splits",
        "give all rows of a group the same split, or remove data.columns.split to have them divided",
    ),
    "privacy": (
        "texts and rationales identify nobody",
        "de-identify the source; or set validation.privacy.policy to redact or quarantine",
    ),
    "token_limit": (
        "the token limits cut few texts",
        "raise model.max_input_tokens or model.max_rationale_tokens, or shorten the notes",
    ),
    "language": ("the texts are in the declared language", "set validation.language, or look for a wrong column"),
    "labels_in_every_split": ("every label occurs in every split", "bring more rows of it, or other splits"),
    "label_balance": ("the splits have the labels of the whole", "let data.split divide the rows, by label"),
    "rationale_coverage": ("sources cover the rows they should", "deliver the missing rationales, or lower the limit"),
    "label_drift": ("labels are distributed as in the reference", "find out what changed before training on it"),
    "length_drift": ("text lengths are distributed as in the reference", "find out what changed before training on it"),
}
"""Expectation -> what it asks, and what to do when it is not met."""

SHOWN_ROWS = 5


@dataclass(frozen=True)
class Check:
    """One expectation and how the data met it."""

    name: str
    severity: Severity
    num_unexpected: int = 0
    """Rows, or figures of the table, that do not meet it."""
    found: tuple[str, ...] = ()
    """The first of them: place and id of a row, or the figure beside its limit; never the text of a note."""
    rows: tuple[int, ...] = field(default=(), repr=False)
    """Indices of the rows in the table that was checked."""
    allowed: str = ""
    """What would meet it, where that is a list of the config."""
    not_measured: str = ""
    """Why there is no result, where there is none."""

    @property
    def passed(self) -> bool:
        return self.num_unexpected == 0 and not self.not_measured

    @property
    def title(self) -> str:
        return CHECKS[self.name][0]

    @property
    def fix(self) -> str:
        """What to do about it."""
        return f"allowed: {self.allowed}; {CHECKS[self.name][1]}" if self.allowed else CHECKS[self.name][1]

    @property
    def outcome(self) -> str:
        """`ok`, `not measured`, or what the severity says happened."""
        if self.not_measured:
            return "not measured"
        return "ok" if self.passed else str(self.severity)

    def line(self) -> str:
        """One line for a message."""
        more = self.num_unexpected - len(self.found)
        shown = "; ".join(self.found) + (f"; and {more:,} more" if more > 0 else "")
        what = f"{self.num_unexpected:,} row(s)" if self.rows else "the table"
        return f"{self.name} ({self.title}): {what}: {self.not_measured or shown}; {self.fix}"

    def as_json(self) -> dict[str, Any]:
        """For `result.json`."""
        return {
            "name": self.name,
            "title": self.title,
            "severity": self.severity,
            "outcome": self.outcome,
            "num_unexpected": self.num_unexpected,
            "found": list(self.found),
            "not_measured": self.not_measured,
        }
