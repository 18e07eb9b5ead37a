"""benchmark.model.ken_burns: where the camera goes is checked by tracking dots, not by the code's own matrices."""

from __future__ import annotations

import inspect
from itertools import pairwise
from pathlib import Path
from typing import get_type_hints

import cv2
import msgspec
import numpy as np
import pytest

from benchmark import media
from benchmark.dataset.pictures import PICTURES, locate
from benchmark.model import Checked, Model, Request, Sized
from benchmark.model.ken_burns import MOVES, KenBurns, camera_path, camera_shake
from benchmark.records import Case

WIDTH, HEIGHT = 192, 128


def film(picture: np.ndarray, move: str, seed: int = 0, **arguments: float) -> np.ndarray:
    model = KenBurns(**{"width": WIDTH, "height": HEIGHT, "frames": 9, **arguments})  # type: ignore[arg-type]
    request = Request(Case(id="x", fields={"move": move}), 0, "", "", seed, {"image": picture})
    (video,) = model.generate([request])
    assert video.fps == model.fps
    return video.frames


def dotted(x: float, y: float, scale: int = 2) -> np.ndarray:
    """A grey picture, `scale` times the output, with a soft white dot at output pixel (x, y)."""
    across, down = np.arange(WIDTH * scale), np.arange(HEIGHT * scale)
    centre = ((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5)
    square = (across[None] - centre[0]) ** 2 + (down[:, None] - centre[1]) ** 2
    light = 40 + 200 * np.exp(-square / (2 * (3 * scale) ** 2))
    return np.repeat(light[..., None], 3, axis=2).round().astype(np.uint8)


def dot(frame: np.ndarray) -> tuple[float, float]:
    """The centroid of what is brighter than the background."""
    light = frame[..., 0].astype(float) - 40
    light[light < 20] = 0
    y, x = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]]
    return float((light * x).sum() / light.sum()), float((light * y).sum() / light.sum())


def photograph(name: str) -> np.ndarray:
    path = locate(PICTURES[name])
    assert path is not None
    return media.read_image(path)


def test_it_satisfies_the_protocols() -> None:
    assert all(isinstance(KenBurns(), protocol) for protocol in (Model, Checked, Sized))


@pytest.mark.parametrize("name", list(PICTURES))
def test_the_first_frame_is_the_picture(name: str) -> None:
    frames = film(photograph(name), "zoom_out", shake=3.0)
    assert frames.shape == (9, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    picture = photograph(name)
    height, width = picture.shape[:2]
    if width * 2 > height * 3:  # an independent centre crop to 3:2
        picture = picture[:, (width - round(height * 1.5)) // 2 :][:, : round(height * 1.5)]
    else:
        picture = picture[(height - round(width / 1.5)) // 2 :][: round(width / 1.5)]
    expected = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    assert np.array_equal(frames[0], expected)


# Where a dot a quarter of the width right of and a quarter of the height above the centre ends: strength 0.15.
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
ARM = np.array([WIDTH / 4, -HEIGHT / 4])
ROLLED = np.array([ARM[0] * np.cos(0.15) + ARM[1] * np.sin(0.15), -ARM[0] * np.sin(0.15) + ARM[1] * np.cos(0.15)])
ENDS = {
    "static": ARM,
    "pan_left": ARM + np.array([0.15 * WIDTH, 0]),  # the camera turns left, so the content moves right
    "pan_right": ARM - np.array([0.15 * WIDTH, 0]),
    "tilt_up": ARM + np.array([0, 0.15 * HEIGHT]),  # y points down
    "tilt_down": ARM - np.array([0, 0.15 * HEIGHT]),
    "zoom_in": ARM * 1.15,
    "zoom_out": ARM / 1.15,
    "roll": ROLLED,  # counter-clockwise: from the right towards the top
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("scale", [1, 2])
def test_content_goes_where_the_move_says(move: str, scale: int) -> None:
    start = CENTRE + ARM
    frames = film(dotted(start[0], start[1], scale), move)
    assert dot(frames[0]) == pytest.approx(tuple(start), abs=0.05)
    # looked for near its goal only, so that a mirror image of it at the border is left out
    goal = CENTRE + ENDS[move]
    left, top = (int(v) for v in (goal - 14).clip(0))
    seen = dot(frames[-1][top : top + 29, left : left + 29])
    assert (seen[0] + left, seen[1] + top) == pytest.approx(tuple(goal), abs=0.3)


def test_the_way_is_eased_and_steady() -> None:
    x = [dot(frame)[0] for frame in film(dotted(70, 64), "pan_left", frames=17)]
    steps = np.diff(x)
    assert (steps > 0).all()
    assert steps[8] > 4 * steps[0] and steps[8] > 4 * steps[-1]
    assert x[8] - x[0] == pytest.approx((x[16] - x[0]) / 2, abs=0.1)


def test_pan_by_phase_correlation_on_a_photograph() -> None:
    frames = film(photograph("motorcycle"), "pan_right", frames=33)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float64) for frame in frames]
    window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_64F)
    shift = sum(cv2.phaseCorrelate(a, b, window)[0][0] for a, b in pairwise(grey))
    assert shift == pytest.approx(-0.15 * WIDTH, rel=0.1)


def test_matrices_agree_with_the_film() -> None:
    """A frame's pixel shows what the first frame has where camera_path sends it."""
    start = np.array([110.0, 50.0])
    for move in MOVES:
        frames = film(dotted(*start), move)
        matrix = camera_path(move, 5, 9, WIDTH, HEIGHT, 0.15)
        seen = dot(frames[5])
        assert tuple(matrix @ (*seen, 1)) == pytest.approx(tuple(start), abs=0.2)
        assert np.array_equal(camera_path(move, 0, 9, WIDTH, HEIGHT, 0.15), np.eye(2, 3))


def test_moving_frames_are_as_sharp_as_the_first() -> None:
    for name in PICTURES:
        first, second = film(photograph(name), "pan_left", frames=60)[:2]  # 0.02 pixels apart
        assert cv2.PSNR(first, second) > 38, name


def test_only_shake_makes_the_seed_matter() -> None:
    picture = photograph("china")
    calm = film(picture, "pan_left", seed=1)
    assert np.array_equal(calm, film(picture, "pan_left", seed=2))
    shaken = film(picture, "pan_left", seed=1, shake=2)
    assert np.array_equal(shaken, film(picture, "pan_left", seed=1, shake=2))
    assert not np.array_equal(shaken, film(picture, "pan_left", seed=2, shake=2))
    assert not np.array_equal(shaken, calm)
    assert np.array_equal(film(picture, "static"), np.repeat(calm[:1], 9, axis=0))


def test_shake_has_the_size_it_says() -> None:
    sway = np.stack([camera_shake(seed, 2000, 16, 3.0) for seed in range(40)])
    assert (sway[:, 0] == 0).all()
    assert sway.std(axis=1).mean() == pytest.approx(3.0, rel=0.05)


def test_an_unknown_move_names_the_allowed_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown camera move 'pan_lef'; allowed: static, .* roll. did you mean `pan_left`"
    ):
        film(dotted(5, 5), "pan_lef")
    with pytest.raises(ValueError, match="unknown camera move 'fly'"):
        camera_path("fly", 1, 9, WIDTH, HEIGHT, 0.1)


def test_odd_sizes_are_problems() -> None:
    problems = list(KenBurns(width=385, height=255).problems())
    assert [(p.where, p.given, p.fix) for p in problems] == [
        ("model.width", "385", "use 384 or 386"),
        ("model.height", "255", "use 254 or 256"),
    ]
    assert not list(KenBurns().problems())


@pytest.mark.parametrize(
    "name, value",
    [("width", 0), ("frames", 0), ("fps", 0), ("strength", 0), ("shake", -1), ("batch_size", 0), ("frames", "many")],
)
def test_annotations_refuse_bad_arguments(name: str, value: object) -> None:
    hints = get_type_hints(KenBurns, include_extras=True)
    assert set(inspect.signature(KenBurns).parameters) <= set(hints)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, hints[name])
    assert msgspec.convert(getattr(KenBurns(), name), hints[name]) == getattr(KenBurns(), name)


def test_one_frame_and_many_requests() -> None:
    assert film(photograph("rocket"), "roll", frames=1).shape == (1, HEIGHT, WIDTH, 3)
    model = KenBurns(width=64, height=48, frames=3)
    requests = [
        Request(Case(id=move, fields={"move": move}), 0, "", "", 0, {"image": photograph("coffee")}) for move in MOVES
    ]
    videos = model.generate(requests)
    assert len(videos) == len(MOVES)
    for request, video in zip(requests, videos, strict=True):
        assert np.array_equal(video.frames, model.generate([request])[0].frames)


def test_the_estimated_size_is_an_upper_one(tmp_path: Path) -> None:
    model = KenBurns()
    model.load("cpu")
    for name in ("china", "hubble"):
        request = Request(Case(id="x", fields={"move": "pan_left"}), 0, "", "", 0, {"image": photograph(name)})
        media.write_video(tmp_path / "x", model.generate([request])[0])
        size_mb = (tmp_path / "x").stat().st_size / 1e6
        assert size_mb < model.output_mb() < 10 * size_mb
