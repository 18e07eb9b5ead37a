"""Rows of results: whose each is, and the number that it gives for a measure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath
from typing import Any

from benchmark.metrics import Measured
from benchmark.metrics.outside.result_files import ResultFiles, Table, Value
from benchmark.programs.folder import bare

Outcome = float | Measured | Exception
SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".txt", ".json"}


def rows_of(document: Any, expression: str | None) -> list[Any]:
    """Return the rows in a document; what is no list is one row."""
    document = list(document) if isinstance(document, Table) else document  # JMESPath knows types by their names
    found = search(expression, document) if expression else document
    return [] if found is None else list(found) if isinstance(found, list) else [found]


def search(expression: str, row: Any) -> Any:
    """Return what a JMESPath finds. Raises: ValueError if a function in it does not take what it is given."""
    import jmespath

    try:
        return jmespath.search(expression, row)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{expression}: {error}") from error


def number(given: Any, what: str, as_text: bool = False) -> float:
    """Return a result as a number; with `as_text`, it may be the text of one.

    Raises: ValueError for null, NaN, true, a list, text that is no number or must not be one.
    """
    if given is None or given == "":
        raise ValueError(f"the evaluator gave no {what}")
    if isinstance(given, (list, dict)):
        raise ValueError(f"{what} is no number but {json.dumps(given):.80}; a JMESPath such as avg(...) makes one")
    if isinstance(given, bool) or (isinstance(given, str) and not as_text):
        raise ValueError(f"{what} is no number but {json.dumps(given, ensure_ascii=False):.80}")
    try:
        value = float(given)
    except ValueError:
        raise ValueError(f"{what} is no number: {given!r:.80}") from None
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}, no finite number")
    return value


class Names:
    """What each of several items may be called in a result file; `unknown` gathers names there that are of none of them."""

    def __init__(self, items: Sequence[tuple[str, int, Sequence[PurePath]]]) -> None:
        """`items` has for each its case's id, its sample and the paths under which the evaluator has seen its output."""
        self.count = len(items)
        self.unknown: dict[str, None] = {}  # in the order of the rows
        self._exact: dict[tuple[str, float], int] = {}
        self._loose: dict[str, set[int]] = {}
        for index, (case_id, sample, paths) in enumerate(items):
            self._exact[case_id, sample] = index
            forms = (form for path in paths for form in (str(path), path.name, path.stem))
            for name in (case_id, f"{case_id}/{sample}", *forms):
                self._loose.setdefault(name, set()).add(index)

    def exactly(self, case_id: Any, sample: Any) -> int | None:
        """Return which item has this case and sample, None if none."""
        found = self._exact.get((as_key(case_id), number(sample, "sample", as_text=True)))
        if found is None:
            self.note([as_key(case_id) if sample in (0, "0") else f"{as_key(case_id)}/{as_key(sample)}"])
        return found

    def find(self, key: Any) -> int | None:
        """Return which item a row's key names, None if none. Raises: ValueError if it may be several."""
        text = as_key(key)
        path = PurePath(text)
        for name in (text, path.name, path.stem if path.suffix.lower() in SUFFIXES else text):
            found = self._loose.get(name, set())
            if len(found) > 1:
                raise ValueError(f"{text} names several outputs: set results.sample, or put {{sample}} into link_as")
            if found:
                return next(iter(found))
        self.note([text])
        return None

    def note(self, names: Iterable[str]) -> None:
        """Keep those of the names that are of no item."""
        self.unknown |= {name: None for name in names if name not in self._loose}


def unknown_rows(names: Collection[str]) -> str:
    """Return what the log says of rows that are of no item."""
    first = next(iter(names))
    if len(names) == 1:
        return f"what it says of an unknown case is ignored: {first!r:.100}"
    return f"what it says of {len(names)} unknown cases is ignored, the first of them: {first!r:.100}"


def as_key(key: Any) -> str:
    """Return what names a case as text: whole numbers without a point."""
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)


def mapped(
    documents: Sequence[Any], mapping: ResultFiles, measures: Sequence[str], names: Names
) -> list[dict[str, Outcome]]:
    """Return each item's outcome by measure, as the mapping finds it in result files; what it does not find is an exception.

    Without `mapping.key` all rows are of the one item that there is.
    """
    found: list[dict[str, Outcome]] = [{} for _ in range(names.count)]
    for measure in measures:
        spec = mapping.value_of(measure)
        expression = mapping.rows if spec.rows is None else spec.rows
        rows = [(row, isinstance(all_of, Table)) for all_of in documents for row in rows_of(all_of, expression)]
        whose = [_whose(row, mapping, names) for row, _ in rows]
        counts = Counter(whose)
        for index, (row, as_text) in zip(whose, rows, strict=True):
            if index is not None:
                several = counts[index] > 1
                found[index][measure] = _several(counts[index]) if several else _at(row, spec, measure, as_text)
        why = "no row for it" if rows or not expression else f"no rows: {expression} finds nothing"
        for outcomes in found:
            outcomes.setdefault(measure, ValueError(f"the evaluator gave {why}"))
    return found


def _whose(row: Any, mapping: ResultFiles, names: Names) -> int | None:
    if mapping.key is None:
        return 0
    key = search(mapping.key, row)
    if key is None or mapping.sample is None:
        return None if key is None else names.find(key)
    return names.exactly(key, search(mapping.sample, row))


def _several(count: int) -> Exception:
    return ValueError(f"the evaluator gave {count} rows for this case: which one counts?")


def _at(row: Any, spec: Value, measure: str, as_text: bool) -> Outcome:
    try:
        return number(search(spec.value, row), measure, as_text) * spec.scale
    except ValueError as error:
        return bare(error)


def listed(document: Any, measures: Sequence[str], names: Names) -> list[dict[str, Outcome]]:
    """Return each item's outcome by measure, from scores in the format that genbench asks for.

    It is a list of rows {"case_id", "sample" (0 if left out), and by measure: a number, {"value", "details"} or {"error"}};
    of a single item, "case_id" may be left out, and the list around it. Raises: ValueError for anything else.
    """
    found: list[dict[str, Outcome]] = [{} for _ in range(names.count)]
    counts: Counter[int] = Counter()
    for row in document if isinstance(document, list) else [document]:
        if not isinstance(row, dict) or not ("case_id" in row or names.count == 1):
            raise ValueError(f'scores are a list of {{"case_id": ..., "<measure>": ...}}, not {json.dumps(row):.80}')
        index = names.exactly(row["case_id"], row.get("sample", 0)) if "case_id" in row else 0
        if index is not None:
            counts[index] += 1
            found[index] = {measure: _listed(row[measure], measure) for measure in measures if measure in row}
    for index, outcomes in enumerate(found):
        if counts[index] > 1:
            outcomes |= {measure: _several(counts[index]) for measure in measures}
        for measure in measures:
            outcomes.setdefault(measure, ValueError(f"the evaluator gave no {measure} for it"))
    return found


def _listed(given: Any, measure: str) -> Outcome:
    if isinstance(given, dict) and given.get("error"):
        return RuntimeError(str(given["error"]))
    try:
        if not (isinstance(given, dict) and "value" in given):
            return number(given, measure)
        details = given.get("details")
        return Measured(number(given["value"], measure), details if isinstance(details, dict) else {})
    except ValueError as error:
        return bare(error)
