"""What a program says: cut into lines, shown in the worker's log as it comes, and its last words kept for a failed record."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from benchmark.programs.folder import named_plainly

LAST_LINES = 20
LONGEST = 300  # characters of a line that a failed record quotes
MOST_BYTES = 8192  # of a line in the log; what is longer is cut into several
PROGRESS_EVERY_S = 10.0


class Lines:
    """Cuts a stream of bytes into lines of text; invalid UTF-8 is replaced.

    A line that is written over (a progress bar, ended by a carriage return) is handed on every PROGRESS_EVERY_S at most.
    `most_bytes` bounds what is held of a line that does not end.
    """

    def __init__(self, on_line: Callable[[str], None], most_bytes: int = MOST_BYTES) -> None:
        self._on_line, self._most = on_line, most_bytes
        self._rest = b""
        self._progress_shown = time.monotonic()

    def feed(self, data: bytes) -> None:
        pieces = (self._rest + data).splitlines(keepends=True)
        ended = pieces[-1].endswith(b"\n")  # a carriage return at the end may be half a line ending
        self._rest = b"" if ended else pieces.pop()
        for piece in pieces:
            if piece.endswith(b"\n"):
                self._hand_on(piece)
            elif time.monotonic() - self._progress_shown > PROGRESS_EVERY_S:
                self._progress_shown = time.monotonic()
                self._hand_on(piece)
        if len(self._rest) > self._most:
            self._hand_on(self._rest)
            self._rest = b""

    def close(self) -> None:
        if self._rest:
            self._hand_on(self._rest)
        self._rest = b""

    def _hand_on(self, piece: bytes) -> None:
        self._on_line(piece.decode(errors="replace").rstrip("\r\n"))


class Log:
    """Shows lines under a program's name and keeps the last of them; several threads may write."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._complaint = ""
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock:
            if line.strip():
                self._last.append(_shortened(line))
            with contextlib.suppress(
                OSError, ValueError
            ):  # the log's disk may be full: the program still has to be heard
                sys.stderr.write(f"[{self._name}] {line}\n")
                sys.stderr.flush()

    def complain(self, line: str) -> None:
        """Write a line of stderr."""
        if line.strip():
            self._complaint = _shortened(line)
        self.write(line)

    def last_line(self) -> str:
        """Return the last line of stderr, else of stdout; "" if there is none. It does not tell work folders."""
        with self._lock:
            return named_plainly((self._complaint or (self._last[-1] if self._last else "")).strip())

    def last_words(self) -> str:
        """Return the last lines, ready to be put below an error's first line; "" if there are none."""
        with self._lock:
            return "".join(f"\n  {line}" for line in self._last)


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
