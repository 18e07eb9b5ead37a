"""Any program as a metric: an evaluator in an environment of its own, called for each case, each chunk or the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta

from benchmark.errors import Problem
from benchmark.metrics import Item
from benchmark.metrics.choice import name_problems
from benchmark.metrics.outside.declared import checked, measures_of
from benchmark.metrics.outside.handover import Handed, hand_over, wrong_names
from benchmark.metrics.outside.result_files import ResultFiles, States, find, matches, read, state
from benchmark.metrics.outside.result_rows import Names, Outcome, listed, mapped, unknown_rows
from benchmark.model import Kind
from benchmark.programs import Program, Word
from benchmark.programs.call import call
from benchmark.programs.folder import WorkFolder, bare
from benchmark.programs.placeholders import Vocabulary, fill, named, placeholders
from benchmark.records import Case

WHERE = "metrics.command"  # whatever name a copy of the option has
ALWAYS = ("cases", "scores", "outputs", "results", "device", "python", "options.")
SINGLE = ("output", "case_id", "sample", "seed", "category", "prompt", "image", "video", "input.", "fields.")
IN_LINKS = ("case_id", "sample", "suffix", "category", "prompt", "fields.")
LINK_FIX = "name outputs by {case_id} and {sample}; {prompt:.180} is cut after 180 characters"
Outcomes = dict[str, Outcome]


@dataclass
class Command:
    """Scores of an outside program; conf/metrics/command.yaml explains each argument and what is exchanged."""

    command: str | list[Word]
    measures: Any  # settings by name, made into Measures
    names: list[str] | None = None
    per: Literal["case", "chunk", "run"] = "case"
    chunk_size: Annotated[int, Meta(ge=1)] = 16
    results: ResultFiles | None = None
    link_as: str = "{case_id}-{sample}{suffix}"
    accepts: list[Kind] = field(default_factory=lambda: list(get_args(Kind)))
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Word] = field(default_factory=dict)
    cwd: str | None = None
    timeout_min: Annotated[float, Meta(gt=0)] | None = None
    revision: str = ""

    version: ClassVar[str] = "1"
    execution_only: ClassVar[tuple[str, ...]] = ("names", "chunk_size", "timeout_min", "accepts")
    decodes: ClassVar[bool] = False

    @property
    def requires(self) -> tuple[str, ...]:
        return ("jmespath",) if self.results else ()

    def __post_init__(self) -> None:
        self._program = Program(WHERE, self.command, self.environment, self.cwd)
        self.batch_size = {"case": 1, "chunk": self.chunk_size, "run": None}[self.per]
        declared, self._undeclared = measures_of(self.measures, f"{WHERE}.measures")
        self._known = [measure.name for measure in declared]
        self.measures = tuple(m for m in declared if self.names is None or m.name in self.names)
        self._device = "cpu"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the command, the measures, and where their values are to be found."""
        yield from self._program.problems(self._vocabulary(self.per == "case"))
        yield from self._undeclared
        yield from name_problems("command", self.names, self._known)
        yield from Vocabulary(IN_LINKS, cuts=True).problems(f"{WHERE}.link_as", self.link_as)
        if self.results:
            yield from self._mapping_problems(self.results)
        elif self.command and "scores" not in self._program.placeholders():
            fix = "give it {scores}, the file to write, or say under results how its own result files are read"
            yield Problem(f"{WHERE}.command", "does not tell the program where scores are to go", fix=fix)

    def _mapping_problems(self, results: ResultFiles) -> Iterator[Problem]:
        yield from self._vocabulary(True).problems(f"{WHERE}.results.file", results.file)
        yield from results.problems(f"{WHERE}.results", self._known)
        if results.key is None and not self._one_by_one:
            fix = "set results.key to where a row names its case, or put {case_id} into results.file"
            yield Problem(f"{WHERE}.results.key", "is needed: a result file is of several cases", "null", fix=fix)

    def review(self, cases: Iterable[Case], samples: int) -> Iterator[Problem]:
        """Yield a problem if outputs would be linked under the same name, or under one that no file can have."""
        for wrong in wrong_names(self.link_as, cases, samples, unique=self.per != "case"):
            yield Problem(f"{WHERE}.link_as", wrong, self.link_as, fix=LINK_FIX)

    def identity(self) -> dict[str, str]:
        """Return the sha256 of the files that the command names."""
        return self._program.identity()

    def load(self, device: str) -> None:
        """Import what reads result files; the program itself is started by each call."""
        self._device = device
        if self.results:
            import jmespath  # noqa: F401

    def score(self, items: Sequence[Item]) -> list[Mapping[str, Outcome] | Exception]:
        """Return an outcome per measure of each item.

        If a call fails as a whole, the items of a chunk are tried one by one; a call for the whole run is not made again.
        Raises: ChildProcessError, TimeoutError, FileNotFoundError or ValueError, unless the call is for the whole run.
        """
        try:
            return [checked(outcomes, self.measures) for outcomes in self._score(items)]
        except (OSError, ValueError, KeyError) as error:
            if self.per != "run":
                raise bare(error).with_traceback(error.__traceback__) from error.__cause__
            return [bare(error)] * len(items)

    def _score(self, items: Sequence[Item]) -> list[Outcomes]:
        folder = WorkFolder()
        values = {name: str(folder.sub(name)) for name in ("outputs", "results")}
        values |= {name: str(folder.path / f"{name}.json") for name in ("cases", "scores")}
        values |= {"device": self._device, **named("options", self.options)}
        handed = hand_over(items, folder, self.link_as)
        single = handed[0].values if self.per == "case" else {}
        before = self._result_states(values, handed)
        log = call(self._program, values | single, folder.path, self.timeout_min)
        try:
            names = Names([one.name for one in handed])
            found = self._read(values, handed, before, names)
            if names.unknown:
                log.write(unknown_rows(names.unknown))
            return found
        except (FileNotFoundError, ValueError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{self._program.name}: {error}{log.last_words()}") from error

    def _read(self, values: dict[str, str], handed: Sequence[Handed], before: States, names: Names) -> list[Outcomes]:
        """Return the outcomes that the program left: in the file for scores, or in result files of its own."""
        wanted = [measure.name for measure in self.measures]
        if not self.results:
            return listed(read(find(values["scores"], before)[0]), wanted, names)
        if not self._one_by_one:
            documents = [read(path) for path in find(self._pattern(values), before)]
            return mapped(documents, self.results, wanted, names)
        found: list[Outcomes] = []
        for one in handed:
            try:
                documents = [read(path) for path in find(self._pattern(values | one.values), before)]
                own = Names([one.name])
                found += mapped(documents, self.results, wanted, own)
                names.note(own.unknown)
            except (FileNotFoundError, ValueError) as error:
                found.append(dict.fromkeys(wanted, bare(error)))
        return found

    def _result_states(self, values: dict[str, str], handed: Sequence[Handed]) -> States:
        """Return the state of the result files that are there before the call, so that none is taken for its own."""
        if not self.results:
            return {}
        patterns = {self._pattern(values | one.values) for one in handed}
        return {path: state(path) for pattern in patterns for path in matches(pattern)}

    def _pattern(self, values: Mapping[str, str]) -> str:
        assert self.results
        return str(Path(self._program.folder() or Path.cwd(), Path(fill(self.results.file, values)).expanduser()))

    @property
    def _one_by_one(self) -> bool:
        """Whether a result file is of a single case."""
        assert self.results
        try:
            used = placeholders(self.results.file)
        except ValueError:
            return False
        return self.per == "case" or any(name in SINGLE or name.startswith(("input.", "fields.")) for name in used)

    def _vocabulary(self, single: bool) -> Vocabulary:
        return Vocabulary(ALWAYS, SINGLE, single, "per: case, or read it from {cases}", self.options)
