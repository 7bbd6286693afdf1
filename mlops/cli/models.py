"""Commands that use a model: `r2d predict`, `evaluate`, `predict-file`, `drift` and `monitor`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.registry.forgotten import without_forgotten
from mlops.registry.looks import look_counter
from mlops.registry.versions import config_of_version, model_folder, start_folder
from r2d.config.data import DataConfig
from r2d.config.evaluation import SeenRowsPolicy
from r2d.config.jobs import DriftConfig, InferenceConfig, MonitorConfig
from r2d.config.loading import as_settings, parse_settings, read_parameters
from r2d.config.section import parse_section
from r2d.errors import ConfigError, DataError, MissingColumnsError, R2DError
from r2d.files import out_folder
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.inference.decide import Answer
    from r2d.modeling.prompts import LabelSet

app = typer.Typer()
Model = Annotated[str, typer.Option(help="Registered model (name@alias or name/version) or a model folder.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="How the file is read: a key of section data, data.KEY=VALUE; repeatable."),
]
CHAMPION = "reason2decide@champion"
KEYS = r"\bdata\.(?:delimiter|quoting|skip_lines|comment|encoding|columns|format|labels|repeats|records)\b"
"""Of section `data`, as messages name them."""
DRIFTED = 3
"""Exit code of `r2d drift --exit-code` where the calls have drifted."""
ALARMED = 3
"""Exit code of `r2d monitor` where errors are more frequent than is acceptable."""


@app.command(epilog="Example: r2d predict --model reason2decide@champion 'Chest pain for 1 hour. No fainting.'")
def predict(
    texts: Annotated[list[str], typer.Argument(help="Notes; `-` reads one note a line from standard input.")],
    model: Model = CHAMPION,
    option: Annotated[
        list[str] | None,
        typer.Option(help="A label these notes can have; repeat it. For models trained with options in the rows."),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of these notes; repeat it. For models with thresholds by an attribute."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """Decide and explain notes: label, its probability and the rationale for it, why a person should decide, and what
    the note or the label says otherwise than that rationale."""
    notes = [line.rstrip("\n") for line in sys.stdin if line.strip()] if texts == ["-"] else texts
    if not notes:
        raise R2DError("standard input held no note; give one note a line")
    if any(not note.strip() for note in notes):
        raise R2DError("a note is empty; give its text, or `-` to read notes from standard input")
    if any("=" not in item for item in attribute or []):
        raise R2DError("--attribute: found no '='; give the attribute and its value, such as --attribute sex=female")
    from r2d.inference.calls import Call
    from r2d.inference.decide import Answerer

    answerer = Answerer.of_model(model_folder(model))
    options = _checked_options(option or [], answerer.predictor.labels.declared)
    attributes = dict(item.split("=", 1) for item in attribute or [])
    for answer in answerer.answer([Call(None, note, options, attributes) for note in notes]):
        typer.echo(json.dumps(answer.as_row(), ensure_ascii=False) if as_json else _answer_text(answer))


@contextmanager
def keys_set_by_option(path: str, model: str, *, is_file: bool = True, also: str = "") -> Iterator[None]:
    """Say in an error that names a key of section `data` how this command takes one, where it reads no YAML.

    Args:
        path: what gives `data.path` here, such as `--data`.
        model: whose columns in training are named where the file has them and others were declared.
        also: what else the command takes, for the message.
    """
    try:
        yield
    except (ConfigError, DataError) as error:
        if not is_file:
            raise
        message = str(error).replace("data.path", path)
        if re.search(KEYS, message):
            message += f". Here a key is given as --set KEY=VALUE, such as --set data.quoting=none{also}"
        if isinstance(error, MissingColumnsError) and (options := _columns_of_training(model, path, error.names)):
            message += f". The file has columns that the model was trained on: add{options}"
        raise type(error)(message) from None


def _columns_of_training(model: str, path: str, names: Sequence[str]) -> str:
    """Options that declare the columns that a file and the training of a registered model have in common."""
    keys = ("id", "text", "text_template", "options", *(["label"] if path == "--data" else []))
    if Path(model).is_dir():
        return ""
    try:
        data = parse_section(DataConfig, read_parameters(config_of_version(model))["data"])
        return as_settings(data.columns, keys, names)
    except R2DError:  # of a configuration that this version of the code does not read; the error itself is said anyway
        return ""


def _checked_options(options: list[str], declared: LabelSet | None) -> list[str] | None:
    """The options of every note; None for a model that decides between declared labels."""
    if declared is not None and options:
        raise R2DError(f"--option: this model decides between {', '.join(declared.names)}; leave --option out")
    if declared is not None:
        return None
    if len({normalise_label(option) for option in options} - {""}) < max(2, len(options)):
        raise R2DError(
            f"this model chooses among options that come with each note; found {len(options)}: give two or more that "
            "differ, such as --option yes --option no"
        )
    return options


def _answer_text(answer: Answer) -> str:
    """The label and all probabilities on the first line, why a person should decide, then the rationale, and a line for
    each remark."""
    from r2d.modeling.deferral import DEFERRAL_REASONS

    lines = []
    if (decision := answer.decision) is not None:
        ranked = sorted(decision.label_probabilities.items(), key=lambda item: -item[1])
        others = ", ".join(f"{name} {probability:.0%}" for name, probability in ranked if name != decision.label)
        own = decision.label_probabilities.get(decision.label)
        lines.append(f"{decision.label} ({f'{own:.0%}' if own is not None else 'no declared label'}; {others})")
    if answer.why is not None:
        lines.append(f"  -> for a person to decide: {DEFERRAL_REASONS[answer.why]}")
    if decision is not None:
        lines.append(f"  {decision.rationale or '(no rationale)'}")
    return "\n".join([*lines, *(f"  -> read with care: {remark}" for remark in answer.remarks())])


@app.command(epilog="Example: r2d evaluate --data configs/demo.yaml --out evaluated")
def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            help="Rows with columns id, text and label (.csv, .jsonl, .parquet), or a run configuration (.yaml): "
            "its test rows."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for metrics.json, predictions.parquet and report.html.", callback=out_folder),
    ],
    model: Model = CHAMPION,
    compare_with: Annotated[str | None, typer.Option(help="Another model, measured on the same rows.")] = None,
    seen_rows: Annotated[
        SeenRowsPolicy | None,
        typer.Option(help="Rows that the model was trained on, in place of evaluation.seen_rows."),
    ] = None,
    external: Annotated[
        str | None,
        typer.Option(
            help="Where the data come from, such as 'North Hospital, 2025', if not from where the model was trained: "
            "the page is titled an external validation and says so."
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Measure a model: labels, safety, calibration, rationales; metrics.json, predictions.parquet, report.html."""
    from mlops.page_origin import of_reference
    from r2d.evaluation.evaluate import Champion
    from r2d.reports.origin import pages_of
    from r2d.workflows import evaluate_to_folder

    folder = model_folder(model)
    champion = None if compare_with is None else Champion(compare_with, model_folder(compare_with))
    is_file = data.suffix.lower() not in (".yaml", ".yml")
    with keys_set_by_option("--data", model, is_file=is_file), pages_of(of_reference(model)):
        evaluation = evaluate_to_folder(
            folder,
            data,
            out,
            champion=champion,
            seen_rows=seen_rows,
            declared=parse_settings(settings or ()),
            prepare=lambda run: (without_forgotten(run), start_folder(run.model)),
            count_look=look_counter(model, folder),
            external=" ".join((external or "").split()) or None,
        )
    for sentence in evaluation.metrics.seen_sentences():
        typer.echo(sentence)
    overview = ", ".join(f"{name} {value:.3f}" for name, value in evaluation.overview().items())
    typer.echo(f"{evaluation.metrics.num_rows:,} rows: {overview}; read {out / 'report.html'}")


@app.command(epilog="Example: r2d predict-file calls.csv --out decided.xlsx --with-text")
def predict_file(
    calls: Annotated[
        Path, typer.Argument(help="Calls: a .csv, .xlsx, .jsonl or .parquet file, or a folder of Parquet files.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="The file to write: .parquet, or .csv or .xlsx for people. A killed run goes on by itself."),
    ],
    model: Model = CHAMPION,
    with_text: Annotated[bool, typer.Option("--with-text", help="Repeat the text of each call in the table.")] = False,
    id_column: Annotated[str, typer.Option(help="Column with the id of a call.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column with its text.")] = "text",
    options_column: Annotated[
        str | None, typer.Option(help="Column with the list of its options, for models trained with such rows.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="Of a CSV.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of a CSV or JSONL.")] = "utf-8",
    batch_size: Annotated[int, typer.Option(help="Calls decided at a time.")] = 32,
    rows_per_part: Annotated[int, typer.Option(help="Calls that a killed run loses at most.")] = 4096,
    settings: Settings = None,
) -> None:
    """Decide and explain a file of calls: label, probabilities, rationale, and whether a person should decide."""
    from r2d.inference.infer import infer_file
    from r2d.modeling.deferral import DEFERRAL_REASONS

    declared = parse_settings(settings or ())
    columns = {"id": id_column, "text": text_column, "options": options_column} | declared.pop("columns", {})
    values = {
        "data": {"path": str(calls), "columns": columns, "delimiter": delimiter, "encoding": encoding} | declared,
        "output": str(out),
        "with_text": with_text,
        "model": model,
        "batch_size": batch_size,
        "rows_per_part": rows_per_part,
    }
    with keys_set_by_option("CALLS", model, also=", and a column by --id-column or --text-column"):
        job = parse_section(InferenceConfig, values, where="r2d predict-file")
        result = infer_file(job, model_folder(job.model))
    reasons = "".join(
        f"\n  {count:,} {reason}: {DEFERRAL_REASONS[reason]}" for reason, count in result.why_handed_over.items()
    )
    typer.echo(
        f"{result.table or result.output}: {result.num_rows:,} calls by {result.model}, "
        f"{result.num_handed_over:,} handed over to a person{reasons}\n"
        f"{result.num_contradicted:,} rationales claim what their note denies, or deny what it reports; "
        f"{result.num_unmentioned:,} claim or deny what it does not mention; "
        f"{result.num_other_label:,} state another label than the one shown (column remarks)"
    )


@app.command(epilog="Example: r2d drift decided.parquet --calls calls.csv --out drifted")
def drift(
    predictions: Annotated[Path, typer.Argument(help="The output of `r2d predict-file`.")],
    out: Annotated[Path, typer.Option(help="Folder for drift.json and drift.html.", callback=out_folder)],
    model: Model = CHAMPION,
    calls: Annotated[Path | None, typer.Option(help="What was decided; without it no words are compared.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Another drift_reference.json than that of the model.")] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {DRIFTED} on drift, for triggers.")
    ] = False,
) -> None:
    """Compare decided calls with what the model was trained and evaluated on: drift.json, drift.html."""
    from mlops.alerts import calls_drifted
    from mlops.page_origin import of_reference, origin_now
    from mlops.watch import beat
    from r2d.drift.report import TITLES, report_drift
    from r2d.reports.origin import pages_of

    values = {
        "predictions": str(predictions),
        "calls": None if calls is None else str(calls),
        "model": model,
        "reference": None if reference is None else str(reference),
        "output": str(out),
    }
    job = parse_section(DriftConfig, values, where="r2d drift")
    with pages_of(origin_now() if job.reference else of_reference(job.model)):
        report, _ = report_drift(job, None if job.reference else model_folder(job.model))
    calls_drifted(report)
    for name, result in report.checks.items():
        typer.echo(f"{result.outcome:<12}  {TITLES[name]}: {result.sentence}")
    is_measured = any(result.outcome != "not measured" for result in report.checks.values())
    outcome = "drift" if report.drifted else "no drift" if is_measured else "drift could not be measured"
    beat("drift")
    typer.echo(f"{outcome} among {report.num_rows:,} calls; read {out / 'drift.html'}")
    if exit_code and report.drifted:
        raise typer.Exit(DRIFTED)


@app.command(epilog="Example: r2d monitor decided.parquet --outcomes outcomes.csv --out monitored")
def monitor(
    decided: Annotated[
        list[Path] | None,
        typer.Argument(help="Outputs of `r2d predict-file`, or audit logs of `r2d serve`; files or folders."),
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(help="Labels that came later: columns id (or example_id), label, maybe time, author.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for monitor.json and monitor.html.", callback=out_folder)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose labels and limits count.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A file such as configs/monitor.yaml; arguments and options go before it.")
    ] = None,
) -> None:
    """Hold decisions against the labels that came later: shares of errors by version, with a chart that alarms; exits
    with 3 on an alarm."""
    from mlops.alerts import errors_rose
    from mlops.page_origin import of_reference
    from mlops.watch import beat
    from r2d.monitoring.report import report_outcomes
    from r2d.reports.origin import pages_of

    values: dict[str, Any] = {} if config is None else dict(read_parameters(config))
    if outcomes is not None:
        values["outcomes"] = dict(values.get("outcomes") or {}) | {"path": str(outcomes)}
    given = {"decided": [str(path) for path in decided or ()] or None, "model": model, "output": out and str(out)}
    values |= {key: value for key, value in given.items() if value is not None}
    job = parse_section(MonitorConfig, values, where=str(config or "r2d monitor"))
    folder = model_folder(job.model)
    with pages_of(of_reference(job.model)):
        report, _ = report_outcomes(job, folder)
    errors_rose(report)
    for version in report.versions:
        for measure in version.measures.values():
            typer.echo(f"{measure.outcome:<16}  {version.model}: {measure.sentence}")
    beat("monitor")
    left_out = sum(report.left_out.values())
    typer.echo(
        f"{report.num_labelled:,} of {report.num_decided:,} decisions have an outcome ({left_out:,} rows and decisions "
        f"left out, by reason on the page); read {Path(job.output) / 'monitor.html'}"
    )
    if report.alarm:
        raise typer.Exit(ALARMED)
