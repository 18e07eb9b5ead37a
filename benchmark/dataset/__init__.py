"""What a dataset is: something that yields cases. Families of datasets lie beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from benchmark.errors import Problem
from benchmark.records import Case


@runtime_checkable
class Dataset(Protocol):
    """Yields its cases in an order of its own, always the same. Raises UserError with all bad rows at once.

    `version` is raised whenever the same arguments give other cases.
    """

    version: ClassVar[str]

    def cases(self) -> Iterator[Case]: ...


@dataclass
class Excluded:
    """Rows that a dataset left out because something is wrong with them: how many, and a problem for each of the first."""

    count: int = 0
    listed: list[Problem] = field(default_factory=list)


@runtime_checkable
class Excluding(Protocol):
    """A dataset that leaves bad rows out if the user says so. `excluded` is complete once `cases` has come to its end."""

    @property
    def excluded(self) -> Excluded: ...
