"""Which output belongs to which case and sample: by the case's id, by a pattern, or by VBench's `<prompt>-<index>`.

A name matches exactly or not at all. Names that differ only in case, punctuation or Unicode form are shown as hints.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol
from unicodedata import normalize

from benchmark.model.existing.listing import without_suffix
from benchmark.records import Case, Key

MOST_COMPARED = 2000  # names; comparing letter by letter takes 10 ms per 100
SHORTEST_CUT = 40  # letters of a prompt that a cut name must have kept

Names = Mapping[str, Sequence[int]]


class Rule(Protocol):
    """A way to tell which outputs, by number, are those of a case and sample: none, one, or, if it can't tell, several."""

    said: str

    def find(self, case: Case, sample: int) -> Sequence[int]: ...

    def looked_for(self, case: Case, sample: int) -> str:
        """Return the name that was looked for first, or ""."""
        ...


@dataclass
class ByRow:
    """The rows of a list, each of which names its case and sample."""

    keys: Mapping[Key, int]
    said: str = "by the id in its row"

    def find(self, case: Case, sample: int) -> Sequence[int]:
        index = self.keys.get(Key(case.id, sample))
        return () if index is None else (index,)

    def looked_for(self, case: Case, sample: int) -> str:
        return f"a row with id {case.id!r}" + (f" and sample {sample}" if sample else "")


class ById:
    """Files named by the case's id. Of these the first that is there counts, any suffix left aside:

        <category>/<id>  <id>               the whole path; a folder's / may stand as - in the id
        .../<id>                            below whatever folders
        <id>-<sample>  <id>_<sample>  <id>/<sample>        likewise
        .../<id>/<sample>/...  .../<id>/...                the only one in a folder of that name

    A name without a sample is sample 0.
    """

    said = "by id"

    def __init__(self, names: Iterable[str]) -> None:
        whole, ends, folders = defaultdict(list), defaultdict(list), defaultdict(list)
        for index, name in enumerate(names):
            bare = without_suffix(name)
            parts = bare.split("/")
            whole[bare].append(index)
            if len(parts) > 1:
                whole["-".join(parts)].append(index)
                ends["/".join(parts[-2:])].append(index)
            ends[parts[-1]].append(index)
            for above, folder in zip(["", *parts], parts[:-1], strict=False):
                folders[folder].append(index)
                if above:
                    folders[f"{above}/{folder}"].append(index)
        self._whole, self._ends, self._folders = whole, ends, folders

    def find(self, case: Case, sample: int) -> Sequence[int]:
        plain = self.plain(case) if sample == 0 else ()
        return plain or self.numbered(case, sample) or self._inside(case, sample)

    def plain(self, case: Case) -> Sequence[int]:
        """Return the outputs named by the id alone."""
        return self._first(case, (case.id,))

    def numbered(self, case: Case, sample: int) -> Sequence[int]:
        """Return the outputs named by the id and the sample."""
        return self._first(case, [f"{case.id}{between}{sample}" for between in "-_/"])

    def looked_for(self, case: Case, sample: int) -> str:
        return case.id if sample == 0 else f"{case.id}-{sample}"

    def _first(self, case: Case, names: Sequence[str]) -> Sequence[int]:
        within = [f"{case.category}/{name}" for name in names] if case.category else []
        return _any(self._whole, within) or _any(self._whole, names) or _any(self._ends, [*within, *names])

    def _inside(self, case: Case, sample: int) -> Sequence[int]:
        inside = self._folders.get(f"{case.id}/{sample}", ())
        if inside or sample:
            return inside
        return self._folders.get(f"{case.category}/{case.id}", ()) or self._folders.get(case.id, ())


class ByPrompt:
    """Files named as VBench wants them: `<prompt>-<index>`, the index being the sample, below whatever folders."""

    said = "by VBench's <prompt>-<index>"

    def __init__(self, names: Iterable[str]) -> None:
        self._ends = defaultdict(list)
        for index, name in enumerate(names):
            self._ends[without_suffix(name).rpartition("/")[2]].append(index)

    def find(self, case: Case, sample: int) -> Sequence[int]:
        return self._ends.get(f"{case.prompt}-{sample}", ()) if case.prompt else ()

    def looked_for(self, case: Case, sample: int) -> str:
        return f"{case.prompt}-{sample}"


class ByInput:
    """The file that is the case's own input, for cases made of the outputs themselves whose names could be no ids."""

    said = "the case's own input"

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._root = f"{root}/".replace("//", "/")
        self._names = {name: index for index, name in enumerate(names)}

    def find(self, case: Case, sample: int) -> Sequence[int]:
        below = [path[len(self._root) :] for path in case.inputs.values() if path.startswith(self._root)]
        return [self._names[name] for name in below if name in self._names] if sample == 0 else ()

    def looked_for(self, case: Case, sample: int) -> str:
        """Return "": it is no name that anyone would choose."""
        return ""


def find(rules: Sequence[Rule], case: Case, sample: int) -> tuple[Sequence[int], str]:
    """Return the outputs of the first rule that finds any, and what the rule is called."""
    for rule in rules:
        if found := rule.find(case, sample):
            return found, rule.said
    return (), ""


def _any(index: Names, names: Sequence[str]) -> list[int]:
    return list(dict.fromkeys(found for name in names for found in index.get(name, ())))


def looked_for(rules: Sequence[Rule], case: Case, sample: int) -> str:
    """Return the names that were looked for, in words."""
    names = dict.fromkeys(rule.looked_for(case, sample) for rule in rules)
    return " or ".join(f"`{name}`" for name in names if name)


class Nearest:
    """Finds the names most like one that was looked for and is not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known = {_essence(without_suffix(name).rpartition("/")[2]): name for name in reversed(names)}
        cut = ((re.sub(r"\d+$", "", essence), name) for essence, name in self._known.items())
        self._cut = sorted(pair for pair in cut if len(pair[0]) >= SHORTEST_CUT)

    def __call__(self, wanted: str) -> str:
        """Return a name that differs in case, punctuation or Unicode form only, or is cut, or is spelt alike; else ""."""
        essence = _essence(wanted.rpartition("/")[2])
        if not essence:
            return ""
        if essence in self._known:
            return self._known[essence]
        at = bisect(self._cut, (essence, "\U0010ffff")) - 1
        if at >= 0 and essence.startswith(self._cut[at][0]):
            return self._cut[at][1]
        if len(self._names) > MOST_COMPARED:
            return ""
        alike = get_close_matches(essence, self._known, n=3, cutoff=0.75)
        return next((self._known[name] for name in alike if _numbers(name) == _numbers(essence)), "")


def _numbers(text: str) -> list[int]:
    """Return the numbers in a name: c100 is no misspelt c101."""
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _essence(text: str) -> str:
    return re.sub(r"[\W_]+", "", normalize("NFKC", text).casefold())
