"""Signs and answers of a form as words: `Fever [ ] Cough [x]`, `CP-, SOB+`, `headache - Y; fever - N`.

In a form an answer stands before each finding or behind it. What the text around does not tell leaves the findings on
both sides open: a finding turned round is worse than one not read.
"""

from __future__ import annotations

import itertools
import re

PLUS, MINUS, OPEN, NONE = "(+)", "(-)", "(?)", "(0)"
"""A plus or a ticked box, a minus or a crossed box, an empty box, the empty set; a duration is `(t)`."""
_BOTH_SIDES = f" {OPEN}, {OPEN} "

_NOES, _YESES = "no|n|none|nil|neg|negative|absent|denied|false", "yes|y|pos|positive|present|true"
_END = r"(?=[ ]*(?:[,;.)/|\n]|\Z))"  # of a clause
_LINK = r"(?:[ ]*[:=?→][ ]*|[ ]*(?:\.\.+|…)[ ]*|[ ][-–—][ ]|[ ]?[-–—](?=[YN]\b|(?:yes|no)\b))"
"""Between a finding and its answer."""

_SHORT = re.compile(
    r"(?P<kept>\A\d{1,2}[ ]w/?o\b|(?<![\w/.:])\d{1,2}[ ]w\.?o\b|\b(?:y/?o|old)[ ]wo\b"
    r"|\b(?:van|the|in)[ ]den\b|\bden[ ](?:has|had|is|was|reports|says|states|feels|fell)\b)"
    r"|(?P<without>\bw/o(?!\w)|\b(?:w[ ]?/[ ]?(?:o|0|out|uot|otu|ut)|w\.o\.?|wo/?(?:ut)?|with[ ]out)(?=[\s:])"
    r"(?![ ](?:of|patients?)\b))"
    r"|(?P<denies>\b(?-i:den)(?=\s)|(?m:^|(?<=[.;][ ]))den(?=\s))",
    re.IGNORECASE,
)
"""Short for `without`, slips too, and for `denies`; but not `with out of hours`, a child that is `6 wo` (weeks old), a
woman (`80 yo wo`), or a name (`van den Berg`)."""
_NEGATIVE_TEST = re.compile(
    r"(?<!\w)(?:\([ ]?[-−–][ ]?(?:ve[ ]?)?\)|[-−–][ ]?ve|neg(?:ative|\.)?)[ ](?:for[ ])?((?:[^\W\d]\w*[ ]){0,2})"
    r"(tests?|lfd|lft|pcr|dip|swab|screen|hcg)\b",
    re.IGNORECASE,
)
"""`-ve covid test, fever`: what stands behind the test is not negative."""
_ANSWER = re.compile(
    rf"(?<=[\w\])]){_LINK}(?:(?P<no>(?i:n|false)\b(?!/)|0(?![\w%/]|\.\d)|(?i:(?:(?:pt|patient|caller) )?denies){_END})"
    rf"|(?P<yes>(?i:y|true)\b)|(?P<word>(?i:{_NOES}|{_YESES})\b))"
)
"""`Fever: N`, `fever = false`, `Fever - none`, but not `Pain: 0/10`."""
_SIGN = re.compile(
    rf"""(?=[-−–—+=Øø∅⌀\[(☐☑☒✓✔✅✗✘❌✖|\t/?nNyYxX0])(?:
      (?P<empty_box> \[[ ]?\] | \([ ]?\) | ☐)
    | (?P<ticked> \[[ ]?[xX✓✔✅+][ ]?\] | [☑☒✓✔✅] | \([ ]?[xX+][ ]?\) | [\[(][ ]?(?i:{_YESES})[ ]?[\])])
    | (?P<crossed> [\[(][ ]?(?:[-−–](?:[ ]?ve)?|(?i:{_NOES}))[ ]?[\])] | (?<!\w)[-−–][ ]?ve\b)
    | (?P<cross> [✗✘❌✖] | (?<=\w[ ])[xX]{_END})
    | (?P<plus> \+[ ]?ve\b | (?:(?<=\w[ ])|(?<=:)|(?<=:[ ]))\+{{1,3}}(?=[,;.)\n]|\Z))
    | (?P<minus> (?:(?<=\w[ ])|(?<=:)|(?<=:[ ]))[-−–](?=[,;.)\n]|\Z) | (?<=\w[ ])N{_END}(?!/))
    | (?P<letter> (?<=\w[ ])[YN](?=[ ]+[^\W\d]))
    | (?P<glued_behind> (?<=[^\W\d])(?<!\b[ABO])(?<!\bAB)(?:\+{{1,3}}|[-−–]{{1,3}})
        (?:(?P<end> (?=[,;.)/\n]|\Z))|(?=[ ](?!(?:and|or|to)\b))))
    | (?P<glued_plus> (?<!\S)\+(?=[^\W\d]))
    | (?P<doubted> (?<=\w)\?(?:\?+|(?=[ ]*(?:[.;)\n]|\Z))))
    | (?P<either> (?<=:[ ])[-−–](?=[ ]\w) | (?<!\w)0/10\b)
    | (?P<query> (?<![^\s,;(])\?+[ ]?(?=[^\W\d]))
    | (?P<zero> (?:(?m:^)|(?<=[,;][ ]))0(?=[ ][^\W\d]))
    | (?P<nought> (?<=[^\W\d][ ])0{_END})
    | (?P<bullet> (?m:^)[-−–](?=[^\W\d]))
    | (?P<glued_minus> (?<![^\s,;(])[-−–](?=[^\W\d]))
    | (?P<empty_set> (?<!\w)(?:[Øø](?!\w)|[∅⌀](?![ ]?\d)))
    | (?P<cell> [|\t] | (?<=\w)[ ]/[ ](?=\w))
    | (?P<equals> =(?=[ ]?\w))
    | (?P<dash> (?<=[^\s:][ ])[-–—](?=[ ]\S))
    )""",
    re.VERBOSE,
)
_WRITTEN = {
    "empty_box": f" {OPEN} ", "ticked": f" {PLUS} ", "crossed": f" {MINUS} ", "plus": f" {PLUS} ",
    "minus": f" {MINUS} ", "glued_plus": f", {PLUS} ", "glued_minus": f", {MINUS} ", "query": f", {OPEN} ",
    "zero": f"{MINUS} ", "nought": f" {OPEN}, ", "doubted": f" {OPEN}, ", "either": _BOTH_SIDES,
    "empty_set": f" {NONE} ", "cell": ", ", "equals": ": ", "dash": ", ",
}  # fmt: skip
_HAS_SIGN = re.compile(
    r"(?=[-+−–—=Øø∅⌀\[☐☑☒✓✔✅✗✘❌✖|\t→….0?(:]|[ ][YNxXny])"  # one look at most places
    r"(?:[−–—=Øø∅⌀\[☐☑☒✓✔✅✗✘❌✖|\t→…]|\.\.|(?<!\w)[-+]|[-+](?:(?!\w)|[YN]\b)|\([ ]?[xX]?[ ]?\)"
    r"|(?<!\w)0(?!\w|\.\d)|(?<![^\s,;(])\?|\?(?:\?|[ ]*(?:[.;)\n]|\Z))|0/10"
    r"|[(](?:[Yy]es|YES|[Nn]o|NO|[yYnN]|neg|pos|[Aa]bsent|[Pp]resent)[ )]"
    r"|[:?][ ]?(?:[nNyY0](?!\w)|(?:[Nn]o|[Yy]es)[ ]+[\w(/]|true|false|(?:\w+ )?[Dd]enies)"
    r"|[ ](?:[YN](?!\w)|[xX](?=[ ]*(?:[,;.)\n]|\Z)))"
    r"|[ (](?:no|NO|No|yes|Yes|YES)(?:/|[ ][^.;,\n]{1,40}[ ](?:no|NO|yes|YES)(?!\w)))"
)
_DURATION = re.compile(r"\bx?\d{1,3}(?:/(?:7|52|12)|(?:h|hrs?|d|w|wks?|mo|yrs?))\b")
_SPACES = re.compile(r"[ ]{2,}")
_CHOICE = re.compile(r"[ ]?[\[(]?\b(?i:yes[ ]?/[ ]?no|y/n)\b[\])]?")  # `Fever (yes/no): no`
_GLUED_BEHIND = re.compile(r"(?<=[^\W\d])(?:(\+)|[-−–])(?=[\s,;.)/]|\Z)")
_IN_BRACKETS = re.compile(r"\(([^()\n]{3,200})\)")
_HAS_ANSWER = re.compile(r"[:=?]|\w[-+](?!\w)|[ ](?:[-+]|(?i:no|yes))|(?i:no|not|denies)[ ]")
_ANSWERED = re.compile(r"(?<=\byes)[ ]*/[ ]*|(?<=\bno)[ ]*/[ ]*(?!yes)", re.IGNORECASE)
_CLAUSE = re.compile(r"(\n|[.;,](?!\w))")
_FREE = re.compile(r"\([-+?]\)|(?<=: )(?i:yes|no)\b")
_YES = re.compile(r"\b[yY][eE][sS]\b")
_BARE = re.compile(r"\b(?i:yes|no)\b")
_HIDDEN_LABEL = re.compile(r"[^\W\dA-Z].*[ ][A-Z]")


def spell_signs(text: str) -> str:
    """The text with its signs as `PLUS`, `MINUS`, `OPEN` and `NONE`; one behind its finding gets a comma (`Fever (-),
    Cough (+),`)."""
    text = _SHORT.sub(_in_full, _DURATION.sub(" (t) ", text))
    text = _NEGATIVE_TEST.sub(lambda test: f"{test[1] and 'no ' + test[1]}; {test[2]}", text)
    if not _HAS_SIGN.search(text):
        return text
    text = _CHOICE.sub("", _SPACES.sub(" ", text))
    glued = _GLUED_BEHIND.findall(text)
    is_form = len(glued) > 1 or "+" in glued  # one minus alone may be a dash (`headache- since noon`)
    has_ticks = not {"✅", "✓", "✔", "☑"}.isdisjoint(text)
    num_letters = len(re.findall(r"(?<=\w )[YN](?![\w/&'])", text))
    in_list = "\n" in text.strip()

    def written(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind == "glued_behind":
            if "+" in match[0]:
                return f" {PLUS}, "
            return f" {MINUS}, " if is_form or match["end"] is not None else f" {OPEN}, "
        if kind == "cross":
            return f" {MINUS} " if has_ticks and match[0] not in "xX" else f" {OPEN} "
        if kind == "letter":
            return match[0] if num_letters < 2 else f" {PLUS if match[0] == 'Y' else MINUS} "
        if kind == "bullet":  # in a list it may be a minus or none
            return f" {OPEN} " if in_list else f" {MINUS} "
        return _WRITTEN[kind]

    text = _IN_BRACKETS.sub(lambda match: f", {match[1]}, " if _HAS_ANSWER.search(match[1]) else match[0], text)
    text = _ANSWER.sub(lambda match: f": {match['word'] or ('no' if match['no'] else 'yes')}", text)
    text = _SIGN.sub(written, _ANSWERED.sub(", ", text))
    return "".join(map(_place, _CLAUSE.split(text))) if _FREE.search(text) or _YES.search(text) else text


def _in_full(short: re.Match[str]) -> str:
    return short["kept"] or ("without" if short["without"] else "denies")


def _place(clause: str) -> str:
    """A clause with its signs and answers before the findings that they are about, or behind them with a comma."""
    answers = list(_FREE.finditer(clause))
    bare = _BARE.findall(clause)
    signs = [answer for answer in answers if answer[0].startswith("(")]
    if len(bare) > max(1, len(answers)) and {word.casefold() for word in bare} == {"yes", "no"}:
        return _BARE.sub(_BOTH_SIDES, clause)  # `fever no cough yes`
    if bare and signs:
        return _FREE.sub(_BOTH_SIDES, _BARE.sub(_BOTH_SIDES, clause))  # `Fever: yes [ ] no [x]`
    if not signs and len(answers) < 2:
        return clause
    starts = not clause[: answers[0].start()].strip(" :")
    ends = not clause[answers[-1].end() :].strip(" :?")
    if starts and (not ends or not _FREE.sub("", clause).strip(" :")):
        return clause
    labels = [clause[a.end() : b.start()] for a, b in itertools.pairwise(answers)]
    if ends and not starts and not any(_HIDDEN_LABEL.match(label.strip()) for label in labels):
        return _FREE.sub(lambda answer: answer[0] + ",", clause)
    if {answer[0].casefold() for answer in answers} <= {PLUS, "yes"}:
        return clause
    return _FREE.sub(_BOTH_SIDES, clause)
