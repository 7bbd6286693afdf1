"""Names of people: capitalised words that a title, a label, a relation or a qualification marks as a name.

There is no dictionary of names: a name that nothing marks is missed, as is one behind `PATIENT` in a note that is in
capitals throughout.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r2d.files import read_yaml
from r2d.privacy.findings import Finding, detector

BLANK = "[ \t\u00a0]"


@dataclass(frozen=True, slots=True)
class Mark:
    """A pattern that ends where a name begins, and what the name must be."""

    pattern: str
    min_words: int  # number of capitalised words of two letters or more that the name needs
    score: float
    surname_first: bool = False  # whether `Smith, John` is read as one name
    capitals_only: bool = False
    """Whether the name must be in capitals: MR, MS and DR are also an imaging method and two diseases."""
    no_capitals: bool = False
    """Whether a run of capitals is no name: a word that often stands before what is none, in notes of capitals."""


_PERSON = (
    "patient|pt|boy|girl|man|woman|lady|gentleman|male|female|child|son|daughter|wife|husband|mother|father|friend|"
    "caller|baby|infant|neighbou?r|carer|caregiver|brother|sister|partner"
)
_RELATION = (
    "husband|wife|son|daughter|mother|mom|mum|father|dad|brother|sister|partner|spouse|fianc(?:e|ee|é|ée)|aunt|uncle|"
    "nephew|niece|cousin|grandson|granddaughter|grandmother|grandfather|roommate|neighbou?r|boyfriend|girlfriend|carer"
)
_ROLE = (
    "patient|pt|client|caller|next of kin|nok|informant|contact|guardian|carer|attending|provider|physician|surgeon|"
    "consultant|gp|pcp|clinician|author|signed|nurse|mother|father|spouse|referrer|witness"
)
_PATIENT = "patient|pt|client|caller|resident|baby|infant|child|newborn|guardian|next of kin|emergency contact"
_STAFF = (
    "nurse|doctor|midwife|paramedic|pharmacist|surgeon|physician|registrar|consultant|therapist|physiotherapist|dietitian|"
    "psychologist|psychiatrist|cardiologist|neurologist|oncologist|urologist|dermatologist|radiologist|pediatrician|"
    "paediatrician|obstetrician|gynecologist|gynaecologist|anesthetist|anaesthetist|dentist|"
    "social worker|RN|LPN|GP|PCP|NP"
)
_IS_SAID_OF_PEOPLE = (
    "is|was|has|had|states|stated|reports|reported|denies|denied|complains|called|calls|rang|came|presented|presents|"
    "says|said|wants|feels|felt|fell|slept|ate|took|refuses|refused|lives|will"
)
_VERB = (
    "given|handed|transferred|signed|dictated|seen|examined|written|attended|referred|accompanied|evaluated|assessed|transcribed|spoke|handover|"
    "discussed|speaking|reported|reviewed|completed"
)

MARKS = (
    Mark(rf"\b(?:Mr|Mrs|Ms|Mx|Drs?|Prof|Messrs|MRS)\b\.?{BLANK}{{0,2}}", 1, 0.85),
    Mark(rf"\b(?:MR|MS|DR|PROF)\.{BLANK}{{1,2}}", 1, 0.55, capitals_only=True),
    Mark(rf"\b(?:Miss|Nurse|Doctor|Professor|Sir|Dame|Rev\.?|Reverend|Pastor|Midwife|Paramedic){BLANK}", 1, 0.7),
    Mark(rf"(?i:\bnames?{BLANK}?(?::|=|-|\bis\b|\bwas\b){BLANK}{{0,3}})", 1, 0.8, surname_first=True),
    Mark(rf"(?i:\b(?:patient|pt|client|full|caller)(?:'s)?{BLANK}name{BLANK}{{1,3}})", 1, 0.75, surname_first=True),
    Mark(rf"(?i:\b(?:surname|forename|first name|last name|nok){BLANK}?[:=\-]?{BLANK}{{1,3}})", 1, 0.75),
    Mark(rf"(?i:\b(?:{_PERSON}),?{BLANK}(?:is{BLANK})?(?:named|called|by the name of){BLANK})", 1, 0.7),
    Mark(rf"\b(?i:{_RELATION})(?:,?{BLANK}|{BLANK}\()", 1, 0.6, no_capitals=True),
    Mark(rf"\b(?i:{_PATIENT}|boy|girl)\b\.?,?{BLANK}(?:is{BLANK})?\(?", 2, 0.6, no_capitals=True),
    Mark(rf"\b(?i:{_STAFF}){BLANK}", 1, 0.6, no_capitals=True),
    Mark(
        rf"(?i:\b(?:under the care|care|mother|father|parents?|wife|husband|name) of{BLANK})", 2, 0.55, no_capitals=True
    ),
    Mark(rf"(?i:\b(?:{_ROLE}){BLANK}?[:=]{BLANK}{{0,3}})", 2, 0.7, surname_first=True),
    Mark(rf"(?i:\b(?:{_VERB})(?:{BLANK}electronically)?{BLANK}(?:by|with|to|from):?{BLANK})", 2, 0.6),
    Mark(rf"(?:\bI am|\bI['’]m|\b[Tt]his is|\b[Mm]y name['’]s|\bi am|\bi'm){BLANK}", 2, 0.55),
)

ONE_WORD_NAME = re.compile(
    rf"\b(?i:{_PATIENT})\b\.?{BLANK}(?P<name>[A-Z][a-z][\w'’\-]+){BLANK}(?:{_IS_SAID_OF_PEOPLE})\b", re.ASCII
)
"""A word between `patient` and a verb in small letters."""

SMALL_TITLE = re.compile(rf"\b(?:mr|mrs|mister)\b\.?{BLANK}{{1,2}}", re.ASCII)
"""Before a name in small letters; `dr` and `ms` are too often other words there."""

QUALIFICATION = re.compile(
    rf",?{BLANK}(?:RN|LPN|BSN|NP|CNP|PA-C|M\.D\.|D\.O\.|FRCP|FRCS|MRCP|MRCS|MBBS|FNP|DNP|EMT|MBChB|MRCGP|MSN|ARNP)\b",
    re.ASCII,
)
"""After a name. Not `MD`, which is Maryland in every American affiliation, nor `PhD`."""

NOT_A_PERSONS_NAME = re.compile(
    r"(?:brand|drug|trade|generic|chemical|common|scientific|file|test|device|product|street|hospital|clinic|"
    r"medication|medicine|school|company|gene|pharmacy|species|facility|study|insurer|plan)(?:'s)?[ ]names?\b",
    re.ASCII | re.IGNORECASE,
)

NOT_NAMES = frozenset(" ".join(read_yaml(Path(__file__).with_name("not_names.yaml")).values()).split())
"""Words in small letters that stand capitalised where a name could, and are none."""

_LETTER = r"[^\W\d_]"
_WORD = re.compile(rf"{_LETTER}\.(?={_LETTER}|{BLANK})|{_LETTER}+(?:['’\-]{_LETTER}+)*")
_GAP = re.compile(rf"(?P<comma>,)?{BLANK}{{1,2}}|\^|(?<=\.)")
_PARTICLE_WORDS = "van von de der den da dos del della di la le bin ibn al el ter ten"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
_PARTICLE_FOLLOWS = re.compile(rf"{BLANK}{_LETTER}")
_MAX_WORDS = 5
MAX_ABBREVIATION = 4
_WORDS_BEFORE = re.compile(rf"{_LETTER}[\w.'’\-]*(?:{BLANK}{_LETTER}[\w.'’\-]*){{1,2}}$")
_REACH_BACK = 60

_MARKS = [(re.compile(mark.pattern, re.ASCII), mark) for mark in MARKS]


@detector(
    "|".join(
        [rf"(?:{mark.pattern})(?:(?:{'|'.join(sorted(_PARTICLES))}){BLANK})*\p{{Lu}}" for mark in MARKS]
        + [
            ONE_WORD_NAME.pattern.replace("?P<name>", "?:"),
            rf"(?:{SMALL_TITLE.pattern})\p{{Ll}}",
            QUALIFICATION.pattern,
        ]
    )
)
def person_name(text: str) -> Iterator[Finding]:
    """Names after each mark, names in small letters after `mr`, and names before `RN` and the like."""
    for pattern, mark in _MARKS:
        for match in pattern.finditer(text):
            if not NOT_A_PERSONS_NAME.search(text[max(0, match.start() - 20) : match.end()]):
                yield from _name_at(text, match.end(), mark)
    for match in ONE_WORD_NAME.finditer(text):
        yield from _name_at(text, match.start("name"), Mark("", 1, 0.55, no_capitals=True))
    for match in SMALL_TITLE.finditer(text):
        word = _WORD.match(text, match.end())
        if word and word[0].islower() and len(word[0]) > 2 and word[0] not in NOT_NAMES:
            yield Finding("person_name", match.end(), _without_possessive(text, word.end()), 0.5)
    for match in QUALIFICATION.finditer(text):
        reach = max(0, match.start() - _REACH_BACK)
        words = _WORDS_BEFORE.search(text[reach : match.start()])
        if words:
            yield from _name_at(text[: match.start()], reach + words.start(), Mark("", 2, 0.7))


def _name_at(text: str, start: int, mark: Mark) -> Iterator[Finding]:
    """The run of name-like words from `start`, if it has as many full words as `mark` asks for."""
    end, num_full, position = start, 0, start
    for _ in range(_MAX_WORDS):
        word = _WORD.match(text, position)
        if not word:
            break
        is_particle = word[0] in _PARTICLES and _PARTICLE_FOLLOWS.match(text, word.end()) is not None
        bare = word[0].rstrip(".").lower()
        is_capitalised = unicodedata.category(word[0][0]) == "Lu"
        if not is_particle and not (is_capitalised and (len(bare) == 1 or bare not in NOT_NAMES)):
            break
        if not is_particle:
            end = _without_possessive(text, word.end())
            num_full += len(bare) > 1
            if end < word.end():
                break
        gap = _GAP.match(text, word.end())
        if not gap or (gap["comma"] and not (mark.surname_first and num_full == 1)):
            break
        position = gap.end()
    is_capitals = text[start:end].isupper()
    if mark.no_capitals and is_capitals and (end - start <= MAX_ABBREVIATION or not any(map(str.islower, text))):
        return  # an abbreviation, or the whole note is in capitals
    if num_full >= mark.min_words and (not mark.capitals_only or is_capitals):
        yield Finding("person_name", start, end, mark.score)


def _without_possessive(text: str, end: int) -> int:
    """`end`, before the possessive `'s` if there is one."""
    return end - 2 if text[end - 2 : end] in ("'s", "’s", "'S") else end
