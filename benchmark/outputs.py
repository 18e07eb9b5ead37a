"""Outputs on their way into the run folder: pixels are encoded, files that a program made are moved in, text is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import media
from benchmark.clip import quality_flags, stream
from benchmark.config import Frozen
from benchmark.media import Image, MediaFile, Video
from benchmark.model import Answer, Kind, Request
from benchmark.store import Store, prediction_digest

KINDS: dict[Kind, Any] = {"text": (str, Answer), "image": (Image, MediaFile), "video": (Video, MediaFile)}
Hold = Callable[[], None]


@dataclass(frozen=True)
class Outputs:
    """Where one worker's outputs go: `token` names the writer's journal in temporary names."""

    store: Store
    frozen: Frozen
    token: str

    def save(self, kind: Kind, request: Request, value: Any, hold: Hold) -> dict[str, Any]:
        """Write an output's files and return what its record says of it; `hold` is called before a file becomes visible.

        Raises: TypeError for an output that is not of the model's kind; ValueError for a file that is none.
        """
        if not isinstance(value, KINDS[kind]):
            raise TypeError(f"a model whose output is {kind} gives no {type(value).__name__}")
        if isinstance(value, str):
            return {"text": value, "sha256": prediction_digest({}, value)}
        if isinstance(value, Answer):
            choices = list(value.choices)
            return {"text": value.text, "choices": choices, "sha256": prediction_digest({}, value.text, choices)}
        base = self.store.media_base(self.frozen.model_name, request.case, request.sample, self.frozen.samples)
        if isinstance(value, MediaFile):
            return self._file(kind, base, value, hold)
        if isinstance(value, Video):
            return self._pixels(self._video(base, value, hold), value.frames, fps=float(value.fps))
        files = {"image": base.with_name(f"{base.name}.png")}
        with self.store.replacing(files["image"], self.token, hold) as path:
            media.write_png(path, value.pixels)
        return self._pixels(files, value.pixels[None])

    def _pixels(self, files: Mapping[str, Path], frames: Any, **more: Any) -> dict[str, Any]:
        return {
            "files": self._named(files),
            "sha256": prediction_digest(files),
            "width": frames.shape[2],
            "height": frames.shape[1],
            "frames": len(frames),
            "quality_flags": quality_flags(frames),
            **more,
        }

    def _named(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Return the paths as records have them: relative to the run folder, absolute for what lies elsewhere."""
        folder = self.store.folder
        return {
            role: str(path.relative_to(folder) if path.is_relative_to(folder) else path) for role, path in files.items()
        }

    def _video(self, base: Path, video: Video, hold: Hold) -> dict[str, Path]:
        settings = self.frozen.media
        keep_frames = settings.frames == "png"
        files = {"video": base / "video.mp4" if keep_frames else base.with_name(f"{base.name}.mp4")}
        with self.store.replacing(files["video"], self.token, hold) as path:
            media.write_video(path, video, settings.crf, settings.pix_fmt)
        if keep_frames:
            files["frames"] = folder = base / "frames"
            names = [f"{index:05d}.png" for index in range(len(video.frames))]
            for name, pixels in zip(names, video.frames, strict=True):
                with self.store.replacing(folder / name, self.token, hold) as path:
                    media.write_png(path, pixels)
            self.store.keep_only(folder, names)
        return files

    def _file(self, kind: Kind, base: Path, given: MediaFile, hold: Hold) -> dict[str, Any]:
        """Record a file where it lies, or move it in; it is read whole once, so that a broken one fails here."""
        if not given.path.exists():
            raise FileNotFoundError(f"{given.path} does not exist")
        info = media.probe(given.path)
        if kind == "image" and info.kind != "image":
            raise ValueError(f"{given.path} is a video of {info.frames} frames, where a picture is expected")
        role = "frames" if given.path.is_dir() else kind
        path = given.path.absolute()
        seen = _Counted(stream({role: path}))
        flags = quality_flags(seen)
        if not given.in_place:
            path = self._move(path, base, hold)
        return {
            "files": self._named({role: path}),
            "sha256": prediction_digest({role: path}),
            "width": info.width,
            "height": info.height,
            "frames": seen.count,
            "fps": info.fps,
            "quality_flags": flags,
        }

    def _move(self, source: Path, base: Path, hold: Hold) -> Path:
        if not source.is_dir():
            target = base.with_name(f"{base.name}{source.suffix.lower()}")
            with self.store.replacing(target, self.token, hold) as path:
                self.store.take(source, path)
            return target
        folder, pictures = base / "frames", media.pngs(source)
        for picture in pictures:
            with self.store.replacing(folder / picture.name, self.token, hold) as path:
                self.store.take(picture, path)
        self.store.keep_only(folder, [picture.name for picture in pictures])
        return folder


class _Counted:
    """Frames as they pass by, counted."""

    def __init__(self, frames: Iterator[Any]) -> None:
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[Any]:
        for frame in self._frames:
            self.count += 1
            yield frame
