"""Files that a program made on their way into a run: moved or pointed to, read once, and refused if they are none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark import media
from benchmark.media import MediaFile, Video
from benchmark.model import Answer, Request
from benchmark.outputs import Outputs
from benchmark.records import Case, Choice
from benchmark.store import Store, prediction_digest

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 16, 32, 3)).astype(np.uint8)


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    frozen: Any = SimpleNamespace(
        model_name="m", samples=1, media=SimpleNamespace(crf=18, pix_fmt="yuv420p", frames="none")
    )
    return Outputs(Store(tmp_path / "run"), frozen, "t")


def save(outputs: Outputs, kind: Any, value: Any) -> dict[str, Any]:
    return outputs.save(kind, Request(Case(id="c", category="k"), 0, "", "", 0), value, lambda: None)


def folder_of_frames(path: Path) -> Path:
    path.mkdir()
    for index, pixels in enumerate(FRAMES):
        media.write_png(path / f"{index:03d}.png", pixels)
    return path


def test_a_program_s_clip_is_moved_in_with_its_own_suffix(outputs: Outputs, tmp_path: Path) -> None:
    source = tmp_path / "made.MP4"
    media.write_video(source, Video(FRAMES, 8))
    digest = media.file_digest(source)
    made = save(outputs, "video", MediaFile(source))
    assert made["files"] == {"video": "predictions/m/k/c.mp4"} and not source.exists()
    assert made["sha256"] == digest == media.file_digest(tmp_path / "run/predictions/m/k/c.mp4")
    assert (made["width"], made["height"], made["frames"], made["fps"], made["quality_flags"]) == (32, 16, 5, 8.0, [])


def test_what_is_pointed_to_stays_where_it_is(outputs: Outputs, tmp_path: Path) -> None:
    source = folder_of_frames(tmp_path / "frames")
    made = save(outputs, "video", MediaFile(source, in_place=True))
    assert made["files"] == {"frames": str(source)} and made["frames"] == 5
    assert made["sha256"] == prediction_digest({"frames": source})
    assert not (tmp_path / "run").exists()


def test_a_folder_of_frames_is_moved_in(outputs: Outputs, tmp_path: Path) -> None:
    source = folder_of_frames(tmp_path / "frames")
    before = prediction_digest({"frames": source})
    made = save(outputs, "video", MediaFile(source))
    assert made["files"] == {"frames": "predictions/m/k/c/frames"} and made["sha256"] == before
    assert len(list((tmp_path / "run/predictions/m/k/c/frames").iterdir())) == 5


def test_black_files_are_flagged_and_broken_ones_refused(outputs: Outputs, tmp_path: Path) -> None:
    media.write_video(tmp_path / "black.mp4", Video(np.zeros_like(FRAMES), 8))
    assert save(outputs, "video", MediaFile(tmp_path / "black.mp4"))["quality_flags"] == ["black", "constant"]
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match="not a readable video"):
        save(outputs, "video", MediaFile(tmp_path / "text.mp4"))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4 does not exist"):
        save(outputs, "video", MediaFile(tmp_path / "none.mp4"))
    media.write_video(tmp_path / "clip.mp4", Video(FRAMES, 8))
    with pytest.raises(ValueError, match="where a picture is expected"):
        save(outputs, "image", MediaFile(tmp_path / "clip.mp4"))
    whole = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=r"clip\.mp4"):
        save(outputs, "video", MediaFile(tmp_path / "clip.mp4"))
    assert (tmp_path / "text.mp4").exists()


def test_an_animated_gif_is_a_video_and_a_still_one_a_picture(outputs: Outputs, tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in FRAMES]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    pictures[0].save(tmp_path / "b.gif")
    made = save(outputs, "video", MediaFile(tmp_path / "a.gif"))
    assert (made["frames"], made["fps"]) == (5, 10.0)
    assert save(outputs, "image", MediaFile(tmp_path / "b.gif"))["frames"] == 1


def test_an_answer_s_digest_covers_its_choices(outputs: Outputs) -> None:
    plain, weighed = (save(outputs, "text", Answer("A", c)) for c in ((), (Choice("A", -1.5, 1, True),)))
    assert plain["sha256"] == save(outputs, "text", "A")["sha256"] != weighed["sha256"]
    other = save(outputs, "text", Answer("A", (Choice("A", -1.25, 1, True),)))
    assert other["sha256"] != weighed["sha256"]
