"""From a dataset to the cases of a run: filters, limit, order, and every mistake in them found before anything starts.

Cases are kept as encoded lines, so that a million of them fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from benchmark.dataset import Dataset, Excluded, Excluding
from benchmark.errors import Problem, UserError, blame, closest, some
from benchmark.records import Case, encode
from benchmark.store import unsafe

MOST_LISTED = 20
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
    """Return the cases that the filters and the limit leave, and what is wrong with the dataset or the filters."""
    everything, problems, whole = read(dataset)
    if not whole:
        return everything, problems
    problems += _unknown("dataset.categories", categories, everything.per_category())
    problems += _unknown("dataset.ids", ids, dict.fromkeys(everything.ids, 1))
    in_categories = set(everything.categories if categories is None else categories)
    in_ids = set(everything.ids if ids is None else ids)
    chosen = [
        index
        for index, (category, case_id) in enumerate(zip(everything.categories, everything.ids, strict=True))
        if category in in_categories and case_id in in_ids
    ]
    if not everything.ids and not problems:
        problems.append(Problem("dataset", "has no case"))
    elif not chosen and not problems:
        fix = "name some, or null for all"
        where = "dataset.ids" if categories is None else "dataset.categories"
        both = categories is not None and ids is not None
        problems.append(
            Problem(where, "leaves no case" + (" together with dataset.ids" if both else ""), "[]", fix=fix)
        )
    if problems:  # all of the dataset, so that what is wrong with its files is told as well
        return everything, problems
    return _pick(everything, spread(chosen, everything.categories, limit)), problems


def read(dataset: Dataset) -> tuple[CaseTable, list[Problem], bool]:
    """Return the cases of a dataset, a problem for each that can't be in a run, and whether it could be read to its end."""
    table, problems, whole = CaseTable(), [], False
    seen: Counter[str] = Counter()
    try:
        for case in dataset.cases():
            found = _impossible(case)
            problems += found
            if not any(problem.where == "dataset" for problem in found):
                seen[case.id] += 1
            if not found and seen[case.id] == 1:
                table.add(case)
        whole = True
        if isinstance(dataset, Excluding):
            table.excluded = dataset.excluded
    except UserError as error:
        problems += error.problems
    except Exception as error:  # noqa: BLE001 - a dataset's own code
        problems.append(Problem("dataset", f"can't be read: {blame(error)}"))
    repeated = [f"{case_id} ({n}x)" for case_id, n in seen.items() if n > 1]
    if repeated:
        problems.append(Problem("dataset", "duplicate ids", some(repeated), fix="give every case an id of its own"))
    return table, shortened(problems), whole


def _impossible(case: Case) -> list[Problem]:
    """Return why a case can't be in a run; a problem of `dataset` itself means that it has not even an id."""
    if not isinstance(case, Case) or not isinstance(case.id, str) or not isinstance(case.category, str):
        allowed = "benchmark.records.Case, its id and category text"
        return [Problem("dataset", "yields something that is no case", repr(case)[:200], allowed)]
    where, fix = f"case {case.id!r}", "ids and categories name files: use letters, digits, - and _"
    problems = []
    if why := unsafe(case.id) or ("holds a slash" if "/" in case.id else ""):
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


def _unknown(where: str, asked: Sequence[str] | None, there: Mapping[str, int]) -> list[Problem]:
    missing = [name for name in asked or () if name not in there]
    if not missing:
        return []
    wrong = "leaves no case: the dataset has none of it"
    return [Problem(where, wrong, some(missing), some(there), closest(missing[0], there))]


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
