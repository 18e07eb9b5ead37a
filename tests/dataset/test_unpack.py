"""benchmark.dataset.reading.unpack."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from benchmark.dataset.reading.unpack import cache_folder, decoded, suffix_of, unpack
from benchmark.media import Video, write_video


def picture(kind: str, shade: int = 120) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (shade, 10, 10)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tif")],
)
def test_it_knows_pictures_as_pillow_writes_them(kind: str, suffix: str) -> None:
    assert suffix_of(picture(kind)[:16]) == suffix


@pytest.mark.parametrize(
    ("container", "suffix"), [("mp4", ".mp4"), ("mov", ".mov"), ("webm", ".webm"), ("avi", ".avi")]
)
def test_it_knows_clips_as_ffmpeg_writes_them(container: str, suffix: str, tmp_path: Path) -> None:
    import av

    path = tmp_path / f"clip.{container}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx" if container == "webm" else "mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(2):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())
    assert suffix_of(path.read_bytes()[:16]) == suffix


def test_our_own_clips_are_mp4(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0))
    assert suffix_of((tmp_path / "x.mp4").read_bytes()[:16]) == ".mp4"


@pytest.mark.parametrize("data", [b"", b"BM is how a sentence may begin", b"RIFFxxxxWAVEfmt ", b"\0" * 16, b"a cat"])
def test_other_bytes_are_no_media(data: bytes, tmp_path: Path) -> None:
    assert suffix_of(data[:16]) == ""
    with pytest.raises(ValueError, match=r"no picture|empty"):
        unpack(data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_content_is_written_once_under_its_digest(tmp_path: Path) -> None:
    data = picture("PNG")
    path = unpack(data, tmp_path)
    assert path.read_bytes() == data and path.stem == hashlib.sha256(data).hexdigest() and path.suffix == ".png"
    written = path.stat().st_mtime_ns
    assert unpack(data, tmp_path) == path and path.stat().st_mtime_ns == written
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


def test_a_file_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    path = unpack(picture("PNG"), tmp_path)
    path.write_bytes(b"\x89PNG")
    assert unpack(picture("PNG"), tmp_path).read_bytes() == picture("PNG")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        unpack(picture("PNG"), tmp_path)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_base64_and_data_urls(kind: str) -> None:
    data = picture(kind)
    text = base64.b64encode(data).decode()
    assert decoded(text) == data
    assert decoded(f"data:image/{kind.lower()};base64,{text}") == data
    assert decoded(base64.encodebytes(data).decode()) == data, "with line breaks, as in mail"


@pytest.mark.parametrize("text", ["cat.jpg", "/9j/cats.jpg", "images/" + "a" * 200 + ".png", "/9j/" + "a/b.c/" * 20])
def test_paths_are_not_base64(text: str) -> None:
    assert decoded(text) is None


@pytest.mark.parametrize("cut", [1, 2])
def test_broken_base64_is_told(cut: int) -> None:
    text = base64.b64encode(picture("PNG")).decode()
    with pytest.raises(ValueError, match="broken base64"):
        decoded(text.rstrip("=")[: -cut - len(text.rstrip("=")) % 4 or None] + "A" * (5 - cut))
    with pytest.raises(ValueError, match="broken base64"):
        decoded("data:image/png;base64,§§")
    with pytest.raises(ValueError, match="without base64"):
        decoded("data:image/svg+xml,<svg/>")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/genbench/unpacked")
    monkeypatch.setenv("GENBENCH_CACHE", "/y")
    assert cache_folder() == Path("/y/unpacked")
