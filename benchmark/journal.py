"""Journals: the append-only files in which each process life writes what it does, and how others tell that it died.

Nothing is ever deleted or rewritten, so nothing can be lost by a crash; a torn last line is what a crash leaves at most.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmark.errors import DiskFull
from benchmark.records import End, Life, Line, decode, encode

_KERNEL = ("host", "boot_id", "pid_namespace")  # where these agree, a pid and its start time name one process


def process_start(pid: int) -> str:
    """Return when the process started, in clock ticks since boot, or "" when it is gone (or no /proc tells)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may contain anything
    return "" if fields[0] in "ZX" else fields[19]


def _read_text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def this_process() -> dict[str, object]:
    """Return what tells this process from all others, on any host: the fields of a Life that name a process."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return {
        "host": socket.gethostname(),
        "boot_id": _read_text("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": namespace,
        "pid": os.getpid(),
        "start_time": process_start(os.getpid()),
    }


class Journal:
    """One life's journal. Lines are appended by a single os.write each; any thread may write.

    A failed or short write raises DiskFull: the life must end, since the torn line may not be followed by another.
    """

    def __init__(self, folder: Path, *, role: str, stage: str, worker: str, code: str, config: str) -> None:
        self.name = f"{stage}-{worker}-{secrets.token_hex(6)}.jsonl"
        self.path = folder / self.name
        self._lock = threading.Lock()
        self._stop = threading.Event()
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
        data = b"".join([encode(record) for record in records])
        with self._lock:
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFull(f"no space left for {self.path}") from error
                raise
        if written != len(data):
            raise DiskFull(f"no space left for {self.path}: {written} of {len(data)} bytes written")

    def sync(self) -> None:
        """Bring all lines to the disk."""
        os.fsync(self._fd)

    def keep_alive(self, lease_s: float) -> None:
        """Touch the journal every third of a lease, from a thread, so that others see that this life goes on."""

        def touch() -> None:
            while not self._stop.wait(lease_s / 3):
                os.utime(self._fd)

        threading.Thread(target=touch, name="heartbeat", daemon=True).start()

    def end(self, reason: str) -> None:
        """Write the last line and close; a second call does nothing."""
        if not self._stop.is_set():
            self._stop.set()
            self.write(End(reason, time.time()))
            self.sync()


def read_journal(path: Path, offset: int = 0, decoder: msgspec.json.Decoder | None = None) -> tuple[list, int, int]:
    """Return the records after `offset`, the offset behind the last whole line, and how many lines were unreadable.

    With a `decoder` only the lines that it understands are returned, decoded by it; the rest counts as unreadable only if
    it is no record of ours.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    records, bad = [], 0
    parse = decoder.decode if decoder else decode
    for line in data[:end].splitlines():
        try:
            records.append(parse(line))
        except msgspec.DecodeError:
            try:
                decode(line)
            except msgspec.DecodeError:
                bad += 1
    return records, offset + end, bad


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
        path = self.folder / name
        try:
            if has_ended(path):
                return "left in order"
            life = self.life(name)
        except FileNotFoundError:
            return "its journal is gone"
        same_kernel = life and all(getattr(life, key) == self._here[key] for key in _KERNEL)
        if life and same_kernel and life.start_time and process_start(life.pid) != life.start_time:
            return f"process {life.pid} is gone"
        return self.silence(path)

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
        """Yield the lives whose journals lie in the folder and that are not dead, oldest first."""
        lives = []
        for path in self.folder.glob("*.jsonl"):
            life = self.life(path.name)
            if life and role in (None, life.role) and not self.death(path.name):
                lives.append(life)
        yield from sorted(lives, key=lambda life: life.time)
