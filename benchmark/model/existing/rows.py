"""Outputs that another program made: those that a JSONL file lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import Problem, UserError, some
from benchmark.media import MediaFile
from benchmark.model import Kind
from benchmark.model.existing.listing import SUFFIXES, Asked, opened, suffix_of
from benchmark.records import Key

LISTS = (".jsonl", ".ndjson")
ROLES = ("frames", "video", "image", "file", "path", "text")
MOST_PROBLEMS = 10


@dataclass
class Rows:
    """The rows of a JSONL file: which case and sample each answers, and its file, "" for a text in the row itself.

    Texts stay in the file until they are asked for.
    """

    file: Path
    kind: Kind = "text"
    keys: dict[Key, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # the line of each row
    starts: list[int] = field(default_factory=list)  # bytes before it
    base: Path = field(default_factory=Path)

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index] or f"line {self.numbers[index]}"

    def there(self, index: int) -> bool:
        return not self.files[index] or (self.base / self.files[index]).exists()

    def output(self, index: int) -> MediaFile | str:
        if self.files[index]:
            return opened(self.base / self.files[index], self.kind)
        with self.file.open("rb") as lines:
            lines.seek(self.starts[index])
            return str(msgspec.json.decode(lines.readline(), type=_Text).text)


class _Text(msgspec.Struct):
    text: str


def read_rows(file: Path, asked: Asked) -> Rows:
    """Return the rows of a JSONL file: `{"id": ..., "sample": 0, "file": ...}`, or `"text"` in place of the file.

    Paths are relative to the JSONL file. The predictions.jsonl of a run is such a file: what failed there is left out.
    Raises: UserError with the bad rows.
    """
    rows = Rows(file, base=file.parent)
    problems: list[Problem] = []
    kinds: Counter[Kind] = Counter()
    start = 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                found = _take(rows, number, start, line, kinds) if line.strip() else None
                if found:
                    problems.append(Problem(f"{file}, line {number}", *found))
                start += len(line)
    except OSError as error:
        raise UserError(Problem("model.path", f"can't be read: {error.strerror}", str(file))) from error
    if asked != "auto" and (others := [kind for kind in kinds if kind != asked]):
        problems.append(Problem("model.kind", f"{file} lists outputs of kind {some(others)}", asked))
    elif len(kinds) > 1:
        n = " and ".join(f"{n} of kind {kind}" for kind, n in kinds.items())
        problems.append(Problem("model.path", f"lists {n}", str(file), fix="make a file for each kind"))
    elif not kinds and not problems:
        problems.append(Problem("model.path", "lists no output", str(file)))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        rest = [Problem("model.path", f"{more} more such rows", str(file))] if more > 0 else []
        raise UserError([*problems[:MOST_PROBLEMS], *rest])
    rows.kind = next(iter(kinds))
    return rows


def _take(rows: Rows, number: int, start: int, line: bytes, kinds: Counter[Kind]) -> tuple[str, ...] | None:
    """Add a row, or return what is wrong with it, what was given, what is allowed, and what to do."""
    try:
        row: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"holds no JSON: {error}", line.decode(errors="replace").strip()[:80]
    if not isinstance(row, dict):
        return "holds no JSON object", str(row)[:80], '{"id": "...", "file": "..."}'
    if str(row.get("record", "")).startswith("prediction/"):
        if row.get("status") != "ok":
            return None
        rows.base = rows.file.parent.parent.parent  # a run's predictions/<model>/predictions.jsonl
        row |= row.get("files") or {}
    case_id, sample = row.get("id", row.get("case_id")), row.get("sample", 0)
    role = next((role for role in ROLES if isinstance(row.get(role), str)), None)
    if case_id is None or role is None:
        what = "names no case" if case_id is None else "names no output"
        return what, some(row), f"id (or case_id), perhaps sample, and one of {', '.join(ROLES)}"
    if not isinstance(sample, int) or sample < 0:
        return "its sample is no number of a sample", repr(sample), "0, 1, ..."
    key = Key(str(case_id), sample)
    if key in rows.keys:
        first = rows.name(rows.keys[key])
        return f"is the second for case {key.case_id!r}, sample {sample}", row[role][:80], "", f"keep it, or {first}"
    kinds[_kind_of(role, row[role])] += 1
    rows.keys[key] = len(rows.files)
    rows.files.append("" if role == "text" else row[role])
    rows.numbers.append(number)
    rows.starts.append(start)
    return None


def _kind_of(role: str, name: str) -> Kind:
    """Return the kind that a row's key or its file's suffix says; without a suffix it is a folder of frames."""
    if role in ("image", "text"):
        return "image" if role == "image" else "text"
    return "video" if role in ("video", "frames") else SUFFIXES.get(suffix_of(name), "video")
