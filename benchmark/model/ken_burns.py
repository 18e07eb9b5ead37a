"""Ken Burns: a camera move over a still picture, by plain geometry. No weights, exact truth, runs anywhere.

The camera moves, so the content goes the other way:

    static               nothing moves
    pan_left, pan_right  the camera turns left (right): content moves right (left)
    tilt_up, tilt_down   the camera turns up (down): content moves down (up)
    zoom_in, zoom_out    content grows (shrinks) about the centre
    roll                 the camera turns clockwise about its axis: content turns counter-clockwise
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from benchmark.errors import Problem, closest
from benchmark.framing import centre_crop, crop_resize
from benchmark.media import Video
from benchmark.model import Kind, Request

if TYPE_CHECKING:
    import numpy as np

MOVES = ("static", "pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out", "roll")


@dataclass
class KenBurns:
    """Image-to-video by moving a virtual camera over the case's picture, as the case's field `move` says.

    The first frame is the picture, centre-cropped to the output's aspect and resized. `width` and `height`
    are in pixels and even. `strength` is how far the camera goes: the share of the width (height) for a pan
    (tilt), the growth of the zoom factor, the angle of a roll in radians. `shake` is the hand-held shake, RMS
    in output pixels, the only thing that the seed changes. Outside of the picture lies its mirror image.
    """

    width: Annotated[int, Meta(ge=16, le=8192)] = 384
    height: Annotated[int, Meta(ge=16, le=8192)] = 256
    frames: Annotated[int, Meta(ge=1, le=10000)] = 25
    fps: Annotated[float, Meta(gt=0, le=240)] = 12.0
    strength: Annotated[float, Meta(gt=0, le=1)] = 0.15
    shake: Annotated[float, Meta(ge=0, le=100)] = 0.0
    batch_size: Annotated[int, Meta(ge=1)] = 1

    version: ClassVar[str] = "1"
    execution_only: ClassVar[tuple[str, ...]] = ("batch_size",)
    output: ClassVar[Kind] = "video"
    needs: ClassVar[tuple[str, ...]] = ("image", "fields.move")

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for a size that H.264 with 4:2:0 chroma can't hold."""
        for name, size in (("width", self.width), ("height", self.height)):
            if size % 2:
                fix = f"use {size - 1} or {size + 1}"
                yield Problem(f"model.{name}", "must be even", str(size), "even numbers, as H.264 wants", fix)

    def output_mb(self) -> float:
        """Estimate megabytes of one video: 1 bit a pixel; photographs at crf 18 take 0.1 to 0.7."""
        return self.width * self.height * self.frames / 8 / 1e6 + 0.01

    def load(self, device: str) -> None:
        """Import OpenCV, so that the first case isn't slower than others; `device` makes no difference."""
        import cv2  # noqa: F401

    def generate(self, requests: Sequence[Request]) -> list[Video]:
        """Return one Video (frames, height, width, 3) per request. Raises: ValueError for an unknown move."""
        return [self._film(request) for request in requests]

    def _film(self, request: Request) -> Video:
        import numpy as np

        move = request.case.fields["move"]
        if move not in MOVES:
            hint = closest(str(move), MOVES)
            raise ValueError(f"unknown camera move {move!r}; allowed: {', '.join(MOVES)}. {hint}".rstrip())
        picture = request.image()
        crop = centre_crop(picture, self.width / self.height)
        shake = camera_shake(request.seed, self.frames, self.fps, self.shake)  # (T, 2)
        film = np.empty((self.frames, self.height, self.width, 3), np.uint8)
        film[0] = crop_resize(picture, self.width, self.height)
        for frame in range(1, self.frames):
            matrix = camera_path(move, frame, self.frames, self.width, self.height, self.strength)
            matrix[:, 2] += shake[frame]
            still = np.array_equal(matrix, np.eye(2, 3))
            film[frame] = film[0] if still else look(crop, matrix, self.width, self.height)
        return Video(film, self.fps)


def camera_path(move: str, frame: int, frames: int, width: int, height: int, strength: float) -> np.ndarray:
    """Return where the camera looks at one frame of a move, as a (2, 3) float64 matrix in output pixels.

    It maps a pixel (x, y, 1) of that frame to the pixel of the first frame with the same content. The way is
    eased by smoothstep, so it starts and ends at rest; frame 0 gives the identity.

    Raises: ValueError for an unknown move.
    """
    import numpy as np

    time = frame / (frames - 1) if frames > 1 else 0.0
    way = strength * time * time * (3 - 2 * time)
    zoom, angle, dx, dy = 1.0, 0.0, 0.0, 0.0
    match move:
        case "static":
            pass
        case "pan_left" | "pan_right":
            dx = way * width * (-1 if move == "pan_left" else 1)
        case "tilt_up" | "tilt_down":
            dy = way * height * (-1 if move == "tilt_up" else 1)
        case "zoom_in" | "zoom_out":
            zoom = (1 + strength) ** (way / strength * (-1 if move == "zoom_in" else 1))
        case "roll":
            angle = way
        case _:
            raise ValueError(f"unknown camera move {move!r}; allowed: {', '.join(MOVES)}")
    linear = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = centre - linear @ centre + (dx, dy)
    return np.column_stack([linear, shift])


def camera_shake(seed: int, frames: int, fps: float, rms: float) -> np.ndarray:
    """Return hand-held shake (frames, 2) in pixels: four sines of 0.5 to 4 Hz an axis, from zero."""
    import numpy as np

    if rms == 0:
        return np.zeros((frames, 2))
    chance = np.random.default_rng(seed)
    hertz = chance.uniform(0.5, 4.0, size=(4, 1, 2))
    phase = chance.uniform(0, 2 * math.pi, size=(4, 1, 2))
    time = np.arange(frames)[None, :, None] / fps
    sway = rms * math.sqrt(2 / len(hertz)) * np.sin(2 * math.pi * hertz * time + phase).sum(axis=0)
    return sway - sway[0]


def look(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the camera's view, (height, width, 3) uint8, if `matrix` of `camera_path` leads into `picture`.

    A picture larger than the output is sampled at twice the output's resolution and averaged, so that moving
    frames are as sharp as the first one and free of aliasing.
    """
    import cv2
    import numpy as np

    fine = 2 if picture.shape[1] > width else 1
    to_output = _pixel_scale(1 / fine, 1 / fine)
    to_picture = _pixel_scale(picture.shape[1] / width, picture.shape[0] / height)
    whole = to_picture @ np.vstack([matrix, [0, 0, 1]]) @ to_output
    seen = cv2.warpAffine(
        picture,
        whole[:2],
        (width * fine, height * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA) if fine > 1 else seen


def _pixel_scale(x: float, y: float) -> np.ndarray:
    """Scaling of pixel indices whose pixels are squares with their centre at the index."""
    import numpy as np

    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
