"""The temporary folder of a call: it lasts as long as anyone holds it or a file in it, and is gone after that."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from benchmark.media import MediaFile


class WorkFolder:
    """A new folder below $TMPDIR, or inside another one, removed once this object is no longer in use."""

    path: Path

    def __init__(self, inside: WorkFolder | None = None) -> None:
        self._inside = inside  # which stays as long as this does
        self.path = Path(tempfile.mkdtemp(prefix="genbench-", dir=inside.path if inside else None))
        self._finalizer = weakref.finalize(self, shutil.rmtree, str(self.path), ignore_errors=True)

    def sub(self, name: str) -> Path:
        """Return a folder in it, made if it is not there."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path


def bare(error: Exception) -> Exception:
    """Return an exception to be given as an outcome: without the frames that it came through, which hold work folders."""
    return type(error)(*error.args)


@dataclass(frozen=True)
class HeldFile(MediaFile):
    """A file in a work folder, which stays as long as this does: until the output is in the run folder."""

    folder: WorkFolder | None = None
