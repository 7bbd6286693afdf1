"""How a text means a statement of an answer: as its own, or as somebody else's, under a condition, or denied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from r2d.rationales.stated_label import StatedLabel

LONGEST_SENTENCE = 2_000  # characters in which the beginning or the end of a sentence is looked for

Standing = Literal["asserted", "circumstance", "conditional", "reported", "denied", "several", "none"]
"""`circumstance`: asserted `in`, `with` or `without` something, which may be the case at hand or another one."""


_SENTENCE = re.compile(r"[.!?。！？\n](?:(?<!\n)[\"'”’)\]*_]{0,4}\s+|(?<=\n))")  # a set goes first: it is found fastest
_CONTRAST = re.compile(
    r"[;—]|\b(?:but|yet|however|nevertheless|instead|today|now|currently|here|in this case|as it is|so|therefore|thus"
    r"|hence)\b",
    re.I,
)
_NEW_CLAUSE = re.compile(r"[;—]|\b(?:but|yet|however|nevertheless|so|therefore|thus|hence)\b|,\s*which\b", re.I)
IF = re.compile(
    r"(?<!\beven\s)(?<!\bas\s)(?<!\bsee\s)\bif\b(?!\s+(?:i|we|you|one)\s+(?:had|have|must|look|consider|think|go|follow"
    r"|use|apply|read)\b)(?!\s+any\b)"
    r"|\b(?:unless|suppos(?:e|ing)|assuming|provided|providing|hypothetically|otherwise|in case|as long as|in the event"
    r"|depend(?:s|ing)\s+(?:up)?on)\b|\A\W*(?:or\s+)?else\b"
    r"|\b(?:were|should|had)\s+(?:she|he|they|it|the|this|there|any|symptoms|pain)\b"
    r"|\b(?:when(?:ever)?|once|until|as\s+soon\s+as)\s+(?:she|he|they|it|this|symptoms|pain|the\s+(?:patient|caller|pain|symptoms|fever))\b",
    re.I,
)
THEN_IF = re.compile(
    r"(?!\s*\n\s*(?-i:[A-Z]))[\s*_\"'”’)\],]{0,6}(?:only\s+|but\s+only\s+)?"
    r"(?:(?<!,\s)(?:if|when(?=\s+(?:she|he|they|it|the|this)\b))|(?<=,\s)if|provided|assuming|in\s+case|as\s+long\s+as)\b"
    r"(?!\s+not\s+(?:sooner|earlier|already|worse)\b)",
    re.I,
)
_IF_ANYWHERE = re.compile(r"\b(?:if|unless|were|had|provided|in case)\b", re.I)
WOULD = re.compile(r"\b(?:would|could|might|may)\b", re.I)
QUESTION = re.compile(r"[\s*_\"'”’)\]]{0,4}\?")
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
_SAYS = re.compile(rf"\b(?:{_SAYING})\b", re.I)
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
_PLAIN_LEADS = frozenset({"So ", "So, ", "Therefore, ", "Thus, ", "Hence, ", "Therefore ", "Thus ", "Hence "})
"""Words before a statement that do not change how it is meant."""
_CROSS = re.compile("[❌✗✘✖🚫⛔]")
_SAYS_WHO = re.compile(
    r"[\s*_\"'”’),–—-]{1,6}(?:(?:some|many|others?|people|one|they|he|she|(?:the|an?|her|his|my|our|their)\s+\w+)\s+(?:would\s+|might\s+|may\s+|could\s+)?"
    rf"(?:{_SAYING})\b|(?:says|said|claims|thinks|believes)\s+(?:some|the|he|she|her|his|one)\b"
    r"|(?:as\s+|so\s+)?(?:I|we)\s+(?:was|were)\s+told\b|according\s+to\s+(?:her|his|their|my|an?|some|others)\b)",
    re.I,
)


def standing_of(text: str, first: int, match: re.Match[str], end: int, stated: StatedLabel) -> Standing:
    """How a statement is meant that stands in a sentence from `first` on, and whose label ends at `end`."""
    if stated.label is None:
        return "several" if stated.detail == "two answers stated" else "none"
    prefix = text[first : match.start()]
    after = text[end : end + 200]
    if _CROSS.search(text, match.start(), match.start("label")):
        return "denied"
    if prefix in _PLAIN_LEADS:
        pass
    elif not any(map(str.isalpha, prefix)):
        if _IF_LINE.search(text[max(0, first - 300) : first]):
            return "conditional"
    else:
        earlier = [match.end() for match in _CONTRAST.finditer(prefix)]
        has_other = "answer" in prefix.casefold() and earlier  # a statement of its own, from which a contrast leads on
        if IF.search(prefix[earlier[-1] :] if has_other else _last_part(prefix)):
            return "conditional"
        clause = _after_last(_NEW_CLAUSE, prefix)
        if _ONCE.search(clause[-200:]):
            return "reported"
        if (governed := _governed(clause[-200:])) is not None:
            return governed
    if THEN_IF.match(text, end) or QUESTION.match(after):
        return "conditional"
    is_subjunctive = WOULD.search(text, match.start(), match.start("label")) is not None
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
    before = clause[: governs.start()].rpartition(",")[2]
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
        if _begins_behind(text, match):
            return match.end()
    return 0


def _begins_behind(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence begins behind a full stop or a line break."""
    end = match.end()
    following = text[end : end + 1]
    if match.group() == "\n":
        before = text[match.start() - 1 : match.start()]
        return not (following.islower() and (before.isalpha() or before == ","))
    return text[end - 1] == "\n" or not (following.islower() or following.isdigit())


def sentence_starts(text: str) -> Iterator[int]:
    """Where the sentences of a text begin."""
    yield 0
    yield from (match.end() for match in _SENTENCE.finditer(text) if _begins_behind(text, match))


def sentence_end(text: str, position: int) -> int:
    """Where the sentence at a position ends, its full stop included."""
    last = min(len(text), position + LONGEST_SENTENCE)
    for match in _SENTENCE.finditer(text, position, last):
        following = text[match.end() : match.end() + 1]
        if text[match.end() - 1] == "\n" or not (following.islower() or following.isdigit()):
            return match.end() if match.group() != "\n" else match.start()
    return last


def says_another(sentence: str) -> bool:
    """Whether a sentence says what somebody else thinks."""
    return _PERSON.search(sentence) is not None and _SAYS.search(sentence) is not None and not _FIRST_PERSON.search(
        sentence)  # fmt: skip
