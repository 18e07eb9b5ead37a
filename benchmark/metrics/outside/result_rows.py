"""Rows of results: whose each is, and the number that it gives for a measure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from benchmark.metrics import Measured
from benchmark.metrics.outside.result_files import ResultFiles, Value
from benchmark.programs.folder import bare

Outcome = float | Measured | Exception
SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".txt", ".json"}


def rows_of(document: Any, expression: str | None) -> list[Any]:
    """Return the rows in a document; what is no list is one row."""
    found = search(expression, document) if expression else document
    return [] if found is None else list(found) if isinstance(found, list) else [found]


def search(expression: str, row: Any) -> Any:
    """Return what a JMESPath finds. Raises: ValueError if a function in it does not take what it is given."""
    import jmespath

    try:
        return jmespath.search(expression, row)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{expression}: {error}") from error


def number(given: Any, what: str) -> float:
    """Return a result as a number. Raises: ValueError for null, NaN, a list, text that is none."""
    if given is None or given == "":
        raise ValueError(f"the evaluator gave no {what}")
    if isinstance(given, (list, dict)):
        raise ValueError(f"{what} is no number but {json.dumps(given):.80}; a JMESPath such as avg(...) makes one")
    try:
        value = float(given)
    except ValueError:
        raise ValueError(f"{what} is no number: {given!r:.80}") from None
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}, no finite number")
    return value


class Names:
    """What each of several items may be called in a result file."""

    def __init__(self, items: Sequence[tuple[str, int, Sequence[PurePath]]]) -> None:
        """`items` has for each its case's id, its sample and the paths under which the evaluator has seen its output."""
        self.count = len(items)
        self._exact: dict[tuple[str, int], int] = {}
        self._loose: dict[str, set[int]] = {}
        for index, (case_id, sample, paths) in enumerate(items):
            self._exact[case_id, sample] = index
            forms = (form for path in paths for form in (str(path), path.name, path.stem))
            for name in (case_id, f"{case_id}/{sample}", *forms):
                self._loose.setdefault(name, set()).add(index)

    def exactly(self, case_id: Any, sample: Any) -> int | None:
        """Return which item has this case and sample, None if none."""
        return self._exact.get((as_key(case_id), int(number(sample, "sample"))))

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
        return None


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
        rows = [row for document in documents for row in rows_of(document, expression)]
        for row in rows:
            index = _whose(row, mapping, names)
            if index is not None:
                twice = measure in found[index]
                found[index][measure] = (
                    ValueError("the evaluator gave two rows for it") if twice else _at(row, spec, measure)
                )
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


def _at(row: Any, spec: Value, measure: str) -> Outcome:
    try:
        return number(search(spec.value, row), measure) * spec.scale
    except ValueError as error:
        return bare(error)


def listed(document: Any, measures: Sequence[str], names: Names) -> list[dict[str, Outcome]]:
    """Return each item's outcome by measure, from scores in the format that genbench asks for.

    It is a list of rows {"case_id", "sample" (0 if left out), and by measure: a number, {"value", "details"} or {"error"}};
    of a single item, "case_id" may be left out, and the list around it. Raises: ValueError for anything else.
    """
    found: list[dict[str, Outcome]] = [{} for _ in range(names.count)]
    for row in document if isinstance(document, list) else [document]:
        if not isinstance(row, dict) or not ("case_id" in row or names.count == 1):
            raise ValueError(f'scores are a list of {{"case_id": ..., "<measure>": ...}}, not {json.dumps(row):.80}')
        index = names.exactly(row["case_id"], row.get("sample", 0)) if "case_id" in row else 0
        if index is not None:
            found[index] |= {measure: _listed(row[measure], measure) for measure in measures if measure in row}
    for outcomes in found:
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
