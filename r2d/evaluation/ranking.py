"""Agreement and ranking: MCC, quadratic weighted kappa and AUROC, by scikit-learn; None and why where undefined."""

from __future__ import annotations

from typing import Any

import numpy as np

from r2d.evaluation.decided_rows import DecidedRows

ONE_GOLD_LABEL = "all gold rows have one label"


def ranking_metrics(rows: DecidedRows, *, ordered: bool) -> dict[str, Any]:
    """Figures that accuracy and F1 do not give.

    A decision that is no declared label is a class of its own in MCC, always wrong, and in kappa one level below the
    least urgent. AUROC reads the probabilities alone: of a row with the label and a row without it, how often the
    former has the higher probability; one label against the rest, and the plain mean over the labels that have one.

    Returns:
        mcc, quadratic_weighted_kappa (None also where labels are not ordered),
        auroc: macro, per_class: label -> AUROC, undefined: name of each figure that is None -> why.
    """
    from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

    undefined: dict[str, str] = {}
    one_label = len(np.unique(rows.gold)) == 1
    if one_label:
        undefined |= {"mcc": ONE_GOLD_LABEL, "quadratic_weighted_kappa": ONE_GOLD_LABEL}
    if not ordered:
        undefined["quadratic_weighted_kappa"] = "the labels are not ordered"
    per_class = {label: _auroc(rows, place, undefined) for place, label in enumerate(rows.labels)}
    defined = [value for value in per_class.values() if value is not None]
    if not defined:
        undefined["auroc macro"] = ONE_GOLD_LABEL
    places = list(range(len(rows.labels) + 1))
    return {
        "mcc": None if one_label else float(matthews_corrcoef(rows.gold, rows.said)),
        "quadratic_weighted_kappa": None
        if "quadratic_weighted_kappa" in undefined
        else float(cohen_kappa_score(rows.gold, rows.said, labels=places, weights="quadratic")),
        "auroc": {"macro": sum(defined) / len(defined) if defined else None, "per_class": per_class},
        "undefined": undefined,
    }


def _auroc(rows: DecidedRows, place: int, undefined: dict[str, str]) -> float | None:
    from sklearn.metrics import roc_auc_score

    has_label = rows.gold == place
    if has_label.all() or not has_label.any():
        who = "every" if has_label.any() else "no"
        undefined[f"auroc {rows.labels[place]}"] = f"{who} gold row has this label"
        return None
    return float(roc_auc_score(has_label, rows.probabilities[:, place]))
