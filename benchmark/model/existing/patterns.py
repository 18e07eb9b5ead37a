"""A pattern that makes an output's path of a case: "{category}/{id}_{sample:02d}.mp4"."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from benchmark.errors import Problem, closest
from benchmark.model.existing.listing import SUFFIXES, suffix_of, without_suffix
from benchmark.records import Case

FACTS = ("id", "category", "prompt", "sample", "fields.<name>")


class ByPattern:
    """Files at the path that a pattern makes of a case, such as "{category}/{id}_{sample:02d}.mp4"."""

    said = "by the pattern"

    def __init__(self, pattern: str, names: Iterable[str]) -> None:
        self._pieces = list(Formatter().parse(pattern))
        self._names: defaultdict[str, list[int]] = defaultdict(list)
        suffix = suffix_of(pattern) in SUFFIXES
        for index, name in enumerate(names):
            self._names[name if suffix else without_suffix(name)].append(index)

    def find(self, case: Case, sample: int) -> Sequence[int]:
        try:
            return self._names.get(self._path(case, sample), ())
        except (KeyError, TypeError, ValueError):
            return ()

    def looked_for(self, case: Case, sample: int) -> str:
        try:
            return self._path(case, sample)
        except (KeyError, TypeError, ValueError) as error:
            return f"nothing: it has no {error.args[0]}" if isinstance(error, KeyError) else f"nothing: {error}"

    def _path(self, case: Case, sample: int) -> str:
        said = [
            text + (format(_fact(name, case, sample), form or "") if name is not None else "")
            for text, name, form, _ in self._pieces
        ]
        return "/".join(part for part in "".join(said).split("/") if part not in ("", "."))


def pattern_problems(pattern: str, samples: int = 1) -> Iterator[Problem]:
    """Yield what is wrong with a pattern, and that it tells samples apart where there are several."""
    where, allowed = "model.pattern", ", ".join(f"{{{fact}}}" for fact in FACTS)
    try:
        pieces = [(name, conversion) for _, name, _, conversion in Formatter().parse(pattern) if name is not None]
    except ValueError as error:
        yield Problem(where, f"can't be read: {error}", pattern, allowed)
        return
    names = [name for name, _ in pieces]
    for name, conversion in pieces:
        if conversion or not (name in FACTS[:4] or re.fullmatch(r"fields(\.\w+)+", name)):
            given = f"{{{name}!{conversion}}}" if conversion else f"{{{name}}}"
            yield Problem(where, "names no fact of a case", given, allowed, closest(name, FACTS[:4]))
    if not set(names) - {"sample", "category"}:
        yield Problem(where, "is the same for all cases", pattern, allowed, "put {id} into it")
    if "*" in pattern or pattern.startswith(("/", "~", "..")):
        fix = "give the folder, or a glob, as model.path"
        yield Problem(where, "is one path below model.path, without *", pattern, fix=fix)
    if samples > 1 and names and "sample" not in names:
        yield Problem(where, f"is the same for all {samples} samples of a case", pattern, fix="put {sample} into it")


def pattern_like(name: str, case: Case, sample: int) -> str:
    """Return the pattern that makes an output's name of a case, or "" if the name holds neither its id nor its prompt."""
    bare, suffix = without_suffix(name), name[len(without_suffix(name)) :]
    for fact, value in (("id", case.id), ("prompt", case.prompt)):
        before, found, after = bare.rpartition(value) if value else ("", "", "")
        if found:
            within = case.category and before.startswith(f"{case.category}/")
            folders = f"{{category}}{before[len(case.category) :]}" if within else before
            number = re.sub(rf"(?<!\d){sample}(?!\d)", "{sample}", after, count=1)
            return f"{folders}{{{fact}}}{number}{suffix}"
    return ""


def _fact(name: str, case: Case, sample: int) -> Any:
    """Return what a placeholder stands for. Raises: KeyError with the placeholder if the case has no such field."""
    if name == "sample":
        return sample
    first, *keys = name.split(".")
    value = getattr(case, first)
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            raise KeyError(name)
        value = value[key]
    return value
