"""The privacy policy, applied to examples and to rationales that come in later: what is found, hidden or marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from r2d.config.validation import PrivacyConfig
from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.privacy import Finding, find, findings_by_row, redact, redact_together

SHIELD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("recogniser", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
"""One row a finding: `field` is `text` or `rationales.<source>`, offsets count characters of it as delivered."""


@dataclass(frozen=True)
class Shielded:
    """Examples after the policy."""

    examples: pa.Table
    """Identifying text replaced where the policy is `redact`, else as they were."""
    findings: pa.Table
    """Table of `SHIELD_SCHEMA`; it holds no text."""
    is_identifying: np.ndarray
    """Whether something was found in each row."""

    @property
    def num_identifying(self) -> int:
        return int(self.is_identifying.sum())


def hide_identifiers(examples: pa.Table, config: PrivacyConfig) -> Shielded:
    """Look for identifying text in the notes and in the rationales that stand beside them.

    In one example equal values get equal placeholders, in the note and in all its rationales.
    """
    num_rows = len(examples)
    if config.policy == "off":
        return Shielded(examples, SHIELD_SCHEMA.empty_table(), np.zeros(num_rows, dtype=bool))
    pairs = examples["rationales"].to_pylist()
    owners = [(row, place) for row, several in enumerate(pairs) for place in range(len(several))]
    flat = pa.array([pairs[row][place][1] for row, place in owners], pa.string())
    in_text = findings_by_row(find(examples["text"], config))
    in_rationales: dict[int, dict[int, Sequence[Finding]]] = {}
    for number, findings in findings_by_row(find(flat, config)).items():
        row, place = owners[number]
        in_rationales.setdefault(row, {})[place] = findings
    rows = sorted(in_text.keys() | in_rationales.keys())
    found = np.zeros(num_rows, dtype=bool)
    found[rows] = True
    ids = examples["id"]
    table = pa.Table.from_pylist(
        [
            {"id": ids[row].as_py(), "field": name, **_facts(finding)}
            for row in rows
            for name, findings in _by_field(in_text.get(row, ()), in_rationales.get(row, {}), pairs[row])
            for finding in findings
        ],
        schema=SHIELD_SCHEMA,
    )
    if config.policy != "redact" or not rows:
        return Shielded(examples, table, found)
    texts = examples["text"].to_pylist()
    for row in rows:
        several = in_rationales.get(row, {})
        found_in: list[Sequence[Finding]] = [in_text.get(row, ())]
        found_in += [several.get(place, ()) for place in range(len(pairs[row]))]
        texts[row], *rationales = redact_together([texts[row], *(text for _, text in pairs[row])], found_in)
        pairs[row] = [(name, text) for (name, _), text in zip(pairs[row], rationales, strict=True)]
    for name, values in (("text", texts), ("rationales", pairs)):
        field = EXAMPLES_SCHEMA.field(name)
        examples = examples.set_column(EXAMPLES_SCHEMA.get_field_index(name), field, pa.array(values, field.type))
    return Shielded(examples, table, found)


def hide_in_texts(texts: Sequence[str], config: PrivacyConfig) -> list[tuple[str, int]]:
    """Each text after the policy, with the number of findings in it."""
    if config.policy == "off":
        return [(text, 0) for text in texts]
    found = findings_by_row(find(pa.array(texts, pa.string()), config))
    hidden = []
    for row, text in enumerate(texts):
        findings = found.get(row, ())
        hidden.append((redact(text, findings) if config.policy == "redact" else text, len(findings)))
    return hidden


def _by_field(
    in_text: Sequence[Finding], in_rationales: dict[int, Sequence[Finding]], pairs: Sequence[tuple[str, str]]
) -> list[tuple[str, Sequence[Finding]]]:
    beside = [(f"rationales.{pairs[place][0]}", findings) for place, findings in sorted(in_rationales.items())]
    return [("text", in_text), *beside]


def _facts(finding: Finding) -> dict[str, object]:
    return {
        "recogniser": finding.recogniser,
        "start": finding.start,
        "end": finding.end,
        "score": finding.score,
    }
