"""Labels that reviewers gave (`data.reviewed`), laid over the training rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.data.examples import Example, iterate_examples, to_table, with_columns
from r2d.data.forgotten import Forgotten
from r2d.data.readers.files import existing_file
from r2d.data.readers.rows import column_names
from r2d.data.reading import Reading, set_aside_rows, with_set_aside
from r2d.errors import DataError
from r2d.text import first_of, from_no_formula, normalise_label, plural, show_name

logger = logging.getLogger(__name__)

COLUMNS = ("id", "text", "label", "author", "time")


def reviewed_config(path: str, labels: LabelsConfig, forgotten: tuple[str, ...]) -> DataConfig:
    """How a `reviewed.csv` is read; its reviewers and times come as attributes.

    Raises:
        DataError: it is not there, or is another file.
    """
    columns = {"attributes": {"author": "author", "time": "time"}}
    config = DataConfig.model_validate(
        {"format": "csv", "path": path, "labels": labels, "columns": columns, "forgotten": forgotten}
    )
    file = existing_file(path, "data.reviewed")
    if missing := [name for name in COLUMNS if name not in column_names(file, "csv", config)]:
        raise DataError(
            f"data.reviewed {path}: lacks the columns {missing}; give the reviewed.csv that `r2d review export` wrote"
        )
    return config


def with_reviews(examples: pa.Table, reviews: pa.Table) -> pa.Table:
    """The examples with the labels of reviewers.

    A training row with a reviewed id and text gets the reviewer's label. A row of another split keeps its own:
    reviewers look at what a model found hard, so correcting those rows alone would favour that model. A reviewed row
    with an id of its own is added to the training rows, with a `row` below 0. Where reviewers gave one row different
    labels, none of them is taken; nor is a label of another text with the id of a row, since the id then means another
    call. The notes of the table's `Reading` count all of this, and `place` names reviewers and times.

    Args:
        examples: every row of the data, with its split.
        reviews: the rows of `reviewed.csv`, a table of `EXAMPLES_SCHEMA` with the attributes `author` and `time`.
    """
    given: dict[str, list[Example]] = {}
    for review in iterate_examples(reviews):
        row_id = from_no_formula(review.id).strip()
        given.setdefault(row_id, []).append(replace(review, id=row_id, text=from_no_formula(review.text)))
    others = [row_id for row_id, same in given.items() if len({normalise_label(row.text) for row in same}) > 1]
    for row_id in others:
        del given[row_id]
    agreed = {row_id: same for row_id, same in given.items() if len({normalise_label(row.label) for row in same}) == 1}
    num_disagreements, num_held_out, num_changed = len(given) - len(agreed), 0, 0
    labels, places = examples["label"].to_pylist(), examples["place"].to_pylist()
    rows = zip(*(examples[name].to_pylist() for name in ("id", "split", "text")), strict=True)
    for at, (row_id, split, text) in enumerate(rows):
        same = agreed.pop(row_id, None)
        if same is None:
            continue
        if normalise_label(same[0].text) != normalise_label(text):
            others.append(row_id)
        elif split != "train":
            num_held_out += 1
        else:
            num_changed += same[0].label != labels[at]
            labels[at], places[at] = same[0].label, f"{places[at]}; label: {_place(same)}"
    added = [
        replace(same[0], split="train", attributes={}, place=_place(same), row=-1 - number)
        for number, same in enumerate(agreed.values())
    ]
    reading = Reading.of(examples)
    reading.num_added = len(added)
    reading.notes.append(
        f"reviews: {plural(len(added), 'row')} added to the training rows, {plural(num_changed, 'label')} of "
        f"training rows changed; {plural(num_held_out, 'reviewed row')} of other splits keep their labels, and "
        f"{num_disagreements:,} on which reviewers differ are left as they are"
    )
    if others:
        sentence = (
            f"reviews: {plural(len(others), 'id')} of another text than in the data, whose label is not taken: "
            f"{first_of(list(map(show_name, others)))}; give each call an id of its own"
        )
        logger.warning("data.reviewed: %s", sentence)
        reading.notes.append(sentence)
    table = with_columns(examples, label=labels, place=places)
    table = pa.concat_tables([table, to_table(added)]).combine_chunks()
    table = Forgotten.of(examples, ()).attached_to(table)
    return reading.attached_to(with_set_aside(table, set_aside_rows(examples)))


def _place(same: Sequence[Example]) -> str:
    """Where reviews that agree stand, who gave them and when."""
    places = []
    for review in same:
        author = from_no_formula(review.attributes.get("author", "nobody named"))
        places.append(f"{review.place}, by {author}, {review.attributes.get('time', 'at no time')}")
    return "; ".join(places)
