"""The argument `names` of a metric: which of its measures a user wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.errors import Problem, closest, some


def name_problems(option: str, names: Sequence[str] | None, known: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each name that no measure of the option has, and one if an empty list leaves none."""
    where = f"metrics.{option}.names"
    for name in names or ():
        if name not in known:
            yield Problem(where, "no such measure", name, some(known), closest(name, known))
    if names is not None and not names:
        yield Problem(where, "is empty", "[]", some(known), "name some, or null for all")
