"""The report shows every metric where a reader looks for it, and says plainly why where there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError

from r2d.config.data import LabelsConfig
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.report import (
    FLAGS,
    MAX_SAMPLES,
    MAX_WRONG_SAMPLES,
    RATIONALE_CAPTIONS,
    QuotedRows,
    choose_rows,
)  # fmt: skip
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator
from r2d.evaluation.sections.rationales import OverlapMetrics
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.modeling.model_folder import Calibration
from tests.evaluation import report_cases
from tests.evaluation.report_cases import CASES, CHECKER, LABELS, Case, declared_case, invent_predictions, published
from tests.reports.pages import Page, assert_accessible, assert_expected_page, assert_self_contained

EXPECTED = Path(__file__).parent / "expected_reports"
SECTIONS = (
    "headline", "missed", "served", "beside", "safety", "operating", "comparison", "decisions", "calibration",
    "selective", "sets", "slices", "raters", "stress", "rationales", "alignment", "judge", "samples", "facts",
)  # fmt: skip


@cache
def html(case: str) -> str:
    return CASES[case]().html()


def section(page: str, name: str) -> str:
    """The readable text of a section."""
    found = re.search(rf'<section[^>]*aria-labelledby="{name}">.*?</section>', page, flags=re.DOTALL)
    assert found, name
    return Page(found.group()).text


def changed(case: Case, **metrics: Any) -> str:
    return replace(case, metrics=replace(case.metrics, **metrics)).html()


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_the_expected_one(case: str) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/evaluation/test_report.py` writes the expected pages anew.

    Digits of BERTScore are masked: they depend on the processor.
    """
    rows = re.compile(r">BERTScore (F1|precision|recall)<.*?</tr>", re.DOTALL)
    page = rows.sub(lambda row: re.sub(r"\d\.\d+", "#.###", row.group()), html(case))
    assert_expected_page(page, EXPECTED / f"{case}.html")


@pytest.mark.parametrize("case", CASES)
def test_a_page_needs_nothing_can_be_followed_by_a_screen_reader_and_has_every_section(case: str) -> None:
    page = html(case)
    assert_self_contained(page)
    assert_accessible(page)
    tags = Page(page).tags
    ids = [attributes["id"] for _, attributes in tags if attributes.get("id") in SECTIONS]
    assert ids == list(SECTIONS)


def test_texts_of_the_data_are_escaped_wherever_they_stand() -> None:
    evil = "<script>alert('x')</script>"
    case = declared_case()
    metrics = case.metrics
    quoted = {**case.rows.examples[0], **dict.fromkeys(("id", "text", "rationale", "predicted_rationale"), evil)}
    cases = tuple(replace(case, id=evil) for case in metrics.safety.worst_cases)
    slices = tuple(replace(row, value=evil) for row in metrics.slices.slices)
    data = case.data.model_copy(update={"path": evil})
    case = replace(case, rows=QuotedRows([quoted], 1, 1, [quoted]), start_model=evil, data=data)
    page = changed(
        case,
        safety=replace(metrics.safety, worst_cases=cases),
        slices=replace(metrics.slices, slices=slices, left_out={evil: evil}),
        champion=replace(metrics.champion, reference=evil),
        judge={"status": "not judged", "reason": evil},
    )
    assert "script" not in [tag for tag, _ in Page(page).tags]
    assert page.count("&lt;script&gt;") > 40


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((-0.1, -0.2, -0.05), "better"),
        ((0.1, 0.05, 0.2), "worse"),
        ((0.1, -0.1, 0.2), "not told apart"),
        ((0.1, None, None), "no interval"),
    ],
)
def test_less_under_triage_is_better_and_an_interval_with_0_tells_nothing(ends: tuple[Any, ...], verdict: str) -> None:
    champion = declared_case().metrics.differences[Comparator.CHAMPION]
    champion = replace(champion, under_triage_rate=IntervalEstimate(*ends))
    shown = section(changed(declared_case(), differences={Comparator.CHAMPION: champion}), "comparison")
    assert re.search(rf"Under-triage, lower is better Champion reason2decide/3 \S+ .*? {verdict} Macro-F1", shown)


def test_an_answer_that_is_no_label_counts_as_under_triage() -> None:
    metrics = declared_case().metrics
    shown = section(html("whole"), "beside")
    assert metrics.safety.num_invalid > 0
    assert f"constrained decoding {100 * metrics.safety.under_triage.rate:.1f} %" in shown
    assert f"Champion reason2decide/3 {100 * metrics.champion.under_triage_rate:.1f} %" in shown


@pytest.mark.parametrize("num_labels", [30, 31])
def test_a_matrix_too_large_to_read_is_left_out_and_that_is_said(num_labels: int) -> None:
    case = declared_case(ordered=False, champion=False, validation=False)
    names = [f"label {number}" for number in range(num_labels)]
    predictions = Predictions(ids=names, gold_labels=names, predicted_labels=names, labels=names)
    metrics = case.metrics
    whole = {"recall": IntervalEstimate(1.0), "precision": IntervalEstimate(1.0)}
    page = changed(
        replace(case, data=case.data.model_copy(update={"labels": LabelsConfig(names=names)}), rows=QuotedRows()),
        label=label_metrics(predictions),
        intervals=replace(metrics.intervals, per_class=dict.fromkeys(names, whole)),
        ranking=replace(metrics.ranking, auroc=replace(metrics.ranking.auroc, per_class=dict.fromkeys(names, 1.0))),
        baselines={},
    )
    assert ('class="matrix"' in page) == (num_labels == 30)
    assert ("Left out: 31 labels" in page) == (num_labels == 31)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"held": False}, "The whole interval lies above the limit of 5.0 %: it did not hold"),
        ({"held": None}, "these notes do not tell whether it held"),
        ({"held": None, "risk": IntervalEstimate(None)}, "No test note is that sure"),
    ],
)
def test_a_limit_that_did_not_hold_is_said(changes: dict[str, Any], sentence: str) -> None:
    selective = declared_case().metrics.selective
    page = changed(declared_case(), selective=replace(selective, test=replace(selective.test, **changes)))
    assert sentence in section(page, "selective")


def test_a_judge_without_people_and_a_method_that_does_not_write_for_a_label_say_so() -> None:
    case = declared_case()
    flip = replace(case.metrics.flip_test, num_rows=0, num_without_other_label=0)
    judge = {**case.metrics.judge, "human_agreement": None}
    page = changed(case, flip_test=flip, method="dss", judge=judge)
    assert "method dss does not write its rationale for a label" in section(page, "alignment")
    assert "no scores by people were given" in section(page, "judge")


def test_where_labels_have_no_order_nothing_is_called_triage() -> None:
    for case in ("unordered", "per_row"):
        page = Page(html(case)).text.replace("not for unsupervised triage", "")
        assert "triage" not in page.lower()


def test_every_metric_of_rationales_has_a_caption_and_every_fault_its_words() -> None:
    assert set(RATIONALE_CAPTIONS) == {name for name in OverlapMetrics.__annotations__ if name != "num_rows"}
    case = declared_case()
    assert set(FLAGS) == set(case.metrics.written_quality["model"].faults)
    with pytest.raises(UndefinedError, match="no_such_flag"):
        replace(case, rows=QuotedRows(examples=[{**case.rows.examples[0], "flags": ["no_such_flag"]}])).html()


def test_samples_are_ten_wrong_decisions_and_then_right_ones_whoever_delivers_the_rows() -> None:
    notes, predictions = report_cases.invent_notes(240, "test"), invent_predictions(1, accuracy=0.8)
    table = published(predictions, notes)
    samples = choose_rows(notes, predictions, table, CHECKER, ordered=True, max_missed=0).examples
    assert [sample["correct"] for sample in samples] == [False] * MAX_WRONG_SAMPLES + [True] * MAX_WRONG_SAMPLES
    assert len(samples) == MAX_SAMPLES
    verdicts = {sample["verdict"] for sample in samples}
    assert {"Right decision", "Wrong decision: 1 level more urgent"} <= verdicts
    assert all(sample["valid"] != ("no valid label" in sample["verdict"]) for sample in samples)

    few = np.flatnonzero(predictions.correct)[:30]
    ids, gold = ([values[row] for row in few] for values in (predictions.ids, predictions.gold_labels))
    spelt_otherwise = [f" {label.upper()} " for label in gold]
    subset = Predictions(ids=ids, gold_labels=gold, predicted_labels=spelt_otherwise, labels=LABELS)
    shown = choose_rows(notes.take(few), subset, table.take(few), CHECKER, ordered=True, max_missed=0).examples
    assert len(shown) == MAX_SAMPLES
    assert all(sample["correct"] for sample in shown), "labels are compared without case and spaces"


@pytest.mark.parametrize(("threshold", "reason"), [(None, "no_threshold"), (1.0, "below_threshold")])
def test_of_a_row_that_goes_to_a_person_the_page_gives_the_reason_that_predict_gives(
    threshold: float | None, reason: str
) -> None:
    notes, predictions = report_cases.invent_notes(240, "test"), invent_predictions(1, accuracy=0.8)
    calibration = Calibration({"temperature": {"value": 1.0}, "selective": {"threshold": threshold}})
    table = published(predictions, notes, calibration=calibration)
    rows = choose_rows(notes, predictions, table, CHECKER, calibration=calibration, ordered=True, max_missed=4)
    assert {row["why"] for row in rows.examples if row["valid"]} == {reason}
    assert {row["why"] for row in rows.examples if not row["valid"]} <= {"no_declared_label"}
    page = Page(replace(report_cases.declared_case(), rows=rows).html()).text
    assert f"goes to a person: {DEFERRAL_REASONS[reason]}" in page
    assert "confidence too low" not in page


def test_every_missed_note_of_the_most_urgent_label_is_counted_and_those_that_would_be_shown_stand_first() -> None:
    notes, predictions = report_cases.invent_notes(240, "test"), invent_predictions(2, accuracy=0.4)
    deferred = [row % 3 == 0 for row in range(240)]
    table = published(predictions, notes)
    table = table.set_column(table.column_names.index("handed_over"), "handed_over", [deferred])
    rows = choose_rows(notes, predictions, table, CHECKER, ordered=True, max_missed=4)
    recall = label_metrics(predictions).per_class[LABELS[0]]
    assert rows.num_missed == round((1 - recall.recall) * recall.support) > 4
    assert len(rows.missed) == 4
    assert {row["label"] for row in rows.missed} == {LABELS[0]}
    order = [row["handed_over"] for row in choose_rows(
        notes, predictions, table, CHECKER, ordered=True, max_missed=240
    ).missed]  # fmt: skip
    assert order == sorted(order)
    assert rows.num_missed_shown == order.count(False)
    unordered = choose_rows(notes, predictions, table, CHECKER, ordered=False, max_missed=4)
    assert (unordered.num_missed, unordered.missed) == (0, [])


def test_no_note_and_no_rationale_stands_on_a_page_that_may_not_quote() -> None:
    case = declared_case()
    assert case.rows.missed
    config = case.run.config.model_copy(update={"quote_notes": False})
    loud, quiet = unescape(case.html()), unescape(replace(case, run=replace(case.run, config=config)).html())
    rows = [*case.rows.missed, *case.rows.examples]
    texts = {row[name] for row in rows for name in ("text", "rationale", "predicted_rationale")} - {""}
    assert all(text in loud for text in texts)
    assert not any(text in quiet for text in texts)
    assert all(row["id"] in quiet for row in case.rows.missed)


@pytest.mark.parametrize(("gap", "is_named"), [((0.1, 0.02, 0.2), True), ((0.1, -0.02, 0.2), False)])
def test_a_part_is_named_as_served_worse_where_its_interval_holds_no_0(gap: tuple[Any, ...], is_named: bool) -> None:
    slices = declared_case().metrics.slices
    rows = [
        replace(row, gaps={**row.gaps, "under_triage_rate": IntervalEstimate(*gap)})
        if (row.by, row.value) == ("attributes.site", "harbour clinic")
        else row
        for row in slices.slices
    ]
    page = changed(declared_case(), slices=replace(slices, slices=tuple(rows)))
    assert ("site: harbour clinic" in section(page, "served")) == is_named
