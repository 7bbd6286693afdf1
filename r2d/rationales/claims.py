"""Claims of a rationale about findings, held against its note: supported, contradicted, unclear or absent.

Negation is read by `r2d.rationales.negation`. The findings are data (`findings.yaml`), as the phrases are; a run can
declare others of its own language or domain.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from r2d.rationales.findings import Findings, Index, Value, Words, load_findings, shipped_findings
from r2d.rationales.labels import labels_stated
from r2d.rationales.negation import Mention, Negation, load_negation, mentions, shipped_negation
from r2d.rationales.noun_phrases import PhrasesOfNote, noun_phrases
from r2d.rationales.tokens import read_tokens

Verdict = Literal["supported", "contradicted", "unclear", "absent"]
VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "unclear", "absent")

FINDINGS_FILE, NEGATION_FILE = "findings.yaml", "negation.yaml"
"""In a model folder, where its run declared others than the shipped ones."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rationale says of one finding, and what its note says of it."""

    finding: str
    """Its name in the lexicon, or the words of the rationale if it is not `listed`."""
    denied: bool
    """Whether the rationale says that it is absent."""
    verdict: Verdict
    listed: bool = True
    """Whether the lexicon holds it; what it does not hold is claimed only where the note contradicts it."""

    def sentence(self) -> str:
        """In words for a reader of the rationale, such as `the rationale says "fainting", the note denies it`."""
        said = f'there is no "{self.finding}"' if self.denied else f'"{self.finding}"'
        note = {
            "supported": "denies it too" if self.denied else "says so too",
            "contradicted": "reports it" if self.denied else "denies it",
            "unclear": "leaves it open",
            "absent": "does not mention it",
        }[self.verdict]
        return f"the rationale says {said}, the note {note}"


@dataclass(frozen=True, slots=True)
class RationaleCheck:
    """What a reader of a rationale is to be told about it."""

    contradicted: tuple[Claim, ...]
    """Claims that the note contradicts."""
    unmentioned: tuple[Claim, ...]
    """Claims of findings of which the note says nothing."""
    label: str
    """The label that is shown."""
    other_labels: tuple[str, ...]
    """Labels that the rationale states and that are not shown, in the order of the set."""

    def remarks(self) -> list[str]:
        """One sentence each."""
        sentences = [claim.sentence() for claim in (*self.contradicted, *self.unmentioned)]
        return sentences + [
            f'the rationale states "{other}", the label shown is "{self.label}"' for other in self.other_labels
        ]

    def as_row(self) -> dict[str, list[str]]:
        """As JSON for a user: contradicted_findings, unmentioned_findings, other_labels_stated, remarks."""
        return {
            "contradicted_findings": [claim.finding for claim in self.contradicted],
            "unmentioned_findings": [claim.finding for claim in self.unmentioned],
            "other_labels_stated": list(self.other_labels),
            "remarks": self.remarks(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ClaimChecker:
    """Reads claims by one lexicon and one set of phrases. Two of them are never equal, since what was read of a note is
    kept by note and checker."""

    findings: Findings
    negation: Negation

    @classmethod
    def of(cls, findings_file: str | Path | None = None, negation_file: str | Path | None = None) -> ClaimChecker:
        """By these files; by the shipped ones where none is given.

        Raises:
            ConfigError: lists every fault of a file.
        """
        return cls(
            load_findings(Path(findings_file)) if findings_file else shipped_findings(),
            load_negation(Path(negation_file)) if negation_file else shipped_negation(),
        )

    @classmethod
    def of_model(cls, folder: Path) -> ClaimChecker:
        """As the model of a folder was measured: by the files that lie there, else by the shipped ones."""
        return cls.of(*(path if path.exists() else None for path in (folder / FINDINGS_FILE, folder / NEGATION_FILE)))

    def claims(self, rationale: str, note: str) -> list[Claim]:
        """What the rationale asserts or denies, each once, in its order.

        A contradiction needs like for like: a finding that the rationale asserts and the note nowhere asserts but
        denies, or one that it denies and the note asserts. What the note holds only as a measurement, as a part or a
        more special case of something else, as a possibility, or misspelt leaves a claim `unclear`, if it does not
        support it.
        """
        claimed: dict[tuple[Words, bool], list[int]] = {}
        position = 0
        for mention in self._mentions(rationale, self.findings.names):
            if mention.start < position:
                continue  # of overlapping forms the rationale names only the longest
            position = mention.end
            if mention.state in ("asserted", "denied"):
                claimed.setdefault((mention.value, mention.state == "denied"), []).extend(
                    range(mention.start, mention.end)
                )
        read, contradictions = self._phrases(rationale, note)
        claims: list[Claim] = []
        for (names, denied), places in claimed.items():
            claim, of_phrases = self._listed(names, denied, note), {read[at] for at in places if at in read}
            if any(phrase.verdict == "supported" for phrase in of_phrases):
                claim = replace(claim, verdict="supported")
            elif of_phrases and claim.verdict in ("absent", "unclear"):
                continue  # contradicted in the words of the note
            contradictions -= of_phrases
            claims.append(claim)
        return claims + [phrase for phrase in dict.fromkeys(read.values()) if phrase in contradictions]

    def _mentions(self, text: str, index: Index[Value]) -> list[Mention[Value]]:
        """The findings of a text; a denied one is left open where its noun phrase is not denied (`without a limp the
        knock and bruise`)."""
        inside = {
            at: phrase
            for phrase in noun_phrases(text, self.findings, self.negation)
            if phrase.state in ("asserted", "unsure")
            for at in range(phrase.start, phrase.end)
        }
        return [
            mention._replace(state="unsure")
            if mention.state == "denied" and (phrase := inside.get(mention.start)) and mention.end <= phrase.end
            else mention
            for mention in mentions(read_tokens(text), index, self.negation)
        ]

    def _listed(self, names: Words, denied: bool, note: str) -> Claim:
        """The claim of a finding of the lexicon."""
        claim = Claim(names[0], denied, _Evidence.of(note, self).verdict(names, denied))
        words = read_tokens(note).words
        if claim.verdict == "absent" and any(self.findings.may_be_meant(name, words) for name in names):
            return replace(claim, verdict="unclear")
        return claim

    def _phrases(self, rationale: str, note: str) -> tuple[dict[int, Claim], set[Claim]]:
        """What the note supports or contradicts in the words of the rationale, by word of the rationale; and the
        contradictions."""
        of_note, written = PhrasesOfNote.of(note, self.findings, self.negation), read_tokens(rationale).written
        read: dict[int, Claim] = {}
        for phrase in noun_phrases(rationale, self.findings, self.negation):
            if phrase.state in ("asserted", "denied") and (verdict := of_note.verdict(phrase)):
                words = " ".join(written[phrase.start : phrase.end])
                claim = Claim(words, phrase.state == "denied", verdict, listed=False)
                read |= dict.fromkeys(range(phrase.start, phrase.end), claim)
        return read, {claim for claim in read.values() if claim.verdict == "contradicted"}

    def check(self, rationale: str, note: str, label: str, labels: Sequence[str]) -> RationaleCheck:
        """The claims that the note contradicts or does not mention, and the labels of the set stated other than the one
        shown."""
        claims = self.claims(rationale, note)
        contradicted = tuple(claim for claim in claims if claim.verdict == "contradicted")
        unmentioned = tuple(claim for claim in claims if claim.verdict == "absent")
        stated = labels_stated(rationale, labels)
        others = tuple(name for name in labels if name in stated and name != label)
        return RationaleCheck(contradicted, unmentioned, label, others)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Names of the findings that a note asserts, denies, shows (by a part, a special case) or leaves open."""

    asserted: frozenset[str]
    denied: frozenset[str]
    shown: frozenset[str]
    open: frozenset[str]

    @classmethod
    @functools.lru_cache(maxsize=16)  # the rationales of a note are checked one after the other
    def of(cls, note: str, checker: ClaimChecker) -> _Evidence:
        findings = checker.findings
        names_in: dict[str, set[str]] = {"asserted": set(), "denied": set(), "shown": set(), "open": set()}
        current = farthest = farthest_before = -1
        """Where a finding starts; where the longest ends that starts there and names itself, or that starts before."""
        for start, end, (names, direct, denied), state in checker._mentions(note, findings.evidence):
            if start != current:
                current, farthest, farthest_before = start, -1, max(farthest, farthest_before)
            farthest = max(farthest, end) if direct else farthest
            is_part = farthest_before >= end or farthest > end
            for name in names:
                if name in denied:
                    opposite = {"asserted": "denied", "denied": "asserted"}.get(state, "open")
                    names_in[opposite].add(name)
                elif name not in direct:  # shown by another finding, or by a measurement or drug
                    names_in["shown" if direct and state == "asserted" else "open"].add(name)
                elif is_part:
                    names_in["shown" if state == "asserted" else "open"].add(name)
                else:
                    names_in[state if state in ("asserted", "denied") else "open"].add(name)
        return cls(*(frozenset(names_in[key]) for key in ("asserted", "denied", "shown", "open")))

    def verdict(self, names: Sequence[str], denied: bool) -> Verdict:
        """On a claim of a finding; on one of a form of several findings, of which one is enough."""
        of_each = {self._verdict(name, denied) for name in names}
        return next(verdict for verdict in VERDICTS if verdict in of_each)

    def _verdict(self, name: str, denied: bool) -> Verdict:
        if name in (self.denied if denied else self.asserted | self.shown):
            return "supported"
        if name in (self.asserted if denied else self.denied):
            return "contradicted"
        return "unclear" if name in self.shown | self.open else "absent"
