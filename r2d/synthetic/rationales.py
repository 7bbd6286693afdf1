"""Three rationales of a call from the reasons of the rule: as an LLM, a nurse, and a cleaned-up nurse would write.

They argue for what the rule says, and mention only what stands in the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from r2d.synthetic.families import FAMILIES
from r2d.synthetic.findings import CONDITIONS, FINDINGS
from r2d.synthetic.rule import Facts, Reason
from r2d.synthetic.vitals import VITALS
from r2d.synthetic.wording import duration_text, listed

LABEL_SHARE = 0.6
"""LLM-style rationales that contain the disposition word for word."""

MIN_WORDS = 12

CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "emergency now": (
        "an ambulance should be called at once",
        "this may be life threatening and help cannot wait",
        "immediate emergency help is needed",
    ),
    "emergency department": (
        "hospital assessment is needed within hours",
        "a clinic cannot rule out the danger and hospital care is needed",
        "the patient should go to hospital now",
    ),
    "same day": (
        "a clinician should examine the patient today",
        "the patient should be seen today",
        "an urgent visit today is the safe choice",
    ),
    "within three days": (
        "a clinic visit in the next few days is enough",
        "a visit soon is sensible but not urgent",
        "the patient can wait a few days for a visit",
    ),
    "self care": (
        "home treatment and watching are enough",
        "the patient can safely stay at home",
        "rest and home measures are enough for now",
    ),
}
"""What follows from a disposition, without its name."""

SHORT_DISPOSITIONS: dict[str, tuple[str, ...]] = {
    "emergency now": ("911", "ambulance now"),
    "emergency department": ("ED", "to ED"),
    "same day": ("seen today", "same day"),
    "within three days": ("appt 3d", "clinic 72h"),
    "self care": ("home care", "self care"),
}


def write_rationales(facts: Facts, disposition: str, reasons: Sequence[Reason], random: Random) -> dict[str, str]:
    """The rationale of each source: `llm`, `nurse`, `nurse_post_processed`."""
    return {
        "llm": _llm(facts, disposition, reasons, random),
        "nurse": _nurse(facts, disposition, reasons, random),
        "nurse_post_processed": _post_processed(facts, disposition, reasons),
    }


def _names(reasons: Sequence[Reason], kind: str) -> list[str]:
    return [reason.name for reason in reasons if reason.kind == kind]


def _plain(names: Sequence[str], conjunction: str) -> str:
    return listed([FINDINGS[name].surfaces[0] for name in names], conjunction)


def _raising(reasons: Sequence[Reason]) -> list[str]:
    """What raised the urgency, most important first, as noun phrases."""
    phrases = [FINDINGS[name].surfaces[0] for name in _names(reasons, "red_flag")[:2]]
    phrases += [VITALS[r.name].phrase.format(value=r.value) for r in reasons if r.kind == "vital"]
    phrases += [CONDITIONS[name].name for name in _names(reasons, "risk")[:1]]
    phrases += ["a sudden onset" for r in reasons if r.kind == "sudden"]
    return phrases


def _llm(facts: Facts, disposition: str, reasons: Sequence[Reason], random: Random) -> str:
    family = FAMILIES[facts.family].names[0]
    consequence = random.choice(CONSEQUENCES[disposition])
    if random.random() < LABEL_SHARE:
        consequence = random.choice((
            f"the right level is {disposition}",
            f"{disposition} is the safe disposition",
            f"the disposition is {disposition}",
            f"the findings support the level {disposition}",
        ))  # fmt: skip
    raising, denied = _raising(reasons), _names(reasons, "denied_red_flag")[:2]
    flags, benign = _names(reasons, "red_flag"), _names(reasons, "benign")
    if raising:
        text = _raised(family, listed(raising, "and"), consequence, bool(flags), random)
        extra = (
            [] if flags or not denied else [f"There is no {_plain(denied, 'or')}, which keeps it from going higher."]
        )
    else:
        text = _not_raised(facts, family, denied, consequence, _names(reasons, "stable") != [], random)
        extra = []
    if benign:
        verb = "fits" if len(benign[:2]) == 1 else "fit"
        extra.append(f"The {_plain(benign[:2], 'and')} {verb} {family} and would not change this.")
    extra.append(f"Nothing else in the note about {family} points higher or lower.")
    while len(text.split()) < MIN_WORDS:
        text = f"{text} {extra.pop(0)}"
    return text


def _raised(family: str, raising: str, consequence: str, flagged: bool, random: Random) -> str:
    concern = "a red flag" if flagged else "a reason for more caution"
    text = random.choice((
        f"{family} together with {raising} is {concern}, so {consequence}.",
        f"in a patient with {family}, {raising} means {concern}; {consequence}.",
        f"because {raising} accompanies {family}, there is {concern} and {consequence}.",
        f"the combination of {family} and {raising} is {concern}, therefore {consequence}.",
    ))  # fmt: skip
    return text[0].upper() + text[1:]


def _not_raised(
    facts: Facts, family: str, denied: Sequence[str], consequence: str, stable: bool, random: Random
) -> str:
    absent = f"without {_plain(denied, 'or')}" if denied else "without a warning sign"
    course = f" and unchanged for {duration_text(facts.duration_hours)}" if stable else ""
    text = random.choice((
        f"{family} {absent}{course} shows no red flag, so {consequence}.",
        f"the patient has {family} {absent}{course}; no red flag is present and {consequence}.",
        f"since this is {family} {absent}{course}, no red flag is found and {consequence}.",
    ))  # fmt: skip
    return text[0].upper() + text[1:]


def _nurse(facts: Facts, disposition: str, reasons: Sequence[Reason], random: Random) -> str:
    """A few words, as typed between two calls."""
    pieces = [FINDINGS[name].short for name in _names(reasons, "red_flag")[:1]]
    pieces += [f"{r.name} {r.value}" for r in reasons if r.kind == "vital"]
    pieces += [CONDITIONS[name].short for name in _names(reasons, "risk")[:1]]
    pieces += ["sudden onset" for r in reasons if r.kind == "sudden"]
    pieces += [f"stable x{duration_text(facts.duration_hours, short=True)}" for r in reasons if r.kind == "stable"]
    if not _names(reasons, "red_flag") and len(pieces) < 2:
        pieces += [f"no {FINDINGS[name].short}" for name in _names(reasons, "denied_red_flag")[:1]]
    joined = f"{FAMILIES[facts.family].names[0]} w/ {', '.join(pieces[:3] or ['no red flags'])}"
    return f"{joined} - {random.choice(SHORT_DISPOSITIONS[disposition])}"


def _post_processed(facts: Facts, disposition: str, reasons: Sequence[Reason]) -> str:
    """The nurse's words as one sentence."""
    family = FAMILIES[facts.family].names[0]
    pieces = [FINDINGS[name].surfaces[0] for name in _names(reasons, "red_flag")[:1]]
    pieces += [VITALS[r.name].phrase.format(value=r.value) for r in reasons if r.kind == "vital"]
    pieces += [CONDITIONS[name].name for name in _names(reasons, "risk")[:1]]
    pieces += ["a sudden onset" for r in reasons if r.kind == "sudden"]
    pieces += [f"a stable course over {duration_text(facts.duration_hours)}" for r in reasons if r.kind == "stable"]
    if not _names(reasons, "red_flag"):
        pieces += [f"no {FINDINGS[name].surfaces[0]}" for name in _names(reasons, "denied_red_flag")[:1]]
    text = f"{family} with {listed(pieces[:3] or ['no red flags'], 'and')} means that the right level is {disposition}."
    return text[0].upper() + text[1:]
