"""Which of the answers that a text states counts: the last that is neither conditional, nor reported, nor taken back.

`If she faints the answer is a; today the answer is b` states b, and so do `Some would say the answer is a, but it is b`
and `The answer is a. No, wait: b`. Where a text takes its answer back and gives no other, none counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from r2d.rationales.stated_label import DENIES, StatedLabel, find_label, named_options, names_another

MOST_MATCHES = 500
"""Matches of one pattern that are tried; a text with more states no answer that is clear."""
LONGEST_SENTENCE = 2_000  # characters in which the beginning or the end of a sentence is looked for

Standing = Literal["asserted", "circumstance", "conditional", "reported", "denied", "several", "none"]
"""`circumstance`: asserted `in`, `with` or `without` something, which may be the case at hand or another one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One place where a text states an answer."""

    parser: str  # which pattern matched, or `correction`
    start: int
    sentence_start: int
    end: int  # where the label ends; where the match ends if there is none
    stated: StatedLabel
    standing: Standing
    rationale: str | None = None  # the group `rationale` of the pattern

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
    if current is not None and _ends_with_another(text, current, options, codes):
        answer.statement, answer.unclear = None, "another option is named behind it"
    return answer


_LEAD = re.compile(r"(?:\A|[.!?…;:,(\n—–])[\s*_\"'“]*(?:\w+[ ]){0,2}\Z")
_ENDS_SENTENCE = re.compile(r"[\s*_\"'”’)\]`]*(?:[.!\n]|\Z)")


def _ends_with_another(text: str, answer: Statement, options: Sequence[str], codes: Mapping[str, str]) -> bool:
    """Whether another option stands behind the answer by itself: `well, b`, `Or b.`, `Make it b!`; or is moved to.

    A sentence that denies something, speaks of what may be, or names several options is none.
    """
    if not any(map(str.isalnum, text[answer.end : answer.end + 400])):
        return False
    for start, end in named_options(text, answer.end, answer.label or "", options, codes):
        if _moves_to(text, max(sentence_start(text, start), answer.end), start, end):
            return True
        if not (_ENDS_SENTENCE.match(text, end) and _LEAD.search(text, max(answer.end - 1, start - 60), start)):
            continue
        first = max(sentence_start(text, start), answer.end)
        sentence = text[first : sentence_end(text, end)]
        names = list(named_options(sentence, 0, "", options, codes))
        if len(names) == 1 and not (DENIES.search(sentence) or _IF.search(sentence) or _WOULD.search(sentence)):
            return True
    return False


_NEXT_CASE = re.compile(
    r"\n[ \t]*(?:-{3,}|\*{3,}|={3,}|#{3,})[ \t]*\n|(?:\n\W{0,6}|[.!?]\s+)(?:patient|call(?:er)?|case|note|text|input"
    r"|message|example|question|q)\s{0,2}\d{0,4}\s{0,2}[\])*_]{0,3}(?::|\n)|\n\W{0,6}\[?(?:call|case|example|patient|input)\s\d"
    r"|\b(?:next|another|second|new|following)\s+(?:call(?:er)?|patient|case|example|note|question|input)\b",
    re.I,
)
"""Where a text goes on to another case, so that two answers need not be of one."""
LONGEST_MOVE = 80  # characters before an option in which the words that move to it are looked for
_FINAL = re.compile(r"\b(?:final|correct(?:ed)?|revised|updated)\b", re.I)
_MOVES = re.compile(
    r"(?P<first_person>\b(?:I|we)(?:['’]d|['’]ll)?\s+(?:\w+\s+){0,2})?\b(?:(?:upgrad|downgrad|rais|lower|escalat|chang|revis|mov|bump|switch|shift|push)\w*"
    r"\s+(?:\w+\s+){0,3}to|settle\s+(?:on|for)|(?:go|going)\s+(?:for|with)|opt\s+for|(?:final\s+)?(?:triage|level|category|label|answer|disposition)"
    r"\s+(?:\w+\s+)?(?:should|must|has\s+to|ought\s+to)\s+be|(?:final|reconsidering|reconsidered|revised|updated|corrected)\s*:)"
    r"\W*(?:(?:an?|the)\s+)?\Z",
    re.I,
)  # fmt: skip


def _moves_to(text: str, first: int, start: int, end: int) -> bool:
    """Whether the words before an option move the answer to it: `sweating raises this to b`, `I would go with b`."""
    moves = _MOVES.search(text, max(first, start - LONGEST_MOVE), start)
    if moves is None:
        return False
    sentence = text[max(first, start - 300) : min(sentence_end(text, end), end + 300)]
    if DENIES.search(sentence) or _IF.search(sentence) or _THEN_IF.match(text, end):
        return False
    return moves.group("first_person") is not None or not _WOULD.search(sentence)


def _weigh(answer: Answer, statement: Statement) -> None:
    """Take the next statement of a text into account."""
    current, denied = answer.statement, statement.stated.denied
    if statement.standing == "circumstance" and current is not None and current.label != statement.label:
        answer.statement, answer.unclear = None, "another answer under some circumstance"
    elif statement.standing in ("asserted", "circumstance"):
        if current is not None and current.label != statement.label:
            answer.withdrawn.append(current)
        answer.statement, answer.unclear = statement, ""
    elif statement.standing == "denied" and current is not None and statement.label == current.label:
        answer.withdrawn += [current, statement]
        answer.statement, answer.unclear = None, "taken back"
    elif statement.standing in ("conditional", "reported", "denied"):
        if statement.standing != "conditional":
            answer.withdrawn.append(statement)
        if current is None:
            answer.unclear = answer.unclear or f"only {statement.standing}"
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


def _statements(
    text: str, patterns: Sequence[str], options: Sequence[str], codes: Mapping[str, str]
) -> Iterator[Statement]:
    """Every statement, pattern by pattern; the line of one may hold a second."""
    for number, pattern in enumerate(patterns):
        position = 0
        for _ in range(MOST_MATCHES + 1):
            if (match := compiled(pattern).search(text, position)) is None:
                break
            if match.group("label"):
                stated = find_label(match.group("label"), options, codes)
                has_label = stated.label is not None or stated.denied is not None
                end = match.start("label") + stated.end if has_label else match.end("label")
                first = sentence_start(text, match.start())
                standing = _standing(text, first, match, end, stated)
                rationale = match.groupdict().get("rationale")
                yield Statement(f"answer_patterns[{number}]", match.start(), first, end, stated, standing, rationale)
            position = max(match.start("label"), match.start() + 1)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the config: case does not count, and `^` is the start of a line."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


# --- how a statement is meant ---

_SENTENCE = re.compile(r"[.!?。！？][\"'”’)\]*_]{0,4}\s+|\n")
_CONTRAST = re.compile(
    r"[;—]|\b(?:but|yet|however|nevertheless|instead|today|now|currently|here|in this case|as it is|so|therefore|thus"
    r"|hence)\b",
    re.I,
)
_NEW_CLAUSE = re.compile(r"[;—]|\b(?:but|yet|however|nevertheless|so|therefore|thus|hence)\b|,\s*which\b", re.I)
_IF = re.compile(
    r"(?<!\beven\s)(?<!\bas\s)(?<!\bsee\s)\bif\b(?!\s+(?:i|we|you|one)\s+(?:had|have|must|look|consider|think|go|follow"
    r"|use|apply|read)\b)(?!\s+any\b)"
    r"|\b(?:unless|suppos(?:e|ing)|assuming|provided|providing|hypothetically|otherwise|in case|as long as|in the event"
    r"|depend(?:s|ing)\s+(?:up)?on)\b|\A\W*(?:or\s+)?else\b"
    r"|\b(?:were|should|had)\s+(?:she|he|they|it|the|this|there|any|symptoms|pain)\b"
    r"|\b(?:when(?:ever)?|once|until|as\s+soon\s+as)\s+(?:she|he|they|it|this|symptoms|pain|the\s+(?:patient|caller|pain|symptoms|fever))\b",
    re.I,
)
_THEN_IF = re.compile(
    r"(?!\s*\n\s*(?-i:[A-Z]))[\s*_\"'”’)\],]{0,6}(?:only\s+|but\s+only\s+)?"
    r"(?:(?<!,\s)(?:if|when(?=\s+(?:she|he|they|it|the|this)\b))|(?<=,\s)if|provided|assuming|in\s+case|as\s+long\s+as)\b"
    r"(?!\s+not\s+(?:sooner|earlier|already|worse)\b)",
    re.I,
)
_IF_ANYWHERE = re.compile(r"\b(?:if|unless|were|had|provided|in case)\b", re.I)
_WOULD = re.compile(r"\b(?:would|could|might|may)\b", re.I)
_QUESTION = re.compile(r"[\s*_\"'”’)\]]{0,4}\?")
_PERSON = re.compile(
    r"\b(?:some|many|most|people|one|they|he|she|you|others?|another|someone|somebody|anyone|everyone|nobody|no one|who"
    r"|critics|experts|(?:the|a|her|his|my|our|their)\s+(?:\w+\s+)?(?:patient|caller|mother|father|parents?|daughter|son"
    r"|nurse|doctor|physician|student|husband|wife|family|colleague|model|user|neighbou?r|partner|friend|paramedic"
    r"|assistant|quiz|textbook))\b",
    re.I,
)
_SAYING = (
    r"sa(?:y|ys|id|ying)|argu\w+|claim\w*|think\w*|thought|believ\w+|guess\w*|assum\w+|ask\w*|wonder\w*|insist\w*"
    r"|suspect\w*|hope\w*|fear\w*|told|tell\w*|stat(?:e|es|ed|ing)|pretend\w*|imagin\w+|suppos\w+|felt|feel\w*|wrote"
    r"|writes?|answer(?:s|ed)|repl(?:y|ies|ied)|propos\w+|output\w*|predict(?:s|ed)|vote[sd]?|responded|rate[sd]|worr(?:y|ies|ied)|convinced|prefer\w*|want\w*"
)
_INFERRING = (
    r"mean\w*|suggest\w*|indicat\w+|shows?|showed|impl(?:y|ies|ied)|conclud\w+|follows?|confirm\w*|decid\w+|find|found"
    r"|case|true|clear|evident|obvious|likely|unlikely|possible|sure|certain|determin\w+|know|knew|agree\w*|infer\w*"
    r"|doubt\w*|disagree\w*|deny|denies|den(?:y|ied|ying)|reject\w*|dispute\w*|exclud\w+|rules?\s+out|ruled\s+out|idea|notion|view|opinion|impression|claim"
)
_GOVERNS = re.compile(
    rf"\b(?:(?P<saying>{_SAYING})|(?P<inferring>{_INFERRING}))(?:\s+(?:me|us|him|her|them|the\s+\w+|now|again|to\s+\w+))?"
    r",?(?:\s+(?:that|whether|how|why))?[\s:,\"'“”‘’*_(]*\Z",
    re.I,
)
_NEGATION = re.compile(
    r"\b(?:not|never|no\s+one|nobody|cannot|hardly|neither|nor|doubt\w*|disagree\w*|den(?:y|ies|ied|ying)|reject\w*"
    r"|dispute\w*|exclud\w+|rules?\s+out|ruled\s+out|wrong|mistaken?|incorrect|false|tempt\w*|unlikely|impossible|without)\b|n['’]t\b",
    re.I,
)
_FIRST_PERSON = re.compile(r"\b(?:I|we)(?:['’]d|['’]m|['’]ve|['’]ll)?\b", re.I)
_NO_LONGER = re.compile(
    r"\b(?:thought|assumed|guessed|believed|supposed|suspected|said|felt|hoped|feared|wondered?|asked|wanted|preferred"
    r"|was|were|had|have|might|could|may|would\s+have|initially|first|originally|used\s+to)\b",
    re.I,
)
_ONCE = re.compile(
    r"\b(?:(?:first|initial|early|earlier|previous|original|prior|gut)\s+(?:thought|impression|guess|idea|instinct|reaction"
    r"|answer|assessment|view|hunch|judg\w+)|at\s+first(?:\s+(?:sight|glance))?|initially|originally|previously|formerly|on\s+the\s+surface|naively|perhaps"
    r"|maybe|possibly|supposedly|allegedly|hypothetically|in\s+theory|it\s+is\s+tempting|rather\s+than|instead\s+of"
    r"|is\s+it\s+(?:true|possible|likely)(?:\s+that)?|(?:do|does|did|can|could|would)\s+(?:you|it|we|one)\s+\w+)"
    r"\W+(?:\w+\W+){0,3}\Z"
    r"|\baccording\s+to\s+(?!(?:the|this|these|our)\s+(?:note|text|guide\w*|protocol|information|description|above|case"
    r"|call|rules?|criteria)\b)(?:\w+[\s,]+){1,4}\Z",
    re.I,
)
_NO_DOUBT = re.compile(r"\b(?:no|without|beyond|little)\s+(?:a\s+|any\s+)?doubt\b", re.I)
_ELSEWHERE = re.compile(r"\b(?:in|for|with)\s+(?:an?|another|other|different|most|many|some|older|younger)\b", re.I)
_CIRCUMSTANCE = re.compile(
    r"(?:\A|,)\W*(?:(?:and|but|while|whereas)\s+)?(?:in|for|with|without|absent|barring|among|under|according\s+to)\s+"
    r"(?!(?:conclusion|summary|short|sum|fact|total|general|light|view|retrospect|hindsight|my|our|this|these|the\s+end"
    r"|that\s+in\s+mind|all\s+th\w+|sure|certain)\b)",
    re.I,
)
_IF_LINE = re.compile(r"(?:\A|\n)\W*(?:if|when|unless|should|in\s+case|in\s+the\s+event)\b[^\n.!?]{0,200}\n\s*\Z", re.I)
_CROSS = re.compile("[❌✗✘✖🚫⛔]")
_SAYS_WHO = re.compile(
    r"[\s*_\"'”’),–—-]{1,6}(?:(?:some|many|others?|people|one|they|he|she|(?:the|an?|her|his|my|our|their)\s+\w+)\s+(?:would\s+|might\s+|may\s+|could\s+)?"
    rf"(?:{_SAYING})\b|(?:says|said|claims|thinks|believes)\s+(?:some|the|he|she|her|his|one)\b)",
    re.I,
)


def _standing(text: str, first: int, match: re.Match[str], end: int, stated: StatedLabel) -> Standing:
    """How a statement is meant that stands in a sentence from `first` on, and whose label ends at `end`."""
    if stated.label is None:
        return "several" if stated.detail == "two answers stated" else "none"
    prefix = text[first : match.start()]
    after = text[end : end + 200]
    if _CROSS.search(match.group()[: match.start("label") - match.start()]):
        return "denied"
    if not any(map(str.isalpha, prefix)):
        if _IF_LINE.search(text[max(0, first - 300) : first]):
            return "conditional"
    else:
        earlier = [match.end() for match in _CONTRAST.finditer(prefix)]
        has_other = "answer" in prefix.casefold() and earlier  # a statement of its own, from which a contrast leads on
        if _IF.search(prefix[earlier[-1] :] if has_other else _last_part(prefix)):
            return "conditional"
        clause = _after_last(_NEW_CLAUSE, prefix)
        if _ONCE.search(clause[-200:]):
            return "reported"
        if (governed := _governed(clause[-200:])) is not None:
            return governed
    if _THEN_IF.match(text, end) or _QUESTION.match(after):
        return "conditional"
    is_subjunctive = _WOULD.search(text, match.start(), match.start("label")) is not None
    if is_subjunctive and (_ELSEWHERE.search(prefix) or _IF_ANYWHERE.search(text, end, sentence_end(text, end))):
        return "conditional"
    if _SAYS_WHO.match(after):
        return "reported"
    return "circumstance" if _CIRCUMSTANCE.search(_last_part(prefix)) else "asserted"


def _governed(clause: str) -> Standing | None:
    """Whether the words before a statement make it someone else's, or deny it; None where they do neither."""
    governs = _GOVERNS.search(clause)
    if governs is None:
        return None
    before = _after_last(re.compile(r","), clause[: governs.start()]) if "," in clause[: governs.start()] else (
        clause[: governs.start()])  # fmt: skip
    whole = before + governs.group()
    if _NEGATION.search(_NO_DOUBT.sub("", whole)):
        return "denied"
    if governs.group("inferring"):
        is_others = _PERSON.search(before) is not None and _FIRST_PERSON.search(before) is None
    else:
        is_others = _FIRST_PERSON.search(before) is None or _NO_LONGER.search(whole) is not None
    return "reported" if is_others else None


def _last_part(prefix: str) -> str:
    """The text behind the last semicolon."""
    return prefix[max(prefix.rfind(";"), prefix.rfind("—")) + 1 :]


def _after_last(pattern: re.Pattern[str], text: str) -> str:
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return text[end:]


def sentence_start(text: str, position: int) -> int:
    """Where the sentence at a position begins; behind a full stop, a small letter or a digit begins none, nor does a
    small letter on the next line of a wrapped text."""
    first = max(0, position - LONGEST_SENTENCE)
    for match in reversed(list(_SENTENCE.finditer(text, first, position))):
        end = match.end()
        following, before = text[end : end + 1], text[match.start() - 1 : match.start()]
        if match.group() == "\n":
            if not (following.islower() and (before.isalpha() or before == ",")):
                return end
        elif text[end - 1] == "\n" or not (following.islower() or following.isdigit()):
            return end
    return 0


def sentence_end(text: str, position: int) -> int:
    """Where the sentence at a position ends, its full stop included."""
    last = min(len(text), position + LONGEST_SENTENCE)
    for match in _SENTENCE.finditer(text, position, last):
        following = text[match.end() : match.end() + 1]
        if text[match.end() - 1] == "\n" or not (following.islower() or following.isdigit()):
            return match.end() if match.group() != "\n" else match.start()
    return last


# --- corrections: what takes a statement back without the words of an answer ---

TAKEN_BACK = "taken back"
_BEGINS = r"(?:\A|[.!?…;:,(\n–—]|\s-|\bbut\b|\band\b|\bor\b)[\s*_\"'“]{0,6}"
_INTERJECTION = r"(?:(?:oh|ah|oops|hmm+|well|ok(?:ay)?|no|but|and|so|sorry|yet)\b[\s,.!…–—-]{0,6}){0,3}"
_STRONG = (
    r"wait(?=\s*[,.!…:;–—-]|\s+(?:a|no|what|actually)\b)|hold\s+on|hang\s+on|scratch\s+that|strike\s+that|not\s+so\s+fast"
    r"|never\s+mind|my\s+mistake|in\s+hindsight|correction(?=\s*[:,–—-])"
    r"|(?:up)?on\s+(?:second|third|closer|further|careful)\s+(?:thoughts?|look|inspection|reflection|reading)"
    r"|(?:up)?on\s+(?:reflection|review|re-?assessment|re-?evaluation)"
    r"|let\s+me\s+(?:re\w+|correct|think\s+again|double[\s-]check|start\s+(?:over|again))"
    r"|(?:I|we)\s+(?:was|were|am|stand)\s+(?:wrong|mistaken|corrected)|I\s+(?:made\s+a\s+mistake|misread|misjudged)"
    r"|I\s+(?:(?:must|have\s+to|need\s+to|should|will|would)\s+)?(?:take\s+(?:it|that|this)\s+back"
    r"|(?:change|revise|withdraw|retract|correct|reconsider)\w*\s+(?:my|the|that|this|it))"
    r"|(?:thinking|looking)\s+(?:again|about\s+it\s+(?:more|again|further)|more\s+closely)"
    r"|after\s+(?:reconsider\w+|thinking\s+again|re-?reading)"
    r"|(?:false|wrong|incorrect|not\s+(?:true|right|correct|so))(?=\s*(?:[.!]|\Z))"
    r"|(?:which|(?:that|this|the\s+(?:above|previous|first))(?:\s+(?:answer|label|choice|option|conclusion))?|it)(?:['’]s|\s+(?:is|was|would\s+be|seems|cannot\s+be))\s+"
    r"(?:clearly\s+|obviously\s+)?(?:wrong|incorrect|mistaken|a\s+mistake|an\s+error|not\s+(?:right|correct|true|so)|false)"
    r"\b(?!\s+(?:to|that|for)\b)"
    r"|that\s+(?:cannot|can['’]t)\s+be\s+(?:right|correct|true)"
)
_WEAK = (
    r"(?:actually|in\s+fact|instead|rather|better|sorry|oops|edit|update|erratum|just\s+kidding|well|I\s+meant?|then\s+again|correction|no(?=\s*[,.:;!…–—-]))\b(?!\s+than\b)"
    r"|make\s+(?:that|it)\b|change\s+(?:that|it)\s+to\b"
)
_CUE = re.compile(rf"{_BEGINS}{_INTERJECTION}(?:(?P<strong>{_STRONG})|(?P<weak>{_WEAK}))", re.I)
_IT_IS = re.compile(
    r"(?:\b(?:so|therefore|thus|hence|today|now|then|here|and|but|instead|rather)\b|[,;.:–—\n])[\s,]{0,6}"
    r"(?:it|this|that|she|he)(?:['’]s|\s+(?:is|was|remains|stays|must\s+be|should\s+be))\b",
    re.I,
)
_RESTATES = re.compile(
    r"(?:[\s,:;.!…*_\"'“(–—-]|\b(?:it|this|that|the|my|our|answer|label|category|level|decision|final|correct|right|is|was"
    r"|must|should|would|be|make|made|say|as|now|rather|instead|actually|I|we|mean|choose|pick|go|with|to|change|changes"
    r"|changed|an?|still|so|therefore)\b|['’][sd]\b){0,24}+",
    re.I,
)
_CLOSES = re.compile(
    r"[\s*_\"'”’)\]`]*(?:\Z|[.,:;!\n–—-]|\b(?:because|since|as|for|due|given|and|with|instead|now|today|rather|after\s+all"
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
            standing: Standing = "conditional" if _THEN_IF.match(text, named_end) else "asserted"
            first = sentence_start(text, match.start())
            yield Statement("correction", match.start(), first, named_end, stated, standing)
            position = max(position, named_end)
        elif match.re is _CUE and (match.group("strong") or _names_another(text, match, answer, options, codes)):
            first = sentence_start(text, match.start())
            yield Statement(TAKEN_BACK, match.start(), first, match.end(), StatedLabel(), "none")


def _next_cue(text: str, position: int, end: int, answer: Answer) -> re.Match[str] | None:
    """The next words of a correction; `it is ...` counts where no answer does."""
    cue = _CUE.search(text, position, end)
    if answer.statement is not None:
        return cue
    it_is = _IT_IS.search(text, position, end)
    return min((match for match in (cue, it_is) if match is not None), key=re.Match.start, default=None)


def _is_written(text: str, position: int) -> bool:
    """Whether a label there is no small letter alone, which is a word: `a fever`."""
    return not (text[position : position + 1].islower() and not text[position + 1 : position + 2].isalnum())


def _names_another(
    text: str, cue: re.Match[str], answer: Answer, options: Sequence[str], codes: Mapping[str, str]
) -> bool:
    """Whether the sentence that begins with `actually`, `no` or `in fact` names another option."""
    word = (cue.group("weak") or "").casefold()
    if answer.statement is None or not word.startswith(("actually", "no", "in")):
        return False
    sentence = text[cue.end() : sentence_end(text, cue.end())]
    return names_another(sentence, answer.statement.label or "", options, codes)
