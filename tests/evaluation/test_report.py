import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from r2d.evaluation.alignment import no_alignment
from r2d.evaluation.label_metrics import label_metrics, option_metrics
from r2d.evaluation.report import MAX_SAMPLES, ReportFacts, render_report

LABELS = ["Emergency", "Clinic", "Home"]
GOLD = ["Emergency"] * 4 + ["Clinic"] * 7 + ["Home"] * 6
SAID = ["Emergency", "Clinic", "Clinic", "Home"] + ["Clinic"] * 5 + ["Emergency", None] + ["Home"] * 6


def sample(number, predicted, note="calm"):
    return {
        "id": f"call-{number}", "text": note, "gold_label": "Clinic", "predicted_label": predicted,
        "label_probability": 0.875, "gold_rationale": "because of A", "predicted_rationale": "because of B",
    }  # fmt: skip


def population(start, num_rows):
    names = ("bleu", "paper_bleu", "bertscore_precision", "bertscore_recall", "bertscore_f1")
    return {"num_rows": num_rows, **{name: start + place / 100 for place, name in enumerate(names)}}


FACTS = ReportFacts(
    title="Test report",
    labels=LABELS,
    label_metrics=label_metrics(GOLD, SAID, LABELS),
    other_label_metrics=label_metrics(GOLD, ["Clinic"] * 12 + ["zzz"] * 5, LABELS),
    baselines={"Most frequent label": label_metrics(GOLD, ["Clinic"] * 17, LABELS)},
    rationale_metrics={
        "num_rows": 16, "num_without_reference": 1, "num_empty_candidates": 2,
        "sacrebleu_signature": "nrefs:1|case:mixed|tok:13a",
        "bertscore": {"model": "small-bert", "num_layers": 6, "max_tokens": 512, "truncated_share": 0.0625},
        "populations": {
            "all": population(0.21, 16), "correct_only": population(0.41, 12), "zero_if_wrong": population(0.11, 16),
        },
    },
    model={"base model": "tiny-t5", "parameters": 1234567},
    data={"format": "csv"},
    split_rows={"train": 170, "test": 17},
    label_counts={"train": {"Emergency": 31, "Clinic": 72}, "test": {"Emergency": 4, "Clinic": 7, "Home": 6}},
    samples=[sample(1, "clinic "), sample(2, "Home"), sample(3, None)],
    pictures={"Losses over the steps": Image.new("RGB", (8, 4), "#123456")},
    notes=["A plain note."],
)  # fmt: skip


def text_of(page):
    """What is read, without tags and style."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


class Outline(HTMLParser):
    """Tags in order, and those left open."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed.tags


ALIGNMENT = {
    "num_rows": 17, "num_empty_rationales": 1, "num_with_gold_rationale": 16,
    "consistency": 0.8235, "sufficiency": 0.7059, "gold_robustness": 0.9375,
}  # fmt: skip


def test_texts_of_the_data_are_escaped_wherever_they_stand():
    evil = "<script>alert('x')</script>"
    facts = replace(
        FACTS,
        title=evil,
        notes=[evil],
        samples=[{**sample(1, evil, note=evil), "id": evil, "gold_rationale": evil, "predicted_rationale": evil}],
        pictures={f'"><img src=x onerror=alert(1)>{evil}': Image.new("RGB", (2, 2))},
        model={evil: evil},
    )
    page = render_report(facts)
    tags = [tag for tag, _ in outline(page)]
    assert "script" not in tags
    assert tags.count("img") == 1
    assert page.count("&lt;script&gt;") >= 9


def test_the_page_asks_nothing_of_the_network():
    page = render_report(FACTS)
    for tag, attributes in outline(page):
        assert tag not in ("link", "script", "iframe")
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in page


def test_every_figure_that_was_given_is_shown():
    shown = text_of(render_report(FACTS))
    systems = [FACTS.label_metrics, FACTS.other_label_metrics, *FACTS.baselines.values()]
    for metrics in systems:
        assert f"{metrics['macro_f1']:.3f} {metrics['weighted_f1']:.3f} {100 * metrics['accuracy']:.1f} %" in shown
        assert f"{100 * metrics['invalid_label_rate']:.1f} %" in shown
    for label, figures in FACTS.label_metrics["per_class"].items():
        expected = (
            f"{label} {figures['recall']:.3f} {figures['precision']:.3f} {figures['f1']:.3f} {figures['support']}"
        )
        assert expected in shown
    for figures in FACTS.rationale_metrics["populations"].values():
        assert f"{figures['bleu']:.1f} {figures['paper_bleu']:.3f} {figures['bertscore_f1']:.3f}" in shown
    for fact in (
        "nrefs:1|case:mixed|tok:13a",
        "small-bert, layer 6",
        "6.2 % of the texts",
        "1 left out",
        "2 rationales",
    ):
        assert fact in shown
    for fact in (
        "base model tiny-t5",
        "parameters 1 234 567",
        "train rows 170",
        "Emergency 31 4",
        "A plain note.",
    ):
        assert fact in shown


def test_the_confusion_matrix_is_a_table_of_rows_and_shares():
    shown = text_of(render_report(FACTS))
    assert "Emergency 1 25 % 2 50 % 1 25 % 0" in shown
    assert "Clinic 1 14 % 5 71 % 0 1 14 %" in shown
    assert "Home 0 0 6 100 % 0" in shown


def test_under_triage_is_shown_for_ordered_labels_only():
    shown = text_of(render_report(replace(FACTS, ordered=True)))
    assert "Under-triage 17.6 % 3 rows" in shown  # two Emergency as Clinic, one as Home
    assert "Over-triage 5.9 % 1 rows" in shown  # one Clinic as Emergency
    assert "triage 17.6" not in text_of(render_report(FACTS))


def test_alignment_stands_beside_a_sentence_for_each_figure_and_the_rows_it_is_over():
    shown = text_of(render_report(replace(FACTS, alignment=ALIGNMENT)))
    for line in (
        "Consistency 82.3 % 17 Given only its own rationale, the model comes to the label it gave before",
        "Sufficiency 70.6 % 17 Given only its own rationale, the model comes to the reference label",
        "Gold robustness 93.8 % 16 Given only the reference rationale",
        "1 rationale was empty and counts as not matching",
    ):
        assert line in shown
    without_gold = ALIGNMENT | {"num_with_gold_rationale": 0, "gold_robustness": None}
    assert "Gold robustness – 0" in text_of(render_report(replace(FACTS, alignment=without_gold)))


def test_a_method_that_writes_no_rationale_has_no_alignment_section():
    page = render_report(replace(FACTS, alignment=no_alignment()))
    assert "belong together" not in page


def test_wrong_decisions_come_first_and_are_named_in_words():
    shown = text_of(render_report(FACTS))
    places = [shown.index(f"call-{number}") for number in (2, 3, 1)]
    assert places == sorted(places)
    assert "Wrong decision call-2" in shown
    assert "Right decision call-1" in shown  # but for case and a space
    assert "(no valid label)" in shown
    assert "probability 87.5 %" in shown


def test_at_most_twenty_examples_are_shown_and_none_of_the_wrong_is_pushed_out():
    samples = [sample(number, "Clinic") for number in range(100, 130)] + [sample(999, "Home")]
    shown = text_of(render_report(replace(FACTS, samples=samples)))
    assert shown.count("Right decision") + shown.count("Wrong decision") == MAX_SAMPLES
    assert "call-999" in shown


def test_the_limits_of_use_are_said_and_synthetic_data_called_so():
    page = text_of(render_report(FACTS))
    assert page.count("Not a medical device, not for unsupervised triage.") == 2
    assert "no real patients" not in page
    assert "This page quotes texts of the data." in page
    assert "no real patients" in text_of(render_report(replace(FACTS, synthetic=True)))


def test_pictures_are_inside_the_page_with_their_caption_as_alternative():
    images = [attributes for tag, attributes in outline(render_report(FACTS)) if tag == "img"]
    assert [image["alt"] for image in images] == ["Losses over the steps"]
    content = base64.b64decode(images[0]["src"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).getpixel((3, 3)) == (0x12, 0x34, 0x56)


def test_tables_and_sections_can_be_followed_by_a_screen_reader():
    tags = outline(render_report(FACTS))
    names = [tag for tag, _ in tags]
    assert (names.count("main"), names.count("header"), names.count("footer"), names.count("h1")) == (1, 1, 1, 1)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referenced = [attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes]
    assert set(referenced) <= set(ids)
    assert ("html", {"lang": "en"}) in tags


def test_a_label_without_rows_has_a_dash_and_no_made_up_zero():
    gold, said = ["Emergency", "Clinic"], ["Emergency", "Clinic"]
    shown = text_of(render_report(replace(FACTS, label_metrics=label_metrics(gold, said, LABELS))))
    assert "Home – – – 0 0" in shown


@pytest.mark.parametrize("num_labels", [30, 31])
def test_a_matrix_too_large_to_read_is_left_out_and_that_is_said(num_labels):
    labels = [f"label {number}" for number in range(num_labels)]
    facts = ReportFacts(title="Many", labels=labels, label_metrics=label_metrics(labels, labels, labels))
    page = render_report(facts)
    assert ('class="matrix"' in page) == (num_labels == 30)
    assert ("Left out: 31 labels" in page) == (num_labels == 31)


def test_what_was_not_measured_has_no_section():
    page = render_report(ReportFacts(title="Bare", labels=LABELS, label_metrics=FACTS.label_metrics))
    ids = [attributes["id"] for _, attributes in outline(page) if "id" in attributes]
    assert not {"rationales", "samples", "pictures", "notes"} & set(ids)
    assert {"headline", "reading", "classes", "facts", "limits"} <= set(ids)


def test_where_rows_have_options_of_their_own_accuracy_takes_the_place_of_macro_f1_and_it_says_why():
    options = [["oven", "car"], ["sea", "roof"], ["yes", "no"], ["a", "b"]]
    gold = ["oven", "sea", "yes", "a"]
    facts = replace(
        FACTS,
        labels=(),
        label_metrics=option_metrics(gold, ["oven", "sea", "yes", None], options),
        other_label_metrics=option_metrics(gold, ["oven", "car", "car", None], options),
        baselines={"an option at random": option_metrics(gold, ["oven", "roof", "yes", "b"], options)},
        label_counts={},
        samples=[
            {**sample(1, "Clinic"), "options": ["Clinic", "<b>"]},
            {**sample(2, "Home"), "options": ["Home", "Clinic"]},
        ],
    )
    page = render_report(facts)
    shown = text_of(page)
    assert "each row has options of its own, so there are no classes for a macro-F1 to average over" in shown
    assert "Model, constrained decoding 75.0 % 25.0 %" in shown
    assert "Model, free decoding 25.0 % 75.0 %" in shown
    assert "an option at random 50.0 % 0.0 %" in shown
    assert "Options Clinic · &lt;b&gt;" in shown
    assert shown.index("Wrong decision call-2") < shown.index("Right decision call-1")
    ids = [attributes["id"] for _, attributes in outline(page) if "id" in attributes]
    assert not {"classes", "matrix"} & set(ids)
    assert "Macro-F1" not in shown
