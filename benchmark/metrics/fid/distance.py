"""FID: how far the outputs of a run, taken together, are from real pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta

from benchmark.errors import Problem
from benchmark.media import CLIP_SUFFIXES, PICTURE_SUFFIXES, file_digest
from benchmark.metrics import Item, Measure, Measured
from benchmark.metrics.checkpoints import torch_file_problems
from benchmark.metrics.fid.frechet import Moments, frechet_distance
from benchmark.metrics.fid.inception import FEATURES, Inception, Resize, load_inception, weights_of
from benchmark.metrics.frames import frames_at
from benchmark.metrics.sampling import frame_indices, frames_problems
from benchmark.model import Kind
from benchmark.records import Case, digest
from benchmark.weights import Weights

if TYPE_CHECKING:
    import numpy as np

    from benchmark.clip import Clip

REFERENCES = "references"
SUFFIXES = (*PICTURE_SUFFIXES, *CLIP_SUFFIXES)
AGAINST = (
    f"{REFERENCES} (each case's input of that name), a folder of pictures and clips, or an .npz file of mu and sigma"
)


class Summary(NamedTuple):
    """What FID knows of one side: mean (2048,), covariance (2048, 2048), and of how many frames, where that is known."""

    mean: np.ndarray
    covariance: np.ndarray
    n_frames: int | None


@dataclass
class Fid:
    """Fréchet Inception distance between frames of all outputs and real frames.

    `against` says what is real: "references", a folder, or an .npz of pytorch-fid. `checkpoint` is another file with the
    weights of the Inception network. `frames` as in benchmark.metrics.sampling, of outputs and of real clips alike; `resize`
    as in benchmark.metrics.fid.inception; `frame_batch` frames go through the network at once.
    """

    against: Annotated[str, Meta(min_length=1)] = REFERENCES
    checkpoint: Path | None = None
    frames: str | int = 8
    resize: Resize = "clean"
    frame_batch: Annotated[int, Meta(ge=1)] = 32
    _inception: Inception | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    requires: ClassVar[tuple[str, ...]] = ("torch", "pyiqa")
    accepts: ClassVar[tuple[Kind, ...]] = ("image", "video")
    execution_only: ClassVar[tuple[str, ...]] = ("frame_batch",)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """One measure; it needs references only if they are what it is taken against."""
        return (Measure("fid", "lower", 0, needs=(REFERENCES[:-1],) if self.against == REFERENCES else ()),)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for real pictures that are not there, and for frames that can't be chosen."""
        yield from frames_problems("metrics.fid.frames", self.frames)
        if self.against != REFERENCES:
            yield from self._against_problems(Path(self.against).expanduser())
        if self.checkpoint:
            yield from torch_file_problems("metrics.fid.checkpoint", self.checkpoint.expanduser())

    def _against_problems(self, path: Path) -> Iterator[Problem]:
        where = "metrics.fid.against"
        if path.is_dir():
            if not real_files(path):
                yield Problem(where, "the folder holds no pictures or clips", str(path), ", ".join(SUFFIXES))
        elif not path.exists():
            yield Problem(where, "there is no such file or folder", str(path), AGAINST)
        elif lacking := {"mu", "sigma"} - _names_in_npz(path):
            yield Problem(where, f"is no .npz file with {' and '.join(sorted(lacking))}", str(path), AGAINST)

    def weights(self) -> Iterator[Weights]:
        """Yield the weights of the Inception network."""
        yield weights_of(self.checkpoint)

    def identity(self) -> dict[str, str]:
        """Return digests of the user's own files; of a folder its files' names and sizes, since contents may be many GB."""
        found = {}
        if self.checkpoint and (path := self.checkpoint.expanduser()).is_file():
            found["checkpoint"] = file_digest(path)
        against = Path(self.against).expanduser()
        if self.against != REFERENCES and against.is_dir():
            files = [(path.relative_to(against).as_posix(), path.stat().st_size) for path in real_files(against)]
            found["against"] = digest(files)
        elif self.against != REFERENCES and against.is_file():
            found["against"] = file_digest(against)
        return found

    def review(self, cases: Iterable[Case], samples: int) -> Iterator[str]:
        """Say so if there will be too few frames for a value that can be compared with others."""
        if isinstance(self.frames, int) and (most := sum(1 for _ in cases) * samples * self.frames) < FEATURES:
            yield f"metrics.fid: {most} frames at most. {_few(most)}"

    def load(self, device: str) -> None:
        """Bring the network onto `device`. Raises: ValueError if its file is missing, damaged or holds something else."""
        self._inception = load_inception(self.checkpoint, self.resize, device)

    def score_set(self, items: Iterable[Item]) -> dict[str, float | Measured]:
        """Return the distance, with the number of frames on both sides. Raises: ValueError for fewer than 2 on a side."""
        assert self._inception, "score_set before load"
        made, real = _Frames(self._inception, self.frame_batch), _Frames(self._inception, self.frame_batch)
        known = self._known(real)
        seen: set[str] = set()
        for item in items:
            made.add(self._chosen(item.clip))
            if self.against == REFERENCES:
                path = item.case.inputs["reference"]
                if item.case.digests.get("reference", path) not in seen:  # once, however many cases share it
                    real.add(self._chosen(item.input("reference")))
                    seen.add(item.case.digests.get("reference", path))
        a, b = made.summary("the outputs"), known or real.summary(self.against)
        distance = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
        details: dict[str, Any] = {"n_output_frames": a.n_frames, "n_reference_frames": b.n_frames}
        fewest = min(n for n in (a.n_frames, b.n_frames) if n is not None)
        return {"fid": Measured(distance, details | ({"warning": _few(fewest)} if fewest < FEATURES else {}))}

    def _chosen(self, clip: Clip) -> Iterator[np.ndarray]:
        return frames_at(clip, frame_indices(clip.length, self.frames))

    def _known(self, real: _Frames) -> Summary | None:
        """Return what is known of the real frames before any output is looked at, so that a bad file is told early."""
        path = Path(self.against).expanduser()
        if self.against == REFERENCES:
            return None
        if path.is_file():
            return read_statistics(path)
        from benchmark.clip import Clip

        for file in real_files(path):
            clip = Clip({"reference": file})
            real.add(self._chosen(clip))
            clip.release()
        return real.summary(self.against)


class _Frames:
    """Frames on their way through the network, a batch at a time, into their moments."""

    def __init__(self, inception: Inception, batch: int) -> None:
        self._inception, self._batch = inception, batch
        self._waiting: list[np.ndarray] = []
        self._moments = Moments(FEATURES)

    def add(self, frames: Iterable[np.ndarray]) -> None:
        for frame in frames:
            self._waiting.append(self._inception.prepared(frame))
            if len(self._waiting) == self._batch:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._moments.add(self._inception.features(self._waiting))
            self._waiting = []

    def summary(self, whose: str) -> Summary:
        """Return mean, covariance and number of all frames. Raises: ValueError for fewer than 2."""
        self._flush()
        moments = self._moments
        if moments.count < 2:
            raise ValueError(f"FID needs at least 2 frames of {whose}, there is {moments.count}")
        return Summary(moments.mean, moments.covariance, moments.count)


def _few(frames: int) -> str:
    return (
        f"FID of fewer than {FEATURES} frames is biased upwards: compare it only with FIDs of as many frames ({frames})"
    )


def real_files(folder: Path) -> list[Path]:
    """Return the pictures and clips in a folder and below it, in order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _names_in_npz(path: Path) -> set[str]:
    import zipfile

    if not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read_statistics(path: Path) -> Summary:
    """Return the mean `mu` and covariance `sigma` in an .npz. Raises: ValueError for other shapes."""
    import numpy as np

    with np.load(path) as found:
        mean, covariance = found["mu"].astype(np.float64), found["sigma"].astype(np.float64)
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        shapes = f"mu {mean.shape} and sigma {covariance.shape}"
        raise ValueError(f"{path} holds {shapes}, not ({FEATURES},) and ({FEATURES}, {FEATURES})")
    return Summary(mean, covariance, None)
