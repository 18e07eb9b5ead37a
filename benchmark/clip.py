"""A prediction's output as metrics see it: frames or text, decoded at most once, and what is evidently wrong with them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.media import pngs, read_image, read_video

if TYPE_CHECKING:
    import numpy as np

BLACK_LEVEL, BLACK_SHARE = 16, 0.999
CONSTANT_DEVIATION = 2.0


def quality_flags(frames: np.ndarray) -> list[str]:
    """Name what is evidently wrong with frames (T, H, W, 3) uint8, often the trace of NaNs in a model.

    "black": at least 99.9 % of all values are at most 16 (black in video range). "constant": in every frame
    every channel has a standard deviation under 2 of 255 levels, so each frame is one plain colour.
    """
    import numpy as np

    flags = []
    if np.count_nonzero(frames <= BLACK_LEVEL) >= BLACK_SHARE * frames.size:
        flags.append("black")
    if all(frame.std(axis=(0, 1)).max() < CONSTANT_DEVIATION for frame in frames):
        flags.append("constant")
    return flags


def decode(files: Mapping[str, Path]) -> np.ndarray:
    """Return the frames (T, H, W, 3) uint8 of a prediction's files: "frames" before "video" before "image".

    Frames come first since they are lossless. Raises: ValueError for other roles, or frames of several sizes.
    """
    import numpy as np

    if "frames" in files:
        pictures = [read_image(path) for path in pngs(Path(files["frames"]))]
        if len(sizes := {picture.shape for picture in pictures}) > 1:
            raise ValueError(f"{files['frames']} holds frames of several sizes: {sorted(sizes)}")
        return np.stack(pictures)
    if "video" in files:
        return read_video(Path(files["video"]))[0]
    if "image" in files:
        return read_image(Path(files["image"]))[None]
    raise ValueError(f"no frames to decode: roles {sorted(files)}, allowed: frames, video, image")


class Clip:
    """A prediction's output: `files` by role, `text`, and frames, decoded once however many threads ask."""

    def __init__(self, files: Mapping[str, Path], text: str | None = None) -> None:
        self.files = dict(files)
        self.text = text
        self._frames: np.ndarray | None = None
        self._lock = threading.Lock()

    @property
    def frames(self) -> np.ndarray:
        """The frames (T, H, W, 3) uint8 RGB, T = 1 for an image; read-only, since all metrics share them."""
        with self._lock:
            if self._frames is None:
                self._frames = decode(self.files)
                self._frames.flags.writeable = False
            return self._frames

    def release(self) -> None:
        """Give the memory back; asking for frames again decodes again."""
        with self._lock:
            self._frames = None
