"""Labels of several raters: how far people agree, the notes on which they do not, and how far one rater is from the
others beside the model.

All of it is computed from sums over rows, so that intervals draw patients: a pair of raters counts how often each pair
of labels occurs (Cohen's kappa), all raters together how often two labels meet in a row (the coincidences of
Krippendorff 2011, of which Fleiss' kappa of rows with equally many raters is a function too).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig, RatersConfig
from r2d.config.files import suffix_of
from r2d.data.labels import declared_labels, undeclared_rows
from r2d.data.readers.files import existing_file
from r2d.data.readers.rows import Format, stream_rows
from r2d.errors import DataError
from r2d.evaluation.bootstrap import Statistics, bootstrap_blocks, bootstrap_intervals, group_sums
from r2d.evaluation.judge.agreement import MIN_GROUPS
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.raters import AgreedNotes, RaterPair, RatersResult, RatersTogether, RaterVersusOthers
from r2d.label_scores import BoolArray, FloatArray, IntArray, cohen_kappa
from r2d.text import first_of

FORMATS: Mapping[str, Format] = {".csv": "csv", ".xlsx": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
NO_LABEL = -1
FEW = ("accuracy", "under_triage_rate", "over_triage_rate")


@dataclass(frozen=True, eq=False)
class RaterLabels:
    """The labels that raters gave to the rows that are measured."""

    file: str
    raters: Sequence[str]
    labels: IntArray
    """[rows, raters]: place of the label among the declared ones; `NO_LABEL` where the rater gave none."""
    num_other_rows: int
    """Rows of the file that are not measured."""

    @property
    def num_rated(self) -> int:
        """Rows with labels of two raters or more."""
        return int(((self.labels != NO_LABEL).sum(axis=1) > 1).sum())

    @classmethod
    def read(cls, config: RatersConfig, ids: Sequence[str], labels: LabelsConfig) -> RaterLabels:
        """Those of a file.

        Args:
            ids: of the rows that are measured, in their order.

        Raises:
            DataError: the file cannot be read, a label is not declared, a rater labelled a row twice, or no row that
                is measured has labels of two raters.
        """
        file = existing_file(config.file, "evaluation.raters.file")
        given = _labels_given(config, file)
        translated, _ = declared_labels([label for *_, label in given], labels)
        if fault := undeclared_rows(translated, labels):
            raise DataError(f"{file}: of the labels of raters {fault}. Mend them, or declare codes (data.labels.codes)")
        counts = Counter((row_id, rater) for _, row_id, rater, _ in given)
        if twice := [f"line {line}" for line, row_id, rater, _ in given if counts[row_id, rater] > 1]:
            raise DataError(
                f"{file}: {len(twice)} labels are of a rater who labelled the row more than once: {first_of(twice)}; "
                "keep one for each rater and row"
            )
        raters = sorted({rater for _, _, rater, _ in given})
        at, places = {row_id: row for row, row_id in enumerate(ids)}, {name: place for place, name in enumerate(raters)}
        table = np.full((len(ids), len(raters)), NO_LABEL)
        for (_, row_id, rater, _), label in zip(given, translated, strict=True):
            if row_id in at:
                table[at[row_id], places[rater]] = labels.names.index(label)
        if not ((table != NO_LABEL).sum(axis=1) > 1).any():
            num_rated = int((table != NO_LABEL).any(axis=1).sum())
            raise DataError(
                f"{file}: no row that is measured has labels of two raters ({len(given):,} labels by {len(raters)} "
                f"raters; {num_rated:,} of {len(ids):,} rows measured have one): raters who never label the same row "
                "cannot be compared. Let several label the same rows, check evaluation.raters.id, or remove "
                "evaluation.raters"
            )
        others = {row_id for _, row_id, *_ in given} - at.keys()
        return cls(str(file), raters, table, len(others))


def _labels_given(config: RatersConfig, file: Path) -> list[tuple[int, str, str, str]]:
    """(line, id, rater, label) of each label of a file; empty labels are none."""
    wide = {f"raters.columns.{name}": column for name, column in (config.columns or {}).items()}
    columns = {"raters.id": config.id} | (wide or {"raters.rater": config.rater, "raters.label": config.label})
    given = []
    try:
        for number, row in enumerate(stream_rows(file, columns, FORMATS[suffix_of(file)], config), 1):
            row_id, *values = [(value or "").strip() for value in row.values]
            cells = zip(config.columns, values, strict=True) if config.columns else [(values[0], values[1])]
            given += [(row.line or number, row_id, rater, label) for rater, label in cells if label]
    except DataError as error:  # the reader calls every column one of the data
        raise DataError(str(error).replace("data.columns.", "evaluation.")) from None
    return given


def raters_metrics(
    rated: RaterLabels, predictions: Predictions, statistics: LabelStatistics, interval: IntervalsConfig
) -> RatersResult:
    """Agreement of the raters, the model on notes that are agreed and disputed, and each rater beside the model against
    the other raters.

    Args:
        statistics: of the labels of the model.
    """
    return RatersResult(
        file=rated.file,
        num_raters=len(rated.raters),
        num_rated=rated.num_rated,
        num_other_rows=rated.num_other_rows,
        together=_together(rated, predictions, statistics.ordered, interval),
        pairs=_pairs(rated, predictions, statistics.ordered, interval),
        notes=_agreed_and_disputed(rated, predictions, statistics, interval),
        ceiling=_ceiling(rated, predictions, statistics.ordered, interval),
    )


def coincidences(labels: IntArray, num_labels: int) -> FloatArray:
    """[rows, labels, labels]: how often two labels of different raters meet in a row, each row weighing as many values
    as it has (Krippendorff 2011); zeros for a row with fewer than two.

    Args:
        labels: [rows, raters], `NO_LABEL` where there is none.
    """
    counts = (labels[..., None] == np.arange(num_labels)).sum(axis=1).astype(np.float64)
    of_row = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(num_labels)
    return pairs / np.maximum(of_row - 1, 1)[:, None, None]


def krippendorff_alpha(tables: FloatArray, *, ordinal: bool = False) -> FloatArray:
    """[...] of sums of coincidences [..., labels, labels]: 1 is perfect, 0 is chance. NaN where only one label occurs.

    The ordinal distance of two labels is the square of the values between them, half of each of the two counted
    (Krippendorff 2011).
    """
    values = tables.sum(-1)
    total = values.sum(-1)
    if ordinal:
        middle = values.cumsum(-1) - values / 2
        apart = (middle[..., :, None] - middle[..., None, :]) ** 2
    else:
        apart = np.broadcast_to(1 - np.eye(tables.shape[-1]), tables.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = (tables * apart).sum((-1, -2))
        expected = (values[..., :, None] * values[..., None, :] * apart).sum((-1, -2)) / (total - 1)
        return np.where(expected > 1e-12, 1 - observed / expected, np.nan)


def fleiss_kappa(tables: FloatArray) -> FloatArray:
    """[...] of sums of coincidences of rows with equally many raters (Fleiss 1971). NaN where only one label occurs."""
    values = tables.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = values.sum(-1)
        agreed = np.trace(tables, axis1=-2, axis2=-1) / total
        by_chance = ((values / total[..., None]) ** 2).sum(-1)
        return np.where(by_chance < 1 - 1e-12, (agreed - by_chance) / (1 - by_chance), np.nan)


def _together(rated: RaterLabels, predictions: Predictions, ordered: bool, interval: IntervalsConfig) -> RatersTogether:
    num = predictions.num_labels
    num_raters = (rated.labels != NO_LABEL).sum(axis=1)
    sizes = sorted(set(num_raters[num_raters > 1].tolist()))
    sums = _sums(coincidences(rated.labels, num).reshape(len(predictions), -1), num_raters > 1, predictions)

    def figures(sums: FloatArray) -> dict[str, FloatArray]:
        tables = sums.reshape(*sums.shape[:-1], num, num)
        found = {"alpha_nominal": krippendorff_alpha(tables)}
        if ordered:
            found["alpha_ordinal"] = krippendorff_alpha(tables, ordinal=True)
        return found | ({"fleiss_kappa": fleiss_kappa(tables)} if len(sizes) == 1 else {})

    return RatersTogether(fewest=sizes[0], most=sizes[-1], figures=_estimates(sums, figures, interval))


def _sums(columns: FloatArray, where: BoolArray, predictions: Predictions) -> FloatArray:
    """[groups that have a row, columns]: sums over the rows of `where`."""
    _, groups = np.unique(predictions.groups[where], return_inverse=True)
    return group_sums(columns[where].astype(np.float64), groups, int(groups.max()) + 1)


def _estimates(
    sums: FloatArray, figures: Statistics, interval: IntervalsConfig, trials: Mapping[str, int] | None = None
) -> dict[str, IntervalEstimate]:
    """With intervals where there are `MIN_GROUPS` patients or more: few of them agree by luck."""
    found = bootstrap_intervals(sums, figures, interval, trials)
    return found if len(sums) >= MIN_GROUPS else {name: IntervalEstimate(one.value) for name, one in found.items()}


def _pairs(
    rated: RaterLabels, predictions: Predictions, ordered: bool, interval: IntervalsConfig
) -> tuple[RaterPair, ...]:
    num = predictions.num_labels
    places = np.arange(num, dtype=np.float64)
    distance = (places[:, None] - places) ** 2

    def figures(sums: FloatArray) -> dict[str, FloatArray]:
        tables = sums.reshape(*sums.shape[:-1], num, num)
        with np.errstate(invalid="ignore", divide="ignore"):
            same = np.trace(tables, axis1=-2, axis2=-1) / tables.sum((-1, -2))
        found = {"same": same, "kappa": cohen_kappa(tables)}
        return found | ({"weighted_kappa": cohen_kappa(tables, distance)} if ordered else {})

    pairs = []
    for one, other in combinations(range(len(rated.raters)), 2):
        both = (rated.labels[:, [one, other]] != NO_LABEL).all(axis=1)
        estimates = {}
        if both.any():
            cells = np.eye(num * num)[rated.labels[:, one] * num + rated.labels[:, other]]
            sums = _sums(cells, both, predictions)
            estimates = _estimates(sums, figures, interval, {"same": len(sums)})
        names = rated.raters[one], rated.raters[other]
        pairs.append(RaterPair(first=names[0], second=names[1], num_rows=int(both.sum()), figures=estimates))
    return tuple(pairs)


def _agreed_and_disputed(
    rated: RaterLabels, predictions: Predictions, statistics: LabelStatistics, interval: IntervalsConfig
) -> dict[str, AgreedNotes]:
    """The model, against the reference, on notes to which all raters gave one label, and on the others."""
    labels = np.where(rated.labels == NO_LABEL, predictions.num_labels, rated.labels)
    several = (rated.labels != NO_LABEL).sum(axis=1) > 1
    agreed = several & (rated.labels.max(axis=1) == labels.min(axis=1))
    parts = {"agreed": agreed, "disputed": several & ~agreed}
    parts = {name: where for name, where in parts.items() if where.any()}
    blocks = [statistics.sums(predictions, where) for where in parts.values()]

    def few(sums: FloatArray) -> dict[str, FloatArray]:
        figures = statistics(sums)
        return {name: figures[name] for name in FEW if name in figures}

    trials = [{name: count for name, count in statistics.trials(sums).items() if name in FEW} for sums in blocks]
    estimates = bootstrap_blocks(np.stack(blocks, axis=1), few, interval, trials)
    return {
        name: AgreedNotes(num_rows=int(where.sum()), figures=of_part)
        for (name, where), of_part in zip(parts.items(), estimates, strict=True)
    }


def _ceiling(
    rated: RaterLabels, predictions: Predictions, ordered: bool, interval: IntervalsConfig
) -> tuple[RaterVersusOthers, ...]:
    """Each rater, then all of them, against the label that most of the others gave, and the model against the same."""
    num, others = predictions.num_labels, []
    counts = (rated.labels[..., None] == np.arange(num)).sum(axis=1)
    for rater in range(len(rated.raters)):
        own = rated.labels[:, rater]
        left = counts - (own[:, None] == np.arange(num))
        is_clear = (left == left.max(axis=1, keepdims=True)).sum(axis=1) == 1  # a tie of the others decides nothing
        where = (own != NO_LABEL) & (left.sum(axis=1) > 0) & is_clear
        others.append((own, left.argmax(axis=1), where))

    def columns(own: IntArray, reference: IntArray) -> list[FloatArray]:
        kinds = [own == reference, own > reference, own < reference]
        return [kind.astype(np.float64) for kind in (kinds if ordered else kinds[:1])]

    names = ("accuracy", "under_triage_rate", "over_triage_rate")[: 3 if ordered else 1]

    def figures(sums: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = sums[..., 1:] / sums[..., :1]
        rater, model = np.split(shares, 2, axis=-1)
        found = {f"rater:{name}": rater[..., place] for place, name in enumerate(names)}
        found |= {f"model:{name}": model[..., place] for place, name in enumerate(names)}
        return found | {f"difference:{name}": (model - rater)[..., place] for place, name in enumerate(names)}

    blocks = [
        np.column_stack([np.ones(len(own)), *columns(own, reference), *columns(predictions.predicted, reference)])
        * where[:, None]
        for own, reference, where in others
    ]
    blocks = [block for block, (*_, where) in zip(blocks, others, strict=True) if where.any()]
    kept = [name for name, (*_, where) in zip(rated.raters, others, strict=True) if where.any()]
    if not blocks:
        return ()
    blocks.append(np.sum(blocks, axis=0))
    sums = group_sums(np.stack(blocks, axis=1), predictions.groups, predictions.num_groups)
    trials = [
        {f"{who}:{name}": int((sums[:, place, 0] > 0).sum()) for who in ("rater", "model") for name in names}
        for place in range(len(blocks))
    ]
    results = []
    for place, estimates in enumerate(bootstrap_blocks(sums, figures, interval, trials)):
        of = {who: {name: estimates[f"{who}:{name}"] for name in names} for who in ("rater", "model", "difference")}
        results.append(
            RaterVersusOthers(
                rater=kept[place] if place < len(kept) else None,
                num_labels=int(sums[:, place, 0].sum()),
                by_rater=of["rater"],
                by_model=of["model"],
                difference=of["difference"],
            )
        )
    return tuple(results)
