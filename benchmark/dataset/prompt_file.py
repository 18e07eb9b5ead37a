"""A file of prompts, one a line; JSON lines and CSV too."""

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
class PromptFile:
    """A case per line that is not blank; its id is the line's number, so that lines can be added at the end.

    `.jsonl`, `.csv` and the other tables of `benchmark.dataset.manifest` are read by its rules, any other suffix as text.
    """

    path: Path | None = None
    columns: dict[str, str | None] = field(default_factory=dict)
    category: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    skip_bad: bool = False

    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        self._bad = BadRows(self.skip_bad)

    @property
    def excluded(self) -> Excluded:
        """The bad lines that the last reading left out."""
        return self._bad.excluded

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if there is no such file, or a part of a case is misspelt."""
        yield from misspelt(self.columns)
        try:
            locate(self.path, (".txt", *READERS), "prompts.txt", any_suffix=True)
        except UserError as error:
            yield from error.problems

    def cases(self) -> Iterator[Case]:
        """Yield the cases in the order of the lines. Raises: UserError with a problem per bad line."""
        if problems := list(self.problems()):
            raise UserError(problems)
        self._bad = BadRows(self.skip_bad)
        files = locate(self.path, (".txt", *READERS), "prompts.txt", any_suffix=True)
        layout = Layout(self.columns, self.category, self.fields, root=None, keep=None, unpack_dir=cache_folder())
        yield from Table(layout, self._bad).cases(files)
