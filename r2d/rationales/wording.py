"""What models write around their reasons: greetings, titles, disclaimers, the instruction again, refusals.

The wording is the list of `phrases.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.rationales.standing import sentence_end, sentence_start, sentence_starts
from r2d.text import small_letters

MOST_SENTENCES = 12  # before or behind the reasons that are looked at
REFUSED_WITHIN = 400  # characters from the beginning in which a refusal is looked for
FEW_WORDS = 10  # of four letters or more, of an announcement
SHORTEST_NOTE = 20
"""Characters of a note from which a repetition of it is removed."""
LONGEST_TITLE = 80  # characters of a line without marks that may be a title, spaces behind it included
_TITLE_LINE = re.compile(r"(?:#{1,6}[ \t]+[^\n]{1,100}|(\*\*|__)[^\n*]{1,80}\1:?|[^\n.!?]{1,50}:?)[ \t]*(?=\n|\Z)")
_END_OF_OPENING = re.compile(r"[.!?。！？][\"'”’)\]*_]{0,4}(?=\s|\Z)|:[*_]{0,3}(?=\s|\Z)|(?=\n)|\Z")
_CLAUSE_START = re.compile(r"[.!?,:;—\n][\"'”’)\]*_]{0,4}\s*\W{0,10}")
_LEADS_ON = re.compile(r"(?:but|afraid|unfortunately|regrettably|sadly)\s+(?:that\s+)?")
_WORD = re.compile(r"[^\W\d_]{4,}")
_CAUSAL = re.compile(r"\b(?:because|since|suggests?|indicates?|means?|due|risk|may|could|might|signs?|points?)\b", re.I)
_SEPARATES = re.compile(r"[,/|;:()•]|\bor\b", re.I)
_EMPTY_ITEM = re.compile(r"[\W_]*(?:\d{1,2}|[a-z])?[\W_]*")
_ITEM = re.compile(r"\A(?:[\W_]*\d{1,2}[.)]\s+|\s*[-*•]\s+)")
_MARKS_BEFORE = re.compile(r"[*_#>\-•\s]*")
_ONLY_MARKS = re.compile(r"[\W_]+\Z")
_SPACE = re.compile(r"\s*")


class Phrases(Section):
    """The lists of `phrases.yaml`, which says what each is."""

    interjections: tuple[str, ...]
    openings: tuple[str, ...]
    closings: tuple[str, ...]
    titles: str
    drafts: tuple[str, ...]
    examples: tuple[str, ...]
    transitions: tuple[str, ...]
    retractions: tuple[str, ...]
    retracted: tuple[str, ...]
    words: dict[str, str]
    refusals: tuple[str, ...]
    refusing: tuple[str, ...]
    placeholders: tuple[str, ...]


@cache
def _phrases() -> Phrases:
    source = Path(__file__).with_name("phrases.yaml")
    return parse_section(Phrases, read_yaml(source), where=str(source))


@cache
def phrase_pattern(name: str) -> re.Pattern[str]:
    """One of the lists, for a text in small letters: several times as fast as without regard to case."""
    values = getattr(_phrases(), name)
    joined = "|".join(values) if isinstance(values, tuple) else values
    for word, forms in _phrases().words.items():
        joined = joined.replace(word, f"(?:{forms})")
    return re.compile(joined.replace("'", "['’]").replace(" ", r"\s"))


def is_refusal(text: str) -> bool:
    """Whether a text refuses to answer, in one of its first sentences, or is an error message or a placeholder."""
    beginning = text[:REFUSED_WITHIN].casefold()
    refusals = phrase_pattern("refusals")
    starts = [0, len(beginning) - len(beginning.lstrip(" \n*_#>\"'“(["))]
    starts += [match.end() for pattern in (_CLAUSE_START, _LEADS_ON) for match in pattern.finditer(beginning)]
    return (
        any(refusals.match(beginning, start) for start in starts)
        or phrase_pattern("refusing").search(beginning) is not None
        or _begins_as_placeholder(text, starts[1])
    )


def is_placeholder(text: str) -> bool:
    """Whether a text stands in the place of one and says nothing: `-`, `n/a`, `see above`."""
    if not any(map(str.isalnum, text)):
        return True
    start = _MARKS_BEFORE.match(text).end()  # type: ignore[union-attr]
    return _begins_as_placeholder(text, start)


def _begins_as_placeholder(text: str, start: int) -> bool:
    return len(text) < REFUSED_WITHIN and phrase_pattern("placeholders").match(text.casefold(), start) is not None


def is_transition(text: str) -> bool:
    """Whether the words before an answer lead to it and give no reason: `Based on the above,`."""
    return phrase_pattern("transitions").match(text.lower().lstrip(" *_\n")) is not None


def without_opening(text: str, options: Sequence[str]) -> str:
    """The text without what stands before the reasons: greetings, titles, disclaimers, the instruction and its options.

    A refusal is no opening. What is left may be nothing.
    """
    position, small = 0, small_letters(text)
    for _ in range(MOST_SENTENCES):
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        rest = text[position : position + 2_000]
        if not rest:
            break
        start = position
        words = position + len(rest) - len(rest.lstrip("*_#>- \t"))
        if interjection := phrase_pattern("interjections").match(small, words):
            position = interjection.end()
        elif opening := phrase_pattern("openings").match(small, words):
            position = _END_OF_OPENING.search(text, opening.end()).end()  # type: ignore[union-attr]
        else:
            line = rest.split("\n", 1)[0]
            may_be_title = line[0] in "#*_" or len(line) <= LONGEST_TITLE
            if may_be_title and (title := _TITLE_LINE.match(text, position)) and _is_title(title.group()):
                position = title.end()
            elif _lists_options(line, options) or (_ONLY_MARKS.match(line) and len(line) < len(rest)):
                position += len(line)
            else:
                break
        if is_refusal(rest):
            return text[start:].strip()
    return text[position:].strip()


def without_drafts(text: str) -> tuple[str, bool]:
    """The text without the sentences that call themselves a draft or a first thought, and whether it has one; of
    `Draft: ...` with other lines behind it, the whole line."""
    drafts, small, parts = phrase_pattern("drafts"), small_letters(text), list[tuple[int, int]]()
    for start in sentence_starts(text):
        words = _MARKS_BEFORE.match(text, start).end()  # type: ignore[union-attr]
        if (match := drafts.match(small, words)) is not None:
            line = text.find("\n", words)
            parts.append(
                (
                    start,
                    line
                    if (match.group("line") or match.group("scratch")) and line >= 0
                    else sentence_end(text, match.end()),
                )
            )
    for start, end in reversed(parts):
        text = text[:start] + text[end:]
    return text, bool(parts)


def without_empty_items(text: str) -> str:
    """The text without lines that have the mark of an item and nothing else; of a list of one, without its mark."""
    lines = [line for line in text.split("\n") if not _EMPTY_ITEM.fullmatch(line)]
    return _ITEM.sub("", lines[0]) if len(lines) == 1 else "\n".join(lines)


def without_closing(text: str) -> str:
    """The text without what stands behind the reasons: disclaimers and offers. What is left may be nothing."""
    text = text.rstrip()
    for _ in range(MOST_SENTENCES):
        start = sentence_start(text, len(text.rstrip(" \t.!?*_")))
        words = start + len(text[start:]) - len(text[start:].lstrip("*_#>-( \t\n"))
        if not text or not phrase_pattern("closings").match(small_letters(text[words:])):
            break
        text = text[:start].rstrip(" \t\n*_-(")
    return text


def without_note(text: str, note: str) -> str:
    """The text behind the note that it repeats; it may have no words."""
    note = note.strip()
    place = text.rfind(note) if len(note) >= SHORTEST_NOTE else -1
    return text[place + len(note) :].lstrip(" \t\n\"'”’*_.-") if place >= 0 else text


def is_announcement(text: str, behind: str, note: str) -> bool:
    """Whether the words before an answer only announce it: they end with a colon, or they are few, share no word with
    the note, and the reasons stand behind the answer."""
    words = _WORD.findall(text.casefold())
    if len(note.strip()) >= SHORTEST_NOTE and text.strip(' \t\n*_"').endswith(note.strip()):
        return len(behind.split()) >= 5
    if text.rstrip("*_ \t\n").endswith(":"):
        return len(words) <= FEW_WORDS
    if not note or len(words) > FEW_WORDS or len(behind.split()) < 5:
        return False
    return set(words).isdisjoint(_WORD.findall(note.casefold())) and not _CAUSAL.search(text)


def _is_title(line: str) -> bool:
    """Whether a line is a heading in Markdown, or has few words and one of those of titles."""
    plain = line.strip()
    if plain.startswith(("#", "**", "__")):
        return not re.match(r"\W*(?:rationale|reason|explanation|justification|why)", plain, re.I)
    return len(plain.split()) <= 6 and plain[0].isupper() and phrase_pattern("titles").search(plain.lower()) is not None


def _lists_options(line: str, options: Sequence[str]) -> bool:
    """Whether a line lists options, at least two of them and almost nothing else."""
    folded, num_listed = line.casefold(), 0
    for option in _longest_first(tuple(options)):
        if option in folded:
            folded = folded.replace(option, " ", 1)
            num_listed += 1
    if num_listed < 2 or len(line) > sum(map(len, options)) + 100 or not _SEPARATES.search(line):
        return False
    return len(re.findall(r"[^\W\d_]{2,}", folded)) <= 3


@lru_cache(maxsize=512)
def _longest_first(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(option.casefold() for option in sorted(options, key=len, reverse=True) if option.strip())
