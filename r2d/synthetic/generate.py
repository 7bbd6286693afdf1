"""The door of the generator: from its configuration to examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from r2d.config.data import SyntheticTriageConfig
from r2d.data.examples import Example
from r2d.synthetic.drawing import age_band, draw_facts, patient_of
from r2d.synthetic.families import FAMILIES
from r2d.synthetic.rationales import write_rationales
from r2d.synthetic.rule import DISPOSITIONS, Facts, Reason, decide
from r2d.synthetic.wording import add_typos, write_note


def generate_calls(config: SyntheticTriageConfig) -> list[Example]:
    """Invented calls, the same for the same seed; call i does not depend on how many are asked for.

    The label is what `decide` says, moved to a neighbouring level in `label_noise` of the calls; the rationales argue
    for what `decide` says all the same. `group` is the caller, who may call up to three times.
    """
    return [draw_call(config, index).example for index in range(config.num_calls)]


def facts_of(seed: int, index: int) -> Facts:
    """The facts behind call `index`: what a perfect reader would take from its note."""
    return draw_facts(patient_of(seed, index), Random(f"{seed} facts {index}"))


@dataclass(frozen=True, slots=True)
class Call:
    """One call, with what nobody who reads the note is told: its facts and what the rule says of them."""

    example: Example
    facts: Facts
    disposition: str
    reasons: Sequence[Reason]


def draw_call(config: SyntheticTriageConfig, index: int) -> Call:
    """Call `index`, whose rationales hold the LLM's too."""
    patient, facts = patient_of(config.seed, index), facts_of(config.seed, index)
    disposition, reasons = decide(facts)
    random = Random(f"{config.seed} words {index}")
    example = Example(
        id=f"call-{index:06d}",
        text=add_typos(write_note(facts, random), random),
        label=_hurried(disposition, config.label_noise, Random(f"{config.seed} label {index}")),
        group=patient.caller,
        attributes={
            "age_band": age_band(facts.age_months),
            "sex": facts.sex,
            "family": FAMILIES[facts.family].names[0],
        },
        rationales=write_rationales(facts, disposition, reasons, random),
    )
    return Call(example, facts, disposition, reasons)


def _hurried(disposition: str, label_noise: float, random: Random) -> str:
    """The disposition, or with probability `label_noise` a neighbour of it."""
    if random.random() >= label_noise:
        return disposition
    level = DISPOSITIONS.index(disposition)
    return random.choice([DISPOSITIONS[i] for i in (level - 1, level + 1) if 0 <= i < len(DISPOSITIONS)])
