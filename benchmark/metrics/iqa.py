"""Image quality by pyiqa: any of its metrics, on frames sampled from each clip, batched over frames and clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from benchmark.errors import Problem, closest, some
from benchmark.metrics import Item, Measure, Measured
from benchmark.metrics.iqa_catalogue import (
    NEEDS_PACKAGE,
    OF_SETS,
    REFUSED,
    Entry,
    catalogue,
    options_of,
    pyiqa_version,
)  # fmt: skip
from benchmark.metrics.sampling import frames_problems
from benchmark.model import Kind
from benchmark.weights import Weights

if TYPE_CHECKING:
    from benchmark.metrics.iqa_scoring import Tally

WITHOUT_NAMES = ("piqe", "psnr", "ssim", "ms_ssim")  # what `names: null` stands for: nothing to download
CHOOSES_WEIGHTS = ("pretrained", "pretrained_model_path", "backbone", "net", "version", "model", "model_name")


@dataclass
class Iqa:
    """pyiqa's metrics, each the mean over the frames that are looked at.

    `names` are pyiqa's own names (None: piqe, psnr, ssim and ms_ssim). `frames` says which frames. A metric with a reference
    compares frame t with frame t of the case's `reference`, or every frame with it if it is a picture. `align` says what
    becomes of a reference of another length, `resize_reference` of one of another size. `options` are arguments of a metric's
    class in pyiqa, by name. A network gets `frame_batch` frames at a time, which may be of several clips.
    """

    names: list[str] | None = None
    frames: int | str = "all"
    align: Literal["strict", "truncate"] = "strict"
    resize_reference: bool = False
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    frame_batch: Annotated[int, Meta(ge=1)] = 4
    batch_size: Annotated[int, Meta(ge=1)] = 4

    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[Kind, ...]] = ("image", "video")
    execution_only: ClassVar[tuple[str, ...]] = ("names", "frame_batch", "batch_size")

    def __post_init__(self) -> None:
        self._metrics: dict[str, Callable[..., Any]] = {}
        self._device = "cpu"

    @property
    def _chosen(self) -> tuple[str, ...]:
        return WITHOUT_NAMES if self.names is None else tuple(self.names)

    @property
    def _entries(self) -> list[Entry]:
        known = catalogue()
        return [known[name] for name in self._chosen if name in known]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The chosen metrics, as pyiqa describes them."""
        return tuple(entry.measure for entry in self._entries)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if pyiqa is missing, and for each metric, option or way to choose frames that doesn't exist."""
        yield from frames_problems("metrics.iqa.frames", self.frames)
        if not catalogue():
            yield Problem(
                "metrics.iqa", "needs the package pyiqa", "not installed", fix="pip install 'genbench[metrics]'"
            )
            return
        if self.names == []:
            yield Problem("metrics.iqa.names", "is empty", "[]", some(catalogue()), "name some")
        for index, name in enumerate(self._chosen):
            if problem := _name_problem(name, name in self._chosen[:index]):
                yield problem
        for name, options in self.options.items():
            yield from _option_problems(name, options)

    def identity(self) -> dict[str, str]:
        """Return pyiqa's version, and the digests of checkpoints of the user's own."""
        from benchmark.media import file_digest

        own = {name: Path(path) for name, path in self._own_checkpoints().items()}
        digests = {f"{name} checkpoint": file_digest(path) for name, path in own.items() if path.is_file()}
        return {"pyiqa": pyiqa_version(), **digests}

    def weights(self) -> Iterator[Weights]:
        """Yield what the chosen metrics load, each file once."""
        from benchmark.metrics.iqa_weights import weights_of

        own, seen = self._own_checkpoints(), set()
        for name in self._chosen:
            if name in own:
                yield Weights(f"the checkpoint of {name}", Path(own[name]))
            elif not set(CHOOSES_WEIGHTS) & set(self.options.get(name, ())):
                for weights in weights_of(name):
                    if weights.path not in seen:
                        seen.add(weights.path)
                        yield weights

    def _own_checkpoints(self) -> dict[str, str]:
        key = "pretrained_model_path"
        return {name: str(self.options[name][key]) for name in self._chosen if self.options.get(name, {}).get(key)}

    def load(self, device: str) -> None:
        """Load the chosen metrics' networks onto `device`."""
        from benchmark.metrics.iqa_loading import create

        self._device = device
        self._metrics = create({entry.name: self.options.get(entry.name, {}) for entry in self._entries}, device)

    def score(self, items: Sequence[Item]) -> list[Mapping[str, Measured | Exception] | Exception]:
        """Return {metric: mean over frames} per item; what can't be scored has its error in the place of the value."""
        from benchmark.metrics.iqa_scoring import Batches, Tally

        if not self._metrics:
            self.load(self._device)
        batches = Batches(self._metrics, {entry.name: entry for entry in self._entries}, self.frame_batch, self._device)
        tallies: list[Tally | Exception] = []
        for item in items:
            tally = Tally(item)
            tallies.append(tally)
            try:
                tally.pair(self.align, self.resize_reference, batches.compares)
                for index, frame, reference in tally.frames(self.frames):
                    batches.add(tally, index, frame, reference)
            except (ValueError, OSError) as error:  # this clip can't be decoded; those before and after it can
                tallies[-1] = error
        batches.flush()
        return [tally if isinstance(tally, Exception) else tally.results(self._metrics) for tally in tallies]


def _name_problem(name: str, again: bool) -> Problem | None:
    where, known = "metrics.iqa.names", catalogue()
    if name in OF_SETS:
        fix = "use the option that scores whole sets: metrics=[fid]"
        return Problem(where, "compares whole sets of pictures, and gives no score for one", name, fix=fix)
    if name in REFUSED:
        return Problem(where, REFUSED[name], name)
    if name not in known:
        allowed = f"pyiqa {pyiqa_version()} has {some(sorted(known), 200)}"
        return Problem(where, "pyiqa has no such metric", name, allowed, closest(name, known))
    if again:
        return Problem(where, "is named twice", name, fix="name each metric once")
    package = NEEDS_PACKAGE.get(name)
    if package and not find_spec(package):
        return Problem(where, f"needs the package {package}", f"{name}; not installed", fix=f"pip install {package}")
    return None


def _option_problems(name: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    where, known = f"metrics.iqa.options.{name}", catalogue()
    if name not in known:
        yield Problem("metrics.iqa.options", "pyiqa has no such metric", name, fix=closest(name, known))
        return
    allowed = options_of(known[name]) if options else None
    for key in options:
        if allowed is not None and key not in allowed:
            listed = ", ".join(allowed) or "none"
            yield Problem(where, f"{known[name].kind} in pyiqa has no such option", key, listed, closest(key, allowed))
