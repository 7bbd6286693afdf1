"""What the sections of the report show, taken from the figures: rows to list, and scales to draw on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from r2d.evaluation.plots import reliability_diagram, risk_coverage_curve
from r2d.evaluation.rationale_metrics import POPULATIONS
from r2d.evaluation.report_words import ALIGNMENT_NAMES, FLAGS, RATIONALE_NAMES, SLICE_FIGURES, Tone
from r2d.text import normalise_label

MAX_SAMPLES = 20


def confidence_name(metrics: Mapping[str, Any]) -> str | None:
    """`95 %`, of the intervals on the page; None where it has none."""
    held = metrics["intervals"]
    return None if held is None else f"{100 * held['confidence']:g} %"


def systems(metrics: Mapping[str, Any], *, ordered: bool) -> list[dict[str, Any]]:
    """What stands side by side on the same rows: name, label (its metrics), under_triage_rate, is_model.

    Under-triage is counted as `safety_metrics` does: right of the diagonal, no valid label included.
    """
    other = metrics["other_decoding"]
    named = [(f"This model, {metrics['decoding']} decoding", metrics["label"], True)]
    named.append((f"This model, {other['decoding']} decoding", other["label"], True))
    champion = metrics["champion"]
    if champion is not None and champion["label"] is not None:
        named.append((f"Champion {champion['reference']}", champion["label"], False))
    named += [(name, label, False) for name, label in metrics["baselines"].items()]
    return [
        {
            "name": name,
            "label": label,
            "under_triage_rate": _under_triage_rate(label) if ordered else None,
            "is_model": is_model,
        }
        for name, label, is_model in named
    ]


def _under_triage_rate(label: Mapping[str, Any]) -> float | None:
    counts = label["confusion_matrix"]
    under = sum(rows for gold, row in enumerate(counts) for rows in row[gold + 1 :])
    return under / label["num_rows"] if counts else None


def others(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, difference of this model to it) of each other system, the champion first."""
    named = dict(metrics["differences"])
    champion = [(f"champion {metrics['champion']['reference']}", named.pop("champion"))] if "champion" in named else []
    return [*champion, *named.items()]


def differences(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """This model minus each other system, figure by figure: name, unit, better, limit (of the scale to draw on), rows:
    name, found, verdict."""
    groups = []
    for figure in ("under_triage_rate", "macro_f1", "accuracy"):
        name, _, unit, better = SLICE_FIGURES[figure]
        rows = [
            {"name": other, "found": found[figure], "verdict": verdict(found[figure], better)}
            for other, found in others(metrics)
            if figure in found and found[figure]["value"] is not None
        ]
        ends = [abs(row["found"][end] or 0.0) for row in rows for end in ("value", "low", "high")]
        if rows:
            limit = max(*ends, 0.01)
            groups.append({"name": name, "unit": unit, "better": better, "limit": limit, "rows": rows})
    return groups


def verdict(found: Mapping[str, Any], better: int) -> str:
    """`better`, `worse`, or that the interval holds 0 and these rows do not tell."""
    if found["low"] is None:
        return "no interval"
    if found["low"] <= 0 <= found["high"]:
        return "not told apart"
    return "better" if found["value"] * better > 0 else "worse"


def matrix(label: Mapping[str, Any]) -> list[list[tuple[int, float]]]:
    """(rows, share of the gold label's rows) for each cell."""
    return [[(cell, cell / max(1, sum(row))) for cell in row] for row in label["confusion_matrix"]]


def levels(safety: Mapping[str, Any] | None) -> list[tuple[int, int, int]]:
    """(levels, rows that many too low, rows that many too high), up to the farthest error."""
    if safety is None:
        return []
    under, over = (safety[name]["by_levels"] for name in ("under_triage", "over_triage"))
    farthest = max((int(distance) for distance in (*under, *over)), default=0)
    return [(step, under.get(str(step), 0), over.get(str(step), 0)) for step in range(1, farthest + 1)]


def charts(metrics: Mapping[str, Any]) -> dict[str, Markup]:
    """`before` and `after` (reliability, bins of about equally many rows) and `curve` (risk and coverage)."""
    drawn = {}
    if metrics["calibration"] is not None:
        for when in ("before", "after"):
            bins = metrics["calibration"][when]["reliability"]["equal_mass"]
            drawn[when] = reliability_diagram(bins, f"reliability-{when}", f"Reliability {when} temperature scaling")
    if metrics["selective"] is not None:
        drawn["curve"] = risk_coverage_curve(
            metrics["selective"], risk_name(metrics["selective"]), "risk-coverage", "Risk and coverage on test notes"
        )
    return drawn


def risk_name(selective: Mapping[str, Any]) -> str:
    """What must stay rare among the labels that are shown."""
    return "under-triage" if selective["risk"] == "under_triage" else "wrong labels"


def curve_table(selective: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """A few points of the risk-coverage curve: those nearest to a quarter, half, three quarters, nine tenths, all."""
    if selective is None:
        return []
    points = selective["curve"]["points"]
    nearest = (min(points, key=lambda point: abs(point["coverage"] - wanted)) for wanted in (0.25, 0.5, 0.75, 0.9, 1.0))
    return list({point["coverage"]: point for point in nearest}.values())


def slices(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """`figures`: key, name, units, sign of an improvement; `groups`: by -> its slices, each with the
    `difference` to the champion where there is one; `versus_champion`: whether any has."""
    found = metrics["slices"]
    if found is None:
        return None
    champion = {(one["by"], one["value"]): one["difference"] for one in metrics["champion_slices"] or ()}
    rows = [one | {"difference": champion.get((one["by"], one["value"]))} for one in found["slices"]]
    figures = [(key, *SLICE_FIGURES[key]) for key in SLICE_FIGURES if key in found["whole"]]
    groups = [(by.removeprefix("attributes."), list(some)) for by, some in groupby(rows, key=lambda one: one["by"])]
    return {"figures": figures, "groups": groups, "versus_champion": bool(champion)}


def rationale_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each rationale figure: name, scale, unit, cells: (value, interval or None) of each population, champion."""
    found = metrics["rationale"]
    if found is None:
        return []
    of_champion = (metrics["champion"] or {}).get("rationale")
    rows = []
    for figure, (name, scale, unit) in RATIONALE_NAMES.items():
        cells = [
            (found["populations"][population][figure], found["intervals"][population].get(figure))
            for population in POPULATIONS
        ]
        champion = of_champion[figure] if of_champion else None
        rows.append({"name": name, "scale": scale, "unit": unit, "cells": cells, "champion": champion})
    return rows


def quality_rows(written_quality: Mapping[str, Any] | None) -> list[tuple[str, Tone, Mapping[str, Any], Any]]:
    """Each fault of what is written: its name, how grave it is, the model's rows and the reference's."""
    if written_quality is None:
        return []
    of_model, of_reference = (written_quality[who]["faults"] for who in ("model", "reference"))
    return [(name, tone, of_model[key], of_reference[key]) for key, (name, tone) in FLAGS.items() if key in of_model]


def alignment_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each alignment figure: name, value, masked, champion, num_rows, meaning; nothing where nothing was measured."""
    found = metrics["alignment"]
    if not found["num_rows"]:
        return []
    of_champion = (metrics["champion"] or {}).get("alignment") or {}
    counts = {"gold_robustness": found["num_with_gold_rationale"]}
    return [
        {
            "name": name,
            "value": found[key],
            "masked": metrics["masked_alignment"][key],
            "champion": of_champion.get(key),
            "num_rows": counts.get(key, found["num_rows"]),
            "meaning": meaning,
        }
        for key, (name, meaning) in ALIGNMENT_NAMES.items()
    ]


def agreement_by_criterion(judge: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """Criterion -> agreement of the judge with people; None where nobody scored."""
    people = judge.get("human_agreement")
    return None if people is None else {one["id"]: one for one in people["criteria"]}


def samples(rows: Sequence[Mapping[str, Any]], labels: Sequence[str], *, ordered: bool) -> list[dict[str, Any]]:
    """Rows to read, the wrong decisions first: each with `correct`, `verdict`, `flags` in words, and `options` only
    where they are its own."""
    shown = []
    for row in rows:
        said, gold = row["predicted_label"], row["gold_label"]
        correct = said is not None and normalise_label(said) == normalise_label(gold)
        shown.append(
            {
                **row,
                "options": () if labels else row["options"],
                "correct": correct,
                "verdict": "Right decision" if correct else _fault(said, gold, labels if ordered else ()),
                "flags": [FLAGS[flag] for flag in row["flags"]],
            }
        )
    return sorted(shown, key=lambda row: bool(row["correct"]))[:MAX_SAMPLES]


def _fault(said: str | None, gold: str, ordered_labels: Sequence[str]) -> str:
    """What kind of wrong decision it is; its direction where there is one."""
    if said is None:
        return "Wrong decision: no valid label"
    place = {normalise_label(label): index for index, label in enumerate(ordered_labels)}
    if not place:
        return "Wrong decision"
    distance = place[normalise_label(said)] - place[normalise_label(gold)]
    size = "1 level" if abs(distance) == 1 else f"{abs(distance)} levels"
    return f"Wrong decision: {size} {'less' if distance > 0 else 'more'} urgent"
