"""Writes the facts of a call: as a hurried nurse's note, and as rationales of an LLM, a nurse and an editor.

Notes come in several orders and templates, with abbreviations and typos. Their cues are local, as in real notes: a
negation word heads its list, and `but` ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import get_args

from r2d.synthetic.facts import Facts, Reason, ReasonKind
from r2d.synthetic.vocabulary import CONDITIONS, FAMILIES, FINDINGS, VITALS, VOCABULARY

TYPO_SHARE = 0.012  # share of the words of a note with a typo
MIN_NOTE_WORDS = 24
MIN_RATIONALE_WORDS = 12  # of an LLM's rationale
REPEATED_NEGATION_SHARE = 0.3  # share of denied lists that repeat their head for each finding (`no fever, no rash`)
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
        sentences.append(_capitalised(", ".join(history)) + ".")
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
    if facts.age_months < 24:
        age = f"{facts.age_months} mo"
    else:
        age = f"{facts.age_months // 12} {random.choice(('y/o', 'yo', 'year old'))}"
    values = {"age": age, "text": text, "Text": _capitalised(text)}
    if facts.age_months < 12 * 13:
        child, kin = {"F": ("girl", "daughter"), "M": ("boy", "son")}[facts.sex]
        return random.choice(VOCABULARY.openings_of_children).format(child=child, kin=kin, **values)
    adult = {"F": ("F", "female", "woman"), "M": ("M", "male", "man")}[facts.sex]
    openings = VOCABULARY.openings_of_adults
    return random.choice([opening.format(adult=random.choice(adult), **values) for opening in openings])


def _finding_sentences(facts: Facts, random: Random) -> list[str]:
    """Asserted and denied findings in one to four sentences, some with a list whose scope is ended by `but`."""
    asserted, denied = (
        [
            surfaces[0] if random.random() < 0.85 else random.choice(surfaces[1:])
            for surfaces in (FINDINGS[name].surfaces for name in names)
        ]
        for names in (facts.asserted, facts.denied)
    )
    sentences: list[str] = []
    if asserted and denied and random.random() < 0.3:
        num_asserted = random.randint(1, min(2, len(asserted)))
        num_denied = random.randint(1, min(3, len(denied)))
        has, has_not = _listed(asserted[:num_asserted], "and"), _listed(denied[:num_denied], "or")
        asserted, denied = asserted[num_asserted:], denied[num_denied:]
        since = random.choice(VOCABULARY.since)
        sentences.append(random.choice(VOCABULARY.contrasts).format(has=has, has_not=has_not, since=since))
    for findings, heads, conjunction in (
        (asserted, VOCABULARY.asserting_heads, "and"),
        (denied, VOCABULARY.denying_heads, "or"),
    ):
        cut = random.randint(1, len(findings)) if len(findings) > 2 else len(findings)
        for part in filter(None, (findings[:cut], findings[cut:])):
            since = f" {random.choice(VOCABULARY.since)}" if conjunction == "and" and random.random() < 0.3 else ""
            head = random.choice(heads)
            if conjunction == "or" and random.random() < REPEATED_NEGATION_SHARE:
                sentences.append(f"{head} {f', {head.lower()} '.join(part)}.")
            else:
                sentences.append(f"{head} {_listed(part, conjunction)}{since}.")
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
    # What raised the urgency, most important first: as a nurse writes it, and as noun phrases.
    vitals = [(reason.name, reason.value) for reason in reasons if reason.kind == "vital"]
    raising = [VITALS[name].phrase.format(value=value) for name, value in vitals]
    raising += [CONDITIONS[name].name for name in names["risk"][:1]] + ["a sudden onset"] * len(names["sudden"])
    flags = [FINDINGS[name].surfaces[0] for name in names["red_flag"]]
    llm = _llm_rationale(facts, disposition, names, _listed(flags[:2] + raising, "and"), random)

    pieces = [FINDINGS[name].short for name in names["red_flag"][:1]]
    pieces += [f"{name} {value}" for name, value in vitals]
    pieces += [CONDITIONS[name].short for name in names["risk"][:1]] + ["sudden onset"] * len(names["sudden"])
    pieces += [f"stable x{_duration(facts.duration_hours, short=True)}" for _ in names["stable"]]
    if not flags and len(pieces) < 2:
        pieces += [f"no {FINDINGS[name].short}" for name in names["denied_red_flag"][:1]]
    short = f"{family} w/ {', '.join(pieces[:3] or ['no red flags'])}"
    nurse = f"{short} - {random.choice(VOCABULARY.short_dispositions[disposition])}"

    pieces = flags[:1] + raising
    pieces += [f"a stable course over {_duration(facts.duration_hours)}" for _ in names["stable"]]
    if not flags:
        pieces += [f"no {FINDINGS[name].surfaces[0]}" for name in names["denied_red_flag"][:1]]
    with_what = _listed(pieces[:3] or ["no red flags"], "and")
    sentence = f"{family} with {with_what} means that the right level is {disposition}."
    return {"llm": llm, "nurse": nurse, "nurse_post_processed": _capitalised(sentence)}


def _llm_rationale(
    facts: Facts, disposition: str, names: Mapping[str, Sequence[str]], raising: str, random: Random
) -> str:
    """One to three sentences of at least `MIN_RATIONALE_WORDS` words.

    Args:
        names: kind of reason -> the names of its reasons.
        raising: what raised the urgency, in words.
    """
    family = FAMILIES[facts.family].names[0]
    denied, benign = (
        _listed([FINDINGS[name].surfaces[0] for name in names[kind][:2]], conjunction)
        for kind, conjunction in (("denied_red_flag", "or"), ("benign", "and"))
    )
    consequence = random.choice(VOCABULARY.consequences[disposition])
    if random.random() < LABEL_SHARE:
        consequence = random.choice(VOCABULARY.named_consequences).format(disposition)
    further = []
    if raising:
        concern = "a red flag" if names["red_flag"] else "a reason for more caution"
        values = {"family": family, "raising": raising, "concern": concern, "consequence": consequence}
        text = random.choice(VOCABULARY.rationales_for_more).format(**values)
        if denied and not names["red_flag"]:
            further.append(f"There is no {denied}, which keeps it from going higher.")
    else:
        absent = f"without {denied}" if denied else "without a warning sign"
        if names["stable"]:
            absent += f" and unchanged for {_duration(facts.duration_hours)}"
        values = {"family": family, "absent": absent, "consequence": consequence}
        text = random.choice(VOCABULARY.rationales_for_less).format(**values)
    if benign:
        verb = "fits" if len(names["benign"]) == 1 else "fit"
        further.append(f"The {benign} {verb} {family} and would not change this.")
    further.append(f"Nothing else in the note about {family} points higher or lower.")
    text = _capitalised(text)
    while len(text.split()) < MIN_RATIONALE_WORDS:
        text = f"{text} {further.pop(0)}"
    return text


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
