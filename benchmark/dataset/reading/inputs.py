"""From what a table says of an input to a file that lies on the disk: a path, bytes, base64, or what Hugging Face writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.dataset.reading.unpack import KNOWN, decoded, opens_like_media, suffix_of, unpack
from benchmark.errors import Problem, UserError
from benchmark.media import CLIP_SUFFIXES, PICTURE_SUFFIXES, check_image, probe


class Unusable(Exception):
    """A value that is no input: what is wrong, what was found, what is allowed, what to do."""

    def __init__(self, wrong: str, found: object, allowed: str = "", fix: str = "") -> None:
        super().__init__(wrong)
        self.wrong, self.found, self.allowed, self.fix = wrong, found, allowed, fix


@dataclass(frozen=True)
class Inputs:
    """Where input files are: relative paths begin at `root`, content is unpacked into `unpack_dir`.

    `check_media` opens each picture and clip. The plan does so too, but it can only refuse the run, not leave out the row.
    """

    root: str
    unpack_dir: Path
    check_media: bool

    def path(self, value: Any) -> str:
        """Return the absolute path of the file that a value means. Raises: Unusable."""
        if isinstance(value, dict) and value.keys() & {"bytes", "path"}:
            value = value.get("bytes") or value.get("path") or ""
        try:
            content = decoded(value) if isinstance(value, str) else value
            if content is None:
                return self._whole(self._existing(value.strip()))
            if not isinstance(content, bytes):
                raise Unusable("must be a path, bytes or base64", value, fix="give each file a column of its own")
            return self._whole(str(unpack(content, self.unpack_dir)))
        except ValueError as error:
            raise Unusable(str(error), value, KNOWN) from error
        except OSError as error:
            wrong = f"can't be written: {error.strerror or error}"
            raise UserError(Problem("dataset.unpack_dir", wrong, str(self.unpack_dir))) from error

    def _existing(self, text: str) -> str:
        if "://" in text and not text.startswith("file://"):
            raise Unusable("is a URL; nothing is downloaded", text, fix="download it and give the path")
        # os.path, since pathlib takes five times as long, for each row
        path = os.path.join(self.root, os.path.expanduser(text.removeprefix("file://")))  # noqa: PTH111, PTH118
        path = os.path.normpath(path)
        if not os.path.exists(path):  # noqa: PTH110
            raise Unusable("no such file", path, fix=f"relative paths begin at {self.root}")
        return path

    def _whole(self, path: str) -> str:
        if self.check_media and path.lower().endswith((*PICTURE_SUFFIXES, *CLIP_SUFFIXES)):
            try:
                check_image(Path(path)) if path.lower().endswith(PICTURE_SUFFIXES) else probe(Path(path))
            except ValueError as error:
                raise Unusable(str(error).removeprefix(f"{path} "), path) from error
        return path


def holds_media(value: Any) -> bool:
    """Return whether a value is the content of a picture or clip, not only its path."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, str):
        return value.startswith("data:image/") or value.startswith("data:video/") or opens_like_media(value)
    return isinstance(value, bytes) and bool(suffix_of(value[:16]))
