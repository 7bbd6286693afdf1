"""Which of several answers counts: never one that the text refutes, in statements of all kinds and their combinations.

An hour's search: `R2D_STATEMENTS=100000 pytest --timeout 0 tests/rationales/test_statements.py`.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.rationales import ParseConfig
from r2d.rationales.parsing import Parsed, parse

LEVELS = ("ambulance", "clinic visit", "home care")
WHY = "The ankle is swollen but bears weight."


def read(text: str, *, codes: dict[str, str] | None = None, note: str = "") -> Parsed:
    return parse(text, LEVELS, ParseConfig(), stopped_at_limit=False, codes=codes, note=note)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The decision is not ambulance but home care.", "home care"),
        ("First I thought the decision is ambulance. On reflection the decision is home care.", "home care"),
        ("So the decision is ambulance. Wait, she walks. So the decision is home care.", "home care"),
        ("If she cannot stand the decision is ambulance; today the decision is clinic visit.", "clinic visit"),
        ("The decision would be ambulance if it were open, but it is not, so it is home care.", "home care"),
        ("Some would say the decision is ambulance. This is wrong: the decision is home care.", "home care"),
        ("Some would say the decision is ambulance, but the decision is home care.", "home care"),
        ("The decision is ambulance. No, wait, home care.", "home care"),
        ("Decision: ambulance. Correction: home care.", "home care"),
        ("The decision is ~~ambulance~~ home care.", "home care"),
        ("\n// Decision: ambulance\nDecision: home care", "home care"),
        ("\n/* Decision: ambulance */\nDecision: home care", "home care"),
        ("Fever? None. Then the decision is home care.", "home care"),
        ("The decision is neither ambulance nor clinic visit. It is home care.", "home care"),
        ("The decision is home care, unless the foot goes numb, then ambulance.", "home care"),
        ("The decision is home care. If the foot goes numb, it is ambulance.", "home care"),
        ("Her son asked whether the decision is ambulance. The decision is home care.", "home care"),
        ("There is no doubt that the decision is home care.", "home care"),
        ("Even if it is a sprain, the decision is clinic visit.", "clinic visit"),
        ("I would say the decision is clinic visit.", "clinic visit"),
        ("The decision is ambulance. Hmm, she walks, so the decision has to be home care.", "home care"),
        ("The decision is home care. In the event of numbness, the decision is ambulance.", "home care"),
        ("The decision is home care. Once she cannot stand the decision is ambulance.", "home care"),
        ("The decision is home care. Another model outputs 'the decision is ambulance'.", "home care"),
        ("\nDecision: ambulance\nRevised decision: home care", "home care"),
        ("\n❌ Decision: ambulance\n✅ Decision: home care", "home care"),
    ],
)
def test_the_last_answer_that_stands_counts(text: str, label: str) -> None:
    assert read(f"{WHY} {text}").label == label


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("The decision is ambulance. I was wrong.", "unclear_answer", "taken back"),
        ("The decision is ambulance (she limps) Let me reconsider.", "unclear_answer", "taken back"),
        ("The decision is ambulance. Option C would be better.", "unclear_answer", "another option is named behind it"),
        ("The decision is ambulance. The third option fits.", "unclear_answer", "another option is named behind it"),
        ("The decision is ambulance. The decision is not ambulance.", "unclear_answer", "taken back"),
        ("(She limps) Numbness? The decision is ambulance.", "unclear_answer", "only conditional"),
        ("She limps 🙁 Numbness? The decision is ambulance.", "unclear_answer", "only conditional"),
        (
            "The decision is ambulance. Wait, that is wrong. The decision is ambulance, her son says.",
            "unclear_answer",
            "taken back",
        ),
        (
            "The decision is home care. In a child the decision is ambulance.",
            "unclear_answer",
            "another answer under some circumstance",
        ),
        (
            "The decision is clinic visit. However, the swelling raises this to ambulance.",
            "unclear_answer",
            "another option is named behind it",
        ),
        (
            "The decision is clinic visit. On balance I would upgrade to ambulance.",
            "unclear_answer",
            "another option is named behind it",
        ),
        (
            "The decision is home care.\n---\nA cut finger.\nThe decision is clinic visit.",
            "unclear_answer",
            "another answer behind the next case",
        ),
        (
            "The decision is home care. Now for the next patient. The decision is clinic visit.",
            "unclear_answer",
            "another answer behind the next case",
        ),
        ("\nIf she cannot stand:\nDecision: ambulance", "unclear_answer", "only conditional"),
        (
            "\n- If numb: the decision is ambulance\n- Else: the decision is home care",
            "unclear_answer",
            "only conditional",
        ),
        ("The decision is ambulance. Hmm, let me reconsider.", "unclear_answer", "taken back"),
        ("The decision is ambulance. That is not right.", "unclear_answer", "taken back"),
        (
            "The decision is ambulance. This must not be used. For a man with a cut it is so.",
            "unclear_answer",
            "taken back",
        ),
        ("If she cannot stand the decision is ambulance.", "unclear_answer", "only conditional"),
        ("The decision is ambulance if she cannot stand.", "unclear_answer", "only conditional"),
        ("The decision is ambulance? Hard to say.", "unclear_answer", "only conditional"),
        ("Her son insists that the decision is ambulance.", "unclear_answer", "only reported"),
        ("The decision is ambulance, I was told by her son.", "unclear_answer", "only reported"),
        ("I do not think the decision is ambulance.", "unclear_answer", "only denied"),
        ("It would be wrong to say that the decision is ambulance.", "unclear_answer", "only denied"),
        ("Perhaps the decision is ambulance.", "unclear_answer", "only reported"),
        ("The decision is ambulance. Or home care.", "unclear_answer", "another option is named behind it"),
        ("The decision is no longer ambulance.", "not_a_label", ""),
        ("The decision is ambulance -> home care.", "not_a_label", "two answers stated"),
    ],
)
def test_where_none_stands_the_record_is_rejected(text: str, reason: str, detail: str) -> None:
    parsed = read(f"{WHY} {text}")
    assert (parsed.label, parsed.reason, parsed.detail) == (None, reason, detail)


@pytest.mark.parametrize(
    "text",
    [
        "The decision is home care at a minimum.",
        "The decision is home care+.",
        "Decision: home care -> ruled out",
        "The decision is 'home care' crossed out.",
        "Usually, the decision is home care.",
        "In the best case the decision is home care.",
        "Her scan failed to show that the decision is home care.",
        "The decision is home care. Let me re-evaluate.",
        "The decision is home care. I should reconsider because of the swelling.",
        "The decision is home care. Not really.",
        "The decision is home care. Don't quote me on that.",
        "The decision is home care. That was the answer before the scan.",
        "The decision is home care. I am not comfortable with that, though.",
        "The decision is home care (?)",
        "The decision is home care (not sure).",
        "The decision is 'home care' was my first idea.",
        "The decision is home care, I used to think.",
        "The decision is home care but don't rely on it.",
        "The decision is probably home care, but I need more information before deciding.",
    ],
)
def test_a_bound_a_rule_or_a_doubt_is_no_answer(text: str) -> None:
    assert read(f"{WHY} {text}").label is None


@pytest.mark.parametrize(
    "text",
    [
        "Sprains usually settle by themselves. So the decision is home care.",
        "The decision is home care. Is a scan needed? Not really.",
        "The decision is home care. I should reconsider if she cannot stand.",
        "The decision is home care. At least two signs of a fracture are missing.",
        "The scan failed to show a fracture. So the decision is home care.",
    ],
)
def test_the_same_words_about_the_case_leave_the_answer(text: str) -> None:
    assert read(f"{WHY} {text}").label == "home care"


def test_a_withdrawn_answer_is_no_part_of_the_rationale() -> None:
    parsed = read(f"{WHY} At first I thought the decision is ambulance. On reflection the decision is home care.")
    assert (parsed.rationale, parsed.edits) == (WHY, ("refuted text removed",))


REST = "She steps on it and walks off."


@pytest.mark.parametrize(
    ("text", "label", "rationale"),
    [
        (f"The decision is not ambulance. {WHY} The decision is home care.", "home care", WHY),
        (f"The decision is ambulance? {WHY} The decision is home care.", "home care", WHY),
        (f"The decision is not ambulance because she walks. {WHY} The decision is home care.", "home care",
         f"The decision is not ambulance because she walks. {WHY}"),
        (f"1. First impression: the decision is ambulance\n2. {WHY}\n3. Therefore the decision is home care",
         "home care", WHY),
        (f"First thought: ambulance.\n{WHY}\nSo the decision is home care.", "home care", WHY),
        (f"The decision can't be ambulance. {WHY} The decision is home care.", "home care", WHY),
        (f"Scratchpad: it may be broken.\n{WHY}\nDecision: home care", "home care", WHY),
        (f"{WHY} Forget what I just said. {REST} The decision is home care.", "home care", REST),
        (f"{WHY} Sorry, this is not what the note says. {REST} The decision is home care.", "home care", REST),
        (f"My gut feeling was ambulance. {WHY} The decision is home care.", "home care", WHY),
        (f"Draft: It may be broken. It looks crooked.\n{WHY}\nDecision: home care", "home care", WHY),
        (f"{WHY} Hmm, that is not right. {REST} The decision is home care.", "home care", REST),
        (f"{WHY}\nDisregard the above.\n{REST}\nDecision: home care", "home care", REST),
        (f"{WHY} Oh no, I got that wrong: she steps on it. The decision is home care.", "home care",
         "She steps on it."),
        (f"{WHY} The decision is ambulance. Wait, that is wrong. {REST} The decision is home care.", "home care", REST),
        (f"{WHY} Her son thinks that it is broken. This is wrong. {REST} The decision is home care.", "home care",
         f"{WHY} {REST}"),
        (f"{WHY} Some would say the decision is ambulance. This is wrong: the decision is home care.", "home care",
         WHY),
    ],
)  # fmt: skip
def test_what_a_text_does_not_stand_by_is_no_part_of_the_rationale(text: str, label: str, rationale: str) -> None:
    parsed = read(text)
    assert (parsed.label, parsed.rationale) == (label, rationale)


@pytest.mark.parametrize("back", ["- Wait, that is wrong\n- ", "Scratch that. ", "- I misread the note.\n- "])
def test_reasons_that_are_all_taken_back_are_no_rationale(back: str) -> None:
    assert read(f"- {WHY}\n{back}Decision: ambulance").reason == "no_rationale"


def test_codes_are_other_ways_to_write_a_label() -> None:
    codes = {"1": "ambulance", "green": "home care", "ESI 4": "home care"}
    assert read(f"{WHY} The triage level is 1.", codes=codes).label == "ambulance"
    assert read(f"{WHY}\nTriage category: ESI 4", codes=codes).label == "home care"
    assert read(f"{WHY}\nTriage category: green (home care)", codes=codes).label == "home care"
    assert read(f"{WHY}\nTriage level: 1 - home care", codes=codes).detail == "code and text disagree"
    assert read(f"{WHY} The triage level is 1.").reason == "not_a_label"


LISTS = [
    "(A) home care (B) clinic visit (C) ambulance. Decision: A",
    "A. home care\nB. clinic visit\nC. ambulance\nDecision: A",
    "Levels: home care, clinic visit, ambulance. The decision is the first option.",
    "Decision: (A), where A = home care",
    "Levels:\n- home care\n- clinic visit\n- ambulance\nThe decision is the first choice.",
    "home care (A), clinic visit (B), ambulance (C)\nDecision: A",
]  # fmt: skip


@pytest.mark.parametrize("text", LISTS)
def test_a_letter_does_not_count_against_a_list_of_the_text_itself(text: str) -> None:
    parsed = read(f"{WHY}\n{text}")
    assert (parsed.label, parsed.reason) == (None, "unclear_answer")


def test_a_letter_counts_where_the_text_lists_the_options_as_they_are_declared() -> None:
    assert read(f"{WHY}\n(A) ambulance (B) clinic visit (C) home care\nDecision: C").label == "home care"
    assert (
        read(f"{WHY}\nLevels: ambulance, clinic visit, home care. The decision is the last option.").label
        == "home care"
    )


@pytest.mark.parametrize(
    "stated", ["1.5", "1 in 3", "2 %", "3:30 pm", "2 > 1", "3 days", "1-2", "$2", "2 of 3", "No. 2"]
)
def test_a_number_that_is_part_of_another_is_no_code(stated: str) -> None:
    codes = {"1": "ambulance", "2": "clinic visit", "3": "home care"}
    assert read(f"{WHY} The decision is {stated}.", codes=codes).label is None
    assert read(f"{WHY}\nDecision: {stated}", codes=codes).label is None


@pytest.mark.parametrize(
    "text",
    ["Is the decision ambulance? No. {why} The decision is home care.",
     "If it were open, the decision would be ambulance. {why} The decision is home care.",
     "For a man with an open wound the decision is ambulance. {why} The decision is home care."],
)  # fmt: skip
def test_an_answer_that_is_asked_or_conditional_is_no_part_of_the_rationale(text: str) -> None:
    assert (read(text.format(why=WHY)).label, read(text.format(why=WHY)).rationale) == ("home care", WHY)


@pytest.mark.parametrize(
    "text",
    [
        "The swelling is mild and there is no sign of a fracture.",
        "Nothing calls for an ambulance.",
        "If it swells more, a clinic visit is needed.",
        "An ambulance is not needed, as she walks.",
        "She cancelled her dance class, and her mother was wrong about the bruise.",
        "Any numbness? No. Any wound? No.",
        "She is neither in need of an ambulance nor of a clinic visit.",
        "It could turn into a clinic visit, should it get worse.",
    ],
)
def test_reasons_behind_an_answer_that_deny_or_describe_other_options_leave_it_standing(text: str) -> None:
    assert read(f"Decision: home care\n{text}").label == "home care"
    assert read(f"The decision is home care. {text}").label == "home care"


# --- a grammar of statements: each says which label stands after it ---

Effect = str | None
label = st.sampled_from(LEVELS)
CODES = {"1": "ambulance", "2": "clinic visit", "3": "home care"}
ASSERTED = (
    "The decision is {}.", "So the decision is {}.", "Final decision: {}.", "I conclude that the decision is {}.",
    "Therefore, the decision is {}, because of the swelling.", "\nDecision: {}\n",
    "Since she walks on it, the decision is {}.",
)  # fmt: skip
REFUTED = (
    "\n// Decision: {}\n", "\n/* Decision: {} */\n", "Numbness? The decision is {}.",
    "Can she stand? Then the decision is {}.",
    "Some would say the decision is {}.", "One might argue that the decision is {}.",
    "If it were open, the decision is {}.",
    "The decision would be {} if it were open.", "I do not believe that the decision is {}.", "The decision is not {}.",
    "The neighbour claims the decision is {}.", "At first I thought the decision is {}.", "Perhaps the decision is {}.",
    "The decision is {} if she falls again.", "It would be a mistake to say the decision is {}.", "The decision is {}?",
    "Should she fall again, the decision is {}.", "This does not mean that the decision is {}.",
    "Her husband asked whether the decision is {}.", "The decision is {}, her son says.",
    "Unless it heals the decision is {}.", "The decision is anything but {}.",
    "It is untrue that the decision is {}.", '"The decision is {}" is not what I say.',
    "The decision is {} was the old view.",
    "It is no longer so that the decision is {}.", "Nobody can claim that the decision is {}.",
    "In those days the decision was {}.", "A week ago the decision was {}.",
    "We were told by her sister that the decision is {}.",
    "For a man with an open wound, the decision is {}.", "In toddlers the decision is {}.",
    "The third best decision is {}.",
    "Decision: {} (if it bleeds)", "Decision: {} ❌", "❌ Decision: {}", "For instance, the decision is {}.",
    "Whoever falls again: the decision is {}.", "The decision is {} for anyone who cannot stand.",
    "Scenario A, the bone is broken: the decision is {}.", "Is the decision {}? No.",
    "Decision: {} (almost)", "Decision: {}, except for toddlers.", "Decision: {} (coin toss)",
    "The decision is {}, as a layman would conclude.", "Write your reply like\nDecision: {}\n",
    "<sample><decision>{}</decision></sample>", "e.g. decision: {}\n", "Decision: {} (partly)",
)  # fmt: skip
"""Where one of these denies the label that stands, none does."""
DENYING = (
    "The decision is not", "The decision is anything", "I do not believe", "It would", "It is untrue",
    "It is no longer",
    "Nobody", '"The', "Decision: {} ❌", "❌", "Is the decision", "The decision is {} was",
)  # fmt: skip
TAKEN_BACK = (
    "Wait, that is wrong.", "No, I was mistaken.", "Hmm, scratch that.", "On second thought, no.",
    "Let me reconsider.", "I take that back.", "This is incorrect.", "Nope.", "(withdrawn)", "*** void ***",
    "Cancelled.", "This decision has been revoked.", "We no longer stand by this.", "Erase this.",
    "That was meant as a joke.",
    "Not my final decision.", "Overturned by the surgeon.", "Ignore the above.", "This must not be used.",
    "[rescinded]",
    "I have changed my mind.", "The opposite is true.", "Or is it?", "❌", "Sorry, an error.", "Please discard.",
    "Regenerate.", "Critique: she is undertriaged.", "This decision is illustrative.", "I would not say that.",
    "It was picked at random.", "I would move it up one level.", "The next higher level fits.",
)  # fmt: skip
CORRECTED = (
    "No, wait, {}.", "Actually, {}.", "Correction: {}.", "I mean {}.", "Make that {}.", "Sorry, {}.",
    "Nope. {}, because it is swollen.", "Apologies, this was meant to read {}.",
    "But with that swelling, {} fits better.",
    "EDIT (later): decision moved to {}.", "→ {} as of now.", "Nah, it ought to be {}.", "{} it is.",
    "Her swelling makes it {}.",
    "The surgeon settled on {}.", "☑ {}", "I lean towards {} now.", "PS: {}!", "In the end {} seems right.",
)  # fmt: skip
ASIDE = (
    "Nothing calls for {}.", "It does not need {}.", "She is too well for {}.", "If it swells more she needs {}.",
    "There is no reason for {}, as she walks.", "{} is not needed.",
)  # fmt: skip
FILLER = (
    "The ankle is swollen.", "She walks on it.", "There is no fever.", "The pain began two days ago.", "Any fever? No.",
    "She took 1.5 tablets at 2:30 pm, 1 in 4 of the box.", "The swelling fell by 3 %.", "It is 2 > 1 on her scale.",
)  # fmt: skip
NUMBERS = ("1.5", "1 in 3", "2 %", "3:30", "2 > 1", "2 of 3", "3 days", "1-2", "$2", "2/3", "3 °C", "No. 2 of the list")
MARKS = (
    ("&lt;think&gt;", "&lt;/think&gt;"), ("＜think＞", "＜/think＞"), ("```thinking\n", "\n```\n"), ("", ""), ("", ""),
    ("<scratchpad>", "</scratchpad>"), ("# Scratchpad\n", "\n# Output\n"),
)  # fmt: skip
WRITTEN = ("{}. {}", "({}) {}", "{} = {}", "{}: {}", "Option {} is {}")


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, Effect]:
    """A text, and the label that stands at its end; None where none does."""
    sentences, standing = [draw(st.sampled_from(FILLER))], None
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(
            st.sampled_from(("asserted", "refuted", "back", "corrected", "filler", "aside", "listed", "number", "code"))
        )
        value = draw(label)
        if kind == "asserted":
            sentences.append(draw(st.sampled_from(ASSERTED)).format(value))
            standing = value
        elif kind == "listed":
            order, form = draw(st.permutations(LEVELS)), draw(st.sampled_from(WRITTEN))
            separator = draw(st.sampled_from((", ", "; ", "\n", " ")))
            listed = separator.join(form.format("ABC"[place], option) for place, option in enumerate(order))
            sentences.append(f"\n{listed}\nDecision: {'ABC'[order.index(value)]}\n")
            standing = value
        elif kind == "number":
            sentences.append(f"The decision is {draw(st.sampled_from(NUMBERS))}.")
        elif kind == "code":
            code = next(code for code, option in CODES.items() if option == value)
            sentences.append(draw(st.sampled_from(ASSERTED)).format(code))
            standing = value
        elif kind == "refuted":
            form = draw(st.sampled_from(REFUTED))
            sentences.append(form.format(value))
            standing = None if form.startswith(DENYING) and value == standing else standing
        elif kind == "aside":
            form = draw(st.sampled_from(ASIDE))
            sentences.append(form.format(value))
            standing = None if value == standing and not form.startswith("If") else standing
        elif kind == "back" and standing is not None and not sentences[-1].endswith("?"):  # "Nope." would answer it
            sentences.append(draw(st.sampled_from(TAKEN_BACK)))
            standing = None
        elif kind == "corrected" and standing is not None:
            sentences.append(draw(st.sampled_from(CORRECTED)).format(value))
            standing = value
        else:
            sentences.append(draw(st.sampled_from(FILLER)))
    start, end = draw(st.sampled_from(MARKS))
    draft = draw(st.sampled_from(ASSERTED)).format(draw(label)) if start else ""
    return start + draft + end + draw(st.sampled_from((" ", "\n"))).join(sentences), standing


@settings(max_examples=int(os.environ.get("R2D_STATEMENTS", "300")))
@given(texts())
def test_the_parser_never_returns_a_label_that_the_text_refutes(case: tuple[str, Effect]) -> None:
    text, standing = case
    parsed = read(text, codes=CODES)
    assert parsed.label in (standing, None), text


@settings(max_examples=int(os.environ.get("R2D_STATEMENTS", "300")) // 10 or 1)
@given(label, st.sampled_from((*TAKEN_BACK, *CORRECTED)), label)
def test_words_behind_a_json_object_take_its_label_back(value: str, form: str, other: str) -> None:
    text = '{"label": "%s", "rationale": "%s"} ' % (value, WHY) + form.format(other)  # noqa: UP031
    parsed = parse(text, LEVELS, ParseConfig(structure="json"), stopped_at_limit=False)
    assert parsed.label is None or (parsed.label == other == value and form in CORRECTED)
