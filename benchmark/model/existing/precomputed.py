"""Outputs that already exist, made by whatever program: they are recorded where they lie, and nothing is generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from benchmark.errors import Problem, UserError, some
from benchmark.media import MediaFile
from benchmark.model import Kind, Request
from benchmark.model.existing.inventory import MOST_NAMED, Inventory
from benchmark.model.existing.listing import Asked, Listing, Source, scan
from benchmark.model.existing.matching import ById, ByInput, ByPrompt, ByRow, Rule, find, looked_for
from benchmark.model.existing.patterns import ByPattern, pattern_problems
from benchmark.model.existing.rows import LISTS, Rows, read_rows
from benchmark.records import Case


@dataclass
class Precomputed:
    """Answers each case with the file, or the text, that `path` holds for it: a folder, a glob, or a JSONL file.

    `match` says how files are told apart: by the case's `id`, by `pattern` ("{category}/{id}_{sample}.mp4", relative to
    `path`), or by `vbench`'s "<prompt>-<index>.mp4"; `auto` is the pattern if there is one, else id before vbench, for each
    case. `kind` is what the outputs are; `auto` goes by what lies there. A folder of numbered PNGs is a clip.

    Nothing is copied or touched: a record names the file's absolute path and its sha256, and scoring refuses a file that
    changed since. So what lies at `path` is no part of the fingerprint: more files may come, and the same command goes on.
    """

    path: Path | None = None
    match: Literal["auto", "id", "pattern", "vbench"] = "auto"
    pattern: str | None = None
    kind: Asked = "auto"
    batch_size: Annotated[int, Meta(ge=1)] = 8

    version: ClassVar[str] = "1"
    decodes: ClassVar[bool] = False
    always_retried: ClassVar[bool] = True  # a file that is missing today may be there tomorrow
    execution_only: ClassVar[tuple[str, ...]] = ("batch_size",)
    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def output(self) -> Kind:
        """The kind of output; that of a clip where nothing can be found, which `problems` tells."""
        if self.kind != "auto":
            return self.kind
        try:
            return self.source.kind
        except UserError:
            return "video"

    @cached_property
    def source(self) -> Source:
        """What `path` holds, read once. Raises: UserError."""
        if self.path is None:
            raise UserError(Problem("model.path", "is not given", fix="model.path=<folder, glob or .jsonl file>"))
        file = self.path.expanduser().absolute()
        if file.suffix.lower() in LISTS and file.is_file():
            return read_rows(file, self.kind)
        return scan(str(self.path), self.kind)

    @cached_property
    def rules(self) -> Sequence[Rule]:
        """The ways in which a case's output is looked for, in order."""
        source = self.source
        if isinstance(source, Rows):
            return [ByRow(source.keys)]
        assert isinstance(source, Listing)
        if self.pattern is not None:
            return [ByPattern(self.pattern, source.names)]
        rules: list[Rule] = [ById(source.names)] if self.match in ("id", "auto") else []
        rules += [ByPrompt(source.names)] if self.match in ("vbench", "auto") else []
        return [*rules, ByInput(source.root, source.names)] if self.match == "auto" else rules

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the arguments, or with what lies at `path`."""
        if self.pattern is not None:
            yield from pattern_problems(self.pattern)
            if self.match not in ("auto", "pattern"):
                yield Problem(
                    "model.pattern", f"has no use with model.match={self.match}", self.pattern, fix="drop one"
                )
        elif self.match == "pattern":
            yield Problem("model.pattern", "is not given", fix="model.pattern={category}/{id}_{sample}.mp4")
        try:
            source = self.source
        except UserError as error:
            yield from error.problems
            return
        if isinstance(source, Rows) and (self.match in ("pattern", "vbench") or self.pattern is not None):
            where, given = ("model.pattern", self.pattern) if self.pattern else ("model.match", self.match)
            yield Problem(where, "is for files, and each row of a list names its case", given, fix="leave it away")

    def review(self, cases: Iterable[Case], samples: int) -> Iterator[Problem | str]:
        """Yield how many cases have an output, which have none, which files are of no case, and what can't be decided."""
        if any(self.problems()):
            return
        if self.pattern is not None and samples > 1:
            yield from pattern_problems(self.pattern, samples)
        inventory = Inventory(self.source, self.rules, samples)
        for case in cases:
            inventory.add(case)
        yield from inventory.findings(str(self.path))

    def output_mb(self) -> float:
        """Nothing is written."""
        return 0.0

    def load(self, device: str) -> None:
        """Look at `path` once. Raises: UserError if there is nothing any more."""
        _ = self.rules

    def generate(self, requests: Sequence[Request]) -> list[MediaFile | str | Exception]:
        """Return each request's file or text; in its place FileNotFoundError if there is none, ValueError if several."""
        return [self._answer(request.case, request.sample) for request in requests]

    def _answer(self, case: Case, sample: int) -> MediaFile | str | Exception:
        found, _ = find(self.rules, case, sample)
        if not found:
            names = looked_for(self.rules, case, sample)  # on a line of its own: failures are grouped by the first
            return FileNotFoundError(f"{self.path} holds no output of this case\nlooked for {names}")
        if len(found) > 1:
            several = some(map(self.source.name, found), MOST_NAMED)
            return ValueError(f"{self.path} holds several outputs that could be this case's\n{several}")
        try:
            return self.source.output(found[0])
        except (OSError, ValueError) as error:
            return error
