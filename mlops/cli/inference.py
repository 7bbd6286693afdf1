"""The commands `r2d predict-file` and `r2d drift`. What is imported at the top is light."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r2d.config.jobs import DriftConfig, InferenceConfig
from r2d.config.section import parse_section

Model = Annotated[str, typer.Option(help="Registered model (name@alias or name/version) or a model folder.")]
CHAMPION = "reason2decide@champion"
DRIFTED = 3
"""Exit code of `r2d drift --exit-code` where the calls have changed."""


def predict_file(
    calls: Annotated[
        Path, typer.Argument(help="Calls: a .csv, .jsonl or .parquet file, or a folder of Parquet files.")
    ],
    out: Annotated[Path, typer.Option(help="The Parquet file to write; a killed run goes on where it stopped.")],
    model: Model = CHAMPION,
    id_column: Annotated[str, typer.Option(help="Column with the id of a call.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column with its text.")] = "text",
    options_column: Annotated[
        str | None, typer.Option(help="Column with the list of its options, for models trained with such rows.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="Of a CSV.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of a CSV or JSONL.")] = "utf-8",
    batch_size: Annotated[int, typer.Option(help="Calls decided at a time.")] = 32,
    rows_per_part: Annotated[int, typer.Option(help="Calls that a killed run loses at most.")] = 4096,
) -> None:
    """Decide and explain a file of calls: label, probabilities, rationale, and who should decide."""
    from mlops.registry import model_folder
    from r2d.inference.infer import infer_file

    columns = {"id": id_column, "text": text_column, "options": options_column}
    values = {
        "data": {"path": str(calls), "columns": columns, "delimiter": delimiter, "encoding": encoding},
        "output": str(out),
        "model": model,
        "batch_size": batch_size,
        "rows_per_part": rows_per_part,
    }
    job = parse_section(InferenceConfig, values, where="r2d predict-file")
    result = infer_file(job, model_folder(job.model))
    why = "".join(f"\n  {count:,} {reason}" for reason, count in result.why_handed_over.items())
    typer.echo(
        f"{result.output}: {result.num_rows:,} calls by {result.model}, {result.num_handed_over:,} handed over to a "
        f"person{why}"
    )


def drift(
    predictions: Annotated[Path, typer.Argument(help="The output of `r2d predict-file`.")],
    out: Annotated[Path, typer.Option(help="Folder for drift.json and drift.html.")],
    model: Model = CHAMPION,
    calls: Annotated[Path | None, typer.Option(help="What was decided; without it no words are compared.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Another drift_reference.json than that of the model.")] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {DRIFTED} on drift, for triggers.")
    ] = False,
) -> None:
    """Hold decided calls against what the model was trained and evaluated on: drift.json, drift.html."""
    from mlops.registry import model_folder
    from r2d.drift.job import report_drift

    values = {
        "predictions": str(predictions),
        "calls": None if calls is None else str(calls),
        "model": model,
        "reference": None if reference is None else str(reference),
        "output": str(out),
    }
    job = parse_section(DriftConfig, values, where="r2d drift")
    facts, _ = report_drift(job, None if job.reference else model_folder(job.model))
    for check in facts["checks"].values():
        typer.echo(f"{check['outcome']:<12}  {check['sentence']}")
    typer.echo(
        f"{'drift' if facts['drifted'] else 'no drift'} among {facts['num_rows']:,} calls; read {out / 'drift.html'}"
    )
    if exit_code and facts["drifted"]:
        raise typer.Exit(DRIFTED)
