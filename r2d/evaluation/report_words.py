"""The words of the report: what figures and flags are called, what they say, and why a section is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Tone = Literal["bad", "plain", "aside"]

FLAGS: Mapping[str, tuple[str, Tone]] = {
    "empty": ("nothing written", "bad"),
    "cut": ("cut at the limit of tokens", "bad"),
    "ungrounded_numbers": ("a number that is not in the note", "bad"),
    "ungrounded_findings": ("a finding that is not in the note", "bad"),
    "names_other_label": ("names another label", "bad"),
    "copies_text": ("copied from the note", "bad"),
    "same_as_another": ("word for word as for another note", "bad"),
    "repeats_itself": ("repeats itself", "bad"),
    "names_own_label": ("names its own label", "plain"),
    "handed_over": ("confidence too low to show: goes to a person", "aside"),
}
"""Key of a flag -> how it is called, and how it looks. All but the last are faults of `written_quality`."""

SLICE_FIGURES = {
    "under_triage_rate": ("Under-triage", "share", "points", -1),
    "accuracy": ("Accuracy", "share", "points", 1),
    "macro_f1": ("Macro-F1", "decimal", "signed", 1),
    "over_triage_rate": ("Over-triage", "share", "points", -1),
}
"""Figure -> its name, its unit, the unit of a difference, and the sign of a difference that is an improvement."""

RATIONALE_NAMES = {
    "bleu": ("sacreBLEU", "0 to 100", "score"),
    "paper_bleu": ("Paper BLEU", "0 to 1", "decimal"),
    "rouge_l": ("ROUGE-L", "0 to 1", "decimal"),
    "chrf": ("chrF, all rows at once", "0 to 100", "score"),
    "sentence_chrf": ("chrF, mean of the rows", "0 to 100", "score"),
    "bertscore_f1": ("BERTScore F1", "", "decimal"),
    "bertscore_precision": ("BERTScore precision", "", "decimal"),
    "bertscore_recall": ("BERTScore recall", "", "decimal"),
}

ALIGNMENT_NAMES = {
    "consistency": (
        "Consistency",
        "From its own rationale alone, the model comes to the label it gave before: the rationale fits the decision.",
    ),
    "sufficiency": (
        "Sufficiency",
        "From its own rationale alone, the model comes to the reference label: what it wrote suffices.",
    ),
    "gold_robustness": (
        "Gold robustness",
        "From the reference rationale alone, the model comes to the reference label: it can follow rationales that it "
        "did not write.",
    ),
}
"""Figure -> its name and what it says, for somebody who decides about patients."""


def why_missing(metrics: Mapping[str, Any], *, per_row: bool, ordered: bool) -> dict[str, str]:
    """Section -> why it holds no figures, as a sentence; a section that has them is not named."""
    found = {}
    if per_row:
        found = dict.fromkeys(
            ("safety", "differences", "decisions", "calibration", "selective", "slices"),
            "Not measured: each row has options of its own, so that there is no set of labels to count by.",
        )
    elif not ordered:
        found["safety"] = (
            "Not measured: the labels have no declared order of urgency (data.labels.ordered), so that no error is "
            "more harmful than another as far as this page knows."
        )
    if metrics["calibration"] is None and not per_row:
        found["calibration"] = found["selective"] = (
            "Not measured: temperature and threshold are chosen on validation notes, and there are none."
        )
    if metrics["rationale"] is None:
        found |= dict.fromkeys(
            ("rationale", "alignment", "flip"), f"Not measured: the method {metrics['method']} writes no rationale."
        )
    elif not metrics["flip_test"]["num_rows"]:
        found["flip"] = (
            f"Not measured: no decision of the {metrics['flip_test']['num_without_other_label']} has another label "
            "to be flipped to."
            if metrics["flip_test"]["num_without_other_label"]
            else f"Not measured: the method {metrics['method']} does not write its rationale for a label."
        )
    return found
