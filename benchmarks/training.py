"""Training, label decode and inference against the published loop: how many times faster, and how near the machine.

    python -m benchmarks.training                             # tiny sizes, batch 8, all tables: a few minutes
    python -m benchmarks.training --sizes small --batches 8 32 --pairs 3 --write
    python -m benchmarks.training --same-batches natural      # what is gained without bucketing
    python -m benchmarks.training --same-batches bucketed     # what is gained besides bucketing
    python -m benchmarks.training --time-to-loss              # seconds until both reach the same validation loss

The rows are `benchmarks.invented_rows`. The published loop takes its batches in natural order, ours are
length-bucketed; each runs a few batches that stand for all of its batches in work and in padding, and its seconds are
divided by the useful work of what it ran, so that a ratio is one of times for the same rows.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.brief_training import SIZES, new_model, train_briefly
from benchmarks.pairs import facts, in_child, peak_mib, say, write_results
from benchmarks.training_growth import growth
from benchmarks.training_tables import WHATS, Bench, Plan, pairs_table, time_to_loss


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=[*SIZES], default="tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batches-a-run", type=int, default=2, help="batches in each half of a pair")
    parser.add_argument("--what", nargs="+", choices=[*WHATS, "growth"], default=list(WHATS))
    parser.add_argument("--decoding", choices=["constrained", "free"], default="constrained", help="of our labels")
    parser.add_argument("--same-batches", choices=["natural", "bucketed"], help="give both loops these batches")
    parser.add_argument("--rows", type=int, default=32, help="rows of the inference")
    parser.add_argument("--brief-steps", type=int, default=200, help="of the training before decodes are timed")
    parser.add_argument("--time-to-loss", action="store_true")
    parser.add_argument("--memory", action="store_true", help="peak memory of each loop, in processes of their own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="keep the tables in benchmarks/results")
    parser.add_argument("--peak-of", choices=["none", "published", "ours"], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Read the command line, measure, print Markdown."""
    given = arguments()
    torch.set_num_threads(given.threads)
    plan = Plan(
        size=given.sizes,
        num_pairs=given.pairs,
        batches_a_run=given.batches_a_run,
        decoding=given.decoding,
        same_batches=given.same_batches,
        inference_rows=given.rows,
    )
    model = new_model(given.sizes)
    if given.peak_of:
        Bench(plan, model, given.batches[0]).heaviest_step(given.peak_of)
        print(peak_mib())
        return
    if given.time_to_loss:
        tables = [time_to_loss(plan, model, given.batches[0])]
    else:
        if {"stage2_sampling", "decode", "decode_from_states", "inference", "growth"} & set(given.what):
            say(f"training a {given.sizes} model for {given.brief_steps} steps, so that it ends its texts by itself")
            train_briefly(model, given.sizes, given.brief_steps, explaining="inference" in given.what)
        whats = [what for what in given.what if what != "growth"]
        peaks = {size: _peaks(given, size) for size in given.batches} if given.memory else {}
        tables = [pairs_table(plan, model, given.batches, whats, peaks)] if whats else []
        if "growth" in given.what:
            tables += growth(plan, model)
    tables.append(facts(["benchmarks.training", *sys.argv[1:]]))
    text = f"# Training and inference against the published loop, {given.sizes} sizes\n\n" + "\n".join(
        table.markdown() for table in tables
    )
    print(text)
    if given.write:
        kind = "time_to_loss" if given.time_to_loss else "training"
        same = f"_same_{given.same_batches}" if given.same_batches else ""
        say(f"written to {write_results(f'{kind}_{given.sizes}{same}', text).name}")


def _peaks(given: argparse.Namespace, batch_size: int) -> dict[str, float]:
    """Peak resident memory in MiB: of rows and model alone, and of one sampling step on the heaviest batch."""
    peaks = {}
    for variant in ("none", "published", "ours"):
        say(f"peak memory, {variant}, batch {batch_size}")
        options = ["--sizes", given.sizes, "--batches", str(batch_size), "--decoding", given.decoding]
        options += ["--threads", str(given.threads), "--peak-of", variant]
        options += ["--same-batches", given.same_batches] if given.same_batches else []
        peaks[variant] = float(in_child(options))
    return peaks


if __name__ == "__main__":
    main()
