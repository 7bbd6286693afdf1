"""Labels that invented raters give to the fresh test calls of the demo: `configs/raters/demo.csv`.

    python -m r2d.synthetic.raters configs/demo.yaml > configs/raters/demo.csv

Each reads the rule's disposition and errs to a neighbouring level, by chance and apart from the others.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from r2d.config.data import SyntheticTriageConfig
from r2d.config.loading import load_config
from r2d.synthetic.calls import generate_call
from r2d.synthetic.facts import neighbour

RATERS = {"nurse 1": 0.10, "nurse 2": 0.16, "physician": 0.06}
"""Rater -> share of the calls in which it errs."""
NUM_CALLS = 600


def rated_calls(config: SyntheticTriageConfig) -> Iterator[tuple[str, ...]]:
    """The header, then the id of each of the first `NUM_CALLS` test calls and its label by each rater."""
    yield ("id", *RATERS)
    for index in range(config.num_calls, config.num_calls + min(NUM_CALLS, config.num_test_calls)):
        call, labels = generate_call(config, index), []
        for rater, share in RATERS.items():
            random = Random(f"{config.seed} {rater} {call.id}")
            labels.append(neighbour(call.disposition, random) if random.random() < share else call.disposition)
        yield (call.id, *labels)


if __name__ == "__main__":
    csv.writer(sys.stdout, lineterminator="\n").writerows(rated_calls(load_config(Path(sys.argv[1])).data.synthetic))
