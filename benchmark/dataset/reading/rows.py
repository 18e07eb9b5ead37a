"""From the rows of a table to cases: which column is what, and what can be wrong with a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from benchmark.dataset.reading.bad_rows import BadRows, shown
from benchmark.dataset.reading.inputs import Inputs, Unusable, holds_media
from benchmark.dataset.reading.listing import PATH, Files
from benchmark.dataset.reading.parquet import read_parquet
from benchmark.dataset.reading.tables import NOT_UTF8, Row, read_csv, read_json, read_jsonl, read_lines
from benchmark.errors import Problem, UserError, closest, some
from benchmark.names import FIX, SeenIds, unsafe, unsafe_id
from benchmark.records import Case

ROLES = ("image", "video", "reference")
PARTS = ("id", "category", "prompt", *ROLES)
READERS = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".parquet": read_parquet,
}
NUMBERED = (".json", ".parquet")  # by row; the others by line


def misspelt(columns: Mapping[str, str | None]) -> Iterator[Problem]:
    """Yield a problem for each name that would be a field and is all but the name of a part of the case."""
    for name in columns:
        if name not in PARTS and (near := get_close_matches(name, PARTS, n=1, cutoff=0.85)):
            where = f"dataset.columns.{name}"
            yield Problem(where, "is all but a part of the case", name, some(PARTS), f"did you mean `{near[0]}`?")


@dataclass
class Layout:
    """How rows become cases.

    `columns` names the column of each of PARTS (null: none); any other name in it is a field that takes that column. Of the
    columns that remain, those in `keep` (None: all) become fields. `fields` are given to each case that lacks them. `root` is
    where relative paths begin, None for the folder of the file.
    """

    columns: Mapping[str, str | None]
    category: str
    fields: Mapping[str, Any]
    root: Path | None
    keep: Sequence[str] | None
    unpack_dir: Path

    def __post_init__(self) -> None:
        self.column: dict[str, str | None] = {**dict(zip(PARTS, PARTS, strict=True)), **self.columns}
        self.renamed = {name: column for name, column in self.column.items() if name not in PARTS and column}
        self.taken = {column for column in self.column.values() if column}

    def choose(self, names: Sequence[str], where: str) -> list[str]:
        """Return which of a table's columns are read. Raises: UserError if one lacks that is needed."""
        problems = self.lacking(names, where)
        if not problems and not {self.column[part] for part in ("prompt", *ROLES)} & set(names):
            fix = "say which column has the prompts: dataset.columns.prompt=..."
            problems = [Problem(where, "has none of the columns prompt, image, video, reference", some(names), fix=fix)]
        if problems:
            raise UserError(problems)
        return [name for name in names if name in self.taken or self.is_kept(name)]

    def lacking(self, names: Sequence[str], where: str) -> list[Problem]:
        """Return a problem for each column that the user names and that is not there."""
        asked = [(f"dataset.columns.{name}", column) for name, column in self.column.items() if column != name]
        asked += [("dataset.keep", name) for name in self.keep or ()]
        return [
            Problem(key, f"{where} has no such column", column, some(names), closest(column, names))
            for key, column in asked
            if column and column not in names
        ]

    def is_kept(self, name: str) -> bool:
        """Return whether a column that is no part of the case becomes a field."""
        return self.keep is None or name in self.keep


class Table:
    """One reading of a user's files: yields the cases of the good rows and collects what is wrong with the others."""

    def __init__(self, layout: Layout, bad: BadRows) -> None:
        self._layout, self._bad, self._seen = layout, bad, SeenIds()
        self._columns: dict[str, None] = {}  # in the order in which they were met

    def cases(self, files: Files) -> Iterator[Case]:
        """Yield the cases, a few rows in memory at a time. Raises: UserError with all bad rows, unless they are skipped."""
        for path in files.paths:
            yield from self._cases_of(path, f"{path.stem}-" if files.several else "")
        where = "none of the rows" if files.several else files.paths[0].name
        self._bad.close(self._layout.lacking(list(self._columns), where))

    def _cases_of(self, path: Path, prefix: str) -> Iterator[Case]:
        layout, bad, suffix = self._layout, self._bad, path.suffix.lower()
        root = (layout.root or path.parent).expanduser().absolute()
        inputs = Inputs(str(root), layout.unpack_dir, check_media=bad.skip)
        unit, told_encoding = "row" if suffix in NUMBERED else "line", False
        try:
            for row in READERS.get(suffix, read_lines)(path, lambda names: layout.choose(names, path.name)):
                if not row.values.keys() <= self._columns.keys():
                    self._columns |= dict.fromkeys(row.values)
                reading = _Reading(row, layout, inputs)
                if case := reading.case(prefix, self._seen):
                    bad.good += 1
                    yield case
                    continue
                told, told_encoding = told_encoding, told_encoding or row.wrong == NOT_UTF8
                where = f"{path.name} {unit} {row.number}"
                bad.add([] if told and row.wrong == NOT_UTF8 else reading.problems(where))
        except OSError as error:
            raise UserError(Problem(PATH, f"can't be read: {error.strerror or error}", str(path))) from error


class _Reading:
    """One row on its way to a case, and what is wrong with it: field, what, what was found, what is allowed, a fix."""

    def __init__(self, row: Row, layout: Layout, inputs: Inputs) -> None:
        self._row, self._layout, self._inputs = row, layout, inputs
        self._wrong: list[tuple[str, str, object, str, str]] = []

    def case(self, prefix: str, seen: SeenIds) -> Case | None:
        """Return the case, or None if something is wrong."""
        row, layout = self._row, self._layout
        if row.wrong:
            self._blame("", row.wrong, row.found, fix=row.fix)
            return None
        case_id, category, prompt = self._id(prefix, seen), self._category(), self._prompt()
        roles = [(role, layout.column[role]) for role in ROLES if self._has(layout.column[role])]
        inputs, fields = {role: self._file(role, f"{column}") for role, column in roles}, dict(layout.fields)
        for name, column in self._others():
            value = row.values[column]
            if holds_media(value):
                inputs[name] = self._file(name, column)
            else:
                fields[name] = value if isinstance(value, (str, int, float)) else _as_json(value)
        if not self._wrong and not prompt.strip() and not inputs:
            columns = some(layout.column[part] for part in ("prompt", *ROLES) if layout.column[part])
            self._blame("prompt", "there is neither a prompt nor an input", some(row.values) or "nothing", columns)
        if self._wrong:
            return None
        return Case(id=case_id, category=category, prompt=prompt, inputs=inputs, fields=fields)

    def problems(self, where: str) -> list[Problem]:
        return [
            Problem(f"{where}, {field}" if field else where, wrong, shown(found), allowed, fix)
            for field, wrong, found, allowed, fix in self._wrong
        ]

    def _blame(self, field: str, wrong: str, found: object, allowed: str = "", fix: str = "") -> None:
        self._wrong.append((field, wrong, found, allowed, fix))

    def _has(self, column: str | None) -> bool:
        """Return whether the row has a value there: not null, not empty, not the NaN that pandas leaves in gaps."""
        value = self._row.values.get(column) if column else None
        return value is not None and value != "" and value == value

    def _others(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that the row has, each with its column."""
        layout = self._layout
        for name in self._row.values:
            if name not in layout.taken and layout.is_kept(name) and self._has(name):
                yield name, name
        for name, column in layout.renamed.items():
            if self._has(column):
                yield name, column

    def _id(self, prefix: str, seen: SeenIds) -> str:
        row, column = self._row, self._layout.column["id"]
        numbers = "or number the rows: dataset.columns.id=null"
        if row.key is not None and column == "id":
            name: str | None = row.key.strip()
        elif column is None or column not in row.values:
            name = f"{prefix}{row.number:06d}"
        else:
            name = _as_text(row.values[column]) if self._has(column) else ""
        if name is None:
            self._blame(f"{column}", "must be text or a number", row.values[f"{column}"], fix=numbers)
        elif why := unsafe_id(name):
            self._blame(column or "id", why, name, fix=f"{FIX}, {numbers}")
        elif not seen.add(name):
            self._blame(column or "id", "is the id of an earlier row", name, fix=f"give it one of its own, {numbers}")
        return name or ""

    def _category(self) -> str:
        column = self._layout.column["category"]
        if not self._has(column):
            return self._layout.category
        value = self._row.values[f"{column}"]
        name = _as_text(value)
        if name is None:
            self._blame(f"{column}", "must be text or a number", value, fix=f"{_to_field('category')}")
        elif name and (why := unsafe(name)):
            self._blame(f"{column}", why, name, fix=FIX)
        return name or self._layout.category

    def _prompt(self) -> str:
        column = self._layout.column["prompt"]
        value = self._row.values[f"{column}"] if self._has(column) else ""
        if isinstance(value, str):
            return value
        self._blame(f"{column}", "must be text", value, fix=_to_field("prompt"))
        return ""

    def _file(self, role: str, column: str) -> str:
        try:
            return self._inputs.path(self._row.values[column])
        except Unusable as error:
            fix = f"{error.fix}; {_to_field(role)}, if it means no file" if error.fix and role in ROLES else error.fix
            self._blame(column, error.wrong, error.found, error.allowed, fix)
            return ""


def _to_field(part: str) -> str:
    return f"dataset.columns.{part}=null keeps it as a field"


def _as_text(value: Any) -> str | None:
    """Return text without blanks around it, a number as text (3.0 is 3: so pandas writes whole numbers beside gaps)."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _as_json(value: Any) -> Any:
    """Return lists, maps, dates and bytes as JSON has them: bytes as base64, the rest of what Parquet knows as text."""
    return msgspec.to_builtins(value, enc_hook=str)
