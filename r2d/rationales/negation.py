"""Negation around the findings of a text, as NegEx reads it (Chapman et al. 2001, with the contexts of ConText, Harkema
et al. 2009): a phrase such as `denies` reaches over the findings behind it until the sentence ends or a word such as
`but` ends it. The phrases are data (`negation.yaml`).
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeAlias, get_args

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.rationales.findings import Index, Value, Words, found_in, matches
from r2d.rationales.tokens import Tokens, read_tokens

State = Literal["asserted", "denied", "unsure", "somebody_else", "not_so"]
"""`not_so`: a noun phrase behind a denial of `of_verbs`."""
STATES: Mapping[str, State] = {state: state for state in get_args(State)}
Span: TypeAlias = tuple[int, int]
"""The first word of a finding, and the one behind it."""

MAX_GAP = 4
"""Words between a finding and a phrase behind it that is about it (`the rash on her arm has gone`)."""
MAX_UNDONE = 6
"""Words before a phrase of `undone` in which one of `undone_by` is looked for."""
MIN_MISSPELT = 6
"""Letters of a phrase of one word from which on it is known too with a letter left out or moved (`deneis`)."""
_OTHER_ROLES = (
    "ends", "ends_always", "ends_of_unsure", "ends_after_comma", "onset", "moment", "open_after_comma", "between",
    "opens_behind", "returns", "over_comma", "undone", "ignored", "of_verbs", "ongoing", "changes", "changing",
)  # fmt: skip
CONJUNCTIONS = frozenset({"and", "or", "nor"})
_OR = frozenset({"or", "nor"})
_LIST_WORDS = CONJUNCTIONS | {"both", "all"}
_TIMES = frozenset({"onset", "moment"})
_AFTER_COMMA = _TIMES | {"ends_after_comma", "ongoing"}
_CHANGE = frozenset({"changes", "changing"})


class _Phrases(Section):
    """Phrases of one state."""

    before: tuple[str, ...] = ()
    """Of the findings that follow."""
    before_list: tuple[str, ...] = ()
    """The same; those of `unsure` reach over a list without `and` or `or` too (`return for fever, rash`)."""
    after: tuple[str, ...] = ()
    """Of the finding that stands before it."""
    heading: tuple[str, ...] = ()
    """Of the findings that follow, where it begins a clause and a colon or a finding stands behind it (`Absent: fever,
    rash`)."""


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
    ends_after_comma: tuple[str, ...] = ()
    """Where that of `denied` ends if they follow a comma at once (`never before, now fever`)."""
    onset: tuple[str, ...] = ()
    """Times that a clause behind a comma has for itself, so that it is not denied (`no allergies, rash since 5`)."""
    moment: tuple[str, ...] = ()
    """Others, which a list has too: they leave the clause open where a finding before the comma is denied."""
    ongoing: tuple[str, ...] = ()
    """What a clause behind a comma says of a finding that is there, so that it is not denied (`no longer vomiting,
    diarrhoea ongoing`)."""
    changes: tuple[str, ...] = ()
    """Nouns of getting better or worse: behind a finding they are denied, and not it (`chest pain relief not felt`)."""
    changing: tuple[str, ...] = ()
    """Verbs of the same, behind a denied finding (`no sign of the fever settling`)."""
    noticed: tuple[str, ...] = ()
    """Single words by which such a change is denied for sure, and the finding is asserted. Without one between the
    denial and the finding it is left open (`no fever improving on antibiotics`)."""
    open_after_comma: tuple[str, ...] = ()
    """Those of `denied` that leave open what follows a comma, unless an `and`, `or` or `nor` makes it a list."""
    between: tuple[str, ...] = ()
    """All that may stand between a phrase of `denied` and a finding. Behind other words something else is denied (`no
    cause for the dizziness`, `no severe headache`), and the finding is left open."""
    opens_behind: tuple[str, ...] = ()
    """Words behind a denied finding by which only another time is spoken of (`no fever until`)."""
    returns: tuple[str, ...] = ()
    """Words by which a finding that had gone is there again: it is left open (`cleared, then came back`)."""
    over_comma: tuple[str, ...] = ()
    """Those of `after` that a comma may part from their finding (`a rash last year, none now`)."""
    undone: tuple[str, ...] = ()
    """Those of `denied` whose finding is left open where one of `undone_by` stands up to six words before them in the
    same clause (`cannot eat without vomiting`)."""
    undone_by: tuple[str, ...] = ()
    """Single words."""
    ignored: tuple[str, ...] = ()
    """Phrases that hold another one and mean none (`not only`)."""
    splits: tuple[str, ...] = ()
    """Single words that no name of a finding holds, such as verbs; by them `r2d.rationales.noun_phrases` reads findings
    that are in no lexicon. Without them only findings of the lexicon are read."""
    joins: tuple[str, ...] = ()
    """Prepositions that may stand in the name of a finding (`pain in her back`)."""
    degrees: tuple[str, ...] = ()
    """Words of degree, which make no other finding (`mild oozing`)."""
    of_verbs: tuple[str, ...] = ()
    """Those of `denied` that deny what is done or thought: no noun phrase behind them is denied."""


class _Roles(NamedTuple):
    """What a phrase is."""

    states: tuple[tuple[State, str, bool], ...]
    """State, `before`, `after` or `heading`, and whether it is both of the first."""
    others: frozenset[str]
    """Other keys of the file that hold it."""
    ends: frozenset[State]
    """The states whose reach ends at it."""

    @classmethod
    def of(cls, sides: Mapping[State, set[str]], others: set[str]) -> _Roles:
        pairs = tuple(
            (state, side, {"before", "after"} <= of_state)
            for state, of_state in sides.items()
            for side in sorted(of_state, reverse=True)
        )
        ends = {state for state, of_state in sides.items() if of_state != {"after"}}
        ends |= {"unsure"} if "ends_of_unsure" in others else set()
        return cls(pairs, frozenset(others), frozenset(STATES.values() if "ends" in others else ends))


@dataclass(frozen=True, slots=True, eq=False)
class Negation:
    """The phrases, ready for matching."""

    phrases: Index[_Roles]
    undone_by: frozenset[str] = frozenset()
    noticed: frozenset[str] = frozenset()
    splits: frozenset[str] = frozenset()
    joins: frozenset[str] = frozenset()
    degrees: frozenset[str] = frozenset()

    def taken(self, tokens: Tokens) -> tuple[set[int], set[int]]:
        """Words of a text that are phrases, and those that are no other phrases than such of `between`."""
        phrases, between = set[int](), set[int]()
        behind = 0
        for start, end, roles in matches(tokens.words, self.phrases):
            if start >= behind:
                behind = end
                (between if roles.others == {"between"} and not roles.states else phrases).update(range(start, end))
        return phrases, between


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
        for side in ("before", "before_list", "after", "heading"):
            for phrase in getattr(getattr(file, state), side):
                words = read_tokens(phrase).words
                sides.setdefault(words, {}).setdefault(STATES[state], set()).add(side.removesuffix("_list"))
                if side == "before_list":
                    others.setdefault(words, set()).add(side)
                if len(phrase) >= MIN_MISSPELT and phrase.isalpha():
                    misspelt |= {read_tokens(variant).words: words for variant in _misspellings(phrase)}
    for role in _OTHER_ROLES:
        for phrase in getattr(file, role):
            others.setdefault(read_tokens(phrase).words, set()).add(role)
    roles = {words: _Roles.of(sides.get(words, {}), others.get(words, set())) for words in sides | others}
    roles = {variant: roles[words] for variant, words in misspelt.items()} | roles
    single = {
        role: frozenset(word for phrase in getattr(file, role) for word in read_tokens(phrase).words)
        for role in ("undone_by", "noticed", "splits", "joins", "degrees")
    }
    return Negation(Index.of({words: of_words for words, of_words in roles.items() if words}), **single)


def _misspellings(word: str) -> Iterator[str]:
    """The word with one letter behind the first left out, or with two such letters changed over."""
    for at in range(1, len(word) - 1):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


# --- mentions ---


class Mention(NamedTuple, Generic[Value]):
    """A finding in a text; words `start` to `end`."""

    start: int
    end: int
    value: Value  # of the index
    state: State


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
    states = states_of(tokens, [(start, end) for start, end, _ in found], negation)
    return [Mention(start, end, value, states[start, end]) for start, end, value in found]


def states_of(
    tokens: Tokens, spans: Sequence[Span], negation: Negation, *, are_all: bool = False
) -> Mapping[Span, State]:
    """What a text says of each of these spans, which are in order of their start, the longest first.

    Args:
        are_all: the spans are all noun phrases of the text: then a list is read from one to the next, and those
            behind a denial of `of_verbs` are `not_so`.
    """
    return _Reader(tokens, spans, negation, are_all=are_all).states if spans else {}


class _Phrase(NamedTuple):
    start: int
    end: int
    roles: _Roles


class _Reader:
    """The states of the findings of one text.

    Args:
        spans: every finding, by start, the longest first.
    """

    def __init__(self, tokens: Tokens, spans: Sequence[Span], negation: Negation, *, are_all: bool) -> None:
        self.tokens, self.spans, self.are_all = tokens, spans, are_all
        self.states: dict[Span, State] = dict.fromkeys(spans, "asserted")
        self.starts = [start for start, _ in spans]
        self.begun = set(self.starts)
        self.stops = {stop for _, stop in spans}
        self.begins: dict[int, int] = {}
        """Word behind words of `between` -> the first of these."""
        self.phrases = list(self._phrases(negation))
        self.undone_by, self.noticed, self.joins = negation.undone_by, negation.noticed, negation.joins
        self.returns = [phrase.start for phrase in self.phrases if "returns" in phrase.roles.others]
        self.changes = [phrase.start for phrase in self.phrases if "changes" in phrase.roles.others]
        self.changing = set(self._changing())
        floor = 0  # behind the last phrase that ends a reach
        for number, phrase in enumerate(self.phrases):
            for state, side, both in phrase.roles.states:
                self._apply(number, state, side, both, floor)
            if "ends" in phrase.roles.others:
                floor = phrase.end
        self._open_modifiers()

    def _open_modifiers(self) -> None:
        """Leave open what stands right before a finding, where one of both is denied: `no itchy rash` denies neither
        itching nor rashes."""
        apart = self.tokens.is_break | self.tokens.slashes
        joined = [span for span in self.spans if span[1] in self.begun and span[1] not in apart]
        if not joined:
            return
        denied = {start for (start, _), state in self.states.items() if state == "denied"}
        for start, end in joined:
            if end in denied or self.states[start, end] == "denied":
                self.states[start, end] = "unsure"

    @functools.cached_property
    def by_stop(self) -> Sequence[Span]:
        return sorted(self.spans, key=itemgetter(1))

    @functools.cached_property
    def conjunctions(self) -> Sequence[int]:
        return [at for at, word in enumerate(self.tokens.words) if word in CONJUNCTIONS]

    def _phrases(self, negation: Negation) -> Iterator[_Phrase]:
        """The phrases of the text from left to right, the longest where several start together, but for those within a
        finding (`cannot breathe`) and those of `between`, which are kept in `begins`."""
        tokens, begins, behind = self.tokens, self.begins, 0
        inside = {word for start, end in self.spans for word in range(start, end)}
        for start, end, roles in matches(tokens.words, negation.phrases):
            if start < behind or (end > start + 1 and (tokens.sentence_end(start) < end or self._cuts(start, end))):
                continue
            behind = end
            if start in inside and inside.issuperset(range(start, end)):
                continue
            if "between" in roles.others:
                if start - 1 in begins and tokens.words[start - 1] in _OR and start not in tokens.is_break:
                    begins[start] = begins[start - 1]  # `no hx or c/o vomiting`
                for at in range(start, end):
                    if at + 1 not in tokens.is_break:
                        begins[at + 1] = begins.get(at, at)
            if roles.states or roles.others > {"between"} or "between" not in roles.others:
                yield _Phrase(start, end, roles)

    def _cuts(self, start: int, end: int) -> bool:
        """Whether a finding begins within a phrase and ends behind it (`without difficulty breathing`)."""
        at = bisect_right(self.starts, start)
        return at < len(self.spans) and self.starts[at] < end < self.spans[at][1]

    def _apply(self, number: int, state: State, side: str, both: bool, floor: int) -> None:
        """Give the findings that a phrase reaches their state."""
        tokens, spans, states, phrase = self.tokens, self.spans, self.states, self.phrases[number]
        reached: Sequence[Span] = ()
        is_single = "open_after_comma" in phrase.roles.others
        # `Fever: no, cough: yes`: with nothing behind it a phrase is about what stands before it.
        stands_behind = phrase.start in self.stops
        begins = phrase.start in tokens.is_break or tokens.sentence_start(phrase.start) == phrase.start
        heads = begins and phrase.end in tokens.colons and phrase.start not in tokens.colons  # `No: fever, cough`
        answers = (
            phrase.end in tokens.is_break
            and not heads
            and (phrase.start in tokens.colons or stands_behind or side == "after")
        )
        if side == "heading":
            side = "before" if begins and (phrase.end in tokens.colons or phrase.end in self.begun) else ""
        elif (
            side == "before" and state == "denied" and phrase.end in tokens.is_break and phrase.end not in tokens.colons
        ):
            side = ""  # `he says no, headache since noon`
        if side == "before" and not (both and answers):
            behind = bisect_left(self.starts, phrase.end)
            first = self.starts[behind] if behind < len(spans) else phrase.end
            end, opens = self._reach(number, first, state)
            reached = spans[behind : bisect_left(self.starts, end)]
            if state == "denied" and reached:
                left_open = set(reached) if opens or self._is_undone(phrase) else self._left_open(phrase, reached, end)
                changing = self.changing.intersection(reached)
                is_noticed = not self.noticed.isdisjoint(tokens.words[phrase.start : first])
                left_open = left_open - changing if is_noticed else left_open | changing
                is_placed = tokens.words[phrase.end] in self.joins  # `PE ruled out on CT, short of breath`
                if both and stands_behind and not is_single and (is_placed or left_open.issuperset(reached)):
                    reached, left_open = (), set()
                for span in left_open:
                    if states[span] != "somebody_else":
                        states[span] = "unsure"
                reached = [span for span in reached if span not in left_open | changing]
            is_last = not reached and (not is_single or self._is_timed(number))  # `vomiting stopped yesterday`
            if both and stands_behind and (first >= end or is_last) and not self._leads_on(number):
                reached, side = self._before(phrase, floor), "after"
        elif (
            side == "after"
            and (answers or not both)
            and (phrase.end in tokens.is_break or "over_comma" not in phrase.roles.others)
            and not self._is_negated(number)
        ):
            reached = self._before(phrase, floor)
        if side == "after" and state == "denied" and reached and self._is_changed(number, reached[0][1]):
            return
        if side == "after" and state == "denied" and self._is_back(number):
            states.update(dict.fromkeys(reached, "unsure"))
            return
        if self.are_all and state == "denied" and "of_verbs" in phrase.roles.others:
            state = "not_so"
        for span in reached:
            if states[span] in ("asserted", "denied") or state == "somebody_else":
                is_denied_twice = side == "after" and states[span] == state == "denied"
                states[span] = "unsure" if is_denied_twice else state

    def _changing(self) -> Iterator[Span]:
        """The findings of which words of `changes` or `changing` right behind them tell (`cough improving`)."""
        floor = 0
        for phrase in self.phrases:
            if not _CHANGE.isdisjoint(phrase.roles.others):
                spans = self._before(phrase, floor)
                if spans and CONJUNCTIONS.isdisjoint(self.tokens.words[spans[0][1] : phrase.start]):
                    yield from spans
            if "ends" in phrase.roles.others:
                floor = phrase.end

    def _is_changed(self, number: int, stop: int) -> bool:
        """Whether a phrase behind a finding denies a change of it (`chest pain relief not felt`, `cough better? no`).

        Args:
            stop: the word behind the finding.
        """
        phrase, before = self.phrases[number], self.phrases[number - 1] if number else None
        is_asked = phrase.start in self.tokens.colons and before is not None and before.end == phrase.start
        return _first_from(self.changes, stop, phrase.start) < phrase.start or (
            is_asked and before is not None and "changing" in before.roles.others
        )

    def _is_negated(self, number: int) -> bool:
        """Whether another denial stands right before a phrase (`has not disappeared`)."""
        phrase, before = self.phrases[number], self.phrases[number - 1] if number else None
        return (
            before is not None
            and before.end == phrase.start
            and phrase.start not in self.tokens.is_break
            and any(state == "denied" and side == "before" for state, side, _ in before.roles.states)
        )

    def _is_back(self, number: int) -> bool:
        """Whether behind a phrase that a finding is gone only another time is spoken of, or it comes back."""
        phrase = self.phrases[number]
        if self._is_timed(number):
            return True
        end = self.tokens.sentence_end(phrase.start)
        back = _first_from(self.returns, phrase.end, end)
        return back < end and _first_from(self.starts, phrase.end, end) >= back

    def _is_timed(self, number: int) -> bool:
        """Whether words of another time stand right behind a phrase (`stopped yesterday`)."""
        following = self.phrases[number + 1] if number + 1 < len(self.phrases) else None
        return (
            following is not None
            and following.start == self.phrases[number].end
            and "opens_behind" in following.roles.others
        )

    def _is_undone(self, phrase: _Phrase) -> bool:
        """Whether a word before a phrase denies what the phrase denies again (`cannot eat without vomiting`)."""
        if "undone" not in phrase.roles.others:
            return False
        tokens = self.tokens
        for at in range(phrase.start - 1, max(tokens.sentence_start(phrase.start), phrase.start - MAX_UNDONE) - 1, -1):
            if at + 1 in tokens.is_break or tokens.words[at] in CONJUNCTIONS:
                return False
            if tokens.words[at] in self.undone_by:
                return True
        return False

    def _leads_on(self, number: int) -> bool:
        """Whether a word such as `no` denies a word behind it that is not known (`chest pain no radiation`)."""
        phrase, phrases = self.phrases[number], self.phrases
        is_known = number + 1 < len(phrases) and phrases[number + 1].start == phrase.end
        return "open_after_comma" in phrase.roles.others and phrase.end not in self.tokens.is_break and not is_known

    def _reach(self, number: int, first: int, state: State) -> tuple[int, bool]:
        """The word before which the reach of a phrase ends, and whether words of `opens_behind` stand in it behind the
        first finding. A word such as `had` that follows at once, before the first finding, does not end it (`never
        had`)."""
        tokens, phrases = self.tokens, self.phrases
        phrase = phrases[number]
        end, opens, opened = tokens.sentence_end(phrase.start), False, -1
        is_list = phrase.end in tokens.colons or "before_list" in phrase.roles.others
        if state == "unsure" and not is_list and _first_from(self.conjunctions, phrase.end, end) == end:
            end = _first_from(tokens.breaks, first + 1, end)  # `possible UTI, burning urination`
        for at in range(number + 1, len(phrases)):
            other = phrases[at]
            if other.start >= end:
                break
            roles = other.roles.others
            if state == "denied" and not _AFTER_COMMA.isdisjoint(roles):
                comma = tokens.breaks[bisect_right(tokens.breaks, other.start) - 1]
                is_alone = "ongoing" in roles and _first_from(self.conjunctions, comma, other.start) == other.start
                if phrase.end <= comma <= other.start and comma in tokens.commas and (comma == other.start or is_alone):
                    return comma, opens
                if opened < comma < other.start and phrase.end < comma and not _TIMES.isdisjoint(roles):
                    opened = comma
                    if self._has_own_time(phrase, first, comma, other):
                        return comma, opens
            follows = (
                self.begins.get(other.start, other.start) <= phrase.end + 1
                and other.start < first
                and "ends_always" not in roles
                and tokens.is_break.isdisjoint(range(phrase.end, other.start + 1))
            )
            opens = opens or ("opens_behind" in roles and other.start > first and self._is_near(other, first))
            if not follows and state in other.roles.ends:
                return other.start, opens
        return end, opens

    def _is_near(self, phrase: _Phrase, first: int) -> bool:
        """Whether a phrase stands at most `MAX_GAP` words behind a finding; where any noun phrase is one, behind the
        first."""
        if self.are_all:
            return phrase.start - first <= MAX_GAP + 1
        at = bisect_right(self.by_stop, phrase.start, key=itemgetter(1)) - 1
        return at >= 0 and phrase.start - self.by_stop[at][1] <= MAX_GAP

    def _has_own_time(self, phrase: _Phrase, first: int, comma: int, time: _Phrase) -> bool:
        """Whether a clause behind a comma, which has a time of its own, is out of reach of a phrase of `denied`. Where
        this cannot be told, its findings are left open.

        Args:
            first: where the first finding behind the phrase starts.
        """
        tokens = self.tokens
        clause_end = _first_from(tokens.breaks, time.start + 1, tokens.sentence_end(time.start))
        of_clause = self.spans[bisect_left(self.starts, comma) : bisect_left(self.starts, clause_end)]
        conjunction = _first_from(self.conjunctions, phrase.end, time.start)
        is_joined, is_single = conjunction < time.start, "open_after_comma" in phrase.roles.others
        if not of_clause or comma not in tokens.commas or (is_joined and tokens.words[conjunction] != "and"):
            return False
        if first >= comma or (is_single and not is_joined and "onset" in time.roles.others):
            return True
        if is_single or not is_joined:
            self.states.update({span: "unsure" for span in of_clause if self.states[span] == "asserted"})
        return False

    def _left_open(self, phrase: _Phrase, reached: Sequence[Span], end: int) -> set[Span]:
        """The findings in reach of a phrase of `denied` that it does not deny: something else is meant.

        Args:
            end: where its reach ends.
        """
        tokens, comma = self.tokens, end
        is_single = "open_after_comma" in phrase.roles.others and phrase.end not in tokens.colons
        if is_single and _first_from(self.conjunctions, reached[0][0], end) == end:
            comma = _first_from(tokens.breaks, phrase.end + 1, end)
        left_open, outer, denied = set[Span](), 0, phrase.end
        """`denied`: the word behind the last finding of the list."""
        for span in reached:
            while reached[outer][1] <= span[0]:
                outer += 1
            start = max(self.begins.get(reached[outer][0], reached[outer][0]), phrase.end)
            is_listed = (
                (start in tokens.is_break and start not in tokens.colons)
                or start in tokens.slashes
                or tokens.words[start - 1] in CONJUNCTIONS
            )
            is_next = start - (tokens.words[start - 1] in CONJUNCTIONS) <= denied
            if not is_next and (self.are_all or (tokens.words[start - 1] == "and" and start - 1 in self.stops)):
                is_listed = False  # `without fever the rash and cough`
            if span[0] >= comma or not (start == phrase.end or is_listed):
                left_open.add(span)
            else:
                denied = max(denied, span[1])
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
                is_apart = "over_comma" not in phrase.roles.others and any(
                    word in tokens.is_break and word not in tokens.colons for word in gap
                )
                if start - stop > MAX_GAP or (is_apart and not (start == stop and phrase.end in tokens.is_break)):
                    return []
            else:
                words = tokens.words[stop:start]
                is_list = start in tokens.slashes or is_list or not _LIST_WORDS.isdisjoint(words)
                if (
                    not is_list
                    or not _LIST_WORDS.issuperset(words)
                    or not (words or start in tokens.is_break or start in tokens.slashes)
                ):
                    return reached
            while at >= 0 and by_stop[at][1] == stop:
                if by_stop[at][0] >= floor:
                    reached.append(by_stop[at])
                    start = min(start, by_stop[at][0])
                at -= 1
