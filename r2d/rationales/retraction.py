"""What stands behind an answer and leaves it unclear: words that take it back, or another option.

`The answer is a. Void.`, `... My answer has been revised.`, `... Given the fever, b seems better.` A text that denies
another option, names it under a condition, or describes it leaves the answer standing. Words are in `phrases.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from r2d.rationales.standing import CROSSES, IF, IN_BRACKETS, sentence_end, sentence_start
from r2d.rationales.stated_label import named_options, option_of_place
from r2d.rationales.wording import phrase_pattern
from r2d.text import small_letters

_BEGINS = r"(?:\A|[.!?…;:,()\]\n–—]|\s-|\bbut\b|\band\b|\bor\b)[\s*_\"'“]{0,6}"
_INTERJECTION = r"(?:(?:oh|ah|oops|hmm+|well|ok(?:ay)?|no|but|and|so|sorry|yet)\b[\s,.!…–—-]{0,6}){0,3}"
_RETRACTED = (
    r"scratch\s+that|strike\s+that|never\s+mind|my\s+mistake|correction(?=\s*[:,–—-])"
    r"|(?:disregard|ignore|forget|cancel|delete|undo|erase)\s+(?:that|this|it|what\s+I\s+(?:\w+\s+)?(?:said|wrote)"
    r"|(?:the|my)\s+(?:above|previous|last|first|earlier|former)(?:\s+\w+)?)\b"
    r"|(?:I|we)\s+(?:was|were|am|stand)\s+(?:wrong|mistaken|corrected)|I\s+(?:made\s+(?:a|an)\s+(?:mistake|error)"
    r"|misread|misjudged)"
    r"|I\s+got\s+(?:that|this|it)\s+wrong|I\s+(?:(?:must|have\s+to|need\s+to|should|will|would)\s+)?(?:take\s+(?:(?:it"
    r"|that|this|(?:the|my)\s+\w+)\s+back|back\s+\w+)"
    r"|(?:retract|withdraw)\s+(?:it|that|this))"
    r"|(?:false|wrong|incorrect|not\s+(?:true|right|correct|so))(?=\s*(?:[.!]|\Z))"
    r"|(?:which|(?:that|this|the\s+(?:above|previous|first))(?:\s+(?:answer|label|choice|option|conclusion))?"
    r"|it)(?:['’]s|\s+(?:is|was|would\s+be|seems|cannot\s+be))\s+"
    r"(?:clearly\s+|obviously\s+)?(?:wrong|incorrect|mistaken|a\s+mistake|an\s+error|not\s+(?:right|correct|true|so)"
    r"|false)"
    r"\b(?!\s+(?:to|that|for)\b)"
    r"|that\s+(?:cannot|can['’]t)\s+be\s+(?:right|correct|true)"
    r"|(?:that|this)\s+is\s+not\s+(?:what|in)\s+the\s+(?:note|text|call|message|description)\b"
    r"|(?:that|this|the\s+above|(?:that|this|my)\s+(?:first\s+|last\s+|earlier\s+)?(?:reasoning|line|point|reading"
    r"|thinking|argument|idea))\s+"
    r"(?:(?:is|was)\s+(?:\w+\s+)?(?:wrong|flawed|inaccurate|misguided|mistaken|unsound|not\s+it|not\s+the\s+case"
    r"|a\s+misreading)"
    r"|(?:does|did)(?:\s+not|n['’]t)\s+(?:hold(?:\s+up)?|add\s+up|make\s+sense|work))(?=\s*(?:[.!,;:–—]|\Z|\n))"
)
"""What says that something before was wrong."""
_DOUBTED = (
    r"wait(?=\s*[,.!…:;–—-]|\s+(?:a|no|what|actually)\b)|hold\s+on|hang\s+on|not\s+so\s+fast|in\s+hindsight"
    r"|(?:up)?on\s+(?:second|third|closer|further|careful)\s+(?:thoughts?|look|inspection|reflection|reading)"
    r"|(?:up)?on\s+(?:reflection|review|re-?assessment|re-?evaluation)"
    r"|let\s+me\s+(?:re-?\w+|correct|think\s+again|double[\s-]check|start\s+(?:over|again))"
    r"|I\s+(?:(?:must|have\s+to|need\s+to|should|will|would)\s+)?"
    r"(?:change|revise|withdraw|retract|correct|reconsider)\w*\s+(?:my|the|that|this|it)"
    r"|I\s+(?:must|have\s+to|need\s+to|should)\s+(?:reconsider|re-?think)\b(?!\s+(?:it\s+)?(?:if|when)\b)"
    r"|(?:thinking|looking)\s+(?:again|about\s+it\s+(?:more|again|further)|more\s+closely)"
    r"|after\s+(?:reconsider\w+|thinking\s+again|re-?reading)"
)
_STRONG = f"{_RETRACTED}|{_DOUBTED}"
_WEAK = (
    r"(?:actually|in\s+fact|instead|rather|better|sorry|oops|edit|update|erratum|just\s+kidding|well|I\s+meant?"
    r"|then\s+again|correction|no(?=\s*[,.:;!…–—-]))\b(?!\s+than\b)"
    r"|make\s+(?:that|it)\b|change\s+(?:that|it)\s+to\b"
)
RETRACTS = re.compile(
    rf"[^\w\n]{{0,12}}(?:(?:oh|ah|oops|hmm+|well|ok(?:ay)?|no|but|and|so|sorry|yet|actually|in\s+fact|however"
    rf"|{_DOUBTED})\b"
    rf"[\s,.!…:–—-]{{0,6}}){{0,4}}(?:{_RETRACTED})(?P<rest>\s*[,;:–—-]+\s*(?=\w))?",
    re.I,
)
RETRACTING = (
    "cancel", "delete", "undo", "erase", "scratch", "strike", "mind", "mis", "correct", "disregard", "ignore", "forget",
    "wrong", "error", " back", "retract", "withdraw", "false", "flaw", "accurate", "unsound", "not ", "n't ", "n’t ",
    "cannot",
)  # fmt: skip
"""One of these stands in all that `RETRACTS` matches."""
CUE = re.compile(rf"{_BEGINS}{_INTERJECTION}(?:(?P<strong>{_STRONG})|(?P<weak>{_WEAK}))", re.I)

LONGEST_NAME_ALONE = 3  # characters of an option that counts only by itself: `no`, `B`, `2`
FEWEST_DESCRIBING = 3  # words beside an option of a sentence that describes it

_SEGMENT = re.compile(r"[^.!?;\n()\[\]{}—–]+(?:[.](?=\d)[^.!?;\n()\[\]{}—–]+)*(?:[!?]|(?=\.|\Z|\W))")
_RULE = re.compile(r"[*_=~#|<>-]{2,}|(?<=\s)[*_=~#|•·/\\-](?=\s)|\s(?:→|⇒)\s|[✅✓✔☑🔁]")
_END_TAG = re.compile(r"</\w{1,30}>\s*")
_HAS_WORD = re.compile(r"[^\W_]").search
_MARKS = " \t\r^*_\"'`“”‘’«»:,-–—~#>=|/\\.!"
_CROSS = re.compile(f"[{CROSSES}]")
_STATES = re.compile(
    r"(?<!\blong\s)(?<!\blonger\s)(?<!\bdetailed\s)"
    r"\b(?:answer|label|decision|verdict|classification|disposition)\b[*_\"'”’ ]{0,6}(?:[:=：]|\s(?:is|would\s+be"
    r"|should\s+be|must\s+be|becomes?)\b)"
    r"(?!\s+(?:\w+ly\s+)?(?:based|because|supported|due|explained|justified|given|consistent|clear|made|reached|final"
    r"|right|correct|appropriate|safe|reasonable|for|in\s+line))",
    re.I,
)
"""Words of an answer that no pattern reads."""
_NO_ALONE = re.compile(
    r"(?:\W*\b(?:or|and|but|just|oh|well|hm+|so|then|again|actually|really|maybe|perhaps|possibly|probably|in\s+fact"
    r"|(?:al)?though|lol|haha|i\s+mean|i\s+guess|rather|surely|of\s+course|definitely|certainly|also|clearly)\b)*\W*"
    r"(?:no|nope|nah|naw|not|wrong|negative|nein|non|não|nee|niet)(?:\W+(?:really|actually|not|at\s+all|quite|after\s+all"
    r"|exactly|likely|here|now|today|true|met|fulfilled|satisfied|supported|applicable|confirmed|shown|proven?|established|consistent\b.*))*\W*"
)
"""A part of a text that is no more than a no."""
_ASKS_AGAIN = re.compile(
    r"(?:or|really|right|sure|correct|is\s+(?:it|that|this)|am\s+i|isn['’]t|no|true|hm+)\b[^?]{0,30}\?\Z"
)
_CLAUSE = re.compile(
    r"[,:;–—>→⇒(/\n]|[.!?]\s|\s-\s|\band\s+(?=(?:not?|nothing|never|neither|none|without)\b)|\b(?:but|so|therefore"
    r"|hence|yet|because|since|however|now|today|though"
    r"|as(?=\s(?:she|he|it|they|there|the|this|that|her|his|no|we|i|both|all|pain)\b))\b",
    re.I,
)
_CONTRAST = re.compile(r"[.!?]\s|[;:](?!\s*then\b)|\b(?:but|yet|however|now|today|so|therefore|hence|still)\b", re.I)
_EMPHATIC = re.compile(
    r"\b(?:no|not\s+a|without|beyond|little)\s+(?:a\s+|any\s+)?doubt\b|\bno\s+question\b|\bnot\s+(?:only|just|merely"
    r"|simply)\b"
    r"|\b(?:nothing|none|no(?:\s+\w+)?|not|never)\s+(?:less|other|but|short)\b(?:\s+(?:than|of))?|\bcan(?:not"
    r"|\s+only)\s+but\b|\bno\s+longer\s+(?:\w+\s+){1,3}(?=and\b|it\b)"
    r"|\bif\s+(?:anything|i\s+am|i['’]m|you\s+ask)\b|\btoo\b(?=\s*(?:\Z|[,.]))",
    re.I,
)
_DENIES = re.compile(
    r"\b(?:not|no|non(?=-)|none|nothing|never|neither|nor|without|than|instead\s+of|rather\s+than|too|beyond|cannot|exclud\w+"
    r"|avoid\w*|against"
    r"|rul(?:es?|ed|ing)\s+out|lacks?|absent|absence|den(?:y|ies|ied|ying)|unlike|unnecessary"
    r"|needless|excessive|insufficient"
    r"|inadequate|unsafe|unlikely|object|out\s+of\s+the\s+question|inappropriate|overkill|hardly|wrong|false|incorrect"
    r"|few(?:er)?|less)\b|n['’]t\b",
    re.I,
)
_MARKED = re.compile(r"(?:[☑✅✓✔→⇒➜]|->|=>|\[[xX]\])[\s*_]{0,3}\Z")
_IF_BEHIND = re.compile(
    r"[\s*_\"'”’)\],(]{0,4}(?:only\s+)?(?:if|when(?:ever)?|unless|in\s+case|should\s+(?:she|he|they|it|the))\b|\bif\b"
)
"""In small letters: `If` begins a sentence of its own, with a full stop before it or without."""
_NEITHER = re.compile(r"\bneither\b(?=.*\bnor\b)", re.I)
_ALL_BUT = re.compile(r"\b(?:anything|everything|all)\s+but\b", re.I)
_WOULD_SHOW = re.compile(r"\s+(?:would|could|might|may)\s+(?:show|have|cause|give|come|present|involve|bring)\b", re.I)
_FUTURE = re.compile(
    r"\bwhich\s+(?:would|could|might)\b|"
    r"\b(?:could|might|may|would|can|will)\s+(?:\w+\s+)?(?:become|turn|develop|lead|progress|worsen|escalate|end|mask"
    r"|hide|delay|point|signal"
    r"|indicate|mean|suggest|miss|change)\b",
    re.I,
)
_ARTICLE = re.compile(
    r"\b(?:an?|the|any|every|his|her|its|their)\s+\Z|\b(?:in|at|on|of|near|by|from|with|within|during|into)\s+\Z", re.I
)
_ANSWERS = re.compile(
    r"\b(?:answer\w*|label\w*|correct\w*|better|best|right\w*|should|must|chang\w*|seem\w*|choos\w*|chose\w*|pick\w*"
    r"|upgrad\w*|downgrad\w*"
    r"|final\w*|actually|instead|rather|however|but|now|no|yes|go|going|goes|opt\w*|prefer\w*|lean\w*|sid(?:e|ing)"
    r"|favou?r\w*|settl\w*|say\w*|said|treat\w*"
    r"|class\w*|rat(?:e|ed|ing)|decid\w*|decision|level|categor\w*|triag\w*|need\w*|fit\w*|suit\w*|would|could|might"
    r"|may|rais\w*|mov\w*|switch\w*"
    r"|shift\w*|revis\w*|updat\w*|read|meant?|make[sd]?|made|set|turn\w*|escalat\w*|it|this|that|she|he|they|patient"
    r"|child|so|hence|thus|therefore|choice|warrant\w*|justif\w*|indicat\w*|requir\w*|call\w*"
    r"|advis\w*|recommend\w*|safer|safest|appropriate)\b",
    re.I,
)
"""Words of a sentence that speaks of the answer, or of the one it is about, and does not describe an option."""
_SHORT_AFTER = re.compile(
    r"(?:(?:(?<=[.!?;:,(\[\n–—→⇒➜-])|\A)[^\w\n]{0,8}"
    r"|\b(?:be|makes?\sit|made\sit|towards?|settled\son|changed\sto|said|says|read|end)\s)",
    re.I,
)
_SHORT_BEGINS = re.compile(
    r"[\s*_\"'“‘(\[–—-]*(?:(?:but|and|or|then|also|so|well|hm+|oh|ok(?:ay)?|actually|rather|better|now)\b[\s,:]*){0,3}",
    re.I,
)
_SHORT_ENDS = re.compile(
    r"[\s*_\"'”’)\]]*(?:\Z|[.!?;,\n]|\b(?:because|since|as|is|seems|would|fits|it\s+is|then|after\s+all|instead|now"
    r"|rather|for)\b)",
    re.I,
)


def doubt_behind(
    text: str,
    start: int,
    label: str,
    options: Sequence[str],
    codes: Mapping[str, str],
    spans: Sequence[tuple[int, int]],
) -> str:
    """Why the text from `start` on leaves an answer before it unclear; empty where it does not.

    Args:
        spans: statements behind it that are conditional, reported or denied: the options in them are weighed already.
    """
    if _HAS_WORD(text, start) is None:
        return "taken back" if _CROSS.search(text, start) else ""
    if _is_taken_back(text, start, label):
        return "taken back"
    stated = (match.start() for match in _STATES.finditer(text, start))
    if any(not any(begin <= place < stop for begin, stop in spans) for place in stated):
        return "another answer is stated behind it"
    named = [
        *named_options(text, start, label, options, codes),
        *_named_alone(text, start, label, options, codes),
        *option_of_place(text, start, label, options),
    ]
    for first, end in named:
        if any(begin <= first < stop for begin, stop in spans):
            continue
        if _is_marked(text, first) or not _is_set_aside(text, max(start, sentence_start(text, first)), first, end):
            return "another option is named behind it"
    for first, end in named_options(text, start, "", (label,), {}):
        if any(begin <= first < stop for begin, stop in named):
            continue  # a part of another option
        if _is_marked(text, first) or _is_denied(text, max(start, sentence_start(text, first)), first, end):
            return "taken back"
    return ""


def _is_taken_back(text: str, start: int, label: str) -> bool:
    """Whether words of a retraction stand behind a position."""
    text = _END_TAG.sub("\n", text[start:])
    small = small_letters(text)
    if phrase_pattern("retractions").search(small) or _CROSS.search(small):
        return True
    if any(cue.group("strong") for cue in CUE.finditer(text)):
        return True
    alone, was_asked = phrase_pattern("retracted"), False
    for match in _SEGMENT.finditer(_RULE.sub("\n", small)):
        words = match.group().strip(_MARKS)
        is_no = _NO_ALONE.fullmatch(words) is not None and words != label.casefold() and not was_asked
        if is_no or alone.match(words) or _ASKS_AGAIN.match(words):
            return True
        was_asked = words.endswith("?")
    return False


def _named_alone(
    text: str, start: int, label: str, options: Sequence[str], codes: Mapping[str, str]
) -> Iterator[tuple[int, int]]:
    """Where a part of a sentence behind a position begins with a short option, and goes on with nothing or a reason."""
    short = {
        name.casefold()
        for name in (*options, *codes)
        if len(name) <= LONGEST_NAME_ALONE and codes.get(name, name) != label
    }
    if not short:
        return
    for match in _SHORT_AFTER.finditer(text[start:]):
        first = start + match.end()
        first = _SHORT_BEGINS.match(text, first).end()  # type: ignore[union-attr]
        word = re.compile(r"[\w+-]{1,3}(?!\w)").match(text, first)
        if word and word.group().casefold() in short and _SHORT_ENDS.match(text, word.end()):
            is_answer = text[:first].rstrip(_MARKS + "(").endswith("?") and word.group().casefold() in ("yes", "no")
            if not is_answer and not re.match(r"\s*[.,]?\s?\d", text[word.end() :]):
                yield word.span()


def _is_marked(text: str, first: int) -> bool:
    """Whether an option has a mark of choice or of change before it: a tick or an arrow."""
    return _MARKED.search(text, max(0, first - 8), first) is not None


def _is_set_aside(text: str, begin: int, first: int, end: int) -> bool:
    """Whether a sentence denies the option that it names, names it under a condition, or describes it."""
    before, behind = _EMPHATIC.sub(" ", IN_BRACKETS.sub(" ", text[begin:first])), text[end : sentence_end(text, end)]
    if _is_conditional(before, behind) or _FUTURE.search(before) or _WOULD_SHOW.match(behind):
        return True
    if num_denials := _num_denials(before, behind):
        return num_denials == 1  # two of them affirm
    others = before + " " + behind
    return (
        _ARTICLE.search(before) is not None
        and _ANSWERS.search(others) is None
        and len(re.findall(r"\w+", others)) >= FEWEST_DESCRIBING
    )


def _is_denied(text: str, begin: int, first: int, end: int) -> bool:
    """Whether a sentence denies the option that it names, and not under a condition, or asks for it."""
    before, behind = _EMPHATIC.sub(" ", IN_BRACKETS.sub(" ", text[begin:first])), text[end : sentence_end(text, end)]
    if "?" in behind:
        return True
    return _num_denials(before, behind) == 1 and not _is_conditional(before, behind)


def _is_conditional(before: str, behind: str) -> bool:
    contrasts = list(_CONTRAST.finditer(before))
    own = before[contrasts[-1].end() :] if contrasts else before
    return IF.search(own) is not None or _IF_BEHIND.search(behind) is not None


def _num_denials(before: str, behind: str) -> int:
    """How many words deny in the clause of an option; `neither ... nor` is one."""
    before = _ALL_BUT.sub("not", before)
    clauses = list(_CLAUSE.finditer(before))
    clause = before[clauses[-1].end() :] if clauses else before
    rest = _CLAUSE.split(behind, maxsplit=1)[0]
    return len(_DENIES.findall(_NEITHER.sub("", f"{clause} | {rest}")))
