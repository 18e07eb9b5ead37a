"""Outputs that another program made: those that lie in a folder or behind a glob."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from benchmark.errors import Problem, UserError, closest, some
from benchmark.media import MediaFile
from benchmark.model import Kind

SUFFIXES: dict[str, Kind] = {
    **dict.fromkeys(("mp4", "mov", "m4v", "webm", "mkv", "avi", "mpg", "mpeg", "wmv", "flv", "gif"), "video"),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "avif", "heic"), "image"),
    "txt": "text",
}
IN_WORDS: dict[str, str] = {
    "auto": "clips, pictures or texts",
    "video": "clips (files, or folders of numbered PNGs)",
    "image": "pictures",
    "text": "texts (.txt)",
}
FRAME = re.compile(r"(.*?)(\d+)\.png")
FRAME_WORDS = ("", "frame", "frames", "f", "img", "image", "im", "rgb", "out", "output")
Asked = Literal["auto", "image", "video", "text"]


class Source(Protocol):
    """Outputs of one kind, by number."""

    kind: Kind

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what a message calls an output."""
        ...

    def there(self, index: int) -> bool:
        """Return whether it exists."""
        ...

    def output(self, index: int) -> MediaFile | str:
        """Return the file, or a text's content. Raises: OSError, or ValueError if it can't be read."""
        ...


@dataclass
class Listing:
    """Files of one kind below `root`, by their names relative to it, sorted; `clips` of them are folders of frames.

    `others` counts the media of other kinds, which are passed over.
    """

    root: Path
    names: list[str]
    kind: Kind
    clips: int = 0
    others: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def there(self, index: int) -> bool:
        return True

    def output(self, index: int) -> MediaFile | str:
        return opened(self.root / self.names[index], self.kind)


def opened(path: Path, kind: Kind) -> MediaFile | str:
    """Return a file as a model's output: where it lies, or its text. Raises: OSError; ValueError for no UTF-8."""
    if kind == "text":
        return path.read_text(encoding="utf-8")
    str(path).encode()  # raises for a name in no known encoding, which no record could hold
    return MediaFile(path, in_place=True)


def suffix_of(name: str) -> str:
    """Return what follows a name's last dot, in lower case, or ""."""
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem and "/" not in suffix else ""


def without_suffix(name: str) -> str:
    """Return a name without its suffix, if that is one of an output: "no. 5" has none."""
    return name.rpartition(".")[0] if suffix_of(name) in SUFFIXES else name


def scan(given: str, asked: Asked) -> Listing:
    """Return the outputs at a path: below a folder, behind a glob (`**` goes through folders), or one file.

    A link to a folder is followed unless that lies below the same root. Raises: UserError if there is nothing, nothing of
    the kind, or, with asked="auto", more than one kind.
    """
    root, places = _places(given)
    walk = _Walk(str(root), asked)
    try:
        for place in places:
            walk.take(place)
    except OSError as error:
        problem = Problem("model.path", f"can't be read: {error.strerror}", str(error.filename))
        raise UserError(problem) from error
    kind = asked if asked != "auto" else _only_kind(given, walk)
    names = sorted(set(walk.found[kind]))
    if not names:
        there = some((f"{n} {suffix and '.'}{suffix or 'without suffix'}" for suffix, n in walk.suffixes.items()), 6)
        fix = f"there are: {there}" if there else "it is empty"
        allowed = some((f".{suffix}" for suffix, kind in SUFFIXES.items() if asked in (kind, "auto")), 20)
        raise UserError(Problem("model.path", f"holds no {IN_WORDS[asked]}", given, allowed, fix))
    others = sum(len(found) for other, found in walk.found.items() if other not in (kind, "text"))
    return Listing(root, names, kind, walk.clips if kind == "video" else 0, others)


def _places(given: str) -> tuple[Path, list[str]]:
    """Return the folder that names are relative to, and the files and folders to look at."""
    path = Path(given).expanduser().absolute()
    if path.is_dir():
        return path, [str(path)]
    if path.is_file():
        return path.parent, [str(path)]
    if glob.has_magic(given):
        fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        if places := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 - Path.glob matches hidden files
            return fixed, places
        raise UserError(Problem("model.path", "nothing matches the glob", given, fix=f"it looks in {fixed}"))
    beside = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(Problem("model.path", "does not exist", str(path), fix=closest(path.name, beside)))


def _only_kind(given: str, walk: _Walk) -> Kind:
    """Return the one kind of output that is there; texts beside media are notes about them."""
    present = [kind for kind, found in walk.found.items() if found and kind != "text"]
    if len(present) > 1:
        n = " and ".join(f"{len(walk.found[kind])} of kind {kind}" for kind in present)
        raise UserError(Problem("model.path", f"holds {n}", given, fix=" or ".join(f"model.kind={k}" for k in present)))
    return present[0] if present else "text"


@dataclass
class _Walk:
    """What is found below `root`, by kind. A folder of numbered PNGs is one clip, unless pictures are asked for."""

    root: str
    asked: Asked
    found: dict[Kind, list[str]] = field(default_factory=lambda: {"video": [], "image": [], "text": []})
    clips: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    _linked: set[str] = field(default_factory=set)

    def take(self, place: str) -> None:
        """Take a file as it is, or all that a folder and the folders in it hold."""
        if not Path(place).is_dir():
            self._sort([self._relative(place)])
            return
        stack = [place]
        while stack:
            path = stack.pop()
            name, files = self._relative(path), []
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name[0] == ".":
                        continue
                    if not entry.is_dir():
                        files.append(entry.name)
                    elif not entry.is_symlink() or self._leads_out(entry.path):
                        stack.append(entry.path)
            if name and self._is_clip(files):
                self.found["video"].append(name)
                self.clips += 1
            else:
                self._sort([f"{name}/{file}" for file in files] if name else files)

    def _relative(self, path: str) -> str:
        return path[len(self.root) :].lstrip("/")

    def _leads_out(self, link: str) -> bool:
        """Return whether a link leads to a folder that is not met otherwise: the rest are found where they lie."""
        target, root = os.path.realpath(link), os.path.realpath(self.root)
        if target in self._linked or os.path.commonpath([target, root]) in (target, root):
            return False
        self._linked.add(target)
        return True

    def _is_clip(self, files: Sequence[str]) -> bool:
        """Return whether a folder's pictures are the frames of a clip: PNGs numbered through, and no clip beside them."""
        media = [file for file in files if SUFFIXES.get(suffix_of(file)) in ("image", "video")]
        frames = [found for file in media if (found := FRAME.fullmatch(file))]
        words = {frame[1] for frame in frames}
        if self.asked == "image" or not frames or len(frames) < len(media) or len(words) > 1:
            return False
        numbers = sorted(int(frame[2]) for frame in frames)
        plain = words.pop().strip("-_. ").lower() in FRAME_WORDS
        through = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        return self.asked == "video" or (plain and through)

    def _sort(self, names: Sequence[str]) -> None:
        for name in names:
            suffix = suffix_of(name)
            kind = SUFFIXES.get(suffix)
            if suffix == "gif" and self.asked == "image":
                kind = "image"
            if kind:
                self.found[kind].append(name)
            self.suffixes[suffix] += 1
