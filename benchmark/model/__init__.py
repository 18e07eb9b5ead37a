"""What a model is: the Protocol, and the requests it answers. Families of models lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from benchmark.errors import Problem
from benchmark.records import Case, Choice, Key

if TYPE_CHECKING:
    import numpy as np

    from benchmark.clip import Clip
    from benchmark.media import Image, MediaFile, Video
    from benchmark.weights import Weights

Kind = Literal["image", "video", "text"]


@dataclass(frozen=True)
class Answer:
    """What a language model says to a request: generated text, and how likely it finds each answer that the case offers."""

    text: str
    choices: Sequence[Choice] = ()


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

    def clip(self, role: str = "video") -> Clip:
        """Return the case's input clip (or picture) by its role: its frames are decoded when asked for."""
        from benchmark.clip import Clip

        return Clip({role: Path(self.case.inputs[role])})


@runtime_checkable
class Model(Protocol):
    """Turns requests into outputs. Constructing one is cheap; `load` is expensive and happens once a worker.

    `version` is raised whenever the same arguments give other outputs: it is part of every prediction's fingerprint.
    `needs` names what each case must have: input roles ("image") or fields ("fields.move").
    `batch_size` is the number of requests `generate` gets at most. `decodes`, where a class has it and it is False, says that
    input pictures are not asked for as pixels, so none are decoded ahead. `always_retried`, where a class has it and it is
    True, says that failed cases may be tried any number of times, as it costs nothing.
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

    def generate(self, requests: Sequence[Request]) -> Sequence[Video | Image | MediaFile | str | Answer | Exception]:
        """Return one output per request, in order: pixels, a file that lies on the disk already, or text.

        An exception that is raised fails the request, or has those of a batch tried one by one. An exception that is returned
        fails its own request alone and is not tried again in this pass.
        """
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
class Reviewing(Protocol):
    """A component that looks at all chosen cases when a run is planned, beyond what `needs` says.

    It yields a Problem for what must be refused, and text for what the user should know and may go on with.
    """

    def review(self, cases: Iterable[Case], samples: int) -> Iterable[Problem | str]: ...


@runtime_checkable
class Requiring(Protocol):
    """A component that imports packages which not every installation has; they are looked for where it will run."""

    @property
    def requires(self) -> tuple[str, ...]: ...


@runtime_checkable
class Weighted(Protocol):
    """A component that loads weights from files or the Hugging Face Hub: it names them, so that a missing one is found before
    a run starts, and `benchmark fetch` can bring it."""

    def weights(self) -> Iterable[Weights]: ...


@runtime_checkable
class Sized(Protocol):
    """A model that can estimate how many megabytes one output takes on disk."""

    def output_mb(self) -> float: ...


__all__ = [
    "Answer",
    "Checked",
    "Identified",
    "Kind",
    "Model",
    "Request",
    "Requiring",
    "Reviewing",
    "Sized",
    "Weighted",
]
