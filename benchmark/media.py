"""Images and videos on disk and in memory: encode, decode, probe and digest.

Pixels are RGB uint8. Needs numpy, Pillow and PyAV, imported where they are
used, because the process that plans a run imports this module and must start at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PillowImage

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic")
CLIP_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".gif")
CHROMA_CELL = {
    "yuv420p": (2, 2),
    "yuv422p": (2, 1),
    "yuv444p": (1, 1),
}  # width and height must be multiples of this
# libswscale: bicubic, accurate rounding, full chroma in and out; 1 dB better than the default on a 4:2:0 round trip.
# By number, since PyAV names these flags only from 18 on and workers may have an older one.
SWSCALE_FLAGS = 0x4 | 0x40000 | 0x2000 | 0x4000


def _check_pixels(name: str, array: Any, ndim: int, shape: str) -> None:
    given = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
    if getattr(array, "ndim", None) != ndim or array.shape[-1] != 3 or str(array.dtype) != "uint8":
        raise ValueError(f"{name} must be uint8 of shape {shape}, not {given}")
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: {given}")


@dataclass(frozen=True, eq=False)
class Video:
    """A clip that a model made: `frames` (T, H, W, 3) uint8 RGB, shown at `fps` frames per second.

    Raises: ValueError if dtype, shape or fps is something else.
    """

    frames: np.ndarray
    fps: float

    def __post_init__(self) -> None:
        _check_pixels("Video.frames", self.frames, 4, "(T, H, W, 3)")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"Video.fps must be a positive number, not {self.fps}")


@dataclass(frozen=True, eq=False)
class Image:
    """A picture that a model made: `pixels` (H, W, 3) uint8 RGB. Raises: ValueError for anything else."""

    pixels: np.ndarray

    def __post_init__(self) -> None:
        _check_pixels("Image.pixels", self.pixels, 3, "(H, W, 3)")


@dataclass(frozen=True)
class MediaFile:
    """A picture, a clip or a folder of PNG frames that lies on the disk already, made by another program.

    `in_place`: records point to it where it lies, and it is never moved or removed. Else it is moved into the run folder.
    """

    path: Path
    in_place: bool = False


@dataclass(frozen=True)
class MediaInfo:
    """What a media file is; a folder of PNGs counts as a video of unknown fps."""

    kind: Literal["image", "video"]
    width: int
    height: int
    frames: int
    fps: float | None


def write_video(path: Path, video: Video, crf: int = 18, pix_fmt: str = "yuv420p") -> None:
    """Write H.264 in MP4 with the index in front (faststart), tagged BT.709; the path may have any suffix.

    The same frames give the same bytes, on any number of cores: one encoder thread, and no macroblock-tree rate
    control, whose approximate floating point differs between processors and even between runs. `yuv420p` plays in
    every browser; `yuv444p` keeps full colour resolution, but not all browsers play it. `crf` goes from 0 (best) to 51.

    Raises: ValueError for an unknown `pix_fmt` or a size that its chroma subsampling can't hold.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    _, height, width, _ = video.frames.shape
    if pix_fmt not in CHROMA_CELL:
        raise ValueError(f"pix_fmt {pix_fmt!r} is unknown; allowed: {', '.join(CHROMA_CELL)}")
    cell_w, cell_h = CHROMA_CELL[pix_fmt]
    if width % cell_w or height % cell_h:
        near = f"{max(cell_w, width - width % cell_w)}x{max(cell_h, height - height % cell_h)}"
        raise ValueError(f"{pix_fmt} needs even sizes, not {width}x{height}; use {near}, or pix_fmt yuv444p")
    # An absolute path, because "a:b" would name a protocol.
    target = str(Path(path).absolute())
    with av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        codec = stream.codec_context
        codec.thread_count = 1
        codec.options = {"crf": str(crf), "preset": "medium", "mbtree": "0"}
        codec.colorspace = codec.color_primaries = codec.color_trc = Colorspace.ITU709.value
        codec.color_range = ColorRange.MPEG.value
        for index, pixels in enumerate(video.frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=SWSCALE_FLAGS,
            )
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_video(path: Path) -> tuple[np.ndarray, float]:
    """Return all frames (T, H, W, 3) uint8 and the mean fps. Raises: ValueError if the file is no video."""
    import numpy as np

    frames = list(stream_video(path))
    with _open_video(path) as container:
        fps = float(container.streams.video[0].average_rate or 0)
    return np.stack(frames), fps


def stream_video(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 one by one, a few in memory at a time. Raises: ValueError if the file is no video."""
    import av

    empty = True
    with _open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24", interpolation=SWSCALE_FLAGS)
                empty = False
        except av.error.FFmpegError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if empty:
        raise ValueError(f"{path} holds no frames")


def _open_video(path: Path) -> Any:
    import av

    try:
        container = av.open(str(Path(path).absolute()))
    except FileNotFoundError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path} is not a readable video: {error}") from error
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path} has no video stream")
    return container


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write `pixels` (H, W, 3) uint8 as PNG, whatever the suffix. Raises: ValueError for other pixels."""
    from PIL import Image as Pillow

    _check_pixels("pixels", pixels, 3, "(H, W, 3)")
    Pillow.fromarray(pixels).save(path, format="PNG")


def read_image(path: Path) -> np.ndarray:
    """Return a picture as (H, W, 3) uint8 RGB: upright by EXIF, transparency over white, 16-bit grey scaled.

    Raises: ValueError if the file is not a readable picture; FileNotFoundError if there is none.
    """
    import numpy as np
    from PIL import ImageOps

    try:
        with _open_image(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            return np.array(_to_rgb(picture))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable picture: {error}") from error


def _to_rgb(picture: PillowImage) -> PillowImage:
    import numpy as np
    from PIL import Image as Pillow

    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        return Pillow.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        white = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _open_image(path: Path) -> PillowImage:
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        return Pillow.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not a picture in a format that Pillow knows") from error
    except Pillow.DecompressionBombError as error:
        raise ValueError(f"{path} is larger than Pillow opens: {error}") from error


def check_image(path: Path) -> None:
    """Raise ValueError with one clear sentence unless the file opens as a picture; pixels are not decoded."""
    try:
        with _open_image(path) as picture:
            picture.verify()
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable picture: {error}") from error


def probe(path: Path) -> MediaInfo:
    """Return kind, displayed size, number of frames and fps of an image, a video (or animated GIF) or a folder of PNGs.

    Raises: ValueError if it is none of these.
    """
    if path.is_dir():
        found = pngs(path)
        return MediaInfo("video", *_image_size(found[0]), len(found), None)
    try:
        if not _is_animated(path):
            return MediaInfo("image", *_image_size(path), 1, None)
    except ValueError:
        pass  # not a picture: then it must be a video
    with _open_video(path) as container:
        stream = container.streams.video[0]
        frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
        if not (stream.width and stream.height and frames):
            raise ValueError(f"{path} is not a readable video: it holds no frames")
        return MediaInfo("video", stream.width, stream.height, frames, float(stream.average_rate or 0) or None)


def _is_animated(path: Path) -> bool:
    with _open_image(path) as picture:
        return picture.format == "GIF" and getattr(picture, "n_frames", 1) > 1


def _image_size(path: Path) -> tuple[int, int]:
    with _open_image(path) as picture:
        sideways = picture.getexif().get(0x0112, 1) >= 5
        return (picture.height, picture.width) if sideways else (picture.width, picture.height)


def pngs(folder: Path) -> list[Path]:
    """Return the PNGs of a folder in order; shorter names first, so that 9.png precedes 10.png."""
    found = sorted(folder.glob("*.png"), key=lambda path: (len(path.name), path.name))
    if not found:
        raise ValueError(f"{folder} holds no .png files")
    return found


def file_digest(path: Path) -> str:
    """Return the sha256 of the file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
