"""Text files as streams of rows: one prompt a line, JSON lines, CSV; and JSON, which is read whole.

Rows are numbered by the line of the file in which they begin, those of JSON from 1. What is wrong with one row is said in
that row, and reading goes on; what is wrong with the file is raised.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import msgspec

from benchmark.dataset.reading.bad_rows import shown
from benchmark.errors import Problem, UserError

MOST_CELL = 1 << 26  # characters of one CSV cell
NOT_UTF8 = "is not UTF-8 text"
BOM = b"\xef\xbb\xbf"
Choose = Callable[[Sequence[str]], list[str]]  # of all columns, those to read; raises UserError if one lacks


@dataclass
class Row:
    """A row as it stands in the file: its number, its values by column, and what is `wrong` if it can't be read.

    `key` is its id where a JSON file maps ids to rows.
    """

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    wrong: str = ""
    found: str = ""
    fix: str = ""


def read_lines(path: Path, choose: Choose) -> Iterator[Row]:
    """Yield a row per line that is not blank, its text as `prompt`, verbatim."""
    for number, line in _lines(path):
        try:
            yield Row(number, {"prompt": line.rstrip(b"\r\n").decode()})
        except UnicodeDecodeError as error:
            yield _not_utf8(path, number, line[max(0, error.start - 10) : error.start + 10])


def read_jsonl(path: Path, choose: Choose) -> Iterator[Row]:
    """Yield a row per line that is not blank: an object, or a prompt as text."""
    decode = msgspec.json.Decoder().decode
    for number, line in _lines(path):
        try:
            value = decode(line)
        except UnicodeDecodeError as error:
            yield _not_utf8(path, number, line[max(0, error.start - 10) : error.start + 10])
        except (msgspec.DecodeError, RecursionError) as error:
            yield Row(number, wrong=f"is no JSON: {error}", found=shown(line.decode(errors="replace").strip()))
        else:
            yield _json_row(number, value)


def read_json(path: Path, choose: Choose) -> Iterator[Row]:
    """Yield the rows of a JSON file: a list of objects (or of prompts), or one object that maps ids to these."""
    data = path.read_bytes().removeprefix(BOM)
    try:
        content = msgspec.json.decode(data)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        _refuse_utf16(path, data)
        wrong = NOT_UTF8 if isinstance(error, UnicodeDecodeError) else f"is no JSON: {error}"
        raise UserError(Problem(path.name, wrong, str(path), fix="one object a line is JSON lines: .jsonl")) from error
    if isinstance(content, list):
        yield from (_json_row(number, value) for number, value in enumerate(content, 1))
    elif isinstance(content, dict) and all(isinstance(value, (dict, str)) for value in content.values()):
        yield from (_json_row(number, value, key) for number, (key, value) in enumerate(content.items(), 1))
    else:
        allowed = 'a list of objects, or one object that maps each id to an object: {"id": {"prompt": ...}}'
        given = shown(list(content) if isinstance(content, dict) else content)
        raise UserError(Problem(path.name, "holds JSON of another form", given, allowed))


def read_csv(path: Path, choose: Choose) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header; empty cells are null. Cells are parted by what parts the header's."""
    csv.field_size_limit(MOST_CELL)  # of the process; the default is too small for a picture in base64
    with path.open("rb") as binary:
        _refuse_utf16(path, binary.read(4))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _Lines(file)
        first = file.readline()
        delimiter = max(",;\t", key=first.count)
        lines.give_back(first)
        records = csv.reader(lines, delimiter=delimiter, strict=True)
        names = _header(path, records)
        choose(names)
        while True:
            number = lines.begin()
            try:
                cells = next(records, None)
            except csv.Error as error:
                lines.go_on_after_first()
                yield Row(number, wrong=f"is no CSV: {_explained(str(error))}", found=shown(lines.first.strip()))
                continue
            if cells is None:
                return
            if any(cells):
                yield _csv_row(path, number, names, cells)


class _Lines:
    """The lines of an open file; those of a record that turns out to be broken can be read again, one by one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self._next = 1

    @property
    def first(self) -> str:
        return self._record[0]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._record.append(line)
        self._next += 1
        return line

    def give_back(self, line: str) -> None:
        self._again.append(line)

    def begin(self) -> int:
        """Return the number of the line with which a record begins."""
        self._record.clear()
        return self._next

    def go_on_after_first(self) -> None:
        """Have all lines of the broken record but its first read again: a stray quote swallows what follows it."""
        self._next -= len(self._record) - 1
        self._again.extendleft(reversed(self._record[1:]))


def _header(path: Path, records: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(records, [])]
    except csv.Error as error:
        raise UserError(Problem(f"{path.name} line 1", f"is no header of CSV: {_explained(str(error))}")) from error
    repeated = [name for name in names if names.count(name) > 1 and name]
    if not any(names):
        raise UserError(Problem(path.name, "has no header", fix="its first line names the columns: id,prompt,image"))
    if repeated:
        raise UserError(Problem(path.name, "names a column twice", repeated[0], fix="rename one"))
    if not _is_text("".join(names)):
        raise UserError(_problem_of(path, _not_utf8(path, 1, ",".join(names).encode(errors="surrogateescape")[:30])))
    return names


def _csv_row(path: Path, number: int, names: Sequence[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        fix = "put text with a comma between double quotes" if len(cells) > len(names) else ""
        wrong = f"has {len(cells)} cells, but the header names {len(names)}"
        return Row(number, wrong=wrong, found=shown(",".join(cells)), fix=fix)
    text = "".join(cells)
    if not _is_text(text):
        return _not_utf8(path, number, text.encode(errors="surrogateescape")[:30])
    return Row(number, {name: cell or None for name, cell in zip(names, cells, strict=True) if name})


def _explained(error: str) -> str:
    if "unexpected end" in error or "field limit" in error:
        return "a double quote opens a cell that does not end"
    return f'{error}; inside a cell a double quote is written twice: ""' if "expected after" in error else error


def _is_text(text: str) -> bool:
    """Return whether no byte of the text had to be escaped since it is not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                _refuse_utf16(path, line)
                line = line.removeprefix(BOM)
            if line.strip():
                yield number, line


def _json_row(number: int, value: Any, key: str | None = None) -> Row:
    if isinstance(value, dict):
        return Row(number, value, key)
    if isinstance(value, str):
        return Row(number, {"prompt": value}, key)
    fix = "a file that holds one list is named .json" if isinstance(value, list) else ""
    return Row(number, key=key, wrong="is neither an object nor text", found=shown(value), fix=fix)


def _not_utf8(path: Path, number: int, found: bytes) -> Row:
    fix = f"convert it: iconv -f GB18030 -t UTF-8 {path.name}, if it is Chinese; -f CP1252, if it is Western"
    return Row(number, wrong=NOT_UTF8, found=repr(found), fix=fix)


def _problem_of(path: Path, row: Row) -> Problem:
    return Problem(f"{path.name} line {row.number}", row.wrong, row.found, fix=row.fix)


def _refuse_utf16(path: Path, head: bytes) -> None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        fix = f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"
        raise UserError(Problem(path.name, "is UTF-16 text", repr(head[:12]), "UTF-8", fix))
