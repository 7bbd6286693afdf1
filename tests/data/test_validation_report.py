"""The data report: a verdict, every expectation, sums that add up, and no text of any note."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import pyarrow as pa

from r2d.config.validation import PrivacyConfig, Recogniser
from r2d.data.deidentify import FINDINGS_SCHEMA
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS, Example, to_table
from r2d.data.validation import QUARANTINE_SCHEMA, Check, Validation
from r2d.data.validation import report as report_module
from r2d.data.validation.checks import CHECKS
from r2d.data.validation.figures import Figure
from r2d.data.validation.plots import data_picture
from r2d.data.validation.report import MAX_LABELS, SHOWN_QUARANTINED, render_data_report
from tests.reports.pages import Page, assert_accessible, assert_self_contained

SENTINEL = "zebracrossing"
LABELS = ("emergency now", "self care")
FIGURES = (
    Figure("token_limit", "texts cut at 48 tokens", 0.125, high=0.05),
    Figure("language", "texts in 'en'", 0.97, low=0.9),
    Figure("labels_in_every_split", "labels absent from test", 0, high=0),
    Figure("label_balance", "Jensen-Shannon divergence of the labels of train", 0.0042, high=0.1),
)


def example(number: int, label: str = "self care", split: str = "train") -> Example:
    return Example(
        id=f"call-{number:03d}",
        text=f"{SENTINEL} number {number} " + "and so on " * (number % 7),
        label=label,
        split=split,
        rationales={"llm": f"because of {SENTINEL}"},
        row=number,
        place=f"calls.csv: row {number + 1}",
    )


def quarantine_of(rows: dict[int, list[str]]) -> pa.Table:
    table = to_table(example(number) for number in rows)
    return table.append_column(QUARANTINE_SCHEMA.field("reasons"), pa.array(rows.values(), pa.list_(pa.string())))


def validation_of(**values: Any) -> Validation:
    """18 rows in: 15 valid, three set aside, one expectation of every outcome."""
    splits = ["train"] * 9 + ["validation"] * 3 + ["test"] * 3
    checks = {name: Check(name, "warn") for name in CHECKS}
    checks |= {
        "exact_duplicate": Check("exact_duplicate", "quarantine", 3, ("calls.csv: row 101, id 'call-100'",), (0, 1, 2)),
        "mojibake": Check("mojibake", "warn", 7, ("calls.csv: row 5, id 'call-004'",), tuple(range(7))),
        "token_limit": Check("token_limit", "warn", 1, (FIGURES[0].shown(),)),
        "label_drift": Check("label_drift", "warn", not_measured="the reference has no labels"),
    }
    facts: dict[str, Any] = {
        "examples": to_table(example(n, LABELS[n % 2], split) for n, split in enumerate(splits)),
        "quarantined": quarantine_of({100: ["exact_duplicate"], 101: ["exact_duplicate"], 102: ["exact_duplicate"]}),
        "findings": pa.Table.from_pylist(
            [
                {"id": name, "field": "text", "recogniser": "phone", "start": 3, "end": 9, "score": 0.9}
                for name in ("call-001", "call-001", "call-002")
            ],
            schema=FINDINGS_SCHEMA,
        ),
        "checks": tuple(checks.values()),
        "figures": FIGURES,
        "profile": {"labels": dict.fromkeys(LABELS, 0.5), "text_characters": {}},
        "num_redacted": 2,
    }
    return Validation(**facts | values)


@cache
def usual_page() -> str:
    return page_of(validation_of())


def page_of(validation: Validation, **values: Any) -> str:
    return render_data_report(validation, **{"privacy": PrivacyConfig()} | values)


def broken() -> Validation:
    checks = list(validation_of().checks)
    checks[0] = Check("id_present", "error", 2, ("calls.csv: row 3, id ''",), (2, 3))
    return validation_of(checks=tuple(checks))


def test_the_page_asks_nothing_of_the_network_and_can_be_followed_by_a_screen_reader() -> None:
    for validation in (validation_of(), broken()):
        page = page_of(validation, source={"file": "calls.csv"}, notes=["A plain note."])
        assert_self_contained(page)
        assert_accessible(page)


def test_no_text_of_a_note_and_no_rationale_stands_on_the_page() -> None:
    assert SENTINEL not in usual_page()
    assert SENTINEL not in page_of(broken(), privacy=PrivacyConfig(policy="warn"))


def test_the_verdict_is_one_sentence_at_the_top() -> None:
    assert "The data may be trained on. 3 warnings should be looked at first." in Page(usual_page()).text
    stopped = Page(page_of(broken())).text
    assert "Stopped: 1 expectation is broken." in stopped
    assert "may be trained on" not in stopped


def test_data_without_rows_to_train_on_is_stopped_though_no_expectation_is_broken() -> None:
    rows = validation_of().examples
    kept = rows.filter(pa.compute.equal(rows["split"], "test"))
    text = Page(page_of(validation_of(examples=kept))).text
    assert "Stopped: no row" in text


def test_every_expectation_is_there_once_under_what_became_of_it() -> None:
    page = Page(page_of(broken()))
    for check in broken().checks:
        assert page.text.count(f" {check.name} ") >= 1, check.name
    text = page.text
    places = [text.index(f" {heading} ") for heading in ("Errors They", "Quarantine The", "Warnings Nothing")]
    assert places == sorted(places)
    assert "and 6 more" in text  # mojibake: one of seven is shown
    assert "calls.csv: row 5, id 'call-004'" in text
    assert "set data.encoding to that of the file" in text
    assert "the reference has no labels" in text
    assert "23 expectations" not in text  # privacy is one, too
    assert f"{len(CHECKS)} expectations: 19 met, 1 stops the run, 1 sets rows aside, 2 warn, 1 not measured." in text


def test_expectations_that_were_not_asked_are_named_as_such() -> None:
    fewer = tuple(check for check in validation_of().checks if check.name not in ("mojibake", "privacy"))
    text = Page(page_of(validation_of(checks=fewer))).text
    assert "Not asked , 1 expectation " in text  # under `redact`, privacy is no question
    assert "Not asked , 2 expectations " in Page(
        page_of(validation_of(checks=fewer), privacy=PrivacyConfig(policy="off"))
    ).text  # fmt: skip


def test_a_figure_stands_beside_its_limit_and_inside_its_track() -> None:
    extremes = (
        Figure("token_limit", "texts never cut", 0.0, high=0.0),
        Figure("label_drift", "population stability index of labels", 1234.5, high=0.2),
        Figure("rationale_coverage", "rows with a rationale of source 'llm'", 0.5, low=0.0),
    )
    page = page_of(validation_of(figures=FIGURES + extremes))
    expected = ["12.5 % at most 5 % no", "97 % at least 90 % yes", "0 at most 0 yes", "0.0042 at most 0.1 yes"]
    expected += ["0 % at most 0 % yes", "1234.5 at most 0.2 no", "50 % at least 0 % yes"]
    text = Page(page).text
    for figure, shown in zip(FIGURES + extremes, expected, strict=True):
        assert f"{figure.name} {shown}" in text
    places = [float(place) for place in re.findall(r"--(?:bar|mark):([^;\"]+)", page)]
    assert len(places) == 2 * len(expected)
    assert all(0.0 <= place <= 1.0 for place in places)


def test_a_figure_without_a_value_is_not_drawn() -> None:
    unknown = Figure("language", "language", None, low=0.9, not_measured="texts are too short")
    assert "Figures of the whole table" not in Page(page_of(validation_of(figures=(unknown,)))).text


def test_rows_by_label_and_split_add_up_to_the_rows_that_came_in() -> None:
    text = Page(usual_page()).text
    assert "emergency now 5 1 2 8 0 8 " in text
    assert "self care 4 2 1 7 3 10 " in text
    assert "All 9 3 3 15 3 18 " in text
    assert "Rows in 18 valid + quarantined Valid 15 " in text


def test_undeclared_labels_and_unknown_splits_are_counted_but_not_repeated() -> None:
    odd = [example(1, "zq-label"), example(2, "zq-other", "zq-split"), example(3, split="validation")]
    page = page_of(validation_of(examples=to_table(odd)))
    assert "zq-" not in page
    assert "(not declared) 1 0 1 2 0 2 " in Page(page).text
    assert "All 1 1 1 3 3 6 " in Page(page).text


def test_of_very_many_labels_the_rest_shares_a_row() -> None:
    names = [f"label {number}" for number in range(MAX_LABELS + 5)]
    rows = to_table(example(n, name, SPLITS[n % 3]) for n, name in enumerate(names))
    validation = validation_of(
        examples=rows, profile={"labels": dict.fromkeys(names, 1 / len(names)), "text_characters": {}}
    )
    text = Page(page_of(validation)).text
    assert "(5 further labels) 1 2 2 5 0 5 " in text
    assert f"All 15 15 15 45 3 {45 + 3} " in text


def test_rows_with_labels_of_their_own_are_counted_without_them() -> None:
    own = validation_of(profile={"labels": {}, "text_characters": {}})
    text = Page(page_of(own)).text
    assert "(each row has its own) 9 3 3 15 3 18 " in text
    assert "self care" not in text
    assert data_picture(own).size == data_picture(validation_of()).size


def test_the_quarantine_lists_counts_by_reason_and_the_first_rows() -> None:
    many = quarantine_of({n: ["mojibake", "exact_duplicate"][: 1 + n % 2] for n in range(500, 530)})
    text = Page(page_of(validation_of(quarantined=many))).text
    assert "30 rows of 45 set aside." in text
    assert "Texts were decoded with their own encoding mojibake 30 " in text
    assert "No text stands twice in a split exact_duplicate 15 " in text
    shown = [number for number in range(500, 530) if f"call-{number}" in text]
    assert shown == list(range(500, 500 + SHOWN_QUARANTINED))
    assert "No row was set aside." in Page(page_of(validation_of(quarantined=quarantine_of({})))).text


def test_findings_are_counted_by_recogniser_and_row_and_the_net_is_said_to_have_holes() -> None:
    text = Page(usual_page()).text
    assert "telephone numbers 3 2 e-mail addresses 0 0 " in text
    assert "A net with holes: it replaces no de-identification." in text
    off = Page(page_of(validation_of(), privacy=PrivacyConfig(policy="off"))).text
    assert "nobody looked" in off
    assert "telephone numbers 3" not in off


def test_every_recogniser_and_policy_has_its_words() -> None:
    assert set(report_module._RECOGNISED) == set(get_args(Recogniser))
    policies = get_args(PrivacyConfig.model_fields["policy"].annotation)
    assert set(report_module._POLICIES) == set(policies)
    assert len(
        {Page(page_of(validation_of(), privacy=PrivacyConfig(policy=policy))).text for policy in policies}
    ) == len(policies)


def test_ids_and_places_of_hostile_rows_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    table = to_table([replace(example(1), id=evil, place=evil)])
    quarantined = table.append_column(
        QUARANTINE_SCHEMA.field("reasons"), pa.array([["mojibake"]], pa.list_(pa.string()))
    )
    checks = (Check("mojibake", "quarantine", 1, (f"{evil}, id {evil}",), (0,)),)
    page = page_of(
        validation_of(quarantined=quarantined, checks=checks, figures=(replace(FIGURES[0], name=evil),)),
        title=evil, source={evil: evil}, notes=[evil],
    )  # fmt: skip
    assert_self_contained(page)
    assert Page(page).count("img") == 0


def test_the_same_validation_gives_the_same_page_and_picture() -> None:
    assert page_of(validation_of()) == usual_page()
    assert data_picture(validation_of()).tobytes() == data_picture(validation_of()).tobytes()


def test_the_picture_is_large_enough_to_read_and_brings_its_own_ground() -> None:
    picture = data_picture(validation_of())
    assert picture.width >= 1200
    assert picture.mode == "RGB"  # opaque: right before a dark page too
    corners = Counter(picture.getpixel((x, y)) for x in (0, picture.width - 1) for y in (0, picture.height - 1))
    assert corners == {(255, 255, 255): 4}


def test_nothing_but_quarantine_can_still_be_shown() -> None:
    empty = validation_of(examples=EXAMPLES_SCHEMA.empty_table())
    assert_self_contained(page_of(empty))
    assert data_picture(empty).width >= 1200


def test_what_must_be_known_and_could_not_be_measured_stands_with_the_errors() -> None:
    unknown = Check("language", "error", not_measured="texts are too short")
    text = Page(page_of(validation_of(checks=(unknown,)))).text
    assert "Stopped: 1 expectation is broken." in text
    assert "Errors They stop the run" in text
    assert "Not measured" not in text
    assert "texts are too short" in text
