"""Basic video metrics without weights: flicker, fidelity of the first frame, amount and kind of motion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from benchmark.clip import BLOCK
from benchmark.errors import Problem
from benchmark.metrics import Item, Measure, Measured
from benchmark.metrics.camera_motion import CameraFit, move_agreement
from benchmark.metrics.choice import name_problems
from benchmark.model import Kind

if TYPE_CHECKING:
    import numpy as np

PSNR_CAP_DB = 100.0
FLOW_MB = 128  # flow fields held at once
MEASURES = (
    Measure("temporal_flickering", "higher", 0, 1),
    Measure("first_frame_psnr", "higher", 0, PSNR_CAP_DB, "dB", ("image",)),
    Measure("first_frame_ssim", "higher", -1, 1, "", ("image",)),
    Measure("motion_magnitude", "neither", 0, None, "px/frame"),
    Measure("move_agreement", "higher", 0, 1, "", ("fields.move",)),
)
NAMES = tuple(measure.name for measure in MEASURES)


@dataclass
class Basic:
    """Five measures of a video of any length; each frame is decoded once and optical flow is computed once.

    `names` chooses measures (None: all). Flow is computed on frames whose longer side is `flow_size`
    pixels. Camera motion of less than `static_below`, a share of the frame's longer side over the whole
    clip, counts as static. A case gets those measures whose inputs and fields it has. A clip of one frame
    gets no temporal measure: asking for one raises ValueError.
    """

    names: list[str] | None = None
    flow_size: Annotated[int, Meta(ge=32, le=4096)] = 256
    static_below: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    batch_size: Annotated[int, Meta(ge=1)] = 1

    version: ClassVar[str] = "1"
    execution_only: ClassVar[tuple[str, ...]] = (
        "names",
        "batch_size",
    )  # each measure is the same whichever are asked for
    accepts: ClassVar[tuple[Kind, ...]] = ("video",)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each unknown measure, and one if none is left."""
        yield from name_problems("basic", self.names, NAMES)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The chosen measures, in the order of MEASURES."""
        return tuple(m for m in MEASURES if self.names is None or m.name in self.names)

    def load(self, device: str) -> None:
        """Import what scoring needs, so that the first case isn't slower than others."""
        import cv2  # noqa: F401
        import skimage.metrics  # noqa: F401

    def score(self, items: Sequence[Item]) -> list[dict[str, float | Measured]]:
        """Return {measure: value} per item. Raises: ValueError as the functions below do."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> dict[str, float | Measured]:
        wanted = {m.name for m in self.measures if all(_has(item, need) for need in m.needs)}
        found: dict[str, float | Measured] = {}
        if wanted & {"first_frame_psnr", "first_frame_ssim"}:
            first = item.clip.at([0])[0]
            picture = input_picture(item, first)
            found |= {"first_frame_psnr": psnr(picture, first)} if "first_frame_psnr" in wanted else {}
            found |= {"first_frame_ssim": ssim(picture, first)} if "first_frame_ssim" in wanted else {}
        if wanted & {"temporal_flickering", "motion_magnitude", "move_agreement"}:
            change = self._change(item, wanted)
            if "temporal_flickering" in wanted:
                found["temporal_flickering"] = change.flickering
            if "motion_magnitude" in wanted:
                found["motion_magnitude"] = change.magnitude
            if "move_agreement" in wanted:
                move = item.case.fields["move"]
                found["move_agreement"] = move_agreement(change.camera.motion, move, self.static_below)
        return {name: found[name] for name in NAMES if name in found}

    def _change(self, item: Item, wanted: set[str]) -> Change:
        """Look at each pair of neighbouring frames once, block by block: memory is flat for any length of clip."""
        change, clip = Change(), item.clip
        width, height = small_size(clip.info.width, clip.info.height, self.flow_size)
        fields = max(1, int(FLOW_MB * 1e6) // (width * height * 12)) if clip.fits else BLOCK - 1
        for frames in clip.blocks(1 + fields, overlap=1):
            if "temporal_flickering" in wanted:
                change.steps += steps(frames)
            if wanted & {"motion_magnitude", "move_agreement"}:
                flow, texture = dense_flow(frames, self.flow_size)
                change.add_lengths(flow, frames.shape[2])
                if "move_agreement" in wanted:
                    change.camera.add(flow, texture)
        return change


@dataclass
class Change:
    """What changes from frame to frame, added up over a clip."""

    steps: list[float] = field(default_factory=list)
    camera: CameraFit = field(default_factory=CameraFit)
    _lengths: float = 0.0
    _vectors: int = 0
    _width: int = 1
    _flow_width: int = 1

    def add_lengths(self, flow: np.ndarray, width: int) -> None:
        """Add the lengths of the vectors of `flow` (t, h, w, 2), of an output that is `width` pixels wide."""
        import numpy as np

        self._lengths += float(np.hypot(flow[..., 0], flow[..., 1]).sum(dtype=np.float64))
        self._vectors += flow[..., 0].size
        self._width, self._flow_width = width, flow.shape[2]

    @property
    def magnitude(self) -> float:
        """The mean length of all vectors, in output pixels per frame."""
        return self._lengths / self._vectors * self._width / self._flow_width

    @property
    def flickering(self) -> float:
        """1 - the mean of all steps, a share of 255 grey levels."""
        import numpy as np

        return float((255 - np.mean(self.steps)) / 255)


def _has(item: Item, need: str) -> bool:
    return need[7:] in item.case.fields if need.startswith("fields.") else need in item.case.inputs


def input_picture(item: Item, frame: np.ndarray) -> np.ndarray:
    """Return the case's input picture, cropped and resized to a frame (H, W, 3) as image-to-video models do."""
    from benchmark.framing import crop_resize

    return crop_resize(item.input("image").at([0])[0], frame.shape[1], frame.shape[0])


def temporal_flickering(frames: np.ndarray) -> float:
    """Return (255 - mean |f_t - f_(t+1)|) / 255 of frames (T, H, W, 3) uint8, in [0, 1]; 1 = no change.

    Raises: ValueError for a single frame.
    Source: VBench (Huang et al., CVPR 2024, https://arxiv.org/abs/2311.17982), dimension temporal flickering,
    here on all frames as its code does, without its filter for static videos.
    """
    return Change(steps=steps(frames)).flickering


def steps(frames: np.ndarray) -> list[float]:
    """Return the mean absolute difference, in grey levels, of each pair of neighbours of frames (T, H, W, 3) uint8."""
    import cv2
    import numpy as np

    _need_two(frames)
    return [cv2.absdiff(now, after).mean(dtype=np.float64) for now, after in pairwise(frames)]


def psnr(reference: np.ndarray, picture: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two (H, W, 3) uint8 pictures in dB, 100 if identical."""
    import numpy as np

    error = np.mean((reference.astype(np.float64) - picture) ** 2)
    return PSNR_CAP_DB if error == 0 else min(PSNR_CAP_DB, float(10 * np.log10(255**2 / error)))


def ssim(reference: np.ndarray, picture: np.ndarray) -> float:
    """Return the structural similarity in [-1, 1] of two (H, W, 3) uint8 pictures: 7x7 window, mean of RGB.

    Raises: ValueError if a side is shorter than 7 pixels.
    Source: Wang et al., IEEE TIP 13(4), 2004, as scikit-image computes it.
    """
    from skimage.metrics import structural_similarity

    return float(structural_similarity(reference, picture, channel_axis=2, data_range=255))


def dense_flow(frames: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the optical flow between neighbours, and how much the texture there can be trusted.

    Frames (T, H, W, 3) uint8 are made grey and shrunk (never enlarged) to a longer side of `size`: (h, w).
    Returns: flow (T-1, h, w, 2) float32, x and y in pixels of the small frames; texture (T-1, h, w) float32, the
    smaller eigenvalue of the structure tensor (0 where flat, or an edge of one direction).
    Raises: ValueError for a single frame.
    Source: Farneback, SCIA 2003; Shi and Tomasi, CVPR 1994.
    """
    import cv2
    import numpy as np

    _need_two(frames)
    height, width = frames.shape[1:3]
    shape = small_size(width, height, size)
    small = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), shape, interpolation=cv2.INTER_AREA) for f in frames]
    flow = np.empty((len(small) - 1, shape[1], shape[0], 2), np.float32)
    texture = np.empty(flow.shape[:3], np.float32)
    for t, (now, after) in enumerate(pairwise(small)):
        flow[t] = cv2.calcOpticalFlowFarneback(now, after, None, 0.5, 3, 15, 2, 5, 1.2, 0)
        texture[t] = cv2.cornerMinEigenVal(now, 7)
    return flow, texture


def small_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Return width and height shrunk, never enlarged, to a longer side of `size`."""
    scale = min(1.0, size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def motion_magnitude(flow: np.ndarray, width: int) -> float:
    """Return the mean length of `flow` (T-1, h, w, 2) over all pixels, in output pixels per frame.

    `width` is the output's width in pixels; a displacement of x small pixels is x * width / w of the
    output's. Farneback's flow is too small where the picture is flat: of a pan over much sky only a part is seen.
    """
    change = Change()
    change.add_lengths(flow, width)
    return change.magnitude


def _need_two(frames: np.ndarray) -> None:
    if len(frames) < 2:
        raise ValueError(f"motion needs at least 2 frames, the clip has {len(frames)}")
