"""Rows as the text of a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def as_csv(rows: Sequence[Mapping[str, Any]], *, header: bool = True, **options: Any) -> str:
    """The header is that of the first row.

    Args:
        options: of `csv.DictWriter`, such as `delimiter`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), **options)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
