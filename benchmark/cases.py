"""From a dataset to the cases of a run: filters, limit, order, and every mistake in them found before anything starts.

Cases are kept as encoded lines, so that a million of them fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from benchmark.dataset import Dataset
from benchmark.errors import Problem, UserError, closest, some
from benchmark.media import check_image, file_digest
from benchmark.prompts import Prompts
from benchmark.records import Case, encode
from benchmark.store import unsafe

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
MOST_LISTED = 20
_decode = msgspec.json.Decoder(Case).decode


@dataclass
class CaseTable:
    """The chosen cases in the dataset's order: their encoded lines, ids, categories, and a digest of what they ask for."""

    lines: list[bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    digest: str = ""

    def per_category(self) -> dict[str, int]:
        return dict(Counter(self.categories))

    def by_cost(self) -> Iterable[bytes]:
        """Yield the lines in the order in which they are handed out: costly ones first, else as the dataset has them."""
        order = sorted(range(len(self.lines)), key=lambda index: -self.costs[index])
        return (self.lines[index] for index in order)


def choose(
    dataset: Dataset, *, categories: Sequence[str] | None, ids: Sequence[str] | None, limit: int | None
) -> tuple[CaseTable, list[Problem]]:
    """Return the cases that the filters and the limit leave, and what is wrong with the dataset or the filters."""
    everything = CaseTable()
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    repeated: Counter[str] = Counter()
    try:
        for case in dataset.cases():
            if case.id in seen:
                repeated[case.id] += 1
                continue
            seen[case.id] = len(everything.ids)
            why = unsafe(case.id) or ("holds a slash" if "/" in case.id else "")
            why_category = unsafe(case.category) if case.category else ""
            if (why or why_category) and len(problems) < MOST_LISTED:
                what = "id" if why else "category"
                given = case.id if why else case.category
                fix = "ids name files: use letters, digits, -, _ and spaces"
                problems.append(Problem("dataset", f"case {what} {why or why_category}", repr(given), fix=fix))
            everything.ids.append(case.id)
            everything.categories.append(case.category)
            everything.costs.append(case.cost)
            everything.lines.append(encode(case))
    except UserError as error:
        return everything, error.problems
    if repeated:
        listed = some(f"{case_id} ({n + 1}x)" for case_id, n in repeated.items())
        problems.append(Problem("dataset", "duplicate ids", listed, "every case id once"))
    problems += _unknown("dataset.categories", categories, everything.per_category())
    problems += _unknown("dataset.ids", ids, seen)
    chosen = [
        index
        for index in range(len(everything.ids))
        if (categories is None or everything.categories[index] in categories)
        and (ids is None or everything.ids[index] in ids)
    ]
    if not everything.ids:
        problems.append(Problem("dataset", "has no case"))
    elif not chosen and not problems:
        problems.append(Problem("dataset.ids", "no case is left by the filters together"))
    return _pick(everything, spread(chosen, everything.categories, limit)), problems


def _unknown(where: str, asked: Sequence[str] | None, there: Mapping[str, int]) -> list[Problem]:
    missing = [name for name in asked or () if name not in there]
    if not missing:
        return []
    fix = closest(missing[0], there)
    return [Problem(where, "leaves no case: the dataset has none of it", some(missing), some(there), fix)]


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
    )


def inspect(table: CaseTable, needs: Mapping[str, Sequence[str]], prompts: Prompts | None) -> list[Problem]:
    """Check the chosen cases against what will be done with them, fill in their inputs' digests and the table's digest.

    `needs` maps who needs something ("model", "metrics.basic") to the input roles or fields needed.
    """
    lacking: Counter[tuple[str, str]] = Counter()
    unrendered: Counter[str] = Counter()
    files = _Files()
    whole = sha256()
    for index, line in enumerate(table.lines):
        case = _decode(line)
        for who, what in needs.items():
            lacking.update((who, need) for need in what if not _has(case, need))
        if prompts:
            try:
                prompts.render(case)
            except KeyError as error:
                unrendered[str(error.args[0])] += 1
        if case.inputs:
            case = msgspec.structs.replace(case, digests=files.digests(case))
            table.lines[index] = encode(case)
        identity = [case.id, case.category, case.prompt, case.fields, case.digests]
        whole.update(msgspec.json.encode(identity, order="deterministic"))
    table.digest = whole.hexdigest()[:16]
    n = len(table.lines)
    problems = [
        Problem(who, f"needs the case's {need}, which {count} of {n} cases lack", fix=_remedy(who, need))
        for (who, need), count in lacking.items()
    ]
    for name, count in unrendered.items():
        problems.append(Problem("prompts", f"the template names {name}, which {count} of {n} cases lack"))
    return problems + files.problems


def _has(case: Case, need: str) -> bool:
    if need.startswith("fields."):
        return need[7:] in case.fields
    return bool(case.prompt) if need == "prompt" else need in case.inputs


def _remedy(who: str, need: str) -> str:
    option = who.removeprefix("metrics.")
    if option != who:
        return f"leave out the measures of {option} that need it (`{who}.names=[...]`), or use a dataset with {need}"
    return f"use a dataset whose cases have {need}"


class _Files:
    """Input files, each read once however many cases share it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.problems: list[Problem] = []

    def digests(self, case: Case) -> dict[str, str]:
        return {role: self._digest(case.id, role, path) for role, path in case.inputs.items()}

    def _digest(self, case_id: str, role: str, path: str) -> str:
        if path not in self._known:
            self._known[path] = ""
            try:
                if Path(path).suffix.lower() in PICTURES:
                    check_image(Path(path))
                self._known[path] = file_digest(Path(path))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                self.problems.append(Problem(f"case {case_id}", f"its {role} can't be read: {reason}", path))
        return self._known[path]
