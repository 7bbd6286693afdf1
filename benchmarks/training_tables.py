"""The tables of `benchmarks.training`: what is run in pairs, over which batches, and how seconds become ratios."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from transformers import T5ForConditionalGeneration

from benchmarks.engine import BATCHES_IN_WINDOW, GOLD_STEP, SAMPLING_STEP, Engine, alpha_at, bucketed_batches, draws
from benchmarks.invented_rows import Row, benchmark_tokenizer, make_rows, row_tokens
from benchmarks.pairs import Pairs, Table, run_pairs, say, timed, with_range
from benchmarks.published_loop import PublishedLoop
from benchmarks.work import T5Sizes, inference_work, label_decode_work, stage1_work, stage2_work

WHATS = {
    "stage1": "Stage 1",
    "stage2_gold": "Stage 2, gold phase",
    "stage2_sampling": "Stage 2, sampling phase",
    "decode": "label decode",
    "decode_from_states": "label decode from the encoder's states",
    "inference": "inference",
}


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    size: str
    num_pairs: int
    batches_a_run: int
    decoding: Literal["constrained", "free"]
    same_batches: Literal["natural", "bucketed"] | None
    inference_rows: int


class Bench:
    """Both loops on copies of one model, with one window of batches in natural and in bucketed order."""

    def __init__(self, plan: Plan, model: T5ForConditionalGeneration, batch_size: int) -> None:
        self.plan, self.batch_size = plan, batch_size
        self.sizes = T5Sizes.of(model.config)
        self.rows = make_rows(BATCHES_IN_WINDOW * batch_size)
        self.tokens = row_tokens(self.rows)
        natural = np.arange(len(self.rows)).reshape(-1, batch_size).tolist()
        bucketed = bucketed_batches(self.tokens.all_tokens, batch_size)
        orders = {"natural": natural, "bucketed": bucketed}
        self.batches_a = orders[plan.same_batches or "natural"]
        self.batches_b = orders[plan.same_batches or "bucketed"]
        self.start = model.state_dict()
        self.published = PublishedLoop(copy.deepcopy(model), benchmark_tokenizer())
        self.ours = Engine(
            copy.deepcopy(model), benchmark_tokenizer(), self.rows, batch_size=batch_size, decoding=plan.decoding
        )

    def steps(self, what: str) -> tuple[Callable[[list[Row]], Any], Callable[[list[Row]], Any]]:
        """One batch of the published loop, and of ours."""
        published, ours = self.published, self.ours
        if what == "stage1":
            return published.stage1_step, ours.stage1_step
        if what == "decode":
            return published.decode, lambda rows: ours.decode(_drawn(rows))
        if what == "decode_from_states":
            return published.decode, lambda rows: ours.decode_from_states(_drawn(rows))
        step = GOLD_STEP if what == "stage2_gold" else SAMPLING_STEP

        def published_step(rows: list[Row]) -> float:
            drawn = draws(rows, step) if what == "stage2_sampling" else None
            return published.stage2_step(rows, alpha=alpha_at(step), drawn=drawn)

        return published_step, partial(ours.stage2_step, step=step)

    def useful(self, what: str, batches: Sequence[list[int]]) -> float:
        """Useful work of these batches. A sampling phase decodes what is drawn, and so does a label decode."""
        rows = [row for batch in batches for row in batch]
        if what == "stage1":
            return stage1_work(self.sizes, self.tokens.of(rows))
        drawn_now = draws([self.rows[row] for row in rows], SAMPLING_STEP)
        drawn = [row for row, draw in zip(rows, drawn_now, strict=True) if draw]
        decode = label_decode_work(self.sizes, self.tokens.of(drawn)) if drawn else 0.0
        if what.startswith("decode"):
            return decode
        return stage2_work(self.sizes, self.tokens.of(rows)) + (decode if what == "stage2_sampling" else 0.0)

    def padding(self, batches: Sequence[list[int]]) -> float:
        """Computed over useful work of Stage 2, as batches padded to their longest row compute it."""
        parts = [self.tokens.of(batch) for batch in batches]
        computed = sum(stage2_work(self.sizes, part.padded()) for part in parts)
        return computed / sum(stage2_work(self.sizes, part) for part in parts)

    def representative(self, batches: list[list[int]]) -> list[list[int]]:
        """`batches_a_run` batches that together have nearly the work of a row, and the padding, that all have.

        The best of 2,000 choices by a seeded generator; the same rule for both loops.
        """
        useful = np.array([stage2_work(self.sizes, self.tokens.of(batch)) for batch in batches])
        computed = np.array([stage2_work(self.sizes, self.tokens.of(batch).padded()) for batch in batches])
        generator = np.random.default_rng(0)
        choices = [generator.choice(len(batches), self.plan.batches_a_run, replace=False) for _ in range(2000)]

        def distance(choice: np.ndarray) -> float:
            whole = abs(np.log(useful[choice].mean() / useful.mean()))
            return whole + abs(np.log(computed[choice].mean() / computed.mean()))

        return [batches[number] for number in min(choices, key=distance)]

    def measure(self, what: str) -> list[str]:
        """One line of the table, both loops at the weights they were given."""
        for loop in (self.published, self.ours):
            loop.model.load_state_dict(self.start)
        if what == "inference":
            return self._inference()
        batches = self.representative(self.batches_a), self.representative(self.batches_b)
        calls = [partial(self._run, step, some) for step, some in zip(self.steps(what), batches, strict=True)]
        useful = [self.useful(what, some) for some in batches]
        a_row = self.useful(what, [list(range(len(self.rows)))]) / len(self.rows)
        paddings = tuple(f"{self.padding(some):.2f}" for some in batches)
        return self._line(what, run_pairs(*calls, self.plan.num_pairs), useful, a_row, paddings)

    def _run(self, step: Callable[[list[Row]], Any], batches: Sequence[list[int]]) -> None:
        for batch in batches:
            step([self.rows[row] for row in batch])

    def _inference(self) -> list[str]:
        """Both on the same rows, in the order of each one's own choice; says how far they agree."""
        rows = self.rows[: self.plan.inference_rows]
        answers: dict[str, list[tuple[str, str]]] = {}

        def run(name: str, loop: PublishedLoop | Engine) -> None:
            answers[name] = loop.infer(rows, self.batch_size)

        pairs = run_pairs(
            partial(run, "published", self.published), partial(run, "ours", self.ours), self.plan.num_pairs
        )
        useful = inference_work(self.sizes, self.tokens.of(range(len(rows))))
        a, b = answers["published"], answers["ours"]
        same_label = [one[0] == other[0] for one, other in zip(a, b, strict=True)]
        same = sum(one == other for one, other in zip(a, b, strict=True))
        lengths = statistics.mean(len(benchmark_tokenizer()(text).input_ids) for _, text in a)
        say(f"inference: {sum(same_label)} labels and {same} answers of {len(rows)} are the same, "
            f"rationales of {lengths:.0f} tokens on average")  # fmt: skip
        agreement = (f"same labels {sum(same_label)}/{len(rows)}", f"same answers {same}/{len(rows)}")
        return self._line("inference", pairs, [useful, useful], useful / len(rows), agreement)

    def _line(
        self, what: str, pairs: Pairs, useful: Sequence[float], a_row: float, details: tuple[str, ...]
    ) -> list[str]:
        weight = useful[1] / useful[0]
        rate = statistics.median(pairs.gemm) * 1e9
        both = list(zip((pairs.a, pairs.b), useful, strict=True))
        a, b = ([1000 * run.cpu * a_row / work for run in runs] for runs, work in both)
        shares = [100 * work / statistics.median(run.cpu for run in runs) / rate for runs, work in both]
        return [
            WHATS[what],
            str(self.batch_size),
            with_range(a, 1),
            with_range(b, 1),
            with_range(pairs.ratios(weight=weight)),
            f"{statistics.median(pairs.ratios('wall', weight)):.2f}",
            "–" if what == "decode_from_states" else f"{shares[0]:.0f} %, {shares[1]:.0f} %",
            ", ".join(details),
            with_range(pairs.gemm, 0),
        ]

    def heaviest_step(self, variant: str) -> None:
        """One sampling step on the batch that computes most; `none` takes no step."""
        published, ours = self.steps("stage2_sampling")
        chosen = {"published": (published, self.batches_a), "ours": (ours, self.batches_b)}
        if variant in chosen:
            step, batches = chosen[variant]
            heaviest = max(batches, key=lambda batch: stage2_work(self.sizes, self.tokens.of(batch).padded()))
            self._run(step, [heaviest])


def _drawn(rows: list[Row]) -> list[Row]:
    return [row for row, draw in zip(rows, draws(rows, SAMPLING_STEP), strict=True) if draw]


def pairs_table(
    plan: Plan,
    model: T5ForConditionalGeneration,
    batch_sizes: Sequence[int],
    whats: Sequence[str],
    peaks: dict[int, dict[str, float]],
) -> Table:
    """Every measurement at every batch size."""
    columns = (
        "what", "batch", "published, CPU ms a row", "ours, CPU ms a row", "ratio", "ratio of wall time",
        "share of the GEMM rate", "computed / useful", "GEMM, GFLOP/s",
    )  # fmt: skip
    lines = []
    for batch_size in batch_sizes:
        bench = Bench(plan, model, batch_size)
        for what in whats:
            say(f"{WHATS[what]}, batch {batch_size}, {plan.num_pairs} pairs")
            lines.append(bench.measure(what))
    memory = [
        f"Peak memory at batch {size}, one sampling step on the heaviest batch: published {peak['published']:.0f} MiB, "
        f"ours {peak['ours']:.0f} MiB; both loops, model and rows alone {peak['none']:.0f} MiB."
        for size, peak in peaks.items()
    ]
    where = f"the same, {plan.same_batches}" if plan.same_batches else "natural order against length-bucketed"
    decodes = "The label decode is free in both."
    if plan.decoding == "constrained":
        decodes = (
            "Our label decode is constrained, the published one free: two methods, so these lines compare what a label "
            "costs, not equal work, and the answers need not agree."
        )
    note = (
        f"Medians with least and most of {plan.num_pairs} interleaved pairs after a warm-up, {plan.batches_a_run} "
        f"batches in each half; batches: {where}. Ratios and shares count the same useful work for both: training both "
        "tasks, and for the sampling phase (pi 0.9) an encoder pass and a decode of the label for the drawn rows. From "
        "the encoder's states, which training without dropout has at hand, ours decodes without that pass. "
        f"{decodes} We tokenise before the first step, untimed."
    )
    return Table("Published loop and ours", columns, lines, "\n".join([note, *memory]))


def time_to_loss(plan: Plan, model: T5ForConditionalGeneration, batch_size: int, learning_rate: float = 3e-3) -> Table:
    """CPU seconds of training until the loss on rows never trained on falls below a bound, from the same weights.

    The bound is half of the loss at the start. Validation is not timed; it is the same code for both.
    """
    rows = make_rows(4 * BATCHES_IN_WINDOW * batch_size)
    judged = PublishedLoop(model, benchmark_tokenizer())
    unseen = make_rows(32, seed=3)

    def loss_of(network: T5ForConditionalGeneration) -> float:
        judged.model = network.eval()
        with torch.no_grad():
            return judged.stage2_loss(unseen, alpha=0.5).item()

    bound = loss_of(model) / 2
    published = PublishedLoop(copy.deepcopy(model), benchmark_tokenizer(), learning_rate=learning_rate)
    ours = Engine(copy.deepcopy(model), benchmark_tokenizer(), rows, batch_size=batch_size, learning_rate=learning_rate)
    natural = np.arange(len(rows)).reshape(-1, batch_size).tolist()
    runs: dict[str, tuple[Any, Callable[[list[Row]], Any], list[list[int]]]] = {
        "published": (published.model, partial(published.stage2_step, alpha=alpha_at(GOLD_STEP)), natural),
        "ours": (
            ours.model,
            partial(ours.stage2_step, step=GOLD_STEP),
            bucketed_batches(row_tokens(rows).all_tokens, batch_size),
        ),
    }
    lines = []
    for name, (network, step, batches) in runs.items():
        seconds, loss, count = 0.0, float("inf"), 0
        for count, batch in enumerate(batches, start=1):
            some = [rows[row] for row in batch]
            seconds += timed(partial(step, some)).cpu
            if count % 5 == 0 and (loss := loss_of(network)) < bound:
                break
        reached = f"{seconds:.1f}" if loss < bound else f"not within {seconds:.1f}"
        say(f"{name}: validation loss {loss:.3f} after {count} steps, {seconds:.1f} s")
        lines.append([name, reached, str(count), f"{loss:.3f}"])
    note = f"Gold phase, learning rate {learning_rate}, batch {batch_size}; validated every 5 steps; one run, one seed."
    columns = ("loop", f"CPU seconds until the loss is below {bound:.3f}", "steps", "validation loss")
    return Table(f"Time to the same validation loss, {plan.size} sizes", columns, lines, note)
