"""Plain outputs of models are read in every style; texts that name an option and state none are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2d.config.rationales import ParseConfig
from r2d.files import read_yaml
from r2d.rationales.parsing import Parsed, parse
from tests.rationales.test_statements import CORRECTED, TAKEN_BACK

PLAIN = read_yaml(Path(__file__).with_name("plain_answers.yaml"))
REFUTED = read_yaml(Path(__file__).with_name("refuted_answers.yaml"))


def read(text: str, options: dict[str, Any], **config: Any) -> Parsed:
    """The answer of a text, for the labels and codes of one of the sets."""
    parsing = ParseConfig.model_validate(config)
    return parse(text, options["labels"], parsing, stopped_at_limit=False, codes=options.get("codes"))


STATED = [
    (PLAIN["sets"][group["set"]], group["label"], group["why"], text.replace("{why}", group["why"]))
    for group in PLAIN["answers"]
    for text in group["texts"]
]
UNSTATED = [
    (REFUTED["sets"][group["set"]], text, group.get("structure", "text"))
    for group in REFUTED["texts"]
    for text in group["texts"]
]


@pytest.mark.parametrize(("options", "label", "why", "text"), STATED)
def test_a_plain_answer_is_read_with_its_reason(options: dict[str, Any], label: str, why: str, text: str) -> None:
    parsed = read(text, options)
    assert (parsed.label, parsed.reason) == (label, None)
    assert why in parsed.rationale


@pytest.mark.parametrize(("options", "text", "structure"), UNSTATED)
def test_a_text_that_states_none_of_the_options_has_no_label(
    options: dict[str, Any], text: str, structure: str
) -> None:
    assert read(text, options, structure=structure).label is None


def test_no_plain_answer_stands_against_the_words_that_take_it_back() -> None:
    for number, (options, label, _, text) in enumerate(STATED):
        other = next(option for option in options["labels"] if option != label)
        back, corrected = TAKEN_BACK[number % len(TAKEN_BACK)], CORRECTED[number % len(CORRECTED)].format(other)
        assert read(f"{text}\n{back}", options).label in (None, "no"), (text, back)
        assert read(f"{text}\n{corrected}", options).label in (None, other), (text, corrected)
