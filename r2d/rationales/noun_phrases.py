"""Noun phrases of a text, read without a lexicon: what a text denies or reports in words that no list holds.

A phrase is a run of words between breaks, phrases of negation and the words of `splits`; a preposition of `joins` may
stand inside it. Phrases are the same if their other words are, in any order: `pain in her lower back` is
`lower back pain`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from r2d.rationales.findings import Findings, found_in
from r2d.rationales.negation import CONJUNCTIONS, Negation, State, states_of
from r2d.rationales.tokens import Tokens, read_tokens

MOST_WORDS = 6
"""Words of a phrase: longer runs are clauses."""
MOST_ALIKE = 32
"""Phrases of a note with the same word that are compared: so the time stays in proportion to the texts."""


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Words `start` to `end` of a text, and what the text says of them."""

    start: int
    end: int
    content: frozenset[str]
    """Its words without prepositions and what stands between these and the next word."""
    state: State


@functools.lru_cache(maxsize=16)  # the rationales of a note are checked one after the other
def noun_phrases(text: str, findings: Findings, negation: Negation) -> Sequence[NounPhrase]:
    """The phrases of a text, in its order; none where the file of phrases declares no `splits`.

    Args:
        findings: their forms are parts of phrases, whatever their words are (`feeling hot`).
    """
    if not negation.splits:
        return ()
    tokens = read_tokens(text)
    forms = {at for start, end, _ in found_in(tokens.words, findings.names) for at in range(start, end)}
    runs = list(_runs(tokens, forms, negation))
    states = states_of(tokens, [(start, end) for start, end, _ in runs], negation, are_all=True)
    return [NounPhrase(start, end, content, states[start, end]) for start, end, content in runs]


def _runs(tokens: Tokens, forms: Set[int], negation: Negation) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Start, end and content of each phrase.

    Args:
        forms: words of findings of the lexicon.
    """
    words = tokens.words
    apart, between = negation.taken(tokens)
    content: list[str] = []
    start = end = 0
    for at, word in enumerate((*words, "")):
        breaks = at in tokens.is_break or at in tokens.slashes
        joins = (
            not breaks and at > 0 and (word in negation.joins or (at in between and words[at - 1] in negation.joins))
        )
        is_apart = at in apart or at in between or word in CONJUNCTIONS or word in negation.splits
        inside = at in forms or (word.isalpha() and word not in negation.joins and not is_apart)
        if content and (breaks or not (joins or inside)):
            if end - start <= MOST_WORDS:
                yield start, end, frozenset(content)
            content = []
        if inside:
            start, end = (at if not content else start), at + 1
            content.append(word)


class PhrasesOfNote:
    """What a note says of noun phrases, held against those of a rationale."""

    def __init__(self, note: str, findings: Findings, negation: Negation) -> None:
        self.degrees = negation.degrees
        self.holding: dict[str, list[NounPhrase]] = {}
        """Word -> phrases that hold it, the same content in the same state once."""
        seen = set[tuple[frozenset[str], State]]()
        for phrase in noun_phrases(note, findings, negation):
            if (phrase.content, phrase.state) not in seen:
                seen.add((phrase.content, phrase.state))
                for word in phrase.content:
                    self.holding.setdefault(word, []).append(phrase)

    @classmethod
    @functools.lru_cache(maxsize=16)  # the rationales of a note are checked one after the other
    def of(cls, note: str, findings: Findings, negation: Negation) -> PhrasesOfNote:
        return cls(note, findings, negation)

    def verdict(self, phrase: NounPhrase) -> Literal["supported", "contradicted"] | None:
        """On a phrase that a rationale asserts or denies; None where the note does not tell.

        Like for like: what is denied must be all of what is asserted, but for words of degree or, where it is of two
        words or more, for any: `no chest tightness` contradicts `severe chest tightness at rest`, `no pain` does not
        contradict `chest pain`. What the note has in several ways contradicts nothing.
        """
        content, is_denied = phrase.content, phrase.state == "denied"
        alike = {id(other): other for word in content for other in self.holding.get(word, ())[:MOST_ALIKE]}
        if is_denied:
            if any(other.state == "denied" and other.content <= content for other in alike.values()):
                return "supported"
            wider = [other for other in alike.values() if content <= other.content]
            fits = any(self._is_all(content, other.content) for other in wider)
            return "contradicted" if fits and all(other.state == "asserted" for other in wider) else None
        if any(other.state == "asserted" and content <= other.content for other in alike.values()):
            return "supported"
        for denial in alike.values():
            if denial.state == "denied" and self._is_all(denial.content, content):
                wider = [other for other in alike.values() if denial.content <= other.content]
                if all(other.state == "denied" for other in wider):
                    return "contradicted"
        return None

    def _is_all(self, denied: frozenset[str], asserted: frozenset[str]) -> bool:
        return denied <= asserted and (len(denied) > 1 or asserted - denied <= self.degrees)
