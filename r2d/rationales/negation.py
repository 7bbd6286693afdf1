"""Negation around the findings of a text, as NegEx reads it (Chapman et al. 2001, with the contexts of ConText, Harkema
et al. 2009): a phrase such as `denies` reaches over the findings behind it until the sentence ends or a word such as
`but` ends it. The phrases are data (`negation.yaml`).
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeAlias, get_args

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.rationales.findings import APOSTROPHE, Index, Value, Words, found_in, matches, singular

State = Literal["asserted", "denied", "unsure", "somebody_else"]
STATES: Mapping[str, State] = {state: state for state in get_args(State)}
Span: TypeAlias = tuple[int, int]
"""The first word of a finding, and the one behind it."""

MAX_GAP = 4
"""Words between a finding and a phrase behind it that is about it (`the rash on her arm has gone`)."""
_TOKEN = re.compile(r"[^\W_]+|\([+-]\)|(?<!\S)\+(?=[^\W\d])|\.(?!\w)|[;!?:,/]|\n(?=[^\S\n]*(?:[-*•\d\n]|[A-Z]|$))")
_PUNCTUATION = frozenset(".;!?:,/\n")
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


class _Roles(NamedTuple):
    """What a phrase is."""

    states: tuple[tuple[State, str, bool], ...]
    """State, `before` or `after`, and whether it is both."""
    others: frozenset[str]
    """Other keys of the file that hold it."""
    ends: frozenset[State]
    """The states whose reach ends at it."""

    @classmethod
    def of(cls, sides: Mapping[State, set[str]], others: set[str]) -> _Roles:
        pairs = tuple(
            (state, side, len(of_state) == 2)
            for state, of_state in sides.items()
            for side in sorted(of_state, reverse=True)
        )
        ends = {state for state, of_state in sides.items() if "before" in of_state}
        ends |= {"unsure"} if "ends_of_unsure" in others else set()
        return cls(pairs, frozenset(others), frozenset(STATES.values() if "ends" in others else ends))


@dataclass(frozen=True, slots=True)
class Negation:
    """The phrases, ready for matching."""

    phrases: Index[_Roles]


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
    sides: dict[Words, dict[State, set[str]]] = {}
    others: dict[Words, set[str]] = {}
    misspelt: dict[Words, Words] = {}
    for state in ("denied", "unsure", "somebody_else"):
        for side in ("before", "after"):
            for phrase in getattr(getattr(file, state), side):
                words = read_tokens(phrase).words
                sides.setdefault(words, {}).setdefault(STATES[state], set()).add(side)
                if len(phrase) >= MIN_MISSPELT and phrase.isalpha():
                    misspelt |= {read_tokens(variant).words: words for variant in _misspellings(phrase)}
    for role in _OTHER_ROLES:
        for phrase in getattr(file, role):
            others.setdefault(read_tokens(phrase).words, set()).add(role)
    roles = {words: _Roles.of(sides.get(words, {}), others.get(words, set())) for words in sides | others}
    roles = {variant: roles[words] for variant, words in misspelt.items()} | roles
    return Negation(Index.of({words: of_words for words, of_words in roles.items() if words}))


def _misspellings(word: str) -> Iterator[str]:
    """The word with one letter behind the first left out, or with two such letters changed over."""
    for at in range(1, len(word) - 1):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


# --- mentions ---


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of a text as findings are compared, and what stands between them."""

    words: Words
    bounds: Sequence[int]
    """Words at which sentences begin, in order, and the number of words."""
    breaks: Sequence[int]
    """Words that a comma, a colon or a sentence's end stands before, in order, and the number of words."""
    is_break: frozenset[int]
    """The same."""
    colons: frozenset[int]
    """Those that a colon or a question mark stands before."""
    slashes: frozenset[int]
    """Words that a slash stands before (`fever/chills`)."""

    def sentence_start(self, word: int) -> int:
        return self.bounds[bisect_right(self.bounds, word) - 1]

    def sentence_end(self, word: int) -> int:
        return self.bounds[bisect_right(self.bounds, word)]


class Mention(NamedTuple, Generic[Value]):
    """A finding in a text; words `start` to `end`."""

    start: int
    end: int
    value: Value  # of the index
    state: State


@functools.lru_cache(maxsize=65_536)
def _plain(token: str) -> str:
    return "(+)" if token == "+" else singular(token.casefold())


@functools.lru_cache(maxsize=16)  # several checks read the same note, one after the other
def read_tokens(text: str) -> Tokens:
    """The words of a text and what stands between them."""
    tokens = _TOKEN.findall(APOSTROPHE.sub("", text))
    words = tuple([_plain(token) for token in tokens if token not in _PUNCTUATION])
    bounds, breaks, colons, slashes = [0], list[int](), list[int](), list[int]()
    marks = [(at, token) for at, token in enumerate(tokens) if token in _PUNCTUATION]
    for num_marks, (place, token) in enumerate(marks):
        at = place - num_marks  # words before it
        if token == "/":
            slashes.append(at)
            continue
        breaks.append(at)
        if token in ":?":  # `Fever? no`
            colons.append(at)
        elif token != "," and bounds[-1] < at:
            bounds.append(at)
    num_words = len(words)
    if bounds[-1] < num_words:
        bounds.append(num_words)
    breaks.append(num_words)
    return Tokens(words, bounds, breaks, frozenset(breaks), frozenset(colons), frozenset(slashes))


def _first_from(places: Sequence[int], start: int, end: int) -> int:
    """The first of the places, which are in order, from `start` on and before `end`; `end` where none is."""
    at = bisect_left(places, start)
    return min(places[at], end) if at < len(places) else end


def mentions(tokens: Tokens, index: Index[Value], negation: Negation) -> list[Mention[Value]]:
    """Every form of a finding in a text, those within longer ones too, and whether the text asserts it; by start, the
    longest first."""
    found = found_in(tokens.words, index)
    if not found:
        return []
    states = _Reader(tokens, [(start, end) for start, end, _ in found], negation).states
    return [Mention(start, end, value, states[start, end]) for start, end, value in found]


class _Phrase(NamedTuple):
    start: int
    end: int
    roles: _Roles


class _Reader:
    """The states of the findings of one text.

    Args:
        spans: every finding, by start, the longest first.
    """

    def __init__(self, tokens: Tokens, spans: Sequence[Span], negation: Negation) -> None:
        self.tokens, self.spans = tokens, spans
        self.states: dict[Span, State] = dict.fromkeys(spans, "asserted")
        self.starts = [start for start, _ in spans]
        self.stops = {stop for _, stop in spans}
        self.begins: dict[int, int] = {}
        """Word behind words of `between` -> the first of these."""
        self.phrases = list(self._phrases(negation))
        floor = 0  # behind the last phrase that ends a reach
        for number, phrase in enumerate(self.phrases):
            for state, side, both in phrase.roles.states:
                self._apply(number, state, side, both, floor)
            if "ends" in phrase.roles.others:
                floor = phrase.end

    @functools.cached_property
    def by_stop(self) -> Sequence[Span]:
        return sorted(self.spans, key=itemgetter(1))

    @functools.cached_property
    def conjunctions(self) -> Sequence[int]:
        return [at for at, word in enumerate(self.tokens.words) if word in _CONJUNCTIONS]

    def _phrases(self, negation: Negation) -> Iterator[_Phrase]:
        """The phrases of the text from left to right, the longest where several start together, but for those within a
        finding (`cannot breathe`) and those of `between`, which are kept in `begins`."""
        tokens, begins, behind = self.tokens, self.begins, 0
        inside = {word for start, end in self.spans for word in range(start, end)}
        for start, end, roles in matches(tokens.words, negation.phrases):
            if start < behind or (end > start + 1 and tokens.sentence_end(start) < end):
                continue
            behind = end
            if start in inside and inside.issuperset(range(start, end)):
                continue
            if "between" in roles.others:
                for at in range(start, end):
                    if at + 1 not in tokens.is_break:
                        begins[at + 1] = begins.get(at, at)
            if roles.states or roles.others > {"between"} or "between" not in roles.others:
                yield _Phrase(start, end, roles)

    def _apply(self, number: int, state: State, side: str, both: bool, floor: int) -> None:
        """Give the findings that a phrase reaches their state."""
        tokens, spans, states, phrase = self.tokens, self.spans, self.states, self.phrases[number]
        reached: Sequence[Span] = ()
        # `Fever: no, cough: yes`: with nothing behind it a phrase is about what stands before it.
        stands_behind = phrase.start in self.stops
        answers = phrase.end in tokens.is_break and (phrase.start in tokens.colons or stands_behind or side == "after")
        if side == "before" and not (both and answers):
            behind = bisect_left(self.starts, phrase.end)
            first = self.starts[behind] if behind < len(spans) else phrase.end
            end, opens = self._reach(number, first, state)
            reached = spans[behind : bisect_left(self.starts, end)]
            if state == "denied" and reached:
                left_open = set(reached) if opens else self._left_open(phrase, reached, end)
                for span in left_open:
                    if states[span] != "somebody_else":
                        states[span] = "unsure"
                reached = [span for span in reached if span not in left_open]
            if both and first >= end and stands_behind:
                reached = self._before(phrase, floor)
        elif side == "after" and (answers or not both):
            reached = self._before(phrase, floor)
            following = self.phrases[number + 1] if number + 1 < len(self.phrases) else None
            if following and following.start == phrase.end and "opens_behind" in following.roles.others:
                states.update(dict.fromkeys(reached, "unsure"))
                return
        for span in reached:
            if states[span] in ("asserted", "denied") or state == "somebody_else":
                is_denied_twice = side == "after" and states[span] == state == "denied"
                states[span] = "unsure" if is_denied_twice else state

    def _reach(self, number: int, first: int, state: State) -> tuple[int, bool]:
        """The word before which the reach of a phrase ends, and whether words of `opens_behind` stand in it behind the
        first finding. A word such as `had` that follows at once, before the first finding, does not end it (`never
        had`)."""
        tokens, phrases = self.tokens, self.phrases
        phrase = phrases[number]
        end, opens = tokens.sentence_end(phrase.start), False
        if state == "unsure" and _first_from(self.conjunctions, phrase.end, end) == end:
            end = _first_from(tokens.breaks, first + 1, end)  # `possible UTI, burning urination`
        for at in range(number + 1, len(phrases)):
            other = phrases[at]
            if other.start >= end:
                break
            follows = (
                other.start <= min(phrase.end + 1, first - 1)
                and "ends_always" not in other.roles.others
                and tokens.is_break.isdisjoint(range(phrase.end, other.start + 1))
            )
            if not follows and state in other.roles.ends:
                return other.start, opens
            opens = opens or ("opens_behind" in other.roles.others and other.start > first)
        return end, opens

    def _left_open(self, phrase: _Phrase, reached: Sequence[Span], end: int) -> set[Span]:
        """The findings in reach of a phrase of `denied` that it does not deny: something else is meant.

        Args:
            end: where its reach ends.
        """
        tokens, comma = self.tokens, end
        if "open_after_comma" in phrase.roles.others and _first_from(self.conjunctions, reached[0][0], end) == end:
            comma = _first_from(tokens.breaks, phrase.end + 1, end)
        left_open, outer = set[Span](), 0
        for span in reached:
            while reached[outer][1] <= span[0]:
                outer += 1
            start = max(self.begins.get(reached[outer][0], reached[outer][0]), phrase.end)
            is_listed = (
                (start in tokens.is_break and start not in tokens.colons)
                or start in tokens.slashes
                or tokens.words[start - 1] in _CONJUNCTIONS
            )
            if span[0] >= comma or not (start == phrase.end or is_listed):
                left_open.add(span)
        return left_open

    def _before(self, phrase: _Phrase, floor: int) -> list[Span]:
        """The finding before a phrase, with the list that ends in it: `fever, chills and rash are denied`.

        Args:
            floor: the first word that the phrase may be about.
        """
        tokens, by_stop = self.tokens, self.by_stop
        floor = max(floor, tokens.sentence_start(phrase.start))
        reached: list[Span] = []
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
                is_apart = any(word in tokens.is_break and word not in tokens.colons for word in gap)
                if start - stop > MAX_GAP or (is_apart and not (start == stop and phrase.end in tokens.is_break)):
                    return []
            else:
                words = tokens.words[stop:start]
                is_list = is_list or not _LIST_WORDS.isdisjoint(words)
                if not is_list or not _LIST_WORDS.issuperset(words) or not (words or start in tokens.is_break):
                    return reached
            while at >= 0 and by_stop[at][1] == stop:
                if by_stop[at][0] >= floor:
                    reached.append(by_stop[at])
                    start = min(start, by_stop[at][0])
                at -= 1
