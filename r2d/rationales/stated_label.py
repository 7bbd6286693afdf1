"""The option that a stated answer stands for: `(c) wooded area.`, `**same day** because ...`, `B`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from r2d.text import normalise_label, small_letters

LONGEST_STATED = 1_000  # characters of a stated answer in which the label is looked for
SIMILAR = 0.8
"""Likeness of a misspelt label to the option of its letter (`field` to `feild` is 0.8), from which it is that one."""

_MARKUP = re.compile(r"[\s*_`\"'“”‘’«»$]*(?:\\text(?:bf|it|tt)?\{)?")
_BRACKETS = re.compile(r"(?:[\s*_`\"'“”‘’«»$(\[{]|<(?=[^<>\n]{1,60}>))*")
_MARKER = re.compile(
    r"(?:[(\[]\s?(?P<a>[A-Za-z]|\d{1,2})\s?[)\]]|(?P<b>[A-Za-z]|\d{1,2})(?:[)\]]|[.:](?=\s|[*_]|$)|\s[-–—]\s))[*_]*"
    r"(?P<gap>[\s:*_\-–—]*)"
)
_ONE_LETTER = re.compile(r"(?P<a>[A-Za-z])(?P<gap>)(?=[^\w+-]*$|\s*[,;.]\s|\s+\(|\s+(?:because|since|as)\b)")
_FILLER = re.compile(
    r"(?:(?:either|option|choice|letter|likely|most likely|probably|clearly|therefore|thus|definitely|certainly|simply"
    r"|still|now|indeed|actually|a|an|the)\b[\s:*_]+)+",
    re.I,
)
_OR = re.compile(r"[\s*_\"'”’)\],]*(?:and/or\b|or\b(?!\s+(?:rather|else)\b)|/)\s*", re.I)
_AND = re.compile(
    r"[\s*_\"'”’)\]]*(?:,?\s*\(?(?:unless|otherwise|else|except|if\snot)\b|,?\s*\(|,\s*(?:and\b)?|and\b|&|;|\||(?:up\s)?to\b"
    r"|versus\b|vs\b\.?|[-=]>|→|⇒)\s*",
    re.I,
)
_NOT = re.compile(
    r"[\s*_\"'“‘(]*(?:not|never|neither|no\s+longer|anything\s+but|hardly|by\s+no\s+means)\b[\s*_:]*", re.I
)
_BUT = re.compile(
    r"[\s,;.:*_\"'”’)–—-]*(?:(?:but|instead|rather|it\s+is|it['’]s|the\s+answer\s+is)\b(?:\s+rather\b|\s+instead\b"
    r"|\s+is\b)?"
    r"[\s:*_]*)+",
    re.I,
)
_BESIDE_CODE = re.compile(r"[\s*_]*[-–—:=().\]][\s*_(]*")
_CLOSED = re.compile(r"[\s*_\"'”’)\]]*(?:$|[.,;!?]|or\b|and\b)", re.I)
_AFTER_NUMBER = (
    r"(?!\s?[)\]]?[\s*_]*[(.]?\s*(?:of|out|in)\b)(?=\s?[)\]][\s*_]*[^\W\d]|[\s*_\"'”’)\]}`]*(?:\Z|\n|[.;!](?![.\d])"
    r"|,(?!\s?\d)"
    r"|(?:[-–—:=(\[]|[-=]>|→|⇒)[\s*_(\[\"'“‘]*[^\W\d]|(?:[/&|]|,\s|and|or|and/or|to)\s*\d+\s*(?:\Z|[.,;!])"
    r"|(?:because|since|as|due|given|with|which|but|rather|not|instead|based|if|unless|when|provided)\b|for\s+(?!\d"
    r"|an?\b)))"
)
"""What may follow a number that is a code: it ends there, or its label or a reason follows. `2.5`, `2 of 4`, `2 %`,
`2:30` and `2 hours` are other numbers."""
_SENTENCE_END = re.compile(r"[.!?;,\n]|\s(?:because|since|as)\s", re.I)
_EXPLANATION = re.compile(r"\s*(?:[.,;!]|because\b|since\b|as\b|$)", re.I)
_ANOTHER_LETTER = re.compile(r"[\s*_)\]]*(?:,|and\b|or\b|/|&|;)[\s(\[*_]*[A-Z](?=[)\].,;]|\s*$|\s+(?:or|and)\b)", re.I)
_FOLLOWING = re.compile(
    r"[\s*_`\"'“”’]*(?:$|[^\w\s]|(?:and|as|at|based|because|but|due|for|given|here|if|in|is|nor|or|rather|since|so"
    r"|that|"
    r"therefore|this|unless|until|when|which|with)\b)",
    re.I,
)
"""What may follow a label of one word: `no, ...` and `no because ...` state it, `no evidence of` does not."""
_LISTED = re.compile(r"(?<![^\W_])(\d{1,2}|[a-z])\s?[).:\]]\s*\Z")
_ANOTHER_NUMBER = re.compile(r"\s*(?:[,;/&|→>-]|and/or\b|and\b|or\b|to\b)[\s>]*\d")
_ORDINALS = ("last", "first", "second", "third", "fourth", "fifth")
_ORDINAL = re.compile(rf"(?:the\s+)?({'|'.join(_ORDINALS)})\s+(?:option|choice)\b(?!\s+(?:or|and)\b)(?!\s*:)", re.I)
_TRAILING = " \t\r\n.,;:!?*_`\"'“”‘’«»$~)]}>\\"


class StatedLabel(NamedTuple):
    """The option that a stated answer names, and where in the answer it ends."""

    label: str | None = None
    end: int = 0
    repaired: bool = False  # it was not written as the option is
    name: str = ""  # the option or code that is written in full; empty where it is a letter or misspelt
    denied: str | None = None  # the option that it denies, where it begins with `not`
    by_place: bool = False  # it is a letter, a number or an ordinal, and no name
    detail: str = ""  # why there is none; never text of the answer


def find_label(stated: str, options: Sequence[str], codes: Mapping[str, str] | None = None) -> StatedLabel:
    """The option that a stated answer begins with; of `not a but b`, b.

    In full; else before an explanation, the longest option first; else by its letter alone. The text wins over a
    letter that names another option. An answer that offers two options, or whose letter and text have nothing in
    common, states none.

    Args:
        codes: other ways to write an option -> the option.
    """
    stated = stated[:LONGEST_STATED]
    label = _find_affirmed(stated, options, codes or {})
    denial = _NOT.match(stated) if label.label is None else None
    if denial is None:
        return label
    denied = _find_affirmed(stated[denial.end() :], options, codes or {})
    if denied.label is None:
        return label
    end = denial.end() + denied.end
    instead = _BUT.match(stated, end)
    if instead is not None:
        affirmed = _find_affirmed(stated[instead.end() :], options, codes or {})
        if affirmed.label is not None:
            return affirmed._replace(end=instead.end() + affirmed.end, denied=denied.label)
    return StatedLabel(end=end, denied=denied.label)


def _find_affirmed(stated: str, options: Sequence[str], codes: Mapping[str, str]) -> StatedLabel:
    names = (*options, *codes)
    starts, letter, rest = _label_starts(stated)
    by_letter = options[letter] if letter is not None and letter < len(options) else None
    written = _find_written(stated, starts, names)
    if written is not None:
        name = str(written.label)
        label = codes.get(name, name)
        if _offers_another(stated[written.end :], name, label, names, codes):
            return StatedLabel(detail="two answers stated")
        before = [code for code in codes if (end := _end_of_name(stated, starts[0], code)) is not None
                  and _BESIDE_CODE.match(stated, end)]  # fmt: skip
        if any(codes[code] != label for code in before):
            return StatedLabel(detail="code and text disagree")
        beside = _BESIDE_CODE.match(stated, written.end) if name in codes else None
        if beside is not None:
            other = _find_written(stated, [beside.end()], names)
            if other is not None and codes.get(str(other.label), other.label) != label:
                return StatedLabel(detail="code and text disagree")
        clash = name not in codes and by_letter is not None and normalise_label(by_letter) != normalise_label(label)
        return StatedLabel(
            label, written.end, written.repaired or clash, name=name, by_place=len(name) <= 2
            and name in codes,
        )  # fmt: skip
    if letter is None:
        ordinal = _ORDINAL.match(stated, starts[0])
        place = _ORDINALS.index(ordinal.group(1).casefold()) - 1 if ordinal else len(options)
        return (
            StatedLabel(options[place], ordinal.end(), by_place=True)
            if ordinal and place < len(options)
            else StatedLabel()
        )
    if by_letter is None:
        return StatedLabel(detail="letter without an option")
    if _OR.match(stated, rest) or _ANOTHER_LETTER.match(stated, rest):
        return StatedLabel(detail="two answers stated")
    if _EXPLANATION.match(stated, rest):
        return StatedLabel(by_letter, rest, by_place=True)
    sentence_end = _SENTENCE_END.search(stated, rest)
    end = sentence_end.start() if sentence_end else len(stated)
    if _resembles(stated[rest:end], by_letter):
        return StatedLabel(by_letter, end, repaired=True)
    return StatedLabel(detail="letter and text disagree")


def stands_alone(text: str, start: int, stated: StatedLabel, *, has_noun: bool) -> bool:
    """Whether the label that a text states from `start` on stands by itself, or before a reason: `Yes, because`.

    What follows behind a colon, a dash or a comma is no reason where it denies, asks for a condition or counts:
    `Urgent: unlikely`, `Urgent - 10 %`. A number or a letter without a noun before it counts only where nothing else is
    on the line, or the option that it stands for.
    """
    if stated.label is None or _HEDGE.match(text, _end_of(_MARKUP, text, start)):
        return False
    if not (stated.name or stated.by_place):  # misspelt
        return False
    end = start + stated.end
    if (line := _LINE_END.match(text, end)) is not None:
        return has_noun or _NO_REMARK.match(text, line.end()) is not None
    is_reply = stated.name.casefold() in REPLIES
    if len(stated.name) <= 2 and not is_reply:
        beside = None if has_noun else _BESIDE_CODE.match(text, end)
        if beside is not None and (named_end := _end_of_name(text, beside.end(), stated.label)) is not None:
            return _LINE_END.match(text, named_end) is not None
        behind = _BEHIND_NUMBER.match(text, end) if has_noun else None
        return behind is not None and (behind.group("colon") is None or _is_reason(text, behind.end()))
    ends = _BEHIND_NAME.match(text, end)
    if ends is None or (ends.group("comma") and not is_reply):
        return False
    if not ends.group("full") and any(mark in ends.group() for mark in '"”’»'):  # it is quoted, to say something of it
        return False
    if ends.group("full"):
        return has_noun or _NO_REMARK.match(text, ends.end()) is not None
    return _is_reason(text, ends.end())


def _is_reason(text: str, position: int) -> bool:
    return _REASON.match(text, position) is not None and _NO_REASON.match(text, position) is None


_CLOSERS = r"[*_`\"'”’»)\]}$]{0,6}"
_LINE_END = re.compile(rf"{_CLOSERS}[ \t]*[.!;]?(?:[^\w\n,;:?(+<>/&|%~-]{{0,12}}(?:\n|\Z)|\s*</)")
_HEDGE = re.compile(r"(?:either|most|likely|probably|an?|the)\s", re.I)
_BECAUSE = r",?\s(?=(?:because|since|given|due|weil|denn|parce\sque|porque|pois|perché|poiché|omdat)\b)"
_BEHIND_NUMBER = re.compile(rf"{_CLOSERS}(?:[.;!](?=\s)|\s[-–—]\s(?!\d)|\s?\((?!\d)|{_BECAUSE}|(?P<colon>:\s))")
_BEHIND_NAME = re.compile(
    rf"{_CLOSERS}(?:(?P<full>[.!;](?=[\s*_])|(?<=\])(?=\s)|{_BECAUSE})|(?P<comma>,\s)|:(?=[\s*_])|\s[-–—]\s|—|\s?\(|\t)"
    r"[\s*_]{0,6}",
    re.I,
)
AFFIRMATIVE = frozenset({"yes", "ja", "oui", "sí", "sim", "sì", "true"})
REPLIES = AFFIRMATIVE | {"no", "maybe", "nein", "non", "não", "nee", "false"}
_NO_REMARK = re.compile(
    r"\s*\Z|[\s*_#>|-]*(?:(?:clinical\s)?(?:rationale|reason\w*|explanation|justification|why)\b"
    r"|(?!(?:that|too|not|insufficient|none|neither|who|what|why|explain|said|far|make|but|however|yet|though|although|cannot|can['’]t"
    r"|it\s(?:cannot|can['’]t|depends|is\snot)|(?:i|we)(?:['’]d|\s(?:would|doubt|lied|am|was|cannot|can['’]t))|no\s(?:label"
    r"|option|one|answer)|the\s(?:reverse|opposite|next)|one\s(?:level|would|might|could)|this\s(?:under|over)\w+)\b"
    r"|(?:[a-z]\w+\s){1,2}needs?\smore\b)(?:\W*(?<!\w)[\w'’-]+){4})|\s*\n\s*(?:[-*•]|\d{1,2}[.)])\s",
    re.I,
)
"""What may follow a label that opens a text: nothing, a heading, an item, or a sentence that is no remark on it."""
_REASON = re.compile(r"(?:\W*(?<!\w)[^\W\d_][\w'’-]*){6}|[^\W\d_][^.!?()\n]{9,400}[.!)](?=\W*(?:\s|\Z))")
_NO_REASON = re.compile(
    r"\W*(?:[\d<>=%≤≥~]|(?:not?|never|none|nil|n/a|un\w+|low|high|likely|possib\w+|maybe|perhaps|probab\w+|yes|if|when|unless"
    r"|only|for|in|see|but|and|or|though|although|however|except|wait|hold|sorry|actually|excluded|ruled|at|as|with|without|thank\w*|please|sure|i|we|you|her|his|their|said|says|of\s+course|hypothesi\w+|assum\w+|claim\w*"
    r"|propos\w+|suggested|debated|alleged\w*|supposed\w*|speculat\w+|disputed|contested"
    r"|nicht|kein\w*|wenn|falls|si|se|pas|não|non|niet|geen|als|indien|aber|mais|pero|mas|ma|maar)\b)"
    r"|[^.!?\n]{0,300}(?:\b(?:if|unless|would|might|unlikely|unnecessary|excluded|ruled\s+out|out\s+of|probability|likelihood"
    r"|score|chance|depend\w*|nicht|niet|wrong|false|incorrect|anything|else|previous\w*|earlier|yesterday)\b|%|\?"
    r"|(?:\bnot|n['’]t)\s+(?:\w+\s+)?(?:need|indicat|requir|necess|warrant|appropri|applic|meet|met\b|fit|the\s+case|so\b|right"
    r"|suit|justif|possible|likely|an?\s+\w+$))",
    re.I,
)


def listed_options(note: str, options: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
    """The options in the order in which a note lists them, and number -> option where it numbers them, from 0 or 1:
    `1) pond 2) field`. Where it does not list all of them with one mark each, as they are, and none."""
    folded = note.casefold()
    if len(options) < 2 or not note or not all(option.casefold() in folded for option in options):
        return options, {}
    marks: dict[str, str] = {}
    for option in options:
        places = (match.start() for match in re.finditer(re.escape(option.casefold()), folded))
        before = (_LISTED.search(folded, max(0, place - 8), place) for place in places)
        found = {match.group(1) for match in before if match}
        if len(found) != 1 or marks.setdefault(found.pop(), option) != option:
            return options, {}
    if len({mark.isdigit() for mark in marks}) > 1:
        return options, {}
    ordered = dict(sorted(marks.items(), key=lambda pair: (len(pair[0]), pair[0])))
    return tuple(ordered.values()), {mark: option for mark, option in ordered.items() if mark.isdigit()}


def _label_starts(stated: str) -> tuple[list[int], int | None, int]:
    """Where the label may begin, in order of trust; the place of the letter's option; where the text behind it begins.

    A number marks a choice too, but does not say which: lists are counted from 0 or from 1.
    """
    starts: list[int] = []
    letter, rest = None, 0
    position = 0
    for _ in range(2):
        if stated[position + 1 : position + 2].isalpha() and stated[position].isalpha():  # a word, and no mark
            starts.append(position)
            marker = None
        else:
            position = _end_of(_MARKUP, stated, position)
            starts += [position, _end_of(_BRACKETS, stated, position)]
            marker = _MARKER.match(stated, position) or _ONE_LETTER.match(stated, position)
        if marker:
            name = (marker.group("a") or marker.groupdict().get("b") or "").casefold()
            if letter is None and name.isalpha():
                letter = ord(name) - ord("a")
                rest = marker.start("gap")
                rest = rest if _EXPLANATION.match(stated, rest) else marker.end()
            if not (name.isdigit() and stated[marker.end() : marker.end() + 1].isdigit()):
                starts.append(_end_of(_BRACKETS, stated, marker.end()))
        filler = _FILLER.match(stated, starts[-1])
        if not filler:
            break
        position = filler.end()
    return list(dict.fromkeys(starts)), letter, rest


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _find_written(stated: str, starts: Sequence[int], options: Sequence[str]) -> StatedLabel | None:
    """The option written in full at one of the places: alone, else before other text, the longest option first."""
    by_name, longest, firsts = _by_name(tuple(options))
    starts = [start for start in starts if (one := stated[start : start + 1]).lower() in firsts or not one.isascii()]
    for start in starts:
        text = stated[start:]
        for form in (text, text.rstrip(_TRAILING)) if len(text.split(None, longest)) <= longest else ():
            if (label := by_name.get(normalise_label(form))) and not (
                label[-1:].isdigit() and stated[start - 1 : start] == "$"
            ):
                return StatedLabel(label, start + len(form))
    for start in starts:
        matches = [
            (end, option)
            for option in options
            if (end := _end_of_name(stated, start, option)) is not None
            and (" " in option.strip() or _FOLLOWING.match(stated, end))
        ]
        if matches:
            end, option = max(matches, key=lambda pair: pair[0])
            return StatedLabel(option, end, repaired=normalise_label(stated[start:end]) != normalise_label(option))
    return None


@lru_cache(maxsize=512)
def _by_name(options: tuple[str, ...]) -> tuple[dict[str, str], int, frozenset[str]]:
    """Normalised form of each option -> the option; the most words that one has, marks behind it included; and the
    characters with which they begin."""
    most = max((len(option.split()) for option in options), default=0)
    by_name = {normalise_label(option): option for option in reversed(options)}
    firsts = {first for name in by_name for first in (name[:1], next(filter(str.isalnum, name), ""))}
    return by_name, most + 4, frozenset(firsts)


def is_whole(stated: StatedLabel, options: Sequence[str], codes: Mapping[str, str]) -> bool:
    """Whether a label is written in full and no other option begins with it: a text does not end within one."""
    name = stated.name.casefold()
    others = (other.casefold() for other in (*options, *codes))
    return bool(name) and not any(other != name and other.startswith(name) for other in others)


_GAP, _GAPS = re.compile(r"[\s_\-–]{0,3}"), re.compile(r"(?<=\S)[\s_\-–]+(?=\S)")
_AFTER_NAME = {
    "word": re.compile(r"(?![^\W_]|[-–/'’_][^\W_])"),
    "no": re.compile(r"(?![^\W_]|[-–/'’_][^\W_]|\.?\s?\d)"),  # `No. 2` is a number
    "letter": re.compile(  # `B-` is a grade, `C. diff` a germ
        r"(?![^\W_]|[-–/'’_][^\W_]|[-+](?:\s|\Z)|\.\s(?:diff|coli|albicans|pylori|pneumoniae|aureus))"
    ),
    "number": re.compile(_AFTER_NUMBER, re.I),
}
"""What may follow an option, by its kind."""


@lru_cache(maxsize=8192)
def _words_of(name: str) -> tuple[tuple[str, ...], str]:
    """The words of an option in small letters, and its kind."""
    name = small_letters(name.strip())
    kind = "number" if name[-1:].isdigit() else "letter" if len(name) == 1 else "no" if name == "no" else "word"
    return tuple(_GAPS.split(name)), kind


def _end_of_name(text: str, start: int, name: str) -> int | None:
    """Where an option that is written from `start` on ends, with any of space, hyphen and underscore between its words;
    None where it is not written there, or goes on."""
    words, kind = _words_of(name)
    end = start
    for word in words:
        if end > start:
            end = _end_of(_GAP, text, end)
        if text[end : end + len(word)].lower() != word:
            return None
        end += len(word)
    if end == start or (kind == "number" and text[start - 1 : start] in ("$", "~", "<", ">")):
        return None
    return end if _AFTER_NAME[kind].match(text, end) else None


def _places_of(text: str, small: str, position: int, name: str) -> Iterator[tuple[int, int]]:
    """Where behind a position a text, which is `small` in small letters, names an option."""
    first = _words_of(name)[0][0]
    while first and (start := small.find(first, position)) >= 0:
        end = None if small[start - 1 : start].isalnum() else _end_of_name(text, start, name)
        position = start + 1 if end is None else end
        if end is not None:
            yield start, end


def _offers_another(rest: str, name: str, label: str, names: Sequence[str], codes: Mapping[str, str]) -> bool:
    """Whether a second option follows: `or ...`, or a list of options; `yes, no further care` is none."""
    if name[-1:].isdigit() and _ANOTHER_NUMBER.match(rest):
        return True
    either, joined = _OR.match(rest), _AND.match(rest)
    if either is None and joined is None:
        return False
    position = (either or joined).end()  # type: ignore[union-attr]
    marker = _MARKER.match(rest, position)
    start = _end_of(_BRACKETS, rest, marker.end() if marker else position)
    closed = [
        codes.get(name, name)
        for name in names
        if (end := _end_of_name(rest, start, name)) is not None and _CLOSED.match(rest, end)
    ]
    return any(other != label for other in closed) if closed or either is None else True


def _resembles(text: str, option: str) -> bool:
    """Whether a text is a misspelling, a part or an extension of the option."""
    text, option = normalise_label(text.strip(_TRAILING)), normalise_label(option)
    if not text or len(text) > 3 * len(option) + 20:
        return False
    words, option_words = set(text.split()), set(option.split())
    if words <= option_words or option_words <= words:
        return True
    return difflib.SequenceMatcher(None, text.replace(" ", ""), option.replace(" ", ""), False).ratio() >= SIMILAR


_PLACE = re.compile(
    r"(?i:\b(?:option|choice|letter|answer|item)\s+[*_(\"']{0,3}(?P<a>[A-Za-z]|\d{1,2})(?![\w%])|(?P<b>\b(?:last|first"
    r"|second|third|fourth|fifth))\s+"
    r"(?:option|choice|one|answer|label)\b)|[(\[](?P<c>[A-Za-z])[)\]]|(?:(?<=[.!?;:,\n(]\s)|(?<=\n)|(?<=\brather\s)"
    r"|(?<=\bto\s)|(?<=\bfor\s)|(?<=\bwith\s))"
    r"[*_]{0,2}(?P<d>[A-Z])(?=[*_]{0,2}(?:[.,;:!)]|\s*\Z|\n|\s+(?:is|seems|would|fits|because|since|instead|now|it\b)))"
)


def option_of_place(text: str, position: int, label: str, options: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where behind a position a text names an option other than the label by letter, number or ordinal: `option B`."""
    for match in _PLACE.finditer(text, position):
        name = (match.group("a") or match.group("c") or match.group("d") or "").casefold()
        place = int(name) - 1 if name.isdigit() else ord(name) - ord("a") if name else -1
        if ordinal := match.group("b"):
            place = _ORDINALS.index(ordinal.casefold()) - 1
        if place < len(options) and (ordinal or place >= 0) and options[place] != label:
            yield match.span()


def lists_otherwise(text: str, options: Sequence[str], codes: Mapping[str, str]) -> bool:
    """Whether a text lists the options by itself, with other letters or numbers or in another order than they have."""
    folded = small_letters(text)
    spans = sorted(
        (start, end, codes.get(name, name))
        for name in (*options, *codes)
        if len(name) > 2
        for start, end in _places_of(text, folded, 0, name)
    )
    by_letter = {chr(ord("a") + place): option for place, option in enumerate(options)}
    expected = by_letter | {code.casefold(): option for code, option in codes.items()}
    before = [(_MARK_BEFORE.search(folded, max(0, start - 24), start), option) for start, _, option in spans]
    behind = [(_MARK_BEHIND.match(folded, end), option) for _, end, option in spans]
    marks = before if any(mark for mark, _ in before) else behind
    if any(expected.get(mark.group(1), option) != option for mark, option in marks if mark):
        return True
    for line in re.finditer(r"[^.!?\n]+(?:\n[^\w\n]*[^.!?\n]+)*", text):
        within = list(dict.fromkeys(option for start, _, option in spans if line.start() <= start < line.end()))
        if len(within) == len(set(options)) > 1 and within != list(dict.fromkeys(options)):
            return True
    return False


_MARK_BEFORE = re.compile(
    r"(?<![^\W_])(\d{1,2}|[a-z])\s?(?:[).:\]=]|[-–—]|\bis\b|\bmeans\b|\bfor\b|->|→)[\s*_\"'(]*(?:(?:is|means|an?"
    r"|the)\s)?[\s*_\"'(]*\Z"
)
_MARK_BEHIND = re.compile(r"[\s*_\"']*(?:[=(\[]|is\s)\s?(?:option\s|letter\s)?(\d{1,2}|[a-z])(?:[)\].,;]|\s*(?:,|\Z))")


def named_options(
    text: str, position: int, label: str, options: Sequence[str], codes: Mapping[str, str]
) -> Iterator[tuple[int, int]]:
    """Where behind a position a text names an option other than the label, as whole words.

    Options of up to three letters are words of their own too often.
    """
    small = small_letters(text)
    for name in (*options, *codes):
        if len(name) > 3 and codes.get(name, name) != label:
            yield from _places_of(text, small, position, name)
