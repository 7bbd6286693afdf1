"""Writes the facts of a call: as a hurried nurse's note, and as rationales of an LLM, a nurse and an editor.

Notes come in several orders and templates, with abbreviations and typos. Most give the findings as answers to the
questions of a protocol (`fever now: no, rash now: yes`); in the others a negation word heads its list, and `but` ends
it. A word stands between a finding and its answer, so counts of words and word pairs do not tell which one is denied.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import get_args

from r2d.synthetic.facts import Facts, Reason, ReasonKind
from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, FINDINGS, VITALS, VOCABULARY

TYPO_SHARE = 0.012  # share of the words of a note with a typo
MIN_NOTE_WORDS = 20
QUESTIONS_SHARE = 0.9  # share of notes that give the findings as answers to questions
CONTRAST_SHARE = 0.3  # share of the other notes that assert and deny in one sentence
LABEL_SHARE = 0.6  # share of LLM-style rationales that contain the disposition word for word


def write_note(facts: Facts, random: Random) -> str:
    """The note of a call, without typos."""
    sentences = _finding_sentences(facts, random)
    if facts.vitals:
        readings = ", ".join(f"{name} {value}" for name, value in facts.vitals)
        sentences.append(f"{random.choice(VOCABULARY.vitals_heads)} {readings}.")
    history = [random.choice(CONDITIONS[name].present) for name in facts.conditions]
    history += [random.choice(CONDITIONS[name].absent) for name in facts.denied_conditions]
    random.shuffle(history)
    if history:
        sentences.append(_capitalised("; ".join(history)) + ".")
    random.shuffle(sentences)
    opening = _opening(facts, random)
    is_adult = facts.age_months >= 12 * 18
    possible = VOCABULARY.irrelevant + (VOCABULARY.irrelevant_of_adults if is_adult else ())
    fillers = random.sample(possible, 12)
    num_words = len(" ".join([opening, *sentences]).split())
    num_fillers = 1
    while num_words + sum(len(text.split()) for text in fillers[:num_fillers]) < MIN_NOTE_WORDS:
        num_fillers += 1
    for text in fillers[:num_fillers]:
        sentences.insert(random.randint(0, len(sentences)), text)
    sentences.insert(random.randint(0, 1) if random.random() < 0.2 else 0, opening)
    return " ".join(sentences)


def _opening(facts: Facts, random: Random) -> str:
    """The sentence with age, sex, complaint, duration and course."""
    names = FAMILIES[facts.family].names
    family = names[0] if random.random() < 0.8 else random.choice(names[1:])
    duration = _duration(facts.duration_hours, short=random.random() < 0.4)
    when = random.choice(VOCABULARY.durations)
    when = when.format(duration=duration, course=random.choice(VOCABULARY.courses[facts.course]))
    text = f"{family} {when}"
    age = f"{facts.age_months // 12} {random.choice(('y/o', 'yo', 'year old'))}"
    values = {"age": age, "text": text, "Text": _capitalised(text)}
    if facts.age_months < 12 * 13:
        child, kin = {"F": ("girl", "daughter"), "M": ("boy", "son")}[facts.sex]
        return random.choice(VOCABULARY.openings_of_children).format(child=child, kin=kin, **values)
    adult = {"F": ("F", "female", "woman"), "M": ("M", "male", "man")}[facts.sex]
    openings = VOCABULARY.openings_of_adults
    return random.choice([opening.format(adult=random.choice(adult), **values) for opening in openings])


def _finding_sentences(facts: Facts, random: Random) -> list[str]:
    """Asserted and denied findings in one or two sentences; in some a list ends at `but`."""
    asserted, denied = (
        [
            surfaces[0] if random.random() < 0.85 else random.choice(surfaces[1:])
            for surfaces in (FINDINGS[name].surfaces for name in names)
        ]
        for names in (facts.asserted, facts.denied)
    )
    if random.random() < QUESTIONS_SHARE:
        answers = [(finding, "yes") for finding in asserted] + [(finding, "no") for finding in denied]
        random.shuffle(answers)
        question = random.choice(VOCABULARY.questions)
        listed = ", ".join(question.format(finding=finding, answer=answer) for finding, answer in answers)
        return [f"{random.choice(VOCABULARY.question_heads)} {listed}."]
    if asserted and denied and random.random() < CONTRAST_SHARE:
        has, has_not = _listed(asserted, "and"), _listed(denied, "or")
        return [random.choice(VOCABULARY.contrasts).format(has=has, has_not=has_not)]
    sentences: list[str] = []
    if asserted:
        sentences.append(f"{random.choice(VOCABULARY.asserting_heads)} {_listed(asserted, 'and')}.")
    if denied:
        sentences.append(f"{random.choice(VOCABULARY.denying_heads)} {_listed(denied, 'or')}.")
    return sentences


def add_typos(text: str, random: Random) -> str:
    """Swap or drop a letter in a small share of the longer words."""
    words = text.split(" ")
    for position, word in enumerate(words):
        if len(word) >= 6 and word.isalpha() and random.random() < 2 * TYPO_SHARE:
            at = random.randint(1, len(word) - 3)
            swapped = word[at + 1] + word[at] if random.random() < 0.5 else word[at + 1]
            words[position] = word[:at] + swapped + word[at + 2 :]
    return " ".join(words)


def write_rationales(facts: Facts, disposition: str, reasons: Sequence[Reason], random: Random) -> dict[str, str]:
    """The rationales for a disposition by source: `llm`, `nurse` and `nurse_post_processed` (the nurse's cleaned up).

    They mention only what the note mentions.
    """
    family = FAMILIES[facts.family].names[0]
    names: dict[str, list[str]] = {kind: [] for kind in get_args(ReasonKind)}
    for reason in reasons:
        names[reason.kind].append(reason.name)
    consequence = random.choice(VOCABULARY.consequences[disposition])
    if random.random() < LABEL_SHARE:
        consequence = random.choice(VOCABULARY.named_consequences).format(disposition)
    llm = f"In {family} {_what_counts(facts, reasons)}, so {consequence}."

    # What raised the urgency, most important first: as a nurse writes it, and as noun phrases.
    vitals = [(reason.name, reason.value) for reason in reasons if reason.kind == "vital"]
    pieces = [FINDINGS[name].short for name in names["red_flag"][:1]]
    pieces += [f"{name} {value}" for name, value in vitals]
    pieces += [CONDITIONS[name].short for name in names["risk"][:1]] + ["sudden onset"] * len(names["sudden"])
    pieces += [f"stable x{_duration(facts.duration_hours, short=True)}" for _ in names["stable"]]
    if not names["red_flag"] and len(pieces) < 2:
        pieces += [f"no {FINDINGS[name].short}" for name in names["denied_red_flag"][:1]]
    short = f"{family} w/ {', '.join(pieces[:3])}"
    nurse = f"{short} - {random.choice(VOCABULARY.short_dispositions[disposition])}"

    pieces = [FINDINGS[name].surfaces[0] for name in names["red_flag"][:1]]
    pieces += [VITALS[name].phrase.format(value=value) for name, value in vitals]
    pieces += [CONDITIONS[name].name for name in names["risk"][:1]] + ["a sudden onset"] * len(names["sudden"])
    pieces += [f"a stable course over {_duration(facts.duration_hours)}" for _ in names["stable"]]
    if not names["red_flag"]:
        pieces += [f"no {FINDINGS[name].surfaces[0]}" for name in names["denied_red_flag"][:1]]
    sentence = f"{family} with {_listed(pieces[:3], 'and')} means that the right level is {disposition}."
    return {"llm": llm, "nurse": nurse, "nurse_post_processed": _capitalised(sentence)}


def _what_counts(facts: Facts, reasons: Sequence[Reason]) -> str:
    """What warns, what calls for caution and which red flags are absent: `fever warns; no vomiting`."""
    dangers, cautions, denied = list[str](), list[str](), list[str]()
    for reason in reasons:
        if reason.kind == "red_flag":
            dangers.append(FINDINGS[reason.name].surfaces[0])
        elif reason.kind == "vital":
            vital = VITALS[reason.name]
            (dangers if vital.dangerous else cautions).append(vital.phrase.format(value=reason.value))
        elif reason.kind == "risk":
            cautions.append(CONDITIONS[reason.name].name)
        elif reason.kind == "sudden":
            cautions.append("a sudden onset")
        elif reason.kind == "denied_red_flag":
            denied.append(FINDINGS[reason.name].surfaces[0])
    text = f"{_listed(dangers, 'and')} {'warns' if len(dangers) == 1 else 'warn'}" if dangers else "nothing warns"
    if cautions:
        text += f" and {_listed(cautions, 'and')} {'calls' if len(cautions) == 1 else 'call'} for caution"
    if any(reason.kind == "stable" for reason in reasons):
        text += f" and it is unchanged for {_duration(facts.duration_hours)}"
    return f"{text}; no {_listed(denied, 'or')}" if denied else text


def _duration(hours: int, *, short: bool = False) -> str:
    """A duration such as `6 hours`, or `6h` when short."""
    for unit, size in (("week", 168), ("day", 24), ("hour", 1)):
        if hours >= (2 * size if unit == "week" else size):
            number = hours // size
            return f"{number}{unit[0]}" if short else f"{number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError(f"a call lasts for an hour at least, got {hours}")


def _listed(items: Sequence[str], conjunction: str) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return f" {conjunction} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
