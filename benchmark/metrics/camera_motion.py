"""How the camera moved over a clip, fitted to its optical flow, and whether that is the move asked for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmark.metrics import Measured
from benchmark.model.ken_burns import MOVES

if TYPE_CHECKING:
    import numpy as np


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
    """Return how the camera moved over a clip of flow fields (T-1, h, w, 2), weighted by texture (T-1, h, w)."""
    fit = CameraFit()
    fit.add(flow, texture)
    return fit.motion


class CameraFit:
    """Fits a similarity (shift, scale, rotation about the centre) to each flow field and adds up over the clip.

    Least squares, weighted by texture, made robust by three rounds of Cauchy weights (things that move on
    their own and mirror images at the border lose their say). Fields come in blocks, so a clip may have any length.
    """

    def __init__(self) -> None:
        self._total: np.ndarray | None = None
        self._side = 0
        self._radius = 0.0

    def add(self, flow: np.ndarray, texture: np.ndarray) -> None:
        """Add flow fields (t, h, w, 2) whose texture (t, h, w) says how much each pixel can be trusted."""
        import numpy as np

        _, h, w, _ = flow.shape
        step = max(1, max(h, w) // 64)
        y, x = np.mgrid[0:h:step, 0:w:step].astype(np.float64)
        x, y = (x - (w - 1) / 2).ravel(), (y - (h - 1) / 2).ravel()
        one, zero = np.ones_like(x), np.zeros_like(x)
        # u = right + growth * x - clockwise * y, v = down + growth * y + clockwise * x (y points down)
        design = np.concatenate([np.stack([one, zero, x, -y], 1), np.stack([zero, one, y, x], 1)])  # (2N, 4)
        total = np.zeros(4) if self._total is None else self._total
        for field, trust in zip(flow[:, ::step, ::step], texture[:, ::step, ::step], strict=True):
            seen = np.concatenate([field[..., 0].ravel(), field[..., 1].ravel()]).astype(np.float64)
            total += _robust_fit(design, seen, np.sqrt(trust.ravel().clip(0).astype(np.float64)))
        self._total, self._side = total, max(w, h)
        self._radius = math.sqrt((x**2 + y**2).mean()) / self._side

    @property
    def motion(self) -> CameraMotion:
        """What has been added up so far."""
        assert self._total is not None, "no flow field was added"
        right, down, growth, clockwise = self._total.tolist()
        return CameraMotion(right / self._side, down / self._side, growth, clockwise, self._radius)


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
