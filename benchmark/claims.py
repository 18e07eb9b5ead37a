"""Claims: which worker does which chunk of cases, with nothing but files that are created if absent.

A claim is the file `<chunk>.<n>`, which names its owner's journal; n counts the owners, and owner n+1 may come only when
owner n is dead. Claims are never deleted, renamed or rewritten, so this holds on any file system, NFS included, and a worker
may be killed between any two system calls. docs/decisions/002-claims.md tells why there are no locks or leases on locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import DiskFull
from benchmark.journal import FULL, Journal, Watcher

MOST_CHUNKS = 1024
FLUSH_S = 1.0  # one fsync serves all chunks finished within this time


class Lost(Exception):
    """Someone took this life for dead and owns the chunk now: theirs count."""


def chunk_size(n: int, batch: int) -> int:
    """Return how many cases a chunk holds: a batch at least, and so many that there are at most 1,024 chunks."""
    return max(batch, -(-n // MOST_CHUNKS), 1)


@dataclass
class Chunk:
    """Cases `first` to `last` (excluded), owned by this life as owner number `owner` after those in `former`."""

    index: int
    owner: int
    first: int
    last: int
    former: list[str] = field(default_factory=list)
    left: int = 0  # units without a record, kept by whoever works on them
    lost: bool = False


class Claims:
    """The chunks of one pass, taken one at a time in order of the cases. `hold` and `done` may be called by any thread."""

    def __init__(self, folder: Path, n: int, size: int, journal: Journal, watcher: Watcher) -> None:
        self.folder, self.n, self.size = folder, n, size
        self._journal, self._watcher = journal, watcher
        self._prefix = f"{folder}/"
        self._next = 0
        self._contested: dict[int, int] = {}  # chunk -> the owner last seen
        self._finished: deque[int] = deque()
        self._lock = threading.Lock()
        self._flushed = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._has_links = False
        self._card = f"{self._prefix}{journal.name.removesuffix('.jsonl')}"
        with contextlib.suppress(FileExistsError):
            self._put(self._card)
        self._has_links = True

    @property
    def chunks(self) -> int:
        return -(-self.n // self.size)

    @property
    def exhausted(self) -> bool:
        """Whether every chunk is done, or in hand here."""
        return self._next >= self.chunks and not self._contested

    def take(self) -> Chunk | None:
        """Return a chunk that now belongs to this life, or None while all that are left belong to living owners."""
        while self._next < self.chunks:
            index = self._next
            self._next += 1
            if self._is_done(index):
                continue
            if self._create(index, 1):
                return self._chunk(index, 1, [])
            self._contested[index] = 1
        for index in list(self._contested):
            chunk = self._take_over(index)
            if chunk:
                return chunk
        return None

    def hold(self, chunk: Chunk) -> None:
        """Raise Lost if the chunk was taken over: asked before anything is published, since a sleeper may wake up late.

        A lost chunk is watched like any other of other owners, should its new owner die.
        """
        if os.access(f"{self._prefix}{chunk.index}.{chunk.owner + 1}", os.F_OK):
            chunk.lost = True
            self._contested[chunk.index] = chunk.owner + 1
            raise Lost(f"chunk {chunk.index} of {self.folder} has another owner by now")

    def done(self, chunk: Chunk) -> None:
        """Note that each case of the chunk has a record; told to others once the journal is on the disk."""
        self._finished.append(chunk.index)
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the `.done` files of finished chunks: hints that spare others the reading, no proof."""
        with self._lock:
            finished = [self._finished.popleft() for _ in range(len(self._finished))]  # what ends during the sync waits
            if finished:
                self._journal.sync()
            for index in finished:
                with contextlib.suppress(FileExistsError):
                    self._put(f"{self._prefix}{index}.done")
            self._flushed = time.monotonic()

    def wait(self, poll_s: float = 0.2) -> None:
        """Wait a little for other owners to finish or die."""
        self.flush()
        time.sleep(poll_s)  # not Event.wait, in which a signal handler that sets the event would wait for itself

    def _chunk(self, index: int, owner: int, former: list[str]) -> Chunk:
        self._contested.pop(index, None)
        first = index * self.size
        return Chunk(index, owner, first, min(first + self.size, self.n), former)

    def _is_done(self, index: int) -> bool:
        return os.access(f"{self._prefix}{index}.done", os.F_OK)

    def _create(self, index: int, owner: int) -> bool:
        try:
            self._put(f"{self._prefix}{index}.{owner}")
        except FileExistsError:
            # Of a server that took the request twice, or whose answer was lost, the claim may be ours all the same.
            return self._owner(index, owner) == self._journal.name
        return True

    def _put(self, path: str) -> None:
        """Create a file that holds our journal's name. Raises FileExistsError.

        A link to the one such file that is there already: it is never seen half-written, and needs no new file.
        """
        try:
            if self._has_links:
                try:
                    os.link(self._card, path)
                    return
                except OSError as error:
                    if error.errno in (errno.EEXIST, *FULL):
                        raise
                    self._has_links = False  # or too many of them
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb", 0) as file:
                name = self._journal.name.encode()
                if file.write(name) != len(name):
                    raise DiskFull(f"no space left for a claim in {self.folder}")
        except OSError as error:
            if error.errno in FULL:
                raise DiskFull(f"no space left for a claim in {self.folder}") from error
            raise

    def _owner(self, index: int, owner: int) -> str:
        """Return the journal that a claim names, or "" while (or since) it was not written whole."""
        name = Path(f"{self._prefix}{index}.{owner}").read_text(errors="replace")
        return name if name.endswith(".jsonl") else ""

    def _take_over(self, index: int) -> Chunk | None:
        if self._is_done(index):
            self._contested.pop(index, None)
            return None
        owner = self._contested[index]
        while os.access(f"{self._prefix}{index}.{owner + 1}", os.F_OK):
            owner += 1
        self._contested[index] = owner
        name = self._owner(index, owner)
        dead = self._watcher.death(name) if name else self._watcher.silence(Path(f"{self._prefix}{index}.{owner}"))
        if not dead or not self._create(index, owner + 1):
            return None
        return self._chunk(index, owner + 1, [name for n in range(1, owner + 1) if (name := self._owner(index, n))])
