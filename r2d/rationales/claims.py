"""Claims of a rationale about findings, held against its note: supported, contradicted, unclear or absent.

Negation is read as NegEx does (Chapman et al. 2001, with the contexts of ConText, Harkema et al. 2009): a phrase such
as `denies` reaches over the findings behind it until the sentence ends or a word such as `but` ends it. The phrases are
data (`negation.yaml`), the findings too (`findings.yaml`); a run can declare others of its own language or domain.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.rationales.findings import (
    APOSTROPHE,
    Findings,
    Index,
    Words,
    load_findings,
    matches,
    shipped_findings,
    singular,
)
from r2d.rationales.labels import labels_stated

State = Literal["asserted", "denied", "unsure", "somebody_else"]
STATES: Mapping[str, State] = {state: state for state in get_args(State)}
Verdict = Literal["supported", "contradicted", "unclear", "absent"]
VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "unclear", "absent")

FINDINGS_FILE, NEGATION_FILE = "findings.yaml", "negation.yaml"
"""In a model folder, where its run declared others than the shipped ones."""
MAX_GAP = 4
"""Words between a finding and a phrase behind it that is about it (`the rash on her arm has gone`)."""
_TOKEN = re.compile(r"\(([+-])\)|(?<!\S)\+(?=[^\W\d])|[^\W_]+|\.(?!\w)|[;!?:,/]|\n(?=[^\S\n]*(?:[-*•\d\n]|[A-Z]|$))")
MIN_MISSPELT = 6
"""Letters of a phrase of one word from which on it is known too with a letter left out or moved (`deneis`)."""
_OTHER_ROLES = ("ends", "ends_always", "ends_of_unsure", "open_after_comma", "between", "opens_behind", "ignored")
_CONJUNCTIONS = frozenset({"and", "or", "nor"})
_LIST_WORDS = _CONJUNCTIONS | {"both", "all"}


class _Phrases(Section):
    """Phrases of one state."""

    before: tuple[str, ...] = ()
    """Of the findings that follow."""
    after: tuple[str, ...] = ()
    """Of the finding that stands before it."""


class _NegationFile(Section):
    """A file of phrases."""

    denied: _Phrases
    unsure: _Phrases = _Phrases()
    """Possible, feared, to be watched for: neither asserted nor denied."""
    somebody_else: _Phrases = _Phrases()
    ends: tuple[str, ...] = ()
    """Where the reach of a phrase ends."""
    ends_always: tuple[str, ...] = ()
    """Those of `ends` that end it also where they follow at once (`no symptoms except fever`)."""
    ends_of_unsure: tuple[str, ...] = ()
    """Where that of `unsure` ends besides."""
    open_after_comma: tuple[str, ...] = ()
    """Those of `denied` that leave open what follows a comma, unless an `and`, `or` or `nor` makes it a list."""
    between: tuple[str, ...] = ()
    """All that may stand between a phrase of `denied` and a finding. Behind other words something else is denied (`no
    cause for the dizziness`, `no severe headache`), and the finding is left open."""
    opens_behind: tuple[str, ...] = ()
    """Words behind a denied finding by which only another time is spoken of (`no fever until`)."""
    ignored: tuple[str, ...] = ()
    """Phrases that hold another one and mean none (`not only`)."""


@dataclass(frozen=True, slots=True)
class Negation:
    """The phrases, ready for matching."""

    phrases: Index[frozenset[tuple[str, str]]]
    """Phrase -> what it is: (state, `before` or `after`), or (one of the other keys of the file, empty)."""


@functools.cache
def shipped_negation() -> Negation:
    """The phrases `negation.yaml` of this package, English, which show the format."""
    return load_negation(Path(__file__).with_name("negation.yaml"))


def load_negation(source: Path) -> Negation:
    """The phrases of a YAML file.

    Raises:
        ConfigError: lists every fault of the file: entry, what was found, what is allowed, the fix.
    """
    file = parse_section(_NegationFile, read_yaml(source), where=str(source))
    phrases = [
        (phrase, (state, side))
        for state in ("denied", "unsure", "somebody_else")
        for side in ("before", "after")
        for phrase in getattr(getattr(file, state), side)
    ]
    phrases += [(phrase, (role, "")) for role in _OTHER_ROLES for phrase in getattr(file, role)]
    roles: dict[Words, frozenset[tuple[str, str]]] = {}
    for phrase, role in phrases:
        words = _read(phrase).words
        roles[words] = roles.get(words, frozenset()) | {role}
    misspelt = {
        _read(variant).words: roles[_read(phrase).words]
        for phrase, role in phrases
        if role[0] in STATES and len(phrase) >= MIN_MISSPELT and phrase.isalpha()
        for variant in _misspellings(phrase)
    }
    return Negation(Index.of({words: of_words for words, of_words in (misspelt | roles).items() if words}))


def _misspellings(word: str) -> Iterator[str]:
    """The word with one letter behind the first left out, or with two such letters changed over."""
    for at in range(1, len(word) - 1):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


# --- mentions ---


class _Tokens(NamedTuple):
    """The words of a text as findings are compared, and what stands between them."""

    words: Words
    sentences: Sequence[int]
    """Number of the sentence of each word."""
    breaks: frozenset[int]
    """Words that a comma, a colon or a sentence's end stands before; the number of words among them."""
    ordered_breaks: Sequence[int]
    """The same, in order."""
    colons: frozenset[int]
    """Those that a colon or a question mark stands before."""
    slashes: frozenset[int]
    """Words that a slash stands before (`fever/chills`)."""
    conjunctions: Sequence[int]
    """Words that are `and`, `or` or `nor`, in order."""


class Mention(NamedTuple):
    """A finding in a text; words `start` to `end`."""

    start: int
    end: int
    names: Words
    state: State


def _read(text: str) -> _Tokens:
    words: list[str] = []
    sentences: list[int] = []
    breaks, colons, slashes, sentence = set[int](), set[int](), set[int](), 0
    for match in _TOKEN.finditer(APOSTROPHE.sub("", text)):
        token = match.group()
        sign = "+" if token == "+" else match.group(1)
        if sign or token[0].isalnum():
            words.append(f"({sign})" if sign else singular(token.casefold()))
            sentences.append(sentence)
            continue
        if token == "/":
            slashes.add(len(words))
            continue
        breaks.add(len(words))
        if token in ":?":  # `Fever? no`
            colons.add(len(words))
        elif token != ",":
            sentence += 1
    breaks.add(len(words))
    conjunctions = [at for at, word in enumerate(words) if word in _CONJUNCTIONS]
    return _Tokens(
        tuple(words), sentences, frozenset(breaks), sorted(breaks), frozenset(colons), frozenset(slashes), conjunctions
    )


def _first_from(places: Sequence[int], start: int, end: int) -> int:
    """The first of the places, which are in order, from `start` on and before `end`; `end` where none is."""
    at = bisect_left(places, start)
    return min(places[at], end) if at < len(places) else end


def _mentions(tokens: _Tokens, index: Index[Words], negation: Negation) -> list[Mention]:
    """Every form of a finding in a text, those within longer ones too, and whether the text asserts it."""
    spans = list(matches(tokens.words, index))
    states = _states(tokens, [(start, end) for start, end, _ in spans], negation) if spans else {}
    return [Mention(start, end, names, states[start, end]) for start, end, names in spans]


class _Phrase(NamedTuple):
    start: int
    end: int
    roles: frozenset[tuple[str, str]]


def _phrases(tokens: _Tokens, negation: Negation) -> Iterator[_Phrase]:
    """The phrases of a text from left to right, the longest where several start together."""
    sentences, behind = tokens.sentences, 0
    for start, end, roles in matches(tokens.words, negation.phrases):
        if start >= behind and sentences[start] == sentences[end - 1]:
            yield _Phrase(start, end, roles)
            behind = end


def _states(tokens: _Tokens, spans: Sequence[tuple[int, int]], negation: Negation) -> dict[tuple[int, int], State]:
    """The state of each span of a finding, by start; a phrase within a finding (`cannot breathe`) is part of it."""
    inside = {word for start, end in spans for word in range(start, end)}
    phrases = [
        phrase for phrase in _phrases(tokens, negation) if not inside.issuperset(range(phrase.start, phrase.end))
    ]
    states: dict[tuple[int, int], State] = dict.fromkeys(spans, "asserted")
    starts, stops = [start for start, _ in spans], {stop for _, stop in spans}
    by_stop = sorted(spans, key=itemgetter(1))
    floor = 0  # behind the last phrase that ends a reach

    for number, phrase in enumerate(phrases):
        for role, side in phrase.roles:
            if role not in STATES:
                continue
            state, reached = STATES[role], list[tuple[int, int]]()
            # `Fever: no, cough: yes`: with nothing behind it a phrase is about what stands before it.
            stands_behind = phrase.start in stops
            answers = phrase.end in tokens.breaks and (
                phrase.start in tokens.colons or stands_behind or side == "after"
            )
            both = {(state, "before"), (state, "after")} <= phrase.roles
            if side == "before" and not (both and answers):
                behind = bisect_left(starts, phrase.end)
                first = starts[behind] if behind < len(starts) else phrase.end
                end, later = _reach(tokens, phrases, number, first, state)
                reached = list(spans[behind : bisect_left(starts, end)])
                if state == "denied":
                    left_open = _left_open(tokens, phrase, later, reached, end)
                    states |= {span: "unsure" for span in left_open if states[span] != "somebody_else"}
                    reached = [span for span in reached if span not in left_open]
                if both and first >= end and stands_behind:
                    reached = _before(tokens, phrase, by_stop, floor)
            elif side == "after" and (answers or not both):
                reached = _before(tokens, phrase, by_stop, floor)
                following = phrases[number + 1 : number + 2]
                if any(other.start == phrase.end and ("opens_behind", "") in other.roles for other in following):
                    states |= dict.fromkeys(reached, "unsure")
                    reached = []
            for span in reached:
                if states[span] in ("asserted", "denied") or state == "somebody_else":
                    is_denied_twice = side == "after" and states[span] == state == "denied"
                    states[span] = "unsure" if is_denied_twice else state
        if ("ends", "") in phrase.roles:
            floor = phrase.end
    return states


def _reach(
    tokens: _Tokens, phrases: Sequence[_Phrase], number: int, first: int, state: str
) -> tuple[int, list[_Phrase]]:
    """The word before which the reach of a phrase ends, and the later phrases in it. A word such as `had` that follows
    at once, before the first finding, does not end it (`never had`)."""
    phrase, within = phrases[number], list[_Phrase]()
    end = bisect_right(tokens.sentences, tokens.sentences[phrase.start])
    enders = {("ends", ""), (state, "before")}
    if state == "unsure":
        enders.add(("ends_of_unsure", ""))
        if _first_from(tokens.conjunctions, phrase.end, end) == end:  # `possible UTI, burning urination`
            end = _first_from(tokens.ordered_breaks, first + 1, end)
    for at in range(number + 1, len(phrases)):
        other = phrases[at]
        if other.start >= end:
            break
        follows = (
            other.start <= min(phrase.end + 1, first - 1)
            and ("ends_always", "") not in other.roles
            and tokens.breaks.isdisjoint(range(phrase.end, other.start + 1))
        )
        if not (follows or enders.isdisjoint(other.roles)):
            return other.start, within
        within.append(other)
    return end, within


def _left_open(
    tokens: _Tokens, phrase: _Phrase, later: Sequence[_Phrase], spans: Sequence[tuple[int, int]], end: int
) -> set[tuple[int, int]]:
    """The findings in reach of a phrase of `denied` that it does not deny: something else or another time is meant.

    Args:
        later: the phrases in its reach.
        spans: the findings in its reach, by start.
        end: where its reach ends.
    """
    first = spans[0][0] if spans else end
    if any(("opens_behind", "") in other.roles for other in later if other.start > first):
        return set(spans)
    comma = end
    if ("open_after_comma", "") in phrase.roles and _first_from(tokens.conjunctions, first, end) == end:
        comma = _first_from(tokens.ordered_breaks, phrase.end + 1, end)
    begins: dict[int, int] = {}  # word behind words of `between` -> the first of these
    for at in [at for other in later if ("between", "") in other.roles for at in range(other.start, other.end)]:
        if at + 1 not in tokens.breaks:
            begins[at + 1] = begins.get(at, at)
    left_open, outer = set[tuple[int, int]](), 0
    for span in spans:
        while spans[outer][1] <= span[0]:
            outer += 1
        start = begins.get(spans[outer][0], spans[outer][0])
        is_listed = (
            (start in tokens.breaks and start not in tokens.colons)
            or start in tokens.slashes
            or tokens.words[start - 1] in _CONJUNCTIONS
        )
        if span[0] >= comma or not (start == phrase.end or is_listed):
            left_open.add(span)
    return left_open


def _before(tokens: _Tokens, phrase: _Phrase, by_stop: Sequence[tuple[int, int]], floor: int) -> list[tuple[int, int]]:
    """The finding before a phrase, with the list that ends in it: `fever, chills and rash are denied`.

    Args:
        by_stop: the spans of findings, by their end.
        floor: the first word that the phrase may be about.
    """
    floor = max(floor, bisect_left(tokens.sentences, tokens.sentences[phrase.start]))
    reached: list[tuple[int, int]] = []
    start, is_list = phrase.start, False
    at = bisect_right(by_stop, start, key=itemgetter(1)) - 1
    while True:
        while at >= 0 and (by_stop[at][1] > start or by_stop[at][0] < floor < by_stop[at][1]):
            at -= 1
        if at < 0 or by_stop[at][1] <= floor:
            return reached
        stop = by_stop[at][1]
        if not reached:
            gap = range(stop, min(start, stop + MAX_GAP) + 1)
            is_apart = any(word in tokens.breaks and word not in tokens.colons for word in gap)
            if start - stop > MAX_GAP or (is_apart and not (start == stop and phrase.end in tokens.breaks)):
                return []
        else:
            words = tokens.words[stop:start]
            is_list = is_list or not _LIST_WORDS.isdisjoint(words)
            if not is_list or not _LIST_WORDS.issuperset(words) or not (words or start in tokens.breaks):
                return reached
        while at >= 0 and by_stop[at][1] == stop:
            if by_stop[at][0] >= floor:
                reached.append(by_stop[at])
                start = min(start, by_stop[at][0])
            at -= 1


# --- claims ---


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rationale says of one finding, and what its note says of it."""

    finding: str
    """Its name in the lexicon, never the words of the text."""
    denied: bool
    """Whether the rationale says that it is absent."""
    verdict: Verdict

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
    label: str
    """The label that is shown."""
    other_labels: tuple[str, ...]
    """Labels that the rationale states and that are not shown, in the order of the set."""

    def remarks(self) -> list[str]:
        """One sentence each."""
        sentences = [claim.sentence() for claim in self.contradicted]
        return sentences + [
            f'the rationale states "{other}", the label shown is "{self.label}"' for other in self.other_labels
        ]

    def as_row(self) -> dict[str, list[str]]:
        """As JSON for a user: contradicted_findings, other_labels_stated, remarks."""
        return {
            "contradicted_findings": [claim.finding for claim in self.contradicted],
            "other_labels_stated": list(self.other_labels),
            "remarks": self.remarks(),
        }


@dataclass(frozen=True, slots=True)
class ClaimChecker:
    """Reads claims by one lexicon and one set of phrases."""

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
        more special case of something else, or as a possibility leaves a claim `unclear`, if it does not support it.
        """
        claimed: dict[tuple[Words, bool], None] = {}
        position = 0
        for mention in _mentions(_read(rationale), self.findings.names, self.negation):
            if mention.start < position:
                continue  # of overlapping forms the rationale names only the longest
            position = mention.end
            if mention.state in ("asserted", "denied"):
                claimed[mention.names, mention.state == "denied"] = None
        if not claimed:
            return []
        evidence = _Evidence.of(note, self)
        return [Claim(names[0], denied, evidence.verdict(names, denied)) for names, denied in claimed]

    def check(self, rationale: str, note: str, label: str, labels: Sequence[str]) -> RationaleCheck:
        """The contradictions to the note, and the labels of the set stated other than the one shown."""
        contradicted = tuple(claim for claim in self.claims(rationale, note) if claim.verdict == "contradicted")
        stated = labels_stated(rationale, labels)
        return RationaleCheck(contradicted, label, tuple(name for name in labels if name in stated and name != label))


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Names of the findings that a note asserts, denies, shows (by a part, a special case) or leaves open."""

    asserted: frozenset[str]
    denied: frozenset[str]
    shown: frozenset[str]
    open: frozenset[str]

    @classmethod
    def of(cls, note: str, checker: ClaimChecker) -> _Evidence:
        tokens, findings = _read(note), checker.findings
        direct = {(start, end): set(names) for start, end, names in matches(tokens.words, findings.names)}
        denials = {(start, end): set(names) for start, end, names in matches(tokens.words, findings.denials)}
        farthest = [0] * (len(tokens.words) + 1)  # where the longest finding ends that starts with a word
        for start, end in direct:
            farthest[start] = max(farthest[start], end)
        farthest_before = [0, *accumulate(farthest, max)]  # of those that start before a word
        names_in: dict[str, set[str]] = {"asserted": set(), "denied": set(), "shown": set(), "open": set()}
        for start, end, names, state in _mentions(tokens, findings.evidence, checker.negation):
            span = (start, end)
            is_part = farthest_before[start] >= end or farthest[start] > end
            for name in names:
                if name in denials.get(span, ()):
                    opposite = {"asserted": "denied", "denied": "asserted"}.get(state, "open")
                    names_in[opposite].add(name)
                elif name not in direct.get(span, ()):  # shown by another finding, or by a measurement or drug
                    names_in["shown" if span in direct and state == "asserted" else "open"].add(name)
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
