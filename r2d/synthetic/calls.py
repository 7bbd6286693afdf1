"""Invented nurse-line triage calls: from a configuration to rows with notes, labels and rationales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from r2d.config.data import SyntheticTriageConfig
from r2d.synthetic.facts import Facts, Reason, age_band, decide, facts_of, neighbour, patient_of
from r2d.synthetic.vocabulary import FAMILIES
from r2d.synthetic.wording import add_typos, write_note, write_rationales


@dataclass(frozen=True, slots=True)
class Call:
    """One call, and what a reader of the note is not told: its facts, and what the rule decides about them."""

    id: str
    text: str
    label: str
    group: str
    """The caller, who may call up to three times."""
    attributes: Mapping[str, str]
    """`age_band`, `sex`, `family`."""
    rationales: Mapping[str, str]
    """Source (`llm`, `nurse`, `nurse_post_processed`) -> text. They argue for `disposition`."""
    facts: Facts
    disposition: str
    """What the rule says; `label` is a neighbour of it in some calls."""
    reasons: Sequence[Reason]


def generate_calls(config: SyntheticTriageConfig) -> list[Call]:
    """`num_calls` calls, the same for the same seed; call i does not depend on their number."""
    return [generate_call(config, index) for index in range(config.num_calls)]


def generate_call(config: SyntheticTriageConfig, index: int) -> Call:
    """Call `index`. With probability `label_noise` its label is a neighbour of the disposition."""
    facts = facts_of(config.seed, index)
    disposition, reasons = decide(facts)
    random = Random(f"{config.seed} words {index}")
    text = add_typos(write_note(facts, random), random)
    rationales = write_rationales(facts, disposition, reasons, random)
    random = Random(f"{config.seed} label {index}")
    label = neighbour(disposition, random) if random.random() < config.label_noise else disposition
    return Call(
        id=f"call-{index:06d}",
        text=text,
        label=label,
        group=patient_of(config.seed, index).caller,
        attributes={
            "age_band": age_band(facts.age_months),
            "sex": facts.sex,
            "family": FAMILIES[facts.family].names[0],
        },
        rationales=rationales,
        facts=facts,
        disposition=disposition,
        reasons=reasons,
    )
