"""The checks on a rationale beside its text and its gold label, and what each asks to be done."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from r2d.config.rationales import QualityConfig
from r2d.rationales.grounding import Findings, contains_label, copied_share, load_findings, mask_label, ungrounded
from r2d.rationales.records import Reason
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.rationales.candidates import Candidate

CHECKS: tuple[Reason, ...] = (
    "disagrees_with_gold", "too_short", "too_long", "copies_text", "repeated", "ungrounded", "leaks_label",
)  # fmt: skip


class QualityChecks:
    """The checks of one source, ready to be held against its rationales."""

    def __init__(self, config: QualityConfig, candidates: Iterable[Candidate]) -> None:
        self.config = config
        self.findings = _shipped() if config.findings_file is None else load_findings(Path(config.findings_file))
        texts_of: dict[str, set[str]] = {}
        for candidate in candidates:
            texts_of.setdefault(normalise_label(candidate.rationale), set()).add(normalise_label(candidate.text))
        self.num_texts = Counter({rationale: len(texts) for rationale, texts in texts_of.items()})

    def hold(self, candidate: Candidate) -> None:
        """Write into a candidate which checks it passed and which it did not; drop, flag or mask it as configured."""
        failed = dict(self._failed(candidate))
        for check in CHECKS:
            action = getattr(self.config, check)
            if check == "disagrees_with_gold" and candidate.label is None and not candidate.stated_label:
                continue
            if check not in failed:
                candidate.checks_passed.append(check)
            elif action == "drop":
                candidate.reject(check, failed[check])
            elif action == "mask":
                candidate.rationale = mask_label(candidate.rationale, candidate.gold)
                candidate.edits.append("label masked")
                candidate.faults.append(check)
            else:
                candidate.faults.append(check)
                if action == "flag":
                    candidate.flags.append(check if not failed[check] else f"{check}: {failed[check]}")

    def _failed(self, candidate: Candidate) -> Iterator[tuple[Reason, str]]:
        """Each check that the rationale does not pass, with a detail that quotes nothing."""
        config, rationale, text = self.config, candidate.rationale, candidate.text
        stated = candidate.label is not None or candidate.stated_label
        if stated and normalise_label(candidate.label or "") != normalise_label(candidate.gold):
            yield "disagrees_with_gold", ""
        if len(rationale) < config.min_characters:
            yield "too_short", f"{len(rationale)} characters"
        if len(rationale) > config.max_characters:
            yield "too_long", f"{len(rationale)} characters"
        share = copied_share(rationale, text)
        if share > config.max_copied_share:
            yield "copies_text", f"{share:.0%}"
        repeats = self.num_texts[normalise_label(rationale)]
        if repeats > config.max_repeats:
            yield "repeated", f"{repeats} texts"
        # A label may hold a number of its own ("within three days"); that it is named is no claim about the patient.
        beyond = ungrounded(mask_label(rationale, candidate.gold), text, self.findings)
        if beyond.numbers or beyond.findings:
            yield "ungrounded", _counted(beyond.numbers, beyond.findings)
        if contains_label(rationale, candidate.gold):
            yield "leaks_label", ""


@functools.cache
def _shipped() -> Findings:
    return load_findings()


def _counted(numbers: Sequence[str], findings: Sequence[str]) -> str:
    parts = [(len(numbers), "number"), (len(findings), "finding")]
    return ", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in parts if count)
