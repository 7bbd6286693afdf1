"""The fields of a row made of the columns of a file: several texts as one, options, ids where a file has none, and
repeated rows of one id."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import RepeatsConfig
from r2d.config.files import MadeId, OptionsPattern, RowColumns
from r2d.errors import DataError
from r2d.text import first_of, plural

HASH_CHARACTERS = 16  # of an id that is made from a text: 64 bits


class RowShape:
    """Which columns are read for `id`, `text` and `options`, and how those fields are made of them."""

    def __init__(self, columns: RowColumns) -> None:
        self.columns = columns
        parts = {"id": () if isinstance(columns.id, MadeId) else columns.id, "text": columns.text}
        if columns.options is not None:
            parts["options"] = () if isinstance(columns.options, OptionsPattern) else columns.options
        self.fields = list(parts)
        self.sources: dict[str, str] = {}
        """Key, with a number where a field has several columns -> column."""
        for field, names in parts.items():
            numbered = {f"{field}.{number}": name for number, name in enumerate(names)}
            self.sources |= {field: names} if isinstance(names, str) else numbered

        self.num_empty = Counter[str]()  # column of a template -> rows with a text in which it is empty

    @property
    def is_plain(self) -> bool:
        """Whether each field is a column."""
        return list(self.sources) == self.fields

    def fields_of(self, values: Mapping[str, Any], row: int) -> dict[str, Any]:
        """The fields of a row.

        Args:
            values: key of `sources` -> value.
            row: counted from 1.
        """
        columns, made = self.columns, dict[str, Any]()
        if isinstance(columns.text, str):
            text, parts = values["text"], {columns.text: values["text"] or ""}
        else:
            parts = {name: values[f"text.{number}"] or "" for number, name in enumerate(columns.text)}
            text = "\n".join(part for part in parts.values() if part.strip()) or None
        if columns.text_template is not None and text is not None and text.strip():
            self.num_empty.update(name for name, part in parts.items() if not part.strip())
            text = re.sub(r"\{([^{}]*)\}", lambda match: parts[match.group(1)], columns.text_template)
        if not isinstance(columns.id, MadeId):
            made["id"] = values["id"]
        elif columns.id.source == "row":
            made["id"] = str(row)
        else:
            digest = hashlib.sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()
            made["id"] = digest[:HASH_CHARACTERS] if text and text.strip() else None
        made["text"] = text
        if isinstance(columns.options, OptionsPattern):
            found = re.finditer(columns.options.pattern, text or "")
            made["options"] = [match.group("option").strip() for match in found] or None
        elif isinstance(columns.options, tuple):
            cells = [values[f"options.{number}"] for number in range(len(columns.options))]
            made["options"] = [cell for cell in cells if cell and cell.strip()] or None
        elif columns.options is not None:
            made["options"] = values["options"]
        return made

    def template_notes(self) -> list[str]:
        """What there is to say of the rows that were made by a template, once all are."""
        return [
            f"text_template: column {name!r} is empty in {plural(count, 'row')}, where the words around it stay"
            for name, count in self.num_empty.items()
        ]

    def applied(self, table: pa.Table) -> tuple[pa.Table, list[str]]:
        """The table with the fields in place of their columns, and what there is to say of it."""
        if self.is_plain and self.columns.text_template is None:
            return table, []
        sources = table.select(list(self.sources)).to_pylist() if self.sources else [{}] * table.num_rows
        rows = [self.fields_of(values, row) for row, values in enumerate(sources, 1)]
        notes = []
        if isinstance(self.columns.id, MadeId):
            if self.columns.id.source == "row":
                notes.append("ids are the numbers of the rows: they change when rows are added before them")
            else:
                seen = Counter[str]()
                num_again = 0
                for fields in rows:
                    if fields["id"] is not None:
                        seen[fields["id"]] += 1
                        if seen[fields["id"]] > 1:
                            num_again += 1
                            fields["id"] += f"-{seen[fields['id']]}"
                notes.append(
                    f"ids are hashes of the texts; {plural(num_again, 'row repeats', 'rows repeat')} a text: "
                    "-2 and so on behind it"
                )
        for field in self.fields:
            kind = pa.list_(pa.string()) if field == "options" else pa.string()
            made = pa.array([fields[field] for fields in rows], kind)
            table = table.drop_columns([name for name in table.column_names if name.split(".")[0] == field])
            table = table.append_column(field, made)
        return table, notes + self.template_notes()


def repeats_columns(repeats: RepeatsConfig) -> dict[str, str]:
    """Key -> column that must be read to know which repeated row counts."""
    return {"repeats.instance": repeats.instance} | {f"repeats.rows.{column}": column for column in repeats.rows}


def without_repeats(
    table: pa.Table, places: Sequence[str], repeats: RepeatsConfig
) -> tuple[pa.Table, list[str], list[str]]:
    """One row for each id (or each instance, for `all`): table, places and what there is to say.

    Raises:
        DataError: an instance is no number, or no row has the wanted values.
    """
    rows: list[dict[str, str | None]] = table.to_pylist()
    by_id: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_id[(row["id"] or "").strip()].append(number)
    whole_number = re.compile(r"\s*(\d+(\.0+)?)?\s*")
    odd = [places[n] for n, row in enumerate(rows) if not whole_number.fullmatch(row["repeats.instance"] or "")]
    if odd:
        raise DataError(
            f"{plural(len(odd), 'row has', 'rows have')} no number in column {repeats.instance!r} "
            f"(data.repeats.instance): {first_of(odd)}; correct data.repeats.instance or the rows"
        )
    kept: list[tuple[int, dict[str, str | None]]] = []
    num_others = num_filled = 0
    for row_id, numbers in by_id.items():
        base = [n for n in numbers if not (rows[n]["repeats.instance"] or "").strip()]
        counting = numbers if len(base) == len(numbers) else [n for n in numbers if n not in base]
        for column, wanted in repeats.rows.items():
            counting = [n for n in counting if (rows[n][f"repeats.rows.{column}"] or "").strip() == wanted]
        chosen = list(_chosen(counting, rows, repeats.keep))
        for n in chosen:
            row = dict(rows[n])
            for other in base:
                for key, value in rows[other].items():
                    if not key.startswith("repeats.") and not (row[key] or "").strip() and (value or "").strip():
                        row[key] = value
                        num_filled += 1
            if repeats.keep == "all" and (instance := (row["repeats.instance"] or "").strip()):
                row["group"] = row.get("group") or row_id
                row["id"] = f"{row_id}-{int(float(instance))}"
            kept.append((n, row))
        num_others += len(numbers) - len(chosen)
    if not kept:
        raise DataError(f"no row has the values of data.repeats.rows {dict(repeats.rows)}; correct them")
    kept.sort(key=lambda pair: pair[0])
    names = [name for name in table.column_names if not name.startswith("repeats.")]
    names += ["group"] if repeats.keep == "all" and "group" not in names else []
    columns = {name: pa.array([row.get(name) for _, row in kept], pa.string()) for name in names}
    which = "every instance counts" if repeats.keep == "all" else f"of each id, instance {repeats.keep!r} counts"
    note = (
        f"repeated rows: {which}; {num_others:,} of {len(rows):,} rows left out, {num_filled:,} empty cells filled "
        "from rows without an instance"
    )
    return pa.table(columns), [places[n] for n, _ in kept], [note]


def _chosen(numbers: Sequence[int], rows: Sequence[Mapping[str, str | None]], keep: str | int) -> Iterator[int]:
    """The rows of one id that count."""
    instances = {n: int(float((rows[n]["repeats.instance"] or "").strip() or 1)) for n in numbers}
    ordered = sorted(numbers, key=instances.__getitem__)
    if keep == "all":
        yield from ordered
    elif isinstance(keep, int):
        yield from [n for n in ordered if instances[n] == keep][:1]
    elif ordered:
        yield ordered[0] if keep == "first" else ordered[-1]


def without_blank_rows(table: pa.Table, places: Sequence[str]) -> tuple[pa.Table, list[str], list[str]]:
    """The table without rows that are empty in every declared column, their places, and what there is to say."""
    if not table.num_rows or not pc.any(_is_blank(table[0])).as_py():
        return table, list(places), []
    blank = _is_blank(table[0])
    for name in table.column_names:
        column = table[name]
        is_list = not pa.types.is_string(column.type)
        blank = pc.and_(blank, column.is_null() if is_list else _is_blank(column))
    if not pc.any(blank).as_py():
        return table, list(places), []
    flags = blank.to_pylist()
    left_out = [place for place, flag in zip(places, flags, strict=True) if flag]
    kept = [place for place, flag in zip(places, flags, strict=True) if not flag]
    note = f"{plural(len(left_out), 'row')} without any value in the declared columns left out ({first_of(left_out)})"
    return table.filter(pc.invert(blank)), kept, [note]


def _is_blank(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.utf8_trim_whitespace(pc.fill_null(column, "")), "")
