"""benchmark.media: files are checked from their bytes and by PyAV directly, never by the code under test alone."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from benchmark import clip as clips
from benchmark import media
from benchmark.clip import Clip
from benchmark.dataset.pictures import PICTURES, locate
from benchmark.framing import crop_resize
from benchmark.media import Image, Video


def pan(frames: int = 12, width: int = 96, height: int = 64) -> np.ndarray:
    """A real photograph that slides by two pixels a frame."""
    path = locate(PICTURES["coffee"])
    assert path is not None
    picture = crop_resize(media.read_image(path), width + 2 * frames, height)
    return np.stack([picture[:, 2 * t : 2 * t + width] for t in range(frames)])


def noisy(frames: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, frames.shape)
    return (frames + noise).clip(0, 255).astype(np.uint8)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def boxes(data: bytes) -> list[str]:
    """The top-level boxes of an MP4 in their order."""
    names, at = [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        assert size >= 8
        names.append(name.decode())
        at += size
    return names


@pytest.mark.parametrize(
    "frames, fps",
    [
        (np.zeros((2, 8, 8, 3), np.float32), 8),
        (np.zeros((8, 8, 3), np.uint8), 8),
        (np.zeros((2, 8, 8, 4), np.uint8), 8),
        (np.zeros((0, 8, 8, 3), np.uint8), 8),
        (np.zeros((2, 8, 8, 3), np.uint8), 0),
        (np.zeros((2, 8, 8, 3), np.uint8), float("nan")),
        ([1, 2], 8),
    ],
)
def test_video_refuses_what_it_can_not_be(frames: np.ndarray, fps: float) -> None:
    with pytest.raises(ValueError, match=r"Video\.(frames|fps)"):
        Video(frames, fps)


def test_image_refuses_what_it_can_not_be() -> None:
    Image(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 of shape \(H, W, 3\), not float64 \(4, 5, 3\)"):
        Image(np.zeros((4, 5, 3)))


def test_video_is_h264_with_its_index_in_front(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4.tmp-123"
    media.write_video(path, Video(pan(), 16))
    order = boxes(path.read_bytes())
    assert order[0] == "ftyp"
    assert order.index("moov") < order.index("mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1  # BT.709
        assert len(list(container.decode(stream))) == 12


@pytest.mark.parametrize("fps", [1, 12.5, 16, 23.976, 24000 / 1001, 29.97, 30000 / 1001, 60])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_count_and_fps_are_exact(tmp_path: Path, fps: float, count: int) -> None:
    path = tmp_path / "a:b %03d clip"
    media.write_video(path, Video(pan(count), fps))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(fps).limit_denominator(1001)
        assert sum(packet.size > 0 for packet in container.demux(stream)) == count
    frames, read_fps = media.read_video(path)
    assert frames.shape == (count, 64, 96, 3)
    assert read_fps == pytest.approx(fps, rel=1e-9)
    assert media.probe(path) == media.MediaInfo("video", 96, 64, count, read_fps)


def test_a_relative_path_may_look_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_video(Path("http:x.mp4"), Video(pan(2), 8))
    assert media.read_video(Path("http:x.mp4"))[0].shape[0] == 2


ENCODE = """
import sys, pathlib, numpy as np
from benchmark.media import Video, write_video
ramp = np.arange(20 * 128 * 192 * 3, dtype=np.uint32).reshape(20, 128, 192, 3)
write_video(pathlib.Path(sys.argv[1]), Video((ramp // 7 * 2654435761 >> 20).astype(np.uint8), 16))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_bytes_do_not_depend_on_cores_or_chance(tmp_path: Path) -> None:
    """With macroblock-tree rate control 1 process in 4 gave other bytes: eight processes catch that 9 times of 10."""
    allowed = sorted(os.sched_getaffinity(0))
    digests = set()
    for cores in [allowed, allowed[:1]] * 4:
        path = tmp_path / "x.mp4"
        code = f"import os; os.sched_setaffinity(0, {cores})" + ENCODE
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        digests.add(media.file_digest(path))
    assert len(digests) == 1
    # what makes it so is written into the stream itself, which holds where there is only one core to try on
    assert b" threads=1 " in path.read_bytes()
    assert b" mbtree=0 " in path.read_bytes()


# Lower bounds in dB at crf 10, 18, 23: 1.5 under what was measured. 4:2:0 loses chroma, so crf matters less there. The
# noise alone (sigma 12) is 26.5 dB: from crf 18 on x264 keeps little of it.
BOUNDS = {
    ("clean", "yuv420p"): (35.4, 34.5, 33.1),
    ("clean", "yuv444p"): (43.0, 37.8, 34.5),
    ("noisy", "yuv420p"): (26.2, 25.4, 24.5),
    ("noisy", "yuv444p"): (35.5, 27.1, 24.7),
}


@pytest.mark.parametrize("kind, pix_fmt", list(BOUNDS))
def test_round_trip(tmp_path: Path, kind: str, pix_fmt: str) -> None:
    frames = pan(24, 192, 128) if kind == "clean" else noisy(pan(24, 192, 128))
    measured = []
    for crf in (10, 18, 23):
        media.write_video(tmp_path / "x", Video(frames, 16), crf=crf, pix_fmt=pix_fmt)
        measured.append(decibels(frames, media.read_video(tmp_path / "x")[0]))
    print(f"round trip {kind} {pix_fmt} crf 10/18/23: " + " ".join(f"{v:.2f}" for v in measured))
    assert measured == sorted(measured, reverse=True)
    assert all(value > bound for value, bound in zip(measured, BOUNDS[kind, pix_fmt], strict=True))


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (255, 255, 255)])
def test_plain_colours_survive(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    frames = np.full((3, 32, 32, 3), colour, np.uint8)
    media.write_video(tmp_path / "x", Video(frames, 8))
    difference = np.abs(media.read_video(tmp_path / "x")[0].astype(int) - frames)
    assert difference.max() <= 4  # a wrong matrix or range is off by 10 and more


def test_odd_sizes_name_the_even_one_and_fit_444(tmp_path: Path) -> None:
    video = Video(np.zeros((2, 33, 47, 3), np.uint8), 8)
    with pytest.raises(ValueError, match="not 47x33; use 46x32"):
        media.write_video(tmp_path / "x", video)
    with pytest.raises(ValueError, match="pix_fmt 'rgb24' is unknown"):
        media.write_video(tmp_path / "x", video, pix_fmt="rgb24")
    assert not (tmp_path / "x").exists()
    media.write_video(tmp_path / "x", video, pix_fmt="yuv444p")
    assert media.read_video(tmp_path / "x")[0].shape == (2, 33, 47, 3)


def test_png_is_lossless_under_any_name(tmp_path: Path) -> None:
    pixels = pan(1)[0]
    media.write_png(tmp_path / "picture.tmp", pixels)
    assert np.array_equal(media.read_image(tmp_path / "picture.tmp"), pixels)
    assert media.probe(tmp_path / "picture.tmp") == media.MediaInfo("image", 96, 64, 1, None)


def test_read_image_modes(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Pillow.fromarray(np.array([[0, 65535, 32896]], np.uint16)).save(path)
    assert media.read_image(path)[0].tolist() == [[0] * 3, [255] * 3, [128] * 3]
    Pillow.fromarray(np.array([[7, 200]], np.uint8)).save(path)
    assert media.read_image(path)[0].tolist() == [[7] * 3, [200] * 3]
    Pillow.fromarray(np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)).save(path)
    assert media.read_image(path)[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    palette = Pillow.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 250, 100, 50])
    palette.putdata([0, 1])
    palette.save(path)
    assert media.read_image(path)[0].tolist() == [[1, 2, 3], [250, 100, 50]]
    palette.save(path, transparency=0)
    assert media.read_image(path)[0].tolist() == [[255, 255, 255], [250, 100, 50]]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Pillow.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).save(path, exif=exif)
    assert media.read_image(path)[:, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert (media.probe(path).width, media.probe(path).height) == (1, 2)


def test_check_image(tmp_path: Path) -> None:
    good, bad, cut = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "cut.png"
    media.write_png(good, pan(1)[0])
    media.check_image(good)
    bad.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:200])
    for path, words in ((bad, "not a picture"), (cut, "not a readable picture"), (tmp_path / "no", "does not exist")):
        with pytest.raises(ValueError, match=words):
            media.check_image(path)
    for path in (bad, cut):
        with pytest.raises(ValueError, match="picture"):
            media.read_image(path)
    with pytest.raises(ValueError, match="not a readable video"):
        media.probe(bad)


def test_crop_resize_keeps_the_centre() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = 200
    assert (crop_resize(picture, 20, 20) == 200).all()
    assert crop_resize(picture, 300, 120).shape == (120, 300, 3)
    blocks = np.arange(16, dtype=np.uint8).repeat(3).reshape(4, 4, 3) * 10
    means = blocks.reshape(2, 2, 2, 2, 3).mean(axis=(1, 3))  # what area averaging is
    assert np.abs(crop_resize(blocks, 2, 2) - means).max() <= 0.5


def test_file_digest(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert media.file_digest(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_quality_flags() -> None:
    black = np.zeros((3, 32, 32, 3), np.uint8)
    assert clips.quality_flags(black) == ["black", "constant"]
    assert clips.quality_flags(black + 100) == ["constant"]
    assert clips.quality_flags((black + 100) * np.arange(1, 4, dtype=np.uint8)[:, None, None, None]) == ["constant"]
    dark = np.random.default_rng(0).integers(0, 16, black.shape).astype(np.uint8)
    assert clips.quality_flags(dark) == ["black"]
    assert clips.quality_flags(pan()) == []
    half = black.copy()
    half[:, :16] = 200
    assert clips.quality_flags(half) == []


def test_clip_decodes_once_for_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.write_video(tmp_path / "x.mp4", Video(pan(), 8))
    calls, decode = [], clips.stream

    def counted(files: Mapping[str, Path]) -> Iterator[np.ndarray]:
        calls.append(files)
        return decode(files)

    monkeypatch.setattr(clips, "stream", counted)
    clip = Clip({"video": tmp_path / "x.mp4"})
    assert not calls
    barrier, seen = threading.Barrier(4), []

    def look() -> None:
        barrier.wait()
        seen.append(clip.frames)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(seen) == 4 and all(frames is seen[0] for frames in seen)
    with pytest.raises(ValueError, match="read-only"):
        clip.frames[0] = 0
    clip.release()
    assert clip.frames.shape == (12, 64, 96, 3)
    assert len(calls) == 2


def test_clip_prefers_lossless_frames_in_numeric_order(tmp_path: Path) -> None:
    frames = pan()
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, pixels in enumerate(frames):
        media.write_png(folder / f"{index}.png", pixels)
    media.write_video(tmp_path / "x.mp4", Video(frames, 8))
    clip = Clip({"video": tmp_path / "x.mp4", "frames": folder})
    assert np.array_equal(clip.frames, frames)
    assert media.probe(folder) == media.MediaInfo("video", 96, 64, 12, None)
    assert np.array_equal(Clip({"image": folder / "3.png"}).frames, frames[3:4])
    media.write_png(folder / "12.png", frames[0][:-2])
    with pytest.raises(ValueError, match="several sizes"):
        _ = Clip({"frames": folder}).frames
    with pytest.raises(ValueError, match="allowed: frames, video, image"):
        _ = Clip({}, text="words").frames


def test_planning_imports_nothing_heavy() -> None:
    names = ["media", "model.ken_burns", "dataset.pictures", "prompts.plain", "metrics.basic"]
    imports = "; ".join(f"import benchmark.{name}" for name in names)
    run = "from benchmark.dataset.pictures import Pictures; assert len(list(Pictures().cases())) == 64"
    heavy = "{'numpy', 'cv2', 'av', 'PIL', 'skimage', 'sklearn', 'scipy', 'torch'}"
    code = f"import sys; {imports}; {run}; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
