"""The workflows of the command line: from a run configuration to a folder of results, without an orchestrator.

Each writes its result last, and removes an older one first, so that a result fits the files beside it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import LABEL, EvaluationConfig, SeenRowsPolicy
from r2d.config.loading import load_config
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import EndpointSource
from r2d.config.run import RunConfig
from r2d.config.serving import Quantization
from r2d.data.examples import groups_of, shown_splits, split_of
from r2d.data.fingerprint import data_fingerprint, require_data_files
from r2d.data.load import load_examples, load_labelled_file
from r2d.data.readers.tables import local_dataset_folder
from r2d.data.validation.expectations import write_data_docs
from r2d.data.validation.report import render_data_report
from r2d.data.validation.validate import Validation, validate
from r2d.errors import ConfigError
from r2d.evaluation.sections.estimates import CHOOSING_SPLITS
from r2d.files import write_json, write_parquet, write_text
from r2d.modeling.load import count_tokens
from r2d.modeling.seen_rows import require_unseen_test
from r2d.rationales.ingest import Coverage, Ingestion, ingest
from r2d.rationales.sources import source_files
from r2d.reports.origin import current_origin, pages_of
from r2d.text import first_of, plural, show_name

if TYPE_CHECKING:
    from r2d.evaluation.evaluate import Champion, Evaluation
    from r2d.evaluation.export_cost import ExportCost
    from r2d.evaluation.looks import CountLook
    from r2d.modeling.backends.exported import EngineFacts


def validate_to_folder(run: RunConfig, out: Path, *, start_folder: Path | None = None) -> Validation:
    """Load and validate; write `examples.parquet`, `quarantine.parquet`, `findings.parquet`, `report.html`, suites and
    results of Great Expectations (`expectation_suites.json`, `expectation_results.json`, pages in `data_docs/`) and,
    last, `result.json`. A broken contract is written too; the caller decides whether it stops.

    Raises:
        DataError: the data cannot be read.
    """
    validation = validated(run, start_folder)
    with _pages_of_data(run.data):
        report = render_data_report(
            validation,
            privacy=run.validation.privacy,
            source={"source": run.data.path or run.data.format},
            synthetic=run.data.format == "synthetic_triage",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").unlink(missing_ok=True)
    write_json(out / "expectation_suites.json", validation.expectation_suites())
    write_json(out / "expectation_results.json", validation.expectation_results())
    write_data_docs(validation.suites, out / "data_docs")
    tables = {"examples": validation.examples, "quarantine": validation.quarantined, "findings": validation.findings}
    _write(out, tables, report, validation.result())
    return validation


def ingest_to_folder(run: RunConfig, out: Path, *, start_folder: Path | None = None) -> Ingestion:
    """Load, validate, ingest; write `examples.parquet` (that of Stage 2, with all sources in `rationales`),
    `rejected.parquet`, `provenance.parquet`, `report.html` and, last, `result.json`. Answers of an endpoint are
    kept below `out`, so that a second call asks for nothing twice. All is written even where no rationale is left.

    Raises:
        DataError: the data or a source cannot be read, or the data contract is broken.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    from r2d.rationales.report import render_ingestion_report

    ingestion = _ingested(_usable(run, start_folder), run, out)
    tables = {"examples": ingestion.examples, "rejected": ingestion.rejected, "provenance": ingestion.provenance}
    stages: dict[str, Coverage] = {}
    try:
        chosen = ingestion.select(run.rationales)
        tables |= {"examples": chosen.stage2, "provenance": chosen.provenance}
        stages = chosen.coverage
    finally:
        is_synthetic = run.data.format == "synthetic_triage"
        with _pages_of_data(run.data):
            report = render_ingestion_report(
                ingestion, stages=stages, privacy=run.validation.privacy, synthetic=is_synthetic
            )
        _write(out, tables, report, ingestion.result() | {"stages": stages})
    return ingestion


def check_files(run: RunConfig, *, start_folder: Path | None = None) -> list[str]:
    """Open the files of a run as the run itself would, and return what there is to say of them.

    Every row is read and held against the data contract, and every record of a source is joined and parsed. An endpoint
    is not asked, and a data set of the hub is not fetched.

    Raises:
        DataError: what the first steps of the run would raise: a file cannot be read, the data contract is broken, the
            model of the run would have seen test rows, or no record of a selected source can be used.
    """
    if run.data.format == "huggingface" and local_dataset_folder(run.data) is None:
        return ["the data set of the hub was not fetched"]
    require_data_files(run.data, source_files(run.rationales.sources))
    validation = _usable(run, start_folder)
    splits = Counter(validation.examples["split"].to_pylist())
    divided = ", ".join(f"{splits[split]:,} {split}" for split in shown_splits(splits))
    lines = [f"{validation.num_rows:,} rows: {divided}", *_choosing_rows(run, validation.examples)]
    lines += validation.reading.notes
    if len(validation.quarantined):
        lines.append(f"{plural(len(validation.quarantined), 'quarantined row')}; `r2d validate` shows which")
    lines += [f"warning: {check.line()}" for check in validation.warnings]
    if run.evaluation.raters is not None:
        from r2d.evaluation.raters import RaterLabels

        test = split_of(validation.examples, "test")["id"].to_pylist()
        rated = RaterLabels.read(run.evaluation.raters, test, run.data.labels)
        lines.append(f"{len(rated.raters)} raters: {plural(rated.num_rated, 'test row')} labelled by two or more")
    if run.evaluation.stress is not None:
        from r2d.evaluation.run import evaluated_rows
        from r2d.evaluation.stress import StressTests
        from r2d.rationales.claims import ClaimChecker

        rows, claims = evaluated_rows(validation.examples, run.evaluation.max_rows), run.evaluation.claims
        checker = ClaimChecker.of(claims.findings_file, claims.negation_file)
        stress = StressTests.of(run.evaluation.stress, rows, checker, run.data.labels)
        lines.append(
            f"{plural(len(stress.applied), 'edit')} of notes, each of which applies to a test row: at most "
            f"{stress.num_decisions:,} decisions"
        )
    asked = {name for name, source in run.rationales.sources.items() if isinstance(source, EndpointSource)}
    sources = {name: source for name, source in run.rationales.sources.items() if name not in asked}
    rationales = run.rationales.model_copy(update={"sources": sources})
    with tempfile.TemporaryDirectory(prefix="r2d-check-") as work_dir:
        ingestion = _ingested(validation, run.model_copy(update={"rationales": rationales}), Path(work_dir))
    lines += [f"rationales {name}: {counts.summary()}" for name, counts in ingestion.counts().items()]
    lines += [f"rationales {name}: an endpoint, which was not asked" for name in sorted(asked)]
    if not asked & set(rationales.selected()):
        ingestion.select(rationales)
    return lines


def evaluate_to_folder(
    model_folder: Path,
    data: Path,
    out: Path,
    *,
    champion: Champion | None = None,
    seen_rows: SeenRowsPolicy | None = None,
    declared: Mapping[str, object] = MappingProxyType({}),
    prepare: Callable[[RunConfig], tuple[RunConfig, Path | None]] = lambda run: (run, None),
    count_look: CountLook | None = None,
    external: str | None = None,
) -> Evaluation:
    """Measure a model folder; write `predictions.parquet`, `report.html`, `judge_scores.parquet` where a judge is
    configured, `calibration.json` where temperature and threshold were found, and, last, `metrics.json`.

    Args:
        data: a file of labelled rows (`load_labelled_file`), or a run configuration (.yaml), whose data, rationales,
            validation and evaluation are taken.
        champion: another model, measured on the same rows.
        prepare: returns a run configuration as it is to be read, and the folder of the registered model it starts from.
        seen_rows: in place of `evaluation.seen_rows`.
        declared: keys of section `data` that say how a file of labelled rows is read.
        count_look: writes down that the test set was looked at, before it is.
        external: where the data come from, of an external validation.

    Raises:
        ConfigError, DataError, ModelError: the configuration, the data or the model cannot be used.
    """
    from r2d.evaluation.calibration import calibration_of
    from r2d.evaluation.evaluate import evaluate
    from r2d.modeling.model_folder import write_calibration

    rows = _rows_to_measure(model_folder, data, out, declared, prepare)
    settings = rows.evaluation
    if seen_rows is not None:
        settings = settings.model_copy(update={"seen_rows": seen_rows})
    with _pages_of_data(rows.data):
        evaluation = evaluate(
            rows.examples, model_folder, config=settings, data=rows.data, champion=champion, privacy=rows.privacy,
            work_dir=out, count_look=count_look, external=external, judge_remarks=rows.judge_remarks,
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    if (calibration := calibration_of(evaluation.metrics)) is not None:
        write_calibration(out, calibration)
    tables = {"predictions": evaluation.predictions}
    if settings.judge:
        tables["judge_scores"] = evaluation.judgement.scores
    _write(out, tables, evaluation.report, evaluation.metrics.to_json(), name="metrics.json")
    return evaluation


class _RowsToMeasure(NamedTuple):
    """Rows that a model can be measured on, and how."""

    examples: pa.Table
    data: DataConfig
    evaluation: EvaluationConfig
    privacy: PrivacyConfig
    judge_remarks: Sequence[str] = ()


def _rows_to_measure(
    model_folder: Path,
    data: Path,
    work_dir: Path,
    declared: Mapping[str, object],
    prepare: Callable[[RunConfig], tuple[RunConfig, Path | None]],
) -> _RowsToMeasure:
    """As `evaluate_to_folder` takes them."""
    from r2d.modeling.model_folder import read_model_facts

    labels = read_model_facts(model_folder).labels
    if data.suffix.lower() not in (".yaml", ".yml"):
        return _RowsToMeasure(*load_labelled_file(data, labels, declared), EvaluationConfig(), PrivacyConfig())
    run, start_folder = prepare(load_config(data))
    if declared:
        raise ConfigError(f"{data}: is a run configuration; write the keys of data there, and leave --set out")
    if not run.data.labels.decide_alike(labels):
        raise ConfigError(
            f"{data}: data.labels are {_label_text(run.data.labels)}, the model decides between "
            f"{_label_text(labels)}; give data with the labels of the model"
        )
    examples = _ingested(_usable(run, start_folder), run, work_dir).select(run.rationales).stage2
    return _RowsToMeasure(examples, run.data, run.evaluation, run.validation.privacy, run.judge_remarks())


def export_to_folder(
    model_folder: Path,
    out: Path,
    *,
    name: str,
    quantization: Quantization = "none",
    data: Path | None = None,
    declared: Mapping[str, object] = MappingProxyType({}),
    prepare: Callable[[RunConfig], tuple[RunConfig, Path | None]] = lambda run: (run, None),
    count_look: CountLook | None = None,
) -> tuple[EngineFacts, ExportCost | None]:
    """Export a model for CTranslate2, and measure what that costs; the folder holds a card, and `cost.json`.

    Args:
        name: of the model, for the card.
        data, declared, prepare, count_look: as of `evaluate_to_folder`; without data nothing is measured.

    Raises:
        ConfigError, DataError, ModelError: the data or the model cannot be used; then nothing is left at `out`.
    """
    from r2d.evaluation.export_cost import COST_FILE, measure_cost
    from r2d.evaluation.looks import hash_of_test_set
    from r2d.evaluation.run import EvaluationRun, evaluated_rows
    from r2d.evaluation.unseen import unseen_rows
    from r2d.model_card import export_card
    from r2d.modeling.backends.exported import export_model

    cost: ExportCost | None = None

    def describe(folder: Path, facts: EngineFacts) -> None:
        nonlocal cost
        if data is not None:
            with tempfile.TemporaryDirectory(prefix="r2d-export-") as work_dir:
                rows = _rows_to_measure(model_folder, data, Path(work_dir), declared, prepare)
            kept = unseen_rows(rows.examples, model_folder, None, rows.evaluation, rows.privacy).kept
            if count_look is not None:
                count_look(hash_of_test_set(evaluated_rows(rows.examples, rows.evaluation.max_rows)), name)
            cost = measure_cost(
                model_folder, folder, EvaluationRun(rows.examples, rows.data.labels, rows.evaluation, kept)
            )
            write_json(folder / COST_FILE, asdict(cost))
        write_text(folder / "README.md", export_card(name, facts, cost))

    return export_model(model_folder, out, quantization=quantization, describe=describe), cost


def write_batch_requests(run: RunConfig, source_name: str, path: Path, *, start_folder: Path | None = None) -> int:
    """Write the requests of an endpoint source as an OpenAI Batch input file, and return how many they are.

    Raises:
        ConfigError: there is no endpoint source of that name.
        DataError: the data cannot be read, or the data contract is broken.
    """
    from r2d.rationales.generation import write_batch_input

    source = run.rationales.sources.get(source_name)
    if not isinstance(source, EndpointSource):
        endpoints = [name for name, other in run.rationales.sources.items() if isinstance(other, EndpointSource)]
        raise ConfigError(
            f"rationales.sources has no endpoint source {source_name!r}; found {endpoints or 'none'}: "
            "declare one with format: endpoint, or name it"
        )
    validation = _usable(run, start_folder)
    return write_batch_input(validation.examples, source, run.data.labels.names, path)


def validated(run: RunConfig, start_folder: Path | None = None) -> Validation:
    """Load and validate the data of a run, with the tokenizer of a registered start model where its folder is given."""
    return validate(
        load_examples(run.data),
        run.validation,
        labels=run.data.labels,
        count_tokens=partial(count_tokens, model=run.model, labels=run.data.labels, start_folder=start_folder),
    )


def require_usable(validation: Validation, run: RunConfig, start_folder: Path | None = None) -> None:
    """Stop where the data contract is broken, or where the model of the run would have seen test rows."""
    validation.raise_for_errors()
    refuse = run.evaluation.seen_rows == "refuse"
    require_unseen_test(validation.examples, start_folder, name=run.model.name, refuse=refuse)


def _choosing_rows(run: RunConfig, examples: pa.Table) -> list[str]:
    """How many rows and groups there are to choose the threshold, beside how many it needs."""
    if run.threshold_needs() is None:
        return []
    split = next((name for name in CHOOSING_SPLITS if len(split_of(examples, name))), CHOOSING_SPLITS[-1])
    rows, parts = split_of(examples, split), run.threshold_parts()
    groups, per = groups_of(rows), parts.per
    line = f"the threshold is chosen by {len(groups):,} {split} rows of {plural(len(set(groups)), 'group')}"
    least, few = parts.least_rows(), "no label would be shown"
    if len(set(groups)) < least:
        return [f"warning: {line}, too few: even without an error {least:,} groups are needed, so {few}"]
    if per in (None, LABEL):
        return [line]
    of_value: dict[str, set[str]] = {}
    for pairs, group in zip(rows["attributes"].to_pylist(), groups, strict=True):
        if value := dict(pairs).get(per):
            of_value.setdefault(value, set()).add(group)
    least = parts.for_parts(max(1, len(of_value))).least_rows()
    short = [show_name(value) for value, of in sorted(of_value.items()) if len(of) < least]
    if not short:
        return [line]
    common = "that of all rows holds there" if parts.too_few == "common" else f"{few} there"
    return [
        line,
        f"warning: the threshold of each {per} needs {least:,} groups even without an error, for all at once; fewer "
        f"have {first_of(short)}, so {common}",
    ]


def _usable(run: RunConfig, start_folder: Path | None) -> Validation:
    validation = validated(run, start_folder)
    require_usable(validation, run, start_folder)
    return validation


def _ingested(validation: Validation, run: RunConfig, out: Path) -> Ingestion:
    return ingest(
        validation.examples,
        run.rationales,
        data=run.data,
        privacy=run.validation.privacy,
        work_dir=out,
        quarantined=validation.quarantined,
    )


def _pages_of_data(data: DataConfig) -> AbstractContextManager[None]:
    """Pages that are rendered within name these data."""
    return pages_of(replace(current_origin(), data_sha256=data_fingerprint(data)))


def _label_text(labels: LabelsConfig) -> str:
    if labels.per_row:
        return "options of the rows"
    return ", ".join(labels.names) + (" (ordered)" if labels.ordered else "")


def _write(
    out: Path, tables: Mapping[str, pa.Table], report: str, result: Mapping[str, object], *, name: str = "result.json"
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / name).unlink(missing_ok=True)
    for table_name, table in tables.items():
        write_parquet(out / f"{table_name}.parquet", table)
    write_text(out / "report.html", report + "\n")
    write_json(out / name, result)
