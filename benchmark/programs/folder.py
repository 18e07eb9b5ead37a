"""The temporary folder of a call: it lasts as long as anyone holds it or a file in it, and is gone after that.

Its name tells whose it is, so that what a killed process has left is removed by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.media import MediaFile
from benchmark.process import is_gone, this_process

OWNED = re.compile(r"genbench-(?P<kernel>[0-9a-f]{8}-\d+)-(?P<pid>\d+)-(?P<start>\d+)-\w+")
NAME = r"genbench-[0-9a-f]{8}-[\w-]*"  # of which the end may be cut off
UNJUDGED = "00000000-0"  # where nothing tells kernels apart: such folders are left alone


class WorkFolder:
    """A new folder below $TMPDIR, or inside another one, removed once this object is no longer in use."""

    path: Path

    def __init__(self, inside: WorkFolder | None = None) -> None:
        self._inside = inside  # which stays as long as this does
        if not inside:
            _remove_abandoned(os.getpid(), tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=_prefix(os.getpid()), dir=inside.path if inside else None))
        self._finalizer = weakref.finalize(self, shutil.rmtree, str(self.path), ignore_errors=True)

    def sub(self, name: str) -> Path:
        """Return a folder in it, made if it is not there."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path


@cache
def _prefix(pid: int) -> str:
    """Return how the names of this process's folders begin: kernel (boot and pid namespace), pid, start time."""
    start = this_process()["start_time"]
    return f"genbench-{_kernel()}-{pid}-{start or 0}-"


def _kernel() -> str:
    """Return what two processes have in common where a pid means the same process to both; UNJUDGED if nothing tells."""
    this = this_process()
    boot = re.match(r"[0-9a-f]{8}", str(this["boot_id"]))
    namespace = re.search(r"\d+", str(this["pid_namespace"]))
    return f"{boot[0]}-{namespace[0]}" if boot and namespace and this["start_time"] else UNJUDGED


@cache
def _remove_abandoned(pid: int, below: str) -> None:
    """Remove the work folders of processes that are gone for certain, once in the life of a process.

    Folders of other hosts, of other containers and of an earlier boot are left alone: nothing tells whether they are in use.
    """
    kernel = _kernel()
    for path in Path(below).glob("genbench-*") if kernel != UNJUDGED else ():
        owner = OWNED.fullmatch(path.name)
        if owner and owner["kernel"] == kernel and is_gone(int(owner["pid"]), owner["start"]):
            shutil.rmtree(path, ignore_errors=True)


def named_plainly(message: str) -> str:
    """Return a message in whose first line files in work folders have relative names: reports group failures by that line."""
    first, line_break, rest = message.partition("\n")
    if "genbench-" not in first:
        return message
    below = "|".join(re.escape(folder) for folder in {tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir())})
    first = re.sub(rf"(?:{below}|(?:/[^\s'\"/:=,]+)*)(?:/{NAME})+(/(?=\w))?", _in_words, first)
    return first + line_break + rest


def _in_words(path: re.Match[str]) -> str:
    return "" if path[1] else "its work folder"


def bare(error: Exception) -> Exception:
    """Return an exception to be given as an outcome: without the frames that it came through, which hold work folders,
    and without their names in its first line."""
    try:
        return type(error)(*(named_plainly(arg) if isinstance(arg, str) else arg for arg in error.args))
    except TypeError:  # it is made of other things than it shows
        return error.with_traceback(None)


@dataclass(frozen=True)
class HeldFile(MediaFile):
    """A file in a work folder, which stays as long as this does: until the output is in the run folder."""

    folder: WorkFolder | None = None
