"""Stands between whoever calls an outside program and the program; a script of its own, on the standard library alone.

`running.py` starts it and keeps the other end of a socket. It says there what to start, and reads how that ended. When its
end closes, because it has had enough or was killed in whatever way, the program and all that descends from it are ended: a
shell's background jobs too, which on Linux are adopted, so that none gets away. If this process is killed itself, the kernel
kills the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRACE_S = 2.0  # between SIGTERM and SIGKILL
LINGER_S = 0.5  # for what a program leaves behind when it ends by itself
GIVE_UP_S = 10.0  # on processes that even SIGKILL does not end: they hang in the kernel
POLL_S = 1.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ENOUGH = b"enough"


def supervise(order: dict[str, Any], channel: socket.socket) -> dict[str, Any]:
    """Start what `order` names and see it to its end; return how it ended: `code`, or `error` if it could not be started."""
    with contextlib.suppress(OSError, AttributeError):  # not on other systems than Linux
        _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, told = _wakened()
    try:
        program = subprocess.Popen(
            [_bytes(word) for word in order["command"]],
            env={_bytes(name): _bytes(value) for name, value in order["environment"].items()},
            cwd=order["cwd"],
            start_new_session=True,
            preexec_fn=_die_with_parent,  # this process has one thread, so this is safe
        )
    except (OSError, ValueError, UnicodeError, subprocess.SubprocessError) as error:
        return {"error": str(error)}
    _let_go_of_streams()
    abandoned = False
    while program.poll() is None and not told:
        ready, _, _ = select.select([channel, wake], [], [], POLL_S)
        if wake in ready:
            wake.recv(4096)
        if channel in ready or os.getppid() != order["parent"]:
            abandoned = not _had_enough(channel)
            break
    end(program, LINGER_S if program.poll() is not None else GRACE_S)
    if abandoned and order["folder"]:
        shutil.rmtree(order["folder"], ignore_errors=True)
    return {"code": -signal.SIGKILL if program.returncode is None else program.returncode}


def _had_enough(channel: socket.socket) -> bool:
    """Return whether the other side asked for the end; else it is gone."""
    channel.setblocking(False)
    try:
        return bool(channel.recv(4096))
    except OSError:
        return False


def end(program: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the program and its descendants: by SIGTERM, after `grace_s` by SIGKILL. What outlived the program itself is only
    waited for before it is killed."""
    if program.poll() is None:
        _signal(program, signal.SIGTERM)
    since = time.monotonic()
    while _alive(program) and (passed := time.monotonic() - since) < grace_s + GIVE_UP_S:
        if passed >= grace_s:
            _signal(program, signal.SIGKILL)
        time.sleep(0.01)


def _alive(program: subprocess.Popen[bytes]) -> bool:
    return program.poll() is None or bool(list(descendants(os.getpid()))) or _group_lives(program)


def _group_lives(program: subprocess.Popen[bytes]) -> bool:
    if Path("/proc/self/stat").exists():  # then the descendants tell more
        return False
    try:
        os.killpg(program.pid, 0)
    except OSError:
        return False
    return True


def _signal(program: subprocess.Popen[bytes], number: int) -> None:
    for pid in list(descendants(os.getpid())):
        with contextlib.suppress(OSError):
            os.kill(pid, number)
    with contextlib.suppress(OSError):
        os.killpg(program.pid, number)


def descendants(root: int) -> Iterator[int]:
    """Yield the process ids of all living descendants of `root`; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    left = [root]
    while left:
        found = children.pop(left.pop(), [])
        yield from found
        left += found


def _wakened() -> tuple[socket.socket, list[int]]:
    """Return a socket that becomes readable when a child ends or a signal arrives, and the signals that ask to end."""
    told: list[int] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # workers ignore it, and the program would inherit that
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    return reader, told


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        _libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _let_go_of_streams() -> None:
    """Leave stdin, stdout and stderr to the program: whoever reads them then sees when it closes them."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def main(number: int) -> None:
    """Serve the socket with this file descriptor."""
    with socket.socket(fileno=number) as channel:
        words = b""
        while not words.endswith(b"\n"):
            piece = channel.recv(1 << 16)
            if not piece:
                return
            words += piece
        report = supervise(json.loads(words), channel)
        channel.setblocking(True)
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps(report).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
