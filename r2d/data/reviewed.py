"""Labels that reviewers gave (`data.reviewed`), laid over the training rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.data.examples import EXAMPLES_SCHEMA, with_columns
from r2d.data.forgotten import Forgotten
from r2d.data.readers.files import existing_file
from r2d.data.readers.rows import column_names
from r2d.data.reading import Reading
from r2d.errors import DataError
from r2d.text import normalise_label

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

    A training row with a reviewed id gets the reviewer's label. A row of another split keeps its own: reviewers look at
    what a model found hard, so correcting those rows alone would favour that model. A reviewed row with an id of its
    own is added to the training rows. Where reviewers gave one row different labels, none of them is taken. The notes
    of the table's `Reading` count all of this, and `place` names reviewer and time.

    Args:
        examples: every row of the data, with its split.
        reviews: the rows of `reviewed.csv`, a table of `EXAMPLES_SCHEMA` with the attributes `author` and `time`.
    """
    given: dict[str, list[dict[str, Any]]] = {}
    for review in reviews.to_pylist():
        given.setdefault(review["id"], []).append(review)
    agreed = {
        row_id: same[-1] for row_id, same in given.items() if len({normalise_label(row["label"]) for row in same}) == 1
    }
    num_disagreements, num_held_out, num_changed = len(given) - len(agreed), 0, 0
    labels, places = examples["label"].to_pylist(), examples["place"].to_pylist()
    for at, (row_id, split) in enumerate(zip(examples["id"].to_pylist(), examples["split"].to_pylist(), strict=True)):
        review = agreed.pop(row_id, None)
        if review is None:
            continue
        if split != "train":
            num_held_out += 1
            continue
        num_changed += review["label"] != labels[at]
        labels[at], places[at] = review["label"], f"{places[at]}; label: {_place(review)}"
    left_out = Forgotten.of(examples, ())
    offset = len(examples) + len(left_out.rows)
    added = [
        review | {"split": "train", "attributes": [], "place": _place(review), "row": offset + number}
        for number, review in enumerate(agreed.values())
    ]
    reading = Reading.of(examples)
    reading.notes.append(
        f"reviews: {len(added):,} row(s) added to the training rows, {num_changed:,} label(s) of training rows "
        f"changed; {num_held_out:,} reviewed row(s) of other splits keep their labels, and {num_disagreements:,} on "
        "which reviewers differ are left as they are"
    )
    table = with_columns(examples, label=labels, place=places)
    table = pa.concat_tables([table, pa.Table.from_pylist(added, schema=EXAMPLES_SCHEMA)]).combine_chunks()
    return reading.attached_to(left_out.attached_to(table))


def _place(review: dict[str, Any]) -> str:
    """Where a review stands, who gave it and when."""
    said = dict(review["attributes"])
    return f"{review['place']}, by {said.get('author', 'nobody named')}, {said.get('time', 'at no time')}"
