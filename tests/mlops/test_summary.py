"""The last screen of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from mlops.registry.aliases import AliasTransition
from mlops.registry.registration import RegisteredModel
from mlops.registry.summary import INVENTED_CALL, summary
from r2d.config.data import LabelsConfig
from r2d.config.gate import GateConfig
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator, LabelIntervals, LabelMetrics
from r2d.evaluation.summary import champion_sentence, safety_facts
from r2d.gate.decision import GateDecision, Verdict
from r2d.gate.page import gate_page
from r2d.gate.rules import evaluate_rules
from tests.evaluation.report_cases import declared_case
from tests.reports.pages import Page


def label(macro_f1: float | None) -> LabelMetrics:
    return LabelMetrics(num_rows=100, accuracy=0.6, macro_f1=macro_f1, weighted_f1=macro_f1, invalid_label_rate=0.0)


ESTIMATE = IntervalEstimate(value=0.1, low=0.03, high=0.17, method="bca")
DIFFERENCE = LabelIntervals(
    confidence=0.95, num_resamples=1_000, num_groups=100, accuracy=ESTIMATE, macro_f1=ESTIMATE, weighted_f1=ESTIMATE,
    invalid_label_rate=ESTIMATE,
)  # fmt: skip
METRICS = Metrics(
    num_rows=100, decoding="constrained", method="r2d", num_parameters=1_000, label=label(0.6),
    baselines={Comparator.MAJORITY_CLASS: label(0.1), Comparator.LINEAR_MODEL: label(0.5)},
    differences={Comparator.LINEAR_MODEL: DIFFERENCE},
)  # fmt: skip
OF_OPTIONS = replace(METRICS, label=label(None), baselines={Comparator.RANDOM_OPTION: label(None)})


def registered_as(aliases: tuple[str, ...], status: Any) -> RegisteredModel:
    return RegisteredModel(
        name="triage", version="3", run_id="run", aliases=aliases, is_new=True,
        decision=GateDecision((Verdict(rule={}, status=status, reason="a reason " * 40),), "triage/1"),
        transition=AliasTransition(None, "it is the champion already; nothing moves"),
        card="", page="", picture=Image.new("L", (1, 1)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("aliases", "status", "state"),
    [
        (("champion",), "met", "registered; champion)"),
        ((), "failed", "no alias: it did not pass the gate"),
        (("challenger",), "waiting", "registered; challenger)"),
    ],
)
def test_the_last_screen_fits_a_terminal_and_says_whether_the_model_may_be_used(
    aliases: tuple[str, ...], status: Any, state: str
) -> None:
    registered = registered_as(aliases, status)
    screen = summary(registered, METRICS, report_uri="/store/report", data_format="csv")
    of_options = summary(registered, OF_OPTIONS, report_uri="/store/report", data_format="csv")
    assert "macro-F1 to average over" in of_options
    assert "\n  accuracy\n    an option at random " in of_options
    assert f"--model {registered.reference} --option" in of_options
    assert "review     the same with --review reviews.db --cases CALLS.csv" in screen
    assert "--review" not in of_options, "its calls bring options of their own, which the line would have to declare"
    for text in (
        state,
        "0.600  ██████████████████",
        "+0.100 (+0.030 to +0.170)",
        f"--model {registered.reference}",
        "/store/report/output.html",
        "so: it is the champion already",
    ):
        assert text in screen
    assert f"--model {registered.reference} 'TEXT OF A NOTE'\n" in screen
    of_demo = summary(registered, METRICS, report_uri="/store/report", data_format="synthetic_triage")
    assert f"--model {registered.reference} {INVENTED_CALL}\n" in of_demo
    assert max(len(line) for line in [*screen.splitlines(), *of_options.splitlines()]) <= 130


def test_of_a_first_champion_screen_and_page_say_what_is_left_to_do_and_the_box_is_not_green() -> None:
    metrics = declared_case().metrics
    assert metrics.selective is not None
    without = replace(metrics, selective=replace(metrics.selective, threshold=None, reason="too few rows", test=None))
    without = replace(without, champion=None)
    labels = LabelsConfig(names=tuple(without.label.per_class), ordered=True)
    gate = GateConfig.model_validate({"rules": [{"rule": "better_than_baseline", "baseline": "simple", "by": "value"}]})
    decision = evaluate_rules(without, gate.for_labels(labels))
    assert (decision.outcome, len(decision.to_do)) == ("passed", 2)
    registered = replace(registered_as(("champion",), "met"), decision=decision)
    screen = " ".join(summary(registered, without, report_uri="/store/report", data_format="csv").split())
    next_step = "it passed the gate: it is the first champion"
    html = gate_page(decision, model_name="triage", version="3", next_step=next_step, metrics=without)
    page = Page(html).text
    for sentence in (
        "No limit on under-triage is declared",
        "The model would show no label, and a person would decide",
        "Next: collect",
    ):
        assert sentence in page
    assert "too few rows" not in page, "the words of statistics are the report's"
    for to_do in decision.to_do:
        assert f"to do: {to_do}" in screen
        assert to_do[1:] in page
    assert "The gate lets it pass, compared with no other model." in page
    assert 'class="notice go"' not in html
    assert GateDecision.from_json(decision.to_json()) == decision


@pytest.mark.parametrize("is_worse", [False, True])
def test_of_safety_and_of_the_champion_the_last_screen_says_what_the_report_says(is_worse: bool) -> None:
    case = declared_case()
    of_champion = case.metrics.differences[Comparator.CHAMPION]
    if is_worse:
        lost = IntervalEstimate(value=-0.043, low=-0.06, high=-0.02, method="bca")
        of_champion = replace(of_champion, macro_f1=lost)
    metrics = replace(case.metrics, differences={**case.metrics.differences, Comparator.CHAMPION: of_champion})
    screen = " ".join(
        summary(registered_as((), "failed"), metrics, report_uri="/store/report", data_format="csv").split()
    )
    sentence = champion_sentence(metrics)
    assert ("worse in Macro-F1, −0.043" in sentence) == is_worse
    assert sentence in screen
    assert sentence in replace(case, metrics=metrics).html()
    assert "decide every note" not in screen
    facts = safety_facts(metrics)
    assert len(facts) == 4, "under-triage, the most urgent missed, contradictions, labels shown"
    assert all(f"{name}: {text}" in screen for name, text in facts.items())
