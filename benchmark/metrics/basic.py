"""Basic video metrics without weights: flicker, fidelity of the first frame, amount and kind of motion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from benchmark.errors import Problem, closest
from benchmark.metrics import Item, Measure, Measured
from benchmark.model import Kind
from benchmark.model.ken_burns import MOVES

if TYPE_CHECKING:
    import numpy as np

PSNR_CAP_DB = 100.0
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
    """Five measures of a video; each frame is decoded once and optical flow is computed once.

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
        for name in self.names or ():
            if name not in NAMES:
                yield Problem("metrics.basic.names", "no such measure", name, ", ".join(NAMES), closest(name, NAMES))
        if self.names == []:
            yield Problem("metrics.basic.names", "is empty", "[]", ", ".join(NAMES), "name some, or null for all")

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
        frames = item.clip.frames
        values: dict[str, float | Measured] = {}
        if "temporal_flickering" in wanted:
            values["temporal_flickering"] = temporal_flickering(frames)
        if wanted & {"first_frame_psnr", "first_frame_ssim"}:
            picture = input_picture(item, frames)
            if "first_frame_psnr" in wanted:
                values["first_frame_psnr"] = psnr(picture, frames[0])
            if "first_frame_ssim" in wanted:
                values["first_frame_ssim"] = ssim(picture, frames[0])
        if wanted & {"motion_magnitude", "move_agreement"}:
            flow, texture = dense_flow(frames, self.flow_size)
            if "motion_magnitude" in wanted:
                values["motion_magnitude"] = motion_magnitude(flow, frames.shape[2])
            if "move_agreement" in wanted:
                motion = camera_motion(flow, texture)
                move = item.case.fields["move"]
                values["move_agreement"] = move_agreement(motion, move, self.static_below)
        return values


def _has(item: Item, need: str) -> bool:
    return need[7:] in item.case.fields if need.startswith("fields.") else need in item.case.inputs


def input_picture(item: Item, frames: np.ndarray) -> np.ndarray:
    """Return the case's input picture, cropped and resized to the frames as image-to-video models do."""
    from pathlib import Path

    from benchmark.media import crop_resize, read_image

    return crop_resize(read_image(Path(item.case.inputs["image"])), frames.shape[2], frames.shape[1])


def temporal_flickering(frames: np.ndarray) -> float:
    """Return (255 - mean |f_t - f_(t+1)|) / 255 of frames (T, H, W, 3) uint8, in [0, 1]; 1 = no change.

    Raises: ValueError for a single frame.
    Source: VBench (Huang et al., CVPR 2024, https://arxiv.org/abs/2311.17982), dimension temporal flickering,
    here on all frames as its code does, without its filter for static videos.
    """
    import cv2
    import numpy as np

    _need_two(frames)
    steps = [cv2.absdiff(now, after).mean(dtype=np.float64) for now, after in pairwise(frames)]
    return float((255 - np.mean(steps)) / 255)


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
    scale = min(1.0, size / max(width, height))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), shape, interpolation=cv2.INTER_AREA) for f in frames]
    flow = np.empty((len(small) - 1, shape[1], shape[0], 2), np.float32)
    texture = np.empty(flow.shape[:3], np.float32)
    for t, (now, after) in enumerate(pairwise(small)):
        flow[t] = cv2.calcOpticalFlowFarneback(now, after, None, 0.5, 3, 15, 2, 5, 1.2, 0)
        texture[t] = cv2.cornerMinEigenVal(now, 7)
    return flow, texture


def motion_magnitude(flow: np.ndarray, width: int) -> float:
    """Return the mean length of `flow` (T-1, h, w, 2) over all pixels, in output pixels per frame.

    `width` is the output's width in pixels; a displacement of x small pixels is x * width / w of the
    output's. Farneback's flow is too small where the picture is flat: of a pan over much sky only a part is seen.
    """
    import numpy as np

    return float(np.hypot(flow[..., 0], flow[..., 1]).mean(dtype=np.float64)) * width / flow.shape[2]


@dataclass(frozen=True)
class CameraMotion:
    """How the content moved over a whole clip, in shares of the frame's longer side and radians.

    `right` and `down` are translations of the content, `growth` the natural logarithm of its scale,
    `clockwise` its rotation in radians. `radius` is the RMS distance of a pixel from the centre: it turns
    growth and rotation into shares of the longer side too.
    """

    right: float
    down: float
    growth: float
    clockwise: float
    radius: float


def camera_motion(flow: np.ndarray, texture: np.ndarray) -> CameraMotion:
    """Fit a similarity (shift, scale, rotation about the centre) to each flow field and add up over the clip.

    Least squares, weighted by texture, made robust by three rounds of Cauchy weights (things that move on
    their own and mirror images at the border lose their say).
    """
    import numpy as np

    _, h, w, _ = flow.shape
    step = max(1, max(h, w) // 64)
    y, x = np.mgrid[0:h:step, 0:w:step].astype(np.float64)
    x, y = (x - (w - 1) / 2).ravel(), (y - (h - 1) / 2).ravel()
    one, zero = np.ones_like(x), np.zeros_like(x)
    # u = right + growth * x - clockwise * y, v = down + growth * y + clockwise * x (y points down)
    design = np.concatenate([np.stack([one, zero, x, -y], 1), np.stack([zero, one, y, x], 1)])  # (2N, 4)
    total = np.zeros(4)
    for field, trust in zip(flow[:, ::step, ::step], texture[:, ::step, ::step], strict=True):
        seen = np.concatenate([field[..., 0].ravel(), field[..., 1].ravel()]).astype(np.float64)
        total += _robust_fit(design, seen, np.sqrt(trust.ravel().clip(0).astype(np.float64)))
    side = max(w, h)
    radius = math.sqrt((x**2 + y**2).mean()) / side
    right, down, growth, clockwise = total.tolist()
    return CameraMotion(right / side, down / side, growth, clockwise, radius)


def _robust_fit(design: np.ndarray, seen: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Robust least squares of 2N equations for 4 unknowns, u above v; `trust` (N,) weighs each pixel."""
    import numpy as np

    count = len(trust)
    weight = trust + 1e-9 * (trust.max() or 1.0)
    fit = np.zeros(4)
    for _ in range(4):
        both = np.concatenate([weight, weight])[:, None] * design
        fit = np.linalg.lstsq(both.T @ design, both.T @ seen, rcond=None)[0]
        rest = seen - design @ fit
        error = np.hypot(rest[:count], rest[count:])
        scale = max(0.05, 1.5 * float(np.average(error, weights=trust + 1e-12)))
        weight = trust / (1 + (error / scale) ** 2) + 1e-12
    return fit


def classify_move(motion: CameraMotion, static_below: float) -> str:
    """Return which of the eight moves it is: the component that displaces content most, or static.

    `static_below` is a share of the frame's longer side over the whole clip. Both senses of rotation are a
    roll.
    """
    moved = {
        "pan_left" if motion.right > 0 else "pan_right": abs(motion.right),
        "tilt_up" if motion.down > 0 else "tilt_down": abs(motion.down),
        "zoom_in" if motion.growth > 0 else "zoom_out": abs(motion.growth) * motion.radius,
        "roll": abs(motion.clockwise) * motion.radius,
    }
    move = max(moved, key=lambda name: moved[name])
    return move if moved[move] >= static_below else "static"


def move_agreement(motion: CameraMotion, move: str, static_below: float) -> Measured:
    """Return 1 if the move seen is the one asked for, else 0. Raises: ValueError for an unknown move."""
    if move not in MOVES:
        raise ValueError(f"unknown camera move {move!r}; allowed: {', '.join(MOVES)}")
    seen = classify_move(motion, static_below)
    fit = {name: round(value, 5) for name, value in asdict(motion).items()}
    details = {"move": seen, "asked": move, **fit}
    return Measured(float(seen == move), details)


def _need_two(frames: np.ndarray) -> None:
    if len(frames) < 2:
        raise ValueError(f"motion needs at least 2 frames, the clip has {len(frames)}")
