"""The parser: which label and rationale a text states in many styles, what it repairs, and what it refuses to guess."""

from __future__ import annotations

import json

import pytest

from r2d.config.rationales import ParseConfig
from r2d.rationales.parsing import Parsed, parse

TRIAGE = ("emergency now", "same day", "routine appointment", "self care")
ANSWERS = ("yes", "no", "maybe")
BEHIND = "only behind a run-on, or behind a repeated prompt"
TWO = "two answers stated"
WHY = "Chest pain with sweating is a red flag."


def read(text: str, options: tuple[str, ...] = TRIAGE, *, stopped: bool = False, **config: object) -> Parsed:
    return parse(text, options, ParseConfig.model_validate(config), stopped_at_limit=stopped)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (f"{WHY}\n\nFinal answer: emergency now", "emergency now"),
        (f"{WHY}\n\n**Decision:** same day", "same day"),
        (f"{WHY}\r\n\r\n**Decision: Same day.**\r\n", "same day"),
        (f"{WHY} So the answer is (b) same day.", "same day"),
        (f"{WHY} The correct option is (b).", "same day"),
        (f"{WHY}\nAnswer: B", "same day"),
        (f"{WHY}\nAnswer: B. same day", "same day"),
        (f"{WHY} The best option is Option B (same day).", "same day"),
        (f"{WHY} THE FINAL DECISION IS: EMERGENCY NOW!", "emergency now"),
        (f"{WHY} So the label is 'same day', which we choose.", "same day"),
        (f"{WHY} The most appropriate triage category for this call is a routine appointment.", "routine appointment"),
        (f"{WHY} Hence the triage level is **self care**, not same day.", "self care"),
        (f"{WHY}\nlabel = self care", "self care"),
        (f"{WHY}\nDisposition - Same day", "same day"),
        (f"{WHY}\n✅ Urgency: `self care`", "self care"),
        (f"{WHY}\nAnswer:\n\n**self\u00a0care**", "self care"),
        (f"> {WHY}\n> Label: 4) self care".replace("> C", "C"), "self care"),
        (f"## Reasoning\n{WHY}\n\n## Final Answer\nroutine appointment", "routine appointment"),
        (f"1. Reasoning: {WHY}\n2. Decision: Self Care.", "self care"),
        (f"<explanation>{WHY}</explanation>\n<answer>emergency now</answer>", "emergency now"),
        (f"<answer>emergency now</answer>\n<rationale>{WHY}</rationale>", "emergency now"),
        (f"Answer: same day. {WHY}", "same day"),
        (f"Decision: same day\nRationale: {WHY}", "same day"),
        (f"- **Triage level:** Emergency now\n- **Reason:** {WHY}", "emergency now"),
        (f"Sure! Here is my view.\n\n**Label:** self care\n**Explanation:** {WHY}", "self care"),
        (f"Triage: SELF CARE\n\n{WHY}", "self care"),
        (f"<think>The answer is self care.</think>\n{WHY}\n\nDecision: same day", "same day"),
        (f"The answer is self care.</think>{WHY} The decision is same day.", "same day"),
        (f"<think>a<think>b</think>The answer is self care.</think>{WHY} The decision is same day.", "same day"),
        (f"```\n{WHY}\nAnswer: same day\n```", "same day"),
        (f"{WHY}\nDecision: same day<|im_end|>\n<|im_start|>user", "same day"),
        (f"{WHY}\nDecision: same day\n\nNote: A man rang.\nDecision: self care", "same day"),
        (f"{WHY}\nDecision: same day\nHuman: and now?\nDecision: self care", "same day"),
    ],
)
def test_a_style_nobody_configured(text: str, label: str) -> None:
    parsed = read(text)
    assert (parsed.label, parsed.rationale, parsed.reason) == (label, WHY, None)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (f"{WHY} Therefore, the answer is $\\boxed{{yes}}$.", "yes"),
        (f"{WHY}\n\n\\[\\boxed{{\\text{{no}}}}\\]", "no"),
        (f"{WHY} Verdict: no, as the trial was small.", "no"),
        (f"Answer: No evidence is needed.\n{WHY} So the answer is maybe.", "maybe"),
        (f"The answer is yes because of this. {WHY}", "yes"),
    ],
)
def test_short_labels(text: str, label: str) -> None:
    parsed = read(text, ANSWERS)
    assert parsed.label == label
    assert WHY in parsed.rationale


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", "empty", ""),
        (" \n ", "empty", ""),
        ("<think>The answer is self care.", "empty", ""),
        (WHY, "no_answer", ""),
        ("I'm sorry, but I can't provide medical advice. Please consult a professional.", "refusal", ""),
        ('{"label": "same day", "rationale": null}', "no_rationale", ""),
        ('{"label": "same day", "rationale": "Fever."} No, that is wrong.', "no_answer", "begins like JSON"),
        ('{"label": "same day"}', "no_answer", "begins like JSON"),
        (f"{WHY} One might think of self care.", "no_answer", ""),
        (f"{WHY}\n\nQ: And now?\nThe answer is self care.", "no_answer", BEHIND),
        (f"{WHY} The answer is not emergency now.", "not_a_label", ""),
        (f"{WHY} The answer is one of these.", "not_a_label", ""),
        (f"{WHY} The answer is same day or emergency now.", "not_a_label", TWO),
        (f"{WHY} The answer is either (a) emergency now, (b) same day, or (d) self care", "not_a_label", TWO),
        (f"{WHY} The answer is either (c) or (d).", "not_a_label", TWO),
        (f"{WHY} Answer: A, B", "not_a_label", TWO),
        (f"{WHY} The answer is (b) a barn.", "not_a_label", "letter and text disagree"),
        (f"{WHY} The answer is (f).", "not_a_label", "letter without an option"),
        ("Answer: self care", "no_rationale", ""),
        ("**Answer:** (d)\n---\n", "no_rationale", ""),
    ],
)  # fmt: skip
def test_what_is_not_guessed_has_a_reason(text: str, reason: str, detail: str) -> None:
    parsed = read(text)
    assert (parsed.reason, parsed.detail, parsed.label, parsed.rationale) == (reason, detail, None, "")


@pytest.mark.parametrize("stated", ["no evidence of harm", "yes/no", "no-one knows", "maybenot", "nope"])
def test_a_short_label_is_not_found_within_other_words(stated: str) -> None:
    assert read(f"{WHY}\nAnswer: {stated}", ANSWERS).reason == "not_a_label"


def test_a_later_answer_settles_an_open_one() -> None:
    parsed = read(f"{WHY} The answer is same day or self care. Final answer: self care")
    assert (parsed.label, parsed.rationale) == ("self care", f"{WHY} The answer is same day or self care.")


def test_a_style_of_ones_own_goes_before_the_others_and_may_name_the_rationale() -> None:
    text = f"One might think the answer is self care. I would triage this as same day, for {WHY}"
    pattern = r"I would triage this as (?P<label>[\w ]+), for (?P<rationale>.+)"
    parsed = read(text, answer_patterns=[pattern, *ParseConfig().answer_patterns])
    assert (parsed.label, parsed.rationale, parsed.parser) == ("same day", WHY, "answer_patterns[0]")


class TestOptionsLikeOneAnother:
    def test_the_longest_option_wins(self) -> None:
        options = ("aquarium", "aquarium or", "pond")
        assert read("Fish. The answer is (b) aquarium or.", options).label == "aquarium or"
        assert read("Fish. The answer is aquarium.", options).label == "aquarium"
        assert read("Pay. The answer is non-urgent care.", ("urgent", "non-urgent", "non-urgent care")).label == (
            "non-urgent care"
        )

    def test_the_same_option_twice_is_one_answer(self) -> None:
        for letter in "ab":
            parsed = read(f"It spans. The answer is ({letter}) bridge.", ("bridge", "bridge", "tunnel"))
            assert (parsed.label, parsed.edits) == ("bridge", ())

    def test_an_option_may_hold_or_and_end_in_a_dot(self) -> None:
        options = ("life or death", "to defend themselves.", "a ledge")
        for number, option in enumerate(options):
            text = f"It is so. The answer is ({'abc'[number]}) {option.rstrip('.')}."
            assert (read(text, options).label, read(text, options).edits) == (option, ())

    def test_labels_that_are_numbers_or_letters(self) -> None:
        assert read(f"{WHY} So the triage level is 2.", ("1", "2", "3")).label == "2"
        assert read(f"{WHY}\nTriage level: 2 - very urgent", ("immediate", "very urgent")).label == "very urgent"
        assert read(f"{WHY} The answer is (a).", ("b", "a")).label == "a"


class TestOptionsOfTheNote:
    OPTIONS = ("pond", "wooded area", "field")
    DEER = "Deer hide among trees."

    @pytest.mark.parametrize(
        ("note", "stated", "label"),
        [
            ("Where? 1) pond 2) wooded area 3) field", "2", "wooded area"),
            ("Where? [0] pond [1] wooded area [2] field", "option 2", "field"),
            ("Where? (a) wooded area (b) field (c) pond", "A", "wooded area"),
            ("Where? (a) wooded area (b) field (c) pond", "the third option", "pond"),
            ("Where?", "the second option", "wooded area"),
            ("Where?", "2", None),
            ("Where? 1) pond 2) wooded area 1) field", "2", None),
            ("Where? 1) pond 2) wooded area 3) field", "1 or 2", None),
        ],
    )
    def test_a_number_or_a_letter_stands_for_what_the_note_says(
        self, note: str, stated: str, label: str | None
    ) -> None:
        text = f"{self.DEER}\nAnswer: {stated}"
        parsed = parse(text, self.OPTIONS, ParseConfig(), stopped_at_limit=False, note=note)
        assert parsed.label == label
        assert label is None or parsed.rationale == self.DEER


class TestRepairs:
    @pytest.mark.parametrize("stated", ["same-day", "SAME_DAY", "(b) same days", "(b) sameday visit", "(a) same day"])
    def test_a_repair_is_recorded(self, stated: str) -> None:
        parsed = read(f"{WHY}\nAnswer: {stated}")
        assert (parsed.label, parsed.edits) == ("same day", ("repaired label",))

    @pytest.mark.parametrize(
        "stated", ["same day", "Same  Day.", "(B) same day", "b)", '"same day"', "same day because"]
    )
    def test_plain_writing_is_no_repair(self, stated: str) -> None:
        parsed = read(f"{WHY}\nAnswer: {stated}")
        assert (parsed.label, parsed.edits) == ("same day", ())

    def test_edits_come_in_order(self) -> None:
        text = f"<think>x</think>Rationale: {WHY}\nAnswer: same-day\n\nQ: next?\nAnswer: self care"
        assert read(text).edits == ("reasoning removed", "run-on cut", "repaired label", "heading removed")


class TestTokenLimit:
    def test_an_answer_before_a_run_on_was_complete(self) -> None:
        parsed = read(f"{WHY} So the answer is (b) same day.\n\nQ: What is", stopped=True)
        assert (parsed.label, parsed.edits) == ("same day", ("run-on cut",))

    @pytest.mark.parametrize(
        "text", [WHY, "<think>hm", f"{WHY} The answer is (b", f"{WHY} The answer is (b)", f"{WHY} The answer is emerg"]
    )
    def test_no_whole_answer_is_truncated(self, text: str) -> None:
        assert read(text, stopped=True).reason == "truncated"

    def test_a_label_that_could_go_on_is_truncated(self) -> None:
        options = ("self", "self care")
        assert read(f"{WHY} The answer is self", options, stopped=True).reason == "truncated"
        assert read(f"{WHY} The answer is self care", options, stopped=True).label == "self care"

    def test_a_rationale_behind_the_answer_loses_its_cut_sentence(self) -> None:
        parsed = read(f"Answer: same day. {WHY} The pat", stopped=True)
        assert (parsed.rationale, parsed.edits) == (WHY, ("unfinished sentence cut",))
        assert read("Answer: same day. The pat", stopped=True).reason == "truncated"


class TestJson:
    @pytest.mark.parametrize(
        ("text", "edits"),
        [
            ('{"rationale": "%s", "label": "Same day"}', ()),
            ('Here:\n```json\n{"label": "same day",\n "rationale": "%s",}\n```\nBye', ("trailing comma removed",)),
            ('<think>{"label": ""}</think>{"Label": "b) same day", "RATIONALE": ["%s"]}', ("reasoning removed",)),
            ('{"note": 1} {"label": "same_day", "rationale": "%s"} {"label": "same_day"}', ("repaired label",)),
        ],
    )  # fmt: skip
    def test_the_object_is_found_within_other_text(self, text: str, edits: tuple[str, ...]) -> None:
        parsed = read(text % WHY, structure="json")
        assert (parsed.label, parsed.rationale, parsed.parser, parsed.edits) == ("same day", WHY, "json", edits)

    @pytest.mark.parametrize("form", ["%s", "<think>{}</think>\n%s", "```json\n%s\n```"])
    @pytest.mark.parametrize("label", ["same day", "b", "same day or self care", "none"])
    def test_one_whole_object_is_read_as_such_among_texts(self, form: str, label: str) -> None:
        """An answer stated in its rationale does not stand for the label of the object."""
        for rationale in (WHY, f"{WHY} The answer is self care."):
            text = form % json.dumps({"Label": label, "rationale": rationale, "valid": True})
            assert read(text) == read(text, structure="json")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (f"{WHY} Answer: same day", "bad_json"),
            ('{"label": "same day", "rationale": "Che', "bad_json"),
            ('["same day"]', "bad_json"),
            ('{"answer": "same day"}', "bad_json"),
            ('{"rationale": "Chest pain"}', "no_answer"),
            ('{"label": ["same day", "self care"], "rationale": "Chest pain"}', "not_a_label"),
            ('{"label": {}, "rationale": "Chest pain"}', "no_answer"),
            ('{"label": "same day", "rationale": null}', "no_rationale"),
            ("{" * 50_000, "bad_json"),
        ],
    )
    def test_a_bad_object_has_a_reason(self, text: str, reason: str) -> None:
        assert read(text, structure="json").reason == reason

    def test_an_object_cut_by_the_token_limit_is_truncated(self) -> None:
        assert read('{"label": "same day", "rationale": "Che', structure="json", stopped=True).reason == "truncated"


class TestRationaleAlone:
    def test_without_an_answer_the_text_is_the_rationale(self) -> None:
        parsed = read(f"Rationale: {WHY}\n\nQ: next?", require_label=False)
        assert (parsed.rationale, parsed.label, parsed.parser) == (WHY, None, "as written")

    def test_an_answer_is_still_cut_off(self) -> None:
        assert read(f"{WHY} The answer is same day.", require_label=False) == Parsed(
            WHY, "same day", "answer_patterns[4]"
        )
        parsed = read(f"{WHY} The answer is a barn.", require_label=False)
        assert (parsed.rationale, parsed.label, parsed.reason) == (WHY, None, None)

    def test_nothing_is_still_nothing(self) -> None:
        assert read("<think>x</think>", require_label=False).reason == "empty"
        assert read("---", require_label=False).reason == "no_rationale"
        assert read('{"rationale": "Chest pain"}', require_label=False, structure="json").rationale == "Chest pain"


class TestNearlyJson:
    @pytest.mark.parametrize(
        "text",
        [
            "{'rationale': '%s', 'label': 'same day'}", '{rationale: "%s", label: "same day"}',
            '{"rationale": "%s", // why\n "label": "same day"}', '{"rationale": "%s", "label": "same day"',
            '{"result": {"rationale": "%s", "label": "same day"}}', '[{"rationale": "%s", "label": ["same day"]}]',
            '{"rationale": "%s", "label": {"value": "same day", "confidence": 0.9}}',
            '"{\\"rationale\\": \\"%s\\", \\"label\\": \\"same day\\"}"',
        ],
    )  # fmt: skip
    def test_one_reading_is_taken(self, text: str) -> None:
        parsed = read(text % WHY, structure="json")
        assert (parsed.label, parsed.rationale, parsed.reason) == ("same day", WHY, None)

    def test_a_quote_within_a_text_is_kept(self) -> None:
        parsed = read('{"rationale": "She said "come" and wept", "label": "same day"}', structure="json")
        assert (parsed.rationale, parsed.edits) == ('She said "come" and wept', ("JSON repaired",))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"rationale": "Che", "label": "same day", "label": "self care"}', "unclear_answer"),
            ('{"rationale": "a", "label": "same day"} {"rationale": "b", "label": "self care"}', "unclear_answer"),
            ("{'rationale': 'Che', 'label': 'same day', 'label': 'self care'}", "bad_json"),
            ('{"rationale": "Che", "label": "same day or not", "label": "same', "bad_json"),
            ("{'rationale': 'Chest pain', 'label': 'same", "bad_json"),
            ('{"rationale": "Chest pain", "label": "same day, no, self care"}', "not_a_label"),
        ],
    )
    def test_several_readings_are_not(self, text: str, reason: str) -> None:
        assert read(text, structure="json").reason == reason


@pytest.mark.parametrize(
    "behind", ["Actually no: emergency now.", "\n\nI withdraw this.", "\n(void)", "```\nWait, self care."]
)
def test_words_behind_an_object_can_take_it_back(behind: str) -> None:
    parsed = read(f'{{"label": "same day", "rationale": "{WHY}"}}{behind}', structure="json")
    assert (parsed.label, parsed.reason) == (None, "unclear_answer")


def test_an_object_whose_rationale_states_another_label_states_none() -> None:
    text = f'{{"label": "self care", "rationale": "{WHY} So the answer is same day."}}'
    assert (read(text, structure="json").label, read(text, structure="json").reason) == (None, "unclear_answer")
    assert read(text.replace("same day", "self care"), structure="json").label == "self care"


def test_patterns_of_ones_own_can_extend_the_shipped_ones() -> None:
    further = [r"triage this as (?P<label>[\w ]+)"]
    config = {"answer_patterns": {"extend": further}}
    assert read(f"{WHY} I would triage this as self care.", **config).label == "self care"
    assert read(f"{WHY} So the answer is self care.", **config).label == "self care"
    with pytest.raises(ValueError, match="a list, which replaces the shipped ones, or"):
        ParseConfig.model_validate({"answer_patterns": {"add": further}})


@pytest.mark.parametrize(
    "fields",
    [
        '"label": "same day", "final_label": "self care"',
        '"label": "same day", "revised_label": "self care"',
        '"label": "same day?"',
        '"label": "same day at a minimum"',
        '"label": "same day+"',
    ],
)
def test_an_object_that_bounds_asks_or_revises_its_label_states_none(fields: str) -> None:
    assert read(f'{{{fields}, "rationale": "{WHY}"}}', structure="json").label is None


def test_an_object_may_repeat_its_label_under_another_key() -> None:
    text = f'{{"label": "same day", "final_label": "Same day", "rationale": "{WHY}"}}'
    assert read(text, structure="json").label == "same day"


def test_words_that_the_label_goes_on_with_are_no_rationale() -> None:
    assert read("The answer is same day appointment.").reason == "no_rationale"
    assert read(f"The answer is same day appointment. {WHY}").rationale == WHY
    assert read("The answer is same day because she bleeds.").rationale == "because she bleeds."
