"""From a dataset to the cases of a run: filters, limit, order, and every mistake in them found before anything starts.

Cases are kept as encoded lines, so that a million of them fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from benchmark.dataset import Dataset, Excluded, Excluding
from benchmark.errors import Problem, UserError, blame, closest, some
from benchmark.names import FIX, SeenIds, unsafe, unsafe_id
from benchmark.records import Case, encode

MOST_LISTED = 20
MOST_KEPT = 1000  # problems, and ids to choose a likely one from
decode_case = msgspec.json.Decoder(Case).decode


@dataclass
class CaseTable:
    """The chosen cases in the dataset's order: their encoded lines, ids, categories, and a digest of what they ask for."""

    lines: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    digest: str = ""
    samples: int = 1
    excluded: Excluded = field(default_factory=Excluded)

    def add(self, case: Case) -> None:
        """Append a case. Raises TypeError if a field of it can't be written as JSON."""
        self.lines.append(encode(case))
        self.ids.append(case.id)
        self.categories.append(case.category)
        self.costs.append(case.cost)

    def per_category(self) -> dict[str, int]:
        return dict(Counter(self.categories))

    def by_cost(self) -> list[bytes]:
        """Return the lines in the order in which they are handed out: costly ones first, else as the dataset has them."""
        order = sorted(range(len(self.lines)), key=lambda index: -self.costs[index])
        return [self.lines[index] for index in order]

    def moved(self, written: Sequence[bytes]) -> list[bytes] | None:
        """Return the lines of a run of the same cases, in its order, if their inputs lie elsewhere by now; else None."""
        if sorted(written) == sorted(line.rstrip() for line in self.lines):
            return None
        now = dict(zip(self.ids, self.lines, strict=True))
        return [now[decode_case(line).id] for line in written]


def choose(
    dataset: Dataset, *, categories: Sequence[str] | None, ids: Sequence[str] | None, limit: int | None
) -> tuple[CaseTable, list[Problem]]:
    """Return the cases that the filters and the limit leave, and what is wrong with the dataset or the filters.

    The dataset is read as a stream, of which only what may be chosen is kept.
    """
    reading = _Reading(categories, ids, limit)
    whole = reading.read(dataset)
    table, problems = reading.table, shortened(reading.problems)
    if not whole:
        return table, problems
    problems += _unknown("dataset.categories", categories, reading.per_category, reading.per_category)
    problems += _unknown("dataset.ids", ids, reading.found, reading.first_ids)
    if not reading.n and not problems:
        problems.append(Problem("dataset", "has no case"))
    elif not table.ids and not problems:
        fix = "name some, or null for all"
        where = "dataset.ids" if categories is None else "dataset.categories"
        both = categories is not None and ids is not None
        problems.append(
            Problem(where, "leaves no case" + (" together with dataset.ids" if both else ""), "[]", fix=fix)
        )
    if problems and not table.ids:  # what is wrong with the files of the others is told as well
        others = _Reading(None, None, None)
        others.read(dataset)
        return others.table, problems
    return _pick(table, spread(range(len(table.ids)), table.categories, limit)), problems


class _Reading:
    """One look through a dataset: the cases that may be chosen, and what is wrong with the others."""

    def __init__(self, categories: Sequence[str] | None, ids: Sequence[str] | None, limit: int | None) -> None:
        self._categories, self._limit = None if categories is None else set(categories), limit
        self._ids = None if ids is None else set(ids)
        self._seen, self._repeated, self._kept = SeenIds(), Counter[str](), Counter[str]()
        self.table, self.problems = CaseTable(), list[Problem]()
        self.per_category: Counter[str] = Counter()
        self.first_ids, self.found = list[str](), set[str]()
        self.n = 0

    def read(self, dataset: Dataset) -> bool:
        """Read the dataset and return whether it could be read to its end."""
        whole = False
        try:
            for case in dataset.cases():
                self._look_at(case)
            whole = True
            if isinstance(dataset, Excluding):
                self.table.excluded = dataset.excluded
        except UserError as error:
            self.problems += error.problems
        except Exception as error:  # noqa: BLE001 - a dataset's own code
            self.problems.append(Problem("dataset", f"can't be read: {blame(error)}"))
        repeated = [f"{case_id} ({n + 1}x)" for case_id, n in self._repeated.items()]
        if repeated:
            fix = "give every case an id of its own"
            self.problems.append(Problem("dataset", "duplicate ids", some(repeated), fix=fix))
        return whole

    def _look_at(self, case: Case) -> None:
        found = _impossible(case)
        self.problems += found if len(self.problems) < MOST_KEPT else ()
        if any(problem.where == "dataset" for problem in found):
            return
        if not self._seen.add(case.id):
            self._repeated[case.id] += 1
        elif not found:
            self.n += 1
            self.per_category[case.category] += 1
            if len(self.first_ids) < MOST_KEPT:
                self.first_ids.append(case.id)
            self._keep(case)

    def _keep(self, case: Case) -> None:
        if self._ids is not None:
            if case.id not in self._ids:
                return
            self.found.add(case.id)
        if self._categories is not None and case.category not in self._categories:
            return
        if self._limit is None or self._kept[case.category] < self._limit:
            self._kept[case.category] += 1
            self.table.add(case)


def _impossible(case: Case) -> list[Problem]:
    """Return why a case can't be in a run; a problem of `dataset` itself means that it has not even an id."""
    if not isinstance(case, Case) or not isinstance(case.id, str) or not isinstance(case.category, str):
        allowed = "benchmark.records.Case, its id and category text"
        return [Problem("dataset", "yields something that is no case", repr(case)[:200], allowed)]
    where, fix = f"case {case.id!r}", f"ids and categories name files: {FIX}"
    problems = []
    if why := unsafe_id(case.id):
        problems.append(Problem(where, f"its id {why}", case.id, fix=fix))
    if why := unsafe(case.category) if case.category else "":
        problems.append(Problem(where, f"its category {why}", case.category, fix=fix))
    try:
        decode_case(encode(case))
    except (TypeError, msgspec.ValidationError) as error:
        problems.append(Problem(where, f"can't be written as JSON: {error}", repr(case)[:200]))
    return problems


def shortened(problems: list[Problem]) -> list[Problem]:
    """Return the problems, those after the first MOST_LISTED just counted."""
    rest = len(problems) - MOST_LISTED
    return [*problems[:MOST_LISTED], Problem("dataset", f"{rest} more such problems")] if rest > 1 else problems


def _unknown(where: str, asked: Sequence[str] | None, there: Collection[str], shown: Collection[str]) -> list[Problem]:
    missing = [name for name in asked or () if name not in there]
    if not missing:
        return []
    wrong = "leaves no case: the dataset has none of it"
    return [Problem(where, wrong, some(missing), some(shown), closest(missing[0], shown))]


def spread(chosen: Sequence[int], categories: Sequence[str], limit: int | None) -> list[int]:
    """Return at most `limit` of the chosen indices, taken in turn from each category, in their old order."""
    if limit is None or limit >= len(chosen):
        return list(chosen)
    queues: dict[str, list[int]] = {}
    for index in chosen:
        queues.setdefault(categories[index], []).append(index)
    picked: list[int] = []
    rank = 0
    while len(picked) < limit:
        turn = [queue[rank] for queue in queues.values() if rank < len(queue)]
        picked += turn[: limit - len(picked)]
        rank += 1
    return sorted(picked)


def _pick(table: CaseTable, chosen: Sequence[int]) -> CaseTable:
    if len(chosen) == len(table.ids):
        return table
    return CaseTable(
        lines=[table.lines[index] for index in chosen],
        ids=[table.ids[index] for index in chosen],
        categories=[table.categories[index] for index in chosen],
        costs=[table.costs[index] for index in chosen],
        excluded=table.excluded,
    )
