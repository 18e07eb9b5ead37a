"""What a dataset is: something that yields cases. One file per family of datasets lies beside this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol, runtime_checkable

from benchmark.records import Case


@runtime_checkable
class Dataset(Protocol):
    """Yields its cases in an order of its own, always the same. Raises UserError with all bad rows at once.

    `version` is raised whenever the same arguments give other cases.
    """

    version: ClassVar[str]

    def cases(self) -> Iterator[Case]: ...
