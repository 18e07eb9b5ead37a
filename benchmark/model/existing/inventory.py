"""Which cases have an output and which outputs have a case: what the user is told before existing outputs are recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from benchmark.errors import Problem, some
from benchmark.model.existing.listing import Listing, Source
from benchmark.model.existing.matching import ById, Nearest, Rule, find, looked_for
from benchmark.model.existing.patterns import pattern_like
from benchmark.records import Case

MOST_NAMED = 5  # cases or files in one message
MOST_SAMPLES = 100  # looked for beyond those asked for


@dataclass
class Inventory:
    """Counts, over all cases, which outputs are found and which are left over; of what is wrong it keeps the first few."""

    source: Source
    rules: Sequence[Rule]
    samples: int
    expected: int = 0
    missing: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    lacking: list[tuple[Case, int]] = field(default_factory=list)  # the first of the missing
    undecided: dict[str, Sequence[int]] = field(default_factory=dict)  # cases with several outputs
    shared: dict[int, list[str]] = field(default_factory=dict)  # outputs with several cases
    further: list[int] = field(default_factory=list)  # outputs of the first case beyond the samples asked for

    def __post_init__(self) -> None:
        self._owner = [""] * len(self.source)
        self._rivals: dict[str, Sequence[int]] = {}

    def add(self, case: Case) -> None:
        """Look for all samples of a case."""
        first = not self.expected
        for sample in range(self.samples):
            self._look(case, sample)
        for sample in range(self.samples, self.samples + MOST_SAMPLES) if first else ():
            found, _ = find(self.rules, case, sample)
            if len(found) != 1 or self._owner[found[0]]:
                break
            self.further.append(found[0])

    def _look(self, case: Case, sample: int) -> None:
        self.expected += 1
        label = labelled(case, sample)
        found, rule = find(self.rules, case, sample)
        for index in found:
            self._claim(index, label)
        if len(found) > 1:
            self.undecided[label] = found
        elif found and self.source.there(found[0]):
            self.by_rule[rule] += 1
            if sample == 0:
                self._compare(case, label, found[0])
        else:
            self.missing += 1
            if len(self.lacking) < MOST_NAMED:
                self.lacking.append((case, sample))

    def _claim(self, index: int, label: str) -> None:
        if self._owner[index] and len(self.shared) < MOST_NAMED:
            self.shared.setdefault(index, [self._owner[index]]).append(label)
        self._owner[index] = label

    def _compare(self, case: Case, label: str, found: int) -> None:
        """Remember a second name of sample 0, `x-0` beside `x`, which may yet be the name of a case of its own."""
        for rule in self.rules:
            if isinstance(rule, ById) and (others := [index for index in rule.numbered(case, 0) if index != found]):
                self._rivals[label] = [found, *others]

    def findings(self, path: str) -> Iterator[Problem | str]:
        """Yield what came of it, once all cases were added."""
        for label, indices in self._rivals.items():
            if not all(self._owner[index] for index in indices):
                self.undecided[label] = indices
        if self.undecided:
            yield from self._ambiguities(path)
        elif self.by_rule:
            yield from self._notes(path)
        elif self.expected:
            yield self._nothing(path)

    def _ambiguities(self, path: str) -> Iterator[Problem]:
        for label, indices in list(self.undecided.items())[:MOST_NAMED]:
            fix = "move all but one away, or say how they are named: model.pattern={category}/{id}.mp4"
            yield Problem(f"case {label!r}", "several outputs could be its", self._named(indices), fix=fix)
        if (rest := len(self.undecided) - MOST_NAMED) > 0:
            yield Problem("model.path", f"for {rest} more cases there are several outputs", path)

    def _nothing(self, path: str) -> Problem:
        case, sample = self.lacking[0]
        names = looked_for(self.rules, case, sample)
        near = self._near(case, sample)
        pattern = pattern_like(near, case, sample) or "{category}/{id}.mp4"
        said = f"did you mean `{near}`? Then " if near else ""
        return Problem(
            "model.path",
            f"none of its {len(self.source)} outputs is that of a case: {self._named(range(len(self.source)))}",
            path,
            f"for case {labelled(case, sample)!r}: {names}",
            f"{said}say how they are named, model.pattern={pattern}, or list them in a .jsonl file",
        )

    def _notes(self, path: str) -> Iterator[str]:
        n, rules = self.by_rule.total(), self.by_rule.most_common()
        yield f"{n} of {self.expected} outputs found in {path}: {some(f'{n} {said}' for said, n in rules)}"
        if self.missing:
            near = [(labelled(*lacking), self._near(*lacking)) for lacking in self.lacking]
            first = [f"{label} (is it `{name}`?)" if name else label for label, name in near]
            rest = f", and {self.missing - len(first)} more" if self.missing > len(first) else ""
            yield f"{self.missing} of {self.expected} outputs not found: {', '.join(first)}{rest}"
        if self.further and not any(self._owner[index] for index in self.further):
            n_samples = self.samples + len(self.further)
            yield f"there seem to be {n_samples} samples of a case: samples={n_samples} scores them all"
        if over := [index for index, owner in enumerate(self._owner) if not owner]:
            yield f"{len(over)} of {len(self.source)} outputs match no case: {self._named(over)}"
        for index, labels in self.shared.items():
            yield f"{self.source.name(index)} is the output of several cases: {some(labels, MOST_NAMED)}"
        if isinstance(self.source, Listing):
            yield from _passed_over(self.source)

    def _named(self, indices: Sequence[int]) -> str:
        first = [self.source.name(index) for index in indices[:MOST_NAMED]]
        rest = len(indices) - len(first)
        return ", ".join(first) + (f", and {rest} more" if rest else "")

    def _near(self, case: Case, sample: int) -> str:
        for rule in self.rules if isinstance(self.source, Listing) else ():
            if near := self._nearest(rule.looked_for(case, sample)):
                return near
        return ""

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest([self.source.name(index) for index in range(len(self.source))])


def labelled(case: Case, sample: int) -> str:
    """Return what a message calls an output that is asked for."""
    return f"{case.id}, sample {sample}" if sample else case.id


def _passed_over(listing: Listing) -> Iterator[str]:
    if listing.clips:
        yield f"folders of numbered PNGs taken as clips: {listing.clips} (model.kind=image takes each PNG as a picture)"
    if listing.others:
        yield f"files of other kinds than {listing.kind}, passed over: {listing.others}"
