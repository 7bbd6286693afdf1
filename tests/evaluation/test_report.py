"""The report says every figure where a reader looks for it, and plainly why where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest

from r2d.evaluation.judge.judge import not_judged
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.rationale_metrics import ROW_METRICS
from r2d.evaluation.report import ReportFacts, render_report
from r2d.evaluation.report_sections import MAX_SAMPLES
from r2d.evaluation.report_words import FLAGS, RATIONALE_NAMES
from r2d.reports.formatting import in_unit, interval, percent
from tests.evaluation.predicted import predictions_of
from tests.evaluation.reported import CASES, LABELS, declared_case
from tests.reports.pages import Page, assert_accessible, assert_self_contained

ALWAYS = (
    "headline", "reading", "safety", "comparison", "decisions", "calibration", "selective", "slices", "rationales",
    "alignment", "judge", "samples", "facts", "limits",
)  # fmt: skip


@cache
def html(case: str) -> str:
    return render_report(CASES[case]())


@cache
def text(case: str) -> str:
    return Page(html(case)).text


def section(page: str, name: str) -> str:
    """What is read between a section's tag and its end."""
    found = re.search(rf'<section aria-labelledby="{name}">.*?</section>', page, flags=re.DOTALL)
    assert found, name
    return Page(found.group()).text


def changed(facts: ReportFacts, **metrics: Any) -> str:
    return render_report(replace(facts, metrics={**facts.metrics, **metrics}))


def digits(found: Mapping[str, Any], unit: Any) -> str:
    return f"{in_unit(found['value'], unit)} {interval(found, unit)}"


@pytest.mark.parametrize("case", CASES)
def test_a_page_needs_nothing_can_be_followed_by_a_screen_reader_and_has_every_section(case: str) -> None:
    page = html(case)
    assert_self_contained(page)
    assert_accessible(page)
    ids = [attributes["id"] for _, attributes in Page(page).tags if "id" in attributes]
    assert set(ALWAYS) <= set(ids)
    places = [ids.index(name) for name in ALWAYS]
    assert places == sorted(places), "safety comes before the rest"
    linked = [attributes["href"] for tag, attributes in Page(page).tags if tag == "a"]
    assert linked[: len(ALWAYS)] == [f"#{name}" for name in ALWAYS]


def test_texts_of_the_data_are_escaped_wherever_they_stand() -> None:
    evil = "<script>alert('x')</script>"
    facts = declared_case()
    sample = {**facts.samples[0], "id": evil, "text": evil, "gold_rationale": evil, "predicted_rationale": evil}
    cases = [{**one, "id": evil} for one in facts.metrics["safety"]["worst_cases"]]
    slices = facts.metrics["slices"]
    slices = {**slices, "slices": [{**one, "value": evil} for one in slices["slices"]], "left_out": {evil: evil}}
    page = render_report(
        replace(
            facts, title=evil, notes=[evil], samples=[sample], model={evil: evil}, data={evil: evil},
            metrics={
                **facts.metrics,
                "safety": {**facts.metrics["safety"], "worst_cases": cases},
                "slices": slices,
                "champion": {**facts.metrics["champion"], "reference": evil},
                "judge": {"status": "not judged", "reason": evil},
            },
        )
    )  # fmt: skip
    tags = [tag for tag, _ in Page(page).tags]
    assert "script" not in tags
    assert page.count("&lt;script&gt;") > 40


def test_the_headline_holds_each_figure_with_its_interval_and_under_triage_first() -> None:
    metrics = declared_case().metrics
    intervals, safety = metrics["intervals"], metrics["safety"]
    shown = section(html("whole"), "headline")
    for figure in ("under_triage_rate", "severe_under_triage_rate", "over_triage_rate", "accuracy"):
        assert digits(intervals[figure], "share") in shown
    assert digits(intervals["macro_f1"], "decimal") in shown
    assert f"Under-triage {percent(safety['under_triage']['rate'])}" in shown
    assert f"Most urgent label found {digits(intervals['per_class'][LABELS[0]]['recall'], 'share')}" in shown
    assert f"Labels shown {digits(metrics['selective']['test']['coverage'], 'share')}" in shown
    names = re.findall(r"<dt>(.*?)</dt>", html("whole"))[:8]
    assert names == [
        "Under-triage", "Of it severe", "Most urgent label found", "Over-triage",
        "Macro-F1", "Accuracy", "No valid label", "Labels shown",
    ]  # fmt: skip


def test_an_answer_that_is_no_label_counts_as_under_triage_for_every_system() -> None:
    facts = declared_case()
    safety, champion = facts.metrics["safety"], facts.metrics["champion"]
    assert safety["num_invalid"] > 0
    shown = section(html("whole"), "comparison")
    assert f"constrained decoding {percent(safety['under_triage']['rate'])}" in shown
    assert f"Champion reason2decide/3 {percent(champion['under_triage_rate'])}" in shown
    assert f"{safety['num_invalid']} answers are no valid label and count as under-triage" in text("whole")


def test_no_under_triage_seen_is_not_said_to_be_none() -> None:
    facts = declared_case()
    nothing = {"num_rows": 0, "rate": 0.0, "by_levels": {}}
    safety = {**facts.metrics["safety"], "under_triage": nothing, "worst_cases": [], "num_invalid": 0}
    exact = {"value": 0.0, "low": 0.0, "high": 0.088, "method": "exact"}
    intervals = {**facts.metrics["intervals"], "under_triage_rate": exact}
    shown = Page(changed(facts, safety=safety, intervals=intervals)).text
    assert "No error seen is not no error: the interval reaches 8.8 %" in shown
    assert "No note was under-triaged." in shown


def test_the_worst_cases_are_ids_and_labels_in_the_order_of_the_figures() -> None:
    shown, cases = section(html("whole"), "safety"), declared_case().metrics["safety"]["worst_cases"]
    lines = [
        f"{one['id']} {one['gold_label']} {one['predicted_label'] or 'no valid label'} {one['levels']} "
        + (percent(one["confidence"]) if one["predicted_label"] else "–")
        for one in cases
    ]
    assert len(lines) > 10
    places = [shown.index(line) for line in lines]
    assert places == sorted(places)
    assert "Denies allergies" not in shown, "the notes are looked up where they may be read"


def test_a_declared_cost_stands_with_its_interval_and_an_undeclared_one_is_said_to_be_so() -> None:
    facts = declared_case()
    cost = facts.metrics["intervals"]["mean_cost"]
    assert f"{in_unit(cost['value'], 'decimal')} ( {interval(cost, 'decimal')} )" in (
        section(html("whole"), "safety").replace("(", "( ").replace(")", " )")
    )
    without = changed(facts, safety={**facts.metrics["safety"], "mean_cost": None})
    assert "what an error costs was not declared" in section(without, "safety")


def test_differences_stand_with_intervals_a_verdict_and_mcnemar_and_the_champion_first() -> None:
    metrics, shown = declared_case().metrics, section(html("whole"), "comparison")
    for name, found in metrics["differences"].items():
        named = "Champion reason2decide/3" if name == "champion" else name[0].upper() + name[1:]
        for figure, unit in (("under_triage_rate", "points"), ("macro_f1", "signed"), ("accuracy", "points")):
            assert f"{named} {digits(found[figure], unit)}" in shown
        test = found["mcnemar"]
        assert f"{named} {test['only_first_right']} {test['only_second_right']}" in shown
    assert "so that p is too small: read the intervals" in shown
    assert shown.index("Champion reason2decide/3", shown.index("is better")) < shown.index(
        "Majority class", shown.index("is better")
    )


def test_a_verdict_knows_that_less_under_triage_is_better_and_that_an_interval_with_0_tells_nothing() -> None:
    facts = declared_case()
    base = facts.metrics["differences"]["champion"]
    for value, low, high, said in ((-0.1, -0.2, -0.05, "better"), (0.1, 0.05, 0.2, "worse"), (0.1, -0.1, 0.2, "not")):
        found = {"value": value, "low": low, "high": high, "method": "bca"}
        page = changed(facts, differences={"champion": {**base, "under_triage_rate": found}})
        assert f"{digits(found, 'points')} {said}" in section(page, "comparison")


def test_a_champion_that_could_not_be_compared_has_its_reason() -> None:
    facts = declared_case()
    figures = dict.fromkeys(("label", "under_triage_rate", "over_triage_rate", "rationale", "alignment"))
    champion = {"reference": "r2d/7", "not_compared": "it decides between other labels (a, b)", **figures}
    others = {name: one for name, one in facts.metrics["differences"].items() if name != "champion"}
    page = changed(facts, champion=champion, differences=others, champion_slices=None)
    shown = section(page, "comparison")
    assert "Not compared with champion r2d/7: it decides between other labels (a, b)." in shown
    assert "Champion r2d/7" not in shown
    assert "No champion was given" in section(html("sft"), "comparison")


def test_each_label_stands_with_recall_precision_and_their_intervals() -> None:
    metrics, shown = declared_case().metrics, section(html("whole"), "decisions")
    for name in LABELS:
        found, figures = metrics["intervals"]["per_class"][name], metrics["label"]["per_class"][name]
        assert (
            f"{name} {digits(found['recall'], 'share')} {digits(found['precision'], 'share')} {figures['f1']:.3f} "
            f"{metrics['ranking']['auroc']['per_class'][name]:.3f} {figures['support']} {figures['predicted']}"
        ) in shown
    for figure in (metrics["ranking"]["mcc"], metrics["ranking"]["quadratic_weighted_kappa"]):
        assert f"{figure:.3f}" in shown


def test_the_confusion_matrix_is_a_table_of_rows_and_shares() -> None:
    shown = section(html("whole"), "decisions")
    for name, row in zip(LABELS, declared_case().metrics["label"]["confusion_matrix"], strict=True):
        cells = [f"{cell} {100 * cell / sum(row):.0f} %" if cell else "0" for cell in row]
        assert f"{name} {' '.join(cells)}" in shown


@pytest.mark.parametrize("num_labels", [30, 31])
def test_a_matrix_too_large_to_read_is_left_out_and_that_is_said(num_labels: int) -> None:
    facts = declared_case(ordered=False, champion=False, validation=False)
    labels = [f"label {number}" for number in range(num_labels)]
    label = asdict(label_metrics(predictions_of(labels, labels, labels=labels)))
    whole = {"value": 1.0, "low": None, "high": None, "method": None}
    intervals = {**facts.metrics["intervals"], "per_class": {name: {"recall": whole, "precision": whole}
                                                             for name in labels}}  # fmt: skip
    ranking = {**facts.metrics["ranking"], "auroc": {"macro": 1.0, "per_class": dict.fromkeys(labels, 1.0)}}
    metrics = {**facts.metrics, "label": label, "intervals": intervals, "ranking": ranking, "baselines": {}}
    page = render_report(replace(facts, labels=labels, metrics=metrics, label_counts={}, samples=()))
    assert ('class="matrix"' in page) == (num_labels == 30)
    assert ("Left out: 31 labels" in page) == (num_labels == 31)


def test_a_figure_without_a_value_has_a_dash_and_its_reason() -> None:
    facts = declared_case()
    undefined = {"mcc": "all gold rows have one label", "quadratic_weighted_kappa": "all gold rows have one label"}
    ranking = {**facts.metrics["ranking"], "mcc": None, "quadratic_weighted_kappa": None, "undefined": undefined}
    shown = section(changed(facts, ranking=ranking), "decisions")
    assert "MCC – Not defined: all gold rows have one label." in shown


def test_calibration_stands_before_and_after_with_its_diagrams() -> None:
    found, shown = declared_case().metrics["calibration"], section(html("whole"), "calibration")
    for key in ("ece_equal_mass", "ece_equal_width", "brier", "nll"):
        assert f"{found['before'][key]:.3f} {found['after'][key]:.3f}" in shown
    assert f"{found['temperature']['value']:.2f}, was fitted on 400 validation notes" in shown.replace(" ,", ",")
    assert html("whole").count('class="chart"') == 3


def test_the_threshold_is_said_with_what_it_does_on_test_notes() -> None:
    facts = declared_case()
    found = facts.metrics["selective"]
    shown = section(html("whole"), "selective")
    for figure in ("coverage", "risk"):
        assert interval(found["test"][figure], "share") in shown
    assert f"{found['threshold']:.3f}" in shown
    broken = {**found, "test": {**found["test"], "held": False}}
    assert "The limit did not hold" in section(changed(facts, selective=broken), "selective")
    unsure = {"value": None, "low": None, "high": None, "method": None}
    unseen = {**found, "test": {**found["test"], "risk": unsure, "held": None}}
    assert "No test note is that sure" in section(changed(facts, selective=unseen), "selective")


def test_no_threshold_is_a_result_and_not_a_gap() -> None:
    facts = declared_case()
    reason = "no threshold reaches it: the lowest upper bound among 20 coverages is 0.1200, max_risk is 0.05"
    chosen = {**facts.metrics["selective"], "threshold": None, "reason": reason, "test": None}
    page = changed(facts, selective=chosen)
    shown = section(page, "selective")
    assert "the lowest upper bound among 20 coverages is 0.1200" in shown
    assert "No label should be shown without a person’s own judgement." in shown
    assert "Labels shown none" in section(page, "headline")


def test_every_slice_is_there_with_n_interval_and_gap_and_small_ones_are_marked_not_hidden() -> None:
    metrics, page = declared_case().metrics, html("whole")
    shown, found = section(page, "slices"), metrics["slices"]
    small = [one for one in found["slices"] if one["small"]]
    assert small
    for one in found["slices"]:
        name = f"{one['value']}{' small' if one['small'] else ''} {one['num_rows']}"
        assert name in shown
        assert digits(one["figures"]["under_triage_rate"], "share") in shown
        gap = one["gaps"]["accuracy"]
        if gap["low"] is not None:
            assert f"{in_unit(gap['value'], 'points')} ( {interval(gap, 'points')} )" in (
                shown.replace(" (", " ( ").replace(")", " )")
            )
    looks = found["multiple_looks"]
    assert f"{looks['num_gaps']} gaps have an interval" in shown
    assert f"about {looks['expected_by_chance']:.1f} so" in shown
    for one in metrics["champion_slices"]:
        assert digits(one["difference"]["under_triage_rate"], "points") in shown
    left_out = {**found, "left_out": {"attributes.ward": "31 values, evaluation.slices.max_values is 30"}}
    assert "ward (31 values" in section(changed(declared_case(), slices=left_out), "slices")


def test_rationale_figures_stand_for_three_populations_with_intervals_and_beside_the_champion() -> None:
    metrics, shown = declared_case().metrics, section(html("whole"), "rationales")
    found = metrics["rationale"]
    assert set(RATIONALE_NAMES) == {"bleu", "chrf", *ROW_METRICS}
    for figure, (_, _, unit) in RATIONALE_NAMES.items():
        cells = []
        for population in ("all", "correct_only", "zero_if_wrong"):
            sure = found["intervals"][population].get(figure)
            value = in_unit(found["populations"][population][figure], unit)
            cells.append(f"{value} {interval(sure, unit)}" if sure else value)
        cells.append(in_unit(metrics["champion"]["rationale"][figure], unit))
        assert " ".join(cells) in shown
    for fact in (found["sacrebleu_signature"], found["chrf_signature"], "all-MiniLM-L6-v2", "layer 6", "512 tokens"):
        assert fact in shown


def test_written_quality_stands_beside_the_reference_and_names_notes_to_read() -> None:
    shown, quality = section(html("whole"), "rationales"), declared_case().metrics["written_quality"]
    for key, fault in quality["model"]["faults"].items():
        words, tone = FLAGS[key]
        name = words[0].upper() + words[1:]
        assert f"{name} {percent(fault['share'])} {fault['rows']} of {fault['of']}" in shown
        assert tone != "bad" or all(id_ in shown for id_ in fault["ids"])


def test_alignment_stands_with_the_label_masked_and_the_flip_test_says_what_it_means() -> None:
    metrics, shown = declared_case().metrics, section(html("whole"), "alignment")
    for name, key in (("Consistency", "consistency"), ("Sufficiency", "sufficiency")):
        values = [metrics["alignment"][key], metrics["masked_alignment"][key], metrics["champion"]["alignment"][key]]
        assert f"{name} {' '.join(percent(value) for value in values)} 240" in shown
    flip = metrics["flip_test"]
    assert f"Told for {flip['num_rows']} notes" in shown
    assert f"Argues for the other label {percent(flip['argues_for_other'])}" in shown


def test_the_judge_stands_with_intervals_parse_rate_and_agreement_with_people() -> None:
    judge, shown = declared_case().metrics["judge"], section(html("whole"), "judge")
    for one in judge["criteria"]:
        assert one["question"] in shown
        assert digits(one["mean"], "grade") in shown
        assert percent(one["parse"]["rate"]) in shown
    agreed = {one["id"]: one for one in judge["human_agreement"]["criteria"]}
    assert digits(agreed["correctness"]["quadratic_weighted_kappa"], "grade") in shown
    assert "no rationale has both scores" in shown, "why one criterion has no agreement"
    nobody = changed(declared_case(), judge={**judge, "human_agreement": None})
    assert "no scores by people were given" in section(nobody, "judge")
    refused = changed(declared_case(), judge=not_judged("the endpoint is down").to_json())
    assert "Not judged: the endpoint is down." in section(refused, "judge")


@pytest.mark.parametrize(
    ("case", "name", "why"),
    [
        ("per_row", "safety", "each row has options of its own"),
        ("per_row", "calibration", "each row has options of its own"),
        ("per_row", "slices", "each row has options of its own"),
        ("per_row", "headline", "no classes for a macro-F1 to average over"),
        ("sft", "rationales", "the method sft writes no rationale"),
        ("sft", "alignment", "the method sft writes no rationale"),
        ("sft", "judge", "Not judged: no judge is configured."),
        ("unordered", "safety", "no declared order of urgency"),
        ("unordered", "calibration", "chosen on validation notes, and there are none"),
        ("unordered", "selective", "chosen on validation notes, and there are none"),
        ("unordered", "decisions", "Not defined: the labels are not ordered."),
        ("unordered", "comparison", "No champion was given"),
    ],
)
def test_what_was_not_measured_says_why_where_it_would_stand(case: str, name: str, why: str) -> None:
    assert why in section(html(case), name)


def test_a_rationale_that_is_not_written_for_a_label_is_not_flipped() -> None:
    facts = declared_case()
    flip = {**facts.metrics["flip_test"], "num_rows": 0, "num_without_other_label": 0}
    assert "method dss does not write its rationale for a label" in section(
        changed(facts, flip_test=flip, method="dss"), "alignment"
    )
    flip = {**flip, "num_without_other_label": 240}
    assert "no decision of the 240 has another label" in section(changed(facts, flip_test=flip), "alignment")


def test_where_labels_have_no_order_nothing_is_called_triage() -> None:
    for case in ("unordered", "per_row"):
        page = re.sub(r"not for unsupervised triage", "", text(case))
        assert "triage" not in page.lower()


def test_wrong_decisions_come_first_with_their_direction_and_their_flags_in_words() -> None:
    facts = declared_case()
    shown = section(html("whole"), "samples")
    verdicts = re.findall(r"(Wrong|Right) decision", shown)
    assert verdicts == sorted(verdicts, reverse=True)
    assert len(verdicts) == MAX_SAMPLES
    assert "Wrong decision: no valid label" in shown
    assert re.search(r"Wrong decision: \d levels? less urgent", shown)
    for row in facts.samples:
        at = shown.index(str(row["id"]))
        assert all(FLAGS[flag][0] in shown[at : at + 400] for flag in row["flags"])
    assert any("handed_over" in row["flags"] for row in facts.samples)
    unknown = [{**facts.samples[0], "flags": ["no_such_flag"]}]
    with pytest.raises(KeyError, match="no_such_flag"):
        render_report(replace(facts, samples=unknown))


def test_at_most_twenty_examples_are_shown_and_none_of_the_wrong_is_pushed_out() -> None:
    facts = declared_case()
    right = [row for row in facts.samples if row["predicted_label"] == row["gold_label"]]
    wrong = {**facts.samples[0], "id": "call-9999"}
    shown = section(render_report(replace(facts, samples=[*right * 3, wrong])), "samples")
    assert len(re.findall(r"(Wrong|Right) decision", shown)) == MAX_SAMPLES
    assert "call-9999" in shown


def test_options_are_shown_where_they_are_the_rows_own() -> None:
    assert "not same day <b> · wait" in section(html("per_row"), "samples")
    assert "Options" not in section(html("whole"), "samples")


def test_the_limits_of_use_are_said_and_synthetic_data_called_so() -> None:
    assert text("whole").count("Not a medical device, not for unsupervised triage.") == 2
    assert "This page quotes texts of the data." in text("whole")
    assert "no real patients" not in text("whole")
    assert "no real patients" in text("per_row")


def test_facts_of_data_and_model_are_listed() -> None:
    shown = section(html("whole"), "facts")
    for fact in (
        "start model google/flan-t5-base",
        "parameters 247 577 856",
        "validation rows 400",
        "emergency now 475",
    ):
        assert fact in shown
    assert "The champion was trained on the delivery before this one." in text("whole")
