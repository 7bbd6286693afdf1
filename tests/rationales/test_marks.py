"""Marks and wording around an answer: reasoning, chats and greetings are no rationale; unknown marks are named."""

from __future__ import annotations

import pytest

from r2d.config.rationales import ParseConfig
from r2d.rationales.parsing import Parsed, parse
from r2d.rationales.wording import is_refusal

LEVELS = ("ambulance", "clinic visit", "home care")
WHY = "The wrist is bruised but moves freely."
ANSWER = f"{WHY} So the decision is home care."
DRAFT = "Let me see. The decision is ambulance. But wait."
NOTE = "A girl of nine fell off a swing onto her wrist an hour ago."


def read(text: str, note: str = NOTE, **config: object) -> Parsed:
    return parse(text, LEVELS, ParseConfig.model_validate(config), stopped_at_limit=False, note=note)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("<thought>", "</thought>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"),
        ("<seed:think>", "</seed:think>"), ('<details type="reasoning" open>', "</details>"), ("", "</think>"),
        ("<unused94>", "<unused95>"), ("Thinking...\n", "\n...done thinking.\n"), ("analysis", "assistantfinal"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("Here is my thought process:", "Here is my response:"), ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("&lt;think&gt;", "&lt;/think&gt;"), ("＜think＞", "＜/think＞"), ("< think >", "</ think >"),
        ("```thinking\n", "\n```\n"), ("~~~ my thoughts\n", "\n~~~\n"), ("# Scratchpad\n", "\n# Output\n"),
        ("**Thinking**\n", "\n**Output**\n"), ("\\<think\\>", "\\</think\\>"), ("&#60;think&#62;",
        "&#x3c;/think&#x3E;"),
    ],
)  # fmt: skip
def test_reasoning_in_any_known_mark_is_removed(start: str, end: str) -> None:
    parsed = read(start + DRAFT + end + ANSWER)
    assert (parsed.label, parsed.rationale, parsed.edits[0]) == ("home care", WHY, "reasoning removed")


@pytest.mark.parametrize(
    "mark", ["<ponder>", "[MUSE]", "<|muse|>", "{{scratch}}", "⟪muse⟫", "(thinking)", "<inner_voice>"]
)
def test_a_text_that_opens_with_an_unknown_mark_is_rejected_and_the_mark_is_named(mark: str) -> None:
    end = mark[:1] + "/" + mark[1:] if mark[0] in "<[(" else "{{/scratch}}" if mark[0] == "{" else "⟪/muse⟫"
    parsed = read(mark + DRAFT + end + ANSWER)
    assert (parsed.label, parsed.reason, parsed.detail) == (None, "unknown_mark", mark)


@pytest.mark.parametrize(
    "text", ["{why}<|end_of_thing|> So the decision is home care.", "{answer}<|stop_here|>", "<|ponder_now|>{answer}",
             "{answer}<｜hy_strange｜>And more."],
)  # fmt: skip
def test_an_unknown_special_token_is_refused_wherever_it_stands(text: str) -> None:
    parsed = read(text.format(why=WHY, answer=ANSWER))
    token = text[text.index("<") : text.index(">") + 1]
    assert (parsed.label, parsed.reason, parsed.detail) == (None, "unknown_mark", token)
    assert read(f"{ANSWER}\n###\n<|stop_here|>", run_on_patterns=[r"\n###"]).label == "home care"


@pytest.mark.parametrize("mark", ["#thinking#", "((thoughts))", "-- draft --", "|reasoning|"])
def test_a_mark_of_signs_around_a_word_of_reasoning_is_refused_where_it_stands_twice(mark: str) -> None:
    parsed = read(f"{mark} {DRAFT} {mark} {ANSWER}")
    assert (parsed.label, parsed.reason, parsed.detail) == (None, "unknown_mark", mark)
    assert read(f"## Reasoning ##\n{ANSWER}").label == "home care"


def test_a_long_mark_is_not_quoted() -> None:
    parsed = read(f"<{'of_a_girl_who_fell' * 2}>{DRAFT}")
    assert (parsed.reason, parsed.detail) == ("unknown_mark", "a mark of 38 characters")


def test_marks_of_ones_own() -> None:
    text = f"[MUSE]{DRAFT}[/MUSE]<musing>{DRAFT}</musing>{ANSWER}"
    assert read(text, reasoning_marks=[["[MUSE]", "[/MUSE]"]], reasoning_tags=["musing"]).rationale == WHY


@pytest.mark.parametrize("text", ["<PERSON> fell.", "[NAME] fell.", "<b>Bruised</b> wrist.", "[1] Bruised wrist."])
def test_placeholders_and_markup_are_no_marks_of_reasoning(text: str) -> None:
    assert read(f"{text} So the decision is home care.").label == "home care"


def test_reasoning_is_the_rationale_where_nothing_else_is_and_it_states_no_other_answer() -> None:
    assert read(f"<reasoning>{WHY}</reasoning>\n<answer>home care</answer>").rationale == WHY
    assert read(f"<reasoning>{WHY} {DRAFT}</reasoning>\n<answer>home care</answer>").reason == "no_rationale"


CHATS = [
    ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"),
    ("[INST] ", " [/INST] ", "</s>"),
    ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>\n"),
    ("### Instruction:\n", "\n\n### Response:\n", "\n\n"),
    ("User: ", "\nAssistant: ", "\n"),
    ("GPT4 Correct User: ", "<|end_of_turn|>GPT4 Correct Assistant: ", "<|end_of_turn|>"),
    ("<|im_user|>user<|im_middle|>", "<|im_end|><|im_assistant|>assistant<|im_middle|>", "<|im_end|>"),
]


@pytest.mark.parametrize(("asked", "answered", "end"), CHATS)
def test_of_a_repeated_chat_the_turn_behind_the_note_counts(asked: str, answered: str, end: str) -> None:
    shot = f"{asked}A cut finger.{answered}Small. The decision is clinic visit.{end}"
    asked_and_answered = asked + NOTE + answered + ANSWER + end
    for text in (asked_and_answered, shot + asked_and_answered):
        assert (read(text).label, read(text).rationale) == ("home care", WHY)
    parsed = read(shot + asked_and_answered, note="Another note that the text does not repeat.")
    assert (parsed.label, parsed.reason) == (None, "prompt_repeated")


def test_few_shot_examples_that_are_repeated_do_not_count() -> None:
    text = f"Decide.\n\nQ: A cut finger.\nA: Small. The decision is clinic visit.\n\nQ: {NOTE}\nA: {ANSWER}"
    assert (read(text).label, read(text).rationale) == ("home care", WHY)
    assert read(text, note="").label is None or read(text, note="").label == "clinic visit"
    text = f"Call: A cut finger.\nSmall. The decision is clinic visit.\n\nCall: {NOTE}\n{ANSWER}"
    assert (read(text).label, read(text).rationale) == ("home care", WHY)
    assert read(text, note="").reason == "prompt_repeated"
    text = f"Small. The decision is clinic visit.\n\nCall: {NOTE}\n{ANSWER}"
    assert read(text).reason == "prompt_repeated"


@pytest.mark.parametrize(
    "text",
    [f"user\nDecide. {NOTE}\nmodel\n{ANSWER}", f"system\n\nDecide.user\n\n{NOTE}assistant\n\n{ANSWER}",
     f"USER: Decide. {NOTE} ASSISTANT: {ANSWER}", f"analysis\n{DRAFT}\nfinal\n{ANSWER}",
     f"assistantanalysis{DRAFT}assistantfinal{ANSWER}", f"<!-- {DRAFT} -->{ANSWER}",
     f"<think>{DRAFT}</think><output>\n{ANSWER}\n</output>"],
)  # fmt: skip
def test_turns_and_channels_without_their_marks(text: str) -> None:
    assert (read(text).label, read(text).rationale) == ("home care", WHY)


@pytest.mark.parametrize(
    "opening",
    ["Sure! Here is my assessment of the call.", "Certainly. I have read the note.", "### Triage report",
     "As a language model I am not a doctor.", "Let me think about this step by step.", "Hello, colleague!",
     "I'm only a language model, not a nurse.", "As instructed, I look at the call.",
     "You asked me to pick one level: ambulance, clinic visit, home care.",
     "Choose one level: ambulance, clinic visit, home care.", "Levels: ambulance / clinic visit / home care",
     f"Note: {NOTE}", "My decision in brief:", "Confidence: 0.9", "---\nCertainty: very high\n---"],
)  # fmt: skip
def test_what_only_leads_to_an_answer_is_no_rationale(opening: str) -> None:
    assert read(f"{opening}\n\nDecision: home care\n\n{WHY}").rationale == WHY
    assert read(f"{opening}\n{WHY}\nDecision: home care").rationale == WHY


@pytest.mark.parametrize("closing", [
    "Please note that this is no medical advice.", "Is there anything else I can do?", "Model: m-2\nTokens: 120",
])  # fmt: skip
def test_what_follows_the_reasons_is_no_rationale(closing: str) -> None:
    assert read(f"Decision: home care\nJustification: {WHY}\n\n{closing}").rationale == WHY


@pytest.mark.parametrize(
    "text",
    ["<answer>\n<label>home care</label>\n<why>{}</why>\n</answer>",
     "<answer>home care</answer>\n<summary>{}</summary>",
     "<output><rationale>{}</rationale><label>home care</label></output>",
     "<response>\n<reasoning_summary>{}</reasoning_summary>\n<label>home care</label>\n</response>"],
)  # fmt: skip
def test_tags_around_label_and_reasons_are_in_no_rationale(text: str) -> None:
    assert (read(text.format(WHY)).label, read(text.format(WHY)).rationale) == ("home care", WHY)


@pytest.mark.parametrize(
    ("text", "rationale"),
    [
        ("She is nine. Since the wrist moves freely, the decision is home care.",
         "She is nine. Since the wrist moves freely"),
        ("She is nine. The decision is home care, because the wrist moves freely.",
         "She is nine. Because the wrist moves freely."),
        ("She is nine. Based on this note, the decision is home care.", "She is nine."),
        ("Given the free movement of the wrist, the decision is home care.", "Given the free movement of the wrist"),
    ],
)  # fmt: skip
def test_a_reason_within_the_sentence_of_the_answer_is_kept(text: str, rationale: str) -> None:
    assert (read(text).label, read(text).rationale) == ("home care", rationale)


def test_text_on_both_sides_of_an_answer_is_flagged() -> None:
    parsed = read(f"{WHY} The risk is low.\n\nDecision: home care\n\nShe should rest it for a week and come back.")
    assert (parsed.rationale, parsed.flags) == (f"{WHY} The risk is low.", ("text behind the answer left out",))


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "I cannot provide medical advice. Please see a doctor.",
     "Unfortunately, I am not able to triage patients.", "As an AI, I am unable to assess calls.",
     "I have to decline this.", "I'd rather not decide.", "This is beyond my capabilities.", "Cannot comply.",
     "My guidelines prevent me from giving advice.", "I lack the expertise to triage.", "Content filtered.",
     "I won't be able to help.", "I'm just an AI and not able to triage patients.",
     "I do not have enough information to decide.",
     "No comment can be given on medical matters by this assistant.", "I'm not a doctor's stand-in, so no answer.",
     "Questions of health are not something I answer.", "This request cannot be processed.",
     "Only a physician can judge this.", "I must abstain.", "Such a choice cannot be made by an assistant.",
     "Triage is not within my skills.", "I have been instructed not to label calls.",
     "This falls to a clinician and not to a program.", "It isn't my place to say how urgent this is.",
     "Such judgements are reserved for trained staff.",
     "A topic I avoid.", "This is a matter for nurses, not for me.", "Requests of this kind are disabled.",
     "Unfortunately this prompt breaches my content guidelines.",
     "As a language model, I do not have access to charts.",
     "Your query could not be handled.", "Oops, something went wrong.", "[message deleted by a moderator]",
     "An unexpected error occurred.", "Error 503: overloaded", "Service unavailable.", "Too many requests.",
     "Traceback (most recent call last):", "Lorem ipsum dolor", "Same as the previous case.", "See above.", "N/A",
     "TODO",
     "No response was generated.", "Failed to generate an explanation.", "Please try again later.",
     "Es tut mir leid, dabei kann ich nicht helfen.", "Lo siento, no puedo ayudar con eso."],
)  # fmt: skip
def test_refusals_in_prose(text: str) -> None:
    assert is_refusal(text)
    parsed = read(f"{text}\nDecision: home care")
    assert is_refusal(parsed.rationale) or parsed.label is None


@pytest.mark.parametrize(
    "text",
    [
        WHY,
        "She cannot move the wrist.",
        "I cannot rule out a fracture.",
        "No help is near.",
        "There was no answer on the phone.",
        "Only a doctor can judge whether it needs stitches.",
        "This call cannot be answered over the phone, since she is short of breath.",
        "The splinter was stuck, then removed.",
        "Cause of the swelling: unknown.",
        "Something went wrong with her insulin pump.",
        "See a doctor today because of the swelling.",
        "None of the signs of a fracture is there.",
        "Same as last week, the wrist is only sore.",
        "It belongs to a group of wounds that doctors stitch.",
    ],
)
def test_what_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)
