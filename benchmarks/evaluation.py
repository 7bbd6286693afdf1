"""An evaluation of 1,000 rows: what it costs beside the generation of labels and rationales and beside BERTScore.

    python -m benchmarks.evaluation                      # tiny sizes
    python -m benchmarks.evaluation --sizes small --write

The rows are `benchmarks.invented_rows`, with groups of two and an attribute of ten values, so that bootstrap and slices
have their usual work; a second model stands for the champion where `--champion` is given.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import torch

from benchmarks.brief_training import SIZES, new_model, train_briefly
from benchmarks.invented_rows import benchmark_tokenizer, label_names, make_rows
from benchmarks.pairs import Table, facts, say, write_results
from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import Example, to_table
from r2d.evaluation.evaluate import Champion, evaluate
from r2d.evaluation.run import MODEL_PARTS, PARTS
from r2d.modeling.model_folder import ModelFacts, finish_model_folder

NUM_TRAIN, NUM_VALIDATION = 4000, 500


def main() -> None:
    """Read the command line, measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=[*SIZES], default="tiny")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--brief-steps", type=int, default=200)
    parser.add_argument("--champion", action="store_true", help="hold it against a champion")
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    labels = LabelsConfig(names=tuple(label_names()), ordered=True)
    with tempfile.TemporaryDirectory() as folder:
        model = _trained(given.sizes, given.brief_steps, labels, Path(folder))
        say(f"evaluating {given.rows} rows")
        found = evaluate(
            _examples(given.rows),
            model,
            config=EvaluationConfig(),
            data=DataConfig(format="csv", path="invented.csv", labels=labels),
            champion=Champion("invented/1", model) if given.champion else None,
        )
    seconds = found.seconds
    asked, scorer = sum(seconds[part] for part in MODEL_PARTS), seconds["champion"] + seconds["bertscore"]
    beside = seconds["total"] - asked - scorer
    lines = [[part.replace("_", " "), f"{seconds[part]:.1f}"] for part in (*PARTS, "total")]
    lines.append(["what the model is asked (the first four)", f"{asked:.1f}"])
    lines.append(["all else but BERTScore and a champion, share of it", f"{beside / asked:.3f}"])
    lines.append(["the same, and the model asked again, share of `generation`",
                  f"{(seconds['total'] - scorer) / seconds['generation'] - 1:.2f}"])  # fmt: skip
    quality = found.metrics.to_json()["written_quality"]["model"]["lengths"]["tokens"]
    note = (
        f"{given.rows} test rows, {NUM_VALIDATION} validation and {NUM_TRAIN} training rows, 20 labels, rationales of "
        f"{quality['mean']:.0f} tokens on average, 10,000 resamples, {found.metrics.flip_test.num_rows} rows "
        "flipped; one run."
    )
    tables = [
        Table("Where the time of an evaluation goes", ("part", "seconds"), lines, note),
        facts(["benchmarks.evaluation", *sys.argv[1:]]),
    ]
    text = f"# Evaluation, {given.sizes} sizes\n\n" + "\n".join(table.markdown() for table in tables)
    print(text)
    if given.write:
        say(f"written to {write_results(f'evaluation_{given.sizes}', text).name}")


def _trained(size: str, num_steps: int, labels: LabelsConfig, folder: Path) -> Path:
    """A model folder that decides and explains a little."""
    say(f"training a {size} model for {num_steps} steps, so that it ends its texts by itself")
    model = new_model(size)
    train_briefly(model, size, num_steps, explaining=True)
    model.save_pretrained(folder)
    facts = ModelFacts(labels, ModelConfig(name="scratch"), "stage 2", MethodConfig())
    finish_model_folder(folder, benchmark_tokenizer(), facts, Stage2Config())
    return folder


def _examples(num_test: int) -> pa.Table:
    splits = ["train"] * NUM_TRAIN + ["validation"] * NUM_VALIDATION + ["test"] * num_test
    return to_table(
        Example(
            id=row.id,
            text=row.text,
            label=row.label,
            rationale=row.rationale,
            rationale_source="invented",
            group=f"caller {number // 2}",
            split=split,
            attributes={"site": f"site {number % 10}"},
        )
        for number, (row, split) in enumerate(zip(make_rows(len(splits)), splits, strict=True))
    )


if __name__ == "__main__":
    main()
