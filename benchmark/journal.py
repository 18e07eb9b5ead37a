"""Journals: the append-only files in which each process life writes what it does, and how others tell that it died.

Nothing is ever deleted or rewritten, so nothing can be lost by a crash; a torn last line is what a crash leaves at most.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmark.errors import DiskFull, Problem, UserError
from benchmark.process import is_gone, this_process
from benchmark.records import VERSIONS, End, Life, Line, decode, encode_lines, version_of

_KERNEL = ("host", "boot_id", "pid_namespace")  # where these agree, a pid and its start time name one process
FULL = (errno.ENOSPC, errno.EDQUOT)
STALE_LEASES = 5  # by the wall clock, after which a life is no longer shown or joined; claims never go by this


class Journal:
    """One life's journal. Lines are appended by a single os.write each; any thread may write.

    A write that fails or comes back short raises, then and ever after: a torn line may not be followed by another.
    """

    def __init__(self, folder: Path, *, role: str, stage: str, worker: str, code: str, config: str) -> None:
        self.name = f"{stage}-{worker}-{secrets.token_hex(6)}.jsonl"
        self.path = folder / self.name
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._torn = False
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self.life = msgspec.convert(
            this_process()
            | {"record": "life/1", "journal": self.name, "role": role, "stage": stage, "worker": worker}
            | {"code": code, "config": config, "time": time.time()},
            Life,
        )
        self.write(self.life)

    def write(self, *records: Line) -> None:
        """Append the records, all in one write."""
        data = encode_lines(records)
        with self._lock:
            if self._torn:
                raise DiskFull(f"{self.path} takes no more lines since one could not be written")
            self._append(data)

    def _append(self, data: bytes) -> None:
        self._torn = True
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise DiskFull(f"no space left for {self.path}") from error
        if written != len(data):
            raise DiskFull(f"no space left for {self.path}: {written} of {len(data)} bytes written")
        self._torn = False

    def sync(self) -> None:
        """Bring all lines to the disk."""
        try:
            os.fsync(self._fd)
        except OSError as error:  # some file systems tell only now that there is no space
            self._torn = True
            if error.errno not in FULL:
                raise
            raise DiskFull(f"no space left for {self.path}") from error

    def keep_alive(self, lease_s: float) -> None:
        """Touch the journal every third of a lease, from a thread, so that others see that this life goes on."""

        def touch() -> None:
            while not self._stop.wait(lease_s / 3):
                with self._lock, contextlib.suppress(OSError):  # a hiccup of the file system: the next touch may do
                    if not self._stop.is_set():
                        os.utime(self._fd)

        threading.Thread(target=touch, name="heartbeat", daemon=True).start()

    def end(self, reason: str) -> None:
        """Write the last line; a second call does nothing."""
        with self._lock:
            ended = self._stop.is_set()
            self._stop.set()
        if not ended:
            self.write(End(reason, time.time()))
            self.sync()

    def end_without_space(self, *last: Line) -> None:
        """Write the last lines if they fit, behind an empty line as the line before may be torn.

        Else set the file's time to 0, which takes no space and says the same: nobody died here.
        """
        data = b"\n" + encode_lines([*last, End("no space left", time.time())])
        with self._lock:
            self._stop.set()
            try:
                self._append(data)
            except (DiskFull, OSError):
                os.utime(self._fd, (0, 0))


def left_without_space(path: Path) -> bool:
    """Return whether the journal's writer left in order, without the space for saying so in the journal."""
    return path.stat().st_mtime_ns == 0


def read_journal(
    path: Path, offset: int = 0, decoder: msgspec.json.Decoder | None = None, most: int = -1
) -> tuple[list, int, int]:
    """Return the records after `offset`, the offset behind the last whole line, and how many lines were unreadable.

    At most `most` bytes are read (-1: all). With a `decoder` only the lines that it understands are returned, decoded by it;
    the rest counts as unreadable only if it is no record of ours. Raises UserError on a record of a newer format.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(most)
    end = data.rfind(b"\n") + 1
    records, bad = [], 0
    parse = decoder.decode if decoder else decode
    for line in data[:end].split(b"\n"):
        if not line:
            continue
        try:
            records.append(parse(line))
        except msgspec.DecodeError:
            bad += not _is_ours(line, path)
    return records, offset + end, bad


def _is_ours(line: bytes, path: Path) -> bool:
    with contextlib.suppress(msgspec.DecodeError):
        decode(line)
        return True
    kind, version = version_of(line)
    if version > VERSIONS.get(kind, version):
        fix = "use the version of genbench that wrote it, or a newer one"
        raise UserError(
            Problem(str(path), "is of a newer format", f"{kind}/{version}", f"up to {kind}/{VERSIONS[kind]}", fix)
        )
    return False


def read_life(path: Path) -> Life | None:
    """Return the journal's first line, or None while it is not written."""
    with path.open("rb") as file:
        line = file.readline()
    with contextlib.suppress(msgspec.DecodeError):
        record = decode(line)
        return record if isinstance(record, Life) else None
    return None


def has_ended(path: Path) -> bool:
    """Return whether the journal's last whole line is an End."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        tail = file.read().rstrip(b"\n").rsplit(b"\n", 1)[-1]
    with contextlib.suppress(msgspec.DecodeError):
        return isinstance(decode(tail), End)
    return False


class Watcher:
    """Judges whether the writers of journals are dead, by their last line, their process, or a clock of its own."""

    def __init__(self, folder: Path, lease_s: float) -> None:
        self.folder, self.lease_s = folder, lease_s
        self._here = this_process()
        self._lives: dict[str, Life] = {}
        self._dead: dict[str, str] = {}  # for ever: those that ended, and whose process is gone
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def life(self, name: str) -> Life | None:
        if name not in self._lives:
            life = read_life(self.folder / name)
            if life is None:
                return None
            self._lives[name] = life
        return self._lives[name]

    def death(self, name: str) -> str:
        """Return in words why the writer of the journal is taken for dead, or "" while it may live."""
        if name not in self._dead:
            try:
                certain = self._certain_death(name)
            except FileNotFoundError:
                return "its journal is gone"
            if not certain:
                return self.silence(self.folder / name)
            self._dead[name] = certain
        return self._dead[name]

    def _certain_death(self, name: str) -> str:
        path = self.folder / name
        if has_ended(path) or left_without_space(path):
            return "left in order"
        life = self.life(name)
        same_kernel = life and all(getattr(life, key) == self._here[key] for key in _KERNEL)
        return f"process {life.pid} is gone" if life and same_kernel and is_gone(life.pid, life.start_time) else ""

    def silence(self, path: Path) -> str:
        """Return "silent for ..." once the file's time and size stood still for a lease of this watcher's own clock."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return "its file is gone"
        mark, now = (stat.st_mtime_ns, stat.st_size), time.monotonic()
        before = self._seen.get(path)
        if before is None or before[0] != mark:
            self._seen[path] = (mark, now)
            return ""
        silent_s = now - before[1]
        return f"silent for {silent_s:.0f} s" if silent_s >= self.lease_s else ""

    def living(self, role: str | None = None) -> Iterator[Life]:
        """Yield the lives that may go on, oldest first: for showing and joining them, not for claims.

        A writer on another host that was killed says nothing, and a watcher that has just come can't tell. So here, and
        here only, a journal that the wall clock calls long untouched is left out.
        """
        lives = []
        for path in self.folder.glob("*.jsonl"):
            life = self.life(path.name)
            if life and role in (None, life.role) and not self._is_stale(path) and not self.death(path.name):
                lives.append(life)
        yield from sorted(lives, key=lambda life: life.time)

    def _is_stale(self, path: Path) -> bool:
        return time.time() - path.stat().st_mtime > STALE_LEASES * self.lease_s
