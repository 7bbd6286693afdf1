"""Writes the facts of a call as a hurried nurse's note: several orders and templates, abbreviations, typos.

The cues are local, as in real notes: a negation word heads its list, and `but` ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from r2d.synthetic.families import FAMILIES
from r2d.synthetic.findings import CONDITIONS, FINDINGS
from r2d.synthetic.rule import Facts

TYPO_SHARE = 0.012
"""Of the words of a note."""

MIN_WORDS = 24

IRRELEVANT: tuple[str, ...] = (
    "Pharmacy on file.", "Lives with family.", "Address confirmed.", "Took tylenol with some relief.",
    "Took ibuprofen, no relief.", "Caller sounds anxious.", "Caller sounds calm.", "Slept poorly last night.",
    "Slept well.", "No known allergies.", "Vaccines up to date.", "Recently back from a trip.", "Has a dog at home.",
    "Insurance card updated.", "Has a clinic visit next month.", "Wants advice about diet.",
    "Call back number confirmed.", "Second call this week.", "Language line used.", "Neighbor can drive.",
)  # fmt: skip
"""Says nothing about danger."""

IRRELEVANT_OF_ADULTS: tuple[str, ...] = (
    "Lives alone.", "Works night shifts.", "Non smoker.", "Smokes daily.", "Asks for a work note.",
    "Partner is at home.", "Uses herbal tea.", "Had a flu shot last fall.", "Drives own car.",
    "Ate breakfast as usual.",
)  # fmt: skip

SINCE = ("since this morning", "since last night", "since noon", "for a few hours", "off and on", "today")
ASSERT_HEADS = ("Reports", "C/o", "Now has", "With")
DENY_HEADS = ("Denies", "No", "Without", "Neg for")

REPEATED_NEGATION_SHARE = 0.3
"""Denied lists that repeat their head for each finding (`no fever, no rash`); the others say it once for all."""


def write_note(facts: Facts, random: Random) -> str:
    """The note of a call, without typos."""
    middle = [*_finding_sentences(facts, random)]
    if facts.vitals:
        middle.append(_vitals_sentence(facts, random))
    history = _history_sentence(facts, random)
    if history:
        middle.append(history)
    random.shuffle(middle)
    opening = _opening(facts, random)
    adult = facts.age_months >= 12 * 18
    fillers = random.sample(IRRELEVANT + IRRELEVANT_OF_ADULTS if adult else IRRELEVANT, 12)
    num_words = len(" ".join([opening, *middle]).split())
    num_fillers = 1
    while num_words + sum(len(text.split()) for text in fillers[:num_fillers]) < MIN_WORDS:
        num_fillers += 1
    for text in fillers[:num_fillers]:
        middle.insert(random.randint(0, len(middle)), text)
    if random.random() < 0.2:
        middle.insert(random.randint(0, 1), opening)
    else:
        middle.insert(0, opening)
    return " ".join(middle)


def add_typos(text: str, random: Random) -> str:
    """Swap or drop a letter in a small share of the longer words."""
    words = text.split(" ")
    for position, word in enumerate(words):
        if len(word) >= 6 and word.isalpha() and random.random() < 2 * TYPO_SHARE:
            at = random.randint(1, len(word) - 3)
            swapped = word[at + 1] + word[at] if random.random() < 0.5 else word[at + 1]
            words[position] = word[:at] + swapped + word[at + 2 :]
    return " ".join(words)


def duration_text(hours: int, *, short: bool = False) -> str:
    """A duration such as `6 hours`, or `6h` when short."""
    for unit, size in (("week", 168), ("day", 24), ("hour", 1)):
        if hours >= (2 * size if unit == "week" else size):
            number = hours // size
            return f"{number}{unit[0]}" if short else f"{number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError(f"a call lasts for an hour at least, found {hours}")


def listed(items: Sequence[str], conjunction: str) -> str:
    """`a`, `a or b`, `a, b or c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def _surface(name: str, random: Random) -> str:
    surfaces = FINDINGS[name].surfaces
    return surfaces[0] if random.random() < 0.85 else random.choice(surfaces[1:])


def _opening(facts: Facts, random: Random) -> str:
    names = FAMILIES[facts.family].names
    family = names[0] if random.random() < 0.8 else random.choice(names[1:])
    duration = duration_text(facts.duration_hours, short=random.random() < 0.4)
    course = {
        "sudden": ("sudden onset", "came on suddenly", "abrupt onset"),
        "gradual": ("gradual onset", "came on slowly", "started slowly"),
        "worse": ("getting worse", "worse now", "slowly worsening"),
        "unchanged": ("unchanged", "stable, no change", "stays the same"),
    }[facts.course]
    when = random.choice((f"for {duration}, {{}}", f"x {duration}, {{}}", f"({{}}, {duration})", f"{duration}, {{}}"))
    text = f"{family} {when.format(random.choice(course))}"
    if facts.age_months < 24:
        age = f"{facts.age_months} mo"
    else:
        age = f"{facts.age_months // 12} {random.choice(('y/o', 'yo', 'year old'))}"
    if facts.age_months < 12 * 13:
        child = {"F": ("girl", "daughter"), "M": ("boy", "son")}[facts.sex]
        return random.choice((
            f"Parent calling about {age} {child[0]}, {text}.",
            f"{age} {child[0]}, {text}.",
            f"Mom calls re {age} {child[1]}: {text}.",
            f"{text[0].upper()}{text[1:]}, {age} {child[0]}.",
        ))  # fmt: skip
    adult = {"F": ("F", "female", "woman"), "M": ("M", "male", "man")}[facts.sex]
    return random.choice((
        f"{age} {random.choice(adult)} c/o {text}.",
        f"{age} {random.choice(adult)} with {text}.",
        f"Pt is {age} {random.choice(adult)} calling about {text}.",
        f"Caller, {age} {random.choice(adult)}, reports {text}.",
        f"{text[0].upper()}{text[1:]} in {age} {random.choice(adult)}.",
    ))  # fmt: skip


def _finding_sentences(facts: Facts, random: Random) -> list[str]:
    """Asserted and denied findings in one to four sentences, some with a list whose scope is broken by `but`."""
    asserted = [_surface(name, random) for name in facts.asserted]
    denied = [_surface(name, random) for name in facts.denied]
    sentences: list[str] = []
    if asserted and denied and random.random() < 0.3:
        num_asserted = random.randint(1, min(2, len(asserted)))
        num_denied = random.randint(1, min(3, len(denied)))
        sentences.append(_mixed(asserted[:num_asserted], denied[:num_denied], random))
        asserted, denied = asserted[num_asserted:], denied[num_denied:]
    for findings, heads, conjunction in ((asserted, ASSERT_HEADS, "and"), (denied, DENY_HEADS, "or")):
        cut = random.randint(1, len(findings)) if len(findings) > 2 else len(findings)
        for part in (findings[:cut], findings[cut:]):
            if part:
                ending = f" {random.choice(SINCE)}" if conjunction == "and" and random.random() < 0.3 else ""
                head = random.choice(heads)
                if conjunction == "or" and random.random() < REPEATED_NEGATION_SHARE:
                    sentences.append(
                        ", ".join([f"{head} {part[0]}", *(f"{head.lower()} {name}" for name in part[1:])]) + "."
                    )
                else:
                    sentences.append(f"{head} {listed(part, conjunction)}{ending}.")
    return sentences


def _mixed(asserted: Sequence[str], denied: Sequence[str], random: Random) -> str:
    has, has_not = listed(asserted, "and"), listed(denied, "or")
    return random.choice((
        f"No {has_not} but {has} {random.choice(SINCE)}.",
        f"Denies {has_not} but now has {has}.",
        f"Denies {has_not} but reports {has}.",
        f"Reports {has} but no {has_not}.",
        f"C/o {has} without {has_not}.",
        f"Reports {has}, denies {has_not}.",
        f"Neg for {has_not} but c/o {has}.",
    ))  # fmt: skip


def _vitals_sentence(facts: Facts, random: Random) -> str:
    readings = ", ".join(f"{name} {value}" for name, value in facts.vitals)
    return f"{random.choice(('Vitals:', 'VS', 'Home vitals', 'Readings:'))} {readings}."


def _history_sentence(facts: Facts, random: Random) -> str:
    """Conditions that the patient has or has not, in any order."""
    phrases = [random.choice(CONDITIONS[name].present) for name in facts.conditions]
    phrases += [random.choice(CONDITIONS[name].absent) for name in facts.denied_conditions]
    random.shuffle(phrases)
    text = ", ".join(phrases)
    return text and f"{text[0].upper()}{text[1:]}."
