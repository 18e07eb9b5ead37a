"""An evaluator's own result files, read by a small mapping: which rows, whose they are, and where a row has its values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import Problem

DELIMITERS = {".csv": ",", ".tsv": "\t"}
States = Mapping[Path, tuple[int, ...]]


class Table(list[dict[str, str]]):
    """The rows of a .csv or .tsv file, in which numbers too are text."""


@dataclass(frozen=True)
class Value:
    """Where a row has a measure: `value` (JMESPath), times `scale`; `rows` where this measure has rows of its own."""

    value: str
    rows: str | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class ResultFiles:
    """How result files are read.

    `file` is a path with placeholders, or a pattern (*) whose matches are all read: JSON, JSON lines (.jsonl), .csv or .tsv.
    `rows` (JMESPath) finds the rows in a file; null: the file is a list of rows, or one row. `key` finds in a row what names
    its case: an id, or an output's file name or path; null: the file is of a single case. `sample` finds the sample's
    number. `values` gives a JMESPath, or a Value, by measure; a measure that it leaves out is found under its own name.
    """

    file: str
    rows: str | None = None
    key: str | None = None
    sample: str | None = None
    values: dict[str, str | Value] = field(default_factory=dict)

    def value_of(self, measure: str) -> Value:
        given = self.values.get(measure, json.dumps(measure))
        return Value(given) if isinstance(given, str) else given

    def problems(self, where: str, measures: Sequence[str]) -> Iterator[Problem]:
        """Yield a problem for each expression that is no JMESPath, and for values of no measure."""
        for measure in self.values:
            if measure not in measures:
                yield Problem(f"{where}.values", "no such measure", measure, ", ".join(measures))
        expressions = {"rows": self.rows, "key": self.key, "sample": self.sample}
        for measure in measures:
            value = self.value_of(measure)
            expressions |= {f"values.{measure}": value.value, f"values.{measure}.rows": value.rows}
        for name, expression in expressions.items():
            if expression is not None and (why := _unreadable(expression)):
                fix = "see jmespath.org; a name with a hyphen or a plus is quoted: '\"clip_iqa+\"'"
                yield Problem(f"{where}.{name}", f"is no JMESPath: {why}", expression, fix=fix)


def _unreadable(expression: str) -> str:
    import jmespath

    try:
        jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        return str(error).splitlines()[0].rstrip(":")
    return ""


def read(path: Path) -> Any:
    """Return what a result file holds. Raises: ValueError if it can't be read; FileNotFoundError if there is none."""
    suffix = path.suffix.lower()
    try:
        text = path.read_text(encoding="utf-8-sig")
        if delimiter := DELIMITERS.get(suffix):
            return Table(csv.DictReader(text.splitlines(), delimiter=delimiter))
        if suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path.name} can't be read: {error}") from error


def matches(pattern: str) -> list[Path]:
    """Return the files that a path or a pattern names, in order."""
    path = Path(pattern)
    return [path] if path.is_file() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def find(pattern: str, before: States) -> list[Path]:
    """Return the files that a path or a pattern names, of those that were written since `before`.

    Raises: FileNotFoundError if there is none.
    """
    found = matches(pattern)
    fresh = [path for path in found if state(path) != before.get(path)]
    if fresh:
        return fresh
    if found:
        raise FileNotFoundError(f"the evaluator did not write {found[0]}: it is of an earlier call")
    path = Path(pattern)
    there = ", ".join(sorted(other.name for other in path.parent.iterdir())[:8]) if path.parent.is_dir() else ""
    raise FileNotFoundError(f"the evaluator left no {path.name} in {path.parent}; there: {there or 'nothing'}")


def state(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written again."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
