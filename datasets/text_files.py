"""Reads lines and tables of text in any dialect of CSV; errors name the file and the line."""

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError, counted
from core.files import require_regular

csv.field_size_limit(1 << 30)  # a field may be longer than the 131,072 characters of the default


@dataclass(frozen=True)
class Line:
    """A line of a text file, or a row of a table, of which `values` are the fields by column."""

    file: Path
    number: int  # from 1
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    """The names of the columns as they stand in the file."""

    def error(self, message: str) -> InputError:
        """Return the error to raise for what is wrong in this line."""
        return InputError(f"{self.file}: line {self.number}: {message}")


def read_text(file: Path, *, blank: bool = False) -> str:
    """Return the text of a file, unpacked if its name ends in .gz, without a byte order mark.

    A file that begins with the mark of UTF-16, as Excel's "Unicode text" does, is read as that.
    Raises InputError if it cannot be opened or unpacked, is not UTF-8, no text, or empty; with
    `blank`, a text of white space or nothing is returned.
    """
    content = _content(file)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{file}: line {number} is not UTF-8; save the file in that encoding"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip() and not blank:
        raise InputError(f"{file}: the file is empty")
    if "\0" in text:  # as in UTF-16 without a mark, and in nearly all that is no text
        number = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            f"{file}: line {number} is no text in UTF-8; save the file in that encoding"
        )
    return text


def read_lines(file: Path) -> list[Line]:
    """Return the lines of a file, at least one, without white space at their ends.

    Raises InputError as `read_text`, and for an empty line before the last one.
    """
    lines = [
        Line(file, number, text.strip())
        for number, text in enumerate(read_text(file).rstrip().split("\n"), 1)
    ]
    for line in lines:
        if not line.text:
            raise line.error("the line is empty")
    return lines


def read_table(file: Path) -> list[Line]:
    """Return the rows of a table, at least one, whose first line names the columns.

    Fields are separated by commas, semicolons, tabs or |, and may be quoted. Names of columns are
    normalised: "Start (s)" is `start_s`.

    Raises:
        InputError: as `read_text`; there is no row; two columns have the same name; or a row has
            not as many fields as there are columns.
    """
    (number, heading), *rows = _rows(file) or [(1, [])]
    columns = [plain_name(name) for name in heading]
    if len(set(columns)) < len(columns):
        raise Line(file, number).error("two columns have the same name")
    titles = dict(zip(columns, (name.strip() for name in heading), strict=True))
    table = []
    for number, row in rows:
        if len(row) != len(columns):
            raise Line(file, number).error(
                f"{counted(len(row), 'field')}, but the first line names "
                f"{counted(len(columns), 'column')}"
            )
        table.append(Line(file, number, "", dict(zip(columns, row, strict=True)), titles))
    if not table:
        raise InputError(f"{file}: there is no row below the names of the columns")
    return table


def column_names(file: Path) -> list[str]:
    """Return the columns that the first line names, normalised; raises as `read_text`."""
    first = _table_text(file).lstrip().partition("\n")[0]
    return [plain_name(name) for name in next(csv.reader([first], delimiter=_delimiter(first)), [])]


def quote_error(line: Line, error: csv.Error) -> InputError:
    """Return the error to raise for wrong quotes in the row that begins in a line."""
    reason = str(error)
    if "unexpected end" in reason:
        reason = "a quote is opened in this row and never closed"
    mend = "inside a quoted field, write a quotation mark twice"
    return line.error(f"{reason}; correct the quotes: {mend}")


def warn(source: Path, what: str, names: Sequence[str], whole: int | None = None) -> None:
    """Tell in one line what is left out, how many, and the first names; nothing if none is."""
    if names:
        count = f"{len(names)} of {whole}" if whole else f"{len(names)}"
        first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        print(f"warning: {source}: left out: {what} ({count}): {first}", file=sys.stderr)


def _content(file: Path) -> bytes:
    require_regular(file)
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix == ".gz" else content
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{file}: the file is damaged, or not packed by gzip") from None
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from None


def _rows(file: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with the number of its last line."""
    text = _table_text(file)
    first = text.lstrip().partition("\n")[0]
    if rows := _rows_of_tabs(text):
        return _without_empty_columns(rows)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(first), strict=True)
    rows = []
    first_line = 1
    try:
        for row in reader:
            first_line = reader.line_num + 1  # of the next row
            if any(row):
                rows.append((reader.line_num, [field.strip() for field in row]))
    except csv.Error as error:
        raise quote_error(Line(file, first_line), error) from None
    return _without_empty_columns(rows)


def _table_text(file: Path) -> str:
    """Return the text of a table, the line `sep=;` that Excel begins with made empty."""
    return re.sub(r'\A"?sep=."?\n', "\n", read_text(file), flags=re.IGNORECASE)


def _without_empty_columns(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out columns at the end that have neither a name nor a value."""
    if not rows:
        return rows
    heading = rows[0][1]
    width = max((place for place, name in enumerate(heading, 1) if name), default=0)
    if any(any(row[width:]) for _, row in rows):
        return rows
    return [(number, row[:width]) for number, row in rows]


def _rows_of_tabs(text: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a table in which each line has the same number of tabs; else none.

    Most programs quote no field of such a table, so a quotation mark that opens a field and does
    not close it is a part of the text.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len({line.count("\t") for _, line in lines}) != 1 or "\t" not in lines[0][1]:
        return []
    rows = [
        (number, [_unquoted(field.strip()) for field in line.split("\t")]) for number, line in lines
    ]
    return [(number, row) for number, row in rows if any(row)]


def _unquoted(field: str) -> str:
    """Return a field without the quotes around all of it."""
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', ""):
        return field[1:-1].replace('""', '"').strip()
    return field


def _delimiter(first: str) -> str:
    unquoted = re.sub('"[^"]*"', "", first)
    return max(",;\t|", key=unquoted.count)


def plain_name(name: str) -> str:
    """Return the name of a column in lower case, with _ for what is neither letter nor digit."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")
