"""How far reviewers agree with each other and with the model: Cohen's kappa of the labels given blind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from r2d.label_scores import cohen_kappa
from r2d.review.store import Case
from r2d.review.verdicts import Verdict

THE_MODEL = "the model"
NUM_DRAWS = 2_000
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
    """95 % credible interval (`agreement_of`); None without kappa, and with fewer than `FEWEST_CASES` cases."""


def agreements(cases: Sequence[Case], verdicts: Mapping[tuple[str, int], Verdict]) -> list[Agreement]:
    """Each pair of reviewers, then each reviewer and the model, over the cases that both labelled."""
    blind: dict[str, dict[int, str]] = {}
    for (reviewer, number), verdict in verdicts.items():
        if verdict.blind_label is not None:
            blind.setdefault(reviewer, {})[number] = verdict.blind_label
    model = {case.number: str(case.answer["label"]) for case in cases if case.answer["label"] is not None}
    people = [
        (f"{name} (a reviewer)" if name.casefold() == THE_MODEL else name, labels)
        for name, labels in sorted(blind.items())
    ]
    found = []
    for (first, ones), (second, others) in [
        *combinations(people, 2),
        *((person, (THE_MODEL, model)) for person in people),
    ]:
        if shared := sorted(ones.keys() & others.keys()):
            found.append(agreement_of(first, second, [(ones[number], others[number]) for number in shared]))
    return found


def agreement_of(first: str, second: str, labels: Iterable[tuple[str, str]], *, seed: int = 0) -> Agreement:
    """Kappa and its interval of pairs of labels, one a case.

    The interval is Bayesian: the table of pairs of labels has a Dirichlet prior that weighs as much as two cases, one
    spread over equal labels and one over all pairs. Unlike resampling, it keeps a width where few cases all agree; it
    is widened to hold kappa itself.
    `tests/review/test_queue.py` measures how often it covers.
    """
    pairs = list(labels)
    names = sorted({name for pair in pairs for name in pair})
    table = np.zeros((len(names), len(names)))
    for one, other in pairs:
        table[names.index(one), names.index(other)] += 1
    shares = table / len(pairs)
    kappa = float(cohen_kappa(shares[None])[0])
    low = high = None
    if len(pairs) >= FEWEST_CASES and not np.isnan(kappa):
        prior = np.eye(len(names)) / len(names) + 1 / len(names) ** 2
        draws = np.random.default_rng(seed).dirichlet((table + prior).ravel(), size=NUM_DRAWS)
        quantiles = np.quantile(cohen_kappa(draws.reshape(-1, *table.shape)), [0.025, 0.975])
        low, high = min(float(quantiles[0]), kappa), max(float(quantiles[1]), kappa)
    return Agreement(first, second, len(pairs), float(np.trace(shares)), None if np.isnan(kappa) else kappa, low, high)
