"""Speed and memory of the validation on 200,000 invented notes: `python benchmarks/validation.py [NUM_ROWS]`.

Prints seconds of wall and CPU time and the peak of the resident memory, for loading from CSV and for the validation as
the step runs it, with all of its expectations and the policy `redact`.
"""

from __future__ import annotations

import csv
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from r2d.config.data import DataConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.validation import ValidationConfig

LABELS = ("emergency now", "same day", "within three days", "self care")
WORDS_A_NOTE = 100


def write_notes(path: Path, num_rows: int) -> None:
    """Notes of words drawn from a list of 8,000; one in 50 nearly repeats another, one in 100 has a number."""
    drawn = random.Random(0)
    syllables = ["ba", "re", "to", "mi", "lu", "ka", "ne", "so", "di", "pa", "gu", "fe", "vo", "chi", "ra", "tel"]
    words = ["".join(drawn.choices(syllables, k=drawn.randint(1, 4))) for _ in range(8000)]
    notes: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "llm"])
        for row in range(num_rows):
            if notes and row % 50 == 0:
                note = f"{drawn.choice(notes)} {drawn.choice(words)}"
            else:
                note = f"{drawn.randint(1, 99)} yo, BP 120/80, " + " ".join(drawn.choices(words, k=WORDS_A_NOTE))
            if row % 100 == 1:
                note += f" call (212) 555-{drawn.randint(1000, 9999)}"
            if len(notes) < 5000:
                notes.append(note)
            writer.writerow([f"n{row}", note, LABELS[row % 4], " ".join(drawn.choices(words, k=25))])


@contextmanager
def measured(name: str, num_rows: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name:<12} {wall:8.1f} s  {cpu:8.1f} s CPU  {num_rows / wall:10,.0f} rows/s  peak {peak:.2f} GiB", flush=True
    )


def main(num_rows: int) -> None:
    from r2d.data.examples import content_hash
    from r2d.data.load import load_examples
    from r2d.data.validation.report import render_data_report
    from r2d.data.validation.validate import validate
    from r2d.files import write_parquet
    from r2d.modeling.load import count_tokens

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.csv"
        write_notes(path, num_rows)
        print(
            f"{num_rows:,} notes of about {WORDS_A_NOTE} words, {path.stat().st_size / 2**20:,.0f} MiB of CSV",
            flush=True,
        )
        columns = {"rationales": {"llm": "llm"}}
        data = DataConfig(format="csv", path=str(path), labels={"names": LABELS}, columns=columns)
        config = ValidationConfig(severities={"text_across_splits": "quarantine"})
        model = ModelConfig(name="scratch", scratch=ScratchConfig(vocab_size=4000))
        with measured("load", num_rows):
            examples = load_examples(data)
        with measured("validate", num_rows):
            validation = validate(
                examples,
                config,
                labels=data.labels,
                count_tokens=partial(count_tokens, model=model, labels=data.labels),
            )
        with measured("report", num_rows):
            render_data_report(validation, privacy=config.privacy)
        with measured("store", num_rows):
            write_parquet(Path(folder) / "examples.parquet", validation.examples)
            content_hash(validation.examples)
    print({name: value for name, value in validation.result().items() if name.startswith("num_")})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
