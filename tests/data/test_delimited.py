"""Delimited text through its three doors, notes, calls and tables of rationales: what it holds is read, or the file is
refused with the lines named; nothing is swallowed, and no cell is shown."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.jobs import CallsConfig
from r2d.config.rationales import CsvSource
from r2d.data.load import load_examples, load_labelled_file
from r2d.data.reading import Reading
from r2d.errors import DataError
from r2d.inference.calls import read_calls, scan_calls
from r2d.rationales.readers.written import read_table
from tests.data.messages import message_of

LABELS = ("now", "later")
WORDS = "the knee of Mrs Sample swells since the fall and hurts at night"


def rows_of(num_rows: int = 40) -> list[list[str]]:
    return [[f"k-{n:03d}", f"{WORDS} {n}", LABELS[n % 2], f"swelling after a fall {n}"] for n in range(num_rows)]


def text_of(rows: list[list[str]], delimiter: str = ",", header: str = "id,text,label,why") -> str:
    """Without any quotes, as many exports write it."""
    lines = [header.replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def read_notes(path: Path, **values: Any) -> list[tuple[str, str]]:
    config = DataConfig(
        format="csv", path=str(path), labels={"names": LABELS}, columns={"rationales": {"nurse": "why"}}, **values
    )
    table = load_examples(config)
    return list(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


def read_incoming(path: Path, **values: Any) -> list[tuple[str, str]]:
    scan_calls(CallsConfig(path=str(path), format="csv", **values))
    return [(str(call.id), str(call.text)) for call in read_calls(CallsConfig(path=str(path), format="csv", **values))]


def read_written(path: Path, **values: Any) -> list[tuple[str, str]]:
    columns = {"example_column": "id", "rationale_column": "text", "label_column": "label"}
    records = read_table("nurse", CsvSource(format="csv", paths=[str(path)], **columns, **values))
    return [(str(record.example_id), str(record.rationale)) for record in records if record.reason is None]


DOORS: list[Callable[..., list[tuple[str, str]]]] = [read_notes, read_incoming, read_written]


def refusal(read: Callable[..., Any], path: Path, **values: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **values)
    assert "knee" not in str(caught.value)
    assert "Sample" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("delimiter", [",", "\t", "|", ";"])
@pytest.mark.parametrize("last", [8, 5])
def test_a_stray_quote_that_closes_rows_later_is_named_by_its_lines_and_read_without_quoting(
    tmp_path: Path, read: Callable[..., Any], delimiter: str, last: int
) -> None:
    rows = rows_of()
    rows[4][1] = f'"Ouch {rows[4][1]}'
    rows[last][1] = f'{rows[last][1]} a cut of 3"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows, delimiter))
    message = refusal(read, path, delimiter=delimiter)
    lines = f"lines 7 to {last + 2} in a field of line 6"
    assert f"1 field swallows lines that read as records of their own: {lines}" in message
    assert "quoting: none where quotes are letters" in message
    assert read(path, delimiter=delimiter, quoting="none") == [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("read", DOORS)
def test_quotes_that_two_rows_lost_between_them_swallow_none(tmp_path: Path, read: Callable[..., Any]) -> None:
    """The first has lost its closing quote and the second its opening one; the second has commas in its text."""
    rows = rows_of()
    rows[4][1], rows[5][1] = f'"{rows[4][1]}', f'she fell, twice, at night {rows[5][1]}"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    assert "lines 7 to 7 in a field of line 6" in refusal(read, path)


def test_a_row_that_is_swallowed_beside_lines_that_are_none_is_found(tmp_path: Path) -> None:
    """Between the quotes stand a note of several lines, whole, and rows."""
    rows = rows_of()
    rows[4][1], rows[5][1], rows[8][1] = f'"{rows[4][1]}', f'""{rows[5][1]}\nand more""', f'{rows[8][1]}"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    assert "lines 7 to 11 in a field of line 6" in refusal(read_notes, path)


def test_a_file_without_ids_and_labels_is_held_by_its_fields_alone(tmp_path: Path) -> None:
    rows = rows_of()
    rows[4][1], rows[8][1] = f'"{rows[4][1]}', f'{rows[8][1]}"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    assert "lines 7 to 10 in a field of line 6" in refusal(read_incoming, path, columns={"id": {"from": "row"}})


def test_rows_are_recognised_by_their_ids_where_the_first_id_has_a_stray_quote(tmp_path: Path) -> None:
    rows = rows_of(3)
    rows[0][0], rows[0][1], rows[2][1] = f'{rows[0][0]}"', f'"{rows[0][1]}', f'{rows[2][1]}"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    assert "lines 3 to 4 in a field of line 2" in refusal(read_incoming, path)


@pytest.mark.parametrize("read", DOORS)
def test_a_quote_that_never_closes_or_meets_another_is_refused(tmp_path: Path, read: Callable[..., Any]) -> None:
    rows = rows_of()
    rows[30][1] = f'"{rows[30][1]}'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    assert "begins on line 32 opens a quote that never closes" in refusal(read, path)
    rows[35][1] = f'he says "ouch" {rows[35][1]}'
    path.write_text(text_of(rows))
    assert "begins on line 32 is no CSV (a letter behind a closing quote on line 37)" in refusal(read, path)


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("ids", ["k-{:03d}", "{}", "ward-b"])
def test_notes_over_several_lines_pass_whatever_stands_in_them(
    tmp_path: Path, read: Callable[..., Any], ids: str
) -> None:
    """Lists, tables and prose with as many commas as a record has."""
    inside = [
        "Medicines:\naspirin, daily, morning, 1\nramipril, daily, evening, 2",
        "Knee, hip, back, neck\nand so on, she says, since, noon",
        "2024-01-02, 120/80, stable, home\n2024-01-03, 130/80, stable, home",
        'says ""no""\n\n\nthen, leaves, at, once',
    ]
    rows = rows_of()
    for number, row in enumerate(rows):
        letters = f"{chr(97 + number % 26)}{'xy'[number // 26]}"
        row[0] = ids.format(number) if "{" in ids else ids + letters
        row[1] = f"{inside[number % 4]} {number}"
    stream = io.StringIO()
    csv.writer(stream).writerows([["id", "text", "label", "why"], *rows])
    path = tmp_path / "file.csv"
    path.write_bytes(stream.getvalue().encode())
    assert read(path) == [(row[0], row[1]) for row in rows]


def test_texts_of_several_lines_pass_where_no_row_has_one_line(tmp_path: Path) -> None:
    """Each line has as many commas as a record, and no space in its first cell."""
    rows = [[f"k-{n}", f"knee, hip\nback, neck {n}"] for n in range(30)]
    path = tmp_path / "file.csv"
    stream = io.StringIO()
    csv.writer(stream).writerows([["id", "text"], *rows])
    path.write_bytes(stream.getvalue().encode())
    assert len(read_incoming(path)) == 30


@pytest.mark.parametrize("read", DOORS)
def test_backslashes_escape_quotes_and_are_letters_elsewhere(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv"
    head = 'id,text,label,why\n"a","says \\"ouch\\", C:\\temp \\\\ end",now,\\N\n'
    path.write_text(head + "".join(f'"b{n}","line\\\nbreak {n}",later,"x"\n' for n in range(30)))
    read_rows = read(path, quoting="backslash")
    assert read_rows[0] == ("a", 'says "ouch", C:\\temp \\ end')
    assert read_rows[1] == ("b0", "line\nbreak 0")
    assert len(read_rows) == 31


def test_an_escaped_null_is_no_null_and_a_bare_one_is(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("id,text,label,why\na,\\\\N,now,x\nb,\\N,now,x\nc,x \\N,now,x\nd,\ue000N,now,x\n", encoding="utf-8")
    found = read_incoming(path, quoting="backslash")
    assert found == [("a", "\\N"), ("b", ""), ("c", "x \\N"), ("d", "\ue000N")], "of any letter"


@pytest.mark.parametrize("read", DOORS)
def test_rows_of_empty_cells_are_left_out_and_counted(
    tmp_path: Path, read: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows_of()) + ",,,\n , ,,\n,,\n,,,,,\n")
    with caplog.at_level("INFO", logger="r2d"):
        assert read(path) == [(row[0], row[1]) for row in rows_of()]
    assert "4 rows of empty cells left out (line 42 to 45)" in caplog.text


@pytest.mark.parametrize("read", DOORS)
def test_a_second_header_and_a_total_are_no_rows_and_it_is_said(
    tmp_path: Path, read: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file.csv"
    first, second = text_of(rows_of(20)), text_of(rows_of(40)[20:])
    path.write_text(f"{first}{second}Total: 40,,,\n40 rows,,,\n,,Sum,40\nExported on 2024-02-01,,,\n")
    with caplog.at_level("INFO", logger="r2d"):
        assert read(path) == [(row[0], row[1]) for row in rows_of()]
    assert "1 row left out, the header again (line 22)" in caplog.text
    assert "4 rows left out, a total or a footer (line 43; line 44; line 45; line 46)" in caplog.text


@pytest.mark.parametrize("last", ["k-99,,,", "k-99,Total hip replacement,now,", "Total knee pain,for two days,now,x"])
def test_rows_with_few_cells_are_rows(tmp_path: Path, last: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(f"{text_of(rows_of())}{last}\n")
    assert len(read_incoming(path)) == 41


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize(
    ("before", "values"),
    [
        ("sep=;\n", {}),
        ("\ufeff\"sep=;\"\r\n", {}),
        ("Calls of the year\n\nby: K. \"Nobody\n", {"skip_lines": 3}),
        ("# exported\n# by hand\n", {"comment": "#"}),
    ],
)  # fmt: skip
def test_lines_before_the_header_are_passed_over(
    tmp_path: Path, read: Callable[..., Any], before: str, values: dict[str, Any]
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(before + text_of(rows_of(), ";"), encoding="utf-8")
    assert read(path, delimiter=";", **values) == [(row[0], row[1]) for row in rows_of()]


@pytest.mark.parametrize("read", DOORS)
def test_undeclared_lines_before_the_header_are_named(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv"
    path.write_text("Mrs Sample and others\n\n" + text_of(rows_of()))
    assert "declared columns stand on line 3, behind other lines; set " in refusal(read, path)
    path.write_text("sep=;\n" + text_of(rows_of(), ";"))
    assert 'its first line says that the delimiter is ";"' in refusal(read, path)


@pytest.mark.parametrize("read", DOORS)
def test_the_row_names_of_r_and_delimiters_at_the_end_are_told_apart(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text_of([[str(n), *row] for n, row in enumerate(rows_of(), 1)]))
    assert "each of the 40 rows has one field more than the header's 4, as R writes its row names" in refusal(
        read, path
    )
    path.write_text(text_of([[*row, ""] for row in rows_of()]))
    assert read(path) == [(row[0], row[1]) for row in rows_of()]
    path.write_text(text_of([[*row, ""] for row in rows_of()], header="id,text,label,why,"))
    assert read(path) == [(row[0], row[1]) for row in rows_of()]
    path.write_text(text_of(rows_of(), header="id,text,label,why,,"))
    assert read(path) == [(row[0], row[1]) for row in rows_of()]


@pytest.mark.parametrize("read", DOORS)
def test_a_comma_without_quotes_in_each_row_is_no_row_name(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text_of([[row[0], f"cough {n}, {row[1]}", *row[2:]] for n, row in enumerate(rows_of())]))
    message = refusal(read, path)
    assert "each of the 40 rows has one field more than the header's 4: a field of each holds the delimiter" in message
    assert "row names" not in message


HEADERLESS = [
    [["00001", "Jane Knee 555-0142", "now", "x"]] * 9,
    [["Anna", "knee", "now", "fall"], ["Bert", "hip", "later", "slip"], ["Carl", "toe", "now", "trip"]],
    [["k1", "knee", "now", "Sample"]],
    [["knee", "Sample", "urgency", "why not"]],
]


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("rows", HEADERLESS)
def test_of_a_first_line_that_is_data_nothing_is_shown(
    tmp_path: Path, read: Callable[..., Any], rows: list[list[str]]
) -> None:
    path = tmp_path / "file.csv"
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    message = refusal(read, path)
    assert "found: 4 names, of " in message
    assert "if its first line is data, add a header line" in message
    assert not [cell for row in rows for cell in row if f"'{cell}'" in message]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    "zip": lambda content: zipped({"file.csv": content, "__MACOSX/._file.csv": b"\0"}),
}


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_files_are_unpacked_and_broken_ones_named(
    tmp_path: Path, read: Callable[..., Any], ending: str
) -> None:
    path = tmp_path / f"file.csv.{ending}"
    packed = PACKERS[ending](text_of(rows_of(400)).encode())
    path.write_bytes(packed)
    assert len(read(path)) == 400
    path.write_bytes(packed[: len(packed) // 2])
    assert "is no whole" in refusal(read, path)


@pytest.mark.parametrize("read", DOORS)
def test_a_zip_of_several_files_is_refused(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv.zip"
    path.write_bytes(zipped({"Mrs Sample.csv": b"x", "b.csv": b"y"}))
    assert "is a zip file of 2 files; unpack it" in refusal(read, path)


OTHERS = {
    "an HTML page": b"\xef\xbb\xbf\n <!DOCTYPE html><table><tr><td>Mrs Sample</td></tr></table>",
    "an XML document": b'<?xml version="1.0"?><Workbook>Mrs Sample</Workbook>',
    "a PDF": b"%PDF-1.7 Mrs Sample",
    "a text with formats (RTF)": b"{\\rtf1 Mrs Sample}",
    "an SQLite database": b"SQLite format 3\0 Mrs Sample",
    "an OpenDocument file": zipped({"mimetype": b"application", "content.xml": b"Mrs Sample"}),
    "a Word document": zipped({"[Content_Types].xml": b"", "word/document.xml": b"Mrs Sample"}),
}


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_table_is_named_whatever_its_ending(tmp_path: Path, read: Callable[..., Any], what: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(OTHERS[what])
    assert f"is {what}" in refusal(read, path)


@pytest.mark.parametrize("read", DOORS)
def test_utf_32_is_named_by_its_name(tmp_path: Path, read: Callable[..., Any]) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(text_of(rows_of()).encode("utf-32"))
    for declared in ("utf-8", "utf-16"):
        assert "begins with a UTF-32 byte order mark at byte 0; set " in refusal(read, path, encoding=declared)
    assert len(read(path, encoding="utf-32")) == 40


@pytest.mark.parametrize("read", DOORS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_without_a_mark_is_named_and_read(tmp_path: Path, read: Callable[..., Any], encoding: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(text_of(rows_of()).encode(encoding))
    for declared in ("utf-8", "utf-16", "cp1252"):
        message = refusal(read, path, encoding=declared)
        assert f"is {encoding[:6].upper()} without a byte order mark; set " in message
        assert f"encoding: {encoding}" in message
    assert len(read(path, encoding=encoding)) == 40


def test_what_was_left_out_stands_in_the_metadata_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("sep=,\n" + text_of(rows_of()) + ",,,\n")
    config = DataConfig(format="csv", path=str(path), labels={"names": LABELS})
    assert Reading.of(load_examples(config)).notes == [
        "1 row of empty cells left out (line 43)", "1 line passed over (titles, comments or sep=)",
    ]  # fmt: skip


def test_a_folder_of_csv_files_is_refused_where_a_quote_swallows_rows(tmp_path: Path) -> None:
    rows = rows_of()
    rows[4][1], rows[9][1] = f'"{rows[4][1]}', f'{rows[9][1]}"'
    (tmp_path / "train.csv").write_text(text_of(rows))
    config = DataConfig(format="huggingface", path=str(tmp_path), labels={"names": LABELS})
    assert "lines 7 to 11 in a field of line 6" in message_of(config)
    (tmp_path / "train.csv").write_text(text_of(rows_of()) + "Total,,,\n")
    assert "1 row left out, a total or a footer (line 42): `datasets` takes them" in message_of(config)


CELLS = st.text(
    st.sampled_from(list("ab1 \",;\t\\\n\r#'N")) | st.characters(exclude_categories=["Cs", "Cc"]), max_size=12
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12),
    quoting=st.sampled_from(["standard", "all", "none", "backslash"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_in_any_quoting_comes_back_or_is_refused(
    tmp_path: Path, cells: list[tuple[str, str]], quoting: str, delimiter: str, line_end: str
) -> None:
    rows = [(f"k{n}", text, why) for n, (text, why) in enumerate(cells)]
    ways: dict[str, dict[str, Any]] = {
        "standard": {},
        "all": {"quoting": csv.QUOTE_ALL},
        "none": {"quoting": csv.QUOTE_NONE, "quotechar": None},
        "backslash": {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL},
    }
    stream = io.StringIO(newline="")
    try:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator=line_end, **ways[quoting])
        writer.writerows([("id", "text", "why"), *rows])
    except csv.Error:  # a text that no such file can hold
        return
    path = tmp_path / "file.csv"
    path.write_bytes(stream.getvalue().encode())
    declared = {"all": "standard"}.get(quoting, quoting)
    try:
        found = read_incoming(path, delimiter=delimiter, quoting=declared)
    except DataError:
        return
    assert found == [(row_id, text) for row_id, text, _ in rows]


def test_rows_are_swallowed_also_where_the_one_id_that_is_read_holds_a_stray_quote(tmp_path: Path) -> None:
    rows = rows_of(7)
    rows[0][0] = rows[0][0][:3] + '"' + rows[0][0][3:]
    rows[0][1], rows[6][1] = f'"{rows[0][1]}', f'{rows[6][1]}"'
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    with pytest.raises(DataError, match="swallows lines that read as records of their own"):
        read_incoming(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), num_rows=st.integers(3, 12))
def test_quotes_put_anywhere_lose_no_row_in_silence(tmp_path: Path, data: st.DataObject, num_rows: int) -> None:
    """Rows in are rows out, or the file is refused."""
    rows = rows_of(num_rows)
    for _ in range(data.draw(st.integers(1, 3))):
        row, column = data.draw(st.integers(0, num_rows - 1)), data.draw(st.integers(0, 3))
        text = rows[row][column]
        rows[row][column] = data.draw(st.sampled_from([f'"{text}', f'{text}"', f'"{text}"', f'{text[:3]}"{text[3:]}']))
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows))
    columns = {"example_column": "id", "rationale_column": "text"}
    table = CsvSource(format="csv", paths=[str(path)], **columns)
    for count in (lambda: len(read_incoming(path)), lambda: len(read_table("nurse", table))):
        try:
            assert count() == num_rows
        except DataError:
            continue


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), num_rows=st.integers(3, 12), delimiter=st.sampled_from([",", ";", "\t", "|"]))
def test_quotes_taken_away_anywhere_lose_no_row_in_silence(
    tmp_path: Path, data: st.DataObject, num_rows: int, delimiter: str
) -> None:
    """Whole fields in quotes, some with delimiters, quotes and line breaks; then quotes are lost."""
    rows = rows_of(num_rows)
    for row in rows:
        row[1] = data.draw(
            st.sampled_from(["{}", "a{d} b{d}c {}", "x{d}{}", 'says "no"{d} {}', "{}\nand {d} more"])
        ).format(row[1], d=delimiter)
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows([["id", "text", "label", "why"], *rows])
    letters = list(stream.getvalue())
    quotes = [place for place, letter in enumerate(letters) if letter == '"']
    if not quotes:
        return
    for place in data.draw(st.lists(st.sampled_from(quotes), min_size=1, max_size=3, unique=True)):
        letters[place] = ""
    path = tmp_path / "file.csv"
    path.write_text("".join(letters), newline="")
    try:
        assert len(read_incoming(path, delimiter=delimiter)) == num_rows
        assert len(read_notes(path, delimiter=delimiter)) == num_rows
    except DataError:
        pass


def test_another_delimiter_is_named_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text_of(rows_of(), ";"))
    labels = LabelsConfig(names=LABELS)
    for read in (read_incoming, read_notes, lambda path: load_labelled_file(path, labels)):
        assert refusal(read, path).endswith('set data.delimiter: ";"')
    assert len(load_labelled_file(path, labels, {"delimiter": ";"})[0]) == 40
