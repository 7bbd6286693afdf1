"""How well identifying text is found: precision, recall and speed.

    python -m benchmarks.privacy                 # held_out table, false positives on real text, rows per second
    python -m benchmarks.privacy --half tune     # the half to work on; prints what went wrong

The sentences are made up by us with a fixed seed, so the figures say how well the rules know the forms we thought of,
not how a hospital's notes would fare. `held_out` differs from `tune` in wording, in the writing of values and in names.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import get_args

import pyarrow as pa

from benchmarks.privacy_templates import FILLERS, HARMLESS, IDENTIFYING
from benchmarks.privacy_values import VALUES, mistyped
from r2d.config.privacy import PrivacyConfig, Recogniser
from r2d.privacy.deidentify import find_identifiers
from r2d.privacy.findings import Finding

SEED = 20260731
MISTYPED_SHARE = 0.1
NOTES_PER_TEMPLATE = 25
REAL_TEXT = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Note:
    """A made-up note and where its identifiers stand."""

    text: str
    identifiers: tuple[tuple[str, int, int], ...]


def notes(half: str) -> Iterator[Note]:
    """Every template of a half, `NOTES_PER_TEMPLATE` times, among harmless sentences."""
    random = Random(f"{SEED} {half}")
    for template in IDENTIFYING[half] + HARMLESS[half]:
        for _ in range(NOTES_PER_TEMPLATE):
            yield _note(random, half, template)


def _note(random: Random, half: str, template: str) -> Note:
    """One filled template between up to two filler sentences."""
    text = random.choice(["", random.choice(FILLERS[half]) + " "])
    identifiers: list[tuple[str, int, int]] = []
    for piece in re.split(r"(\{\w+\}|<\d+-\d+>)", template):
        if piece.startswith("{"):
            recogniser, make = VALUES[piece[1:-1]]
            value = make(random, half)
            if random.random() < MISTYPED_SHARE and recogniser not in ("postal_code", "date_of_birth"):
                value = mistyped(random, value)
            identifiers.append((recogniser, len(text), len(text) + len(value)))
            text += value
        elif piece.startswith("<") and piece.endswith(">"):
            low, high = map(int, piece[1:-1].split("-"))
            text += str(random.randint(low, high))
        else:
            text += piece
    return Note(text + random.choice(["", " " + random.choice(FILLERS[half])]), tuple(identifiers))


def measure(half: str, show_faults: bool) -> None:
    """Print precision and recall per recogniser; `covered` counts values that any recogniser's findings hide."""
    made = list(notes(half))
    by_row = find_identifiers(pa.array([note.text for note in made]), PrivacyConfig())
    counts: Counter[tuple[str, str]] = Counter()
    for row, note in enumerate(made):
        found = by_row.get(row, [])
        for recogniser, start, end in note.identifiers:
            hiding = [finding for finding in found if finding.start <= start and end <= finding.end]
            right = any(finding.recogniser == recogniser for finding in hiding)
            counts[recogniser, "n"] += 1
            counts[recogniser, "right"] += right
            counts[recogniser, "covered"] += bool(hiding)
            if show_faults and not right:
                print(f"missed {recogniser}: {note.text[start:end]!r} in {note.text!r}")
        for finding in found:
            true = any(_overlaps(finding, gold) for gold in note.identifiers)
            counts[finding.recogniser, "found"] += 1
            counts[finding.recogniser, "true"] += true
            if show_faults and not true:
                print(f"false {finding.recogniser}: {note.text[finding.start : finding.end]!r} in {note.text!r}")
    print(f"{half}: {len(made)} notes\n{'':16}{'n':>6}{'found':>7}{'precision':>11}{'recall':>9}{'covered':>9}")
    for name in get_args(Recogniser):
        n, found_count = counts[name, "n"], counts[name, "found"]
        precision = counts[name, "true"] / max(1, found_count)
        recall, covered = counts[name, "right"] / n, counts[name, "covered"] / n
        print(f"{name:16}{n:6}{found_count:7}{precision:11.3f}{recall:9.3f}{covered:9.3f}")


def _overlaps(finding: Finding, identifier: tuple[str, int, int]) -> bool:
    """Whether a finding stands on an identifier of its own kind."""
    recogniser, start, end = identifier
    return finding.recogniser == recogniser and finding.start < end and start < finding.end


def measure_real_text() -> None:
    """Print findings per 1,000 real texts, which hold hardly any identifiers: nearly all are false."""
    for corpus in ("pubmedqa", "triage_nursesim_gpt"):
        files = sorted((REAL_TEXT / corpus).glob("*.jsonl"))
        if not files:
            print(f"{corpus}: not beside the project, skipped")
            continue
        texts: list[str] = []
        for path in files:
            with path.open(encoding="utf-8", newline="\n") as lines:
                rows = [json.loads(line) for line in lines]
            texts += [text for row in rows for text in (row["question"], row["rationale"]) if text]
        by_row = find_identifiers(pa.array(texts), PrivacyConfig())
        found = Counter(finding.recogniser for findings in by_row.values() for finding in findings)
        figures = ", ".join(f"{name} {1000 * count / len(texts):.2f}" for name, count in found.items()) or "none"
        print(f"{corpus}: {len(texts)} texts, findings per 1,000: {figures}")


def measure_speed(num_rows: int) -> None:
    """Print rows per second over notes of about 100 words, one in fifty with an identifier."""
    random = Random(SEED)
    sentences = FILLERS["tune"] * 4 + HARMLESS["tune"]
    plain = [" ".join(_note(random, "tune", random.choice(sentences)).text for _ in range(8)) for _ in range(2000)]
    telling = [note.text for note in notes("tune") if note.identifiers]
    texts = [
        random.choice(plain) + (" " + random.choice(telling) if random.random() < 0.02 else "") for _ in range(num_rows)
    ]
    column = pa.array(texts)
    words = sum(len(text.split()) for text in texts) / num_rows
    started, started_cpu = time.perf_counter(), time.process_time()
    by_row = find_identifiers(column, PrivacyConfig())
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    print(
        f"{num_rows} notes of {words:.0f} words: {sum(map(len, by_row.values()))} findings in {seconds:.1f} s "
        f"({cpu_seconds:.1f} s of CPU), {num_rows / seconds:,.0f} rows per second"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["tune", "held_out"], default="held_out")
    parser.add_argument("--rows", type=int, default=200_000, help="notes of the speed measurement; 0 leaves it out")
    arguments = parser.parse_args()
    measure(arguments.half, show_faults=arguments.half == "tune")
    measure_real_text()
    if arguments.rows:
        measure_speed(arguments.rows)


if __name__ == "__main__":
    main()
