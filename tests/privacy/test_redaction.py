"""What redaction promises: consistent within an example, final, and silent where there is nothing to hide."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.validation import PrivacyConfig
from r2d.privacy import Finding, Placeholders, find, findings_by_row, redact, redact_together
from tests.privacy.test_find import HARMLESS, KNOWN, notes


def redacted(*texts: str) -> list[str]:
    """The texts of one example, searched and redacted."""
    by_row = findings_by_row(find(pa.array(texts), PrivacyConfig()))
    return redact_together(texts, [by_row.get(row, []) for row in range(len(texts))])


def test_equal_values_get_equal_placeholders_in_every_text_and_writing() -> None:
    note, rationale = redacted(
        "Mrs Okafor, DOB 03/31/1975, call 415-555-2671 or 212-736-5000.",
        "Mrs OKAFOR (born 31 March 1975) gave (415) 555-2671 and +1 212 736 5000.",
    )
    assert note == "Mrs [PERSON_NAME_1], DOB [DATE_OF_BIRTH_1], call [PHONE_1] or [PHONE_2]."
    assert rationale == "Mrs [PERSON_NAME_1] (born [DATE_OF_BIRTH_1]) gave [PHONE_1] and [PHONE_2]."


def test_a_value_found_once_is_replaced_wherever_it_stands_again() -> None:
    note, first, second = redacted("Mrs Okafor has chest pain.", "Okafor's pain is cardiac.", "No name, Okaforish.")
    assert note == "Mrs [PERSON_NAME_1] has chest pain."
    assert first == "[PERSON_NAME_1]'s pain is cardiac."
    assert second == "No name, Okaforish."


def test_placeholders_already_in_a_text_are_not_given_to_other_values() -> None:
    assert redacted("Mr [PERSON_NAME_1] and Mr Okafor") == ["Mr [PERSON_NAME_1] and Mr [PERSON_NAME_2]"]


def test_two_examples_start_afresh() -> None:
    assert redacted("Mr Okafor") == redacted("Mr Patel") == ["Mr [PERSON_NAME_1]"]


def test_texts_redacted_one_by_one_share_the_placeholders_they_are_given() -> None:
    shared = Placeholders()
    finding = Finding("person_name", 3, 9, 0.9)
    assert redact("Mr Okafor", [finding], shared) == redact("Ms Okafor", [finding], shared).replace("Ms", "Mr")
    assert redact("Mr Mensah", [finding], shared) == "Mr [PERSON_NAME_2]"


def test_texts_without_findings_come_back_identical() -> None:
    texts = [*HARMLESS, "", "\u2028 \x00 ü 🤒"]
    assert redacted(*texts) == texts
    assert redact(texts[0], []) is texts[0]


def test_no_known_value_survives() -> None:
    for _, value, template in KNOWN:
        assert value not in redacted(template.format(value))[0]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(notes, min_size=1, max_size=3))
def test_redacting_twice_is_redacting_once(texts: list[str]) -> None:
    once = redacted(*texts)
    assert redacted(*once) == once
