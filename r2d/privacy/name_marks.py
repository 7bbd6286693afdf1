"""What marks the words beside it as someone's name. Patterns that Python and RE2 read alike: no look-around."""

from __future__ import annotations

from dataclasses import dataclass

BLANK = "[ \t\u00a0]"


@dataclass(frozen=True, slots=True)
class Mark:
    """A pattern that ends where the name begins, and what the name must then be."""

    pattern: str
    least: int
    """Capitalised words of two letters or more that the name needs."""
    score: float
    surname_first: bool = False
    """Whether `Smith, John` is read as one name."""
    capitals_only: bool = False
    """Whether the name must be in capitals: MR, MS and DR are also an imaging method and two diseases."""


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
_VERB = (
    "signed|dictated|seen|examined|written|attended|referred|accompanied|evaluated|assessed|transcribed|spoke|"
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
    Mark(rf"\b(?:{_RELATION})(?:,?{BLANK}|{BLANK}\()", 1, 0.6),
    Mark(rf"(?i:\b(?:{_ROLE}){BLANK}?[:=]{BLANK}{{0,3}})", 2, 0.7, surname_first=True),
    Mark(rf"(?i:\b(?:{_VERB})(?:{BLANK}electronically)?{BLANK}(?:by|with|to):?{BLANK})", 2, 0.6),
    Mark(rf"(?:\bI am|\bI['’]m|\b[Tt]his is|\b[Mm]y name['’]s|\bi am|\bi'm){BLANK}", 2, 0.55),
)

SMALL_TITLE = rf"\b(?:mr|mrs|mister)\b\.?{BLANK}{{1,2}}"
"""Before a name in small letters; `dr` and `ms` are too often other words there."""

QUALIFICATION = (
    rf",?{BLANK}(?:RN|LPN|BSN|NP|CNP|PA-C|M\.D\.|D\.O\.|FRCP|FRCS|MRCP|MRCS|MBBS|FNP|DNP|EMT|MBChB|MRCGP|MSN|ARNP)\b"
)
"""After a name. Not `MD`, which is Maryland in every American affiliation, nor `PhD`."""

NOT_A_PERSONS_NAME = (
    r"(?i:(?:brand|drug|trade|generic|chemical|common|scientific|file|test|device|product|street|hospital|clinic|"
    r"medication|medicine|school|company|gene|pharmacy|species|facility|study|insurer|plan)(?:'s)?[ ]names?\b)"
)
