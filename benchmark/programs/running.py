"""A program at work: started under a supervisor that ends it with us, its output read as it comes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from benchmark.programs.supervisor import ENOUGH, GIVE_UP_S, GRACE_S

SUPERVISOR = Path(__file__).with_name("supervisor.py")
READ_BYTES = 1 << 16
READ_S = 10.0  # for what is left in the pipes of a program that has ended


class Sink(Protocol):
    """What takes the bytes of a stream."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Running:
    """A program that was started: `wait` for its end or `end` it; what it says goes into two sinks meanwhile.

    `folder` is removed if this process dies before the program ends. With `talks` the program has a stdin to `write` to.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: str | None,
        folder: Path | None,
        sinks: tuple[Sink, Sink],
        talks: bool = False,
    ) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(theirs.fileno())],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        assert self._process.stdout and self._process.stderr
        streams = zip((self._process.stdout, self._process.stderr), sinks, strict=True)
        self._readers = [threading.Thread(target=_read, args=pair, daemon=True) for pair in streams]
        for reader in self._readers:
            reader.start()
        order = {"command": list(command), "environment": dict(environment), "cwd": cwd, "parent": os.getpid()}
        with contextlib.suppress(OSError):  # it was killed already: `wait` says so
            self._channel.sendall(json.dumps({**order, "folder": str(folder or "")}).encode() + b"\n")

    def wait(self, timeout_s: float | None) -> int:
        """Return the exit code, below 0 for a signal, once all that the program said is read.

        Raises: TimeoutError; ChildProcessError, saying what of the program, if there is no such code.
        """
        self._channel.settimeout(timeout_s)
        words = b""
        with contextlib.suppress(ConnectionError):
            while piece := self._channel.recv(READ_BYTES):
                words += piece
        self._close(READ_S if words else 0.0)
        if not words:
            raise ChildProcessError("was lost, since its supervisor was killed")
        report: dict[str, str] = json.loads(words)
        if "error" in report:
            raise ChildProcessError(f"can't be started: {report['error']}")
        return int(report["code"])

    def write(self, data: bytes, deadline: float) -> None:
        """Write to the program's stdin. Raises: BrokenPipeError if it is closed; TimeoutError at the deadline (monotonic)."""
        assert self._process.stdin, "a program that does not talk has no stdin"
        pipe = self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        while data:
            if not select.select([], [pipe], [], max(0.0, min(deadline - time.monotonic(), 3600.0)))[1]:
                if time.monotonic() < deadline:
                    continue
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(pipe, data[:READ_BYTES]) :]

    def end(self) -> None:
        """End the program and all that it started, if that has not happened yet."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            self._channel.sendall(ENOUGH)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S + GIVE_UP_S + 1)
        self._close(READ_S)

    def _close(self, read_s: float) -> None:
        """Wait for the supervisor, and up to `read_s` until all that was said is read."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(read_s)
        self._channel.close()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _read(stream: IO[bytes], sink: Sink) -> None:
    """Hand on what comes until the stream ends; it is always read, so that a program never waits for its reader."""
    with stream:
        while data := stream.read(READ_BYTES):
            sink.feed(data)
    sink.close()
