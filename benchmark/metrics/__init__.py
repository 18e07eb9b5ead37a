"""What a metric is: the Protocols, and what a metric sees and says. Families of metrics lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from benchmark.model import Kind
from benchmark.records import Case, Prediction

if TYPE_CHECKING:
    from benchmark.clip import Clip


@dataclass(frozen=True)
class Measure:
    """One number that a metric gives: its name, which direction is better, its range and unit.

    `needs` names what each case must have for it: input roles ("image", "reference") or fields ("fields.move"). `kinds` are
    the outputs it is defined for, where these are fewer than its metric accepts.
    """

    name: str
    direction: Literal["higher", "lower", "neither"]
    low: float | None = None
    high: float | None = None
    unit: str = ""
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A value with what is worth keeping beside it (numbers and text only)."""

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Item:
    """One prediction to score: the case, its record, and its output decoded at most once for all metrics of a pass."""

    case: Case
    prediction: Prediction
    clip: Clip
    _inputs: dict[str, Clip] = field(default_factory=dict, repr=False)

    def input(self, role: str) -> Clip:
        """Return an input of the case ("image", "video", "reference"), decoded at most once for all metrics of a pass."""
        if role not in self._inputs:
            from benchmark.clip import Clip

            self._inputs[role] = Clip({role: Path(self.case.inputs[role])})
        return self._inputs[role]

    def release(self) -> None:
        """Give all decoded frames back."""
        for clip in (self.clip, *self._inputs.values()):
            clip.release()


@runtime_checkable
class Metric(Protocol):
    """Scores predictions one by one, in batches of `batch_size`; None stands for all of a run in one call.

    `version` is raised whenever the same arguments give other values: it is part of every score's fingerprint.
    `accepts` names the kinds of output it can score. `measures` lists the numbers it gives, given its arguments.
    `decodes`, where a class has it and it is False, says that frames are not asked for, so none are decoded ahead.

    An argument `names` (None: all measures that fit the output and the cases) chooses among the measures. It belongs
    into `execution_only`, each measure being the same whichever are asked for.
    """

    version: ClassVar[str]
    accepts: ClassVar[tuple[Kind, ...]]
    batch_size: int | None

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    def load(self, device: str) -> None: ...

    def score(self, items: Sequence[Item]) -> Sequence[Mapping[str, float | Measured | Exception] | Exception]:
        """Return a value per measure for each item, in order.

        An exception that is raised has the items of a batch tried one by one, then fails the item's measures, never others'.
        One in the place of a value fails that measure alone, one in the place of an item's mapping all measures of it.
        """
        ...


@runtime_checkable
class SetMetric(Protocol):
    """Scores all predictions of a run at once, such as FID. Its records say how many predictions it used."""

    version: ClassVar[str]
    accepts: ClassVar[tuple[Kind, ...]]

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    def load(self, device: str) -> None: ...

    def score_set(self, items: Iterable[Item]) -> Mapping[str, float | Measured]: ...
