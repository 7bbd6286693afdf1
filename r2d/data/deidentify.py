"""The privacy policy applied to examples: identifiers in their notes and rationales found, and replaced or marked."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import with_columns
from r2d.privacy.deidentify import find_identifiers, redact_together
from r2d.privacy.findings import Finding

FINDINGS_SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for kind, names in (
            (pa.string(), ("id", "field", "recogniser")), (pa.int64(), ("start", "end")), (pa.float64(), ("score",)),
            (pa.int64(), ("row",)),
        )
        for name in names
    ]
)  # fmt: skip
"""One row per finding: `field` is `text` or `rationales.<source>`, offsets count its characters as delivered; `row`
counts the rows of the table that was searched."""


@dataclass(frozen=True, repr=False)
class DeidentifiedExamples:
    """Examples after the policy. It holds notes: its repr never shows them."""

    examples: pa.Table  # identifying text replaced where the policy is `redact`, else unchanged
    findings: pa.Table  # table of `FINDINGS_SCHEMA`

    @property
    def num_findings(self) -> NDArray[np.int64]:
        """Number of findings in the note and the rationales of each row."""
        return np.bincount(self.findings["row"].to_numpy(), minlength=len(self.examples))


def deidentify_examples(examples: pa.Table, config: PrivacyConfig) -> DeidentifiedExamples:
    """Search the notes and their rationales. Equal values of one example get equal placeholders in all its texts."""
    if config.policy == "off":
        return DeidentifiedExamples(examples, FINDINGS_SCHEMA.empty_table())
    ids, texts, rationales = (examples[name].to_pylist() for name in ("id", "text", "rationales"))
    in_text = find_identifiers(examples["text"], config)
    owners = [(row, place) for row, pairs in enumerate(rationales) for place in range(len(pairs))]
    flat = pa.array([rationales[row][place][1] for row, place in owners], pa.string())
    in_rationale = {owners[number]: findings for number, findings in find_identifiers(flat, config).items()}
    records: list[dict[str, object]] = []
    for row in sorted(in_text.keys() | {row for row, _ in in_rationale}):
        sources = [source for source, _ in rationales[row]]
        findings: list[list[Finding]] = [in_text.get(row, [])]
        findings += [in_rationale.get((row, place), []) for place in range(len(sources))]
        for name, in_field in zip(["text", *(f"rationales.{source}" for source in sources)], findings, strict=True):
            records += [{"id": ids[row], "row": row, "field": name} | asdict(finding) for finding in in_field]
        if config.policy == "redact":
            redacted = redact_together([texts[row], *(text for _, text in rationales[row])], findings)
            texts[row], rationales[row] = redacted[0], list(zip(sources, redacted[1:], strict=True))
    if config.policy == "redact" and records:
        examples = with_columns(examples, text=texts, rationales=rationales)
    return DeidentifiedExamples(examples, pa.Table.from_pylist(records, schema=FINDINGS_SCHEMA))
