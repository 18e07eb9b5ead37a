"""benchmark.metrics.basic: against scikit-image, hand-written loops and motions that are known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.metrics

from benchmark import clip, media
from benchmark.clip import Clip
from benchmark.dataset.pictures import PICTURES, Pictures, locate
from benchmark.framing import crop_resize
from benchmark.metrics import Item, Measured, Metric, basic, camera_motion
from benchmark.metrics.basic import NAMES, Basic
from benchmark.metrics.camera_motion import CameraMotion
from benchmark.model import Checked, Request
from benchmark.model.ken_burns import MOVES, KenBurns
from benchmark.records import Case, Prediction


def photograph(name: str, width: int, height: int) -> np.ndarray:
    path = locate(PICTURES[name])
    assert path is not None
    return crop_resize(media.read_image(path), width, height)


def item(tmp_path: Path, frames: np.ndarray, picture: np.ndarray | None = None, **fields: Any) -> Item:
    folder = tmp_path / "frames"
    folder.mkdir(exist_ok=True)
    for index, pixels in enumerate(frames):
        media.write_png(folder / f"{index}.png", pixels)
    inputs = {}
    if picture is not None:
        media.write_png(tmp_path / "input.png", picture)
        inputs["image"] = str(tmp_path / "input.png")
    prediction = Prediction(case_id="x", sample=0, status="ok", fingerprint="f")
    return Item(Case(id="x", inputs=inputs, fields=fields), prediction, Clip({"frames": folder}))


def test_it_satisfies_the_protocols() -> None:
    assert isinstance(Basic(), Metric)
    assert isinstance(Basic(), Checked)


def test_flicker_by_hand() -> None:
    frames = np.zeros((3, 1, 2, 3), np.uint8)
    frames[1, 0, 0] = (51, 0, 0)  # six values, one differs by 51: mean 8.5
    frames[2] = frames[1]
    frames[2, 0, 1] = (0, 102, 51)  # two differ, by 153 together: mean 25.5
    assert basic.temporal_flickering(frames) == pytest.approx((255 - 17) / 255, abs=1e-12)
    assert basic.temporal_flickering(np.repeat(frames[:1], 4, axis=0)) == 1.0
    assert basic.temporal_flickering(np.stack([frames[0], frames[0] + 255])) == 0.0


def test_flicker_against_a_loop() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3)).astype(np.uint8)
    total = 0
    for t in range(4):
        for y in range(6):
            for x in range(7):
                for c in range(3):
                    total += abs(int(frames[t, y, x, c]) - int(frames[t + 1, y, x, c]))
    expected = (255 - total / (4 * 6 * 7 * 3)) / 255
    assert basic.temporal_flickering(frames) == pytest.approx(expected, abs=1e-12)


def test_psnr_and_ssim_against_scikit_image() -> None:
    a = photograph("chelsea", 90, 60)
    b = (a + np.random.default_rng(0).normal(0, 9, a.shape)).clip(0, 255).astype(np.uint8)
    assert basic.psnr(a, b) == pytest.approx(skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    assert basic.psnr(a, a) == 100.0
    assert basic.psnr(np.zeros_like(a), np.full_like(a, 255)) == pytest.approx(0, abs=1e-12)
    per_channel = [skimage.metrics.structural_similarity(a[..., c], b[..., c], data_range=255) for c in range(3)]
    assert basic.ssim(a, b) == pytest.approx(np.mean(per_channel), abs=1e-9)
    assert basic.ssim(a, a) == pytest.approx(1.0, abs=1e-12)


def test_the_first_frame_is_compared_with_the_prepared_picture(tmp_path: Path) -> None:
    picture = media.read_image(locate(PICTURES["astronaut"]) or Path())
    request = Request(Case(id="x", fields={"move": "roll"}), 0, "", "", 0, {"image": picture})
    frames = KenBurns(width=96, height=64, frames=4).generate([request])[0].frames
    (values,) = Basic(["first_frame_psnr", "first_frame_ssim"]).score([item(tmp_path, frames, picture)])
    assert values == {"first_frame_psnr": 100.0, "first_frame_ssim": pytest.approx(1.0)}
    (values,) = Basic(["first_frame_psnr"]).score([item(tmp_path, frames[::-1], picture)])
    assert 5 < values["first_frame_psnr"] < 30  # type: ignore[operator]


@pytest.mark.parametrize("size", [128, 256])
def test_motion_of_a_known_translation(size: int) -> None:
    """Textured frames that shift by (3, -2) a frame: sqrt(13) px of the output whatever the flow's resolution, 3 %."""
    noise = np.random.default_rng(0).integers(0, 256, (260, 340, 3)).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    frames = np.stack([texture[20 + 2 * t : 212 + 2 * t, 40 - 3 * t : 296 - 3 * t] for t in range(6)])
    flow, texture_trust = basic.dense_flow(frames, size)
    assert flow.shape == (5, size * 3 // 4, size, 2)
    assert basic.motion_magnitude(flow, 256) == pytest.approx(np.sqrt(13), rel=0.03)
    motion = camera_motion.camera_motion(flow, texture_trust)
    assert (motion.right, motion.down) == pytest.approx((15 / 256, -10 / 256), rel=0.02)
    assert abs(motion.growth) < 0.002 and abs(motion.clockwise) < 0.002
    assert basic.motion_magnitude(*_still(frames)) < 0.01  # Farneback is not exactly zero near the border


def _still(frames: np.ndarray) -> tuple[np.ndarray, int]:
    return basic.dense_flow(np.repeat(frames[:1], 3, axis=0), 128)[0], frames.shape[2]


def test_camera_motion_of_exact_fields() -> None:
    """A flow field made from a similarity gives that similarity back, also if a third of it moves otherwise."""
    y, x = np.mgrid[0:60, 0:90].astype(np.float64)
    x, y = x - 44.5, y - 29.5
    u, v = 0.9 + 0.01 * x + 0.02 * y, -0.45 + 0.01 * y - 0.02 * x
    flow = np.stack([u, v], -1)[None].repeat(2, axis=0)
    motion = camera_motion.camera_motion(flow, np.ones(flow.shape[:3]))
    expected = (2 * 0.9 / 90, -2 * 0.45 / 90, 0.02, -0.04)
    assert (motion.right, motion.down, motion.growth, motion.clockwise) == pytest.approx(expected, rel=1e-6)
    flow[:, 20:40, 30:60] += (4, 3)
    motion = camera_motion.camera_motion(flow, np.ones(flow.shape[:3]))
    assert (motion.right, motion.down, motion.growth, motion.clockwise) == pytest.approx(expected, rel=0.1)
    trust = np.ones(flow.shape[:3])
    trust[:, 20:40, 30:60] = 0
    motion = camera_motion.camera_motion(flow, trust)
    assert (motion.right, motion.down, motion.growth, motion.clockwise) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "motion, move",
    [
        ((0.0, 0.0, 0.0, 0.0), "static"),
        ((0.009, 0.0, 0.0, 0.0), "static"),
        ((0.011, 0.0, 0.0, 0.0), "pan_left"),
        ((-0.1, 0.05, 0.0, 0.0), "pan_right"),
        ((0.0, 0.1, 0.0, 0.0), "tilt_up"),
        ((0.05, -0.1, 0.0, 0.0), "tilt_down"),
        ((0.0, 0.0, 0.1, 0.0), "zoom_in"),
        ((0.02, 0.0, -0.1, 0.0), "zoom_out"),
        ((0.02, 0.0, 0.0, 0.1), "roll"),
        ((0.02, 0.0, 0.05, -0.1), "roll"),
    ],
)
def test_classify(motion: tuple[float, float, float, float], move: str) -> None:
    assert camera_motion.classify_move(CameraMotion(*motion, radius=0.35), 0.01) == move


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], CameraMotion]:
    """The camera motion found in each default case, made by ken_burns and encoded as a run would."""
    path, found, model = tmp_path_factory.mktemp("clips") / "x", {}, KenBurns()
    for case in Pictures().cases():
        media.write_video(path, model.generate([Request(case, 0, case.prompt, "", 0)])[0])
        flow_and_trust = basic.dense_flow(Clip({"video": path}).frames, 256)
        found[case.fields["picture"], case.fields["move"]] = camera_motion.camera_motion(*flow_and_trust)
    return found


@pytest.mark.slow
def test_every_move_on_every_picture_is_recognised(seen: dict[tuple[str, str], CameraMotion]) -> None:
    wrong = [(key, motion) for key, motion in seen.items() if camera_motion.classify_move(motion, 0.01) != key[1]]
    assert not wrong
    assert len(seen) == 64
    for (picture, move), motion in seen.items():  # and how far the camera went, within a tenth
        if move.startswith("pan"):
            assert abs(motion.right) == pytest.approx(0.15, rel=0.1), picture
        elif move.startswith("tilt"):
            assert abs(motion.down) == pytest.approx(0.15 * 256 / 384, rel=0.1), picture
        elif move.startswith("zoom"):
            assert abs(motion.growth) == pytest.approx(np.log(1.15), rel=0.1), picture
        elif move == "roll":
            assert motion.clockwise == pytest.approx(-0.15, rel=0.1), picture


@pytest.mark.slow
def test_shuffled_moves_agree_by_chance_only(seen: dict[tuple[str, str], CameraMotion]) -> None:
    chance, rates = np.random.default_rng(0), []
    for _ in range(50):
        asked = chance.permutation([move for _, move in seen])
        hits = [camera_motion.move_agreement(m, str(a), 0.01).value for m, a in zip(seen.values(), asked, strict=True)]
        rates.append(np.mean(hits))
    assert np.mean(rates) == pytest.approx(1 / 8, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"shake": 2.0}, {"strength": 0.05}, {"frames": 9, "strength": 0.3}])
def test_recognition_survives_harder_settings(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = KenBurns(**arguments)
    cases = list(Pictures(["rocket", "flower", "hubble"]).cases())
    hits = 0
    for case in cases:
        media.write_video(tmp_path / "x", model.generate([Request(case, 0, "", "", 7)])[0], crf=28)
        motion = camera_motion.camera_motion(*basic.dense_flow(Clip({"video": tmp_path / "x"}).frames, 256))
        hits += camera_motion.classify_move(motion, 0.01) == case.fields["move"]
    assert hits >= len(cases) - 1


def test_score_gives_what_the_case_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.stack([photograph("coffee", 136, 64)[:, 4 * t : 4 * t + 96] for t in range(6)])
    flows, dense_flow = [], basic.dense_flow

    def counted(frames: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        flows.append(size)
        return dense_flow(frames, size)

    monkeypatch.setattr(basic, "dense_flow", counted)
    metric = Basic()
    metric.load("cpu")
    assert [measure.name for measure in metric.measures] == list(NAMES)
    (values,) = metric.score([item(tmp_path, frames, frames[0], move="pan_right")])
    assert list(values) == list(NAMES)
    assert len(flows) == 1
    agreement = values["move_agreement"]
    assert isinstance(agreement, Measured)
    assert (agreement.value, agreement.details["move"], agreement.details["asked"]) == (1.0, "pan_right", "pan_right")
    assert agreement.details["right"] == pytest.approx(-20 / 96, rel=0.1)
    for measure in metric.measures:
        value = values[measure.name]
        number = value.value if isinstance(value, Measured) else value
        assert measure.low is not None and number >= measure.low
        assert measure.high is None or number <= measure.high
    (values,) = metric.score([item(tmp_path, frames)])
    assert list(values) == ["temporal_flickering", "motion_magnitude"]
    (values,) = Basic(["move_agreement", "temporal_flickering"]).score([item(tmp_path, frames, move="static")])
    assert list(values) == ["temporal_flickering", "move_agreement"]
    assert values["move_agreement"].value == 0.0  # type: ignore[union-attr]


def drifting(length: int) -> np.ndarray:
    """A window that drifts over a photograph and back, 48x32: (T, H, W, 3) uint8."""
    wide = photograph("coffee", 112, 32)
    return np.stack([wide[:, abs((t + 32) % 128 - 64) :][:, :48] for t in range(length)])


@pytest.mark.parametrize("length", [33, 100, 127])
def test_a_streamed_clip_gives_what_a_whole_one_gives(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = item(tmp_path, drifting(length), drifting(1)[0], move="pan_right")
    (expected,) = Basic().score([whole])
    monkeypatch.setattr(clip, "WHOLE_MB", 0.1)
    streamed = item(tmp_path, drifting(length), drifting(1)[0], move="pan_right")
    assert not streamed.clip.fits
    (found,) = Basic().score([streamed])
    assert list(found) == list(expected) == list(NAMES)
    for name in NAMES[:4]:
        assert found[name] == pytest.approx(expected[name], rel=1e-14)
    ours, theirs = found["move_agreement"], expected["move_agreement"]
    assert isinstance(ours, Measured) and isinstance(theirs, Measured) and ours == theirs


def test_memory_is_flat_however_long_a_clip_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip of 7 MB, with 29 MB of flow and texture, needs no more than one of a quarter of it: a block is held at once."""
    monkeypatch.setattr(clip, "WHOLE_MB", 0.1)
    metric, peaks_mb = Basic(["temporal_flickering", "motion_magnitude"]), []
    for length in (100, 400, 1600):
        path = tmp_path / f"{length}.mp4"
        media.write_video(path, media.Video(drifting(length), 25))
        prediction = Prediction(case_id="x", sample=0, status="ok", fingerprint="f")
        tracemalloc.start()
        try:
            (values,) = metric.score([Item(Case(id="x"), prediction, Clip({"video": path}))])
            peaks_mb.append(tracemalloc.get_traced_memory()[1] / 1e6)
        finally:
            tracemalloc.stop()
        assert 0.9 < values["temporal_flickering"] < 1 and 0.3 < values["motion_magnitude"] < 1.5  # type: ignore[operator]
    assert peaks_mb[2] < peaks_mb[1] + 1, peaks_mb
    assert peaks_mb[2] < 6, peaks_mb


def test_one_frame_has_no_motion(tmp_path: Path) -> None:
    one = item(tmp_path, photograph("coffee", 48, 32)[None], photograph("coffee", 48, 32), move="static")
    with pytest.raises(ValueError, match="at least 2 frames, the clip has 1"):
        Basic().score([one])
    (values,) = Basic(["first_frame_psnr"]).score([one])
    assert values == {"first_frame_psnr": 100.0}


def test_an_unknown_move_is_refused() -> None:
    with pytest.raises(ValueError, match=f"'fly'; allowed: {', '.join(MOVES)}"):
        camera_motion.move_agreement(CameraMotion(0, 0, 0, 0, 0.3), "fly", 0.01)


def test_problems_name_what_exists() -> None:
    (problem,) = Basic(["temporal_flicker", "first_frame_psnr"]).problems()
    assert (problem.given, problem.fix) == ("temporal_flicker", "did you mean `temporal_flickering`?")
    assert all(name in problem.allowed for name in NAMES)
    assert [p.wrong for p in Basic([]).problems()] == ["is empty"]
    assert not list(Basic().problems()) and not list(Basic(list(NAMES)).problems())


def test_a_tiny_black_clip_is_static() -> None:
    motion = camera_motion.camera_motion(*basic.dense_flow(np.zeros((3, 16, 16, 3), np.uint8), 256))
    assert camera_motion.classify_move(motion, 0.01) == "static"
