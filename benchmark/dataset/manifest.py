"""A table of the user's own: JSON lines, JSON, CSV or Parquet, in one file or several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmark.dataset import Excluded
from benchmark.dataset.reading.bad_rows import BadRows
from benchmark.dataset.reading.listing import locate
from benchmark.dataset.reading.rows import READERS, Layout, Table, misspelt
from benchmark.dataset.reading.unpack import cache_folder
from benchmark.errors import Problem, UserError
from benchmark.records import Case


@dataclass
class Manifest:
    """A case per row. `benchmark.dataset.reading.rows.Layout` says what `columns`, `fields`, `keep` and `root` mean."""

    path: Path | None = None
    columns: dict[str, str | None] = field(default_factory=dict)
    root: Path | None = None
    category: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    keep: list[str] | None = None
    skip_bad: bool = False
    unpack_dir: Path | None = None

    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        self._bad = BadRows(self.skip_bad)

    @property
    def excluded(self) -> Excluded:
        """The bad rows that the last reading left out."""
        return self._bad.excluded

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if there is no such file, no folder where relative paths begin, or a part is misspelt."""
        yield from misspelt(self.columns)
        try:
            locate(self.path, READERS, "cases.jsonl")
        except UserError as error:
            yield from error.problems
        if self.root and not self.root.expanduser().is_dir():
            yield Problem("dataset.root", "is no folder", str(self.root), fix="null: relative paths begin at the file")

    def cases(self) -> Iterator[Case]:
        """Yield the cases in the order of the rows. Raises: UserError with a problem for each thing wrong with a row."""
        if problems := list(self.problems()):
            raise UserError(problems)
        self._bad = BadRows(self.skip_bad)
        unpack_dir = self.unpack_dir.expanduser().absolute() if self.unpack_dir else cache_folder()
        layout = Layout(self.columns, self.category, self.fields, self.root, self.keep, unpack_dir)
        yield from Table(layout, self._bad).cases(locate(self.path, READERS, "cases.jsonl"))
