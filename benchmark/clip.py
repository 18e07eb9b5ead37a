"""A prediction's output, or an input of a case, as metrics see it: frames or text, and what is evidently wrong with them.

A clip that fits is decoded once for all who ask. A longer one (ten minutes are 15 GB of pixels) is never held whole: it is
read as a stream each time, so memory stays flat.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.media import MediaInfo, pngs, probe, read_image, stream_video

if TYPE_CHECKING:
    import numpy as np

BLACK_LEVEL, BLACK_SHARE = 16, 0.999
CONSTANT_DEVIATION = 2.0
WHOLE_MB = 512  # a clip that decodes to more is streamed
BLOCK = 32  # frames


def quality_flags(frames: Iterable[np.ndarray]) -> list[str]:
    """Name what is evidently wrong with frames, (H, W, 3) uint8 each, often the trace of NaNs in a model.

    "black": at least 99.9 % of all values are at most 16 (black in video range). "constant": in every frame
    every channel has a standard deviation under 2 of 255 levels, so each frame is one plain colour.
    """
    import numpy as np

    dark = size = 0
    constant = True
    for frame in frames:
        dark += int(np.count_nonzero(frame <= BLACK_LEVEL))
        size += frame.size
        constant = constant and bool(frame.std(axis=(0, 1)).max() < CONSTANT_DEVIATION)
    return ["black"] * (dark >= BLACK_SHARE * size) + ["constant"] * constant


def stream(files: Mapping[str, Path]) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 of a prediction's files: "frames" before "video" before "image".

    Frames come first since they are lossless. "video" and "reference" may be a picture, a clip or a folder of PNGs. Raises:
    ValueError for other roles, frames of several sizes, or a file that can't be read.
    """
    path = source(files)
    if not path.is_dir():
        yield from [read_image(path)] if probe(path).kind == "image" else stream_video(path)
        return
    size = None
    for picture in map(read_image, pngs(path)):
        size = size or picture.shape
        if picture.shape != size:
            raise ValueError(f"{path} holds frames of several sizes: {sorted({size, picture.shape})}")
        yield picture


def source(files: Mapping[str, Path]) -> Path:
    """Return the file, or folder of PNGs, that the frames are read from. Raises: ValueError if there is none."""
    for role in ("frames", "video", "image", "reference"):
        if role in files:
            return Path(files[role])
    raise ValueError(f"no frames to decode: roles {sorted(files)}, allowed: frames, video, image, reference")


class Clip:
    """An output or an input: `files` by role, `text`, and frames, decoded once however many threads ask."""

    def __init__(self, files: Mapping[str, Path], text: str | None = None) -> None:
        self.files = dict(files)
        self.text = text
        self._frames: np.ndarray | None = None
        self._lock = threading.Lock()

    @cached_property
    def info(self) -> MediaInfo:
        """What the file says of itself: size, number of frames, fps. Raises: ValueError if it can't be read."""
        return probe(source(self.files))

    @property
    def fits(self) -> bool:
        """Whether all frames may be held in memory at once."""
        return self._frames is not None or self.info.width * self.info.height * self.info.frames * 3 <= WHOLE_MB * 1e6

    @property
    def frames(self) -> np.ndarray:
        """All frames (T, H, W, 3) uint8 RGB, T = 1 for an image; read-only, since all metrics share them.

        Raises: ValueError if they take more than WHOLE_MB; `at` and `blocks` work for any length.
        """
        import numpy as np

        with self._lock:
            if self._frames is None:
                if not self.fits:
                    what = f"{self.info.frames} frames of {self.info.width}x{self.info.height}"
                    raise ValueError(f"{source(self.files)} has {what}, too many to be held at once: read it in blocks")
                self._frames = np.stack(list(stream(self.files)))
                self._frames.flags.writeable = False
            return self._frames

    @property
    def length(self) -> int:
        """The number of frames: exact once decoded, else as the file says."""
        return len(self.frames) if self.fits else self.info.frames

    def preload(self) -> None:
        """Decode ahead of the first use what may be held."""
        if self.fits:
            _ = self.frames

    def blocks(self, size: int = BLOCK, overlap: int = 0) -> Iterator[np.ndarray]:
        """Yield all frames in order as blocks (t, H, W, 3), t <= `size`, each opening with the last `overlap` frames before.

        With `overlap=1` each pair of neighbours is in exactly one block. Memory stays flat for any length of clip.
        """
        import numpy as np

        assert 0 <= overlap < size, f"blocks of {size} frames can't overlap by {overlap}"
        if self.fits:
            for first in range(0, max(1, len(self.frames) - overlap), size - overlap):
                yield self.frames[first : first + size]
            return
        held: list[np.ndarray] = []
        fresh = 0
        for frame in stream(self.files):
            held.append(frame)
            fresh += 1
            if len(held) == size:
                yield np.stack(held)
                held, fresh = held[size - overlap :], 0
        if fresh:
            yield np.stack(held)

    def at(self, indices: Sequence[int]) -> np.ndarray:
        """Return the frames (len(indices), H, W, 3) at these indices. Raises: ValueError if the clip is shorter."""
        import numpy as np

        if self.fits:
            if max(indices, default=0) >= len(self.frames):
                raise ValueError(f"{source(self.files)} has {len(self.frames)} frames, none at {max(indices)}")
            return self.frames[list(indices)]
        wanted, found = set(indices), {}
        for index, frame in enumerate(stream(self.files)):
            if index in wanted:
                found[index] = frame
                if len(found) == len(wanted):
                    break
        if missing := wanted - set(found):
            raise ValueError(f"{source(self.files)} has no frame at {min(missing)}")
        return np.stack([found[index] for index in indices])

    def release(self) -> None:
        """Give the memory back; asking for frames again decodes again."""
        with self._lock:
            self._frames = None
