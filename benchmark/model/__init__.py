"""What a model is: the Protocol, and the requests it answers. One file per family of models lies beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from benchmark.errors import Problem
from benchmark.records import Case, Key

if TYPE_CHECKING:
    import numpy as np

    from benchmark.media import Image, Video

Kind = Literal["image", "video", "text"]


@dataclass
class Request:
    """One output asked of a model: a case, which of its samples, the rendered prompt and the seed."""

    case: Case
    sample: int
    prompt: str
    negative_prompt: str
    seed: int
    _images: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> Key:
        return Key(self.case.id, self.sample)

    def image(self, role: str = "image") -> np.ndarray:
        """Return the case's input picture as (H, W, 3) uint8 RGB, decoded once (and, where possible, ahead of time)."""
        if role not in self._images:
            from benchmark.media import read_image

            self._images[role] = read_image(Path(self.case.inputs[role]))
        return self._images[role]


@runtime_checkable
class Model(Protocol):
    """Turns requests into outputs. Constructing one is cheap; `load` is expensive and happens once a worker.

    `version` is raised whenever the same arguments give other outputs: it is part of every prediction's fingerprint.
    `needs` names what each case must have: input roles ("image") or fields ("fields.move").
    `batch_size` is the number of requests `generate` gets at most.
    `execution_only`, where a class has it, names arguments that change how the work is done and not what comes out, such as
    batch_size: they are left out of the fingerprint. The same holds for metrics.
    """

    version: ClassVar[str]
    output: ClassVar[Kind]
    needs: ClassVar[tuple[str, ...]]
    batch_size: int

    def load(self, device: str) -> None:
        """Bring the weights onto `device` ("cpu" or "cuda")."""
        ...

    def generate(self, requests: Sequence[Request]) -> Sequence[Video | Image | str]:
        """Return one output per request, in order. An exception fails the request, or is retried one by one in a batch."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A component that can tell, cheaply and before any run, what is wrong with its arguments or the machine."""

    def problems(self) -> Iterable[Problem]: ...


@runtime_checkable
class Identified(Protocol):
    """A component whose result depends on more than its arguments, such as the content of a checkpoint."""

    def identity(self) -> Mapping[str, str]: ...


@runtime_checkable
class Sized(Protocol):
    """A model that can estimate how many megabytes one output takes on disk."""

    def output_mb(self) -> float: ...


__all__ = ["Checked", "Identified", "Kind", "Model", "Request", "Sized"]
