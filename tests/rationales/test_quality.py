"""What a rationale says beyond its note: found where it is invented, silent where it is only worded otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r2d.errors import ConfigError
from r2d.rationales.findings import Findings, Index, load_findings, shipped_findings
from r2d.rationales.labels import contains_label, mask_label
from r2d.rationales.quality import copied_share, has_markup, longest_loop, ungrounded
from tests.conftest import SHARED, needs_shared

NOTE = "62 yo w/ CP x1h, denies SOB. T 38.0, BP 90/60, 1,000 ml NS given, N/V x3d, hx DM2."
LEXICON = shipped_findings()


@pytest.mark.parametrize(
    ("rationale", "text", "numbers"),
    [
        ("a 62-year-old", "62yo", ()),
        ("62 years old", "Pt is sixty-two", ()),
        ("two hours", "for 2h", ()),
        ("2 hours", "for two hours", ()),
        ("twenty-five minutes", "x25min", ()),
        ("temperature 38", "T 38.0", ()),
        ("38.50 degrees", "temp 38.5C", ()),
        ("1000 ml", "1,000 ml", ()),
        ("1,000 ml", "1000ml", ()),
        ("85 percent", "85%", ()),
        ("0.5 mg", ".5 mg", ()),
        ("pressure of 90 over 60", "BP 90/60", ()),
        ("3 days", "x3d", ()),
        ("x3d", "for 3 days", ()),
        ("1 hour", "for an hour", ()),
        ("2 doses", "took it twice", ()),
        ("1. The note is clear.\n2) So is the level.\n (3) Done.", "no numbers", ()),
        ("the 2nd and the 21st time", "no numbers", ()),
        ("one of the signs", "no numbers", ()),
        ("SpO2 low, B12, COVID-19, H1N1", "no numbers", ()),
        ("62-year-old with a temperature of 39.50", "26 yo, T 38.5", ("62", "39.5")),
        ("for three days, 3 days, at 10:30", "for 2 days", ("3", "10", "30")),
        ("1,200 ml", "1,000 ml", ("1200",)),
        ("ninety nine percent", "sat 98%", ("99",)),
        ("12", "120 and 0.12", ("12",)),
    ],
)
def test_only_an_invented_number_is_named_once_and_in_order(
    rationale: str, text: str, numbers: tuple[str, ...]
) -> None:
    assert ungrounded(rationale, text, LEXICON).numbers == numbers


@given(st.integers(0, 99))
def test_a_number_word_is_its_digits(value: int) -> None:
    words = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ]  # fmt: skip
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    spelt = words[value] if value < 20 else f"{tens[value // 10 - 2]}-{words[value % 10]}".removesuffix("-zero")
    lexicon = Findings(Index.of({}), Index.of({}), {}, {}, {})
    assert ungrounded(f"{value} days", f"for {spelt} days", lexicon).numbers == ()
    assert value == 1 or ungrounded(f"{spelt} days", "some days", lexicon).numbers == (str(value),)


@pytest.mark.parametrize(
    ("rationale", "text", "names"),
    [
        ("Chest pain without shortness of breath", NOTE, ()),
        ("nausea and vomiting in a diabetic", NOTE, ()),
        ("dyspnoea", "She can’t breathe", ()),
        ("Trouble breathing", "SHORT-OF-BREATH", ()),
        ("headaches and rashes", "HA, rash", ()),
        ("fever", "temp 39.2", ()),
        ("low oxygen", "SpO2 82", ()),
        ("bleeding", "vomited blood", ()),
        ("pain", "chest pain", ()),
        ("syncope", "passed out", ()),
        ("Stiff neck and photophobia suggest meningitis", NOTE, ("stiff neck", "light sensitivity", "meningitis")),
        ("severe headaches, HA", NOTE, ("headache",)),
        ("bad headaches", "cough", ("headache",)),
        ("chest pain", "pain in the arm", ("chest pain",)),
        ("N/V", "dizzy", ("nausea", "vomiting")),
        ("rash", "crash, rashly", ("rash",)),
    ],
)
def test_only_an_invented_finding_is_reported_by_its_first_form(
    rationale: str, text: str, names: tuple[str, ...]
) -> None:
    assert ungrounded(rationale, text, LEXICON).findings == names


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_rationale_is_grounded_in_itself_and_nothing_else_is_shown(rationale: str, text: str) -> None:
    known = {name for names in LEXICON.names.values.values() for name in names}
    result = ungrounded(rationale, text, LEXICON)
    assert set(result.findings) <= known
    assert all(set(number) <= set("0123456789.") for number in result.numbers)
    assert ungrounded(rationale, f"{rationale}\n{text}", LEXICON).findings == ()


def test_every_form_of_the_lexicon_grounds_its_finding() -> None:
    for words, names in LEXICON.names.values.items():
        for name in names:
            assert ungrounded(name, " ".join(words), LEXICON).findings == ()


def test_a_lexicon_of_ones_own_replaces_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "findings.yaml"
    path.write_text("names:\n  - [glanders, farcy]\nshown_by:\n  glanders: [nodule]\n", encoding="utf-8")
    lexicon = load_findings(path)
    assert ungrounded("glanders and fever", "well", lexicon).findings == ("glanders",)
    assert ungrounded("farcy", "nodules", lexicon).findings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- [fever]", "expected a mapping of sections ['names', 'shown_by', 'denied_by', 'places'], found"),
        ("names: fever", "names: found 'fever'; input should be a valid list"),
        ("names: [fever]", "names.0: found 'fever'; allowed: a list of at least one form"),
        ("names: [[fever, no]]", "names.0: found [False]; allowed: words; put yes, no, on, off and numbers in quotes"),
        ("names: [[fever, '--']]", "names.0: found ['--']; allowed: words"),
        ("names: [[fever, hot, hot]]", "names.0: found ['hot'] more than once; remove the copies"),
        ("names: [[fever], [fever, hot]]", "names: more than one list begins with fever; put them together"),
        ("names: [[fever]]\nshown_by: {fewer: [temp]}", "shown_by: no list of names begins with fewer"),
        ("names: [[fever]]\nplaces: {head: [earache]}", "places: no list of names begins with earache"),
        ("names: [[fever]]\nshown_by: {fever: temp}", "shown_by.fever: found 'temp'; allowed: a list"),
        ("names: [[", "is no YAML"),
        ("names: [[fever], [], [on]]", "2 faults"),
    ],
)
def test_a_faulty_lexicon_says_file_entry_and_fix(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "findings.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_findings(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_the_copied_share_counts_word_triples() -> None:
    text = "Chest pain since this morning, denies fever."
    assert copied_share("chest pain since this morning", text) == 1
    assert copied_share("Chest pain since yesterday means emergency", text) == 0.25
    assert copied_share("pain chest morning", text) == 0
    assert copied_share("denies fever", text) == 1
    assert copied_share("fever denies", text) == 0
    assert copied_share("...", text) == 0


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_is_copied_whole_is_copied(rationale: str, text: str) -> None:
    assert 0 <= copied_share(rationale, text) <= 1
    assert copied_share(rationale, f"{text} {rationale}") in (0, 1)


@pytest.mark.parametrize(
    ("rationale", "label", "masked"),
    [
        ("The level is Emergency  Now.", "emergency now", "The level is [LABEL]."),
        ("non urgent, so Non-Urgent", "non-urgent", "[LABEL], so [LABEL]"),
        ("non-urgent", "urgent", "non-urgent"),
        ("very urgent", "urgent", "very [LABEL]"),
        ("there is no fever", "no", "there is [LABEL] fever"),
        ("nothing known", "no", "nothing known"),
        ("see 1.5 (a+b)", "a+b", "see 1.5 ([LABEL])"),
        ("any text", "", "any text"),
    ],
)
def test_a_label_is_found_and_masked_as_whole_words(rationale: str, label: str, masked: str) -> None:
    assert mask_label(rationale, label) == masked
    assert contains_label(rationale, label) == (masked != rationale)


@given(st.sampled_from(["emergency now", "no", "see a doctor"]), st.text(max_size=40))
def test_a_masked_rationale_no_longer_holds_the_label(label: str, text: str) -> None:
    masked = mask_label(f"{text} {label.upper()} {text}", label)
    assert not contains_label(masked, label)


@needs_shared
def test_most_commonsense_rationales_of_the_paper_give_the_label_away() -> None:
    rows = [json.loads(line) for line in (SHARED / "cqa_palm" / "test.jsonl").open(encoding="utf-8")]
    verbatim = [row for row in rows if row["label"].casefold() in row["rationale"].casefold()]
    whole = [row for row in rows if contains_label(row["rationale"], row["label"])]
    assert (len(rows), len(verbatim)) == (1221, 886)
    assert 0.8 * len(verbatim) < len(whole) < len(verbatim)


@needs_shared
def test_conclusions_of_abstracts_seldom_state_numbers_of_their_own() -> None:
    rows = [json.loads(line) for line in (SHARED / "pubmedqa" / "test.jsonl").open(encoding="utf-8")]
    invented = [bool(ungrounded(row["rationale"], row["question"], LEXICON).numbers) for row in rows]
    assert 0.01 < sum(invented) / len(rows) < 0.08


LONG = "the pain moves to the left arm and then down to the hand while he sweats and feels sick and cannot lie flat"
OTHER = "An old man with a long list of troubles rang about his knee, that swelled after gardening; his wife made tea."


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("The arm hurts. The arm hurts.", 0),
        ("The arm hurts a lot. The arm hurts a lot. The arm hurts a lot.", 3),
        ("pain " * 9, 9),
        ("and then the pain came " * 4, 4),
        ("!" * 30, 30),
        ("1) She coughs hard at night. 2) She coughs hard at night. 3) She coughs hard at night.", 3),
        ("fever and cough and fever and cough and fever and cough", 3),
        ("疼痛" * 9, 18),
        ("\n".join(f"{n}. arm pain" for n in range(6)), 6),
        ("疼痛很严重。" * 4, 4),
        (f"{LONG} " * 3, 3),
        (f"{LONG} " * 2, 0),
        (f"{OTHER} " + "she must go and not wait " * 3, 3),
        (f"{OTHER} " + "Look at it once more. " * 3 + "So it goes.", 3),
        ("Very, very bad pain in the arm, and no pain in the leg.", 0),
    ],
)
def test_loops_are_counted(text: str, times: int) -> None:
    assert longest_loop(text) == times


@pytest.mark.parametrize(
    ("text", "has"), [("data:image/png;base64,iVBORw0KGgo=", True), ("From the data: two of four.", False)]
)
def test_a_data_uri_is_markup(text: str, has: bool) -> None:
    assert has_markup(text) is has
