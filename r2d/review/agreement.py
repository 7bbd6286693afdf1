"""How far reviewers agree with each other and with the model: Cohen's kappa of the labels given blind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from r2d.review.store import Case
from r2d.review.verdicts import Verdict

THE_MODEL = "the model"
NUM_RESAMPLES = 2_000
FEWEST_CASES = 10
"""With fewer cases no interval is given."""


@dataclass(frozen=True)
class Agreement:
    """Of two who labelled the same cases, each without knowing the other's label."""

    first: str
    second: str
    num_cases: int
    same: float
    """Share of the cases with the same label."""
    kappa: float | None
    """Cohen's (1960): agreement beyond that of chance. None where both gave one and the same label throughout."""
    low: float | None
    high: float | None
    """95 % interval by resampling cases; None with fewer than `FEWEST_CASES` of them."""


def agreements(cases: Sequence[Case], verdicts: Mapping[tuple[str, int], Verdict]) -> list[Agreement]:
    """Each pair of reviewers, then each reviewer and the model, over the cases that both labelled."""
    blind: dict[str, dict[int, str]] = {}
    for (reviewer, number), verdict in verdicts.items():
        if verdict.blind_label is not None:
            blind.setdefault(reviewer, {})[number] = verdict.blind_label
    model = {case.number: str(case.answer["label"]) for case in cases if case.answer["label"] is not None}
    pairs = [*combinations(sorted(blind), 2), *((reviewer, THE_MODEL) for reviewer in sorted(blind))]
    labelled = blind | {THE_MODEL: model}
    found = []
    for first, second in pairs:
        shared = sorted(labelled[first].keys() & labelled[second].keys())
        if shared:
            labels = [(labelled[first][number], labelled[second][number]) for number in shared]
            found.append(agreement_of(first, second, labels))
    return found


def agreement_of(first: str, second: str, labels: Iterable[tuple[str, str]], *, seed: int = 0) -> Agreement:
    """Kappa and its interval of pairs of labels, one a case."""
    pairs = list(labels)
    names = sorted({name for pair in pairs for name in pair})
    table = np.zeros((len(names), len(names)))
    for one, other in pairs:
        table[names.index(one), names.index(other)] += 1
    shares = table / len(pairs)
    kappa = float(_kappa(shares[None])[0])
    low = high = None
    if len(pairs) >= FEWEST_CASES and not np.isnan(kappa):
        draws = np.random.default_rng(seed).multinomial(len(pairs), shares.ravel(), size=NUM_RESAMPLES)
        resampled = _kappa(draws.reshape(NUM_RESAMPLES, *table.shape) / len(pairs))
        low, high = map(float, np.nanquantile(resampled, [0.025, 0.975]))
    return Agreement(first, second, len(pairs), float(np.trace(shares)), None if np.isnan(kappa) else kappa, low, high)


def _kappa(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of tables of shares [tables, labels, labels]; NaN where chance alone agrees always."""
    observed = np.trace(tables, axis1=1, axis2=2)
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
