"""Clips of any length: blocks, single frames and flat memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from benchmark import clip as clips
from benchmark import media
from benchmark.clip import Clip
from benchmark.media import Video

FRAMES = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8) * 4


@pytest.fixture(params=[True, False], ids=["held", "streamed"])
def clip(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    media.write_video(tmp_path / "x.mp4", Video(FRAMES, 10), crf=0)
    if not request.param:
        monkeypatch.setattr(clips, "WHOLE_MB", 0.001)
    made = Clip({"video": tmp_path / "x.mp4"})
    assert made.fits is request.param
    return made


def levels(frames: np.ndarray) -> list[int]:
    return np.round(frames.mean(axis=(1, 2, 3)) / 4).astype(int).tolist()


def test_blocks_cover_each_frame_and_each_pair_once(clip: Clip) -> None:
    assert [n for block in clip.blocks(16) for n in levels(block)] == list(range(50))
    assert [len(block) for block in clip.blocks(16)] == [16, 16, 16, 2]
    pairs = [
        pair for block in clip.blocks(16, overlap=1) for pair in zip(levels(block), levels(block)[1:], strict=False)
    ]
    assert pairs == [(n, n + 1) for n in range(49)]
    assert [len(block) for block in clip.blocks(25, overlap=1)] == [25, 25, 2]
    assert [len(block) for block in clip.blocks(50, overlap=1)] == [50]


def test_single_frames_in_the_order_asked_for(clip: Clip) -> None:
    assert levels(clip.at([0, 49, 7, 7])) == [0, 49, 7, 7]
    assert clip.length == 50
    with pytest.raises(ValueError, match=r"50 frames|no frame at 50"):
        clip.at([3, 50])


def test_a_long_clip_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (300, 64, 64, 3)).astype(np.uint8)  # 3.7 MB
    media.write_video(tmp_path / "x.mp4", Video(frames, 10), crf=40)
    monkeypatch.setattr(clips, "WHOLE_MB", 1)
    clip = Clip({"video": tmp_path / "x.mp4"})
    with pytest.raises(ValueError, match="300 frames of 64x64, too many to be held at once"):
        _ = clip.frames
    clip.preload()
    tracemalloc.start()
    assert sum(len(block) for block in clip.blocks(8)) == 300
    assert clip.at([299]).shape == (1, 64, 64, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frames.nbytes / 3


def test_an_input_may_be_a_picture_or_a_clip(tmp_path: Path) -> None:
    media.write_png(tmp_path / "x.png", FRAMES[3])
    media.write_video(tmp_path / "x.mp4", Video(FRAMES, 10))
    assert Clip({"reference": tmp_path / "x.png"}).frames.shape == (1, 16, 16, 3)
    assert Clip({"reference": tmp_path / "x.mp4"}).frames.shape == (50, 16, 16, 3)
