"""The lexicon of findings: symptoms, signs and conditions, each with its forms, and where they stand in a text."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, NamedTuple, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.text import differ_by_one_slip

Words: TypeAlias = tuple[str, ...]
Value = TypeVar("Value")

MOST_SHARED = 5
"""Findings that have a word in their forms, up to which the word tells of each of them: `pain` tells of none."""
SHORTEST_MISSPELT = 5
"""Letters of a word in which a typing error is looked for: between shorter words, one letter is another word."""


@dataclass(frozen=True, slots=True, eq=False)
class Index(Generic[Value]):
    """Forms of one or more words, found in the words of a text by `matches`."""

    values: Mapping[Words, Value]
    """Form -> what it stands for."""
    sizes: Mapping[str, Sequence[int]]
    """First word of a form -> numbers of words of the forms that begin with it, the largest first."""

    @classmethod
    def of(cls, values: Mapping[Words, Value]) -> Index[Value]:
        sizes: dict[str, set[int]] = {}
        for form in values:
            sizes.setdefault(form[0], set()).add(len(form))
        return cls(values, {word: sorted(of_word, reverse=True) for word, of_word in sizes.items()})


class Evidence(NamedTuple):
    """The findings of which some words of a note say something."""

    names: Words
    direct: Words  # those that they name; the others they show, or deny
    denied: Words  # those that they deny by themselves


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The lexicon of findings, ready for matching."""

    names: Index[Words]  # form -> the findings that it names
    evidence: Index[Evidence]
    forms: Mapping[str, Sequence[Words]]  # finding -> all forms that say something of it
    telling: Mapping[str, frozenset[str]]  # finding -> words that may tell of it, in another form than these
    places: Mapping[str, str]  # finding -> its place in the body

    def may_be_meant(self, name: str, words: Words) -> bool:
        """Whether some words may say something of a finding: a telling word of its forms stands among them, outside the
        names of findings of other places (the `pain` of `chest pain` tells of no hip pain), or a form but for a typing
        error."""
        place = self.places.get(name)
        elsewhere = {
            at
            for start, end, names in (found_in(words, self.names) if place else ())
            if all(self.places.get(other, place) != place for other in names)
            for at in range(start, end)
        }
        telling = self.telling.get(name, frozenset())
        is_told = any(word in telling for at, word in enumerate(words) if at not in elsewhere)
        return is_told or self.is_misspelt(name, words)

    def is_misspelt(self, name: str, words: Words) -> bool:
        """Whether some words are a form of a finding but for a typing error in its longer words."""
        return any(
            _is_meant(words[start], form[0]) and all(map(_is_meant, words[start + 1 : start + len(form)], form[1:]))
            for form in self.forms.get(name, ())
            for start in range(len(words) - len(form) + 1)
        )


@functools.lru_cache(maxsize=65_536)  # of notes and forms, whose words repeat
def _is_meant(word: str, right: str) -> bool:
    """Whether a word is the right one but for a typing error."""
    if word == right or len(right) < SHORTEST_MISSPELT:
        return word == right
    return differ_by_one_slip(word, right) or differ_by_one_slip(f"{word}s", right)  # an s is cut off


@functools.lru_cache(maxsize=16)  # several checks read the same note, one after the other
def found_in(words: Words, index: Index[Value]) -> Sequence[tuple[int, int, Value]]:
    """What `matches` yields."""
    return tuple(matches(words, index))


def matches(words: Words, index: Index[Value]) -> Iterator[tuple[int, int, Value]]:
    """Start, end and value of each form in a text, by start; the longest first where several start together."""
    sizes, values = index.sizes, index.values
    for start in [at for at, word in enumerate(words) if word in sizes]:
        for size in sizes[words[start]]:
            form = words[start : start + size]
            if form in values and len(form) == size:
                yield start, start + size, values[form]


_WORD = re.compile(r"[^\W_]+")
APOSTROPHE = re.compile(r"['’]")


@functools.lru_cache(maxsize=16)  # several checks read the same note and rationale, one after the other
def plain_words(text: str) -> Words:
    """Words without case and apostrophes."""
    return tuple(_WORD.findall(APOSTROPHE.sub("", text.casefold())))


def words_of(text: str) -> Words:
    """Words in the form in which findings are compared: without case, apostrophes, hyphens and plural."""
    return tuple(map(singular, plain_words(text)))


@functools.lru_cache(maxsize=65_536)
def singular(word: str) -> str:
    """A word without the ending of its plural; `has` and `chess` are none."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    is_ache = word.endswith("aches") and not word.endswith(("eaches", "oaches"))
    return word[:-2] if word.endswith(("shes", "ches", "xes", "sses")) and not is_ache else word[:-1]


@functools.cache
def shipped_findings() -> Findings:
    """The lexicon `findings.yaml` of this package, which shows the format."""
    return load_findings(Path(__file__).with_name("findings.yaml"))


def load_findings(source: Path) -> Findings:
    """The lexicon of a YAML file.

    Raises:
        ConfigError: lists every fault of the file: entry, what was found, what is allowed, the fix.
    """
    lexicon = parse_section(_Lexicon, read_yaml(source), where=str(source))
    forms_of = {forms[0]: forms for forms in lexicon.names}
    names = [(form, name) for name, forms in forms_of.items() for form in forms]
    evidence = [
        (form, name)
        for name, signs in (lexicon.shown_by or {}).items()
        for sign in signs
        for form in forms_of.get(sign, [sign])
    ]
    denials = [(word, name) for name, words in (lexicon.denied_by or {}).items() for word in words]
    direct, denied = _index(names), _index(denials)
    every = {
        form: Evidence(of_form, direct.get(form, ()), denied.get(form, ()))
        for form, of_form in _index(names + evidence + denials).items()
    }
    forms: dict[str, list[Words]] = {}
    for form, (of_form, _, _) in every.items():
        for name in of_form:
            forms.setdefault(name, []).append(form)
    places = {name: place for place, of_place in (lexicon.places or {}).items() for name in of_place}
    return Findings(Index.of(direct), Index.of(every), forms, _telling(forms, lexicon.shown_by or {}), places)


def _telling(
    forms: Mapping[str, Sequence[Words]], shown_by: Mapping[str, Sequence[str]]
) -> Mapping[str, frozenset[str]]:
    """Finding -> words that may tell of it: those that few findings have in their forms, and the names of the wider
    findings that it shows."""
    shared = Counter(word for of_name in forms.values() for word in {word for form in of_name for word in form})
    telling = {
        name: {word for form in of_name for word in form if shared[word] <= MOST_SHARED and len(word) > 2}
        for name, of_name in forms.items()
    }
    for wider, signs in shown_by.items():
        for name in telling.keys() & set(signs):
            telling[name] |= {word for form in forms[wider] if len(form) == 1 for word in form}
    return {name: frozenset(words) for name, words in telling.items()}


def _index(forms: Sequence[tuple[str, str]]) -> dict[Words, Words]:
    """Form -> its findings, of pairs of a form and a finding."""
    meanings: dict[Words, list[str]] = {}
    for form, name in forms:
        meanings.setdefault(words_of(form), []).append(name)
    return {words: tuple(dict.fromkeys(names)) for words, names in meanings.items()}


def _check_forms(forms: object) -> object:
    if not isinstance(forms, list) or not forms:
        raise ValueError(f"found {forms!r}; allowed: a list of at least one form, such as [fever, febrile]")
    if bad := [form for form in forms if not isinstance(form, str) or not words_of(form)]:
        raise ValueError(f'found {bad!r}; allowed: words; put yes, no, on, off and numbers in quotes ("no")')
    if twice := sorted({form for form in forms if forms.count(form) > 1}):
        raise ValueError(f"found {twice!r} more than once; remove the copies")
    return forms


_Forms = Annotated[list[str], BeforeValidator(_check_forms)]


class _Lexicon(Section):
    """A file of findings."""

    names: Annotated[list[_Forms], Field(min_length=1)]
    """Each finding as a list of its forms; the first form is its name."""
    shown_by: dict[str, _Forms] | None = None
    """Name of a finding -> what else in a note shows it: names of findings, or any words."""
    denied_by: dict[str, _Forms] | None = None
    """Name of a finding -> words that deny it by themselves, such as `afebrile`."""
    places: dict[str, _Forms] | None = None
    """Place in the body -> names of findings there, where others of the same kind are found in other places (`chest
    pain`, `hip pain`)."""

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> _Lexicon:
        names = [forms[0] for forms in self.names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names: more than one list begins with {', '.join(twice)}; put them together")
        placed = {name for of_place in (self.places or {}).values() for name in of_place}
        named = {"shown_by": self.shown_by or {}, "denied_by": self.denied_by or {}, "places": placed}
        for key, of_key in named.items():
            if unknown := sorted(set(of_key) - set(names)):
                raise ValueError(f"{key}: no list of names begins with {', '.join(unknown)}")
        return self
