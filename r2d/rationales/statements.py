"""Which of the answers that a text states counts: the last that is neither conditional, nor reported, nor taken back.

`If she faints the answer is a; today the answer is b` states b, and so do `Some would say the answer is a, but it is b`
and `The answer is a. No, wait: b`. Where a text takes its answer back and gives no other, none counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from r2d.config.rationales import ANSWER_PATTERNS
from r2d.rationales.retraction import CUE, RETRACTING, RETRACTS, doubt_behind
from r2d.rationales.standing import (
    HAS_LETTER,
    QUESTION,
    THEN_IF,
    Standing,
    says_another,
    sentence_end,
    sentence_start,
    sentence_starts,
    standing_of,
)
from r2d.rationales.stated_label import StatedLabel, find_label, lists_otherwise, stands_alone

MOST_MATCHES = 500
"""Matches of one pattern that are tried; a text with more states no answer that is clear."""


Form = Literal["alone", "heading", "sentence"]
"""`alone`: of the group `alone`; `heading`: `Answer: a`; `sentence`: `The answer is a`."""


class Statement(NamedTuple):
    """One place where a text states an answer."""

    parser: str  # which pattern matched, or `correction`
    start: int
    sentence_start: int
    end: int  # where the label ends; where the match ends if there is none
    stated: StatedLabel
    standing: Standing
    rationale: str | None = None  # the group `rationale` of the pattern
    form: Form = "sentence"
    is_final: bool = False  # whether it calls itself final, correct or revised

    @property
    def label(self) -> str | None:
        return self.stated.label


@dataclass(slots=True)
class Answer:
    """What all statements of a text come to."""

    statement: Statement | None = None
    withdrawn: list[Statement] = field(default_factory=list)
    """Statements that do not count, because they are reported, or another followed."""
    unclear: str = ""  # why there is none, where the text states one that does not count
    refused: Statement | None = None  # the first that names no option
    all: list[Statement] = field(default_factory=list)  # in their order, whether they count or not


def final_answer(text: str, patterns: Sequence[str], options: Sequence[str], codes: Mapping[str, str]) -> Answer:
    """The answer that counts, or why none does."""
    answer = Answer()
    statements = sorted(_statements(text, patterns, options, codes), key=lambda statement: statement.start)
    if len(statements) > MOST_MATCHES:
        return Answer(unclear=f"more than {MOST_MATCHES} statements of an answer")
    end = 0
    for place, statement in enumerate(statements):
        current = answer.statement
        if (
            current is not None
            and current.end <= statement.start
            and _NEXT_CASE.search(text, current.end, statement.start)
        ):
            if statement.label == current.label:
                break  # a run-on that no pattern knows
            if statement.label is not None and not _FINAL.search(text, statement.start, statement.end):
                answer.statement, answer.unclear = None, "another answer behind the next case"
                return answer
        answer.all.append(statement)
        _weigh(answer, statement)
        end = statements[place + 1].start if place + 1 < len(statements) else len(text)
        if answer.statement is not None or answer.withdrawn or answer.unclear or statement.stated.denied:
            for correction in _corrections(text, statement.end, end, answer, options, codes):
                _weigh(answer, correction)
    current = answer.statement
    if current is None or current.end >= len(text.rstrip(" .\n*_")):
        return answer if current is None else _by_own_list(text, answer, options, codes)
    aside = ("conditional", "elsewhere", "reported", "denied")
    weighed = [(one.start, one.end) for one in answer.all if one.start >= current.end and one.standing in aside]
    if doubt := doubt_behind(text, current.end, current.label or "", options, codes, weighed):
        answer.statement, answer.unclear = None, doubt
        return answer
    return _by_own_list(text, answer, options, codes)


def _by_own_list(text: str, answer: Answer, options: Sequence[str], codes: Mapping[str, str]) -> Answer:
    """The answer, unless it is a letter, a number or an ordinal and the text lists the options otherwise."""
    if answer.statement is not None and answer.statement.stated.by_place and lists_otherwise(text, options, codes):
        answer.statement, answer.unclear = None, "the text lists the options in another order"
    return answer


_NEXT_CASE = re.compile(
    r"\n[ \t]*(?:-{3,}|\*{3,}|={3,}|#{3,})[ \t]*\n|(?:\n\W{0,6}|[.!?]\s+)(?:patient|call(?:er)?|case|note|text|input"
    r"|message|example|question|q|scenario|situation|variant|version|child)\s{0,2}(?:\d{0,4}"
    r"|[a-z])\s{0,2}[\])*_]{0,3}(?::|\n)|\n\W{0,6}\[?(?:call|case|example|patient|input)\s\d"
    r"|\b(?:next|another|second|new|following)\s+(?:call(?:er)?|patient|case|example|note|question|input)\b",
    re.I,
)
"""Where a text goes on to another case, so that two answers need not be of one."""
_FINAL = re.compile(r"\b(?:final|correct(?:ed)?|revised|updated)\b", re.I)


def _weigh(answer: Answer, statement: Statement) -> None:
    """Take the next statement of a text into account."""
    current, denied = answer.statement, statement.stated.denied
    if statement.standing in ("circumstance", "elsewhere") and current is not None and current.label != statement.label:
        answer.statement, answer.unclear = None, "another answer under some circumstance"
    elif statement.standing in ("asserted", "circumstance"):
        other = current if current is not None and current.label != statement.label else None
        answer.withdrawn += [other] if other is not None else []
        is_third = answer.unclear == TWO_ANSWERS and statement.form != "sentence"
        if not statement.is_final and (is_third or (other is not None and _contradict(other, statement))):
            answer.statement, answer.unclear = None, TWO_ANSWERS
        else:
            answer.statement, answer.unclear = statement, ""
    elif statement.standing == "denied" and current is not None and statement.label == current.label:
        answer.withdrawn += [current, statement]
        answer.statement, answer.unclear = None, "taken back"
    elif statement.standing in ("unknown", "crossed"):
        answer.withdrawn += [current, statement] if current is not None else [statement]
        answer.statement = None
        answer.unclear = "crossed out" if statement.standing == "crossed" else "behind words that are not known"
    elif statement.standing in ("elsewhere", "conditional", "reported", "denied"):
        answer.withdrawn.append(statement)
        if current is None:
            kind = "conditional" if statement.standing == "elsewhere" else statement.standing
            answer.unclear = answer.unclear or f"only {kind}"
    elif statement.standing == "several":
        answer.refused = answer.refused or statement
        answer.statement = None
    elif denied is not None and current is not None and denied == current.label:
        answer.withdrawn.append(current)
        answer.statement, answer.unclear = None, "taken back"
    elif statement.parser == TAKEN_BACK:
        answer.withdrawn += [current] if current is not None else []
        answer.statement, answer.unclear = None, "taken back"
    else:
        answer.refused = answer.refused or statement


def _contradict(one: Statement, other: Statement) -> bool:
    """Whether two answers that differ stand side by side, so that neither takes the other back: `Answer: a. Level: b`.
    Of sentences the last counts."""
    return "alone" in (one.form, other.form) or one.form == other.form == "heading"


_NEEDED = dict(
    zip(
        ANSWER_PATTERNS,
        (
            (":", "=", "：", "-", "–", "—", "]", ">", "→", "⇒", "➜", *"0123456789"),
            ("\n",),
            ("\\boxed",),
            ("<",),
            ("",),
            ("",),
            ("\n", "###", "herefore", "thus", "hence"),
            (
                "classif", "triag", "rate", "categori", "label", "code", "grade", "assign", "choose", "select", "pick",
                "recommend", "go with", "going with", "opt for", "suggest", "decide", "choosing", " say ",
                "falls ", "belongs ", "qualifies", "should be", "must be", "level", "class", " here is",
            ),
            ("antwo", "entscheid", "einstuf", "kategor", "répon", "décis", "catég", "respuest", "decis", "categor",
             "respost", "rispost", "besliss"),
        ),
        strict=True,
    )
)  # fmt: skip
"""Shipped pattern -> one of these stands in all that it matches, in small letters."""


def _statements(
    text: str, patterns: Sequence[str], options: Sequence[str], codes: Mapping[str, str]
) -> Iterator[Statement]:
    """Every statement, pattern by pattern; the line of one may hold a second."""
    small = text.lower()
    for number, pattern in enumerate(patterns):
        if not any(map(small.__contains__, _NEEDED.get(pattern, ("",)))):
            continue
        position, form_of = 0, compiled(pattern)
        find = form_of.match if pattern.startswith(r"\A") else form_of.search
        for _ in range(MOST_MATCHES + 1):
            if (match := find(text, position)) is None:
                break
            groups = match.groupdict()
            group = "alone" if groups.get("alone") else "label"
            if groups.get(group):
                stated = find_label(match[group], options, codes)
                lead, start = text[match.start() : match.start(group)], match.start(group)
                if group == "label" or stands_alone(text, start, stated, has_noun=HAS_LETTER.search(lead) is not None):
                    has_label = stated.label is not None or stated.denied is not None
                    end = start + stated.end if has_label else match.end(group)
                    begin = start - len(lead.lstrip())
                    first = sentence_start(text, begin)
                    standing = standing_of(text, first, begin, start, end, stated, is_alone=group == "alone")
                    name, is_final = f"answer_patterns[{number}]", _FINAL.search(lead) is not None
                    form: Form = "alone" if group == "alone" else "sentence" if _VERB.search(lead) else "heading"
                    yield Statement(name, begin, first, end, stated, standing, groups.get("rationale"), form, is_final)
            position = max(match.start(group), match.start() + 1)


_VERB = re.compile(r"\b(?:is|was|be)\W*\Z", re.I)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the config: case does not count, and `^` is the start of a line."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


# --- corrections: what takes a statement back without the words of an answer ---

TAKEN_BACK, TWO_ANSWERS = "taken back", "two answers stated"
_IT_IS = re.compile(
    r"(?:\b(?:so|therefore|thus|hence|today|now|then|here|and|but|instead|rather)\b|[,;.:–—\n])[\s,]{0,6}"
    r"(?:it|this|that|she|he)(?:['’]s|\s+(?:is|was|remains|stays|must\s+be|should\s+be))\b",
    re.I,
)
_RESTATES = re.compile(
    r"(?:[\s,:;.!…*_\"'“(–—-]|\b(?:it|this|that|the|my|our|answer|label|category|level|decision|final|correct|right|is"
    r"|was"
    r"|must|should|would|be|make|made|say|as|now|rather|instead|actually|I|we|mean|choose|pick|go|with|to|change"
    r"|changes"
    r"|changed|an?|still|so|therefore)\b|['’][sd]\b){0,24}+",
    re.I,
)
_CLOSES = re.compile(
    r"[\s*_\"'”’)\]`]*(?:\Z|[.,:;!\n–—-]|\b(?:because|since|as|for|due|given|and|with|instead|now|today|rather"
    r"|after\s+all"
    r"|is\s+(?:right|correct|better|the\s+\w*\s*(?:answer|label|one)))\b)",
    re.I,
)


def _corrections(
    text: str, start: int, end: int, answer: Answer, options: Sequence[str], codes: Mapping[str, str]
) -> Iterator[Statement]:
    """What between two statements takes the answer back, or names the one that is meant instead."""
    position = start
    while (match := _next_cue(text, position, end, answer)) is not None:
        position = max(match.end(), position + 1)
        named_at = match.end()
        restated = _RESTATES.match(text, named_at)
        named_at = restated.end() if restated else named_at
        stated = find_label(text[named_at : named_at + 400], options, codes)
        named_end = named_at + stated.end
        is_own = named_end <= end  # else it is the next statement, which is weighed by itself
        if stated.label is not None and is_own and _is_written(text, named_at) and _CLOSES.match(text, named_end):
            standing: Standing = "conditional" if THEN_IF.match(text, named_end) else "asserted"
            first = sentence_start(text, match.start())
            yield Statement("correction", match.start(), first, named_end, stated, standing)
            position = max(position, named_end)
        elif match.re is CUE and match.group("strong"):
            first = sentence_start(text, match.start())
            yield Statement(TAKEN_BACK, match.start(), first, match.end(), StatedLabel(), "none")


def _next_cue(text: str, position: int, end: int, answer: Answer) -> re.Match[str] | None:
    """The next words of a correction; `it is ...` counts where no answer does."""
    cue = CUE.search(text, position, end)
    if answer.statement is not None:
        return cue
    it_is = _IT_IS.search(text, position, end)
    return min((match for match in (cue, it_is) if match is not None), key=re.Match.start, default=None)


def _is_written(text: str, position: int) -> bool:
    """Whether a label there is no small letter alone, which is a word: `a fever`."""
    return not (text[position : position + 1].islower() and not text[position + 1 : position + 2].isalnum())


# --- what a text does not stand by before its answer ---


def refuted_parts(text: str, statement: Statement, answer: Answer) -> list[tuple[int, int]]:
    """The parts of a text before a statement that it does not stand by, in order and apart.

    That is the sentence of each answer that is withdrawn, denied without a reason or asked, and what a sentence such as
    `Wait, that is wrong` takes back: the sentence before where that says what others think, else all.
    """
    last = statement.sentence_start
    same = {("elsewhere", statement.label)}  # `In a cold a rash warns, so the right level is urgent` gives the reason
    refuted = [
        *(one for one in answer.withdrawn if (one.standing, one.label) not in same),
        *(one for one in answer.all if _is_denied(text, one) or QUESTION.match(text, one.end)),
    ]
    parts = [(sentence_start(text, one.start), _end_of_reply(text, one.end)) for one in refuted if one.end <= last]
    if "?" in text[:last]:
        asked = _ASKED.finditer(text, 0, last)
        parts += [(match.start("question"), _end_of_reply(text, match.start("question"))) for match in asked]
    folded = text[: statement.start].casefold()
    if any(map(folded.__contains__, RETRACTING)):
        not_asserted = {
            sentence_end(text, one.end) for one in refuted if one.standing not in ("asserted", "circumstance")
        }
        for start in [*sentence_starts(text[:last]), last]:
            match = RETRACTS.match(text, start, statement.start)
            if match is not None:
                end = match.end() if match.group("rest") or start == last else sentence_end(text, match.end())
                before = sentence_start(text, max(0, start - 2))
                is_others = start in not_asserted or says_another(text[before:start])
                parts.append((before if is_others else 0, min(end, statement.start)))
    apart: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if apart and start <= apart[-1][1]:
            start, end = apart[-1][0], max(end, apart.pop()[1])
        apart.append((start, end))
    return apart


_ASKED = re.compile(
    r"(?:\A|[.!?]\s+|\n\s*)(?P<question>(?:is|would|could|should|might|may|can)\b[^.!?\n]{0,120}\b(?:answer|label"
    r"|decision|level|category|verdict)\b"
    r"[^.!?\n]{0,80}\?)",
    re.I,
)
_SAYS_NO = re.compile(
    r"\s*(?:(?:no|nope|nah|hardly|of\s+course\s+not|(?:probably|certainly|clearly|surely|absolutely|rather"
    r"|really)\s+not|not\s+(?:really|quite|at\s+all|so|likely|here)"
    r"|(?:I|we)\s+(?:do\s+not|don['’]t)\s+think\s+so|unlikely|far\s+from\s+it)\W{0,3}(?=\s|\Z)(?<![,:]))+",
    re.I,
)


def _end_of_reply(text: str, position: int) -> int:
    """Where the sentence at a position ends, with the `No.` behind a question."""
    end = sentence_end(text, position)
    reply = _SAYS_NO.match(text, end) if "?" in text[position:end] else None
    return reply.end() if reply else end


def _is_denied(text: str, one: Statement) -> bool:
    """Whether a statement denies an option and gives no reason: `The answer is not a.`"""
    if one.label is not None or one.stated.denied is None:
        return False
    return not any(map(str.isalnum, text[one.end : sentence_end(text, one.end)]))
